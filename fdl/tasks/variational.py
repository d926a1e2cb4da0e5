"""Variational autoencoders: learning by the evidence lower bound."""

import math
from typing import Any, Unpack

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from fdl import metrics, rng, shards
from fdl.arguments import Count, NotNegative, checked
from fdl.data import Augmentation, Splits
from fdl.experiment import Experiment, Learner
from fdl.tasks.gradient import gradient_learner
from fdl.tasks.inputs import check_inputs, check_outputs, zero_row
from fdl.tasks.likelihoods import Likelihood, bernoulli
from fdl.tasks.reconstruction import reconstructed
from fdl.tasks.training import BatchTraining, experiment_over, task

_bernoulli = bernoulli()


@task
def variational(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    likelihood: Likelihood = _bernoulli,
    beta: NotNegative[float | jax.Array] = 1.0,
    samples: Count = 64,
    augment: Augmentation | None = None,
    accumulate: Count = 1,
    **training: Unpack[BatchTraining],
) -> Experiment:
    """Learning a latent-variable model by the evidence lower bound (Kingma & Welling 2014, sec. 2.2).

    What is minimised is the batch's mean of `-log p(x | z) + beta KL(q(z | x) | p(z))`, with one latent z
    drawn for each row; the prior is standard normal, the divergence exact. Metrics, in nats a row, leave
    `beta` out: `loss` is the negative bound; `kl` the divergence; in evaluations `importance_loss` is the
    negative of the importance-weighted bound with `samples` latents. Every evaluation of a run draws alike.

    Args:
      model: a Flax module as `VAE`: `encode(x, train)` to means and log-variances `[B, L]`, and
        `decode(z, train)`, `[B, L]` to outputs `[B, ...]`.
      splits: `"x"` float `[N, ...]` as prepared; in 0 to 1 for `bernoulli()`.
      optimizer: any Optax transformation.
      likelihood: of x given the decoder's outputs.
      beta: factor of the divergence (Higgins et al. 2017, beta-VAE); it may be traced.
      samples: K of the importance-weighted bound.
      augment: what is done to every training batch.
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
      >>> model = models.VAE(models.MLP((16,), 4), models.MLP((16,), 4))
      >>> experiment = tasks.variational(model, splits, optax.adam(1e-3), steps=100)
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/importance_loss', 'test/kl', 'test/loss']
    """
    learner = variational_learner(
        model,
        splits,
        optimizer,
        likelihood=likelihood,
        beta=beta,
        samples=samples,
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
def variational_learner(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    likelihood: Likelihood = _bernoulli,
    beta: NotNegative[float | jax.Array] = 1.0,
    samples: Count = 64,
    accumulate: Count = 1,
) -> Learner:
    """The learner of `variational`; of `splits`, checks and a row's shape are made.

    Raises:
      ValueError: data that does not fit to the likelihood or the model, or fewer than one sample.
    """
    check_inputs(splits, low=likelihood.low, high=likelihood.high)
    check_outputs(lambda x: model.init_with_output(jax.random.key(0), x, train=False)[0], splits)
    x = zero_row(splits)

    width = _latents(model, x)

    def noise(key: jax.Array, samples: int, rows: int) -> jax.Array:
        normal = lambda key, shape: jax.random.normal(key, shape, width.dtype)  # noqa: E731
        return shards.draw(normal, key, (samples, rows, *width.shape[1:]), axis=1)

    def draw(batch: Any, key: jax.Array) -> Any:
        return {"x": batch["x"], "noise": noise(rng.stream(key, "latent"), 1, len(batch["x"]))[0]}

    def objective(variables: Any, batch: Any, key: jax.Array) -> tuple[metrics.Mean, Any]:
        x, mutable = batch["x"], [name for name in variables if name != "params"]
        rngs = {"dropout": rng.stream(key, "dropout")}
        (mean, log_variance, _, outputs), model_state = model.apply(
            variables, x, batch["noise"][None], True, rngs=rngs, mutable=mutable, method=_decoded
        )
        log_prob = likelihood.log_prob(outputs.reshape(x.shape), x)
        kl = kl_standard_normal(mean, log_variance)
        means = {"loss": metrics.mean(kl - log_prob), "kl": metrics.mean(kl)}
        return metrics.mean(beta * kl - log_prob), (means, model_state)

    def evaluate(variables: Any, batch: Any, key: jax.Array) -> dict[str, metrics.Mean]:
        x, weight = batch["x"], batch["weight"]
        (mean, log_variance, z, outputs), _ = model.apply(
            variables, x, noise(key, samples, len(x)), False, mutable=[], method=_decoded
        )
        log_prob = jax.vmap(lambda one: likelihood.log_prob(one, x))(outputs.reshape(samples, *x.shape))
        kl = kl_standard_normal(mean, log_variance)
        weights = log_weights(log_prob, z, mean, log_variance)
        rows = {
            "loss": kl - jnp.mean(log_prob, axis=0),
            "kl": kl,
            "importance_loss": -importance_bound(weights),
        }
        return {name: metrics.mean(values, weight) for name, values in rows.items()}

    def predict(variables: Any, batch: Any) -> dict[str, jax.Array]:
        x = batch["x"]
        still = jnp.zeros((1, len(x), *width.shape[1:]), width.dtype)
        (code, _, _, outputs), _ = model.apply(variables, x, still, False, mutable=[], method=_decoded)
        return {"code": code, **reconstructed(likelihood, outputs, x)}

    init = lambda key: model.init(key, x, train=False)  # noqa: E731
    return gradient_learner(
        init, objective, evaluate, optimizer, draw=draw, accumulate=accumulate, predict=predict
    )


def kl_standard_normal(mean: jax.Array, log_variance: jax.Array) -> jax.Array:
    """KL(N(mean, variance) | N(0, 1)) in nats, summed over the last axis: `[..., L]` to `[...]`.

    Kingma & Welling 2014, appendix B.
    """
    variance_part = jnp.expm1(log_variance) - log_variance  # without the cancellation of exp(v) - 1 - v
    return 0.5 * jnp.sum(variance_part + jnp.square(mean), axis=-1)


def log_weights(log_prob: jax.Array, z: jax.Array, mean: jax.Array, log_variance: jax.Array) -> jax.Array:
    """log p(x | z) + log p(z) - log q(z | x), whose mean over latents drawn from q is the evidence bound.

    Args:
      log_prob: log p(x | z), `[K, B]`.
      z: latents drawn from q, `[K, B, L]`.
      mean: of q, `[B, L]`.
      log_variance: of q, `[B, L]`.

    Returns:
      `[K, B]`.
    """
    scaled = jnp.square(z - mean) * jnp.exp(-log_variance)
    return log_prob + 0.5 * jnp.sum(scaled + log_variance - jnp.square(z), axis=-1)


def importance_bound(weights: jax.Array) -> jax.Array:
    """The log of the mean over K of exp(weights), `[K, B]` to `[B]`.

    Burda et al. 2016, Importance Weighted Autoencoders, eq. 8: in expectation no larger than the log
    evidence, no smaller than the bound with fewer samples; of one sample, the evidence lower bound.
    """
    return jax.nn.logsumexp(weights, axis=0) - math.log(len(weights))


def _decoded(
    model: Any, x: jax.Array, noise: jax.Array, train: bool
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """q's means and log-variances `[B, L]`, latents by noise `[K, B, L]`, their outputs `[K B, ...]`."""
    mean, log_variance = model.encode(x, train)
    z = mean + jnp.exp(0.5 * log_variance) * noise
    return mean, log_variance, z, model.decode(z.reshape(-1, mean.shape[-1]), train)


def _latents(model: nn.Module, x: jax.Array) -> jax.ShapeDtypeStruct:
    """The shape `[1, L]` and type of the means of one row's latents."""
    both = lambda model, x: (model.encode(x, False), model(x, train=False))  # noqa: E731
    return jax.eval_shape(lambda key: model.init_with_output(key, x, method=both)[0][0][0], jax.random.key(0))
