"""How does a sweep of small nets scale, and is the packing that fdl chooses the best?

    uv run --extra search python experiments/benchmarks/sweep_scaling.py

`members`: 1 to 4,096 multilayer perceptrons 64-64-10 on digits (batch 32, 5 epochs of Adam) as one
population, against the same nets in PyTorch, each a trial of Optuna one after another, and a trial of Ray
Tune, one a core at a time; theirs of fewer nets, as many in a round as the constants below say. By turns,
without compiling, but with Ray's start of its workers, which train one net after another. `processes`: a
sweep of all of them by 1 to N processes, each of which imports, traces and compiles (`fdl sweep --executor
processes`). `packing`: for four models the speed of the plan that fdl chooses, as a share of the best of
members side by side (`vmap`), one after another, and one a core. `bookkeeping`: what fdl itself takes for
10,000 arms that learn nothing, from the grid to the report, in processor time, after a sweep of two arms that
imports what is needed; with the most memory of this process, most of which are libraries and compiling:
measured first, as it holds what the other parts take.

Nets of PyTorch have one thread, their faster setting for this size. Needs torch (not among fdl's
dependencies), optuna (extra `search`) and `ray[tune]`; what is missing is said and left out. `--only members`
runs a part.
"""

import argparse
import functools
import importlib.util
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from digits_net import Config, net
from gpu_lines import Line, by_turns, ratio, told
from growth import Toy, idle

import fdl
from fdl import data, models, report, tasks
from fdl.parallel.plan import Plan
from fdl.sweeps.population import groups_of
from fdl.sweeps.programs import work_of
from fdl.train.autotune import Work, autotune, compile_for
from fdl.train.loop import execute
from fdl.train.program import Program, stack_members
from fdl.train.rows import metric_names
from fdl.train.run import evaluation_steps
from fdl.train.runtime import machine, prepare

BATCH, EPOCHS, ROUNDS = 32, 5, 3
COUNTS, ALONE, RAY = (1, 8, 64, 512, 4096), 16, 8
"""Members of a population; nets of a round of Optuna's; of Ray Tune's."""
ARMS = 10_000
"""Arms whose bookkeeping is measured."""
PACKED, LONG, SECONDS = 16, 1_000_000, 0.5
"""Members whose packing is measured, the steps of each for which it is chosen, and the seconds of a turn."""


def experiment(config: Config) -> fdl.Experiment:
    """One net."""
    return net(config, epochs=EPOCHS, batch=BATCH)


def space(count: int) -> fdl.Sweep:
    """So many nets."""
    return fdl.grid(Config(), lr=(1e-3,), seeds=count)


def main() -> None:
    """Measures and prints."""
    parts = {"bookkeeping": bookkeeping, "members": members, "processes": processes, "packing": packing}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=list(parts), action="append", default=[])
    asked = parser.parse_args().only or list(parts)
    prepare()
    print(f"{machine()}, {os.cpu_count()} cores; {ROUNDS} rounds; load {os.getloadavg()[0]:.1f}", flush=True)
    for name in asked:
        print(name)
        for line in parts[name]():
            print(told(line), flush=True)


def bookkeeping() -> list[Line]:
    """The first part: seconds of processor time, and megabytes."""
    lines: list[Line] = []

    def timed(name: str, run: Callable[[], Any]) -> Any:
        began = time.process_time()
        found = run()
        taken = time.process_time() - began
        lines.append(Line(f"{ARMS:,} arms: {name}", taken, "s", f"{peak():.0f} MB at most until then"))
        return found

    slopes = tuple(np.linspace(0.0, 1.0, ARMS).tolist())
    with tempfile.TemporaryDirectory() as place:
        report.write(fdl.sweep(idle, fdl.grid(Toy(), slope=slopes[:2]), workdir=place), None, Path(place))
    start = peak()
    with tempfile.TemporaryDirectory() as place:
        arms = timed("grid", lambda: fdl.grid(Toy(), slope=slopes, seeds=1))
        timed("sweep", lambda: fdl.sweep(idle, arms, workdir=place))
        result = timed("again, where all is finished", lambda: fdl.sweep(idle, arms, workdir=place))
        timed("report", lambda: report.write(result, None, Path(place)))
    memory = Line("most memory", peak(), "MB", f"{start:.0f} MB after two arms", ("≤", 500))
    return [*lines, Line("all of it", sum(line.value for line in lines), "s", target=("≤", 10)), memory]


def peak() -> float:
    """The most memory that this process has had, in megabytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1e6 if sys.platform == "darwin" else 1e3)


def there(peer: str, *packages: str) -> bool:
    """Whether all packages that a peer needs are installed; what is not is said."""
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    if absent:
        print(
            f"  {peer} is left out: not installed {'is' if len(absent) == 1 else 'are'} {', '.join(absent)}"
        )
    return not absent


def members() -> list[Line]:
    """The second part."""
    runs = {f"{count:,} members": population(count) for count in COUNTS}
    counts = dict(zip(runs, COUNTS, strict=True))
    if there("Optuna", "torch", "optuna"):
        runs["Optuna"], counts["Optuna"] = functools.partial(with_optuna, ALONE), ALONE
    if there("Ray Tune", "torch", "ray", "pydantic", "pyarrow"):
        runs["Ray Tune"], counts["Ray Tune"] = functools.partial(with_ray, RAY), RAY
    return rates(by_turns(runs, ROUNDS), counts)


def rates(seconds: dict[str, list[float]], counts: dict[str, int]) -> list[Line]:
    """Nets a second of each way, and how many times as many fdl's populations make as the others."""
    each = {name: [one / counts[name] for one in all_] for name, all_ in seconds.items()}
    ones = {name: [1.0] * len(all_) for name, all_ in each.items()}
    lines = [ratio(name, ones[name], all_)._replace(unit="nets/s") for name, all_ in each.items()]
    others = [name for name in ("Optuna", "Ray Tune") if name in each]
    ours = [name for name in each if name not in others]
    return lines + [ratio(f"{mine} over {peer}", each[peer], each[mine]) for peer in others for mine in ours]


def population(count: int) -> Callable[[], None]:
    """Trains and evaluates so many nets."""
    (group,) = groups_of(experiment, space(count).trials, folder=None)
    work = work_of(group, group.trials)
    _, program = autotune(work)
    size = program.plan.members
    parts = [
        stack_members(work.configs[i : i + size], work.keys[i : i + size], pad_to=size)
        for i in range(0, count, size)
    ]
    schedule, names = evaluation_steps(group.experiment), metric_names(group.experiment)

    def run() -> None:
        rows = [row for part in parts for row in execute(program, part, schedule, names).rows]
        if len(rows) != count:
            raise RuntimeError(f"{len(rows)} of {count} nets were evaluated")

    return run


@functools.cache
def digits() -> tuple[Any, Any]:
    """Images and labels for PyTorch."""
    import torch

    train = data.digits().train
    return torch.tensor(np.array(train["x"])), torch.tensor(np.array(train["y"]), dtype=torch.long)


def trained(images: tuple[Any, Any], rate: float, epochs: int, batch: int) -> float:
    """The last loss of a net that PyTorch trained; sent to Ray's workers, so it reaches nothing outside."""
    import torch

    torch.set_num_threads(1)
    x, y = images
    net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    loss = torch.tensor(0.0)
    for _ in range(epochs):
        for rows in torch.randperm(len(y)).split(batch):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
    return float(loss.detach())


def with_optuna(count: int) -> None:
    """Trials of Optuna, one after another."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    ask = lambda trial: trained(digits(), trial.suggest_float("lr", 1e-3, 1e-2), EPOCHS, BATCH)  # noqa: E731
    study.optimize(ask, n_trials=count)


def with_ray(count: int) -> None:
    """Trials of Ray Tune, one a core at a time."""
    import ray
    from ray import tune

    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # whose tables come in spite of `verbose=0`
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    images, epochs, batch, one = digits(), EPOCHS, BATCH, trained

    def trial(config: dict[str, float]) -> dict[str, float]:
        return {"loss": one(images, config["lr"], epochs, batch)}

    with tempfile.TemporaryDirectory() as place:
        tuner = tune.Tuner(
            trial,
            param_space={"lr": tune.loguniform(1e-3, 1e-2)},
            tune_config=tune.TuneConfig(num_samples=count, metric="loss", mode="min", reuse_actors=True),
            run_config=tune.RunConfig(storage_path=place, verbose=0),
        )
        found = tuner.fit()
    if found.errors:
        raise RuntimeError(f"{len(found.errors)} of Ray's trials failed: {found.errors[0]}")


def processes() -> list[Line]:
    """The third part: the sweep itself, from its start to its result."""
    most = len(os.sched_getaffinity(0))
    workers = sorted({1 << n for n in range(most.bit_length())} | {most})

    one = importlib.import_module(Path(__file__).stem).experiment  # workers find it by this name

    def run(count: int) -> None:
        with tempfile.TemporaryDirectory() as place:
            fdl.sweep(one, space(COUNTS[-1]), workdir=place, executor=fdl.sweeps.on_processes(count))

    runs = {f"{count} processes": functools.partial(run, count) for count in workers if count <= most}
    return rates(by_turns(runs, 1), dict.fromkeys(runs, COUNTS[-1]))


def nets() -> dict[str, Any]:
    """Small models, each of images or sequences made once."""
    dice = np.random.default_rng(0)

    def rows(*shape: int) -> data.Splits:
        y = dice.integers(0, 10, 256).astype(np.int32)
        part = {"x": dice.standard_normal((256, *shape), np.float32), "y": y}
        return data.Splits(part, part, part)

    vit = models.vision_transformer(10, size=16, patch=4, width=32, layers=2, heads=2)
    return {
        "MLP": (models.MLP(widths=(64,), outputs=10), data.digits()),
        "CNN": (models.lenet5(padding=2), rows(28, 28, 1)),
        "LSTM": (models.RecurrentNet((32,), 10), rows(16, 8)),
        "transformer": (vit, rows(16, 16, 3)),
    }


def packing() -> Iterator[Line]:
    """The fourth part, a model at a time."""
    for name, (model, splits) in nets().items():
        yield from packed(name, model, splits)


def packed(name: str, model: Any, splits: data.Splits) -> list[Line]:
    """How near the plan that is chosen for a model comes to the best."""

    def build(config: Config) -> fdl.Experiment:
        optimizer = optax.adam(config.lr)
        return tasks.classification(model, splits, optimizer, steps=LONG, batch_size=BATCH)

    (group,) = groups_of(build, space(PACKED).trials, folder=None)
    work, cores = work_of(group, group.trials), len(jax.devices())
    wide = -(-PACKED // cores) * cores
    with tempfile.TemporaryDirectory() as place:
        choice, program = autotune(work, remembered=Path(place))
    plans = {
        "vmap": Plan(wide, "vmap", "scan", cores),
        "vmap on one device": Plan(PACKED, "vmap", "scan", 1),
        "one after another": Plan(PACKED, "map", "scan", 1),
        "one a core": Plan(wide, "map", "scan", cores),
    }
    programs = {way: compile_for(work, plan) for way, plan in plans.items() if plan != choice.plan}
    chosen = next((way for way, plan in plans.items() if plan == choice.plan), "another")
    programs[chosen] = program
    steps = max(1, int(SECONDS / choice.seconds / PACKED))
    seconds = by_turns({way: turn(work, one, steps) for way, one in programs.items()}, ROUNDS)
    each = {way: [1e6 * one / steps / PACKED for one in all_] for way, all_ in seconds.items()}
    best = min(each, key=lambda way: sorted(each[way])[len(each[way]) // 2])
    lines = [
        Line(f"{name}: {way}", sorted(all_)[len(all_) // 2], "us", f"{min(all_):.4g} to {max(all_):.4g}")
        for way, all_ in each.items()
    ]
    how = f"chosen: {chosen} ({choice.plan}); best: {best}"
    return [*lines, ratio(f"{name}: chosen over the best", each[best], each[chosen], ("≥", 0.95), how)]


def turn(work: Work, program: Program, steps: int) -> Callable[[], None]:
    """Some steps from the start of all members."""
    count = program.plan.members
    parts = [
        program.place(stack_members(work.configs[i : i + count], work.keys[i : i + count], pad_to=count))
        for i in range(0, len(work.configs), count)
    ]

    def run() -> None:
        for part in parts:
            jax.block_until_ready(program.advance(part, program.init(part), 0, steps))

    return run


if __name__ == "__main__":
    main()
