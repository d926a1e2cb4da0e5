"""Parts of `gpu.py` about what is computed and kept: correctness, checkpoint, resume.

As a program it is one process of `resume`: `python gpu_exact.py FOLDER OUT [--kill-after STEP]`.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from gpu_lines import Line

from fdl import data, models, tasks, train
from fdl.experiment import Batch, Experiment, Learner
from fdl.train.checkpoint import open_checkpoints
from fdl.train.runtime import prepare
from fdl.train.seal import SEAL

BOUND = 1e-4
"""The largest difference that rounding explains, as a share of the net's largest change of a parameter. Sums
of up to 1e5 numbers in float32, added in another order, differ by about sqrt(1e5) * 6e-8 = 2e-5; products
in TensorFloat-32 would differ by 1e-3, and a wrong kernel by 1."""
DETERMINISTIC = "--xla_gpu_deterministic_ops=true"


def correctness(device: Any = None, *, batch: int = 64) -> list[Line]:
    """One step of gradient descent by four nets, on a device and on the CPU, from the same parameters.

    With a learning rate of 1, so that the change of a parameter is its gradient, and does not drown in the
    rounding of the parameter; not Adam, whose first change is the gradient's sign whatever its size.
    """
    device, cpu = device or jax.devices()[0], jax.devices("cpu")[0]
    lines = []
    for name, (learner, rows) in nets(batch).items():
        with jax.default_matmul_precision("highest"), jax.default_device(cpu):
            key = jax.random.key(0)
            state = jax.jit(learner.init)(key)
            there = stepped(learner, state, rows, key, device)
            here = stepped(learner, state, rows, key, cpu)
        note = f"loss {here[1]:.7g} on the CPU, {there[1]:.7g} there"
        off = difference(state.params, here[0], there[0])
        lines.append(Line(f"{name}: parameters", off, "", note, ("≤", BOUND)))
        lines.append(Line(f"{name}: loss", abs(there[1] / here[1] - 1), "", "relative", ("≤", BOUND)))
    return lines


def nets(batch: int) -> dict[str, tuple[Learner, Batch]]:
    """Four learners and a batch for each.

    Their activations are smooth: of a million ReLUs some are so near 0 that rounding turns them on or off,
    and a ResNet's update changes by 4e-4 where its rows only come in another order (with SiLU by 3e-6).
    """
    dice = np.random.default_rng(0)
    labels = dice.integers(0, 10, batch).astype(np.int32)
    texts = dice.integers(0, 100, (batch, 33)).astype(np.int32)

    def classifier(model: Any, *shape: int) -> tuple[Learner, Batch]:
        rows = {"x": dice.standard_normal((batch, *shape), np.float32), "y": labels}
        return tasks.classification_learner(model, data.Splits(rows, rows, rows), optax.sgd(1.0)), rows

    gpt = models.gpt2(100, length=32, width=64, layers=2, heads=4)
    return {
        "MLP 64-256-256-10": classifier(models.MLP((256, 256), 10, activation=nn.silu), 64),
        "ResNet-8": classifier(models.cifar_resnet(8, activation=nn.silu), 32, 32, 3),
        "LSTM of 64 units": classifier(models.RecurrentNet((64,), 10), 32, 16),
        "GPT of 2 layers of 64": (
            tasks.language_learner(gpt, optax.sgd(1.0)),
            {"x": texts[:, :-1], "y": texts[:, 1:]},
        ),
    }


def stepped(learner: Learner, state: Any, rows: Batch, key: jax.Array, device: Any) -> tuple[Any, float]:
    """The parameters after a step on a device, and the loss before it; on the host."""
    given = jax.device_put((state, rows, key), device)
    after, measured = jax.device_get(jax.jit(learner.step)(*given))
    return after.params, float(measured["loss"].value)


def difference(before: Any, here: Any, there: Any) -> float:
    """The largest difference of two updates, over the largest change by the first; NaN if any is."""
    changes, gaps = [], []
    for old, mine, other in zip(*map(jax.tree.leaves, (before, here, there)), strict=True):
        changes.append(np.max(np.abs(np.asarray(mine, np.float64) - np.asarray(old, np.float64))))
        gaps.append(np.max(np.abs(np.asarray(mine, np.float64) - np.asarray(other, np.float64))))
    return float(np.max(gaps) / np.max(changes))


def checkpoint(folder: Path, size: int, *, rounds: int = 3) -> list[Line]:
    """Saves a state of `size` bytes on the device while steps go on that overwrite it.

    How long the loop is blocked is the time from the call that saves to the end of the next step, less a
    step's: a save that returns early, but holds up what comes next, gains nothing.
    """
    free = shutil.disk_usage(folder).free
    if free < 1.1 * size:
        raise ValueError(
            f"{folder} has {free / 1e9:.1f} GB free, and a checkpoint takes {size / 1e9:.1f}: "
            "give another --folder, or fewer --gigabytes"
        )
    leaves = 16
    state = {str(i): jnp.full(max(1, size // 4 // leaves), i, jnp.float32) for i in range(leaves)}
    step = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf * 0.999 + 1.0, state), donate_argnums=0)
    blocked, called, on_disk, plain = [], [], [], []
    for turn in range(rounds + 1):
        with tempfile.TemporaryDirectory(dir=folder) as name:
            state, times = saved_once(step, state, Path(name))
        if turn:  # the first round compiles and warms up
            for kept, seconds in zip((plain, called, blocked, on_disk), times, strict=True):
                kept.append(seconds)
    note = f"{size / 1e9:.3g} GB; a step {1e3 * statistics.median(plain):.3g} ms; {len(blocked)} saves"
    spread = lambda times: f"{min(times):.3g} to {max(times):.3g}"  # noqa: E731
    return [
        Line("loop blocked", statistics.median(blocked), "s", f"{spread(blocked)}; {note}", ("≤", 0.2)),
        Line("of which the call that saves", statistics.median(called), "s", spread(called)),
        Line("on disk, with checksums, after", statistics.median(on_disk), "s", spread(on_disk)),
        Line("written", size / 1e9 / statistics.median(on_disk), "GB/s"),
    ]


def saved_once(step: Callable[[Any], Any], state: Any, folder: Path) -> tuple[Any, tuple[float, ...]]:
    """The state later, and seconds: of a step, of the call, of what is blocked, until all is on disk."""
    plain = []
    for _ in range(5):
        began = time.perf_counter()
        state = jax.block_until_ready(step(state))
        plain.append(time.perf_counter() - began)
    checkpoints = open_checkpoints(folder / "checkpoints", keep=1, say=print)
    try:
        began = time.perf_counter()
        checkpoints.save(1, state, {})
        returned = time.perf_counter()
        state = jax.block_until_ready(step(state))
        stepped = time.perf_counter()
        while checkpoints.busy():
            state = jax.block_until_ready(step(state))
            time.sleep(0.01)
        ended = time.perf_counter()
    finally:
        checkpoints.close()
    if not (folder / "checkpoints" / "1" / SEAL).exists():
        raise RuntimeError("the checkpoint has no seal")
    usual = statistics.median(plain)
    return state, (usual, returned - began, stepped - began - usual, ended - began)


def resume(folder: Path, *, steps: int = 400) -> list[Line]:
    """A run that is killed half-way (SIGKILL) and gone on with in another process, against one that is not.

    Three processes, as users have them, with XLA's deterministic operations; a ResNet, as the gradients of
    convolutions are what a GPU may sum in any order.
    """
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        whole = child(place / "whole", place / "whole.npz", steps)
        child(place / "parted", place / "killed.npz", steps, kill_after=steps // 2)
        parted = child(place / "parted", place / "parted.npz", steps)
        saved, first = json.loads((place / "parted.json").read_text())
    if not 0 < saved < first <= saved + every(steps):
        raise RuntimeError(f"what was saved at step {saved} was not resumed: step {first} was told of first")
    leaves = differing(whole, parted)
    note = f"of {len(whole)} arrays, the state's and the evaluations'; gone on from step {saved} of {steps}"
    return [Line("arrays that differ in any bit", leaves, "", note, ("=", 0))]


def differing(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> int:
    """How many arrays are not the same, byte for byte."""
    bits = [
        {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in arrays.items()}
        for arrays in (one, other)
    ]
    return sum(bits[0].get(name) != bits[1].get(name) for name in bits[0].keys() | bits[1].keys())


def child(folder: Path, out: Path, steps: int, *, kill_after: int = 0) -> dict[str, np.ndarray]:
    """Trains in a process of its own; its arrays, none if it is to be killed."""
    command = [sys.executable, __file__, str(folder), str(out), "--steps", str(steps)]
    command += ["--kill-after", str(kill_after)] if kill_after else []
    flags = f"{os.environ.get('XLA_FLAGS', '')} {DETERMINISTIC}".strip()
    environment = os.environ | {"XLA_FLAGS": flags, "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    expected = -signal.SIGKILL if kill_after else 0
    if done.returncode != expected:
        raise RuntimeError(f"a run ended with {done.returncode}, not {expected}: {done.stderr[-2000:]}")
    if kill_after:
        return {}
    with np.load(out) as arrays:
        return dict(arrays)


def main() -> None:
    """One process of `resume`: trains, from where the folder left off, and writes down what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--kill-after", type=int, default=0)
    arguments = parser.parse_args()
    prepare()
    told: list[int] = []

    def saved() -> int:
        seals = (arguments.folder / "checkpoints").glob(f"*/{SEAL}")
        return max((int(seal.parent.name) for seal in seals), default=0)

    def heed(done: int, total: int, live: int) -> None:
        del total, live
        told.append(done)
        if arguments.kill_after and done >= arguments.kill_after and saved():
            os.kill(os.getpid(), signal.SIGKILL)

    start = saved()
    fitted = train.fit(
        small_run(arguments.steps),
        jax.random.key(0),
        directory=arguments.folder,
        saving=train.Saving(steps=every(arguments.steps)),
        progress=train.Progress(step=heed),
    )
    leaves = jax.tree.leaves(jax.device_get(fitted.state))
    arrays = {f"leaf {i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
    for i, row in enumerate(fitted.rows):
        arrays |= {f"row {i} {name}": np.asarray(value) for name, value in row.items()}
    np.savez(arguments.out, allow_pickle=False, **arrays)
    arguments.out.with_suffix(".json").write_text(json.dumps([start, told[0]]))


def every(steps: int) -> int:
    """Steps between saves."""
    return max(1, steps // 20)


def small_run(steps: int) -> Experiment:
    """A ResNet-8 on noise."""
    dice = np.random.default_rng(0)
    x = dice.standard_normal((512, 16, 16, 3), np.float32)
    rows = {"x": x, "y": dice.integers(0, 10, 512).astype(np.int32)}
    splits = data.Splits(rows, rows, rows)
    optimizer = optax.adam(1e-3)
    return tasks.classification(
        models.cifar_resnet(8), splits, optimizer, steps=steps, batch_size=64, evaluate_every=steps // 4
    )


if __name__ == "__main__":
    main()
