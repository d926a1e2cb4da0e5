"""Learning by comparison without labels: two views of a row (SimCLR, VICReg), or pairs (CLIP)."""

from collections.abc import Callable, Mapping
from typing import Any, Unpack

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from fdl import rng, shards
from fdl.arguments import Count, checked
from fdl.data import Augmentation, Splits, sources
from fdl.data.augmentation.base import two_views
from fdl.data.splits import parts, prepared_row, row_of
from fdl.experiment import Batch, Experiment, Learner, Source
from fdl.metrics import Mean, mean
from fdl.models.heads import DualEncoder, WithHead, unit
from fdl.tasks.accumulation import check_whole
from fdl.tasks.contrastive_losses import ViewLoss, clip_loss, nt_xent
from fdl.tasks.gradient import gradient_learner
from fdl.tasks.neighbours import neighbour_accuracy
from fdl.tasks.predictions import features_of
from fdl.tasks.training import Training, experiment_over, task


@task
def contrastive(
    model: WithHead,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    augment: Augmentation,
    batch_size: Count = 256,
    loss: ViewLoss = nt_xent,
    neighbours: Count = 5,
    accumulate: Count = 1,
    **training: Unpack[Training],
) -> Experiment:
    """Learning features that agree for two views of a row and differ between rows.

    SimCLR with `functools.partial(nt_xent, temperature=...)`, VICReg with `vicreg`. For the metrics
    see `contrastive_learner`; an evaluation batch has 512 rows at most. The views that an evaluation
    sees are drawn once: every evaluation of every run has the same.

    Args:
      model: a `WithHead`: the head's outputs are compared, the encoder's are kept.
      splits: `"x"` `[N, ...]`; integers `"y"` `[N]`, if there are any, are for evaluation alone.
      optimizer: any Optax transformation.
      augment: makes a view of a batch, before `splits.prepare`.
      batch_size: rows in a training batch, each with two views; at least 2.
      loss: of the projections `[B, 2, P]` and weights `[B]`, a scalar.
      neighbours: how many vote in the metric `accuracy`.
      accumulate: 1: each row is compared with all others, so a batch is no sum of micro-batches.
      **training: `steps` and others, see `fdl.tasks.training.Training`.

    Raises:
      ValueError: a count that is too small, or a model whose outputs have another rank.

    Example:
      >>> import numpy as np, optax
      >>> import fdl
      >>> from fdl import data, models, tasks
      >>> rows = {"x": np.zeros((8, 4), np.float32), "y": np.arange(8) % 3}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> model = models.WithHead(encoder=models.MLP((16,), 8), head=models.MLP((8,), 4))
      >>> experiment = tasks.contrastive(
      ...
      ...     model, splits, optax.adam(1e-3), augment=data.gaussian_noise(scale=0.1), steps=100
      ...
      ... )
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/accuracy', 'test/loss']
    """
    check_whole(accumulate, "each row is compared with all of the batch")
    if batch_size < 2:
        raise ValueError(f"batch_size is {batch_size}; expected at least 2 rows to compare")
    row = prepared_row(splits)["x"]
    _check_vectors(jax.eval_shape(lambda key: _initial(model, row, key)[0], jax.random.key(0)).shape)
    learner = contrastive_learner(model, row, optimizer, loss=loss, neighbours=neighbours)
    experiment = experiment_over(
        learner,
        splits,
        batch_size=batch_size,
        augment=two_views(augment),
        accumulate=accumulate,
        **training,
    )
    _, raw = sources(splits._replace(prepare=None), batch_size=batch_size)
    views = two_views(augment)
    evaluation = {name: _with_views(source, views, splits.prepare) for name, source in raw.items()}
    return experiment._replace(evaluation=evaluation)


@checked
def contrastive_learner(
    model: WithHead,
    row: jax.ShapeDtypeStruct,
    optimizer: optax.GradientTransformation,
    *,
    loss: ViewLoss = nt_xent,
    neighbours: Count = 5,
) -> Learner:
    """The learner of `contrastive`, for batches from any sources.

    Training batches have `"x"` `[B, 2, ...]`, as of `fdl.data.two_views`. Evaluation batches have the
    plain rows `"x"` `[B, ...]`, their views `"views"` `[B, 2, ...]`, `"weight"` and, if known, labels `"y"`.

    Metrics of an evaluation: `loss`, of each batch by itself, of all batches the mean weighted by
    their rows; with labels, `accuracy`: the share of rows whose label wins among the `neighbours` other
    rows of the batch with the largest cosine of the encoder's features (see `neighbour_accuracy`).

    Args:
      model: see `contrastive`.
      row: shape `[1, ...]` and dtype of one view.
      optimizer: any Optax transformation.
      loss: see `contrastive`.
      neighbours: see `contrastive`.
    """

    def projected(variables: Any, x: jax.Array, **options: Any) -> tuple[jax.Array, Any]:
        """Projections `[B, 2, P]` of views `[B, 2, ...]`, all in one pass, and the collections after."""
        out, state = model.apply(variables, x.reshape(-1, *x.shape[2:]), **options)
        return out.reshape(*x.shape[:2], -1), state

    def objective(variables: Any, batch: Batch, key: jax.Array) -> tuple[Mean, Any]:
        rngs = {"dropout": rng.stream(key, "dropout")}
        mutable = [name for name in variables if name != "params"]
        z, state = projected(variables, batch["x"], train=True, rngs=rngs, mutable=mutable)
        z = shards.gathered(z)  # each row is compared with those of the whole batch
        value = Mean(loss(z, jnp.ones(len(z))), jnp.ones(()))
        return value, ({"loss": value}, state)

    def evaluate(variables: Any, batch: Batch, key: jax.Array) -> Mapping[str, Mean]:
        weight = batch["weight"]
        value = loss(projected(variables, batch["views"], train=False, mutable=[])[0], weight)
        metrics = {"loss": Mean(value * jnp.sum(weight), jnp.sum(weight))}
        if "y" in batch:
            features = unit(model.apply(variables, batch["x"], method="features", mutable=[])[0])
            right = neighbour_accuracy(features @ features.T, batch["y"], weight, k=neighbours)
            metrics["accuracy"] = mean(right, weight)
        return metrics

    def predict(variables: Any, batch: Batch) -> Mapping[str, jax.Array]:
        return {"embedding": features_of(model)(variables, batch)}

    init = lambda key: _initial(model, row, key)[1]  # noqa: E731
    return gradient_learner(init, objective, evaluate, optimizer, predict=predict)


@task
def clip(
    model: DualEncoder,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    batch_size: Count = 256,
    augment: Augmentation | None = None,
    accumulate: Count = 1,
    **training: Unpack[Training],
) -> Experiment:
    """Learning two towers whose vectors agree for the x and the y of one row (CLIP).

    Metrics of an evaluation, among the rows of one batch (512 at most): `loss`, see `clip_loss`;
    `recall_at_1`, the share of rows whose y has the largest cosine with their x of all the batch's; and
    `temperature`, the model's own at that moment.

    Args:
      model: two towers and a temperature.
      splits: `"x"` `[N, ...]` and what belongs to it, `"y"` `[N, ...]`, such as tokens.
      optimizer: any Optax transformation.
      batch_size: rows in a training batch; at least 2.
      augment: what is done to every training batch, or None.
      accumulate: 1: each row is compared with all others, so a batch is no sum of micro-batches.
      **training: `steps` and others, see `fdl.tasks.training.Training`.

    Raises:
      ValueError: a count that is too small, or rows without a y.

    Example:
      >>> import numpy as np, optax
      >>> import fdl
      >>> from fdl import data, models, tasks
      >>> rows = {"x": np.zeros((8, 4), np.float32), "y": np.zeros((8, 5), np.float32)}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> model = models.DualEncoder(models.MLP((16,), 8), models.MLP((16,), 8), width=4)
      >>> experiment = tasks.clip(model, splits, optax.adam(1e-3), steps=100)
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/loss', 'test/recall_at_1', 'test/temperature']
    """
    check_whole(accumulate, "each row is compared with all of the batch")
    if batch_size < 2:
        raise ValueError(f"batch_size is {batch_size}; expected at least 2 rows to compare")
    learner = clip_learner(model, splits, optimizer)
    return experiment_over(
        learner, splits, batch_size=batch_size, augment=augment, accumulate=accumulate, **training
    )


@checked
def clip_learner(model: DualEncoder, splits: Splits, optimizer: optax.GradientTransformation) -> Learner:
    """The learner of `clip`; of `splits` only checks and a row's shape are made.

    Raises:
      ValueError: rows without a y.
    """
    for name, part in parts(splits).items():
        if {"x", "y"} - set(row_of(part)):
            raise ValueError(f"{name} has {sorted(row_of(part))}; expected x and y, which belong together")
    row = prepared_row(splits)

    def init(key: jax.Array) -> Any:
        x, y = (jnp.zeros(row[name].shape, row[name].dtype) for name in ("x", "y"))
        return model.init(key, x, y, train=False)

    def objective(variables: Any, batch: Batch, key: jax.Array) -> tuple[Mean, Any]:
        rngs = {"dropout": rng.stream(key, "dropout")}
        mutable = [name for name in variables if name != "params"]
        (x, y, scale), state = model.apply(
            variables, batch["x"], batch["y"], train=True, rngs=rngs, mutable=mutable
        )
        x, y = shards.gathered((x, y))
        value = mean(clip_loss(x, y, scale, jnp.ones(len(x))))
        return value, ({"loss": value}, state)

    def evaluate(variables: Any, batch: Batch, key: jax.Array) -> Mapping[str, Mean]:
        x, y, scale = model.apply(variables, batch["x"], batch["y"], train=False, mutable=[])[0]
        weight = batch["weight"]
        cosines = jnp.where(weight[None, :] > 0, x @ y.T, -jnp.inf)
        right = (jnp.argmax(cosines, axis=1) == jnp.arange(len(x))).astype(jnp.float32)
        rows = {"loss": clip_loss(x, y, scale, weight), "recall_at_1": right}
        rows["temperature"] = jnp.full(len(x), 1 / scale)
        return {name: mean(values, weight) for name, values in rows.items()}

    def predict(variables: Any, batch: Batch) -> Mapping[str, jax.Array]:
        x, y, _ = model.apply(variables, batch["x"], batch["y"], train=False, mutable=[])[0]
        return {"cosine": jnp.sum(x * y, axis=-1), "embedding_x": x, "embedding_y": y}

    return gradient_learner(init, objective, evaluate, optimizer, predict=predict)


def _initial(model: nn.Module, row: jax.ShapeDtypeStruct, key: jax.Array) -> tuple[jax.Array, Any]:
    """Outputs of one row of zeros, and the variables, which depend on shapes alone."""
    return model.init_with_output(key, jnp.zeros(row.shape, row.dtype), train=False)


def _check_vectors(shape: tuple[int, ...]) -> None:
    if len(shape) != 2:
        raise ValueError(f"the model's outputs for one row have shape {list(shape)}; expected [1, outputs]")


def _with_views(source: Source, views: Augmentation, prepare: Callable[[Batch], Batch] | None) -> Source:
    """A source's batches prepared, with two views of each row that are always the same."""

    def batch(arrays: Any, step: jax.Array, key: jax.Array) -> Batch:
        plain = source.batch(arrays, step, key)
        own = jax.random.fold_in(rng.stream(jax.random.key(0), "views"), step)
        both = views(plain, own)
        if prepare is not None:
            plain, both = prepare(plain), prepare(both)
        return {**plain, "views": both["x"]}

    return source._replace(batch=batch)
