"""How much sooner does `fdl search` find a loss than Optuna that trains the same nets with PyTorch?

    uv run --extra search python experiments/benchmarks/search_speed.py

Multilayer perceptrons 64-64-10 on digits, batch 32, 20 epochs of AdamW, begun alike (He et al. 2015). Both
ask Optuna's TPE for 200 trials of four numbers: the learning rate (1e-5 to 1e-1), what the first moment
forgets a step (1 - b1, 0.01 to 1), weight decay (1e-4 to 1) and label smoothing (0 to 0.3). Both are told a
trial's loss on validation, of labels as they are, the mean over four nets from seeds of their own in each
round: with one the search that draws the luckier beginning wins. fdl trains 20 trials at once on all cores;
Optuna's run one after another, each net in PyTorch with one thread, which is its faster setting for nets of
this size: they take most of the half hour. By turns, in one process, from other seeds in each
round. A round's loss is the best that both came to, and each one's time is that at which it first knew of a
trial as good: fdl's holds tracing, measuring and, from memory after the first round, compiling. The first
round, where fdl compiles, is told by itself. Goal: 10 times sooner. Needs optuna (extra `search`) and torch
(not among fdl's dependencies).
"""

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import optax
from gpu_lines import Line, told

import fdl
from fdl import data, models, tasks
from fdl.train.progress import Progress
from fdl.train.runtime import machine, prepare

BATCH, EPOCHS, TRIALS, POPULATION, SEEDS, ROUNDS = 32, 20, 200, 20, 4, 3
LOGARITHMIC = {"lr": (1e-5, 1e-1), "forgets": (1e-2, 1.0), "weight_decay": (1e-4, 1.0)}
"""The ends of what is drawn by its logarithm."""
SMOOTHING = (0.0, 0.3)
Found = list[tuple[float, float]]
"""Of each trial in its order the seconds since the search began, and the loss."""


@fdl.config
class Config:
    """What is searched: all traced, so that all trials share a program."""

    lr: float = 1e-3
    forgets: float = 0.1
    weight_decay: float = 1e-2
    label_smoothing: float = 0.0


def experiment(config: Config) -> fdl.Experiment:
    """One net, which is evaluated at its end."""
    splits = data.digits()
    steps = EPOCHS * -(-len(splits.train["y"]) // BATCH)
    return tasks.classification(
        models.MLP(widths=(64,), outputs=10),
        splits,
        optax.adamw(config.lr, b1=1 - config.forgets, weight_decay=config.weight_decay),
        label_smoothing=config.label_smoothing,
        steps=steps,
        batch_size=BATCH,
        evaluate_every=steps,
    )


def main() -> None:
    """Measures and prints."""
    missing = []
    for name in ("optuna", "torch"):
        try:
            __import__(name)
        except ImportError:
            missing.append(name)
    if missing:
        print(f"nothing to measure: this benchmark needs {' and '.join(missing)}")
        return
    import optuna
    import torch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    prepare()
    print(
        f"{machine()}; torch {torch.__version__}, optuna {optuna.__version__}; "
        f"{TRIALS} trials of {SEEDS} nets, {ROUNDS} rounds"
    )
    rounds = [one_round(number) for number in range(ROUNDS + 1)]
    for line in lines(rounds):
        print(told(line))


def one_round(number: int) -> tuple[Found, Found]:
    """What both found, which goes first by turns."""
    ways: list[Callable[[int], Found]] = [with_fdl, with_torch]
    found = {way: way(number) for way in (ways if number % 2 else ways[::-1])}
    return found[with_fdl], found[with_torch]


def lines(rounds: list[tuple[Found, Found]]) -> list[Line]:
    """The table; the first of the rounds is told by itself."""
    ratios, seconds, losses = [], [], []
    for mine, theirs in rounds:
        goal = max(min(loss for _, loss in found) for found in (mine, theirs))
        ours, others = reached(mine, goal), reached(theirs, goal)
        ratios.append(others / ours)
        seconds.append((ours, others))
        losses.append(goal)
    later = ratios[1:]
    spread = f"{min(later):.3g} to {max(later):.3g}; losses {min(losses[1:]):.3g} to {max(losses[1:]):.3g}"
    whole = [theirs[-1][0] / mine[-1][0] for mine, theirs in rounds[1:]]
    middle = [statistics.median(both[i] for both in seconds[1:]) for i in range(2)]
    return [
        Line("fdl: time to the loss", middle[0], "s"),
        Line("Optuna and PyTorch: time to the loss", middle[1], "s"),
        Line("fdl over Optuna and PyTorch", statistics.median(later), "times", spread, ("≥", 10)),
        Line("the same in the first round, which compiles", ratios[0], "times"),
        Line("all trials", statistics.median(whole), "times", f"{min(whole):.3g} to {max(whole):.3g}"),
    ]


def reached(found: Found, goal: float) -> float:
    """When a search first knew of a net as good."""
    return next(seconds for seconds, loss in found if loss <= goal)


def with_fdl(seed: int) -> Found:
    """By `fdl.search`; the net that judges what was chosen, which it trains at the end, does not count."""
    losses: dict[str, list[float]] = {}
    found: Found = []
    began = time.perf_counter()

    def evaluated(rows: list[dict[str, Any]]) -> None:
        now = time.perf_counter() - began
        for row in rows:
            own = losses.setdefault(row["arm"], [])
            own.append(row["validation/loss"])
            if len(own) == SEEDS:  # one more is of the net that judges
                found.append((now, statistics.fmean(own)))

    logarithmic = {name: fdl.log_uniform(*ends) for name, ends in LOGARITHMIC.items()}
    space = fdl.space(Config(), **logarithmic, label_smoothing=fdl.uniform(*SMOOTHING))
    fdl.search(
        experiment,
        space,
        trials=TRIALS,
        metric="validation/loss",
        better="lower",
        seeds=seeds_of(seed),
        population=POPULATION,
        judges=1,
        draw_seed=seed,
        progress=Progress(evaluated=evaluated),
    )
    return found


def with_torch(seed: int) -> Found:
    """By Optuna alone, a trial a net."""
    import optuna

    found: Found = []
    began = time.perf_counter()

    def objective(trial: optuna.Trial) -> float:
        asked = {name: trial.suggest_float(name, *ends, log=True) for name, ends in LOGARITHMIC.items()}
        smoothing = trial.suggest_float("label_smoothing", *SMOOTHING)
        loss = statistics.fmean(trained(seed=one, smoothing=smoothing, **asked) for one in seeds_of(seed))
        found.append((time.perf_counter() - began, loss))
        return loss

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True))
    study.optimize(objective, n_trials=TRIALS)
    return found


def seeds_of(number: int) -> range:
    """Those of the nets of a round's trials."""
    return range(number * SEEDS, (number + 1) * SEEDS)


@functools.cache
def digits() -> list[Any]:
    """Images and labels of the training and the validation split; once."""
    import torch

    splits, kinds = data.digits(), (("x", torch.float32), ("y", torch.long))
    parts = (splits.train, splits.validation)
    return [torch.tensor(np.array(part[name]), dtype=kind) for part in parts for name, kind in kinds]


def trained(*, lr: float, forgets: float, weight_decay: float, smoothing: float, seed: int) -> float:
    """The loss on validation of a net that PyTorch trained."""
    import torch

    x, y, unseen, labels = digits()
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    with torch.no_grad():  # as fdl begins; PyTorch's own start does better where a pixel is far from its mean
        for layer in net:
            if isinstance(layer, torch.nn.Linear):
                torch.nn.init.kaiming_normal_(layer.weight)
                torch.nn.init.zeros_(layer.bias)
    betas = (1 - forgets, 0.999)
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, betas=betas, weight_decay=weight_decay)
    loss = torch.nn.functional.cross_entropy
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(y)).split(BATCH):
            optimizer.zero_grad()
            loss(net(x[rows]), y[rows], label_smoothing=smoothing).backward()
            optimizer.step()
    with torch.no_grad():
        return float(loss(net(unseen), labels))


if __name__ == "__main__":
    main()
