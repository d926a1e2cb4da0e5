"""Games played against oneself, move by move, and what each move turned out to be worth."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fdl.tasks.games import Game

Number = float | jax.Array
Act = Callable[[Any, jax.Array], tuple[jax.Array, Any]]
"""`act(positions, key) -> (actions, extra)`: int32 `[B]`, and a pytree `[B, ...]` to be kept."""


class Trajectory(NamedTuple):
    """B games of at most T moves, leaves `[T, B, ...]`.

    Attributes:
      observation: what the player to move saw.
      legal: bool `[T, B, A]`.
      action: int32 `[T, B]`.
      reward: what the move gave to the player who made it.
      discount: what the value of the next position counts for that player: negative where the
        opponent moves next, 0 after the last move.
      playing: bool, False after the game's end.
      extra: what `act` wanted to be kept.
    """

    observation: jax.Array
    legal: jax.Array
    action: jax.Array
    reward: jax.Array
    discount: jax.Array
    playing: jax.Array
    extra: Any


def after_move(game: Game, positions: Any, actions: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
    """Makes a move in each of B games.

    Returns:
      The next positions; `[B]` what the move gave to the player who made it; `[B]` the factor of the next
      position's value for that player: 1 if they move again, -1 if the opponent does, 0 at the end.
    """
    following = jax.vmap(game.step)(positions, actions)
    mover = positions.current_player
    reward = jnp.take_along_axis(following.rewards, mover[:, None], axis=1)[:, 0]
    sign = jnp.where(following.current_player == mover, 1.0, -1.0)
    return following, reward, jnp.where(following.terminated, 0.0, sign)


def rollout(
    game: Game, act: Act, key: jax.Array, *, games: int, moves: int, discount: Number = 1.0
) -> Trajectory:
    """Plays games from their first positions, one function moving for both sides.

    Args:
      game: the rules.
      act: chooses the moves.
      key: names the games.
      games: B.
      moves: T; what is not over by then counts as drawn.
      discount: how much less a reward is worth one move later.
    """
    start, play = jax.random.split(key)

    def move(positions: Any, key: jax.Array) -> tuple[Any, Trajectory]:
        actions, extra = act(positions, key)
        following, reward, sign = after_move(game, positions, actions)
        kept = Trajectory(
            observation=positions.observation,
            legal=positions.legal_action_mask,
            action=actions,
            reward=reward,
            discount=discount * sign,
            playing=~positions.terminated,
            extra=extra,
        )
        return following, kept

    positions = jax.vmap(game.init)(jax.random.split(start, games))
    return jax.lax.scan(move, positions, jax.random.split(play, moves))[1]


def advantages(reward: jax.Array, value: jax.Array, discount: jax.Array, *, trace: Number) -> jax.Array:
    """Generalised advantage estimates of moves.

    Schulman et al. 2016, High-Dimensional Continuous Control Using Generalized Advantage Estimation,
    eq. 16: A[t] = δ[t] + λ γ[t] A[t+1], δ[t] = r[t] + γ[t] V[t+1] - V[t]. In a game of two in turn,
    where reward and value are the mover's, γ[t] is negative: what is good for the next is bad for one.

    Args:
      reward: r `[T, ...]`.
      value: V `[T, ...]`; that after the last is 0.
      discount: γ `[T, ...]`, 0 where an episode ends.
      trace: λ; 1 is the whole return minus V, 0 one step's error.

    Returns:
      `[T, ...]`.
    """
    following = jnp.concatenate([value[1:], jnp.zeros_like(value[:1])])
    errors = reward + discount * following - value

    def back(advantage: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        error, factor = now
        advantage = error + trace * factor * advantage
        return advantage, advantage

    return jax.lax.scan(back, jnp.zeros_like(value[0]), (errors, discount), reverse=True)[1]
