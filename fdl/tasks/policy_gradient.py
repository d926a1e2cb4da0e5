"""Self-play by gradients of the policy: REINFORCE with a baseline, and PPO."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from fdl.arguments import NotNegative, Positive, Share, checked
from fdl.tasks.self_play import Algorithm, Network
from fdl.tasks.trajectories import Trajectory, advantages

Number = float | jax.Array


@checked
def reinforce(
    *, value_weight: NotNegative[Number] = 0.5, entropy_weight: NotNegative[Number] = 0.1
) -> Algorithm:
    """REINFORCE with the net's value as the baseline.

    Williams 1992, Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning,
    sec. 5: the loss of a move is -log π(a) (G - V), G what came of it. The estimate is unbiased for one
    pass in one minibatch.

    Args:
      value_weight: factor of the value's squared error, (V - G)².
      entropy_weight: factor of the policy's entropy, which is rewarded.

    Example:
      >>> from fdl import tasks
      >>> algorithm = tasks.reinforce(entropy_weight=0.01)  # for tasks.self_play
      >>> algorithm._fields
      ('act', 'rows', 'loss')
    """

    def policy(logits: jax.Array, rows: Any) -> jax.Array:
        return -_log_prob(logits, rows["action"]) * rows["advantage"]

    return _actor_critic(policy, trace=1.0, value_weight=value_weight, entropy_weight=entropy_weight)


@checked
def ppo(
    *,
    clip: Positive[Number] = 0.2,
    trace: Share[Number] = 0.95,
    value_weight: NotNegative[Number] = 0.5,
    entropy_weight: NotNegative[Number] = 0.1,
) -> Algorithm:
    """Proximal policy optimisation with clipped ratios and generalised advantages.

    Schulman et al. 2017, Proximal Policy Optimization Algorithms, eq. 7, 9 and 11. Advantages are not
    rescaled, and the value's loss is not clipped.

    Args:
      clip: how far from 1 the ratio of new to old probability counts.
      trace: λ of `fdl.tasks.trajectories.advantages`.
      value_weight: factor of the value's squared error, (V - G)².
      entropy_weight: factor of the policy's entropy, which is rewarded.

    Example:
      >>> from fdl import tasks
      >>> algorithm = tasks.ppo(clip=0.2)  # for tasks.self_play
      >>> algorithm._fields
      ('act', 'rows', 'loss')
    """

    def policy(logits: jax.Array, rows: Any) -> jax.Array:
        ratio = jnp.exp(_log_prob(logits, rows["action"]) - rows["log_prob"])
        return -clipped_surrogate(ratio, rows["advantage"], clip=clip)

    return _actor_critic(policy, trace=trace, value_weight=value_weight, entropy_weight=entropy_weight)


def clipped_surrogate(ratio: jax.Array, advantage: jax.Array, *, clip: Positive[Number]) -> jax.Array:
    """min(ρ A, clip(ρ, 1 - ε, 1 + ε) A), elementwise: Schulman et al. 2017, eq. 7."""
    return jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage)


def _actor_critic(policy: Any, *, trace: Number, value_weight: Number, entropy_weight: Number) -> Algorithm:
    def act(network: Network, positions: Any, key: jax.Array) -> tuple[jax.Array, Any]:
        logits, value = network(positions)
        actions = jax.random.categorical(key, logits)
        return actions, (_log_prob(logits, actions), value)

    def rows(played: Trajectory) -> Mapping[str, jax.Array]:
        log_prob, value = played.extra
        advantage = advantages(played.reward, value, played.discount, trace=trace)
        target = advantage + value
        return {"action": played.action, "log_prob": log_prob, "advantage": advantage, "target": target}

    def loss(logits: jax.Array, value: jax.Array, rows: Any) -> Mapping[str, jax.Array]:
        log_probs = jax.nn.log_softmax(logits)
        chance = jnp.exp(log_probs)  # 0 log 0 is 0: of moves that are ruled out
        entropy = -jnp.sum(jnp.where(chance > 0, chance * log_probs, chance), axis=-1)
        parts = {"policy_loss": policy(logits, rows), "value_loss": jnp.square(value - rows["target"])}
        total = parts["policy_loss"] + value_weight * parts["value_loss"] - entropy_weight * entropy
        return {"loss": total, "entropy": entropy, **parts}

    return Algorithm(act, rows, loss)


def _log_prob(logits: jax.Array, actions: jax.Array) -> jax.Array:
    return jnp.take_along_axis(jax.nn.log_softmax(logits), actions[:, None], axis=1)[:, 0]
