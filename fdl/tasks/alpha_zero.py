"""Self-play by search: Gumbel AlphaZero."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from fdl import losses
from fdl.arguments import Count, NotNegative, checked
from fdl.tasks.games import Game, Player, uniform
from fdl.tasks.self_play import Algorithm, Network
from fdl.tasks.trajectories import Trajectory, advantages, after_move

Number = float | jax.Array


@checked
def alpha_zero(
    game: Game,
    *,
    simulations: Count = 16,
    explore: NotNegative[Number] = 0.2,
    value_weight: NotNegative[Number] = 1.0,
) -> Algorithm:
    """Gumbel AlphaZero: the net learns the policy that a search improves, and how its games end.

    Danihelka et al. 2022, Policy Improvement by Planning with Gumbel, sec. 3 to 4; the search is
    `mctx.gumbel_muzero_policy` with the game's own rules for its model. One thing is added: now and then
    a random move is made, so that small games do not all become the same. The value learns only from
    positions after a game's last random move, from which both sides played by their search. And the
    search takes values as they are, from -1 to 1, instead of stretching them to their own range.

    Args:
      game: the rules, which the search looks ahead by.
      simulations: positions that each move's search looks at.
      explore: the chance that a move is any legal one instead of the search's.
      value_weight: factor of the value's squared error.

    Raises:
      ValueError: the extra is missing.

    Example:
      >>> from fdl import tasks
      >>> game = tasks.games.tic_tac_toe()
      >>> algorithm = tasks.alpha_zero(game, simulations=8)  # for tasks.self_play
      >>> algorithm._fields
      ('act', 'rows', 'loss')
    """
    search = _search(game, simulations=simulations, gumbel_scale=1.0)

    def act(network: Network, positions: Any, key: jax.Array) -> tuple[jax.Array, Any]:
        look, choose, draw = jax.random.split(key, 3)
        actions, weights = search(network, positions, look)
        random = jax.random.bernoulli(choose, explore, actions.shape)
        other = uniform(positions, jax.random.split(draw, len(actions)))
        return jnp.where(random, other, actions), (weights, random & ~positions.terminated)

    def rows(played: Trajectory) -> Mapping[str, jax.Array]:
        policy, random = played.extra
        outcome = advantages(played.reward, jnp.zeros_like(played.reward), played.discount, trace=1.0)
        searched = jnp.cumsum(random[::-1], axis=0)[::-1] == 0
        return {"policy": policy, "target": outcome, "searched": searched}

    def loss(logits: jax.Array, value: jax.Array, rows: Any) -> Mapping[str, jax.Array]:
        policy_loss = losses.cross_entropy(logits, rows["policy"])
        value_loss = rows["searched"] * jnp.square(value - rows["target"])
        total = policy_loss + value_weight * value_loss
        return {"loss": total, "policy_loss": policy_loss, "value_loss": value_loss}

    return Algorithm(act, rows, loss)


@checked
def search_player(game: Game, network: Network, *, simulations: Count = 16) -> Player:
    """The player that searches before each move, without noise; `network` as by `network_of`.

    Raises:
      ValueError: the extra is missing.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models, tasks
      >>> game = tasks.games.tic_tac_toe()
      >>> model = models.PolicyValue(models.MLP((16,), 16), actions=9)
      >>> variables = model.init(jax.random.key(0), jnp.zeros((1, 3, 3, 2)))
      >>> player = tasks.search_player(game, tasks.network_of(model, variables), simulations=4)
      >>> keys = jax.random.split(jax.random.key(0), 5)
      >>> jax.eval_shape(player, jax.vmap(game.init)(keys), keys).shape
      (5,)
    """
    search = _search(game, simulations=simulations, gumbel_scale=0.0)
    return lambda positions, keys: search(network, positions, keys[0])[0]


def _search(game: Game, *, simulations: int, gumbel_scale: float) -> Any:
    """`search(network, positions, key) -> (actions [B], weights [B, A])`, the improved policy's."""
    try:
        import mctx
    except ImportError as error:
        raise ValueError("Gumbel AlphaZero needs the extra 'games': pip install fdl[games]") from error

    def search(network: Network, positions: Any, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        def look(params: Any, key: jax.Array, actions: jax.Array, positions: Any) -> Any:
            del params, key
            following, reward, sign = after_move(game, positions, actions)
            logits, value = network(following)
            # The value after the end is multiplied by a sign of zero.
            output = mctx.RecurrentFnOutput(reward=reward, discount=sign, prior_logits=logits, value=value)  # pyright: ignore[reportCallIssue]
            return output, following

        logits, value = network(positions)
        root = mctx.RootFnOutput(prior_logits=logits, value=value, embedding=positions)  # pyright: ignore[reportCallIssue]
        found = mctx.gumbel_muzero_policy(
            params=(),
            rng_key=key,
            root=root,
            recurrent_fn=look,
            num_simulations=simulations,
            invalid_actions=~positions.legal_action_mask,
            # Values lie between -1 and 1 already. Stretched to their own range, as by default, a young
            # net's noise would decide the search, and a winning reply stay unseen.
            qtransform=functools.partial(mctx.qtransform_completed_by_mix_value, rescale_values=False),
            gumbel_scale=gumbel_scale,
        )
        return found.action, found.action_weights

    return search
