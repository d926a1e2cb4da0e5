"""`--env`: variables of the workers' command. Their values meet no command line, no log and no shell."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

OWN = ("FDL_TPU_ROOT", "UV_PROJECT_ENVIRONMENT")
"""What `run.sh` sets for its own purposes."""
LONGEST = 131_071
"""Bytes of a variable that Linux takes, with its name."""


def checked_environment(given: Sequence[str], here: Mapping[str, str]) -> dict[str, str]:
    """The variables of `NAME=VALUE` and of `NAME`, whose value is taken from `here`.

    No message shows what may be a secret that was given by mistake.

    Raises:
      ValueError: a name is none or is not to be set, or a value is not there or is too long.
    """
    variables = {}
    for count, word in enumerate(given, 1):
        name, equals, value = word.partition("=")
        known = name if re.fullmatch(r"[A-Z][A-Z0-9_]*", name) else f"number {count}"
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"--env {known} has no name; expected NAME=VALUE, or NAME for its value here")
        if name in OWN:
            raise ValueError(f"--env {name} is set by the launcher itself")
        if not equals and name not in here:
            raise ValueError(f"--env {known} is not set here; export it, or give NAME=VALUE")
        variables[name] = value if equals else here[name]
        if len(os.fsencode(f"{name}={variables[name]}")) > LONGEST:
            raise ValueError(
                f"--env {known} is longer than {LONGEST} bytes; put it into a file in the bucket"
            )
    return variables


@contextlib.contextmanager
def carried(variables: Mapping[str, str]) -> Iterator[Path | None]:
    """A file with these variables for the workers, for its owner's eyes only; None where there are none."""
    with tempfile.TemporaryDirectory(prefix="fdl-tpu-", ignore_cleanup_errors=True) as folder:
        if not variables:
            yield None
            return
        path = Path(folder) / "env"
        path.touch(mode=0o600)
        path.write_bytes(b"".join(os.fsencode(f"{name}={value}\0") for name, value in variables.items()))
        yield path
