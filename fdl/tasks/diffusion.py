"""Diffusion and flow matching: a denoiser learns what noisy data are made of."""

from typing import Any, Unpack

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdl import losses, metrics, rng, shards
from fdl.arguments import Count, Share, checked
from fdl.data import Augmentation, Splits
from fdl.data.splits import parts, row_of
from fdl.data.verified import outside, verified
from fdl.experiment import Experiment, Learner
from fdl.tasks.gradient import gradient_learner
from fdl.tasks.inputs import check_outputs, check_unit_scale, zero_row
from fdl.tasks.noise import (
    Prediction,
    Schedule,
    linear,
    noisy,
    predict_noise,
    predict_velocity,
    straight,
    target,
)
from fdl.tasks.training import BatchTraining, experiment_over, task

Number = float | jax.Array


@task
def diffusion(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    schedule: Schedule = linear,
    prediction: Prediction = predict_noise,
    times: Count | None = None,
    label_dropout: Share[Number] | None = None,
    augment: Augmentation | None = None,
    accumulate: Count = 1,
    **training: Unpack[BatchTraining],
) -> Experiment:
    """Learning to denoise data, by the squared error of a prediction (Ho et al. 2020, eq. 14).

    Each row gets a time that is uniform in 0 to 1 (or one of `times`) and normal noise. `loss` is the mean
    over entries of the squared error of what is predicted, so it compares only models that predict the
    same by the same schedule. Every evaluation of a run draws alike.

    Args:
      model: a Flax module, `model(x, time, label, train=...)`: noisy `[B, ...]`, times `[B]`, and labels
        int32 `[B]` (-1: none given) or None, to predictions of the shape of x.
      splits: `"x"` float `[N, ...]` as prepared, as large as the noise: standardised, or from -1 to 1;
        with `label_dropout` also `"y"` integers `[N]`, from 0.
      optimizer: any Optax transformation.
      schedule: how much signal and noise there is at a time, as `linear` or `from_betas(cosine_betas())`.
      prediction: what is predicted: `predict_noise`, `predict_data` or `predict_v`.
      times: T, to draw times uniformly from 1 / T, 2 / T, ..., 1, as Ho et al. 2020, algorithm 1, with
        `schedule=from_betas(linear_betas(T))`; None: all times, also of such a schedule.
      label_dropout: the share of training rows whose label is hidden, so that the model also serves
        without (classifier-free guidance); it may be traced. None: labels are not used at all.
      augment: what is done to every training batch.
      accumulate: micro-batches in which a batch is passed, see `fdl.tasks.accumulation.passed`.
      **training: `steps`, `batch_size` and others, see `fdl.tasks.training.BatchTraining`.

    Raises:
      ValueError: a count below 1, or data that does not fit to the noise or the model.

    Example:
      >>> import numpy as np, optax
      >>> import fdl
      >>> from fdl import data, models, tasks
      >>> rows = {"x": np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> experiment = tasks.diffusion(models.DiffusionMLP((16,)), splits, optax.adam(1e-3), steps=100)
      >>> fdl.check(experiment)
      ('train/loss', 'train/update_norm', 'test/loss', 'validation/loss')
    """
    if label_dropout is not None:
        splits = _check_labels(model, splits)
    learner = diffusion_learner(
        model,
        splits,
        optimizer,
        schedule=schedule,
        prediction=prediction,
        times=times,
        label_dropout=label_dropout,
        accumulate=accumulate,
    )
    return experiment_over(
        learner,
        splits,
        augment=augment,
        accumulate=accumulate,
        **training,
    )


@task
def flow_matching(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    label_dropout: Share[Number] | None = None,
    augment: Augmentation | None = None,
    accumulate: Count = 1,
    **training: Unpack[BatchTraining],
) -> Experiment:
    """Learning the velocity along straight lines from data to noise (Lipman et al. 2023, eq. 23, with
    σ_min = 0, so that the lines end in the data).

    It is `diffusion` with the schedule `straight` and `predict_velocity`; arguments, metrics and errors
    are as there.

    Example:
      >>> import numpy as np, optax
      >>> import fdl
      >>> from fdl import data, models, tasks
      >>> rows = {"x": np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> experiment = tasks.flow_matching(
      ...     models.DiffusionMLP((16,)), splits, optax.adam(1e-3), steps=100
      ... )
      >>> fdl.check(experiment)
      ('train/loss', 'train/update_norm', 'test/loss', 'validation/loss')
    """
    return diffusion(
        model,
        splits,
        optimizer,
        schedule=straight,
        prediction=predict_velocity,
        label_dropout=label_dropout,
        augment=augment,
        accumulate=accumulate,
        **training,
    )


@checked
def diffusion_learner(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    schedule: Schedule = linear,
    prediction: Prediction = predict_noise,
    times: Count | None = None,
    label_dropout: Share[Number] | None = None,
    accumulate: Count = 1,
) -> Learner:
    """The learner of `diffusion`; of `splits`, checks and a row's shape are made.

    Raises:
      ValueError: data that does not fit to the noise or the model, or fewer than one time.
    """
    check_unit_scale(splits)
    if label_dropout is not None:
        _check_labels(model, splits)
    x, time = zero_row(splits), jnp.zeros(1)
    label = None if label_dropout is None else jnp.zeros(1, jnp.int32)

    def init(key: jax.Array) -> Any:
        return model.init(key, x, time, label, train=False)

    check_outputs(lambda x: model.init_with_output(jax.random.key(0), x, time, label, train=False)[0], splits)

    def noised(x: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Times `[B]`, and at them noisy data and what is to be predicted."""
        time = shards.draw(jax.random.uniform, rng.stream(key, "time"), x.shape[:1])
        if times is not None:
            time = (jnp.floor(time * times) + 1) / times
        normal = lambda key, shape: jax.random.normal(key, shape, x.dtype)  # noqa: E731
        epsilon = shards.draw(normal, rng.stream(key, "noise"), x.shape)
        wanted = target(x, epsilon, time, schedule, prediction).astype(x.dtype)
        return time, noisy(x, epsilon, time, schedule).astype(x.dtype), wanted

    def draw(batch: Any, key: jax.Array) -> Any:
        time, x, wanted = noised(batch["x"], key)
        rows = {"x": x, "time": time, "wanted": wanted}
        if label_dropout is not None:
            hide = lambda key, shape, rate=label_dropout: jax.random.bernoulli(key, rate, shape)  # noqa: E731
            hidden = shards.draw(hide, rng.stream(key, "label"), time.shape)
            rows["label"] = jnp.where(hidden, -1, batch["y"])
        return rows

    def objective(variables: Any, batch: Any, key: jax.Array) -> tuple[metrics.Mean, Any]:
        mutable, label = [name for name in variables if name != "params"], batch.get("label")
        rngs = {"dropout": rng.stream(key, "dropout")}
        predicted, model_state = model.apply(
            variables, batch["x"], batch["time"], label, train=True, rngs=rngs, mutable=mutable
        )
        loss = metrics.mean(losses.squared_error(predicted, batch["wanted"]))
        return loss, ({"loss": loss}, model_state)

    def evaluate(variables: Any, batch: Any, key: jax.Array) -> dict[str, metrics.Mean]:
        time, x, wanted = noised(batch["x"], key)
        label = None if label_dropout is None else batch["y"]
        predicted = jnp.asarray(model.apply(variables, x, time, label, train=False))
        return {"loss": metrics.mean(losses.squared_error(predicted, wanted), batch["weight"])}

    return gradient_learner(init, objective, evaluate, optimizer, draw=draw, accumulate=accumulate)


@checked
def flow_matching_learner(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    label_dropout: Share[Number] | None = None,
    accumulate: Count = 1,
) -> Learner:
    """The learner of `flow_matching`: that of `diffusion` with `straight` and `predict_velocity`.

    Raises:
      ValueError: data that does not fit to the noise or the model.
    """
    return diffusion_learner(
        model,
        splits,
        optimizer,
        schedule=straight,
        prediction=predict_velocity,
        label_dropout=label_dropout,
        accumulate=accumulate,
    )


def _check_labels(model: nn.Module, splits: Splits) -> Splits:
    """The data set, the labels of which are the model's (see `verified`), where that says how many it has.

    Raises:
      ValueError: no integer labels, or others.
    """
    for name, part in parts(splits).items():
        row = row_of(part)
        if "y" not in row or not np.issubdtype(row["y"].dtype, np.integer) or row["y"].shape:
            raise ValueError(f"{name} has rows {row}; expected integer labels y [N], or label_dropout=None")
    classes = getattr(model, "classes", 0)
    why = f"as the model has {classes} classes" if classes else "the numbers of classes"
    fix = "change the model's classes or the labels"
    fault = outside("y", 0, classes - 1 if classes else np.inf, what="labels", why=why, fix=fix)
    return verified(splits, ("y",), fault)
