"""Processes that are killed while they save to a bucket."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from etils import epath

from fdl import storage
from fdl.cli import main
from fdl.train.runtime import prepare

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SECONDS = 200
"""After so long a process counts as one that hangs."""
COUNTED = """
import atexit
import collections
import json
import sys

import jax

EVENTS = collections.Counter()
if "pytest" not in sys.modules:  # in a process of its own
    jax.monitoring.register_event_listener(lambda event, **_: EVENTS.update([event.rpartition("/")[2]]))
    atexit.register(lambda: print("events", json.dumps(EVENTS), file=sys.stderr))
"""
"""Tells at the end how often JAX found a program in its cache."""
EXPERIMENT = f'''"""Does a larger step learn faster?"""
{COUNTED}
import fdl
from tests import toy


def experiment(config):
    return toy.experiment(config, every=config.steps // 8)


Config = toy.Config
SWEEP = fdl.grid(Config(), lr=(0.0, 0.05), seeds=2)
'''


def start(*words: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fdl", *words]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": "2", **environment},
        **pipes,
    )


def machine(folder: Path) -> dict[str, str]:
    """The environment on a machine that has nothing in its cache."""
    return {"FDL_CACHE": "", "XDG_CACHE_HOME": str(folder)}


def test_a_killed_sweep_with_a_damaged_checkpoint_ends_as_one_on_a_disk(root, monkeypatch, tmp_path, capsys):
    """And another machine goes on with it, which compiles nothing."""
    file, place, store = tmp_path / "toys.py", f"{root}/sweeps/toys", storage.store(epath.Path(root))
    file.write_text(EXPERIMENT)
    words = ("sweep", str(file), "--steps", "300000", "--members", "4")
    in_bucket = (*words, "--keep", "3", "--workdir", place)
    lost, new = machine(tmp_path / "lost"), machine(tmp_path / "new")
    with start(*in_bucket, "--checkpoint-seconds", "0", cwd=tmp_path, **lost) as process:
        while len(sealed := store.glob(f"{place}/units/*/checkpoints/*/checksums.json")) < 2:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert not store.glob(f"{place}/units/*/done.json")
    newest = max((name.rpartition("/")[0] for name in sealed), key=lambda name: int(name.rpartition("/")[2]))
    data = max(store.find(newest, detail=True).values(), key=lambda one: one["size"])
    store.pipe_file(data["name"], bytes(data["size"]))

    with start(*in_bucket, cwd=tmp_path, **new) as process:
        out = process.communicate()[0]
    assert process.returncode == 0, out
    events = json.loads(out.rpartition("events ")[2])
    assert events["cache_hits"] == events["compile_requests_use_cache"] > 10, "nothing was compiled"
    assert "damaged checkpoint" in out and "moved aside, going on from step" in out
    assert store.glob(f"{place}/units/*/damaged/*")
    with monkeypatch.context() as patch:
        patch.setenv("FDL_CACHE", f"{place}.cache")
        assert main([*words, "--workdir", str(tmp_path / "here")]) == 0
    prepare()
    assert len(store.ls(f"{place}.cache/plans")) == 1  # another plan would round in another way
    there = pd.read_parquet(io.BytesIO(store.cat_file(f"{place}/results.parquet")))
    pd.testing.assert_frame_equal(
        there, pd.read_parquet(tmp_path / "here" / "results.parquet"), check_exact=True
    )

    store.rm_file(f"{place}/report.html")
    assert main(["report", str(file), "--steps", "300000", "--workdir", place]) == 0
    assert b"larger step" in store.cat_file(f"{place}/report.html")
    file.write_text(EXPERIMENT.replace("// 8", "// 4"))
    assert main(list(in_bucket)) == 2 and "holds another run" in capsys.readouterr().err


def together(file: Path, place: str, **environment: str) -> list[subprocess.Popen[str]]:
    """A run in two processes of two devices each, which share the parameters."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    words = ("run", str(file), "--steps", "3000", "--checkpoint-steps", "300", "--workdir", place)
    of = ("--mesh", "data=2,fsdp=2", "--coordinator", f"localhost:{port}", "--processes", "2")
    return [start(*words, *of, "--process-id", f"{n}", cwd=file.parent, **environment) for n in range(2)]


def codes(processes: list[subprocess.Popen[str]]) -> tuple[list[int], list[str]]:
    """How processes ended, and what they printed; those that hang are killed."""
    try:
        out = [process.communicate(timeout=SECONDS)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], out


LATE = f'''
"""The first of two processes is late to make folders: Orbax's word that they are there is for all."""
{COUNTED}
import asyncio

from orbax.checkpoint._src.path import async_path

from tests.parallel.hosts_experiment import Config, experiment

make = async_path.mkdir


async def late(*words, **options):
    await asyncio.sleep(0.2 if sys.argv[-1] == "0" else 0)
    await make(*words, **options)


async_path.mkdir = late
'''


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The experiment's file, and the directory of a run on the disk."""
    folder = tmp_path_factory.mktemp("undisturbed")
    file, here = folder / "late.py", folder / "here"
    file.write_text(LATE)
    ended, out = codes(together(file, str(here)))
    assert ended == [0, 0], out
    return file, here


def test_two_processes_one_of_them_killed_end_as_on_a_disk(root, undisturbed, tmp_path):
    """And two on other machines go on, each of which compiles nothing."""
    (file, here), place, store = undisturbed, f"{root}/hosts", storage.store(epath.Path(root))
    killed = together(file, place, **machine(tmp_path / "lost"))
    while max(saved(store, place), default=0) < 600:  # by the second save all that the loop needs is compiled
        assert all(process.poll() is None for process in killed), codes(killed)
        time.sleep(0.05)
    killed[1].send_signal(signal.SIGKILL)
    ended, out = codes(killed)
    assert all(ended), out
    assert max(saved(store, place)) < 3000

    ended, out = codes(together(file, place, **machine(tmp_path / "new")))
    assert ended == [0, 0], out
    for one in out:
        events = json.loads(one.rpartition("events ")[2])
        assert events["cache_hits"] == events["compile_requests_use_cache"] > 10, "nothing was compiled"
    assert max(saved(store, place)) == 3000
    there = pd.read_parquet(io.BytesIO(store.cat_file(f"{place}/results.parquet")))
    pd.testing.assert_frame_equal(there, pd.read_parquet(here / "results.parquet"), check_exact=True)


def saved(store: Any, place: str) -> list[int]:
    """The steps of the complete checkpoints under a directory of one unit."""
    found = store.glob(f"{place}/units/*/checkpoints/*/checksums.json")
    return [int(name.split("/")[-2]) for name in found]
