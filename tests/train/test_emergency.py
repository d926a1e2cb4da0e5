"""Emergency checkpoints of one process: which are taken, which never, and that no bit depends on it."""

import concurrent.futures
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.train import Fitted, Progress, Saving, emergency, fit
from fdl.train.folder import read_sealed, write_sealed
from tests.toy import Config, experiment
from tests.train.test_checkpoint import Stop, crash_at, steps_in, undisturbed
from tests.train.test_run import KEY, same

CARRY = {
    "half": jnp.array([1.5, -0.0, jnp.nan], jnp.bfloat16),
    "key": jax.random.split(jax.random.key(3), 2),
    "none": jnp.zeros((0, 4)),
    "number": jnp.int32(7),
    "truth": jnp.array([True, False]),
}
SHAPES = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), CARRY)


class AtOnce(concurrent.futures.Executor):
    """Does what is submitted before it returns, so that a test knows what is on the disk."""

    def submit(self, do, /, *args, **more):
        done = concurrent.futures.Future()
        try:
            done.set_result(do(*args, **more))
        except Exception as error:
            done.set_exception(error)
        return done


@pytest.fixture(autouse=True, scope="module")
def at_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emergency.concurrent.futures, "ThreadPoolExecutor", lambda *_, **__: AtOnce())
        yield


def saving(place: Path, *, steps: int | None = None) -> Saving:
    return Saving(1e6, steps, emergency=place / "near", emergency_seconds=0.0)


@pytest.fixture(scope="module")
def crashed(tmp_path_factory) -> Path:
    """Where a run ended after step 30, with a checkpoint of step 20, and emergency checkpoints of many."""
    place = tmp_path_factory.mktemp("crashed")
    how, stop = saving(place, steps=20), crash_at(31)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(emergency, "KEPT", 99)
        fit(experiment(Config()), KEY, directory=place / "run", saving=how, progress=stop)
    return place


def copied(crashed: Path, place: Path, *, below: int) -> list[int]:
    """The steps of the emergency checkpoints that are left in a copy: those below a step."""
    shutil.copytree(crashed, place, dirs_exist_ok=True)
    (own,) = (place / "near").glob("*/0")
    for path in own.iterdir():
        if int(path.name) >= below:
            shutil.rmtree(path)
    return sorted(int(path.name) for path in own.iterdir())


def again(place: Path, **more) -> tuple[Fitted, str]:
    """The run as it goes on, and what it said."""
    said: list[str] = []
    told, run = Progress(said.append), place / "run"
    fitted = fit(experiment(Config()), KEY, directory=run, saving=saving(place), progress=told, **more)
    return fitted, "\n".join(said)


def is_undisturbed(fitted: Fitted) -> None:
    same(fitted.state, undisturbed().state)
    assert fitted.rows == undisturbed().rows and fitted.end == undisturbed().end


@pytest.mark.medium
def test_one_that_is_newer_than_the_directory_is_taken_and_none_is_left_after_the_end(crashed, tmp_path):
    step = copied(crashed, tmp_path, below=99)[-1]
    fitted, said = again(tmp_path)
    assert step >= 30 and f"going on from step {step}, of the emergency checkpoints" in said
    is_undisturbed(fitted)
    assert max(steps_in(tmp_path / "run")) == 40 and not list((tmp_path / "near").iterdir())
    assert "gain nothing" in said, "it is on the same disk"


@pytest.mark.medium
def test_a_checkpoint_of_the_directory_that_is_as_new_is_taken(crashed, tmp_path):
    assert copied(crashed, tmp_path, below=21)[-1] == 20
    fitted, said = again(tmp_path)
    assert "going on from step 20, of the directory" in said
    is_undisturbed(fitted)


@pytest.mark.medium
def test_where_a_row_is_lost_the_newest_before_it_is_taken(crashed, tmp_path):
    step = copied(crashed, tmp_path, below=99)[-1]
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "20")
    rows = tmp_path / "run" / "metrics.jsonl"
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:-1]))
    fitted, said = again(tmp_path)
    assert f"emergency checkpoint of step {step}: " in said and "metrics.jsonl" in said
    assert "going on from step 20, of the emergency" in said
    is_undisturbed(fitted)


@pytest.mark.medium
def test_a_run_that_is_to_start_again_does(crashed, tmp_path):
    copied(crashed, tmp_path, below=99)
    fitted, said = again(tmp_path, restart=True)
    assert "going on" not in said
    is_undisturbed(fitted)


def opened(place: Path, said: Callable[[str], None], run: str = "run") -> emergency.Emergency:
    (place / run).mkdir(exist_ok=True)
    return emergency.open_emergency(place / "near", place / run, say=said)


def steps_of(kept: emergency.Emergency) -> list[int]:
    return list(kept.steps(SHAPES, lambda about, step: None))


def test_every_kind_of_array_comes_back_bit_for_bit(tmp_path):
    kept = opened(tmp_path, pytest.fail)
    kept.save(3, CARRY, {"rows": [1]})
    assert steps_of(kept) == [3]
    found = kept.load(3, SHAPES)
    assert found and (found.step, found.about) == (3, {"rows": [1]})
    for one, other in zip(jax.tree.leaves(CARRY), jax.tree.leaves(found.carry), strict=True):
        assert one.dtype == other.dtype
        if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
    shutil.rmtree(tmp_path / "near")
    assert kept.load(3, SHAPES) is None


def flip(of: Path) -> None:
    content = bytearray((of / "arrays").read_bytes())
    content[-1] ^= 1
    (of / "arrays").write_bytes(content)


def reseal(of: Path, **other) -> None:
    found = read_sealed(of / "checksums.json", fix="")
    assert found
    write_sealed(of / "checksums.json", {**found, "about": {**found["about"], **other}})


HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a bit": (flip, "of step 7: process 0: arrays does not agree with its checksum; not taken"),
    "gone": (lambda of: (of / "arrays").unlink(), "of step 7: process 0: arrays is missing; not taken"),
    "a seal": (lambda of: (of / "checksums.json").write_text("{"), "checksums.json is not JSON"),
    "half": (lambda of: (of / "checksums.json").unlink(), ""),
    "other step": (lambda of: of.rename(of.with_name("8")), "of step 8: process 0: is that of step 7"),
    "other world": (lambda of: reseal(of, processes=2), "process 0: is of process 0 of 2"),
    "other layout": (lambda of: reseal(of, layout="0"), "laid out in another way"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_one_that_is_not_whole_or_not_its_own_is_not_taken_but_the_one_before(tmp_path, harm):
    said: list[str] = []
    kept = opened(tmp_path, said.append)
    for step in (3, 7):
        kept.save(step, CARRY, {})
    (of,) = (tmp_path / "near").glob("*/0/7")
    HARMS[harm][0](of)
    kept = opened(tmp_path, said.append)
    assert steps_of(kept) == [3]
    kept.went_on(3)
    assert HARMS[harm][1] in "\n".join(said) and bool(said) == bool(HARMS[harm][1])
    assert [path.name for path in of.parent.iterdir()] == ["3"], "what is newer would be taken for the newest"


@pytest.mark.parametrize("run", ["other", "run"])
def test_one_of_another_directory_or_of_one_that_has_lost_its_name_is_not_taken(tmp_path, run):
    said: list[str] = []
    opened(tmp_path, said.append).save(3, CARRY, {})
    (tmp_path / "run" / "emergency.json").write_text('{"name": "x"}')
    assert not steps_of(opened(tmp_path, said.append, run))
    assert ("are not taken" in "".join(said)) == (run == "run")
    assert list((tmp_path / "near").glob("*/0/3")), "it may be another's"


def test_the_last_two_are_kept_and_what_cannot_be_written_is_said_once(tmp_path, monkeypatch):
    said: list[str] = []
    kept = opened(tmp_path, said.append)
    for step in (1, 2, 3, 4):
        kept.save(step, CARRY, {})
    assert steps_of(kept) == [4, 3] and not said

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(emergency.np, "save", full)
    for step in (5, 6, 7):
        kept.save(step, CARRY, {})
    assert len(said) == 1 and "process 0 cannot write" in said[0] and "No space left" in said[0]
    assert steps_of(opened(tmp_path, pytest.fail)) == [4, 3]


@pytest.mark.parametrize(
    ("place", "directory", "reason"),
    [
        ("gs://bucket/near", "run", "expected a folder on each process's own disk"),
        (" ", "run", "expected a folder on each process's own disk"),
        ("file/near", "run", "file is a file; expected a folder"),
        ("near", None, "the run has no directory; give one, or leave it out"),
    ],
)
def test_a_place_that_is_none_is_refused_before_anything_is_written(
    tmp_path, monkeypatch, place, directory, reason
):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(ValueError, match=reason):
        fit(experiment(Config()), KEY, directory=directory, saving=Saving(emergency=place))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
