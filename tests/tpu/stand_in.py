"""Stands in for an experiment: adds up numbers, one a step, and keeps its state in a bucket.

Worker 1 fails at step 3 while worker 0 hangs; then both wait at step 6 to be taken away. With `--jax` each
step also adds what the workers have together, by a collective of `jax.distributed`.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

STEPS = 10
SWEEP = "one run"
"""The launcher asks whether there is one."""


def folder() -> Path:
    """The work directory, of which a bucket is a folder here."""
    return Path(os.environ["BUCKET"]) / sys.argv[sys.argv.index("--workdir") + 1].removeprefix("gs://")


def together() -> Callable[[int], int]:
    """The sum over all workers of a number that each has."""
    if "--jax" not in sys.argv:
        return lambda number: 0
    import jax
    import numpy as np
    from jax.experimental import multihost_utils

    jax.config.update("jax_enable_preemption_service", False)  # it takes SIGTERM for itself
    jax.distributed.initialize(
        f"localhost:{os.environ['JAX_COORDINATOR_PORT']}", 2, int(os.environ["TPU_WORKER_ID"])
    )
    return lambda number: int(multihost_utils.process_allgather(np.asarray(number)).sum())


def main() -> None:
    """Goes on from the last step that was saved."""
    work, worker = folder(), os.environ["TPU_WORKER_ID"]
    work.mkdir(exist_ok=True)
    state = work / f"state{worker}"
    step, total = map(int, state.read_text().split()) if state.exists() else (0, 0)
    everyone = together()
    print(f"from step {step} with {sys.argv[1:]}", flush=True)
    print(f"restart {os.environ.get('FDL_RESTART')}", flush=True)
    while step < STEPS:
        step, total = step + 1, (total * 31 + step + int(worker) + everyone(total)) % 1_000_003
        new = work / f"new{worker}"
        new.write_text(f"{step} {total}")
        new.rename(state)
        if step == 3 and "--undisturbed" not in sys.argv:
            (work / f"failed{worker}").touch()
            if worker == "1":
                print("worker 1 fails", file=sys.stderr, flush=True)
                os._exit(1)  # at a usual exit JAX would wait for the other worker
            time.sleep(1000)
        if step == 6 and "--undisturbed" not in sys.argv:
            (work / f"waits{worker}").touch()
            time.sleep(1000)
    print(f"total {total}", flush=True)


main()
