"""Work directories in buckets, against an imitation of Google Cloud Storage over loopback.

It imitates no credentials, no rights, no failing requests and no conditions on writes.
"""

import importlib
import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fdl import bucket
from fdl.cli import main
from fdl.train.folder import append_rows, claim, keep_rows, read_json, read_rows

ROOT = Path(__file__).parents[1]
SERVER = """
import sys
from gcp_storage_emulator.server import create_server
create_server("localhost", int(sys.argv[1]), in_memory=True, default_bucket="bucket-1").run()
"""
EXPERIMENT = '''"""Does a larger step learn faster?"""

import fdl
from tests import toy


def experiment(config):
    return toy.experiment(config, every=config.steps // 8)


Config = toy.Config
SWEEP = fdl.grid(Config(), lr=(0.0, 0.05), seeds=2)
'''


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """The buckets of the imitation, for this process and for those that it starts."""
    pytest.importorskip("gcp_storage_emulator", reason="gcp-storage-emulator is not installed")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("STORAGE_EMULATOR_HOST", "TENSORSTORE_GCS_HTTP_URL"):
            patch.setenv(name, f"http://localhost:{port}")
        patch.setenv("GOOGLE_CLOUD_PROJECT", "nobody")
        patch.setenv("NO_GCE_CHECK", "true")
        patch.setenv("FSSPEC_GCS_TOKEN", "anon")
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # it would ask for credentials
        pytest.importorskip("gcsfs", reason="buckets need the extra 'bucket'")
        patch.setitem(importlib.import_module("fsspec.config").conf, "gcs", {"token": "anon"})
        with subprocess.Popen([sys.executable, "-c", SERVER, str(port)], **quiet) as process:
            try:
                while not answers(port):
                    assert process.poll() is None
                    time.sleep(0.05)
                yield bucket.store()
            finally:
                process.kill()


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("localhost", port)) == 0


@pytest.mark.parametrize(
    "place", ["gcs://bucket-1/run", "gs:/bucket-1/run", "gs://bucket-1", "gs://bucket-1//run", "file:///tmp"]
)
def test_a_place_that_is_none_is_answered_with_what_is_one(place):
    with pytest.raises(ValueError, match="expected gs://BUCKET/NAME or a local path"):
        bucket.folder(place)


def test_what_a_bucket_needs_is_named(monkeypatch):
    with pytest.raises(ValueError, match="s3://"):
        bucket.folder("s3://bucket-1/run")
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install fdl\[bucket\]"):
        bucket.folder("gs://bucket-1/run")


def test_local_paths_stay_what_they_are(tmp_path):
    for place in ("runs/a", "a:b", str(tmp_path), tmp_path):
        assert bucket.folder(place) == Path(place) and isinstance(bucket.folder(place), Path)


def test_a_bucket_that_does_not_exist_is_found_at_once(store):
    with pytest.raises(OSError, match="gs://bucket-2/run cannot be reached"):
        bucket.folder("gs://bucket-2/run")


def test_rows_are_appended_and_dropped(store):
    path = bucket.folder("gs://bucket-1/rows") / "metrics.jsonl"
    assert read_rows(path) == [] and keep_rows(path, bool) == []
    rows = [{"member": member, "step": step} for step in range(12) for member in range(2)]
    for start in range(0, len(rows), 3):
        append_rows(path, rows[start : start + 3])
    assert read_rows(path) == rows
    kept = [row for row in rows if row["step"] <= 4]
    assert keep_rows(path, lambda row: row["step"] <= 4) == kept == read_rows(path)
    append_rows(path, rows[len(kept) :])
    assert read_rows(path) == rows


def test_a_folder_is_claimed_once_and_moved_aside(store):
    folder = bucket.folder("gs://bucket-1/claims/one")
    claim(folder, {"lr": 1})
    claim(folder, {"lr": 1})
    with pytest.raises(ValueError, match=r"gs://bucket-1/claims/one holds another run \(lr: 1 -> 2\)"):
        claim(folder, {"lr": 2})
    claim(folder, {"lr": 2}, restart=True)
    claim(folder, {"lr": 3}, restart=True)
    found = [read_json(folder.with_name(name) / "identity.json") for name in ("one.1", "one.2", "one")]
    assert found == [{"lr": 1}, {"lr": 2}, {"lr": 3}]


def start(*words: str, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fdl", *words]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)}, **pipes)


@pytest.mark.slow
def test_a_killed_sweep_with_a_damaged_checkpoint_ends_as_one_on_a_disk(store, tmp_path, capsys):
    file, place = tmp_path / "toys.py", "gs://bucket-1/sweeps/toys"
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
