"""Masked language modelling: the tokens that were hidden from a text."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdl import rng, shards
from fdl.arguments import Count, NotNegative, Share, checked
from fdl.data import Splits
from fdl.data.splits import parts
from fdl.experiment import Experiment, Learner
from fdl.tasks.columns import WEIGHT
from fdl.tasks.inputs import in_memory
from fdl.tasks.language import check_texts, language_learner
from fdl.tasks.training import BatchTraining, experiment_over, task

Number = float | jax.Array
"""A hyper-parameter: a Python number, or a traced scalar."""


@task
def masked_language_modelling(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    mask_token: NotNegative[int],
    vocabulary: Count,
    special: tuple[NotNegative[int], ...] = (),
    rate: Share[Number] = 0.15,
    label_smoothing: Share[Number] = 0.0,
    class_weight: Sequence[NotNegative[Number]] | jax.Array | None = None,
    balance: NotNegative[Number] = 0.01,
    accumulate: Count = 1,
    **training: Unpack[BatchTraining],
) -> Experiment:
    """Learning which tokens were hidden from a text; see `hide` and `masked_language_learner`.

    Args:
      model: a Flax module, `model(x, train=...)`: tokens `[B, T]` to logits `[B, T, V]`.
      splits: `"x"`, integers `[N, T]` from 0 to V - 1, and, where texts count unequally, `"sample_weight"`
        float `[N]`, by which all means are weighted.
      optimizer: any Optax transformation.
      mask_token: see `hide`.
      vocabulary: see `hide`.
      special: see `hide`.
      rate: see `hide`.
      label_smoothing: see `fdl.losses.cross_entropy`.
      class_weight: what each hidden token counts in what is minimised, see `language_learner`.
      balance: factor of the losses that the model leaves in the collection `"losses"`.
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
      >>> encoder = models.bert(vocabulary=50, length=6, width=8, layers=1, heads=2)
      >>> model = models.MaskedLanguageModel(encoder)
      >>> experiment = tasks.masked_language_modelling(
      ...     model, splits, optax.adamw(1e-3), mask_token=49, vocabulary=49, steps=100
      ... )
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/accuracy', 'test/bits', 'test/loss']
    """
    splits, outputs = check_texts(model, splits, ("x",))
    if not (0 <= mask_token < outputs and 1 <= vocabulary <= outputs):
        raise ValueError(
            f"mask_token is {mask_token} and vocabulary {vocabulary}; "
            f"expected tokens of the model, which has {outputs}"
        )
    if isinstance(rate, int | float) and not 0 < rate <= 1:
        raise ValueError(f"rate is {rate}; expected above 0, up to 1: the share of tokens that are hidden")
    for name, part in parts(splits).items():
        x = in_memory(part).get("x")
        if x is not None and np.isin(x, special).all():
            raise ValueError(f"{name} x has only special tokens {special}; expected some that can be hidden")
    learner = masked_language_learner(
        model,
        optimizer,
        mask_token=mask_token,
        vocabulary=vocabulary,
        special=special,
        rate=rate,
        label_smoothing=label_smoothing,
        class_weight=class_weight,
        balance=balance,
        accumulate=accumulate,
    )
    return experiment_over(
        learner,
        splits,
        accumulate=accumulate,
        **training,
        columns=("x", WEIGHT),
    )


@checked
def masked_language_learner(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    mask_token: NotNegative[int],
    vocabulary: Count,
    special: tuple[NotNegative[int], ...] = (),
    rate: Share[Number] = 0.15,
    label_smoothing: Share[Number] = 0.0,
    class_weight: Sequence[NotNegative[Number]] | jax.Array | None = None,
    balance: NotNegative[Number] = 0.01,
    accumulate: Count = 1,
) -> Learner:
    """The learner of `masked_language_modelling`, for any source of its rows.

    Each training step hides other tokens; an evaluation hides those that a row's own tokens say, so
    that it is the same at every evaluation, in any batch. Metrics are those of `language_learner`,
    over the hidden tokens alone.

    Args:
      model: as for `masked_language_modelling`.
      optimizer: any Optax transformation.
      mask_token: see `hide`.
      vocabulary: see `hide`.
      special: see `hide`.
      rate: see `hide`.
      label_smoothing: see `fdl.losses.cross_entropy`.
      class_weight: what each hidden token counts in what is minimised, see `language_learner`.
      balance: factor of the model's own losses, each of a micro-batch by itself.
      accumulate: micro-batches in which a batch is passed, see `fdl.tasks.accumulation.passed`.

    Raises:
      ValueError: as of `language_learner`.
    """
    plain = language_learner(
        model,
        optimizer,
        label_smoothing=label_smoothing,
        class_weight=class_weight,
        balance=balance,
        accumulate=accumulate,
    )
    options = {"mask_token": mask_token, "vocabulary": vocabulary, "special": special, "rate": rate}

    def step(state: Any, batch: Any, key: jax.Array) -> tuple[Any, Mapping[str, Any]]:
        hidden = hide(shards.gathered(batch["x"]), rng.stream(key, "hide"), **options)
        return plain.step(state, {**shards.own_rows(hidden), **_weights(batch)}, key)

    def evaluate(state: Any, batch: Any, key: jax.Array) -> Mapping[str, Any]:
        keys = jax.vmap(lambda row: jax.random.fold_in(jax.random.key(0), _digest(row)))(batch["x"])
        hidden = jax.vmap(lambda row, key: hide(row, key, **options))(batch["x"], keys)
        return plain.evaluate(state, {**hidden, **_weights(batch)}, key)

    return plain._replace(step=step, evaluate=evaluate)


def _weights(batch: Any) -> dict[str, jax.Array]:
    return {name: batch[name] for name in ("weight", WEIGHT) if name in batch}


def hide(
    tokens: jax.Array,
    key: jax.Array,
    *,
    mask_token: NotNegative[int],
    vocabulary: Count,
    special: tuple[NotNegative[int], ...] = (),
    rate: Share[Number] = 0.15,
) -> dict[str, jax.Array]:
    """Hides tokens of a text, each with a probability (Devlin et al. 2019, BERT, sec. 3.1 and A.1; their code
    hides that share of each text).

    Of those hidden, 80 % become the mask token, 10 % a random token, and 10 % stay as they are.

    Args:
      tokens: integers `[...]`.
      key: one typed PRNG key.
      mask_token: what stands for a hidden token.
      vocabulary: random tokens are uniform from 0 to this, less one.
      special: tokens that are never hidden, as padding and separators.
      rate: the probability that a token is hidden.

    Returns:
      `x`, the text with its tokens hidden, `y`, the tokens themselves, and `mask`, float32, 1 where one
      is hidden; all `[...]`.
    """
    hidden_key, way_key, random_key = jax.random.split(key, 3)
    hidden = jax.random.bernoulli(hidden_key, rate, tokens.shape)
    for token in special:
        hidden &= tokens != token
    way = jax.random.uniform(way_key, tokens.shape)
    other = jax.random.randint(random_key, tokens.shape, 0, vocabulary, tokens.dtype)
    seen = jnp.where(way < 0.8, jnp.asarray(mask_token, tokens.dtype), jnp.where(way < 0.9, other, tokens))
    return {"x": jnp.where(hidden, seen, tokens), "y": tokens, "mask": hidden.astype(jnp.float32)}


def _digest(row: jax.Array) -> jax.Array:
    """A number, uint32, of all tokens `[T]` and their places: its factors are powers of an odd number."""
    factors = jnp.cumprod(jnp.full(row.shape, 0x9E3779B1, jnp.uint32))
    return jnp.sum((row.astype(jnp.uint32) + 1) * factors, dtype=jnp.uint32)
