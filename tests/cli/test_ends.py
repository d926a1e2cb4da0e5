"""How a command ends that is told to: by its terminal's end, and while its readers hang."""

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

from tests.data.images import folder_of, workers_of

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": "1"}
SECONDS = 100
"""After so long a process counts as one that hangs."""


def begun(process: subprocess.Popen, directory: Path) -> None:
    """Waits until rows are there."""
    while not list(directory.glob("units/*/metrics.jsonl")):
        assert process.poll() is None
        time.sleep(0.05)


def saved(directory: Path) -> list[Path]:
    return [path.parent for path in directory.glob("units/*/checkpoints/*/checksums.json")]


@pytest.mark.usefixtures("heeded")
def test_a_terminal_that_goes_away_ends_a_run_with_all_saved(tmp_path):
    (tmp_path / "toys.py").write_text(
        '"""Does it learn?"""\nfrom tests import toy\nConfig = toy.Config\n'
        "def experiment(config):\n    return toy.experiment(config, every=10_000)\n"
    )
    leader, follower = pty.openpty()
    words = ("run", "toys.py", "--steps", "500000000", "--workdir", "here", "--checkpoint-seconds", "10000")
    process = subprocess.Popen(
        [sys.executable, "-m", "fdl", *words],
        cwd=tmp_path, env=ENVIRONMENT, stdin=follower, stdout=follower, stderr=follower,
        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(follower)
    gone = threading.Event()

    def read() -> None:
        with contextlib.suppress(OSError):
            while not gone.is_set():
                os.read(leader, 4096)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        begun(process, tmp_path / "here")
        assert not saved(tmp_path / "here")
        gone.set()
        reader.join()
        os.close(leader)
        assert process.wait(SECONDS) == 75
    finally:
        process.kill()
    assert saved(tmp_path / "here")


def test_a_run_whose_decoders_hang_ends_with_all_saved(tmp_path):
    folder_of(tmp_path / "pictures")
    (tmp_path / "pictures.py").write_text(
        '"""Cat or dog?"""\nimport fdl, optax\nfrom fdl import data, models, tasks\n'
        "@fdl.config\nclass Config:\n    steps: int = fdl.static(10_000_000, low=1)\n"
        "def experiment(config):\n"
        '    splits = data.image_folder("pictures", size=8, workers=1)\n'
        "    return tasks.classification(models.MLP((), 2), splits, optax.sgd(0.1), steps=config.steps,\n"
        "        batch_size=4, evaluate_every=20)\n"
    )
    words = ("run", "pictures.py", "--workdir", "here", "--checkpoint-seconds", "10000")
    process = subprocess.Popen(
        [sys.executable, "-m", "fdl", *words],
        cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        begun(process, tmp_path / "here")
        assert not saved(tmp_path / "here")
        for worker in workers_of(process.pid):
            os.kill(worker, signal.SIGSTOP)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        out = process.communicate(timeout=SECONDS)[0]
    finally:
        process.kill()
    assert process.returncode == 75, out
    assert "the same command goes on" in out and saved(tmp_path / "here")
    assert not workers_of(process.pid)
