"""How many small nets a second does a sweep train, against PyTorch training them one after another?

    uv run python experiments/benchmarks/sweep_speed.py

128 multilayer perceptrons 64-64-10 on digits, 16 learning rates x 8 seeds, Adam, batch 32, 20 epochs
(680 steps): fdl's population against eager PyTorch with one thread, which is its faster setting for nets
of this size. By turns, in one process; PyTorch's time is extrapolated from the first nets of the sweep.
Prints medians, with and without fdl's compilation. Needs torch (not among fdl's dependencies).
"""

import statistics
import time
from typing import Any

import numpy as np
from digits_net import Config, net

import fdl
from fdl import data
from fdl.sweeps.population import groups_of
from fdl.sweeps.programs import work_of
from fdl.train.autotune import autotune
from fdl.train.loop import execute
from fdl.train.program import stack_members
from fdl.train.rows import metric_names
from fdl.train.run import evaluation_steps
from fdl.train.runtime import machine, prepare

try:
    import torch
except ImportError:
    raise SystemExit(
        "this benchmark needs torch: python3 -m pip --python .venv install torch==2.13.0"
    ) from None

BATCH, EPOCHS, ROUNDS, TORCH_NETS = 32, 20, 7, 4


def experiment(config: Config) -> fdl.Experiment:
    """One net."""
    return net(config, epochs=EPOCHS, batch=BATCH)


def main() -> None:
    """Measures and prints."""
    prepare()
    rates = tuple(float(rate) for rate in np.geomspace(1e-4, 1e-2, 16))
    space = fdl.grid(Config(), lr=rates, seeds=8)
    (group,) = groups_of(experiment, space.trials, folder=None)
    work = work_of(group, group.trials)
    began = time.perf_counter()
    choice, program = autotune(work, say=print)
    preparing = time.perf_counter() - began
    schedule, names = evaluation_steps(group.experiment), metric_names(group.experiment)
    size = choice.plan.members
    starts = range(0, len(space.trials), size)
    parts = [stack_members(work.configs[i : i + size], work.keys[i : i + size], pad_to=size) for i in starts]

    def population() -> float:
        began = time.perf_counter()
        rows = [row for part in parts for row in execute(program, part, schedule, names).rows]
        assert len(rows) == len(space.trials)
        accuracies.append(statistics.mean(row["test/accuracy"] for row in rows if row["member"] >= 64))
        return (time.perf_counter() - began) / len(space.trials)

    accuracies: list[float] = []
    torch.set_num_threads(1)
    ours, theirs = [], []
    for turn in range(ROUNDS + 1):
        mine, other = population(), one_by_one(rates, group.experiment.steps)
        if turn:  # the first round warms up
            ours.append(mine)
            theirs.append(other)
    ratios = [other / mine for mine, other in zip(ours, theirs, strict=True)]
    fast, slow = statistics.median(ours), statistics.median(theirs)
    whole = preparing / len(space.trials) + fast
    print(f"{machine()}; torch {torch.__version__}; plan: {choice.plan}")
    print(f"fdl      {1 / fast:8.1f} nets/s   test accuracy {statistics.mean(accuracies):.3f}")
    print(f"PyTorch  {1 / slow:8.1f} nets/s   test accuracy {statistics.mean(TORCH_ACCURACY):.3f}")
    print(f"ratio    {statistics.median(ratios):8.1f} ({min(ratios):.1f} to {max(ratios):.1f})")
    print(
        f"ratio    {slow / whole:8.1f} with the {preparing:.1f} s that tracing, compiling and measuring took"
    )


TORCH_ACCURACY: list[float] = []


def one_by_one(rates: tuple[float, ...], steps: int) -> float:
    """Trains the first nets of the upper half of the rates with PyTorch; seconds a net."""
    splits = data.digits()
    x, y = (
        torch.tensor(np.array(splits.train["x"])),
        torch.tensor(np.array(splits.train["y"]), dtype=torch.long),
    )
    began = time.perf_counter()
    net: Any = None
    order = torch.arange(len(y))
    for seed, rate in enumerate(rates[-TORCH_NETS:]):
        torch.manual_seed(seed)
        net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
        optimizer = torch.optim.Adam(net.parameters(), lr=rate)
        for step in range(steps):
            start = step * BATCH % len(y)
            if start < BATCH:
                order = torch.randperm(len(y))
            rows = order[start : start + BATCH]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
    seconds = (time.perf_counter() - began) / TORCH_NETS
    with torch.no_grad():
        right = net(torch.tensor(np.array(splits.test["x"]))).argmax(1).numpy() == splits.test["y"]
    TORCH_ACCURACY.append(float(right.mean()))
    return seconds


if __name__ == "__main__":
    main()
