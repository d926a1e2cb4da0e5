"""What do search and self-play add to a net that plays a game?

Silver et al. 2017, Mastering the Game of Go without Human Knowledge, fig. 6: AlphaGo Zero has an Elo rating of
5,185, its net without search 3,055. Here Gumbel AlphaZero (Danihelka et al. 2022) learns tic-tac-toe, whose
best moves in all 4,520 positions are known by exhaustive search. What is measured is the share of 1,000 of these
in which a move is one of the best, by the net alone and with 4, 16 and 64 simulations before each
move, and games of 16 simulations against a player that makes best moves. Beside the net that learned
stand the same net before it learned, and one that learned as long from the same games, but from the moves and
ends of other positions.

Against it: tic-tac-toe is so small that a search alone comes far; how strength grows with simulations, in
Elo and on a large board, it cannot show. Self-play alone is not enough: without its random moves, a fifth of all,
games become alike, and what was never played is not learned.

    fdl sweep experiments/search_and_self_play.py
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import fdl
from fdl import data, metrics, models, stats, tasks
from fdl.tasks import games
from fdl.tasks.gradient import variables

LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))
SIMULATIONS = (0, 4, 16, 64)


@fdl.config
class Config:
    learned: str = "right"
    """what of the games: nothing, right, or wrong, where targets are those of other positions"""
    lr: float = fdl.traced(3e-3, low=0.0)
    """Adam's learning rate"""
    steps: int = fdl.static(200, low=1)
    """rounds of 64 games, and of 8 updates from them"""


@functools.cache
def ways() -> np.ndarray:
    """The moves to 1,000 of the positions in which a move is left, `[1000, 8]`, filled up with -1."""
    found, level = {}, {(0,) * 9: ()}
    while level:
        found |= level
        following = {}
        for board, way in level.items():
            for field in (i for i in range(9) if board[i] == 0):
                after = tuple((0, 2, 1)[1 if i == field else one] for i, one in enumerate(board))
                if 0 in after and not any(all(after[i] == 2 for i in line) for line in LINES):
                    following.setdefault(after, (*way, field))
        level = following
    chosen = np.random.default_rng(0).permutation(len(found))[:1000]
    return np.array([(*way, *[-1] * (8 - len(way))) for way in found.values()], np.int32)[chosen]


def position(game: games.Game, way: jax.Array) -> Any:
    """The position after these moves."""

    def move(at: Any, action: jax.Array) -> tuple[Any, None]:
        after = game.step(at, jnp.maximum(action, 0))
        return jax.tree.map(lambda new, old: jnp.where(action >= 0, new, old), after, at), None

    return jax.lax.scan(move, game.init(jax.random.key(0)), way)[0]


def best(positions: Any, actions: jax.Array) -> jax.Array:
    """Whether each of the moves is one of the best."""
    mine, theirs = (positions.observation[..., i].reshape(-1, 9) for i in range(2))
    number = jnp.sum((mine + 2 * theirs) * 3 ** jnp.arange(9), axis=-1)
    return jnp.asarray(games.tic_tac_toe_moves())[number, actions]


def misled(algorithm: Any) -> Any:
    """The algorithm that learns from the moves, as far as they are legal, and the ends of other games."""

    def rows(played: Any) -> Any:
        found = jax.tree.map(lambda one: jnp.roll(one, 1, axis=1), algorithm.rows(played))
        policy = found["policy"] * played.legal
        return {**found, "policy": policy / jnp.maximum(jnp.sum(policy, -1, keepdims=True), 1e-6)}

    return algorithm._replace(rows=rows)


def experiment(config: Config) -> fdl.Experiment:
    game, perfect = games.tic_tac_toe(), games.perfect_tic_tac_toe()
    model = models.PolicyValue(models.MLP((64,), 64), 9)
    algorithm = tasks.alpha_zero(game, simulations=8)
    algorithm = misled(algorithm) if config.learned == "wrong" else algorithm
    played = {"moves": 9, "games": 64, "passes": 2, "minibatches": 4}
    opponents = {"perfect": perfect}
    learner = tasks.self_play_learner(game, model, algorithm, optax.adam(config.lr), opponents, **played)
    if config.learned == "nothing":
        learner = learner._replace(step=lambda state, batch, key: (state, {}))

    def evaluate(state: Any, batch: Any, key: jax.Array) -> dict[str, Any]:
        network = tasks.network_of(model, variables(state))
        positions = jax.vmap(functools.partial(position, game))(batch["way"])
        keys, found = jax.random.split(key, len(batch["way"])), {}
        for count in SIMULATIONS:
            player = games.greedy(lambda at: network(at)[0])
            if count:
                player = tasks.search_player(game, network, simulations=count)
            right = best(positions, player(positions, keys)).astype(jnp.float32)
            found[f"best_{count}"] = metrics.mean(right, batch["weight"])
            if count in (0, 16):
                lost = games.play(game, player, perfect, keys[:128]) < 0
                found[f"lost_{count}"] = metrics.mean(lost.astype(jnp.float32))
        return found

    nothing = fdl.Source((), lambda arrays, step, key: {}, 1)
    judged = {"test": data.sequential({"way": ways()}, batch_size=1000)}
    learner = learner._replace(evaluate=evaluate, required=())
    return fdl.Experiment(learner, nothing, judged, config.steps, config.steps)


SWEEP = fdl.grid(Config(), learned=("nothing", "right", "wrong"), seeds=8)


def learning(result: fdl.Result, arm: str, simulations: int, at_least: float) -> fdl.Verdict:
    """What learning adds to the share of best moves."""
    own = result.where(learned=["nothing", arm])
    options = {"metric": f"test/best_{simulations}", "arms": "learned", "baseline": "nothing"}
    return fdl.compare(own, at_least=at_least, **options).verdict


def simulated(result: fdl.Result, more: int, fewer: int, learned: str, at_least: float) -> fdl.Verdict:
    """What more simulations add to it, of the same nets."""
    own = result.where(learned=learned)
    two = stats.metrics_as_arms(own, {str(n): f"test/best_{n}" for n in (fewer, more)}, name="simulations")
    options = {"arms": "simulations", "baseline": str(fewer), "at_least": at_least}
    return fdl.compare(two, metric="simulations/value", **options).verdict


def losing(result: fdl.Result, arm: str) -> fdl.Verdict:
    """Whether games of 16 simulations against the perfect player are lost less often."""
    own = result.where(learned=["nothing", arm])
    options = {"arms": "learned", "baseline": "nothing", "better": "lower", "at_least": 0.1}
    return fdl.compare(own, metric="test/lost_16", **options).verdict
