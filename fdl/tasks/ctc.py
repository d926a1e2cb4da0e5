"""Connectionist temporal classification: labels of a sequence, without saying when each one is."""

import functools
import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Unpack

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import ArrayLike

from fdl import metrics, rng
from fdl.arguments import Count, checked
from fdl.data import Augmentation, Splits
from fdl.data.splits import parts, prepared_row, row_of
from fdl.data.verified import verified
from fdl.experiment import Experiment, Learner
from fdl.losses import is_class
from fdl.tasks.columns import WEIGHT, row_weights
from fdl.tasks.edit_distance import edit_distance, error_rate
from fdl.tasks.gradient import gradient_learner
from fdl.tasks.inputs import in_memory, output_shapes
from fdl.tasks.training import Training, experiment_over, task

BLANK = 0
"""The label that says nothing, and the padding of label sequences."""


@task
def ctc(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    batch_size: Count = 32,
    stride: Count = 1,
    augment: Augmentation | None = None,
    accumulate: Count = 1,
    **training: Unpack[Training],
) -> Experiment:
    """Learning to transcribe, by the probability of all alignments of the labels with the frames.

    What is minimised is the mean of `ctc_loss` over a batch's rows. Metrics: `loss`, that mean, nats a
    row; in evaluations, of what `best_path` decodes, `error_rate`, edits for each true label (with words
    for labels, the word error rate), and `exact_match`, the share of rows without an edit.

    Args:
      model: a Flax module, `model(x, train=..., mask=...)`: features `[B, T, M]` and which frames are
        real, bool `[B, T]`, to logits `[B, ceil(T / stride), C]`.
      splits: `"x"` floats `[N, T, M]`; `"length"`, how many of a row's T frames are real; and `"y"`
        integers `[N, L]` from 1 to C - 1, then zeros; and, where rows count unequally, `"sample_weight"`
        float `[N]`, by which all means are weighted. There are no class weights: a row's loss is of its
        whole sequence, over all alignments, and no sum over labels. Weigh rows by their labels instead.
      optimizer: any Optax transformation.
      batch_size: rows in a training batch.
      stride: frames for each frame of logits.
      augment: what is done to every training batch, or None.
      accumulate: micro-batches in which a batch is passed, see `fdl.tasks.accumulation.passed`.
      **training: `steps` and others, see `fdl.tasks.training.Training`.

    Raises:
      ValueError: a count below 1, or data that does not fit together or to the model.

    Example:
      >>> import numpy as np, optax
      >>> import fdl
      >>> from fdl import data, models, tasks
      >>> sound = {"x": np.zeros((8, 20, 3), np.float32), "length": np.full(8, 20)}
      >>> labels = {"y": np.tile([1, 2, 0], (8, 1))}
      >>> rows = sound | labels
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> model = models.AcousticModel(outputs=5, channels=4, widths=(8,))
      >>> experiment = tasks.ctc(model, splits, optax.adam(1e-3), stride=2, steps=100)
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/error_rate', 'test/exact_match', 'test/loss']
    """
    splits = _checked(model, splits, stride)
    learner = ctc_learner(model, splits, optimizer, stride=stride, accumulate=accumulate)
    return experiment_over(
        learner,
        splits,
        batch_size=batch_size,
        augment=augment,
        accumulate=accumulate,
        **training,
        columns=("x", "y", "length", WEIGHT),
    )


@checked
def ctc_learner(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    stride: Count = 1,
    accumulate: Count = 1,
) -> Learner:
    """The learner of `ctc`; of `splits` only checks and a row's shape are made.

    Raises:
      ValueError: data that does not fit together or to the model.
    """
    row = prepared_row(splits)["x"]
    x = jnp.zeros(row.shape, row.dtype)
    _checked(model, splits, stride)

    def init(key: jax.Array) -> Any:
        return model.init(key, x, train=False)

    def apply(variables: Any, batch: Any, train: bool, **options: Any) -> tuple[jax.Array, jax.Array, Any]:
        mask = jnp.arange(x.shape[1]) < batch["length"][:, None]
        logits, state = model.apply(variables, batch["x"], train=train, mask=mask, **options)
        return logits, -(-batch["length"] // stride), state

    def objective(variables: Any, batch: Any, key: jax.Array) -> tuple[metrics.Mean, Any]:
        mutable = [name for name in variables if name != "params"]
        rngs = {"dropout": rng.stream(key, "dropout")}
        logits, lengths, state = apply(variables, batch, True, rngs=rngs, mutable=mutable)
        loss = metrics.mean(ctc_loss(logits, lengths, batch["y"]), row_weights(batch))
        return loss, ({"loss": loss}, state)

    def evaluate(variables: Any, batch: Any, key: jax.Array) -> dict[str, metrics.Mean]:
        y, weight = batch["y"], jnp.asarray(row_weights(batch))
        logits, lengths, _ = apply(variables, batch, False, mutable=[])
        labels = best_path(logits, lengths)
        edits = edit_distance(labels, y)
        return {
            "loss": metrics.mean(ctc_loss(logits, lengths, y), weight),
            "error_rate": error_rate(edits, y, weight),
            "exact_match": metrics.mean((edits == 0).astype(logits.dtype), weight),
        }

    def predict(variables: Any, batch: Any) -> dict[str, jax.Array]:
        logits, lengths, _ = apply(variables, batch, False, mutable=[])
        tokens = best_path(logits, lengths)
        return {"tokens": tokens, "log_probability": -ctc_loss(logits, lengths, tokens)}

    return gradient_learner(init, objective, evaluate, optimizer, accumulate=accumulate, predict=predict)


def ctc_loss(logits: jax.Array, lengths: jax.Array, labels: jax.Array) -> jax.Array:
    """Minus the log-probability of the labels, summed over all alignments, in nats.

    Graves et al. 2006, Connectionist Temporal Classification, sec. 4.1: an alignment names a label or
    the blank, 0, for each frame; it stands for the labels that are left when first repeats and then
    blanks are taken out.

    Args:
      logits: `[B, T, C]`.
      lengths: how many frames of each row are real, `[B]`.
      labels: integers `[B, L]` from 1 to C - 1, then zeros.

    Returns:
      `[B]`; about 1e5 where there are more labels (and blanks between equal ones) than frames; NaN where a
      label is not of the C, or the length not 0 to T.
    """
    after_end = jnp.arange(logits.shape[1]) >= lengths[:, None]
    padding = (labels == BLANK).astype(logits.dtype)
    labels = labels.astype(jnp.int32)
    values = optax.ctc_loss(logits, after_end.astype(logits.dtype), labels, padding, blank_id=BLANK)
    good = jnp.all(is_class(labels, logits.shape[2]), axis=1) & is_class(lengths, logits.shape[1] + 1)
    return jnp.where(good, values, jnp.nan)


def best_path(logits: jax.Array, lengths: jax.Array) -> jax.Array:
    """The labels that the likeliest alignment stands for (Graves et al. 2006, sec. 3.2).

    Args:
      logits: `[B, T, C]`.
      lengths: how many frames of each row are real, `[B]`.

    Returns:
      int32 `[B, T]`, labels, then zeros.
    """
    frames = jnp.arange(logits.shape[1])
    path = jnp.where(frames < lengths[:, None], jnp.argmax(logits, axis=-1), BLANK).astype(jnp.int32)
    before = jnp.pad(path[:, :-1], ((0, 0), (1, 0)))  # the blank before the first frame
    kept = (path != BLANK) & (path != before)
    places = jnp.where(kept, jnp.cumsum(kept, axis=1) - 1, len(frames))  # past the end: dropped
    put = lambda places, path: jnp.zeros_like(path).at[places].set(path, mode="drop")  # noqa: E731
    return jax.vmap(put)(places, path)


@checked
def prefix_beam(logits: ArrayLike, *, beams: Count = 16) -> list[tuple[tuple[int, ...], float]]:
    """The likeliest label sequences of one row, each over all of its alignments, on the host.

    Prefix search as of Graves et al. 2006, sec. 3.2, with the K likeliest prefixes kept at each frame
    (Hannun et al. 2014, First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional
    Recurrent DNNs, algorithm 1, without a language model). With K large enough it is exact.

    Args:
      logits: `[T, C]`, the row's real frames only.
      beams: K.

    Returns:
      At most K pairs of labels and their log-probability, the likeliest first.

    Raises:
      ValueError: fewer than one beam.
    """
    logits = np.asarray(logits, np.float64)
    frames = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    # Of each prefix: the log-probability of its alignments that end in a blank, and of the others.
    kept = {(): (0.0, -math.inf)}
    for frame in frames:
        new: defaultdict[tuple[int, ...], list[float]] = defaultdict(lambda: [-math.inf, -math.inf])
        for prefix, (blank, label) in kept.items():
            both = np.logaddexp(blank, label)
            new[prefix][0] = np.logaddexp(new[prefix][0], both + frame[BLANK])
            if prefix:
                new[prefix][1] = np.logaddexp(new[prefix][1], label + frame[prefix[-1]])
            for c in range(1, len(frame)):
                source = blank if prefix and prefix[-1] == c else both
                if source > -math.inf:
                    longer = new[(*prefix, c)]
                    longer[1] = np.logaddexp(longer[1], source + frame[c])
        best = sorted(new.items(), key=lambda item: -np.logaddexp(item[1][0], item[1][1]))[:beams]
        kept = {prefix: (blank, label) for prefix, (blank, label) in best}
    return [(prefix, float(np.logaddexp(blank, label))) for prefix, (blank, label) in kept.items()]


def _checked(model: nn.Module, splits: Splits, stride: int) -> Splits:
    """The data set, every row of which has frames enough for its labels, and those are the model's.

    Raises:
      ValueError: data that does not fit together or to the model; see also `verified`.
    """
    one = prepared_row(splits)["x"]
    x = jnp.zeros(one.shape, one.dtype)
    shape = list(output_shapes(model, x).shape)
    frames = -(-x.shape[1] // stride)
    if len(shape) != 3 or shape[1] != frames:
        raise ValueError(
            f"the model's outputs for one row have shape {shape}; expected [1, {frames}, C], "
            f"as x has {x.shape[1]} frames and stride is {stride}"
        )
    for name, part in parts(splits).items():
        arrays = in_memory(part)
        if row_of(part) != row_of(splits.train):
            raise ValueError(f"{name} has rows of another shape or type than train; expected the same")
        if "y" in arrays and "length" in arrays:
            _check_counts(name, arrays["y"], arrays["length"])
    fault = functools.partial(_wrong_row, frames=x.shape[1], classes=shape[2], stride=stride)
    return verified(splits, ("y", "length"), fault)


def _check_counts(name: str, y: np.ndarray, length: np.ndarray) -> None:
    if len(y) != len(length) or not len(y):
        raise ValueError(f"{name} has {len(y)} rows of y and {len(length)} lengths; expected as many, over 0")
    if y.ndim != 2:
        raise ValueError(f"{name} labels have shape {list(y.shape)}; expected [N, L]")


def _wrong_row(
    rows: Mapping[str, np.ndarray], *, frames: int, classes: int, stride: int
) -> tuple[int, str] | None:
    """The `Fault` of labels that are not the model's, have gaps, or do not fit into their frames."""
    y, length = np.asarray(rows["y"]), np.asarray(rows["length"])
    strange = ((y < 0) | (y >= classes)).any(axis=1)
    if strange.any():
        return int(np.argmax(strange)), (
            f"labels have shape {list(y.shape)} and go from {y.min()} to {y.max()}; expected [N, L] and 0 to "
            f"{classes - 1}, as the model has {classes} outputs, of which 0 is the blank ({{row}} has others)"
        )
    gaps = ((y[:, :-1] == BLANK) & (y[:, 1:] != BLANK)).any(axis=1)
    if gaps.any():
        return int(np.argmax(gaps)), "{row} has a label after a 0; expected zeros at the end only"
    repeats = ((y[:, 1:] == y[:, :-1]) & (y[:, 1:] != BLANK)).sum(axis=1)
    least = (y != BLANK).sum(axis=1) + repeats
    wrong = (length < 1) | (length > frames) | (-(-length // stride) < least)
    if wrong.any():
        place = int(np.argmax(wrong))
        return place, (
            f"{{row}} has length {length[place]} and needs {least[place]} frames of logits; expected a "
            f"length of at most {frames} with one for every {stride} frames"
        )
    return None
