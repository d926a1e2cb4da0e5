"""States of GPUs are saved from a copy there; here devices of the CPU stand for them."""

import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.train import Saving, checkpoint, device_copy, fit
from fdl.train.checkpoint import open_checkpoints
from tests.toy import Config, experiment
from tests.train.test_checkpoint import undisturbed
from tests.train.test_run import KEY, same


@pytest.fixture
def gpus(monkeypatch):
    """Takes any device for a GPU, with room for a state, and counts the copies."""
    made = []

    def copied(state):
        copy = device_copy.copied(state)
        made.append(copy is not None)
        return copy

    monkeypatch.setattr(checkpoint, "on_gpus", lambda state: True)
    monkeypatch.setattr(checkpoint, "copied", copied)
    monkeypatch.setattr(device_copy, "_unused", lambda device: 10**9)
    return made


def state(value):
    return {"weights": jnp.full(1000, value, jnp.float32), "key": jax.random.key(7)}


def weights(directory, step):
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), state(0.0)
    )
    found = open_checkpoints(directory, keep=3, say=print).restore(shapes, step, lambda *_: None)
    assert found is not None and found.step == step
    np.testing.assert_array_equal(
        jax.random.key_data(found.carry["key"]), jax.random.key_data(jax.random.key(7))
    )
    return float(found.carry["weights"][0])


def test_a_step_goes_on_while_the_copy_waits(tmp_path, gpus, monkeypatch):
    checkpoints = open_checkpoints(tmp_path / "steps", keep=3, say=print)
    go, begun = threading.Event(), checkpoint._finish

    def late(*given):
        assert go.wait(60)
        begun(*given)

    monkeypatch.setattr(checkpoint, "_finish", late)
    old = state(1.0)
    checkpoints.save(1, old, {})
    jax.jit(lambda leaf: leaf + 1, donate_argnums=0)(old["weights"])
    assert old["weights"].is_deleted() and checkpoints.busy()
    go.set()
    checkpoints.save(2, state(2.0), {})
    checkpoints.close()
    assert gpus == [True, True]
    assert [weights(tmp_path / "steps", step) for step in (1, 2)] == [1.0, 2.0]


@pytest.mark.medium
def test_a_run_is_the_same(tmp_path, gpus):
    whole = undisturbed()
    first = fit(experiment(Config()), KEY, directory=tmp_path, saving=Saving(steps=7))
    same(first.state, whole.state)
    assert len(gpus) >= 5 and all(gpus)
    same(fit(experiment(Config()), KEY, directory=tmp_path).state, whole.state)


def test_without_room_nothing_is_copied(tmp_path, gpus, monkeypatch):
    monkeypatch.setattr(device_copy, "_unused", lambda device: 4000)  # the key has no place
    checkpoints = open_checkpoints(tmp_path / "steps", keep=1, say=print)
    checkpoints.save(3, state(3.0), {})
    checkpoints.close()
    assert gpus == [False] and weights(tmp_path / "steps", 3) == 3.0


def test_a_save_that_fails_on_its_way_is_told(tmp_path, gpus):
    checkpoints = open_checkpoints(tmp_path / "steps", keep=1, say=print)
    checkpoints.save(1, state(1.0), {})
    while checkpoints.busy():
        time.sleep(0.01)
    (tmp_path / "steps").rename(tmp_path / "away")
    (tmp_path / "steps").write_text("a file in the way")
    checkpoints.save(2, state(2.0), {})
    with pytest.raises(OSError, match="cannot save to"):
        checkpoints.close()


def test_a_cpu_has_no_copy():
    assert not device_copy.on_gpus(state(0.0))
    assert device_copy.copied(state(0.0)) is None  # it does not tell what was in use
