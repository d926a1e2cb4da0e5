"""Checkpoints that are made on the local disk and copied to a store."""

import fcntl
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from etils import epath

from fdl import storage
from fdl.train import Saving, fit, seal, staged_checkpoint
from fdl.train.checkpoint import Checkpoints
from tests import toy

pytestmark = pytest.mark.parametrize("root", ["s3"], indirect=True)


@pytest.mark.medium
def test_a_copy_that_fails_is_said_and_half_of_one_swept_away(root, monkeypatch):
    key, directory, done = jax.random.key(3), storage.folder(f"{root}/fits/two"), []
    checkpoints, upload = directory / "checkpoints", staged_checkpoint.upload

    def failing(here: Path, path: storage.Folder) -> None:
        done.append(path)
        if len(done) > 8 and path.name == "state":
            raise OSError(f"{path} cannot be reached (no route to host)")
        upload(here, path)

    monkeypatch.setattr(staged_checkpoint, "upload", failing)
    with pytest.raises(OSError, match=r"fits/two/checkpoints/.* cannot be reached \(no route to host\)"):
        fit(toy.experiment(toy.Config()), key, directory=directory, saving=Saving(steps=5))
    monkeypatch.undo()
    whole = [path.name for path in checkpoints.iterdir() if (path / "checksums.json").exists()]
    part = [path.name for path in checkpoints.iterdir() if path.name not in whole]
    assert whole and part, "the failure came in the middle of a copy"
    opened = staged_checkpoint.open_staged(checkpoints, keep=2, say=print)
    assert sorted(path.name for path in checkpoints.iterdir()) == sorted(whole)
    opened.close()


def weights(value: float) -> dict[str, jax.Array]:
    return {"weights": jnp.full((1000,), value), "key": jax.random.key(int(value))}


def restored(checkpoints: Checkpoints) -> tuple[int, float]:
    """The step and the value that are read."""
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shape = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)  # noqa: E731
    found = checkpoints.restore(jax.tree.map(shape, weights(0)), None, lambda *_: None)
    assert found is not None
    step, carry, _ = found
    value = float(carry["weights"][-1])
    assert (carry["key"] == jax.random.key(int(value))).all()
    return step, value


@pytest.mark.medium
def test_a_damaged_copy_is_moved_aside_and_made_again(root):
    directory, store, said = storage.folder(f"{root}/again/checkpoints"), storage.store(epath.Path(root)), []
    with_two = staged_checkpoint.open_staged(directory, keep=2, say=print)
    with_two.save(15, weights(1), {})
    with_two.save(20, weights(2), {})
    with_two.close()
    data = max(store.find(f"{directory}/20", detail=True).values(), key=lambda one: one["size"])
    store.pipe_file(data["name"], bytes(data["size"]))
    store.call_s3("put_object", Bucket="bucket-1", Key="again/checkpoints/", Body=b"")  # some tools make it

    fixed = staged_checkpoint.open_staged(directory, keep=1, say=said.append)
    assert restored(fixed) == (15, 1.0)
    assert f"{directory}/20" in said[0] and "going on from step 15" in said[0]
    fixed.save(20, weights(3), {})
    fixed.close()
    again = staged_checkpoint.open_staged(directory, keep=1, say=said.append)
    assert restored(again) == (20, 3.0) and len(said) == 1
    again.close()
    assert [path.name for path in directory.iterdir() if path.name.isdigit()] == ["20"]
    assert [path.name for path in (directory.parent / "damaged").iterdir()] == ["20-0"]


def test_what_could_not_be_sealed_takes_nothing_away(root, monkeypatch):
    directory = storage.folder(f"{root}/full/checkpoints")
    opened = staged_checkpoint.open_staged(directory, keep=1, say=print)
    opened.save(1, weights(1), {})
    while opened.busy():
        time.sleep(0.01)

    def full(path: Path, data: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(seal, "write_sealed", full)
    opened.save(2, weights(2), {})
    with pytest.raises(OSError, match=r"cannot save to .*no space left"):
        opened.close()
    opened = staged_checkpoint.open_staged(directory, keep=1, say=print)
    assert restored(opened) == (1, 1.0)
    opened.close()


def test_folders_that_killed_processes_left_are_removed(root, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("left", "used"):
        (tmp_path / f"{staged_checkpoint.STAGES}{name}").mkdir()
        (tmp_path / f"{staged_checkpoint.STAGES}{name}" / "lock").touch()
    with (tmp_path / f"{staged_checkpoint.STAGES}used" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        staged_checkpoint.open_staged(storage.folder(f"{root}/stages"), keep=1, say=print).close()
    assert [path.name for path in tmp_path.iterdir()] == [f"{staged_checkpoint.STAGES}used"]
