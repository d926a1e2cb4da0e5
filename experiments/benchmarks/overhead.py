"""What does `fit` cost over a loop written by hand for the same step?

    uv run python experiments/benchmarks/overhead.py

First a 784-512-512-10 multilayer perceptron on noise, batch 128, Adam (8 MB of state): by turns, in one
process, after compilation, (a) the least that one would write by hand, one compiled `fori_loop` over all
steps, which drops the step's metrics; (b) the same, which adds them up, as fdl does; (c) the loop that most
people write, a compiled step called from Python; (d) fdl's loop; (e) fdl's loop with an asynchronous
checkpoint every 1,000 steps. Then a small network that learns from a replay
buffer of 51 MB, into which it writes at every step, (a) by hand and (b) by fdl; and a population of four of
them, side by side, for a quarter of the steps. Prints medians, and ratios of pairs in one round.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdl import data, models, rng, tasks, tree
from fdl.experiment import Experiment, Learner, Source
from fdl.parallel.plan import Plan
from fdl.train.autotune import Work, autotune
from fdl.train.loop import execute
from fdl.train.program import compile_program, stack_members
from fdl.train.rows import metric_names
from fdl.train.run import arrays_of, evaluation_steps
from fdl.train.runtime import machine, prepare
from fdl.train.saving import Saving

STEPS, ROUNDS = 2_000, 7
ROWS, WIDTH = 200_000, 64
"""Of the replay buffer."""


def main() -> None:
    """Measures and prints."""
    prepare()
    perceptron()
    for members in (1, 4):
        replay(members)


def perceptron() -> None:
    """The multilayer perceptron."""
    model = models.MLP(widths=(512, 512), outputs=10)
    task = tasks.classification(model, noise(), optax.adam(1e-3), steps=STEPS, batch_size=128)
    experiment = task._replace(evaluation={}, evaluate_every=STEPS)
    key = jax.random.key(0)
    arrays = arrays_of(experiment)
    choice, program = autotune(
        Work(lambda _: experiment, experiment, [()], key[None], arrays, STEPS), say=print
    )
    members = stack_members([()], key[None], pad_to=1)
    schedule, names = evaluation_steps(experiment), metric_names(experiment)

    def fdl_in_memory() -> Any:
        return execute(program, members, schedule, names).carry

    def fdl_with_checkpoints() -> Any:
        with tempfile.TemporaryDirectory() as folder:
            return execute(
                program, members, schedule, names, directory=Path(folder), saving=Saving(steps=1000)
            ).carry

    print(f"{machine()}; plan: {choice.plan}; {STEPS:,} steps a run, {ROUNDS} rounds")
    report([*by_hand(experiment, key, arrays["train"]), fdl_in_memory, fdl_with_checkpoints], STEPS)


def by_hand(experiment: Experiment, key: jax.Array, arrays: Any) -> list[Callable[[], Any]]:
    """The loops without fdl's, of the same step."""
    placed = jax.device_put(arrays)
    init = jax.jit(experiment.learner.init)

    def take(state: Any, arrays: Any, step: Any) -> tuple[Any, Any]:
        batch = experiment.train.batch(arrays, step, rng.stream(key, "data"))
        return experiment.learner.step(state, batch, jax.random.fold_in(rng.stream(key, "step"), step))

    def loop(state: Any, arrays: Any) -> Any:
        return jax.lax.fori_loop(0, STEPS, lambda step, state: take(state, arrays, step)[0], state)

    def with_metrics(state: Any, arrays: Any) -> Any:
        def body(step: Any, carry: Any) -> Any:
            state, metrics = take(carry[0], arrays, step)
            return state, jax.tree.map(jnp.add, carry[1], metrics)

        shapes = jax.eval_shape(take, state, arrays, 0)[1]
        sums = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return jax.lax.fori_loop(0, STEPS, body, (state, sums))

    looped, summed = jax.jit(loop, donate_argnums=0), jax.jit(with_metrics, donate_argnums=0)
    called = jax.jit(take, donate_argnums=0)

    def by_hand_on_device() -> Any:
        return looped(init(key), placed)

    def by_hand_with_metrics() -> Any:
        return summed(init(key), placed)

    def by_hand_in_python() -> Any:
        state = init(key)
        for step in range(STEPS):
            state, _ = called(state, placed, jnp.int32(step))
        return state

    return [by_hand_on_device, by_hand_with_metrics, by_hand_in_python]


def replay(count: int) -> None:
    """A network that learns from what it has stored; as many as `count`, side by side."""
    steps = STEPS // count
    experiment = replaying(steps)
    keys = jax.vmap(jax.random.key)(jnp.arange(count))
    plan = Plan(count, "vmap", "scan")
    members = stack_members([()] * count, keys, pad_to=count)
    program = compile_program(lambda _: experiment, members, arrays_of(experiment), plan)

    def take(step: Any, state: Any, key: jax.Array) -> Any:
        batch = experiment.train.batch((), step, rng.stream(key, "data"))
        return experiment.learner.step(state, batch, jax.random.fold_in(rng.stream(key, "step"), step))[0]

    def loop(state: Any, keys: Any) -> Any:
        return jax.lax.fori_loop(
            0, steps, lambda step, state: jax.vmap(take, (None, 0, 0))(step, state, keys), state
        )

    init = jax.jit(jax.vmap(lambda key: experiment.learner.init(rng.stream(key, "init"))))
    looped = jax.jit(loop, donate_argnums=0)

    def replay_by_hand() -> Any:
        return looped(init(keys), keys)

    def replay_by_fdl() -> Any:
        return execute(program, members, evaluation_steps(experiment), metric_names(experiment)).carry

    print(f"{plan}; {tree.nbytes(experiment.learner.init(keys[0])) / 1e6:.0f} MB of state a member")
    report([replay_by_hand, replay_by_fdl], steps)


def replaying(steps: int) -> Experiment:
    """Each step predicts 32 stored rows' next ones, learns from the error, and stores 32 new rows."""
    optimizer = optax.sgd(1e-2)

    def init(key: jax.Array) -> Any:
        weights = 0.1 * jax.random.normal(key, (WIDTH, WIDTH))
        return weights, jnp.zeros((ROWS, WIDTH)), optimizer.init(weights), jnp.int32(0)

    def step(state: Any, batch: Any, key: jax.Array) -> Any:
        weights, buffer, moments, count = state
        start = jax.random.randint(key, (), 0, ROWS - 33)
        rows = jax.lax.dynamic_slice(buffer, (start, 0), (33, WIDTH))
        error = lambda weights: jnp.mean((jnp.tanh(rows[:-1] @ weights) - rows[1:]) ** 2)  # noqa: E731
        loss, slope = jax.value_and_grad(error)(weights)
        change, moments = optimizer.update(slope, moments)
        buffer = jax.lax.dynamic_update_slice(buffer, batch, (count * 32 % (ROWS - 32), 0))
        return (weights + change, buffer, moments, count + 1), {"loss": loss}

    def sample(arrays: Any, step: jax.Array, key: jax.Array) -> jax.Array:
        del arrays
        return jax.random.normal(jax.random.fold_in(key, step), (32, WIDTH))

    learner = Learner(init, step, lambda state, batch, key: {})
    return Experiment(learner, Source((), sample, 1), {}, steps, steps)


def noise() -> data.Splits:
    """Inputs of MNIST's shape."""
    dice = np.random.default_rng(0)

    def split(rows: int) -> dict[str, np.ndarray]:
        x = dice.standard_normal((rows, 784), np.float32)
        return {"x": x, "y": dice.integers(0, 10, rows).astype(np.int32)}

    return data.Splits(split(8192), split(256), split(256))


def report(programs: list[Callable[[], Any]], steps: int) -> None:
    """Runs the programs, of so many steps, by turns; prints each one's median time and ratio to the first."""
    seconds: dict[str, list[float]] = {program.__name__: [] for program in programs}
    for turn in range(ROUNDS + 1):
        for program in programs[turn % len(programs) :] + programs[: turn % len(programs)]:
            began = time.perf_counter()
            jax.block_until_ready(program())
            if turn:  # the first round compiles and warms up
                seconds[program.__name__].append(time.perf_counter() - began)
    first = seconds[programs[0].__name__]
    for name, times in seconds.items():
        ratios = [mine / base for mine, base in zip(times, first, strict=True)]
        spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
        median = statistics.median(times)
        print(
            f"{name:22} {median / steps * 1e6:7.1f} us a step   "
            f"ratio {statistics.median(ratios):.3f} ({spread})"
        )


if __name__ == "__main__":
    main()
