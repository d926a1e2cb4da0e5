"""The part of `gpu.py` about many small nets at once.

Multilayer perceptrons 64-64-10 on digits, as in `sweep_speed.py`: Adam, batch 32, 20 epochs. fdl trains all
as one population, and evaluates each on validation and test at its end. PyTorch trains some of them one after
another, on the GPU and, as nets this small may train faster there, on the CPU, with one thread; and as many
side by side by `torch.func`: the gradient under `vmap`, and Adam over all by hand, as each has its own rate;
what is evaluated is only accuracy on test at the highest rate. fdl's compilation is left out.
"""

import functools
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import optax
from gpu_lines import Line, by_turns, ratio

import fdl
from fdl import data, models, tasks
from fdl.sweeps.population import groups_of
from fdl.sweeps.programs import work_of
from fdl.train.autotune import autotune
from fdl.train.loop import execute
from fdl.train.program import stack_members
from fdl.train.rows import metric_names
from fdl.train.run import evaluation_steps

BATCH = 32


class Nets(NamedTuple):
    """What is trained: every rate from every seed.

    Attributes:
      rates: learning rates, ascending.
      seeds: how many seeds.
      epochs: of each net.
      alone: how many PyTorch trains one after another in a round.
    """

    rates: tuple[float, ...] = tuple(float(rate) for rate in np.geomspace(1e-4, 1e-2, 16))
    seeds: int = 256
    epochs: int = 20
    alone: int = 3


@fdl.config
class Config:
    """What varies."""

    lr: float = 1e-3


def population(nets: Nets = Nets(), device: str = "cuda", *, rounds: int = 3) -> list[Line]:  # noqa: B008
    """Measures the ways by turns."""
    right: dict[str, list[float]] = {"fdl": [], "one": [], "vmap": []}
    splits = data.digits()
    steps = nets.epochs * -(-len(splits.train["y"]) // BATCH)
    trained, plan = with_fdl(nets, steps, right["fdl"])
    runs = {
        "fdl": trained,
        "one on GPU": lambda: one_by_one(nets, steps, device, right["one"]),
        "one on CPU": lambda: one_by_one(nets, steps, "cpu", right["one"]),
        "vmap": lambda: side_by_side(nets, steps, device, right["vmap"]),
    }
    seconds = by_turns(runs, rounds)
    members = len(nets.rates) * nets.seeds
    counts = {"fdl": members, "one on GPU": nets.alone, "one on CPU": nets.alone, "vmap": members}
    each = {name: [one / counts[name] for one in all_] for name, all_ in seconds.items()}
    notes = {name: f"{count:,} nets of {steps} steps a round" for name, count in counts.items()}
    notes["fdl"] += f"; {plan}"
    lines = [
        Line(f"{name}: speed", 1 / statistics.median(times), "nets/s", notes[name])
        for name, times in each.items()
    ]
    lines += [
        ratio("fdl over PyTorch one by one on the GPU", each["one on GPU"], each["fdl"], ("≥", 200)),
        ratio("fdl over PyTorch one by one on the CPU", each["one on CPU"], each["fdl"]),
        ratio("fdl over torch.func.vmap on the GPU", each["vmap"], each["fdl"], ("≥", 5)),
    ]
    share = lambda name: 100 * statistics.mean(right[name])  # noqa: E731
    note = f"at the rate {nets.rates[-1]:g}; of nets that are trained alike these must be near"
    return lines + [Line(f"{name}: test accuracy", share(name), "%", note) for name in right]


def with_fdl(nets: Nets, steps: int, right: list[float]) -> tuple[Callable[[], Any], str]:
    """Trains all, and how."""
    space = fdl.grid(Config(), lr=nets.rates, seeds=nets.seeds)

    def experiment(config: Config) -> fdl.Experiment:
        model, optimizer = models.MLP(widths=(64,), outputs=10), optax.adam(config.lr)
        splits = data.digits()
        return tasks.classification(
            model, splits, optimizer, steps=steps, batch_size=BATCH, evaluate_every=steps
        )

    (group,) = groups_of(experiment, space.trials, folder=None)
    work = work_of(group, group.trials)
    choice, program = autotune(work)
    size = choice.plan.members
    starts = range(0, len(space.trials), size)
    parts = [stack_members(work.configs[i : i + size], work.keys[i : i + size], pad_to=size) for i in starts]
    schedule, names = evaluation_steps(group.experiment), metric_names(group.experiment)

    def run() -> None:
        rows = [execute(program, part, schedule, names).rows for part in parts]
        ended = [part[row["member"]] | row for part, all_ in zip(told, rows, strict=True) for row in all_]
        if len(ended) != len(space.trials):
            raise RuntimeError(f"{len(space.trials) - len(ended)} nets have no evaluation")
        best = [row["test/accuracy"] for row in ended if row["lr"] == nets.rates[-1]]
        right.append(statistics.mean(best))

    told = [[{"lr": trial.config.lr} for trial in space.trials[i : i + size]] for i in starts]
    return run, str(choice.plan)


@functools.cache
def digits(part: str, device: str) -> tuple[Any, Any]:
    """Images `[N, 64]` and labels `[N]` of a split, on a device; once, as fdl's population has its data."""
    import torch

    split = getattr(data.digits(), part)
    x, y = torch.tensor(np.array(split["x"])), torch.tensor(np.array(split["y"]), dtype=torch.long)
    return x.to(device), y.to(device)


def judged(logits_of: Callable[[Any], Any], device: str) -> float:
    """The share of the test split that is right; over nets too where logits are `[M, N, 10]`."""
    import torch

    x, y = digits("test", device)
    with torch.no_grad():
        return float((logits_of(x).argmax(-1) == y).float().mean())


def one_by_one(nets: Nets, steps: int, device: str, right: list[float]) -> None:
    """Some nets of the highest rate, with the loop that one writes with PyTorch."""
    import torch

    x, y = digits("train", device)
    ends = -(-len(y) // BATCH) * BATCH
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the faster setting for nets of this size
    for seed in range(nets.alone):
        torch.manual_seed(seed)
        layers = [torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)]
        net = torch.nn.Sequential(*layers).to(device)
        optimizer = torch.optim.Adam(net.parameters(), lr=nets.rates[-1], fused=device != "cpu" or None)
        order = torch.randperm(len(y), device=device)
        for step in range(steps):
            start = step * BATCH % ends
            if start == 0:
                order = torch.randperm(len(y), device=device)
            rows = order[start : start + BATCH]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
        right.append(judged(net, device))
    torch.set_num_threads(threads)


def side_by_side(nets: Nets, steps: int, device: str, right: list[float]) -> None:
    """All nets with `torch.func`: `vmap` of the gradient, and Adam over the stacked parameters."""
    import torch
    from torch.func import grad, vmap

    x, y = digits("train", device)
    members = len(nets.rates) * nets.seeds
    rates = torch.tensor(nets.rates, device=device).repeat_interleave(nets.seeds)
    params = started(members, device)
    first, second = ([torch.zeros_like(leaf) for leaf in params] for _ in range(2))

    def loss(params: list[torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(logits(params, x[rows]), y[rows])

    gradient = vmap(grad(loss))
    lists: Any = torch  # what its own optimizers update many tensors by, a kernel for all
    ends = -(-len(y) // BATCH) * BATCH
    orders = torch.empty(0)
    for step in range(steps):
        start = step * BATCH % ends
        if start == 0:
            orders = torch.rand(members, len(y), device=device).argsort(1)
        slopes = gradient(params, orders[:, start : start + BATCH])
        lists._foreach_lerp_(first, slopes, 0.1)
        lists._foreach_mul_(second, 0.999)
        lists._foreach_addcmul_(second, slopes, slopes, 0.001)
        scale = rates * (1 - 0.999 ** (step + 1)) ** 0.5 / (1 - 0.9 ** (step + 1))
        roots = lists._foreach_sqrt(second)
        lists._foreach_add_(roots, 1e-8)
        changes = lists._foreach_div(first, roots)
        lists._foreach_mul_(changes, [scale.view(-1, *[1] * (leaf.ndim - 1)) for leaf in params])
        lists._foreach_sub_(params, changes)
    best = [leaf[-nets.seeds :] for leaf in params]
    right.append(judged(lambda images: vmap(logits, in_dims=(0, None))(best, images), device))


def started(members: int, device: str) -> list[Any]:
    """Parameters `[members, ...]`, drawn as `nn.Linear` draws them."""
    import torch

    torch.manual_seed(0)
    shapes = ((64, 64), (64,), (64, 10), (10,))
    return [(torch.rand(members, *shape, device=device) * 2 - 1) / 64**0.5 for shape in shapes]


def logits(params: list[Any], x: Any) -> Any:
    """Of one net `[B, 10]`."""
    first, bias, second, last = params
    return (x @ first + bias).relu() @ second + last
