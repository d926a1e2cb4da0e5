"""Rows of runs in Weights & Biases, one of its runs a member: `--wandb PROJECT`.

Nothing is sent unless WANDB_MODE is `online`: else runs are written as W&B's own files, which `wandb sync`
sends. As with TensorBoard, what a run has measured is read from its own files, and what its files of W&B hold
is read first, so that a row is written once, whatever was killed between. Online W&B says how far a run is.
"""

import datetime
import importlib.util
import os
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fdl.cli.tensorboard import group_of
from fdl.result import Result
from fdl.serialization import digest
from fdl.storage import Folder

_BLOCK, _HEADER = 32768, struct.Struct("<IHB")
"""Of a LevelDB log: bytes of a block, and of a record's checksum, length and kind."""
_FULL, _FIRST, _LAST = 1, 2, 4


def check_wandb(project: str) -> None:
    """Raises `ValueError` where the extra is not installed, or the project's name is none of W&B's."""
    spec = importlib.util.find_spec("wandb")
    if spec is None or spec.origin is None:  # a folder of that name, as W&B makes, is no package
        raise ValueError(f"--wandb {project} needs the extra 'wandb': pip install fdl[wandb]")
    if not project.strip() or len(project) > 128 or set(project) & set("/\\#?%:"):
        raise ValueError(f"--wandb is {project!r}; expected a project's name, without any of / \\ # ? % :")


def mode() -> str:
    """What WANDB_MODE says, offline if nothing else is asked for by name."""
    asked = os.environ.get("WANDB_MODE", "").strip().lower()
    return asked if asked in ("online", "disabled") else "offline"


class WandbRuns:
    """The runs of a work directory in W&B."""

    def __init__(self, project: str, directory: Folder) -> None:
        """Writes nothing yet.

        Args:
          project: the project's name.
          directory: the runs' work directory; its name and its identity are part of the runs' ids.
        """
        self._project, self._directory, self._mode = project, directory, mode()
        self._root = Path(os.environ.get("WANDB_DIR") or ".")
        self._last: dict[str, int] = {}
        self._open: dict[str, Any] = {}
        if self._mode != "online":  # else W&B looks for the network to report its own errors, also offline
            os.environ["WANDB_ERROR_REPORTING"] = "false"

    def write(self, result: Result) -> None:
        """Adds the rows that are not there yet, with their metrics that are not NaN; ends runs that ended.

        Raises:
          OSError: they cannot be written.
        """
        group = group_of(self._directory, result)
        frame = result.frame.sort_values("step", kind="stable")
        for (arm, seed), rows in frame.groupby(["arm", "seed"], sort=False):
            config = {name: _plain(rows[name].iloc[0]) for name in ("arm", *result.fields, "seed")}
            name = digest([group, *map(repr, config.values())])
            if name not in self._last:
                self._last[name] = last_step(self._root, name) if self._mode == "offline" else -1
            fresh, status = rows[rows["step"] > self._last[name]], str(rows["status"].iloc[-1])
            if len(fresh) and name not in self._open:
                self._open[name] = self._begin(name, f"{arm} seed={seed}", group, config)
            if name not in self._open:
                continue
            run = self._open[name]
            for row in fresh[["step", *result.metrics]].to_dict("records"):
                step = int(row.pop("step"))
                if step >= run.step:  # online those below are there
                    there = {key: float(value) for key, value in row.items() if value == value}
                    run.log(there, step=step, commit=True)
            self._last[name] = int(rows["step"].max())
            if status != "running":
                run.summary["status"] = status
                self._open.pop(name).finish(exit_code=int(status == "failed"))

    def close(self) -> None:
        """Closes the runs that have not ended; the same command goes on with them."""
        while self._open:
            self._open.popitem()[1].finish(exit_code=1)

    def _begin(self, name: str, title: str, group: str, config: dict[str, Any]) -> Any:
        import wandb

        (self._root / "wandb").mkdir(parents=True, exist_ok=True)  # else W&B takes another place, silently
        there = {path.parent.name for path in _files(self._root, name)}
        while f"offline-run-{datetime.datetime.now():%Y%m%d_%H%M%S}-{name}" in there:
            time.sleep(0.05)  # W&B would write over the files that it began in the same second
        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            x_save_requirements=False,
            x_disable_stats=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
        )
        return wandb.init(
            project=self._project,
            id=name,
            name=title,
            group=group,
            config=config,
            dir=self._root,
            mode=self._mode,  # pyright: ignore[reportArgumentType]
            resume="allow",
            reinit="create_new",
            settings=settings,
        )


def last_step(root: Path, name: str) -> int:
    """The last step in the files that W&B has written of a run, offline; -1 without one."""
    from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportAttributeAccessIssue]

    last = -1
    for path in _files(root, name):
        for data in whole_records(path.read_bytes()):
            record = Record.FromString(data)
            if record.WhichOneof("record_type") == "history":
                last = max(last, record.history.step.num)
    return last


def _files(root: Path, name: str) -> list[Path]:
    """What W&B has written of a run, offline: a file each time that it was begun."""
    return sorted(root.glob(f"*wandb/offline-run-*-{name}/run-{name}.wandb"))


def whole_records(log: bytes) -> Iterator[bytes]:
    """The records of a file of W&B, as far as they are whole.

    It is a log of LevelDB (github.com/google/leveldb, doc/log_format.md) after seven bytes of W&B's own, with
    the checksum of zlib.
    """
    place, parts = 7, list[bytes]()
    while place + _HEADER.size <= len(log):
        if (left := _BLOCK - place % _BLOCK) < _HEADER.size:
            place += left
            continue
        checksum, size, kind = _HEADER.unpack_from(log, place)
        part = log[place + _HEADER.size : place + _HEADER.size + size]
        if len(part) < size or zlib.crc32(part, zlib.crc32(bytes([kind]))) != checksum:
            return
        parts = [part] if kind in (_FULL, _FIRST) else [*parts, part]
        place += _HEADER.size + size
        if kind in (_FULL, _LAST):
            yield b"".join(parts)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
