"""Work directories in buckets."""

import signal
from pathlib import Path

import jax
import numpy as np
import pytest

from fdl import storage
from fdl.doctor.surroundings import bucket_trouble
from fdl.experiment import Best
from fdl.train import Interrupted, Progress, Saving, fit
from fdl.train.folder import held, identity_in
from fdl.train.profiling import Profiler
from fdl.train.rows_file import append_rows, keep_rows, read
from tests import toy


@pytest.mark.parametrize(
    "place",
    [
        "gcs://bucket-1/run",
        "gs:/bucket-1/run",
        "s3:/a/b",
        "gs://bucket-1",
        "s3://bucket-1//run",
        "file:///tmp",
    ],
)
def test_a_place_that_is_none_is_answered_with_what_is_one(place):
    with pytest.raises(ValueError, match="expected gs://BUCKET/NAME, s3://BUCKET/NAME or a local path"):
        storage.folder(place)


@pytest.mark.parametrize("kind", ["gs", "s3"])
def test_what_a_bucket_needs_is_named(monkeypatch, kind):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=rf"pip install fdl\[{kind}\]"):
        storage.folder(f"{kind}://bucket-1/run")


def test_local_paths_stay_what_they_are(tmp_path):
    for place in ("runs/a", "a:b", str(tmp_path), tmp_path):
        assert storage.folder(place) == Path(place) and isinstance(storage.folder(place), Path)


def test_a_bucket_that_does_not_exist_is_found_at_once(root):
    with pytest.raises(OSError, match="://bucket-2/run cannot be reached"):
        storage.folder(f"{root.removesuffix('1')}2/run")


def test_the_doctor_writes_reads_and_deletes(root):
    place = f"{root}/looked/at"
    assert bucket_trouble(place) == "" and not storage.store(storage.folder(place)).find(place)
    assert "bucket-2/run cannot be reached" in bucket_trouble(f"{root.removesuffix('1')}2/run")


@pytest.mark.medium
def test_rows_are_appended_and_dropped(root):
    path = storage.folder(f"{root}/rows") / "metrics.jsonl"
    assert read(path).rows == [] and keep_rows(path, bool) == []
    rows = [{"member": member, "step": step} for step in range(12) for member in range(2)]
    for start in range(0, len(rows), 3):
        append_rows(path, rows[start : start + 3])
    assert read(path).rows == rows
    kept = [row for row in rows if row["step"] <= 4]
    assert keep_rows(path, lambda row: row["step"] <= 4) == kept == read(path).rows
    append_rows(path, rows[len(kept) :])
    assert read(path).rows == rows


def test_a_folder_is_claimed_once_and_moved_aside(root):
    folder = storage.folder(f"{root}/claims/one")

    def claim(identity: dict, restart: bool = False) -> None:
        with held(folder, identity, restart=restart):
            assert identity_in(folder) == identity

    claim({"lr": 1})
    claim({"lr": 1})
    with pytest.raises(ValueError, match=rf"{root}/claims/one holds another run \(lr: 1 -> 2\)"):
        claim({"lr": 2})
    claim({"lr": 2}, restart=True)
    claim({"lr": 3}, restart=True)
    found = [identity_in(folder.with_name(name)) for name in ("one.1", "one.2", "one")]
    assert found == [{"lr": 1}, {"lr": 2}, {"lr": 3}]


@pytest.mark.medium
def test_stopped_and_resumed_not_a_bit_differs_and_as_much_is_kept_as_on_a_disk(root, tmp_path):
    key, saving = jax.random.key(3), Saving(steps=5, keep=2)
    experiment = toy.experiment(toy.Config())._replace(best=Best("test/loss", "higher"))
    directory = storage.folder(f"{root}/fits/one")

    signals = [signal.SIGTERM]  # a second would end this process

    def stop(done: int, total: int, live: int) -> None:
        if done >= 22 and signals:
            signal.raise_signal(signals.pop())

    with pytest.raises(Interrupted):
        fit(experiment, key, directory=directory, saving=saving, progress=Progress(step=stop))
    resumed = fit(experiment, key, directory=directory, saving=saving)
    undisturbed = fit(experiment, key, directory=tmp_path, saving=saving)
    for one, same in zip(jax.tree.leaves(resumed.state), jax.tree.leaves(undisturbed.state), strict=True):
        np.testing.assert_array_equal(one, same)
    assert resumed.rows == undisturbed.rows
    kept = {path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()}
    assert {path.name for path in (directory / "checkpoints").iterdir() if path.name.isdigit()} == kept


@pytest.mark.medium
def test_a_profile_goes_there_too(root):
    said: list[str] = []
    place, carry = storage.folder(f"{root}/run") / "profile", jax.numpy.zeros(3)
    with Profiler(place, said.append) as profiler:
        profiler.plan([4], 0)
        profiler.before(0, carry)
        profiler.after(4, carry + 1)
    names = [name.rpartition("/")[2] for name in storage.objects(place)]
    assert len(names) == 3 and {"perfetto_trace.json.gz"} < set(names)
    assert f"open it with `xprof --logdir {root}/run/profile`" in said[0]
    assert ("copy it to a local folder, then" in said[0]) == root.startswith("s3://")
