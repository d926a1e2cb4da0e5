"""Threads for CPU devices that wait for each other."""

import os
import subprocess
import sys

import pytest

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
