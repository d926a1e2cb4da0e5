"""Sequence to sequence: a model learns to give each source its target, token by token."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdl import losses, metrics, rng
from fdl.arguments import Count, NotNegative, Share, checked
from fdl.data import Splits
from fdl.data.splits import parts, prepared_row, row_of, size_of
from fdl.data.tokens.sentences import END, PAD
from fdl.data.verified import verified
from fdl.experiment import Experiment, Learner
from fdl.tasks.columns import WEIGHT, class_weights, row_weights
from fdl.tasks.generation import Reader, generate, greedy, uncached
from fdl.tasks.gradient import gradient_learner
from fdl.tasks.inputs import in_memory, output_shapes
from fdl.tasks.training import BatchTraining, experiment_over, task

Readers = Callable[[nn.Module, Any, jax.Array], Reader]
"""`readers(model, variables, x) -> reader` of sources x, as `generation.cached` and `uncached`."""


@task
def sequence_to_sequence(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    label_smoothing: Share[float | jax.Array] = 0.0,
    class_weight: Sequence[NotNegative[float | jax.Array]] | jax.Array | None = None,
    readers: Readers = uncached,
    accumulate: Count = 1,
    **training: Unpack[BatchTraining],
) -> Experiment:
    """Learning to translate, by the cross-entropy of each token given the true ones before it.

    Targets end with `fdl.data.tokens.sentences.END` and are padded with `PAD`, which also stands for what is
    before the first token. What is minimised is the mean over a batch's real tokens (teacher forcing,
    Williams & Zipser 1989). Metrics: `loss`, nats a token without smoothing; `accuracy`, the share of
    tokens that are the likeliest given the true ones before; in evaluations `exact_match`, the share of
    rows that greedy decoding gives in full.

    Args:
      model: a Flax module, `model(x, y, train=...)`: sources `[B, S]` and the tokens before each target
        `[B, T]` to logits `[B, T, V]`; for decoding, with the methods `encode(x)`, which gives a tuple, and
        `decode(y, *encoded)`, as `fdl.models.Seq2Seq` and `EncoderDecoder`.
      splits: `"x"` integers `[N, S]` (or any other source) and `"y"` integers `[N, T]` below V; and, where
        rows count unequally, `"sample_weight"` float `[N]`, by which all means are weighted.
      optimizer: any Optax transformation.
      label_smoothing: see `fdl.losses.cross_entropy`.
      class_weight: what each token of the targets counts in what is minimised, `[V]`, at least 0: the
        weighted mean of PyTorch's `CrossEntropyLoss(weight)`; metrics leave it out. None: all alike.
      readers: how the model reads in greedy decoding: `generation.cached`, or anew for each token.
      accumulate: micro-batches in which a batch is passed, see `fdl.tasks.accumulation.passed`.
      **training: `steps`, `batch_size` and others, see `fdl.tasks.training.BatchTraining`.

    Raises:
      ValueError: a count below 1, or data that does not fit together or to the model.

    Example:
      >>> import numpy as np, optax
      >>> import fdl
      >>> from fdl import data, models, tasks
      >>> rows = {"x": np.ones((8, 6), np.int32), "y": np.ones((8, 6), np.int32)}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> model = models.Seq2Seq(sources=50, targets=50, units=8)
      >>> experiment = tasks.sequence_to_sequence(model, splits, optax.adam(1e-3), steps=100)
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/accuracy', 'test/exact_match', 'test/loss']
    """
    splits = _checked(model, splits)
    learner = sequence_learner(
        model,
        splits,
        optimizer,
        label_smoothing=label_smoothing,
        class_weight=class_weight,
        readers=readers,
        accumulate=accumulate,
    )
    return experiment_over(
        learner,
        splits,
        accumulate=accumulate,
        **training,
        columns=("x", "y", WEIGHT),
    )


@checked
def sequence_learner(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    label_smoothing: Share[float | jax.Array] = 0.0,
    class_weight: Sequence[NotNegative[float | jax.Array]] | jax.Array | None = None,
    readers: Readers = uncached,
    accumulate: Count = 1,
) -> Learner:
    """The learner of `sequence_to_sequence`; of `splits` only checks and a row's shape are made.

    Raises:
      ValueError: data that does not fit together or to the model.
    """
    row = prepared_row(splits)
    x, y = (jnp.zeros(row[name].shape, row[name].dtype) for name in ("x", "y"))
    _checked(model, splits)
    length = y.shape[1]
    weigh = None
    if class_weight is not None:
        weigh = class_weights(class_weight, output_shapes(model, x, y).shape[-1])

    def init(key: jax.Array) -> Any:
        return model.init(key, x, y, train=False)

    def objective(variables: Any, batch: Any, key: jax.Array) -> tuple[metrics.Mean, Any]:
        mutable = [name for name in variables if name != "params"]
        rngs = {"dropout": rng.stream(key, "dropout")}
        before = shifted_right(batch["y"])
        logits, state = model.apply(variables, batch["x"], before, train=True, rngs=rngs, mutable=mutable)
        weight = row_weights(batch)
        ones = jnp.ones(len(batch["y"])) if weight is None else weight
        smooth = losses.cross_entropy(_rows(logits), batch["y"].ravel(), label_smoothing=label_smoothing)
        real = _real(batch["y"], ones)
        loss = metrics.mean(smooth, real if weigh is None else real * weigh(batch["y"].ravel()))
        return loss, (_token_means(logits, batch["y"], ones), state)

    def evaluate(variables: Any, batch: Any, key: jax.Array) -> dict[str, metrics.Mean]:
        y, weight = batch["y"], jnp.asarray(row_weights(batch))
        logits = jnp.asarray(model.apply(variables, batch["x"], shifted_right(y), train=False))
        match = metrics.mean(matches(variables, batch["x"], y).astype(logits.dtype), weight)
        return {**_token_means(logits, y, weight), "exact_match": match}

    def matches(variables: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        """Which rows greedy decoding gives in full: bool `[B]`."""
        return jnp.all((decoded(variables, x) == y) | (y == PAD), axis=1)

    def decoded(variables: Any, x: jax.Array) -> jax.Array:
        """The likeliest token at each place, after those before it, `[B, T]`; after an `END` more of them."""
        reader, prompt = readers(model, variables, x), jnp.full((len(x), 1), PAD, y.dtype)
        return generate(reader, prompt, jax.random.key(0), length=length, choose=greedy, end=END)[:, 1:]

    def predict(variables: Any, batch: Any) -> dict[str, jax.Array]:
        found = decoded(variables, batch["x"])
        ends = found == END
        real = jnp.cumsum(ends, axis=1) - ends == 0  # up to the first end, with it
        tokens = jnp.where(real, found, PAD)
        logits = jnp.asarray(model.apply(variables, batch["x"], shifted_right(tokens), train=False))
        each = losses.cross_entropy(_rows(logits), tokens.ravel()).reshape(tokens.shape)
        return {"tokens": tokens, "log_probability": -jnp.sum(each * real, axis=1)}

    return gradient_learner(init, objective, evaluate, optimizer, accumulate=accumulate, predict=predict)


def shifted_right(y: jax.Array) -> jax.Array:
    """What is before each of the tokens `[B, T]`: `PAD`, then all but the last."""
    return jnp.concatenate([jnp.full_like(y[:, :1], PAD), y[:, :-1]], axis=1)


def _token_means(logits: jax.Array, y: jax.Array, weight: jax.Array) -> dict[str, metrics.Mean]:
    """Means over real tokens, each with its row's weight."""
    flat, labels, real = _rows(logits), y.ravel(), _real(y, weight)
    return {
        "loss": metrics.mean(losses.cross_entropy(flat, labels), real),
        "accuracy": metrics.mean(metrics.accuracy(flat, labels), real),
    }


def _rows(logits: jax.Array) -> jax.Array:
    return logits.reshape(-1, logits.shape[-1])


def _real(y: jax.Array, weight: jax.Array) -> jax.Array:
    """The weight of each token, 0 for padding: `[B T]`."""
    return ((y != PAD) * weight[:, None]).ravel()


def _checked(model: nn.Module, splits: Splits) -> Splits:
    """The data set, every target of which has tokens of the model's vocabulary, and at least one.

    Raises:
      ValueError: data that does not fit together or to the model; see also `verified`.
    """
    one = prepared_row(splits)
    x, y = (jnp.zeros(one[name].shape, one[name].dtype) for name in ("x", "y"))
    expected = row_of(splits.train)
    for name, part in parts(splits).items():
        row = row_of(part)
        if row != expected or row["y"].ndim != 1 or not np.issubdtype(row["y"].dtype, np.integer):
            got = {key: f"{value.dtype}{list(value.shape)}" for key, value in row.items()}
            raise ValueError(f"{name} has rows {got}; expected those of train, with integers y [T]")
        arrays = in_memory(part)
        if not size_of(part) or len({len(array) for array in arrays.values()}) > 1:
            sizes = {key: len(array) for key, array in arrays.items()}
            raise ValueError(f"{name} has {sizes} rows; expected as many of each, at least one")
    shape = list(output_shapes(model, x, y).shape)
    if len(shape) != 3 or shape[:2] != list(y.shape):
        raise ValueError(f"the model's outputs for one row have shape {shape}; expected {[*y.shape, 'V']}")
    return verified(splits, ("y",), functools.partial(_wrong_target, vocabulary=shape[2]))


def _wrong_target(rows: Mapping[str, np.ndarray], *, vocabulary: int) -> tuple[int, str] | None:
    """The `Fault` of targets with other tokens, or none."""
    y = np.asarray(rows["y"])
    strange = ((y < 0) | (y >= vocabulary)).any(axis=1)
    if strange.any():
        return int(np.argmax(strange)), (
            f"targets have tokens from {y.min()} to {y.max()}; expected 0 to {vocabulary - 1}, as the "
            f"model has {vocabulary} outputs ({{row}} has others): change the outputs or the targets"
        )
    empty = (y == PAD).all(axis=1)
    if empty.any():
        return int(np.argmax(empty)), f"target of {{row}} is all padding ({PAD}); expected at least one token"
    return None
