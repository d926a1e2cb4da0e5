"""The loop with effects: at the borders of its calls it logs, evaluates, saves and handles signals.

What is computed is decided by the pure functions of `member` alone, so that neither the length of a
call, nor a save, nor an interruption changes a bit of it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fdl.parallel.abort import leave
from fdl.parallel.distributed import broadcast_from_first, heard, is_first, several
from fdl.parallel.sharding import host_copy
from fdl.storage import Folder
from fdl.train import history
from fdl.train.call_length import call_seconds, wanted_steps
from fdl.train.emergency import open_emergency
from fdl.train.functions import Pulse
from fdl.train.inspecting import inspector
from fdl.train.outcome import Outcome, ends
from fdl.train.prefetch import Stalled, never
from fdl.train.profiling import Profiler
from fdl.train.program import Program
from fdl.train.progress import Progress
from fdl.train.restart import Restarts
from fdl.train.resume import ROWS, Begin, LeftOff, begun, checkpoints_in, left_off
from fdl.train.rows import Row
from fdl.train.rows_file import Sum, append_rows
from fdl.train.run import Member
from fdl.train.saver import Due, Saver
from fdl.train.saving import Saving
from fdl.train.signals import Interrupted, caught
from fdl.train.step_log import StepLog, log_rows

_INTERRUPTED = 75  # the exit code


def execute(
    program: Program,
    members: Member,
    schedule: Sequence[int],
    names: Sequence[str],
    *,
    directory: Folder | None = None,
    saving: Saving = Saving(),  # noqa: B008
    progress: Progress = Progress(),  # noqa: B008
    profiler: Profiler = Profiler(),  # noqa: B008
    inspected: Mapping[int, str] | None = None,
    here: Mapping[str, Any] | None = None,
    begin: Begin | None = None,
) -> Outcome:
    """Trains a population to the end of its schedule, from where its directory left off.

    Args:
      program: the compiled functions.
      members: leaves `[program.plan.members, ...]`.
      schedule: the steps after which to evaluate, ascending; the last ends the run.
      names: the metrics' names, in the order of `Carry.failed`.
      directory: where checkpoints and rows go; `None` keeps all in memory.
      saving: when to save.
      progress: told of the progress.
      profiler: traces some of the steps; whoever made it ends it.
      inspected: the members to look at, by number, each with the folder of its files.
      here: who trains, as `history.here` tells it.
      begin: where the population begins, if not at step 0; the schedule's steps come after it.

    Raises:
      Interrupted: SIGTERM, SIGHUP or SIGINT came, and all is saved.
      OSError: the directory cannot be written; earlier checkpoints are intact.
    """
    real = np.asarray(members.live)
    members = program.place(members)
    told = dict(here or history.here())
    if directory is None:
        loop = _Loop(program, members, real, names, None, Saver(saving), progress, profiler, told)
        loop.begin(LeftOff(begun(program, members, begin), [], Restarts([])), inspected or {})
        return loop.run(schedule, asked=never)
    finished = False
    place = saving.emergency
    emergency = open_emergency(Path(place), directory, say=progress.say) if place else None
    try:
        checkpoints = checkpoints_in(directory, keep=saving.keep, say=progress.say)
        saver = Saver(saving, checkpoints, emergency)
        try:
            loop = _Loop(program, members, real, names, directory, saver, progress, profiler, told)
            left = left_off(checkpoints, program, members, directory, progress.say, emergency, begin)
            loop.begin(left, inspected or {})
            with caught() as asked:
                outcome = loop.run(schedule, asked=asked)
        finally:
            saver.close()
        finished = True
        return outcome
    finally:
        if emergency:
            emergency.close(finished)


class _Loop:
    """The state of one `execute`: the device runs one call ahead of what the host has read."""

    def __init__(
        self,
        program: Program,
        members: Member,
        real: np.ndarray,
        names: Sequence[str],
        directory: Folder | None,
        saver: Saver,
        progress: Progress,
        profiler: Profiler,
        here: dict[str, Any],
    ) -> None:
        self.program, self.members, self.real, self.names = program, members, real, names
        self.directory, self.saver, self.progress = directory, saver, progress
        self.profiler, self.here = profiler, here

    def begin(self, left: LeftOff, inspected: Mapping[int, str]) -> None:
        """Sets where the loop starts."""
        found, rows, self.restarts = left.found, left.rows, left.restarts
        done = found.step
        self.carry, self.done, self.rows, self.sum = found.carry, done, rows, Sum(rows)
        self.began, self.before = (time.monotonic(), done), found.about.get("seconds", 0.0)
        self.parts = found.about.get("parts", [])
        if other := history.changed(self.parts, self.here):
            self.progress.say(
                f"from step {done:,} on with other versions ({'; '.join(other)}): it may round otherwise"
            )
        self.inspector = inspector(self.program.inspect, inspected, self.directory, self.progress.say)
        self.unread: list[tuple[int, Pulse | Row, list[Any]]] = []
        self.call_steps = self.wanted_steps = 1
        self.call_seconds = call_seconds(self.carry)
        self.saver.begin(done, left.stored)
        self.read_at, self.read_step = time.monotonic(), done
        self.live = True
        self.owed = found.about.get("owed", False)  # the evaluation of the step where it is
        self.unheard: OSError | None = None

    def run(self, schedule: Sequence[int], *, asked: Callable[[], bool]) -> Outcome:
        """Runs to the end of the schedule, or until no member is live."""
        self.asked, self.total = asked, schedule[-1]
        self.profiler.plan(schedule, self.done)
        for border in schedule:
            while (self.done < border or (self.owed and self.done == border)) and self.live:
                self._call(min(border, self._next_stop()), evaluate_at=border)
                stop, due = self._agree()
                if stop:
                    self._interrupt(stop)
                if any(due):
                    self._save(due)
            if not self.live:
                break
        self._read(leave=0)
        self.profiler.end()
        if self.carry.log is not None:  # of runs that all failed before the next evaluation
            self._record(self._logged(host_copy(self.carry.log)))
        about = self._about()
        outcome = Outcome(
            carry=self.carry,
            rows=self.rows,
            ends=ends(self.carry, self.real, self.names),
            parts=about["parts"],
            seconds=about["seconds"],
            restarts=about["restarts"],
            inspections=self.inspector.kept,
        )
        if any(end["status"] != "failed" for end in outcome.ends):
            self.saver.save(Due(True, False), self.done, self.carry, lambda: about)
        return outcome

    def _agree(self) -> tuple[list[int], Due]:
        """Which processes were asked to stop, and what to save; of several processes, as the clock of the
        first says and the signals of all, so that all make the same calls."""
        stop = heard(self.asked() or self.unheard is not None)
        stop, due, self.call_steps = broadcast_from_first(
            lambda: (stop, self.saver.due(self.done), self.wanted_steps)
        )
        return stop, Due(*due)

    def _next_stop(self) -> int:
        end = self.profiler.bound(self.done, self.done + self.call_steps)
        return self.saver.next_stop(self.done, end)

    def _call(self, end: int, *, evaluate_at: int) -> None:
        try:
            if not self.owed:
                start = self.done
                self.profiler.before(start, self.carry)
                self.carry, pulse = self.program.advance(self.members, self.carry, start, end, self.asked)
                self.unread.append((end - start, pulse, []))
                self.done = end
                self.profiler.after(end, self.carry)
            if self.done == evaluate_at:
                self.owed = True
                self.carry, row = self.program.evaluate(self.members, self.carry, self.asked)
                looks = self.inspector.look(self.members, self.carry)
                self.unread.append((0, row, looks))
                self.owed = False
        except Stalled as stall:
            if several():  # the others wait for this one in the midst of a call, and cannot save
                reason = "it was asked to stop while a reader hangs: the last checkpoint is what is saved"
                leave(f"{reason}; the same command goes on from there", _INTERRUPTED)
            if not self.owed:
                self.carry, self.done = stall.carry, stall.step
        self._read(leave=1 if end < evaluate_at else 2)

    def _read(self, *, leave: int) -> None:
        """Reads what the device has finished, but for the newest `leave` results."""
        while len(self.unread) > leave:
            steps, result, looks = self.unread.pop(0)
            if isinstance(result, Row):
                self._measured(row := jax.device_get(result))
                self.inspector.keep(row, looks)
            else:
                self._heed(steps, jax.device_get(result))

    def _heed(self, steps: int, pulse: Pulse) -> None:
        now = time.monotonic()
        seconds, self.read_at = now - self.read_at, now
        self.wanted_steps = wanted_steps(steps, seconds, longest=self.call_steps, call=self.call_seconds)
        live = pulse.live & self.real
        self.live = bool(live.any())
        self.read_step += steps
        self._pass(self.read_step, now - self.began[0])
        try:
            self.progress.step(self.read_step, self.total, int(live.sum()))
        except (
            OSError
        ) as error:  # what cannot be shown, as on a terminal that is gone, is no reason not to save
            self.unheard = error

    def _pass(self, step: int, seconds: float) -> None:
        self.restarts, told = self.restarts.passed(step, seconds)
        if told:
            self.progress.say(told)

    def _measured(self, row: Row) -> None:
        fresh = [
            {"member": index, "step": int(row.step[index])}
            | {name: float(row.metrics[name][index]) for name in self.names}
            | ({} if self.carry.kept is None else {"best": bool(row.best[index])})
            for index in np.flatnonzero(row.valid & self.real)
            for index in [int(index)]
        ]
        self._record((self._logged(row.log) if row.log is not None else []) + fresh)
        if fresh and is_first():
            self.progress.evaluated([dict(row) for row in fresh])

    def _logged(self, log: StepLog) -> list[dict[str, Any]]:
        members = map(int, np.flatnonzero(self.real))
        return [row for member in members for row in log_rows(log, member, evaluation=self.read_step)]

    def _record(self, fresh: list[dict[str, Any]]) -> None:
        self.rows += fresh
        self.sum.add(fresh)
        if self.directory and fresh and is_first():
            append_rows(self.directory / ROWS, fresh)

    def _save(self, due: Due) -> None:
        self._read(leave=0)  # the rows up to here are on disk before the checkpoint is
        if self.live:
            self.saver.save(due, self.done, self.carry, self._about)

    def _about(self) -> dict[str, Any]:
        """What is saved with a checkpoint: by which rows belong to it, and who trained it for how long."""
        began, start = self.began
        taken = time.monotonic() - began - self.profiler.seconds if self.done > start else 0.0
        parts = history.extended(self.parts, start, self.done, self.here)
        about = {"rows": self.sum.told(), "owed": self.owed, "seconds": self.before + taken, "parts": parts}
        return about | {"restarts": self.restarts.over}

    def _interrupt(self, asked: list[int]) -> None:
        if self.directory:
            self._save(Due(True, False))
            self.saver.close()
        if self.unheard and not self.asked():
            raise self.unheard
        who = f"a signal to process {', '.join(map(str, asked))}: " if several() else ""
        raise Interrupted(f"{who}stopped at step {self.done}; the same command goes on from there")
