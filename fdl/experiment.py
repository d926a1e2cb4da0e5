"""The narrow waist: what every task builds, and all that loops, plans and sweeps know of it."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

State = Any
"""A pytree of arrays: everything that one step reads and writes (parameters, optimizer, ...)."""
Batch = Any
"""A pytree of arrays `[B, ...]`."""
Metrics = Mapping[str, Any]
"""Scalars by name from a step; `fdl.metrics.Mean` and others with a `value` by name from an evaluation."""


class Learner(NamedTuple):
    """A learning algorithm as pure functions.

    A run fails at the first step or evaluation in which a required metric is not finite. Any other that is
    not a number is a missing value, as before the end of a first episode.

    Attributes:
      init: `init(key) -> state`.
      step: `step(state, batch, key) -> (state, metrics)`, one update; metrics are scalars, each step as
        important as another, or a `fdl.metrics.Mean` each, which has its own weight.
      evaluate: `evaluate(state, batch, key) -> metrics`, each a `fdl.metrics.Mean` (a weighted total and its
        weight), so that their sum over batches is exact over a whole split, or another of `fdl.metrics`
        that has a `value`: sums, or the rows themselves (`fdl.metrics.all_rows`). The key is another for each
        batch of each split, and the same at every evaluation of a run: what differs between two of them is
        the state, not the draw.
      required: the metrics of steps and of evaluations that must be finite.
      predict: `predict(state, batch) -> {"label": [B], "probability": [B, C], ...}`, what the state says of
        rows whose targets are not known: the batch is one of `evaluate`'s without them. Each row's outputs
        depend on that row alone. `None`: the learner predicts nothing.
    """

    init: Callable[[jax.Array], State]
    step: Callable[[State, Batch, jax.Array], tuple[State, Metrics]]
    evaluate: Callable[[State, Batch, jax.Array], Metrics]
    required: tuple[str, ...] = ("loss",)
    predict: Callable[[State, Batch], Mapping[str, jax.Array]] | None = None


class Source(NamedTuple):
    """Data as a pure function of the step: the same step is the same batch on every topology.

    Attributes:
      arrays: pytree of NumPy arrays; it travels to the compiled program as an argument. Of a source with
        `fetch`, the shapes (`jax.ShapeDtypeStruct`) of what that returns.
      batch: `batch(arrays, step, key) -> batch`; `step` is an int32 scalar, the key names the order.
      batches: how many consecutive steps make one pass; an evaluation reads exactly these.
      fetch: where the data stays on the host, `fetch(step, words, rows) -> arrays` reads what `batch`
        gets at this step: `words` are the key's own (uint32, `jax.random.key_data`), `rows` the slice of
        the batch's rows that is asked for. It is called ahead of time, from several threads.
      identity: what tells the data behind `fetch` from other data, as `fdl.identity.files` of its files;
        `None` for what `fetch` closes over.
    """

    arrays: Any
    batch: Callable[[Any, jax.Array, jax.Array], Batch]
    batches: int
    fetch: Callable[[int, np.ndarray, slice], Any] | None = None
    identity: Any = None


class Inputs(NamedTuple):
    """What rows are before they become the batches that a learner gets: by which new rows are prepared as
    those of the training were.

    Attributes:
      row: shape and dtype of one row's arrays, by name.
      prepare: `prepare(batch) -> batch`, pure, or None; see `fdl.data.Splits`.
      classes: the names of the labels 0, 1, ...; `()` where they have none.
      read: `read(path) -> rows`, without targets, of a file or folder like the one that the data came from;
        None where the data did not come from such.
    """

    row: Mapping[str, Any]
    prepare: Callable[[Batch], Batch] | None = None
    classes: tuple[str, ...] = ()
    read: Callable[[Any], Any] | None = None


class Best(NamedTuple):
    """Which of a run's evaluated states is its result: the best by a metric, not the last.

    Attributes:
      metric: by split and name, as `"validation/loss"`.
      better: which way it is better.
    """

    metric: str
    better: Literal["higher", "lower"]


class Stopper(NamedTuple):
    """Early stopping as two pure functions.

    Attributes:
      init: `init() -> state`.
      update: `update(state, metrics) -> (state, stop)`, once an evaluation; `metrics` are scalars
        by split and name (`"validation/loss"`), `stop` is a bool scalar.
      best: which state is the run's result; the one at which it stops if None.
    """

    init: Callable[[], State]
    update: Callable[[State, Metrics], tuple[State, jax.Array]]
    best: Best | None = None


class Experiment(NamedTuple):
    """What a file's `experiment(config)` returns.

    Attributes:
      learner: the algorithm.
      train: the source that each step reads.
      evaluation: sources by split name (`"validation"`, `"test"`), each read whole.
      steps: updates in a run.
      evaluate_every: steps between evaluations; there is always one after the last step.
      stop: early stopping, or `None`.
      best: which state is a run's result; if None that of `stop`, or the last.
      log_every: the step metrics are also kept as means over every so many steps, beside the rows of the
        evaluations; None for these alone.
      inspect: `inspect(state, key) -> {"samples": fdl.inspection.Image(...), ...}`, what to look at, see
        `fdl.inspection`; pure. It is called after evaluations, for a few members of a population, always with
        the same key of a run, and changes nothing of it. `None`: nothing.
      inputs: what new rows are like, from which a trained run predicts. `None`: they are as `predict` of the
        learner gets them.
    """

    learner: Learner
    train: Source
    evaluation: Mapping[str, Source]
    steps: int
    evaluate_every: int
    stop: Stopper | None = None
    best: Best | None = None
    log_every: int | None = None
    inspect: Callable[[State, jax.Array], Mapping[str, Any]] | None = None
    inputs: Inputs | None = None
