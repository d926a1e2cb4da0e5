"""Rows of runs as TensorBoard's event files, a folder a run: `--tensorboard DIR`.

What a run has measured is read from its own files, and what is in its event files is read first: a row is
written once, whatever was killed between. Rows that were written before a kill and are measured again have
the same step and, as a run is a pure function, the same numbers; they are left as they are.
"""

import importlib.util
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fdl.result import Result
from fdl.serialization import digest, essence, file_name
from fdl.storage import Folder
from fdl.train.folder import identity_in


def check_tensorboard(place: str) -> None:
    """Raises `ValueError` where the extra is not installed, or the place is no local folder."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ValueError(f"--tensorboard {place} needs the extra 'tensorboard': pip install fdl[tensorboard]")
    if not place.strip() or "://" in place or (Path(place).exists() and not Path(place).is_dir()):
        raise ValueError(f"--tensorboard is {place!r}; expected a local folder, as tb")


def group_of(directory: Folder, result: Result) -> str:
    """What a directory's runs are called together: its name, what it holds, and of a schedule, which has runs
    of its own, its name."""
    mark = digest(essence(identity_in(directory) or {}))[:8]
    schedule = result.meta.get("schedule", {}).get("name", "")
    return "-".join(filter(None, (directory.name, mark, schedule[:8])))


class EventFiles:
    """The event files of a work directory's runs."""

    def __init__(self, place: str, directory: Folder) -> None:
        """Writes nothing yet.

        Args:
          place: the folder that TensorBoard is given. Other experiments may have theirs in it.
          directory: the runs' work directory; its identity is a part of the runs' folders.
        """
        self._place, self._directory = Path(place), directory
        self._last: dict[tuple[str, int], int] = {}
        self._name = f"{time.time_ns()}"

    def write(self, result: Result) -> None:
        """Adds the rows that are not there yet, each as one event with its metrics that are not NaN.

        Raises:
          OSError: they cannot be written.
        """
        group = group_of(self._directory, result)
        frame = result.frame.sort_values("step", kind="stable")
        for (arm, seed), rows in frame.groupby(["arm", "seed"], sort=False):
            folder = self._place / group / file_name(f"{arm} seed={seed}")
            last = self._last.get((arm, seed))
            last = _last_step(folder) if last is None else last
            fresh = rows[rows["step"] > last]
            if len(fresh):
                folder.mkdir(parents=True, exist_ok=True)
                path = folder / f"events.out.tfevents.{self._name}.fdl"
                _append(path, fresh[["step", *result.metrics]].to_dict("records"))
                last = int(fresh["step"].max())
            self._last[arm, seed] = last


def _append(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    new = not path.exists()
    with path.open("ab") as file:
        writer = RecordWriter(file)
        if new:
            writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        for row in rows:
            there = {name: value for name, value in row.items() if name != "step" and value == value}
            values = [Summary.Value(tag=name, simple_value=value) for name, value in there.items()]
            event = Event(wall_time=time.time(), step=int(row["step"]), summary=Summary(value=values))
            writer.write(event.SerializeToString())
        writer.flush()


def _last_step(folder: Path) -> int:
    """The last step of a run whose event is whole; -1 without one."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    last = -1
    for path in folder.glob("events.out.tfevents.*"):
        for record in RawEventFileLoader(str(path)).Load():
            event = Event.FromString(record)
            last = max(last, event.step if event.HasField("summary") else -1)
    return last
