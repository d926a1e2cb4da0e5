"""Scores of single rows: how unlike the training data one is, how well one is remembered."""

import jax
import jax.numpy as jnp

from fdl.arguments import NotEmpty, Positive, checked


@checked
def max_softmax(logits: jax.Array) -> jax.Array:
    """The largest probability of each row, `[B, C]` to `[B]`: low for rows out of distribution.

    Hendrycks and Gimpel 2017, A Baseline for Detecting Misclassified and Out-of-Distribution Examples. How
    well a score tells rows apart says `fdl.metrics.roc_auc`.

    Example:
      >>> from fdl import analysis
      >>> analysis.max_softmax(jnp.zeros((1, 4))).tolist()
      [0.25]
    """
    return jnp.max(jax.nn.softmax(logits, axis=-1), axis=-1)


@checked
def energy_score(logits: jax.Array, *, temperature: Positive[float] = 1.0) -> jax.Array:
    """The negative free energy of each row, `[B, C]` to `[B]`: low for rows out of distribution.

    Liu et al. 2020, Energy-based Out-of-distribution Detection, eq. 4: T log sum exp(logits / T). It needs
    logits: of log-probabilities it is 0.

    Example:
      >>> from fdl import analysis
      >>> round(float(analysis.energy_score(jnp.array([[1.0, 1.0]]))[0]), 4)  # 1 + log(2)
      1.6931
    """
    return temperature * jax.nn.logsumexp(logits / temperature, axis=-1)


@checked
def exposure(canaries: jax.Array, others: NotEmpty[jax.Array]) -> jax.Array:
    """How far a language model remembers canaries: texts that were drawn at random and put into its training.

    Carlini et al. 2019, The Secret Sharer, sec. 4.3: log2 of how many texts there are, less log2 of a
    canary's rank among them by the model's loss. Without memory it is 1 or less for half of the canaries.

    Args:
      canaries: the loss of each canary, `[K]`.
      others: those of texts drawn likewise that were not trained on, `[R]`.

    Returns:
      In bits, `[K]`: from 0 to log2(R + 1), for a canary that is likelier than all others. One that ties is
      ranked last of its equals.

    Example:
      >>> from fdl import analysis
      >>> analysis.exposure(jnp.array([0.5, 9.0]), jnp.array([1.0, 2.0, 3.0])).tolist()
      [2.0, 0.0]
    """
    rank = 1 + jnp.sum(others[None, :] <= canaries[:, None], axis=1)
    return jnp.log2(1.0 + others.shape[0]) - jnp.log2(rank.astype(jnp.float32))
