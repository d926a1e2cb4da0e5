"""Several processes of two simulated devices each: the numbers of one process, failures, restarts."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

from tests.parallel.hosts_driver import Ended

pytestmark = pytest.mark.slow

FILE = "tests/parallel/hosts_experiment.py"
RUN = ["run", FILE, "--steps", "60", "--checkpoint-steps", "20"]
BOUND = 15.0
"""Seconds within which all processes have ended once one has failed: what is promised."""
SHARDED = {"members": 1, "across": "map", "loop": "calls", "data": 2, "fsdp": 4}

Play = Callable[..., Ended]


@pytest.fixture(scope="module")
def undisturbed(play: Play, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """The directory of a run by so many processes that nothing happened to."""
    done: dict[int, Path] = {}

    def of(processes: int) -> Path:
        if processes not in done:
            directory = tmp_path_factory.mktemp(f"undisturbed-{processes}") / "run"
            ended = play(RUN, directory, processes=processes, devices=2)
            assert ended.codes == [0] * processes, ended.errors
            done[processes] = directory
        return done[processes]

    return of


def outcome(directory: Path) -> tuple[list[str], list[np.ndarray]]:
    """The rows and the final state of the one unit in a directory, whatever devices it was saved on."""
    (unit,) = (directory / "units").iterdir()
    newest = unit / "checkpoints" / str(max(saved_steps(unit)))
    shapes: Any = ocp.metadata(newest, checkpointable_name="state").metadata
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(lambda one: jax.ShapeDtypeStruct(one.shape, one.dtype, sharding=here), shapes)
    carry = ocp.load(newest, abstract, checkpointable_name="state")
    carry["carry"]["state"]["key"] = jax.random.key_data(carry["carry"]["state"]["key"])
    rows = (unit / "metrics.jsonl").read_text().splitlines()
    return rows, [np.asarray(leaf) for leaf in jax.tree.leaves(carry)]


def saved_steps(unit: Path) -> list[int]:
    """The steps of a unit's checkpoints."""
    return [int(path.name) for path in (unit / "checkpoints").iterdir() if path.name.isdigit()]


def agrees(directory: Path, other: Path) -> None:
    """Rows and final states agree within 1e-5."""
    (rows, state), (other_rows, other_state) = outcome(directory), outcome(other)
    assert len(rows) == len(other_rows) == 3
    for row, same in zip(map(json.loads, rows), map(json.loads, other_rows), strict=True):
        assert row == pytest.approx(same, rel=1e-5)
    for one, same in zip(state, other_state, strict=True):
        np.testing.assert_allclose(one, same, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("processes", [2, 4])
def test_the_numbers_are_those_of_one_process(play, undisturbed, tmp_path, processes):
    plan = {"members": 1, "across": "map", "loop": "calls", "data": 2 * processes}
    alone = play(RUN, tmp_path, devices=2 * processes, plan=plan)
    assert alone.codes == [0], alone.errors
    agrees(undisturbed(processes), tmp_path)


@pytest.mark.parametrize(("processes", "victim"), [(2, 1), (4, 0)], ids=["a worker of 2", "the first of 4"])
def test_killed_and_started_again_not_a_bit_differs(play, undisturbed, tmp_path, processes, victim):
    step = random.randrange(3, 57)
    killed = play(RUN, tmp_path, processes=processes, devices=2, harm="kill", victim=victim, step=step)
    assert killed.codes[victim] == -9 and all(killed.codes), (step, killed.codes)
    assert killed.seconds < BOUND, step
    for number, errors in enumerate(killed.errors):
        said = "lost touch with another process" in errors or "another task died" in errors
        assert number == victim or said, (step, errors)
    again = play(RUN, tmp_path, processes=processes, devices=2)
    assert again.codes == [0] * processes, (step, again.errors)
    (rows, state), (same_rows, same_state) = outcome(tmp_path), outcome(undisturbed(processes))
    assert rows == same_rows, step
    for one, same in zip(state, same_state, strict=True):
        np.testing.assert_array_equal(one, same)


def test_all_of_two_killed_at_once_it_goes_on_on_one(play, undisturbed, tmp_path):
    """To rounding, as sums over other devices are."""
    step = random.randrange(3, 57)
    killed = play(RUN, tmp_path, processes=2, devices=2, harm="blackout", victim=1, step=step)
    assert killed.codes == [-9, -9], step
    again = play(RUN, tmp_path, devices=2)
    assert again.codes == [0], (step, again.errors)
    agrees(tmp_path, undisturbed(2))


def test_one_killed_it_goes_on_on_two(play, undisturbed, tmp_path):
    step, alone = random.randrange(3, 57), {"members": 1, "across": "map", "loop": "calls", "data": 2}
    killed = play(RUN, tmp_path, devices=2, plan=alone, harm="kill", step=step)
    assert killed.codes == [-9], step
    again = play(RUN, tmp_path, processes=2, devices=2)
    assert again.codes == [0, 0], (step, again.errors)
    agrees(tmp_path, undisturbed(2))


def test_of_two_nodes_that_parameters_span_as_told_one_process_is_killed_and_it_goes_on_on_one(
    play, undisturbed, tmp_path
):
    """Which rows each of four processes, two a node, reads shows where its devices are in the mesh."""
    words, run = [*RUN, "--hosted"], tmp_path / "run"
    step, victim = random.randrange(3, 57), random.randrange(4)
    where = {"processes": 4, "devices": 2, "nodes": 2, "reads": str(tmp_path / "reads")}
    killed = play([*words, "--mesh", "data=4,fsdp=2x1"], run, harm="kill", victim=victim, step=step, **where)
    assert killed.codes[victim] == -9 and all(killed.codes), (step, killed.codes)
    for process in range(4):  # rows go along fsdp, then data: node by node; else a process had p and 4 + p
        read = [json.loads(line) for line in (tmp_path / f"reads.{process}").read_text().splitlines()]
        rows = {row for one in read if one["of"] == "train" for row in range(*one["rows"])}
        assert rows == {2 * process, 2 * process + 1}, step
    again = play(words, run, devices=8)
    assert again.codes == [0], (step, again.errors)
    agrees(run, undisturbed(4))


def test_an_exception_on_one_ends_all_with_its_reason(play, tmp_path):
    ended = play(RUN, tmp_path, processes=4, devices=2, harm="raise", victim=2, step=random.randrange(1, 59))
    assert ended.codes == [1] * 4
    assert ended.seconds < BOUND
    for errors in ended.errors:
        assert "process 2 ended: RuntimeError: the cat sat on the keyboard" in errors
    assert "Traceback" in ended.errors[2] and "Traceback" not in ended.errors[0]


def test_a_save_that_fails_on_one_ends_all_with_its_reason(play, tmp_path):
    words = [*RUN, "--mesh", "fsdp=4"]
    ended = play(words, tmp_path, processes=2, devices=2, harm="full", victim=1, step=30)
    assert ended.codes == [1] * 2, ended.errors
    assert ended.seconds < BOUND
    for errors in ended.errors:
        assert f"process 1 ended: cannot save to {tmp_path}" in errors and "File too large" in errors


def test_where_one_hangs_the_others_end(play, tmp_path):
    """So it looks where a machine of a TPU slice vanishes: nothing fails, nothing goes on."""
    ended = play(RUN, tmp_path, processes=2, devices=2, harm="freeze", victim=1, step=30)
    assert ended.codes[0] not in (0, None) and ended.seconds < BOUND
    assert "another task died" in ended.errors[0]


def test_saved_on_4x2_it_goes_on_on_2x4_on_1x8_on_one_device_and_back(play, undisturbed, tmp_path):
    """SIGTERM on one process makes all save at the same step, each time."""
    shapes = [(4, 2), (2, 4), (1, 8), (1, 1)]
    reached = 0
    for number, (processes, devices) in enumerate(shapes):
        victim = processes - 1
        ended = play(
            [*RUN[:-1], "5"],  # a call ends at every fifth step, so that the signal is heeded soon
            tmp_path,
            processes=processes,
            devices=devices,
            plan=SHARDED,
            harm="stop",
            victim=victim,
            step=reached + 2,
        )
        assert ended.codes == [75] * processes, ended.errors
        assert ended.seconds < BOUND
        said = [line for errors in ended.errors for line in errors.splitlines() if "stopped at step" in line]
        assert len(said) == processes and len(set(said)) == 1, "all say the same step"
        assert processes == 1 or f"a signal to process {victim}: " in said[0]
        (unit,) = (tmp_path / "units").iterdir()
        before, reached = reached, max(saved_steps(unit))
        assert f"step {reached};" in said[0]
        assert before < reached < 60, (number, before, reached)
    last = play(RUN, tmp_path, processes=4, devices=2)
    assert last.codes == [0] * 4, last.errors
    agrees(tmp_path, undisturbed(4))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--strategy", "pmap"], "pmap runs in one process, and here are 2; take jit or shard_map"),
        (["--mesh", "data=4x1"], "the mesh data=4x1 spans 4 slices, but the devices are of 2"),
    ],
)
def test_what_processes_cannot_have_is_refused_before_anything_is_compiled(play, tmp_path, words, reason):
    ended = play([*RUN, *words], tmp_path, processes=2, devices=2, nodes=2)
    assert ended.codes == [2, 2]
    for errors in ended.errors:
        assert reason in errors
    assert not list(tmp_path.iterdir())


def test_a_process_reads_only_its_own_rows(play, undisturbed, tmp_path):
    notes = tmp_path / "reads"
    ended = play([*RUN, "--hosted"], tmp_path / "run", processes=2, devices=2, reads=str(notes))
    assert ended.codes == [0, 0], ended.errors
    agrees(tmp_path / "run", undisturbed(2))  # whose data is in memory
    for process in (0, 1):
        read = [json.loads(line) for line in (tmp_path / f"reads.{process}").read_text().splitlines()]
        for name, share in (("train", 4), ("test", 16)):
            rows = {row for one in read if one["of"] == name for row in range(*one["rows"])}
            assert rows == set(range(process * share, (process + 1) * share))


def test_a_sweep_from_the_surroundings_writes_its_report_once(play, undisturbed, tmp_path):
    words = ["sweep", *RUN[1:]]
    ended = play(words, tmp_path, processes=2, devices=2, report=True, surroundings="slurm")
    assert ended.codes == [0, 0], ended.errors
    assert "report.html" in ended.out[0] and (tmp_path / "report.html").exists()
    # The threads of Gloo print of their ranks to the same stdout in pieces, which can make lines of any form.
    said = [line for line in ended.out[0].splitlines() if len(line) > 20 and "rank" not in line.lower()]
    assert said and not any(line in ended.out[1] for line in said)
    rows, _ = outcome(tmp_path)
    assert len(rows) == 3 * 3, "no row twice"
    ours = [row for row in map(json.loads, rows) if row["member"] == 2]
    for row, same in zip(ours, map(json.loads, outcome(undisturbed(2))[0]), strict=True):
        assert row == pytest.approx(same | {"member": 2}, rel=1e-5)


def test_in_workers_of_ray_it_takes_part(play, undisturbed, tmp_path):
    ended = play(RUN, tmp_path, processes=2, devices=2, surroundings="ray")
    assert ended.codes == [0, 0], ended.errors
    agrees(tmp_path, undisturbed(2))


def test_what_one_refuses_ends_all_with_its_code(play, undisturbed, tmp_path):
    wrong = play(RUN, tmp_path, processes=2, devices=2, harm="alone", victim=1)
    refused = play([*RUN, "--seed", "3"], undisturbed(2), processes=2, devices=2)
    for ended, number, reason in ((wrong, 1, "--lr"), (refused, 0, "holds another run")):
        assert ended.codes == [2, 2]
        for errors in ended.errors:
            assert f"process {number} ended: " in errors and reason in errors
