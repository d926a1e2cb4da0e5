"""How well the text of a Markov chain, or of a hidden one, can be predicted at best."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fdl.arguments import Count, checked
from fdl.data.synthetic.markov import emission_matrix, stationary, transition_matrix

_MOST = 2**26  # numbers held by the exact sum over all sequences


@checked
def entropy_rate(transition: np.ndarray) -> float:
    """The entropy rate of a stationary Markov chain, -Σ π_i P_ij log P_ij, in nats a token.

    It is the least mean cross-entropy that any model of the chain's text can have (Cover and Thomas,
    Elements of Information Theory, sec. 4.2).

    Args:
      transition: P, `[K, K]`.

    Raises:
      ValueError: as for `stationary`.

    Example:
      >>> round(fdl.data.synthetic.entropy_rate(np.array([[0.5, 0.5], [0.5, 0.5]])), 3)  # log 2
      0.693
    """
    return float(stationary(transition) @ _entropy(transition_matrix(transition), axis=1))


@checked
def token_log_likelihood(tokens: jax.Array, *, transition: np.ndarray, emission: np.ndarray) -> jax.Array:
    """What a hidden Markov model that knows itself says of each token, by the forward algorithm.

    The first hidden state is of the stationary distribution. The sum is the log-likelihood of the
    tokens; without the sign, each is the loss of the best possible predictor.

    Args:
      tokens: `[T]` integers in 0..V-1.
      transition: P, `[K, K]`, known when the program is traced.
      emission: E, `[K, V]`.

    Returns:
      float32 `[T]`, log p(token t | tokens 0..t-1) in nats; minus infinity from an impossible token on.

    Raises:
      ValueError: emissions that do not fit, or as for `stationary`.

    Example:
      >>> coin = np.full((2, 2), 0.5)
      >>> print(fdl.data.synthetic.token_log_likelihood(np.array([0, 1, 1]), transition=coin, emission=coin))
      [-0.6931472 -0.6931472 -0.6931472]
    """
    emitted = jnp.asarray(emission_matrix(emission, len(transition)).T, jnp.float32)[tokens]
    moves = jnp.asarray(transition_matrix(transition), jnp.float32)

    def advance(state: jax.Array, likelihood: jax.Array) -> tuple[jax.Array, jax.Array]:
        joint = state * likelihood
        total = joint.sum()
        posterior = joint / jnp.where(total > 0, total, 1.0)
        return jnp.matmul(posterior, moves, precision="highest"), jnp.log(total)

    return lax.scan(advance, jnp.asarray(stationary(transition), jnp.float32), emitted)[1]


@checked
def entropy_rate_bounds(
    transition: np.ndarray, emission: np.ndarray, *, length: Count
) -> tuple[float, float]:
    """Bounds of the entropy rate of a hidden Markov model's text, in nats a token.

    H(O_n | O_1..O_n-1, S_1) <= rate <= H(O_n | O_1..O_n-1) for tokens O, hidden states S and
    n = length; both meet as n grows (Cover and Thomas, Elements of Information Theory, sec. 4.5).
    Exact, by all V**n texts in float64; memory and time are in proportion to K**2 V**n.

    Args:
      transition: P, `[K, K]`.
      emission: E, `[K, V]`.
      length: n, at least 1.

    Returns:
      The lower and the upper bound.

    Raises:
      ValueError: a length below 1, more than 2**26 terms, emissions that do not fit, or as for
        `stationary`.

    Example:
      >>> transition = np.array([[0.9, 0.1], [0.1, 0.9]])
      >>> emission = np.array([[0.8, 0.2], [0.2, 0.8]])
      >>> low, high = fdl.data.synthetic.entropy_rate_bounds(transition, emission, length=8)
      >>> round(low, 3), round(high, 3)
      (0.631, 0.631)
    """
    emission = emission_matrix(emission, len(transition))
    states, tokens = emission.shape
    if length < 1 or states**2 * tokens**length > _MOST:
        raise ValueError(
            f"length is {length}, with {states} states and {tokens} tokens; "
            "expected at least 1, and states**2 * tokens**length at most 2**26"
        )
    start = stationary(transition)
    # joint[i, text, k]: the probability of the text and of the last hidden state k, given the first, i.
    joint = np.eye(states)[:, None, :]
    upper, lower = [0.0], [0.0]
    for place in range(length):
        moved = joint @ transition_matrix(transition) if place else joint
        joint = (moved[:, :, None, :] * emission.T).reshape(states, -1, states)
        texts = joint.sum(axis=2)
        upper.append(float(_entropy(start @ texts, axis=0)))
        lower.append(float(start @ _entropy(texts, axis=1)))
    return lower[-1] - lower[-2], upper[-1] - upper[-2]


def _entropy(probabilities: np.ndarray, *, axis: int) -> np.ndarray:
    """-Σ p log p along an axis, in nats, with 0 log 0 = 0."""
    return -np.sum(probabilities * np.log(np.where(probabilities > 0, probabilities, 1.0)), axis=axis)
