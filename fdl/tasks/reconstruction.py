"""Reconstruction: an autoencoder learns to give inputs back, also of noisy ones, also by sparse codes."""

from collections.abc import Callable
from typing import Any, Unpack

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from fdl import losses, metrics, rng, shards
from fdl.arguments import Count, InnerShare, NotNegative, Share, checked
from fdl.data import Augmentation, Splits
from fdl.data.augmentation.base import by_row
from fdl.experiment import Experiment, Learner
from fdl.tasks.accumulation import check_whole
from fdl.tasks.gradient import gradient_learner
from fdl.tasks.inputs import check_inputs, check_outputs, zero_row
from fdl.tasks.likelihoods import Likelihood, gaussian
from fdl.tasks.training import BatchTraining, experiment_over, task

Penalty = Callable[[jax.Array], jax.Array]
"""`penalty(codes)`, `[B, L]` to what each row adds to its loss, `[B]`, or to a scalar of the whole batch."""

_gaussian = gaussian()


@task
def reconstruction(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    likelihood: Likelihood = _gaussian,
    corrupt: Augmentation | None = None,
    penalty: Penalty | None = None,
    augment: Augmentation | None = None,
    accumulate: Count = 1,
    **training: Unpack[BatchTraining],
) -> Experiment:
    """Learning to give back what came in, `x`, by maximum likelihood.

    Metrics leave the penalty out: `loss` is the negative log-likelihood, nats a row (with `gaussian()`,
    half the summed squared error and a constant); `squared_error` the mean over entries of the squared
    difference between x and its expectation, which compares arms of different likelihoods.

    Args:
      model: a Flax module, `model(x, train=...)`: `[B, ...]` to as many numbers; with a penalty, it
        also has the methods `encode` and `decode` of an `Autoencoder`.
      splits: `"x"` float `[N, ...]` as prepared; in 0 to 1 for `bernoulli()`.
      optimizer: any Optax transformation.
      likelihood: of x given the model's outputs, as `gaussian()` (squared error) or `bernoulli()`.
      corrupt: what is done to the inputs, not to what is to be given back, after `prepare`, as
        `fdl.data.gaussian_noise(scale=0.5)` or `masking_noise(rate=0.3)` (Vincent et al. 2008, Extracting and
        Composing Robust Features with Denoising Autoencoders); every evaluation of a run alike.
      penalty: of the codes, added to the mean loss, as `functools.partial(l1_penalty, factor=0.1)`; one of
        the whole batch, such as `rate_penalty`, is not accumulated.
      augment: what is done to every training batch, inputs and what is to be given back.
      accumulate: micro-batches in which a batch is passed, see `fdl.tasks.accumulation.passed`.
      **training: `steps`, `batch_size` and others, see `fdl.tasks.training.BatchTraining`.

    Raises:
      ValueError: a count below 1, or data that does not fit to the likelihood or the model.

    Example:
      >>> import numpy as np, optax
      >>> import fdl
      >>> from fdl import data, models, tasks
      >>> rows = {"x": np.zeros((8, 4), np.float32)}
      >>> splits = data.Splits(train=rows, validation=rows, test=rows)
      >>> experiment = tasks.reconstruction(models.MLP((2,), 4), splits, optax.adam(1e-3), steps=100)
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/loss', 'test/squared_error']
    """
    learner = reconstruction_learner(
        model,
        splits,
        optimizer,
        likelihood=likelihood,
        corrupt=corrupt,
        penalty=penalty,
        accumulate=accumulate,
    )
    return experiment_over(
        learner,
        splits,
        augment=augment,
        accumulate=accumulate,
        **training,
    )


@checked
def reconstruction_learner(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    likelihood: Likelihood = _gaussian,
    corrupt: Augmentation | None = None,
    penalty: Penalty | None = None,
    accumulate: Count = 1,
) -> Learner:
    """The learner of `reconstruction`; of `splits`, checks and a row's shape are made.

    Raises:
      ValueError: data that does not fit to the likelihood or the model, or micro-batches with a penalty of
        the whole batch.
    """
    check_inputs(splits, low=likelihood.low, high=likelihood.high)
    x, corrupt = zero_row(splits), corrupt or (lambda batch, key: batch)

    def init(key: jax.Array) -> Any:
        return model.init(key, x, train=False)

    check_outputs(lambda x: model.init_with_output(jax.random.key(0), x, train=False)[0], splits)

    if penalty is not None and accumulate != 1:
        _check_penalty(model, x, penalty, accumulate)

    def measures(outputs: jax.Array, x: jax.Array) -> dict[str, jax.Array]:
        outputs = outputs.reshape(x.shape)
        return {
            "loss": -likelihood.log_prob(outputs, x),
            "squared_error": losses.squared_error(likelihood.mean(outputs), x),
        }

    def draw(batch: Any, key: jax.Array) -> Any:
        whole = corrupt(shards.gathered({"x": batch["x"]}), rng.stream(key, "corrupt"))
        return {"x": batch["x"], "noisy": shards.own_rows(whole["x"])}

    def objective(variables: Any, batch: Any, key: jax.Array) -> tuple[metrics.Mean, Any]:
        mutable = [name for name in variables if name != "params"]
        (code, outputs), model_state = model.apply(
            variables,
            batch["noisy"],
            train=True,
            rngs={"dropout": rng.stream(key, "dropout")},
            mutable=mutable,
            method=_output if penalty is None else _code_and_output,
        )
        rows = measures(outputs, batch["x"])
        values = rows["loss"]
        if penalty is not None:
            added = penalty(shards.gathered(code))
            values = values + (shards.own_rows(added) if added.ndim else added)
        means = {name: metrics.mean(each) for name, each in rows.items()}
        return metrics.mean(values), (means, model_state)

    def evaluate(variables: Any, batch: Any, key: jax.Array) -> dict[str, metrics.Mean]:
        noisy = corrupt({"x": batch["x"]}, key)["x"]
        outputs = jnp.asarray(model.apply(variables, noisy, train=False))
        rows = measures(outputs, batch["x"])
        return {name: metrics.mean(values, batch["weight"]) for name, values in rows.items()}

    def predict(variables: Any, batch: Any) -> dict[str, jax.Array]:
        outputs = jnp.asarray(model.apply(variables, batch["x"], train=False))
        return reconstructed(likelihood, outputs, batch["x"])

    return gradient_learner(
        init, objective, evaluate, optimizer, draw=draw, accumulate=accumulate, predict=predict
    )


def reconstructed(likelihood: Likelihood, outputs: jax.Array, x: jax.Array) -> dict[str, jax.Array]:
    """What outputs for x `[B, ...]` expect it to be, `reconstruction`, and its `squared_error`, `[B]`."""
    found = likelihood.mean(outputs.reshape(x.shape))
    return {"reconstruction": found, "squared_error": losses.squared_error(found, x)}


@checked
def masking_noise(*, rate: Share[float | jax.Array]) -> Augmentation:
    """Sets each entry to zero with probability `rate` (Vincent et al. 2008, sec. 2.3).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import tasks
      >>> corrupt = tasks.masking_noise(rate=1.0)  # for tasks.reconstruction
      >>> corrupt({"x": jnp.ones((1, 3))}, jax.random.key(0))["x"]
      Array([[0., 0., 0.]], dtype=float32)
    """

    def one(x: jax.Array, key: jax.Array) -> jax.Array:
        return jnp.where(jax.random.bernoulli(key, rate, x.shape), 0, x)

    return by_row(one)


@checked
def l1_penalty(codes: jax.Array, *, factor: NotNegative[float | jax.Array]) -> jax.Array:
    """`factor` times the sum of absolute entries of each row of codes `[B, L]`, `[B]`.

    Example:
      >>> import functools, jax.numpy as jnp
      >>> from fdl import tasks
      >>> tasks.l1_penalty(jnp.array([[1.0, -2.0]]), factor=0.5)
      Array([1.5], dtype=float32)
      >>> penalty = functools.partial(tasks.l1_penalty, factor=0.5)  # for tasks.reconstruction
    """
    return factor * jnp.sum(jnp.abs(codes), axis=-1)


@checked
def rate_penalty(
    codes: jax.Array, *, factor: NotNegative[float | jax.Array], rate: InnerShare[float | jax.Array]
) -> jax.Array:
    """`factor` times the divergence of each unit's mean activity in the batch from `rate`, summed, a scalar.

    Lee et al. 2008, Sparse Deep Belief Net Model for Visual Area V2, keep mean activities at a rate; as
    here, by KL(Bernoulli(rate) | Bernoulli(mean)), Ng 2011, Sparse Autoencoder, sec. 3.

    Args:
      codes: `[B, L]` from 0 to 1, as of `nn.sigmoid`.
      factor: of the sum.
      rate: the activity aimed at, between 0 and 1.

    Example:
      >>> import functools, jax.numpy as jnp
      >>> from fdl import tasks
      >>> float(tasks.rate_penalty(jnp.full((4, 2), 0.1), factor=1.0, rate=0.1))
      0.0
      >>> penalty = functools.partial(tasks.rate_penalty, factor=1.0, rate=0.1)  # for tasks.reconstruction
    """
    tiny = jnp.finfo(codes.dtype).eps
    mean = jnp.clip(jnp.mean(codes, axis=0), tiny, 1 - tiny)
    divergence = rate * jnp.log(rate / mean) + (1 - rate) * jnp.log((1 - rate) / (1 - mean))
    return factor * jnp.sum(divergence)


def _check_penalty(model: nn.Module, x: jax.Array, penalty: Penalty, accumulate: int) -> None:
    made = lambda key: model.init_with_output(key, x, True, method=_code_and_output)[0][0]  # noqa: E731
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(0)}
    if not jax.eval_shape(lambda: penalty(made(keys))).shape:
        check_whole(accumulate, "the penalty is of all codes of a batch")


def _output(model: Any, x: jax.Array, train: bool) -> tuple[None, jax.Array]:
    return None, model(x, train=train)


def _code_and_output(model: Any, x: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
    code = model.encode(x, train)
    return code, model.decode(code, train)
