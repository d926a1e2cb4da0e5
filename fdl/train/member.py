"""One run as pure functions: what every plan lifts over members and every loop calls."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer

from fdl import rng, tree
from fdl.experiment import Experiment, Source, State
from fdl.metrics import Mean

Build = Callable[[Any], Experiment]
"""`config -> Experiment`; the function `experiment` of an experiment's file."""


class Member(NamedTuple):
    """What makes one run of a program differ from another.

    Attributes:
      config: its config; the traced fields are scalars.
      key: its root key; every key stream comes from it.
      live: bool scalar; False for padding, which takes no step.
    """

    config: Any
    key: jax.Array
    live: jax.Array


class Carry(NamedTuple):
    """All that a run is at a step; what a checkpoint holds.

    Attributes:
      state: the learner's state.
      step: updates done, int32 scalar.
      sums: sums of the step metrics since the last evaluation, scalars by name.
      summed: steps in `sums`, int32 scalar.
      stopper: the state of early stopping, or None.
      stopped: whether early stopping (or padding) ended the run, bool scalar.
      failed: index into `metric_names` of the metric that was not finite, or -1; int32 scalar.
    """

    state: State
    step: jax.Array
    sums: Mapping[str, jax.Array]
    summed: jax.Array
    stopper: Any
    stopped: jax.Array
    failed: jax.Array


class Row(NamedTuple):
    """One evaluation.

    Attributes:
      step: updates done, int32 scalar.
      metrics: float32 scalars as `metric_names` lists them.
      valid: bool scalar; False where the run had ended before.
    """

    step: jax.Array
    metrics: Mapping[str, jax.Array]
    valid: jax.Array


def sources_of(experiment: Experiment) -> dict[str, Source]:
    """All its sources by split, `"train"` and those of the evaluation."""
    return {"train": experiment.train, **experiment.evaluation}


def arrays_of(experiment: Experiment) -> dict[str, Any]:
    """The arrays of all its sources, by split; they travel to the program as an argument."""
    return {split: source.arrays for split, source in sources_of(experiment).items()}


def metric_names(experiment: Experiment) -> tuple[str, ...]:
    """The names of all metrics in a row, those of the steps first, as `train/loss`."""
    key = jax.random.key(0)
    state = jax.eval_shape(experiment.learner.init, key)
    names = [f"train/{name}" for name in _step_metrics(experiment, state)]
    for split, source in sorted(experiment.evaluation.items()):
        batch = jax.eval_shape(source.batch, source.arrays, jnp.int32(0), key)
        metrics = jax.eval_shape(experiment.learner.evaluate, state, batch)
        names += [f"{split}/{name}" for name in sorted(metrics)]
    return tuple(names)


def init(build: Build, member: Member) -> Carry:
    """The carry of a run before its first step."""
    experiment = build(member.config)
    state = experiment.learner.init(rng.stream(member.key, "init"))
    names = _step_metrics(experiment, state)
    return Carry(
        state=state,
        step=jnp.int32(0),
        sums={name: jnp.float32(0) for name in names},
        summed=jnp.int32(0),
        stopper=experiment.stop.init() if experiment.stop else None,
        stopped=~member.live,
        failed=jnp.int32(-1),
    )


def advance(build: Build, member: Member, arrays: Any, carry: Carry, end: jax.Array) -> Carry:
    """Steps until `end` (int32 scalar) updates are done or the run ends, in one loop on the device.

    The number of steps is a value, not a shape: any chunking runs the same program, bit for bit.
    """
    step = _stepper(build, member, arrays)
    return _settled(carry, lax.while_loop(lambda c: (c.step < end) & is_live(c), step, carry))


def advance_once(build: Build, member: Member, arrays: Any, carry: Carry) -> Carry:
    """One step, for plans that loop on the host; a run that has ended stays as it is."""
    stepped = _settled(carry, _stepper(build, member, arrays)(carry))
    return tree.where(is_live(carry), stepped, carry)


def is_live(carry: Carry) -> jax.Array:
    """Whether the run still takes steps, a bool scalar."""
    return ~carry.stopped & (carry.failed < 0)


def evaluate(build: Build, member: Member, arrays: Any, carry: Carry) -> tuple[Carry, Row]:
    """Evaluates every split whole, closes the sums of the step metrics, and asks early stopping."""
    sums = {}
    for split, source in build(member.config).evaluation.items():
        one = functools.partial(measure, build, member, arrays, carry, split)
        add = lambda index, total, one=one: jax.tree.map(jnp.add, total, one(index))  # noqa: E731
        first = one(jnp.int32(0))
        sums[split] = lax.fori_loop(1, source.batches, add, first) if source.batches > 1 else first
    return close(build, member, carry, sums)


def measure(
    build: Build, member: Member, arrays: Any, carry: Carry, split: str, index: jax.Array
) -> Mapping[str, Mean]:
    """The evaluation metrics of one batch of a split, by name."""
    experiment = build(member.config)
    key = jax.random.key(0)  # an evaluation reads in a fixed order
    source = experiment.evaluation[split]
    batch = source.batch(_inputs(source, arrays[split]), index, key)
    return dict(experiment.learner.evaluate(carry.state, batch))


def close(
    build: Build, member: Member, carry: Carry, sums: Mapping[str, Mapping[str, Mean]]
) -> tuple[Carry, Row]:
    """Turns the step metrics since the last evaluation and the splits' sums into a row."""
    experiment = build(member.config)
    count = jnp.maximum(carry.summed, 1)
    metrics = {f"train/{name}": carry.sums[name] / count for name in sorted(carry.sums)}
    for split in sorted(sums):
        for name, mean in sorted(sums[split].items()):
            metrics[f"{split}/{name}"] = jnp.asarray(mean.value, jnp.float32)
    live = is_live(carry)
    finite = jnp.stack([jnp.isfinite(value) for value in metrics.values()])
    stopper, stopped = carry.stopper, carry.stopped
    if experiment.stop:
        stopper, stop = experiment.stop.update(stopper, metrics)
        stopped |= stop
    failed = jnp.where(jnp.all(finite), -1, jnp.argmin(finite)).astype(jnp.int32)
    closed = carry._replace(
        sums=jax.tree.map(jnp.zeros_like, carry.sums),
        summed=jnp.int32(0),
        stopper=tree.where(live, stopper, carry.stopper),
        stopped=jnp.where(live, stopped, carry.stopped),
        failed=jnp.where(live, failed, carry.failed),
    )
    return closed, Row(carry.step, metrics, live)


def scan(experiment: Experiment, key: jax.Array) -> tuple[State, Row]:
    """A whole run as one pure function: jittable, vmappable over keys and traced values.

    Args:
      experiment: what to run.
      key: the run's root key, as `jax.random.key(seed)`.

    Returns:
      The final state and the rows `[evaluations]`; the same numbers as `fit` gives. Rows after an
      early stop or a failure are not valid.

    Raises:
      ValueError: the data of a source stays on the host.
    """
    on_host = [split for split, source in sources_of(experiment).items() if source.fetch]
    if on_host:
        raise ValueError(f"the data of {on_host} stays on the host; use `fit`, or arrays in memory")
    member = Member((), key, jnp.bool_(True))
    arrays = jax.tree.map(jnp.asarray, arrays_of(experiment))

    def period(carry: Carry, end: jax.Array) -> tuple[Carry, Row]:
        carry = advance(lambda _: experiment, member, arrays, carry, end)
        return evaluate(lambda _: experiment, member, arrays, carry)

    carry = init(lambda _: experiment, member)
    carry, rows = lax.scan(period, carry, jnp.asarray(evaluation_steps(experiment), jnp.int32))
    return carry.state, rows


def evaluation_steps(experiment: Experiment) -> list[int]:
    """The steps after which a run is evaluated: every `evaluate_every`, and the last."""
    every = range(experiment.evaluate_every, experiment.steps, experiment.evaluate_every)
    return [*every, experiment.steps]


def _stepper(build: Build, member: Member, arrays: Any) -> Callable[[Carry], Carry]:
    experiment = build(member.config)
    inputs = _inputs(experiment.train, arrays["train"])
    data_key, step_key = rng.stream(member.key, "data"), rng.stream(member.key, "step")

    def step(carry: Carry) -> Carry:
        batch = experiment.train.batch(inputs, carry.step, data_key)
        key = jax.random.fold_in(step_key, carry.step)
        state, metrics = experiment.learner.step(carry.state, batch, key)
        values = [jnp.asarray(metrics[name], jnp.float32) for name in sorted(carry.sums)]
        finite = jnp.stack([jnp.isfinite(value) for value in values])
        good = jnp.all(finite)
        # A step whose metrics are not finite is not taken: the state stays the last good one.
        return carry._replace(
            state=tree.where(good, state, carry.state),
            step=carry.step + 1,  # whatever happens: see `_settled`
            sums={
                name: carry.sums[name] + jnp.where(good, v, 0)
                for name, v in zip(sorted(carry.sums), values, strict=True)
            },
            summed=carry.summed + 1,
            failed=jnp.where(good, -1, jnp.argmin(finite)).astype(jnp.int32),
        )

    return step


def _settled(before: Carry, after: Carry) -> Carry:
    """Takes back the count of a step that failed just now.

    In the loop the count must not depend on what a step computed: on CPU a program whose next batch
    waits for that was seen to take nearly twice the time.
    """
    lost = ((before.failed < 0) & (after.failed >= 0)).astype(jnp.int32)
    return after._replace(step=after.step - lost, summed=after.summed - lost)


def _inputs(source: Source, arrays: Any) -> Any:
    """The given arrays, but those that the traced config decides as they are inside the trace."""
    choose = lambda own, given: own if isinstance(own, Tracer) else given  # noqa: E731
    return jax.tree.map(choose, source.arrays, arrays)


def _step_metrics(experiment: Experiment, state: State) -> list[str]:
    key = jax.random.key(0)
    batch = jax.eval_shape(experiment.train.batch, experiment.train.arrays, jnp.int32(0), key)
    return sorted(jax.eval_shape(experiment.learner.step, state, batch, key)[1])
