"""Autoencoders by vector quantisation: learning to give inputs back through codes of a table."""

from typing import Any, NamedTuple, Unpack

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from fdl import losses, metrics, rng, shards
from fdl.arguments import Count, NotNegative, checked
from fdl.data import Augmentation, Splits
from fdl.experiment import Experiment, Learner
from fdl.models.vq import Quantised
from fdl.tasks.gradient import gradient_learner
from fdl.tasks.inputs import check_inputs, check_outputs, zero_row
from fdl.tasks.likelihoods import Likelihood, gaussian
from fdl.tasks.reconstruction import reconstructed
from fdl.tasks.training import BatchTraining, experiment_over, task

_gaussian = gaussian()


@task
def vector_quantisation(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    likelihood: Likelihood = _gaussian,
    commitment: NotNegative[float | jax.Array] = 0.25,
    augment: Augmentation | None = None,
    accumulate: Count = 1,
    **training: Unpack[BatchTraining],
) -> Experiment:
    """Learning to give back what came in through codes of a table (van den Oord et al. 2017, eq. 3).

    What is minimised is the batch's mean of `-log p(x | codes)`, plus the summed squared distance of the
    codes from the (fixed) latents, plus `commitment` times that of the latents from the (fixed) codes.
    Metrics: `loss` is `-log p(x | codes)`, nats a row; `squared_error` the mean over entries of x's
    squared difference from its expectation; `commitment` the mean squared distance of an entry of a
    latent from its code; `perplexity` that of the codes used (1: one code; K: all alike) by a whole split,
    in training the mean over (micro-)batches of what each uses, which is less.

    Args:
      model: a Flax module as `VQVAE`: `encode(x, train)` to `Quantised`, and `decode(z, train)`.
      splits: `"x"` float `[N, ...]` as prepared; in 0 to 1 for `bernoulli()`.
      optimizer: any Optax transformation.
      likelihood: of x given the decoder's outputs.
      commitment: see above; it may be traced.
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
      >>> quantiser = models.VectorQuantiser(codes=8)
      >>> model = models.VQVAE(models.MLP((16,), 4), quantiser, models.MLP((16,), 4), width=2)
      >>> experiment = tasks.vector_quantisation(model, splits, optax.adam(1e-3), steps=100)
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/commitment', 'test/loss', 'test/perplexity', 'test/squared_error']
    """
    learner = quantisation_learner(
        model, splits, optimizer, likelihood=likelihood, commitment=commitment, accumulate=accumulate
    )
    return experiment_over(
        learner,
        splits,
        augment=augment,
        accumulate=accumulate,
        **training,
    )


class CodeUse(NamedTuple):
    """How often each code is used; adding the counts of all batches gives the whole split's.

    Attributes:
      counts: weight of the uses, `[K]`.
    """

    counts: jax.Array

    @property
    def value(self) -> jax.Array:
        """The perplexity of the codes, exp(entropy) of their shares, from 1 to K, a scalar."""
        tiny = jnp.finfo(self.counts.dtype).tiny
        share = self.counts / jnp.maximum(jnp.sum(self.counts), tiny)
        return jnp.exp(-jnp.sum(jax.scipy.special.xlogy(share, share)))


@checked
def quantisation_learner(
    model: nn.Module,
    splits: Splits,
    optimizer: optax.GradientTransformation,
    *,
    likelihood: Likelihood = _gaussian,
    commitment: NotNegative[float | jax.Array] = 0.25,
    accumulate: Count = 1,
) -> Learner:
    """The learner of `vector_quantisation`; of `splits`, checks and a row's shape are made.

    Raises:
      ValueError: data that does not fit to the likelihood or the model.
    """
    check_inputs(splits, low=likelihood.low, high=likelihood.high)
    check_outputs(lambda x: model.init_with_output(jax.random.key(0), x, train=False)[0], splits)
    x = zero_row(splits)

    def measures(outputs: jax.Array, x: jax.Array, quantised: Quantised) -> dict[str, jax.Array]:
        outputs = outputs.reshape(x.shape)
        return {
            "loss": -likelihood.log_prob(outputs, x),
            "squared_error": losses.squared_error(likelihood.mean(outputs), x),
            "commitment": losses.squared_error(quantised.latents, quantised.vectors),
        }

    def objective(variables: Any, batch: Any, key: jax.Array) -> tuple[metrics.Mean, Any]:
        x, mutable = batch["x"], [name for name in variables if name != "params"]
        rngs = {"dropout": rng.stream(key, "dropout")}
        (quantised, outputs), model_state = model.apply(
            variables, x, True, rngs=rngs, mutable=mutable, method=_decoded
        )
        rows = measures(outputs, x, quantised)
        to_codes, to_latents = codebook_losses(quantised)
        rows["perplexity"] = jnp.full(len(x), code_perplexity(quantised, jnp.ones(len(x))))
        means = {name: metrics.mean(values) for name, values in rows.items()}
        return metrics.mean(rows["loss"] + to_codes + commitment * to_latents), (means, model_state)

    def evaluate(variables: Any, batch: Any, key: jax.Array) -> dict[str, Any]:
        x, weight = batch["x"], batch["weight"]
        (quantised, outputs), _ = model.apply(variables, x, False, mutable=[], method=_decoded)
        rows = measures(outputs, x, quantised)
        used = CodeUse(code_counts(quantised, weight))
        means = {name: metrics.mean(values, weight) for name, values in rows.items()}
        return {**means, "perplexity": used}

    def predict(variables: Any, batch: Any) -> dict[str, jax.Array]:
        x = batch["x"]
        (quantised, outputs), _ = model.apply(variables, x, False, mutable=[], method=_decoded)
        return {"code": quantised.indices, **reconstructed(likelihood, outputs, x)}

    init = lambda key: model.init(key, x, train=False)  # noqa: E731
    return gradient_learner(init, objective, evaluate, optimizer, accumulate=accumulate, predict=predict)


def codebook_losses(quantised: Quantised) -> tuple[jax.Array, jax.Array]:
    """Squared distances of codes from fixed latents, and of latents from fixed codes, summed for each
    row of `[B, ...]`: twice `[B]`, of equal values and other gradients."""
    latents, vectors = quantised.latents, quantised.vectors
    to_codes = jnp.square(vectors - jax.lax.stop_gradient(latents))
    to_latents = jnp.square(latents - jax.lax.stop_gradient(vectors))
    axes = range(1, latents.ndim)
    return jnp.sum(to_codes, axis=axes), jnp.sum(to_latents, axis=axes)


def code_counts(quantised: Quantised, weight: jax.Array) -> jax.Array:
    """How often each code is used by rows of weights `[B]`, `[K]`."""
    rows = quantised.indices.reshape(len(weight), -1)
    each = jnp.broadcast_to(weight[:, None], rows.shape).ravel()
    return jnp.zeros(len(quantised.table), weight.dtype).at[rows.ravel()].add(each)


def code_perplexity(quantised: Quantised, weight: jax.Array) -> jax.Array:
    """exp(entropy) of how often each code is used by rows of weights `[B]`, from 1 to K, a scalar."""
    return CodeUse(shards.total(code_counts(quantised, weight))).value


def _decoded(model: Any, x: jax.Array, train: bool) -> tuple[Quantised, jax.Array]:
    quantised = model.encode(x, train)
    return quantised, model.decode(quantised.passed, train)
