"""`fdl doctor`: whether a machine, or every worker of a slice, is fit to train."""

import dataclasses
import json
import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fdl.aot.chips import parse_slice
from fdl.aot.topology import check_slices
from fdl.cli.flags import parse_options, seat, workdir
from fdl.cli.options import HostOptions, Switch
from fdl.doctor.examination import UNFIT, examine
from fdl.doctor.facts import Facts
from fdl.doctor.judge import Asked, Finding, findings
from fdl.doctor.summary import summary
from fdl.parallel import abort, distributed
from fdl.report.terminal import PLAIN
from fdl.text import counted
from fdl.train.runtime import make_room_for, prepare

FOUND = 1
"""Exit code where something is wrong: it is the machine that failed, not the user's input."""


@dataclasses.dataclass
class DoctorOptions(HostOptions):
    """`fdl doctor`."""

    workdir: str | None = None
    """where results are to go, as gs://BUCKET/NAME: a file is written there, read and deleted"""
    topology: str | None = None
    """the slice that there should be, as v5e:4x4"""
    slices: int = 1
    """how many of them"""
    json: Switch = False
    """print all that was measured as one machine-readable line at the end; all else goes to stderr"""

    def asked(self) -> Asked | None:
        """The devices that there should be; raises `ValueError` for a slice that does not exist."""
        if self.topology is None:
            if self.slices != 1:
                raise ValueError(
                    f"--slices is {self.slices} without --topology; add it, as --topology v5e:4x4"
                )
            return None
        part = parse_slice(self.topology)
        check_slices(part, self.slices)
        return Asked(part, self.slices)


def execute(words: Sequence[str]) -> int:
    """Runs the command on the words after its name; returns the exit code."""
    options = parse_options("fdl doctor", DoctorOptions, words)
    asked = options.asked()
    if options.workdir is not None and not options.workdir.strip():
        raise ValueError(f"--workdir is {options.workdir!r}; expected a folder, or leave it out")
    if distributed.join(seat(words)):
        abort.watch()
    else:
        make_room_for(None, "shard_map")  # all devices of this process sum together
    prepare(workdir(words))
    console = Console(stderr=options.json, quiet=not distributed.is_first())
    facts, found = examined(options.workdir, asked, console)
    if options.json and distributed.is_first():
        print(json.dumps({"findings": [one._asdict() for one in found], **facts.json()}))
    return FOUND if found else 0


def check_machine(place: str | None, console: Console) -> None:
    """The first step of a command that trains: the examination, with the same outcome on all workers.

    Args:
      place: where results are to go, if it is named.
      console: shows what was measured.

    Raises:
      OSError: something is wrong; it has been said.
    """
    _, found = examined(place, None, console)
    if found:
        raise OSError(
            f"nothing was trained: {counted(len(found), 'finding')} above; --no-doctor trains all the same"
        )


def examined(place: str | None, asked: Asked | None, console: Console) -> tuple[Facts, list[Finding]]:
    """What was measured and what is wrong, the same on all workers; process 0 has said it when they go on."""
    began = time.monotonic()
    facts = examine(place)
    found = findings(facts, asked)
    distributed.broadcast_from_first(lambda: _tell(facts, found, console, time.monotonic() - began))
    return facts, found


def _tell(facts: Facts, found: Sequence[Finding], console: Console, seconds: float) -> None:
    """Shows what was measured, and on stderr each finding in a line."""
    table = Table("fdl doctor", f"{seconds:.0f} s")
    for what, came in summary(facts):
        table.add_row(what, Text(came))
    console.print(table)
    for one in found:
        print(f"{UNFIT if one.hardware else 'error: '}{one}", file=sys.stderr, flush=True)
    if not found:
        console.print("nothing is wrong", **PLAIN)
