"""One run as pure functions: what every plan lifts over members and every loop calls."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer

from fdl import rng, tree
from fdl.experiment import Experiment, Metrics, Source, State
from fdl.metrics import Mean
from fdl.train.batches import over
from fdl.train.check import check, check_key
from fdl.train.rows import Kept, Row, best_of, first_lost, keep, mean_of, step_metrics
from fdl.train.step_log import StepLog, empty_log, logged

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
      state: the learner's latest state. Of a run that has ended it means nothing: steps of a population are
        taken by all members, and the ended one's are not selected away, as that would copy every state at
        every step (seen: 40 times the time of a step that updates a replay buffer).
      step: updates done, int32 scalar; inside a loop the steps that it has taken, also of an ended run.
      ended: updates done when the run ended, int32 scalar; of no meaning before.
      sums: sums of the step metrics since the last evaluation, by name.
      log: the same over fewer steps, if the experiment wants them.
      kept: the state that is the run's result, if that may be another than the latest; else None.
      stopper: the state of early stopping, or None.
      stopped: whether early stopping (or padding) ended the run, bool scalar.
      failed: index into `metric_names` of the required metric that was not finite, or -1; int32 scalar.
    """

    state: State
    step: jax.Array
    ended: jax.Array
    sums: Mapping[str, Mean]
    log: StepLog | None
    kept: Kept | None
    stopper: Any
    stopped: jax.Array
    failed: jax.Array


def sources_of(experiment: Experiment) -> dict[str, Source]:
    """All its sources by split, `"train"` and those of the evaluation."""
    return {"train": experiment.train, **experiment.evaluation}


def arrays_of(experiment: Experiment) -> dict[str, Any]:
    """The arrays of all its sources, by split; they travel to the program as an argument."""
    return {split: source.arrays for split, source in sources_of(experiment).items()}


def experiment_of(build: Build, member: Member) -> Experiment:
    """The member's experiment. What JAX computes in `build` of no traced value is a value there, as it is
    outside of a trace: data that it makes may go on to NumPy."""
    with jax.ensure_compile_time_eval():
        return build(member.config)


def result_of(carry: Carry) -> State:
    """The learner's state that is the run's result."""
    return carry.state if carry.kept is None else carry.kept.state


def init(build: Build, member: Member) -> Carry:
    """The carry of a run before its first step."""
    experiment = experiment_of(build, member)
    state = experiment.learner.init(rng.stream(member.key, "init"))
    kept = Kept(state, jnp.float32(jnp.nan)) if best_of(experiment) or experiment.stop else None
    names = step_metrics(experiment, state)
    return Carry(
        state=state,
        step=jnp.int32(0),
        ended=jnp.int32(0),
        sums={name: Mean(jnp.float32(0), jnp.float32(0)) for name in names},
        log=empty_log(experiment, names),
        kept=kept,
        stopper=experiment.stop.init() if experiment.stop else None,
        stopped=~member.live,
        failed=jnp.int32(-1),
    )


def advance(build: Build, member: Member, arrays: Any, carry: Carry, end: jax.Array) -> Carry:
    """Steps of a live run until `end` (int32 scalar) updates are done, in one loop on the device.

    The number of steps is a value, not a shape: any chunking runs the same program, bit for bit. Whether a
    run goes on is asked before the loop only. Asked in it, each step would wait for the metrics of the one
    before, beside which a CPU computes a part of it otherwise (seen: 13 % of a step's time). A run that fails
    in the loop computes on to its end, which nothing reads.
    """
    step = _stepper(build, member, arrays)
    last = jnp.where(is_live(carry), end, carry.step)
    return _settled(lax.while_loop(lambda c: _any_member(c.step < last), step, carry))


def advance_once(build: Build, member: Member, arrays: Any, carry: Carry) -> Carry:
    """One step, for plans that loop on the host."""
    return _settled(_stepper(build, member, arrays)(carry))


def is_live(carry: Carry) -> jax.Array:
    """Whether the run still takes steps, a bool scalar."""
    return ~carry.stopped & (carry.failed < 0)


def evaluate(build: Build, member: Member, arrays: Any, carry: Carry) -> tuple[Carry, Row]:
    """Evaluates every split whole, closes the sums of the step metrics, and asks early stopping."""
    experiment, found = experiment_of(build, member), {}
    for split, source in experiment.evaluation.items():
        measured = functools.partial(measure, experiment, member, arrays, carry.state, split)
        found[split] = over(measured, source.batches)
    return close(experiment, carry, found)


def measure(
    experiment: Experiment, member: Member, arrays: Any, state: State, split: str, index: jax.Array
) -> Metrics:
    """The evaluation metrics of one batch of a split, by name."""
    source = experiment.evaluation[split]
    batch = source.batch(_inputs(source, arrays[split]), index, jax.random.key(0))  # read in a fixed order
    key = jax.random.fold_in(rng.stream(rng.stream(member.key, "evaluate"), split), index)
    return dict(experiment.learner.evaluate(state, batch, key))


def close(experiment: Experiment, carry: Carry, found: Mapping[str, Metrics]) -> tuple[Carry, Row]:
    """Turns the step metrics since the last evaluation and those of the splits into a row."""
    all_of = {f"train/{name}": carry.sums[name] for name in sorted(carry.sums)}
    all_of |= {
        f"{split}/{name}": one for split in sorted(found) for name, one in sorted(found[split].items())
    }
    metrics = {name: jnp.asarray(one.value, jnp.float32) for name, one in all_of.items()}
    live = is_live(carry)
    failed = first_lost(all_of, experiment.learner.required)
    kept, best = keep(carry.kept, carry.state, metrics, best_of(experiment), live & (failed < 0))
    stopper, stopped = carry.stopper, carry.stopped
    if experiment.stop:
        stopper, stop = experiment.stop.update(stopper, metrics)
        stopped |= stop
    closed = carry._replace(
        sums=jax.tree.map(jnp.zeros_like, carry.sums),
        log=jax.tree.map(jnp.zeros_like, carry.log),
        ended=jnp.where(live, carry.step, carry.ended),
        kept=kept,
        stopper=tree.where(live, stopper, carry.stopper),
        stopped=jnp.where(live, stopped, carry.stopped),
        failed=jnp.where(live, failed, carry.failed),
    )
    return closed, Row(carry.step, metrics, live, best, carry.log)


def scan(experiment: Experiment, key: jax.Array) -> tuple[State, Row]:
    """A whole run as one pure function: jittable, vmappable over keys and traced values.

    Args:
      experiment: what to run.
      key: the run's root key, as `jax.random.key(seed)`.

    Returns:
      The run's result, its last or best state (of a failed run without a best one, one that means nothing),
      and the rows `[evaluations]`; the same numbers as `fit` gives. Rows after an early stop or a failure are
      not valid.

    Raises:
      ValueError: the experiment or the key is none (`fdl.check`), or the data of a source stays on the host.

    Example:
      >>> import jax, numpy as np
      >>> from fdl import data, tasks, train
      >>> rows = {"x": np.eye(4, dtype=np.float32), "y": np.array([1, -1, 1, -1], np.float32)}
      >>> experiment = tasks.perceptron(data.Splits(rows, rows, rows), steps=20)
      >>> run = jax.vmap(lambda key: train.scan(experiment, key))  # several seeds in one program
      >>> state, rows = jax.eval_shape(run, jax.random.split(jax.random.key(0), 3))
      >>> rows.metrics["test/loss"].shape
      (3, 10)
    """
    check(experiment)
    check_key(key)
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
    return result_of(carry), rows


def evaluation_steps(experiment: Experiment) -> list[int]:
    """The steps after which a run is evaluated: every `evaluate_every`, and the last."""
    every = range(experiment.evaluate_every, experiment.steps, experiment.evaluate_every)
    return [*every, experiment.steps]


def _stepper(build: Build, member: Member, arrays: Any) -> Callable[[Carry], Carry]:
    experiment = experiment_of(build, member)
    inputs = _inputs(experiment.train, arrays["train"])
    data_key, step_key = rng.stream(member.key, "data"), rng.stream(member.key, "step")

    def step(carry: Carry) -> Carry:
        batch = experiment.train.batch(inputs, carry.step, data_key)
        key = jax.random.fold_in(step_key, carry.step)
        state, metrics = experiment.learner.step(carry.state, batch, key)
        _check_again(state, metrics, carry)
        given = {f"train/{name}": metrics[name] for name in sorted(carry.sums)}
        lost, live = first_lost(given, experiment.learner.required), is_live(carry)
        means = {name: mean_of(metrics[name]) for name in carry.sums}
        counts = live & (lost < 0)
        # Only scalars are selected. The step is taken as it comes: what chooses between the new state and the
        # old keeps both alive, so that no buffer in it can be updated in place.
        return carry._replace(
            state=state,
            step=carry.step + 1,  # whatever happens: see `_settled`
            ended=jnp.where(live, carry.step, carry.ended),
            sums=jax.tree.map(lambda sum, new: sum + jnp.where(counts, new, 0), carry.sums, means),
            log=logged(carry.log, experiment, carry.step, means, counts),
            failed=jnp.where(live, lost, carry.failed),
        )

    return step


def _check_again(state: State, metrics: Mapping[str, Any], carry: Carry) -> None:
    """Costs nothing: it is asked while a step is traced.

    Raises:
      ValueError: a step gives another state or other metrics than when it was looked at: it is not pure.
    """
    wrong = tree.difference(state, carry.state, name="state")
    if wrong or sorted(metrics) != sorted(carry.sums):
        wrong = wrong or f"metrics are {', '.join(sorted(metrics))}, expected {', '.join(sorted(carry.sums))}"
        raise ValueError(f"learner.step gives something else the second time, so it is not pure: {wrong}")


def _settled(after: Carry) -> Carry:
    """Puts the count of a run that has ended back to where it did.

    In the loop the count must not depend on what a step computed: on CPU a program whose next batch
    waits for that was seen to take nearly twice the time.
    """
    return after._replace(step=jnp.where(is_live(after), after.step, after.ended))


@jax.custom_batching.custom_vmap
def _any_member(live: jax.Array) -> jax.Array:
    """Whether a loop goes on: under `vmap`, while it does for any member.

    JAX would select every array of every member at every step, new or old, by a condition a member.
    """
    return live


@_any_member.def_vmap
def _(size: int, batched: list[bool], live: jax.Array) -> tuple[jax.Array, bool]:
    del size, batched
    return jnp.any(live), False


def _inputs(source: Source, arrays: Any) -> Any:
    """The given arrays, but those that the traced config decides as they are inside the trace."""
    choose = lambda own, given: own if isinstance(own, Tracer) else given  # noqa: E731
    return jax.tree.map(choose, source.arrays, arrays)
