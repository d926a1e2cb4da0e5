"""What is on disk after an interruption, a crash, damage, a full disk."""

import functools
import json
import os
import signal
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.experiment import Best
from fdl.train import Fitted, Interrupted, Progress, Saving, fit, state_at
from fdl.train.checkpoint import open_checkpoints
from fdl.train.identity import of_experiment
from tests.driver import in_use
from tests.toy import Config, experiment
from tests.train.test_run import KEY, nan_after, same

OFTEN = Saving(steps=7)


@functools.cache
def undisturbed(steps: int = 40) -> Fitted:
    """A run that nothing happens to, in no directory."""
    return fit(experiment(Config(steps=steps)), KEY)


def steps_in(directory: Path) -> list[int]:
    return sorted(
        int(folder.name) for folder in (directory / "checkpoints").iterdir() if folder.name.isdigit()
    )


def rows_in(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


class Stop(Exception):
    """Ends a run at a moment of the test's choice, as a crash would."""


def crash_at(step: int) -> Progress:
    def step_done(done: int, total: int, live: int) -> None:
        if done >= step:
            raise Stop

    return Progress(step=step_done)


@pytest.mark.medium
@pytest.mark.parametrize("step", [1, 8, 15, 22, 36])
def test_a_crash_at_any_step_changes_no_bit(tmp_path, step):
    with pytest.raises(Stop):
        fit(experiment(Config()), KEY, directory=tmp_path, saving=OFTEN, progress=crash_at(step))
    resumed = fit(experiment(Config()), KEY, directory=tmp_path, saving=OFTEN)
    whole = undisturbed()
    same(resumed.state, whole.state)
    assert resumed.rows == whole.rows and resumed.end == whole.end
    assert [row["test/loss"] for row in rows_in(tmp_path)] == [row["test/loss"] for row in whole.rows]


@pytest.mark.medium
def test_a_finished_run_does_nothing(tmp_path):
    first = fit(experiment(Config()), KEY, directory=tmp_path, saving=OFTEN)
    files = {
        path: path.stat().st_mtime_ns
        for path in tmp_path.rglob("*")
        if path.is_file() and path.name != ".lock"
    }
    again = fit(experiment(Config()), KEY, directory=tmp_path, saving=OFTEN, progress=crash_at(1))
    same(first.state, again.state)
    assert again.rows == first.rows
    kept = {path: path.stat().st_mtime_ns for path in files if path.exists() and "checkpoints" in path.parts}
    assert kept == {path: time for path, time in files.items() if "checkpoints" in path.parts}


@pytest.mark.medium
def test_the_last_n_are_kept_and_the_best_state_is_in_each(tmp_path):
    one = experiment(Config())._replace(best=Best("test/loss", "higher"))
    with pytest.raises(Stop):
        fit(one, KEY, directory=tmp_path, saving=Saving(steps=5, keep=2), progress=crash_at(35))
    fitted = fit(one, KEY, directory=tmp_path, saving=Saving(steps=5, keep=2))
    assert [row["best"] for row in fitted.rows] == [True, False, False, False], "the toy's loss falls"
    same(fitted.state, undisturbed(10).state)
    assert steps_in(tmp_path) == [35, 40]


@pytest.mark.medium
def test_any_state_of_a_run_can_be_had_again(tmp_path):
    one = experiment(Config())
    fit(one, KEY, directory=tmp_path, saving=Saving(steps=15))
    before = rows_in(tmp_path), steps_in(tmp_path)
    for step in (0, 7, 33):  # before the first checkpoint, and after one
        expected = state_at(one, KEY, step)
        same(expected, state_at(one, KEY, step, directory=tmp_path))
    assert (rows_in(tmp_path), steps_in(tmp_path)) == before, "it is only read"
    with pytest.raises(ValueError, match="step is 41; expected one from 0 to the run's 40"):
        state_at(one, KEY, 41)


def test_a_checkpoint_holds_everything(tmp_path):
    with pytest.raises(Stop):
        fit(experiment(Config()), KEY, directory=tmp_path, saving=OFTEN, progress=crash_at(15))
    tree = json.loads(
        (tmp_path / "checkpoints" / str(steps_in(tmp_path)[-1]) / "state" / "_METADATA").read_text()
    )
    names = " ".join(tree["tree_metadata"])
    for part in ("weights", "momentum", "step", "sums", "ended", "stopped", "failed"):
        assert f"'{part}'" in names


def data_files(directory: Path, step: int) -> list[Path]:
    state = directory / "checkpoints" / str(step) / "state"
    return [path for path in state.rglob("*") if path.parent.name == "d"]


HARMS = {
    "truncate": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "delete": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "garble": lambda path: path.write_bytes(bytes(255 - byte for byte in path.read_bytes())),
}


@pytest.mark.medium
@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_newest_checkpoint_is_said_and_the_one_before_is_used(tmp_path, harm):
    with pytest.raises(Stop):
        fit(experiment(Config()), KEY, directory=tmp_path, saving=OFTEN, progress=crash_at(30))
    *_, before, newest = steps_in(tmp_path)
    for path in data_files(tmp_path, newest):
        HARMS[harm](path)
    lines = []
    resumed = fit(
        experiment(Config()), KEY, directory=tmp_path, saving=OFTEN, progress=Progress(say=lines.append)
    )
    said = [line for line in lines if "damaged" in line]
    assert len(said) == 1 and f"/{newest}" in said[0] and f"going on from step {before}" in said[0]
    same(resumed.state, undisturbed().state)
    assert resumed.rows == undisturbed().rows
    assert list((tmp_path / "damaged").iterdir()), "nothing is deleted"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "uint32", "float16", "bool"])
def test_one_flipped_bit_in_a_checkpoint_is_found(tmp_path, dtype):
    """Uncompressed arrays carry no checksum of Orbax's own."""
    place = jax.sharding.NamedSharding(jax.make_mesh((1,), ("x",)), jax.sharding.PartitionSpec())
    values = jax.random.bits(KEY, (70_001,), "uint32").astype(dtype)
    carry = {"weights": jax.device_put(values, place), "key": jax.device_put(KEY, place)}
    checkpoints = open_checkpoints(tmp_path / "checkpoints", keep=3, say=print)
    for step in (1, 2):
        checkpoints.save(step, jax.tree.map(lambda leaf: leaf, carry), {})
    checkpoints.close()
    raw = np.asarray(values).tobytes()
    (path,) = [path for path in data_files(tmp_path, 2) if raw[:1000] in path.read_bytes()]
    whole = bytearray(path.read_bytes())
    whole[whole.index(raw[:1000]) + 504] ^= 1
    path.write_bytes(whole)
    lines = []
    abstract = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), carry)
    restored = open_checkpoints(tmp_path / "checkpoints", keep=3, say=lines.append).restore(
        abstract, None, lambda *_: None
    )
    assert restored is not None and restored.step == 1 and "checksum" in lines[0]
    same(restored.carry["weights"], values)


def restored_weights(directory: Path, step: int) -> jax.Array:
    from orbax.checkpoint import v1 as ocp

    return ocp.load(directory / "checkpoints" / str(step), checkpointable_name="state")["carry"]["state"][
        "weights"
    ]


@pytest.mark.medium
def test_if_every_checkpoint_is_damaged_nothing_is_overwritten(tmp_path):
    with pytest.raises(Stop):
        fit(experiment(Config()), KEY, directory=tmp_path, saving=OFTEN, progress=crash_at(30))
    for step in steps_in(tmp_path):
        for path in data_files(tmp_path, step):
            path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"no checkpoint can be used.*--restart"):
        fit(experiment(Config()), KEY, directory=tmp_path, saving=OFTEN)


@pytest.mark.medium
def test_a_directory_in_use_is_refused_until_its_process_ends(tmp_path):
    held = {"key": jax.random.key_data(KEY).tolist(), **of_experiment(experiment(Config()))}
    with in_use(tmp_path, held), pytest.raises(ValueError, match=r"is in use by process \d+ on "):
        fit(experiment(Config()), KEY, directory=str(tmp_path))
    assert fit(experiment(Config()), KEY, directory=str(tmp_path)).end["status"] == "finished"


@pytest.mark.medium
def test_a_directory_that_holds_another_run_is_refused_with_the_differences(tmp_path):
    """Another learning rate, other labels, fewer steps, another key: from Python, without being asked."""
    built = experiment(Config())
    fit(built, KEY, directory=tmp_path)
    others = built.train._replace(arrays={**built.train.arrays, "y": -built.train.arrays["y"]})
    for other, words in [
        (experiment(Config(lr=0.1)), r"lr: 0.05 -> 0.1.*--restart"),
        (built._replace(train=others), r"train\.arrays\.y: 'float32\[96\]"),
        (built._replace(steps=20), "steps: 40 -> 20"),
    ]:
        with pytest.raises(ValueError, match=words):
            fit(other, KEY, directory=tmp_path)
    with pytest.raises(ValueError, match="key"):
        fit(built, jax.random.key(9), directory=tmp_path)
    fit(built._replace(steps=20), KEY, directory=tmp_path, restart=True)
    assert (tmp_path.parent / f"{tmp_path.name}.1").exists()


@pytest.mark.medium
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.usefixtures("heeded")
def test_a_signal_saves_and_says_how_to_go_on(tmp_path, number):
    sent = []

    def kill(done: int, total: int, live: int) -> None:
        if done >= 100 and not sent:
            sent.append(done)
            signal.raise_signal(number)

    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=r"step \d+.*same command"):
        fit(experiment(Config(steps=400)), KEY, directory=tmp_path, progress=Progress(step=kill))
    assert signal.getsignal(number) is before
    assert steps_in(tmp_path)[-1] >= 100
    resumed = fit(experiment(Config(steps=400)), KEY, directory=tmp_path)
    same(resumed.state, undisturbed(400).state)
    assert resumed.rows == undisturbed(400).rows


def test_a_signal_that_is_ignored_stays_so(tmp_path):
    """As SIGHUP is under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        progress = Progress(step=lambda done, total, live: signal.raise_signal(signal.SIGHUP))
        assert (
            fit(experiment(Config()), KEY, directory=tmp_path, progress=progress).end["status"] == "finished"
        )
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_cannot_be_shown_does_not_keep_a_run_from_saving(tmp_path):
    """The terminal is gone, or the reader of the output: the run ends, but all is saved."""

    def gone(done: int, total: int, live: int) -> None:
        if done >= 100:
            raise BrokenPipeError("the reader has gone")

    with pytest.raises(BrokenPipeError, match="the reader has gone"):
        fit(experiment(Config(steps=400)), KEY, directory=tmp_path, progress=Progress(step=gone))
    assert steps_in(tmp_path)[-1] >= 100


@pytest.mark.medium
def test_outside_the_main_thread_a_run_works_too(tmp_path):
    done = []
    thread = threading.Thread(target=lambda: done.append(fit(experiment(Config()), KEY, directory=tmp_path)))
    thread.start()
    thread.join()
    same(done[0].state, undisturbed().state)


@pytest.mark.medium
@pytest.mark.filterwarnings("ignore:Sharding info not provided")
def test_a_failed_run_keeps_its_last_good_checkpoint(tmp_path):
    fitted = fit(nan_after(25), KEY, directory=tmp_path, saving=OFTEN)
    assert fitted.end["status"] == "failed"
    assert steps_in(tmp_path)[-1] <= 25
    assert bool(jnp.isfinite(restored_weights(tmp_path, steps_in(tmp_path)[-1])).all())


def test_an_unwritable_directory_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file is a file; expected a folder"):
        fit(experiment(Config()), KEY, directory=tmp_path / "file" / "run")
    if Path("/proc/self").exists():  # even root makes no folder there
        with pytest.raises(OSError, match="/proc/fdl"):
            fit(experiment(Config()), KEY, directory=Path("/proc/fdl/run"))


@pytest.mark.medium
def test_a_full_disk_is_one_clear_error_and_earlier_checkpoints_are_intact(tmp_path):
    """A limit on the size of files stands for the full disk: the write fails in the same place."""
    import resource
    import subprocess
    import sys

    code = f"""
import resource, signal, sys
import jax
from pathlib import Path
from fdl.train import fit, Saving, Progress
from tests.driver import in_use
from tests.toy import Config, experiment
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def fill(done, total, live):
    if done >= 20:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    saving, progress = Saving(steps=7), Progress(step=fill)
    key, directory = jax.random.key(3), Path({str(tmp_path)!r})
    fit(experiment(Config()), key, directory=directory, saving=saving, progress=progress)
except OSError as error:
    sys.stderr.write(f"one line: {{error}}")
    sys.exit(1)
"""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert out.returncode == 1, out.stderr
    assert out.stderr.startswith("one line: cannot save to") and "\n" not in out.stderr.strip()
    assert "earlier checkpoints are intact" in out.stderr
    resumed = fit(experiment(Config()), KEY, directory=tmp_path, saving=OFTEN)
    same(resumed.state, undisturbed().state)


def test_a_save_does_not_hold_up_the_step(tmp_path):
    """The save of a large state returns long before the state is on disk."""
    import time

    state = {"weights": jnp.arange(2**26, dtype=jnp.float32)}  # 268 MB
    checkpoints = open_checkpoints(tmp_path / "checkpoints", keep=1, say=print)
    jax.block_until_ready(state)
    began = time.perf_counter()
    checkpoints.save(2, state, {})
    blocked = time.perf_counter() - began
    checkpoints.close()
    whole = time.perf_counter() - began
    assert blocked < whole / 2


@pytest.mark.parametrize(
    "saving",
    [Saving(float("nan")), Saving(float("inf")), Saving(-1.0), Saving(steps=0), Saving(keep=0)],
)
def test_a_saving_that_would_never_come_is_refused_before_anything_is_written(tmp_path, saving):
    with pytest.raises(ValueError, match=r"saving\.(seconds|steps|keep) is .*; expected"):
        fit(experiment(Config()), KEY, directory=tmp_path / "new", saving=saving)
    assert not (tmp_path / "new").exists()
