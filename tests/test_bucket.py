"""Work directories in buckets, against imitations of Google's and Amazon's stores over loopback.

They imitate no credentials, no rights, no failing requests and no conditions on writes.
"""

import fcntl
import importlib
import io
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from etils import epath

from fdl import bucket
from fdl.cli import main
from fdl.train import Interrupted, Saving, Watch, checkpoint, fit, mirror
from fdl.train.checkpoint import Checkpoints
from fdl.train.folder import append_rows, claim, keep_rows, read_json, read_rows
from tests import toy

ROOT = Path(__file__).parents[1]
SERVERS = {
    "gs": """
import sys
from gcp_storage_emulator.server import create_server
create_server("localhost", int(sys.argv[1]), in_memory=True, default_bucket="bucket-1").run()
""",
    "s3": """
import sys, threading
from moto.server import ThreadedMotoServer
ThreadedMotoServer("localhost", int(sys.argv[1]), verbose=False).start()
threading.Event().wait()
""",
}
EXPERIMENT = '''"""Does a larger step learn faster?"""

import fdl
from tests import toy


def experiment(config):
    return toy.experiment(config, every=config.steps // 8)


Config = toy.Config
SWEEP = fdl.grid(Config(), lr=(0.0, 0.05), seeds=2)
'''


@pytest.fixture(scope="module", params=["gs", "s3"])
def root(request: pytest.FixtureRequest) -> Iterator[str]:
    """A bucket of an imitation, for this process and for those that it starts."""
    kind = request.param
    pytest.importorskip(
        {"gs": "gcp_storage_emulator", "s3": "moto"}[kind], reason="no imitation is installed"
    )
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in surroundings(kind, f"http://localhost:{port}").items():
            patch.setenv(name, value)
        pytest.importorskip(bucket._LIBRARIES[kind], reason=f"needs the extra '{kind}'")  # reads them at once
        if kind == "gs":
            patch.setitem(importlib.import_module("fsspec.config").conf, "gs", {"token": "anon"})
        with subprocess.Popen([sys.executable, "-c", SERVERS[kind], str(port)], **quiet) as process:
            try:
                while not answers(port):
                    assert process.poll() is None
                    time.sleep(0.05)
                if kind == "s3":
                    bucket.store(epath.Path("s3://bucket-1")).mkdir("bucket-1")
                yield f"{kind}://bucket-1"
            finally:
                process.kill()


def surroundings(kind: str, url: str) -> dict[str, str]:
    """What sends requests to an imitation."""
    if kind == "s3":
        keys = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing"}
        return {"AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1", **keys}
    return {
        "STORAGE_EMULATOR_HOST": url,
        "TENSORSTORE_GCS_HTTP_URL": url,
        "GOOGLE_CLOUD_PROJECT": "nobody",
        "NO_GCE_CHECK": "true",
        "FSSPEC_GS_TOKEN": "anon",
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # it would ask for credentials
    }


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("localhost", port)) == 0


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
        bucket.folder(place)


@pytest.mark.parametrize("kind", ["gs", "s3"])
def test_what_a_bucket_needs_is_named(monkeypatch, kind):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=rf"pip install fdl\[{kind}\]"):
        bucket.folder(f"{kind}://bucket-1/run")


def test_local_paths_stay_what_they_are(tmp_path):
    for place in ("runs/a", "a:b", str(tmp_path), tmp_path):
        assert bucket.folder(place) == Path(place) and isinstance(bucket.folder(place), Path)


def test_a_bucket_that_does_not_exist_is_found_at_once(root):
    with pytest.raises(OSError, match="://bucket-2/run cannot be reached"):
        bucket.folder(f"{root.removesuffix('1')}2/run")


def test_rows_are_appended_and_dropped(root):
    path = bucket.folder(f"{root}/rows") / "metrics.jsonl"
    assert read_rows(path) == [] and keep_rows(path, bool) == []
    rows = [{"member": member, "step": step} for step in range(12) for member in range(2)]
    for start in range(0, len(rows), 3):
        append_rows(path, rows[start : start + 3])
    assert read_rows(path) == rows
    kept = [row for row in rows if row["step"] <= 4]
    assert keep_rows(path, lambda row: row["step"] <= 4) == kept == read_rows(path)
    append_rows(path, rows[len(kept) :])
    assert read_rows(path) == rows


def test_a_folder_is_claimed_once_and_moved_aside(root):
    folder = bucket.folder(f"{root}/claims/one")
    claim(folder, {"lr": 1})
    claim(folder, {"lr": 1})
    with pytest.raises(ValueError, match=rf"{root}/claims/one holds another run \(lr: 1 -> 2\)"):
        claim(folder, {"lr": 2})
    claim(folder, {"lr": 2}, restart=True)
    claim(folder, {"lr": 3}, restart=True)
    found = [read_json(folder.with_name(name) / "identity.json") for name in ("one.1", "one.2", "one")]
    assert found == [{"lr": 1}, {"lr": 2}, {"lr": 3}]


def test_stopped_and_resumed_not_a_bit_differs_and_as_much_is_kept_as_on_a_disk(root, tmp_path):
    key, saving = jax.random.key(3), Saving(steps=5, keep=2, best="test/loss", better="higher")
    directory = bucket.folder(f"{root}/fits/one")

    signals = [signal.SIGTERM]  # a second would end this process

    def stop(done: int, live: int) -> None:
        if done >= 22 and signals:
            signal.raise_signal(signals.pop())

    with pytest.raises(Interrupted):
        fit(toy.experiment(toy.Config()), key, directory=directory, saving=saving, watch=Watch(step=stop))
    resumed = fit(toy.experiment(toy.Config()), key, directory=directory, saving=saving)
    undisturbed = fit(toy.experiment(toy.Config()), key, directory=tmp_path, saving=saving)
    for one, same in zip(jax.tree.leaves(resumed.state), jax.tree.leaves(undisturbed.state), strict=True):
        np.testing.assert_array_equal(one, same)
    assert resumed.rows == undisturbed.rows
    kept = {path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()}
    assert {path.name for path in (directory / "checkpoints").iterdir() if path.name.isdigit()} == kept


@pytest.mark.parametrize("root", ["s3"], indirect=True)
def test_a_copy_that_fails_is_said_and_half_of_one_swept_away(root, monkeypatch):
    key, directory, done = jax.random.key(3), bucket.folder(f"{root}/fits/two"), []
    checkpoints, upload = directory / "checkpoints", mirror.upload

    def failing(here: Path, path: bucket.Folder) -> None:
        done.append(path)
        if len(done) > 8 and path.name == "state":
            raise OSError(f"{path} cannot be reached (no route to host)")
        upload(here, path)

    monkeypatch.setattr(mirror, "upload", failing)
    with pytest.raises(OSError, match=r"fits/two/checkpoints/.* cannot be reached \(no route to host\)"):
        fit(toy.experiment(toy.Config()), key, directory=directory, saving=Saving(steps=5))
    monkeypatch.undo()
    whole = [path.name for path in checkpoints.iterdir() if (path / "checksums.json").exists()]
    part = [path.name for path in checkpoints.iterdir() if path.name not in whole]
    assert whole and part, "the failure came in the middle of a copy"
    opened = mirror.open_mirrored(checkpoints, keep=2, say=print)
    assert sorted(path.name for path in checkpoints.iterdir()) == sorted(whole)
    opened.close()


def weights(value: float) -> dict[str, jax.Array]:
    return {"weights": jnp.full((1000,), value), "key": jax.random.key(int(value))}


def restored(checkpoints: Checkpoints) -> tuple[int, float]:
    """The step and the value that are read."""
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shape = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)  # noqa: E731
    found = checkpoints.restore(jax.tree.map(shape, weights(0)))
    assert found is not None
    step, carry = found
    value = float(carry["weights"][-1])
    assert (carry["key"] == jax.random.key(int(value))).all()
    return step, value


@pytest.mark.parametrize("root", ["s3"], indirect=True)
def test_a_damaged_copy_is_moved_aside_and_made_again(root):
    directory, store, said = bucket.folder(f"{root}/again/checkpoints"), bucket.store(epath.Path(root)), []
    with_two = mirror.open_mirrored(directory, keep=2, say=print)
    with_two.save(15, weights(1), None)
    with_two.save(20, weights(2), None)
    with_two.close()
    data = max(store.find(f"{directory}/20", detail=True).values(), key=lambda one: one["size"])
    store.pipe_file(data["name"], bytes(data["size"]))
    store.call_s3("put_object", Bucket="bucket-1", Key="again/checkpoints/", Body=b"")  # some tools make it

    mended = mirror.open_mirrored(directory, keep=1, say=said.append)
    assert restored(mended) == (15, 1.0)
    assert f"{directory}/20" in said[0] and "going on from step 15" in said[0]
    mended.save(20, weights(3), None)
    mended.close()
    again = mirror.open_mirrored(directory, keep=1, say=said.append)
    assert restored(again) == (20, 3.0) and len(said) == 1
    again.close()
    assert [path.name for path in directory.iterdir() if path.name.isdigit()] == ["20"]
    assert [path.name for path in (directory.parent / "damaged").iterdir()] == ["20-0"]


@pytest.mark.parametrize("root", ["s3"], indirect=True)
def test_what_could_not_be_sealed_takes_nothing_away(root, monkeypatch):
    directory = bucket.folder(f"{root}/full/checkpoints")
    opened = mirror.open_mirrored(directory, keep=1, say=print)
    opened.save(1, weights(1), None)
    while opened.busy():
        time.sleep(0.01)

    def full(path: Path, data: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint, "write_json", full)
    opened.save(2, weights(2), None)
    with pytest.raises(OSError, match="no checksums"):
        opened.close()
    opened = mirror.open_mirrored(directory, keep=1, say=print)
    assert restored(opened) == (1, 1.0)
    opened.close()


@pytest.mark.parametrize("root", ["s3"], indirect=True)
def test_folders_that_killed_processes_left_are_removed(root, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("left", "used"):
        (tmp_path / f"{mirror.STAGES}{name}").mkdir()
        (tmp_path / f"{mirror.STAGES}{name}" / "lock").touch()
    with (tmp_path / f"{mirror.STAGES}used" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mirror.open_mirrored(bucket.folder(f"{root}/stages"), keep=1, say=print).close()
    assert [path.name for path in tmp_path.iterdir()] == [f"{mirror.STAGES}used"]


def start(*words: str, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fdl", *words]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(
        command, cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": "2"}, **pipes
    )


@pytest.mark.slow
def test_a_killed_sweep_with_a_damaged_checkpoint_ends_as_one_on_a_disk(root, tmp_path, capsys):
    file, place, store = tmp_path / "toys.py", f"{root}/sweeps/toys", bucket.store(epath.Path(root))
    file.write_text(EXPERIMENT)
    words = ("sweep", str(file), "--steps", "300000", "--members", "4")
    in_bucket = (*words, "--keep", "3", "--workdir", place)
    with start(*in_bucket, "--checkpoint-seconds", "0", cwd=tmp_path) as process:
        while len(sealed := store.glob(f"{place}/units/*/checkpoints/*/checksums.json")) < 2:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert not store.glob(f"{place}/units/*/done.json")
    newest = max((name.rpartition("/")[0] for name in sealed), key=lambda name: int(name.rpartition("/")[2]))
    data = max(store.find(newest, detail=True).values(), key=lambda one: one["size"])
    store.pipe_file(data["name"], bytes(data["size"]))

    with start(*in_bucket, cwd=tmp_path) as process:
        out = process.communicate()[0]
    assert process.returncode == 0, out
    assert "damaged checkpoint" in out and "moved aside, going on from step" in out
    assert store.glob(f"{place}/units/*/damaged/*")
    assert main([*words, "--workdir", str(tmp_path / "here")]) == 0
    there = pd.read_parquet(io.BytesIO(store.cat_file(f"{place}/results.parquet")))
    pd.testing.assert_frame_equal(
        there, pd.read_parquet(tmp_path / "here" / "results.parquet"), check_exact=True
    )

    store.rm_file(f"{place}/report.html")
    assert main(["report", str(file), "--steps", "300000", "--workdir", place]) == 0
    assert b"larger step" in store.cat_file(f"{place}/report.html")
    file.write_text(EXPERIMENT.replace("// 8", "// 4"))
    assert main(list(in_bucket)) == 2 and "holds another run" in capsys.readouterr().err


def together(words: list[str], cwd: Path) -> list[subprocess.Popen[str]]:
    """The same command in two processes of two devices each, which share the parameters."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    of = ("--mesh", "data=2,fsdp=2", "--coordinator", f"localhost:{port}", "--processes", "2")
    return [start(*words, *of, "--process-id", str(number), cwd=cwd) for number in range(2)]


LATE = '''
"""The first of two processes is late to make folders: Orbax's word that they are there is for all."""

import asyncio
import sys

from orbax.checkpoint._src.path import async_path

from tests.parallel.hosts_experiment import Config, experiment

make = async_path.mkdir


async def late(*words, **options):
    await asyncio.sleep(0.2 if sys.argv[-1] == "0" else 0)
    await make(*words, **options)


async_path.mkdir = late
'''


@pytest.mark.slow
def test_two_processes_one_of_them_killed_end_as_on_a_disk(root, tmp_path):
    place, store = f"{root}/hosts", bucket.store(epath.Path(root))
    file = tmp_path / "late.py"
    file.write_text(LATE)
    words = ["run", str(file), "--steps", "3000", "--checkpoint-steps", "300", "--workdir"]
    killed = together([*words, place], tmp_path)
    while not store.glob(f"{place}/units/*/checkpoints/*/checksums.json"):
        assert all(process.poll() is None for process in killed), killed[0].communicate()[0]
        time.sleep(0.05)
    killed[1].send_signal(signal.SIGKILL)
    for process in killed:
        process.communicate()
        assert process.returncode
    assert max(saved(store, place)) < 3000

    for where in (place, str(tmp_path / "here")):
        for process in together([*words, where], tmp_path):
            out = process.communicate()[0]
            assert process.returncode == 0, out
    assert max(saved(store, place)) == 3000
    there = pd.read_parquet(io.BytesIO(store.cat_file(f"{place}/results.parquet")))
    pd.testing.assert_frame_equal(
        there, pd.read_parquet(tmp_path / "here" / "results.parquet"), check_exact=True
    )


def saved(store: Any, place: str) -> list[int]:
    """The steps of the complete checkpoints under a directory of one unit."""
    found = store.glob(f"{place}/units/*/checkpoints/*/checksums.json")
    return [int(name.split("/")[-2]) for name in found]
