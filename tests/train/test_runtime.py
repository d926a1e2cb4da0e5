"""Threads for CPU devices that wait for each other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SCRIPT = """
import os, sys
import jax
from fdl.train.runtime import make_room_for, prepare
prepare()
if sys.argv[1] == "late":
    jax.devices()
try:
    make_room_for({"data": 2, "population": int(sys.argv[2])}, "jit")
except ValueError as error:
    print(error)
else:
    print(os.environ["NPROC"])
"""


@pytest.mark.medium
@pytest.mark.parametrize(
    ("when", "given", "population", "answer"),
    [
        ("early", None, 3, "24"),
        ("late", "8", 1, "8"),
        ("late", "4", 1, "start Python with NPROC=8"),
    ],
)
def test_room_is_made_before_jax_begins_and_asked_for_after(when, given, population, answer):
    env = {name: value for name, value in os.environ.items() if name not in ("NPROC", "XLA_FLAGS")}
    env |= {"NPROC": given} if given else {}
    command = [sys.executable, "-c", SCRIPT, when, str(population)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert answer in done.stdout


CACHE = """
import os, sys
from pathlib import Path
os.environ["FDL_CACHE"] = sys.argv[1]
import jax
from fdl.train.runtime import prepare
prepare()
functions = [jax.jit(lambda x, n=n: x * n + n) for n in range(5)]
def run():
    return [float(function(1.0)) for function in functions]
first = run()
kept = list(Path(sys.argv[1]).rglob("*-cache"))
assert len(kept) >= 5, kept
for path in kept:
    path.write_bytes(path.read_bytes()[:-9] if sys.argv[2] == "cut" else b"")
jax.clear_caches()
assert run() == first
import warnings
warnings.warn("another")
jax.clear_caches()
assert run() == first
"""


@pytest.mark.medium
@pytest.mark.parametrize("how", ["cut", "empty"])
def test_programs_in_the_cache_that_cannot_be_used_are_said_once_and_made_again(tmp_path, how):
    command = [sys.executable, "-c", CACHE, str(tmp_path), how]
    done = subprocess.run(command, capture_output=True, text=True)
    said, *others = done.stderr.splitlines()
    assert done.returncode == 0 and "cannot be used and are compiled" in said, done.stderr
    assert "damaged files are removed" in said and str(tmp_path) in said
    (other,) = [line for line in others if "Warning" in line]  # Python 3.13 shows the line in the program too
    assert "another" in other


@pytest.mark.medium
def test_programs_from_the_cache_say_nothing_where_jax_was_imported_first(tmp_path):
    code = (
        "import jax\nfrom fdl.train import fit\nfrom tests.toy import Config, experiment\n"
        "fit(experiment(Config(steps=10)), jax.random.key(0))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    environment |= {"PYTHONPATH": str(ROOT), "FDL_CACHE": str(tmp_path)}
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
        assert b"cpu_aot_loader" not in done.stderr and len(done.stderr) < 5000
