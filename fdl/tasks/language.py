"""Language modelling: the next token of a text."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdl import losses, metrics, rng
from fdl.arguments import Count, NotNegative, Share, checked
from fdl.data import Splits
from fdl.data.splits import Rows, parts, prepared_row, row_of, size_of
from fdl.data.verified import outside, verified
from fdl.experiment import Experiment, Learner
from fdl.tasks import gradient
from fdl.tasks.columns import WEIGHT, class_weights, row_weights
from fdl.tasks.gradient import gradient_learner
from fdl.tasks.inputs import in_memory, output_shapes
from fdl.tasks.predictions import applied, one_of_classes
from fdl.tasks.training import BatchTraining, experiment_over, task

Number = float | jax.Array
"""A hyper-parameter: a Python number, or a traced scalar."""
_LOOKED_AT = 256  # rows


@task
def language_modelling(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    label_smoothing: Share[Number] = 0.0,
    class_weight: Sequence[NotNegative[Number]] | jax.Array | None = None,
    balance: NotNegative[Number] = 0.01,
    accumulate: Count = 1,
    **training: Unpack[BatchTraining],
) -> Experiment:
    """Learning what comes next at every place of a text; see `language_learner`.

    Args:
      model: a Flax module, `model(x, train=...)`: tokens `[B, T]` to logits `[B, T, V]`, in which no
        place sees later ones.
      splits: `"x"` and `"y"`, integers `[N, T]` from 0 to V - 1, and, where not all places count,
        `"mask"`, `[N, T]`, 0 for those that do not; their y is a token all the same. Where texts count
        unequally, `"sample_weight"` float `[N]`, by which all means are weighted.
      optimizer: any Optax transformation.
      label_smoothing: see `fdl.losses.cross_entropy`.
      class_weight: see `language_learner`.
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
      >>> model = models.gpt2(vocabulary=50, length=6, width=8, layers=1, heads=2)
      >>> experiment = tasks.language_modelling(model, splits, optax.adamw(1e-3), steps=100)
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/accuracy', 'test/bits', 'test/loss']
    """
    splits, _ = check_texts(model, splits, ("x", "y"))
    learner = language_learner(
        model,
        optimizer,
        label_smoothing=label_smoothing,
        class_weight=class_weight,
        balance=balance,
        accumulate=accumulate,
    )
    if _goes_on(splits):
        predict = _of_text(model)
        learner = learner._replace(predict=lambda state, batch: predict(gradient.variables(state), batch))
    return experiment_over(
        learner,
        splits,
        accumulate=accumulate,
        **training,
        columns=("x", "y", "mask", WEIGHT),
    )


@checked
def language_learner(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    label_smoothing: Share[Number] = 0.0,
    class_weight: Sequence[NotNegative[Number]] | jax.Array | None = None,
    balance: NotNegative[Number] = 0.01,
    accumulate: Count = 1,
) -> Learner:
    """The learner of `language_modelling`, for any source of its rows.

    What is minimised is the mean cross-entropy, with smoothed labels, of the batch's places that
    count, plus `balance` times the losses that the model leaves in the collection `"losses"`
    (`fdl.models.Experts`). The metrics leave these and class weights out: `loss` is in nats a token (its
    exponential is the perplexity), `bits` the same in bits a token (a character, where tokens are
    characters), and `accuracy` the share of tokens that were thought likeliest. A split's are exact
    means over all places that count.

    Args:
      model: as for `language_modelling`.
      optimizer: any Optax transformation.
      label_smoothing: see `fdl.losses.cross_entropy`.
      class_weight: what a place counts in what is minimised by the token that comes next, `[V]`, at least 0:
        the weighted mean of PyTorch's `CrossEntropyLoss(weight)`. None: all alike.
      balance: factor of the model's own losses, each of a micro-batch by itself.
      accumulate: micro-batches in which a batch is passed, see `fdl.tasks.accumulation.passed`.

    Raises:
      ValueError: a `class_weight` of another length than the model's V, or with negative entries.
    """
    weigh = None
    if class_weight is not None:
        weigh = class_weights(class_weight, output_shapes(model, jnp.zeros((1, 1), jnp.int32)).shape[-1])

    def init(key: jax.Array) -> Any:
        # Parameters do not depend on the text's length, so one token makes them at the least cost.
        variables = dict(model.init(key, jnp.zeros((1, 1), jnp.int32), train=False))
        variables.pop("losses", None)
        return variables

    def objective(variables: Any, batch: Any, key: jax.Array) -> tuple[metrics.Mean, Any]:
        collections = [name for name in variables if name != "params"]
        rngs = {"dropout": rng.stream(key, "dropout")}
        logits, state = model.apply(
            variables, batch["x"], train=True, rngs=rngs, mutable=[*collections, "losses"]
        )
        state = dict(state)
        own = sum((jnp.sum(leaf) for leaf in jax.tree.leaves(state.pop("losses", ()))), jnp.zeros(()))
        counts = _counts(batch)
        values = losses.cross_entropy(logits, batch["y"], label_smoothing=label_smoothing)
        weighed = counts if weigh is None else counts * weigh(batch["y"].ravel()).reshape(counts.shape)
        mean = metrics.mean(values, weighed)
        means = {name: metrics.mean(rows, counts) for name, rows in _measures(logits, batch["y"]).items()}
        return mean._replace(total=mean.total + balance * own * mean.weight), (means, state)

    def evaluate(variables: Any, batch: Any, key: jax.Array) -> dict[str, metrics.Mean]:
        logits, _ = model.apply(variables, batch["x"], train=False, mutable=[])
        counts = _counts(batch)
        return {name: metrics.mean(rows, counts) for name, rows in _measures(logits, batch["y"]).items()}

    predict = applied(model, one_of_classes)
    return gradient_learner(init, objective, evaluate, optimizer, accumulate=accumulate, predict=predict)


def _of_text(model: nn.Module) -> gradient.Predict:
    """`one_of_classes` at each place, and how likely the text itself is: `log_probability` `[B]`, of all its
    tokens but the first, in nats, and their `perplexity`."""

    def predict(variables: Any, batch: Any) -> Mapping[str, jax.Array]:
        x = batch["x"]
        logits: Any = model.apply(variables, x, train=False, mutable=[])[0]
        total = -jnp.sum(losses.cross_entropy(logits[:, :-1], x[:, 1:]), axis=1)
        own = {"log_probability": total, "perplexity": jnp.exp(-total / (x.shape[1] - 1))}
        return {**one_of_classes(logits), **own}

    return predict


def _goes_on(splits: Splits) -> bool:
    """Whether y is x one place on, as the first rows of train say: then a text's own tokens are targets."""
    train = splits.train
    count = min(size_of(train), _LOOKED_AT)
    rows = train.take(np.arange(count)) if isinstance(train, Rows) else train
    x, y = (np.asarray(rows[name][:count]) for name in ("x", "y"))
    return splits.prepare is None and x.shape[1] > 1 and bool((x[:, 1:] == y[:, :-1]).all())


def _measures(logits: jax.Array, labels: jax.Array) -> Mapping[str, jax.Array]:
    """Metrics by name, each `[B, T]`."""
    loss = losses.cross_entropy(logits, labels)
    return {"loss": loss, "bits": loss / jnp.log(2.0), "accuracy": metrics.accuracy(logits, labels)}


def _counts(batch: Mapping[str, jax.Array]) -> jax.Array:
    """How much each place counts, float32 `[B, T]`: its mask times the weight of its row."""
    counts = batch["mask"].astype(jnp.float32) if "mask" in batch else jnp.ones(batch["y"].shape)
    weight = row_weights(batch)
    return counts if weight is None else counts * weight[:, None]


def check_texts(model: nn.Module, splits: Splits, columns: tuple[str, ...]) -> tuple[Splits, int]:
    """The data set, whose tokens are the model's (see `verified`), and how many tokens V that has.

    Raises:
      ValueError: logits that are not `[N, T, V]`, columns of other than texts `[N, T]` of V tokens, or a
        mask by which nothing counts.
    """
    row = prepared_row(splits)["x"]
    shape = output_shapes(model, jnp.zeros(row.shape, row.dtype)).shape
    if shape[:-1] != row.shape:
        raise ValueError(
            f"the model's outputs for a text {list(row.shape)} have shape {list(shape)}; "
            f"expected {[*row.shape, 'V']}, logits of a token at every place"
        )
    for name, part in parts(splits).items():
        rows, memory = row_of(part), in_memory(part)
        for column in columns:
            _check_form(f"{name} {column}", rows[column], row.shape[1:])
        if "y" in columns and "mask" in rows and rows["mask"].shape != row.shape[1:]:
            found = ["N", *rows["mask"].shape]
            raise ValueError(f"{name} mask has shape {found}; expected {['N', *row.shape[1:]]}, as x")
        if "y" in columns and "mask" in memory and not np.any(memory["mask"]):
            raise ValueError(f"{name} mask is 0 everywhere; expected at least one place that counts")
    why, fix = f"as the model has {shape[-1]}", "change its vocabulary or the tokens"
    for column in columns:
        fault = outside(column, 0, shape[-1] - 1, what=f"tokens of {column}", why=why, fix=fix)
        splits = verified(splits, (column,), fault)
    if "y" in columns:
        fault = outside("mask", 0, np.inf, what="mask weights", why="0 where nothing counts", fix="clean it")
        splits = verified(splits, ("mask",), fault)
    return splits, shape[-1]


def _check_form(what: str, row: Any, shape: tuple[int, ...]) -> None:
    if not np.issubdtype(row.dtype, np.integer) or row.shape != shape:
        raise ValueError(
            f"{what} is {row.dtype} {['N', *row.shape]}; expected integer tokens {['N', *shape]}"
        )
