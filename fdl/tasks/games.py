"""Games for two: what a game is, who plays it, and how a match ends. All are pure functions.

A game is any object of the form of `pgx.Env`, and so is a position of `pgx.State`. The functions here
take positions with a leading axis `[B]`, one for each of B games that are played at the same time.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from fdl.arguments import checked


class Position(Protocol):
    """A game's state, a pytree. After the end nothing changes it, and its rewards are zero.

    Attributes:
      current_player: int32, 0 or 1: who moves.
      observation: what that player sees, `[...]`.
      rewards: float `[2]`, what the last move gave to each player.
      terminated: whether the game is over.
      legal_action_mask: bool `[A]`.
    """

    current_player: Any
    observation: Any
    rewards: Any
    terminated: Any
    legal_action_mask: Any


@runtime_checkable
class Game(Protocol):
    """The rules: `init(key)` draws a first position and who moves first, `step` makes a move."""

    def init(self, key: jax.Array) -> Any:
        """A first `Position`."""
        ...

    def step(self, state: Any, action: jax.Array) -> Any:
        """The `Position` after an action, an int32."""
        ...


Player = Callable[[Any, jax.Array], jax.Array]
"""`player(positions, keys) -> actions`, of B games: int32 `[B]`."""


def tic_tac_toe() -> Game:
    """Tic-tac-toe, with 9 actions and at most 9 moves; observations are bool `[3, 3, 2]`.

    Raises:
      ValueError: the extra is missing.
    """
    try:
        from pgx.tic_tac_toe import TicTacToe
    except ImportError as error:
        raise ValueError("tic-tac-toe needs the extra 'games': pip install fdl[games]") from error
    return TicTacToe()


def connect_four() -> Game:
    """Connect four, with 7 actions and at most 42 moves; observations are bool `[6, 7, 2]`.

    Raises:
      ValueError: the extra is missing.
    """
    try:
        from pgx.connect_four import ConnectFour
    except ImportError as error:
        raise ValueError("connect four needs the extra 'games': pip install fdl[games]") from error
    return ConnectFour()


@checked
def play(game: Game, first: Player, second: Player, keys: jax.Array) -> jax.Array:
    """Plays a game for each key, to its end.

    Args:
      game: the rules; they say who of the two moves first.
      first: the player 0.
      second: the player 1.
      keys: `[B]`.

    Returns:
      What each game gave to `first`, float `[B]`: 1 where it won, -1 where it lost, 0 if drawn.
    """

    def move(carry: tuple[Any, jax.Array, jax.Array]) -> tuple[Any, jax.Array, jax.Array]:
        positions, total, number = carry
        now = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
        mine, theirs = first(positions, now), second(positions, now)
        positions = jax.vmap(game.step)(positions, jnp.where(positions.current_player == 0, mine, theirs))
        return positions, total + positions.rewards[:, 0], number + 1

    start = jax.vmap(game.init)(keys), jnp.zeros(len(keys)), jnp.int32(1)
    return jax.lax.while_loop(lambda carry: ~jnp.all(carry[0].terminated), move, start)[1]


@checked
def uniform(positions: Any, keys: jax.Array) -> jax.Array:
    """The player that makes any legal move, all equally likely."""
    return _draw(keys, jnp.where(positions.legal_action_mask, 0.0, -jnp.inf))


@checked
def greedy(logits: Callable[[Any], jax.Array]) -> Player:
    """The player that makes the likeliest move by `logits(positions)`, `[B, A]`, -inf where illegal."""
    return lambda positions, keys: jnp.argmax(logits(positions), axis=-1)


def perfect_tic_tac_toe() -> Player:
    """The player of tic-tac-toe that makes any of the best moves, all equally likely: it never loses.

    The best moves of every position come from an exhaustive search, `tic_tac_toe_moves`.
    """
    best = jnp.asarray(tic_tac_toe_moves())

    def player(positions: Any, keys: jax.Array) -> jax.Array:
        mine, theirs = (positions.observation[..., i].reshape(-1, 9) for i in range(2))
        number = jnp.sum((mine + 2 * theirs) * 3 ** jnp.arange(9), axis=-1)
        return _draw(keys, jnp.where(best[number], 0.0, -jnp.inf))

    return player


@functools.cache
def tic_tac_toe_moves() -> np.ndarray:
    """The best moves in every board of tic-tac-toe, by exhaustive search: bool `[3**9, 9]`.

    A board's number has a digit of base 3 for each field, the first field's the least: 0 empty, 1 the
    player's who is to move, 2 the other's. Boards that are full or won have all their moves True.
    """
    places = 3 ** np.arange(9)
    boards = np.arange(3**9)[:, None] // places % 3
    swapped = np.array([0, 2, 1])[boards] @ places
    rows = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6]]
    lost = (boards[:, rows] == 2).all(-1).any(-1)
    values, moves = np.zeros(3**9, np.int8), np.ones((3**9, 9), bool)
    values[lost] = -1
    # A move fills a field: the boards with more fields filled are solved first.
    for filled in range(8, -1, -1):
        open_ = np.flatnonzero(((boards > 0).sum(1) == filled) & ~lost)
        after = np.full((len(open_), 9), -2)
        for row, field in itertools.product(range(len(open_)), range(9)):
            if boards[open_[row], field] == 0:
                after[row, field] = -values[swapped[open_[row]] + 2 * places[field]]
        values[open_] = after.max(1)
        moves[open_] = after == after.max(1, keepdims=True)
    moves.flags.writeable = False
    return moves


def _draw(keys: jax.Array, logits: jax.Array) -> jax.Array:
    return jax.vmap(jax.random.categorical)(keys, logits)
