"""Traces of some steps: they hold these and no others, and change no bit."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.profiler import ProfileData

import fdl
from fdl.parallel.plan import Plan
from fdl.train import Progress, Saving, fit
from fdl.train.loop import execute
from fdl.train.outcome import Outcome
from fdl.train.profiling import Profiler, place_of, stretch
from fdl.train.program import compile_program, stack_members
from fdl.train.rows import metric_names
from fdl.train.run import arrays_of
from tests.toy import Config, experiment

KEY = jax.random.key(3)
FAILS_IN: list[int] = []
"""The update in which the toy's reader fails, if any."""


def told(steps: int) -> fdl.Experiment:
    """The toy, each step of which leaves an event in a trace: `update 0`, and so on."""
    toy = experiment(Config(steps=steps), every=steps)

    def tell(step: np.ndarray) -> None:
        jax.profiler.TraceAnnotation(f"update {int(step)}").__enter__().__exit__(None, None, None)
        if step in FAILS_IN:
            raise RuntimeError("the reader is gone")

    def batch(arrays, step, key):
        jax.debug.callback(tell, step)
        return toy.train.batch(arrays, step, key)

    return toy._replace(train=toy.train._replace(batch=batch))


@pytest.fixture(scope="module", params=["scan", "calls"])
def run(request: pytest.FixtureRequest) -> Callable[..., Outcome]:
    """`run(profiler, directory)` trains the toy for 30 steps by one compiled program."""
    toy = told(30)
    members = stack_members([()], KEY[None], pad_to=1)
    program = compile_program(lambda _: toy, members, arrays_of(toy), Plan(1, "map", request.param, 1))

    def execute_(profiler: Profiler, directory: Path | None = None, **options: Any) -> Outcome:
        names = metric_names(toy)
        return execute(program, members, [30], names, directory=directory, profiler=profiler, **options)

    return execute_


def updates(folder: Path) -> list[list[int]]:
    """The updates in each trace under a folder, in order, as its file for XProf holds them."""
    found = []
    for file in sorted(folder.glob("plugins/profile/*/*.xplane.pb")):
        planes = ProfileData.from_file(str(file)).planes
        names = [event.name for plane in planes for line in plane.lines for event in line.events]
        found.append(sorted(int(name.split()[1]) for name in names if re.fullmatch(r"update \d+", name)))
    return found


@pytest.mark.parametrize(("schedule", "began", "expected"), [
    ([1000], 0, (10, 20)), ([500, 1000], 0, (10, 20)), ([1000], 123, (133, 143)), ([20], 0, (10, 20)),
    ([10, 20, 30], 0, (10, 20)), ([11, 22, 33], 0, (11, 21)), ([15, 30], 0, (15, 25)),
    ([5, 10, 15, 20, 25], 0, (10, 15)), ([7, 14, 21, 28], 0, (14, 21)), ([19], 0, (9, 19)),
    ([12], 0, (2, 12)), ([8], 0, (0, 8)), ([3, 8], 0, (3, 8)), ([8], 5, (5, 8)), ([8], 8, None),
    ([1000], 985, (990, 1000)), ([1], 0, (0, 1)),
])  # fmt: skip
def test_ten_steps_in_a_row_after_the_first_ten(schedule, began, expected):
    assert stretch(schedule, began) == expected


@pytest.mark.medium
def test_a_trace_holds_its_steps_and_changes_no_bit(run, tmp_path):
    said: list[str] = []
    with Profiler(tmp_path, said.append) as profiler:
        looked_at = run(profiler)
    plain = run(Profiler())
    assert updates(tmp_path) == [list(range(10, 20))]
    for ours, theirs in zip(jax.tree.leaves(looked_at.carry), jax.tree.leaves(plain.carry), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert looked_at.rows == plain.rows
    (line,) = said
    assert line.startswith(
        f"profile of steps 10 to 20; open it with `xprof --logdir {tmp_path}` (pip install "
    )
    found = re.search(r"or (\S+) at https://ui.perfetto.dev", line)
    assert found
    events = json.loads(gzip.decompress(Path(found[1]).read_bytes()))["traceEvents"]
    (whole,) = [event for event in events if event.get("name") == "steps 10 to 20"]
    inside = [event for event in events if re.fullmatch(r"update \d+", event.get("name", ""))]
    assert len(inside) == 10
    assert all(0 <= event["ts"] - whole["ts"] <= whole["dur"] for event in inside)


@pytest.mark.medium
def test_a_trace_ends_with_a_training_that_fails_and_is_of_other_steps_when_it_goes_on(
    run, tmp_path, monkeypatch
):
    said: list[str] = []
    run(Profiler(), tmp_path / "whole")
    monkeypatch.setattr("tests.train.test_profiling.FAILS_IN", [13])
    saving = Saving(steps=6)
    gone = pytest.raises(jax.errors.JaxRuntimeError, match="the reader is gone")
    with gone, Profiler(tmp_path / "a", said.append) as profiler:
        run(profiler, tmp_path / "run", saving=saving)
    assert said[-1].startswith("profile of the steps from 10 on, until the training ended; open it")
    (found,) = updates(tmp_path / "a")
    assert {10, 11, 12, 13} <= set(found) <= set(range(10, 20))
    monkeypatch.setattr("tests.train.test_profiling.FAILS_IN", [])
    with Profiler(tmp_path / "b", said.append) as profiler:
        ended = run(profiler, tmp_path / "run", saving=saving)
    first = min(profiler.began + 10, 20)
    assert profiler.began in (0, 6, 12) and updates(tmp_path / "b") == [list(range(first, first + 10))]
    assert ended.rows == run(Profiler(), tmp_path / "whole").rows
    with Profiler(tmp_path / "c", said.append) as profiler:
        run(profiler, tmp_path / "run")
    assert said[-1] == "there is no profile: no step is left to train" and not (tmp_path / "c").exists()
    refused = pytest.raises(ValueError, match=r"a profile is asked for, and none can begin.*already")
    with jax.profiler.trace(str(tmp_path / "own")), refused:  # raises itself where a trace runs already
        run(Profiler(tmp_path))


@pytest.mark.medium
def test_a_sweep_traces_the_first_program_that_has_steps_left(tmp_path):
    space = fdl.grid(Config(steps=6), power=(1, 2), seeds=1)
    said: list[str] = []
    progress = Progress(say=said.append)
    fdl.sweep(experiment, fdl.Sweep(space.trials[:1]), workdir=tmp_path, profile=True, progress=progress)
    assert (
        "profile of steps 0 to 6: 10 in a row after the first 10, with no evaluation, are not left; "
        in said[-1]
    )
    assert len(list(tmp_path.glob("profile/plugins/profile/*_steps_0_to_6/*.xplane.pb"))) == 1
    fdl.sweep(experiment, space, workdir=tmp_path, profile=tmp_path / "other", progress=progress)
    (first, second) = [place for place, line in enumerate(said) if "profile" in line]
    assert (
        first < said.index("program 2 of 2:") < second and f"--logdir {tmp_path / 'other'}`" in said[second]
    )
    assert len(list(tmp_path.glob("other/plugins/profile/*_steps_0_to_6/*.xplane.pb"))) == 1


def traced(profiler: Profiler, schedule: list[int], began: int) -> list[int]:
    """Where the calls of a training end that would make calls of 64 steps."""
    carry, done, ends = jax.numpy.zeros(3), began, []
    profiler.plan(schedule, began)
    while done < schedule[-1]:
        border = min(step for step in schedule if step > done)
        end = min(border, profiler.bound(done, done + 64))
        profiler.before(done, carry)
        for step in range(done, end):
            with jax.profiler.TraceAnnotation(f"update {step}"):
                carry = carry + 1
        done = end
        profiler.after(done, carry)
        ends.append(end)
    profiler.end()
    return ends


def test_calls_end_where_a_trace_begins_and_ends_and_a_second_training_has_none(tmp_path):
    said: list[str] = []
    with Profiler(tmp_path, said.append) as profiler:
        assert traced(profiler, [100], 5) == [15, 25, 89, 100]
        assert profiler.seconds > 0
        assert traced(profiler, [100], 0) == [64, 100]
        assert profiler.seconds == 0
    assert updates(tmp_path) == [list(range(15, 25))] and len(said) == 1


def test_a_trace_that_cannot_be_written_is_said_and_ends_nothing(tmp_path):
    (tmp_path / "plugins").write_text("in the way")
    said: list[str] = []
    with Profiler(tmp_path, said.append) as profiler:
        assert traced(profiler, [30], 0) == [10, 20, 30]
    assert len(said) == 1
    assert f"the profile of steps 10 to 20 cannot be written to {tmp_path}: NotADirectoryError" in said[0]


def test_what_is_no_folder_is_refused_before_anything_runs(tmp_path):
    (tmp_path / "file").write_text("")
    for profile, message in (
        (True, "profile is True, a folder in the run's directory, and there is none"),
        (3, "profile is 3; expected a folder, or True"),
        ("", "profile is ''; expected a folder"),
        (tmp_path / "file" / "a", "file is a file; expected a folder"),
        ("s3:/a", "s3:/a is no place to write to"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            fit(told(30), KEY, profile=profile)
    assert place_of(False, tmp_path) is None and place_of(True, tmp_path) == tmp_path / "profile"
