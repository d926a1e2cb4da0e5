"""From a data set to the sources of an experiment."""

from collections.abc import Callable
from typing import Any

import jax

from fdl import rng
from fdl.arguments import Count, checked
from fdl.data.batching import sequential, shuffled
from fdl.data.splits import Splits, size_of
from fdl.data.weighted import weighted
from fdl.experiment import Batch, Source

_EVALUATION_BATCH = 512  # rows: large enough for throughput, and no gradient is held

Augmentation = Callable[[Any, jax.Array], Any]
"""`augmentation(batch, key) -> batch`, pure and jittable."""


@checked
def sources(
    splits: Splits, *, batch_size: Count, augment: Augmentation | None = None
) -> tuple[Source, dict[str, Source]]:
    """The source to train on, and those to evaluate on by split name (`validation`, `test`).

    Args:
      splits: the data set; its `prepare` is applied to every batch.
      batch_size: rows in a training batch.
      augment: what is done to a training batch, before `prepare`: images are bytes still, and black is 0;
        its key is new at every step.

    Raises:
      ValueError: as for `shuffled`, `weighted` and `sequential`.

    Example:
      >>> splits = fdl.data.Splits(*[{"x": np.zeros((10, 2)), "y": np.arange(10)}] * 3)
      >>> train, evaluations = fdl.data.sources(splits, batch_size=4)
      >>> train.batches, list(evaluations)
      (3, ['validation', 'test'])
    """
    if splits.sampling is None:
        train = shuffled(splits.train, batch_size=batch_size)
    else:
        train = weighted(splits.train, splits.sampling, batch_size=batch_size)
    if augment is not None:
        train = _augmented(train, augment)
    evaluation = {
        name: _then(sequential(part, batch_size=min(size_of(part), _EVALUATION_BATCH)), splits.prepare)
        for name, part in (("validation", splits.validation), ("test", splits.test))
    }
    return _then(train, splits.prepare), evaluation


def _then(source: Source, prepare: Callable[[Batch], Batch] | None) -> Source:
    if prepare is None:
        return source
    return source._replace(batch=lambda arrays, step, key: prepare(source.batch(arrays, step, key)))


def _augmented(source: Source, augment: Augmentation) -> Source:
    def batch(arrays: Any, step: jax.Array, key: jax.Array) -> Batch:
        own = jax.random.fold_in(rng.stream(key, "augment"), step)
        return augment(source.batch(arrays, step, key), own)

    return source._replace(batch=batch)
