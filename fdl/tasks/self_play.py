"""Learning a game of two by playing against oneself: policy gradient, PPO, Gumbel AlphaZero."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Unpack

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from fdl import metrics, rng, tree
from fdl.arguments import Count, Share, checked
from fdl.experiment import Experiment, Learner, Metrics, Source
from fdl.tasks.accumulation import check_accumulate
from fdl.tasks.games import Game, Player, greedy, play
from fdl.tasks.gradient import State, gradient_learner
from fdl.tasks.training import Training, experiment_from, task
from fdl.tasks.trajectories import Trajectory, rollout

Number = float | jax.Array
Network = Callable[[Any], tuple[jax.Array, jax.Array]]
"""`network(positions)`: B positions to logits `[B, A]`, -1e9 where illegal, and values `[B]`."""
_ILLEGAL = -1e9  # finite, so that a probability of zero times its logarithm is zero


class Algorithm(NamedTuple):
    """How to play to learn, and what to learn from it.

    Attributes:
      act: `act(network, positions, key) -> (actions, extra)`, as `fdl.tasks.trajectories.Act`.
      rows: `rows(trajectory) -> {name: [T, B, ...]}`, what the loss needs of each move.
      loss: `loss(logits, value, rows) -> {name: [R]}` for R moves, of which `"loss"` is minimised.
    """

    act: Callable[[Network, Any, jax.Array], tuple[jax.Array, Any]]
    rows: Callable[[Trajectory], Mapping[str, jax.Array]]
    loss: Callable[[jax.Array, jax.Array, Any], Mapping[str, jax.Array]]


@checked
def network_of(model: nn.Module, variables: Any) -> Network:
    """The net as it plays: evaluation mode, and logits of legal moves only.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from fdl import models, tasks
      >>> game = tasks.games.tic_tac_toe()
      >>> model = models.PolicyValue(models.MLP((16,), 16), actions=9)
      >>> variables = model.init(jax.random.key(0), jnp.zeros((1, 3, 3, 2)))
      >>> network = tasks.network_of(model, variables)
      >>> positions = jax.vmap(game.init)(jax.random.split(jax.random.key(0), 5))
      >>> logits, values = jax.eval_shape(network, positions)
      >>> logits.shape, values.shape
      ((5, 9), (5,))
    """

    def network(positions: Any) -> tuple[jax.Array, jax.Array]:
        outputs, _ = model.apply(variables, _floats(positions.observation), train=False, mutable=[])
        logits, value = outputs
        return jnp.where(positions.legal_action_mask, logits, _ILLEGAL), value

    return network


@task
def self_play(
    game: Game,
    model: nn.Module,
    algorithm: Algorithm,
    optimizer: optax.GradientTransformation,
    opponents: Mapping[str, Player],
    *,
    moves: Count,
    games: Count = 64,
    passes: Count = 1,
    minibatches: Count = 1,
    accumulate: Count = 1,
    discount: Share[Number] = 1.0,
    evaluation_games: Count = 256,
    **training: Unpack[Training],
) -> Experiment:
    """An algorithm whose every step plays games against itself, and then learns from them.

    There is no training data: a step's games come from its key. An evaluation lets the net's likeliest
    moves play each opponent; for opponent "random", the metric `random_score` is the mean of 1 for
    a game won, 0 drawn, -1 lost, and `random_won` and `random_lost` are shares of games. Validation
    and test are games of different keys, the same at every evaluation.

    Args:
      game: the rules.
      model: a Flax module, `model(x, train=...)`: observations `[B, ...]` as floats to logits `[B, A]` and
        values `[B]` for the player to move.
      algorithm: how to play and what to learn, such as `ppo()`.
      optimizer: any Optax transformation.
      opponents: whom to play against, by name.
      moves: the longest game's; what is not over by then counts as drawn.
      games: played at once in a step.
      passes: how often a step goes through its moves.
      minibatches: parts of a pass, each an update of the parameters.
      accumulate: micro-batches in which a minibatch is passed, see `fdl.tasks.accumulation.passed`.
      discount: how much less a reward is worth one move later.
      evaluation_games: against each opponent.
      **training: `steps` (rounds of playing and learning) and others, see `fdl.tasks.training.Training`.

    Raises:
      ValueError: a count below 1, no opponent, or moves that do not divide into the minibatches.

    Example:
      >>> import optax
      >>> from fdl import models, tasks
      >>> model = models.PolicyValue(models.MLP((16,), 16), actions=9)
      >>> given = tasks.games.tic_tac_toe(), model, tasks.ppo(), optax.adam(1e-3)
      >>> experiment = tasks.self_play(*given, {"random": tasks.games.uniform}, moves=9, games=8, steps=100)
      >>> experiment.evaluate_every, list(experiment.evaluation)
      (10, ['validation', 'test'])
    """
    learner = self_play_learner(
        game,
        model,
        algorithm,
        optimizer,
        opponents,
        moves=moves,
        games=games,
        passes=passes,
        minibatches=minibatches,
        accumulate=accumulate,
        discount=discount,
    )
    evaluation = {
        name: _matches(evaluation_games, first=i * evaluation_games)
        for i, name in enumerate(("validation", "test"))
    }
    train = Source((), lambda arrays, step, key: {}, 1)
    return experiment_from(learner, train, evaluation, **training)


@checked
def self_play_learner(
    game: Game,
    model: nn.Module,
    algorithm: Algorithm,
    optimizer: optax.GradientTransformation,
    opponents: Mapping[str, Player],
    *,
    moves: Count,
    games: Count = 64,
    passes: Count = 1,
    minibatches: Count = 1,
    accumulate: Count = 1,
    discount: Share[Number] = 1.0,
) -> Learner:
    """The learner of `self_play`, whose batches are empty; an evaluation's have the seeds of its games,
    `"game"` `[B]`.

    Raises:
      ValueError: a count below 1, no opponent, or moves that do not divide into the minibatches.
    """
    if games * moves % minibatches:
        raise ValueError(
            f"{games} games of {moves} moves do not divide into {minibatches} minibatches; "
            "change the games or the minibatches"
        )
    check_accumulate(games * moves // minibatches, accumulate)
    if not opponents:
        raise ValueError("there are no opponents; expected at least one, as {'random': uniform}")
    inner = _inner(game, model, algorithm, optimizer, opponents, accumulate=accumulate)

    def step(state: State, batch: Any, key: jax.Array) -> tuple[State, Metrics]:
        del batch
        network = network_of(model, {"params": state.params, **state.model_state})
        act = lambda positions, key: algorithm.act(network, positions, key)  # noqa: E731
        played = rollout(game, act, rng.stream(key, "games"), games=games, moves=moves, discount=discount)
        order = _orders(rng.stream(key, "order"), games * moves, passes=passes, minibatches=minibatches)
        rows = _rows(algorithm, played)

        def update(state: State, now: tuple[jax.Array, jax.Array]) -> tuple[State, Metrics]:
            return inner.step(state, tree.take(rows, now[0]), now[1])

        keys = jax.random.split(rng.stream(key, "learn"), len(order))
        state, reported = jax.lax.scan(update, state, (order, keys))
        # Means over moves: a minibatch counts as much as it has moves that are being played.
        counts = jnp.sum(rows["playing"][order], axis=1)
        each = {name: getattr(values, "total", values) for name, values in reported.items()}
        means = {name: jnp.sum(values * counts) / jnp.sum(counts) for name, values in each.items()}
        return state, means | {"length": jnp.sum(played.playing) / games}

    return inner._replace(step=step)


def _inner(
    game: Game,
    model: nn.Module,
    algorithm: Algorithm,
    optimizer: optax.GradientTransformation,
    opponents: Mapping[str, Player],
    *,
    accumulate: int,
) -> Learner:
    """The learner whose batch is rows of moves that were played."""

    def init(key: jax.Array) -> Any:
        observation = jax.eval_shape(game.init, key).observation
        return model.init(key, jnp.zeros((1, *observation.shape)), train=False)

    def loss(variables: Any, batch: Any, key: jax.Array) -> tuple[metrics.Mean, Any]:
        mutable = [name for name in variables if name != "params"]
        rngs = {"dropout": rng.stream(key, "dropout")}
        x = _floats(batch["observation"])
        (logits, value), after = model.apply(variables, x, train=True, rngs=rngs, mutable=mutable)
        rows = algorithm.loss(jnp.where(batch["legal"], logits, _ILLEGAL), value, batch)
        # At least one move is always being played: the first of a game. A minibatch may have none.
        means = {name: metrics.mean(values, _floats(batch["playing"])) for name, values in rows.items()}
        return means["loss"], (means, after)

    def evaluate(variables: Any, batch: Any, key: jax.Array) -> dict[str, metrics.Mean]:
        agent = greedy(lambda positions: network_of(model, variables)(positions)[0])
        keys = jax.vmap(jax.random.key)(batch["game"])
        results = {}
        for name, opponent in opponents.items():
            score = play(game, agent, opponent, keys)
            values = {"score": score, "won": score > 0, "lost": score < 0}
            results |= {f"{name}_{k}": metrics.mean(_floats(v), batch["weight"]) for k, v in values.items()}
        return results

    return gradient_learner(init, loss, evaluate, optimizer, accumulate=accumulate)


def _rows(algorithm: Algorithm, played: Trajectory) -> dict[str, jax.Array]:
    """Every move of every game, `[T B, ...]`."""
    rows = {"observation": played.observation, "legal": played.legal, "playing": played.playing}
    rows |= algorithm.rows(played)
    return {name: values.reshape(-1, *values.shape[2:]) for name, values in rows.items()}


def _orders(key: jax.Array, rows: int, *, passes: int, minibatches: int) -> jax.Array:
    """The rows of every update, `[passes * minibatches, rows / minibatches]`."""
    if passes * minibatches == 1:
        return jnp.arange(rows)[None]
    each = jax.vmap(lambda key: jax.random.permutation(key, rows))(jax.random.split(key, passes))
    return each.reshape(passes * minibatches, -1)


def _matches(games: int, *, first: int) -> Source:
    """The numbers of the games of an evaluation, which are the seeds of their keys."""

    def batch(arrays: Any, step: jax.Array, key: jax.Array) -> dict[str, jax.Array]:
        del arrays, step, key
        return {"game": jnp.arange(first, first + games, dtype=jnp.int32), "weight": jnp.ones(games)}

    return Source((), batch, 1)


def _floats(x: jax.Array) -> jax.Array:
    return x.astype(jnp.float32)
