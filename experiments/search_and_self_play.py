"""What do search and self-play add to a net that plays a game?

Silver et al. 2017, Mastering the Game of Go without Human Knowledge, fig. 6: AlphaGo Zero has an Elo rating
of 5,185, its net without search 3,055. Here Gumbel AlphaZero (Danihelka et al. 2022) learns tic-tac-toe in
200 rounds of 64 games, with 8 simulations a move. All best moves are known by exhaustive search. What is
measured is how often a move is one of them, after 0 to 8 random moves of a game that is not over: by the net
alone, and with 4, 16 and 64 simulations. Beside the net that learned are the same net before, and one that
learned as long from such games, but from the moves and ends of others.

Against it: the game is so small that search alone comes far; strength on a large board it cannot show. And a
fifth of all moves in self-play are random, without which games become alike.

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

SIMULATIONS, STEPS = (0, 4, 16, 64), 200


@fdl.config
class Config:
    learned: str = "right"
    """what of the games: nothing, right, or wrong, where targets are those of other positions"""


def ways() -> np.ndarray:
    """2,000 times 0 to 8 random moves, `[2000, 8]`, filled up with -1."""
    rng = np.random.default_rng(0)
    fields = rng.permuted(np.tile(np.arange(9, dtype=np.int32), (2000, 1)), axis=1)[:, :8]
    return np.where(np.arange(8) < rng.integers(0, 9, (2000, 1)), fields, -1)


def position(game: games.Game, way: jax.Array) -> Any:
    """The position after these moves, or at the game's end."""

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
    game = games.tic_tac_toe()
    model = models.PolicyValue(models.MLP((64,), 64), 9)
    algorithm = tasks.alpha_zero(game, simulations=8)
    algorithm = misled(algorithm) if config.learned == "wrong" else algorithm
    played = {"opponents": {"random": games.uniform}, "moves": 9, "games": 64, "passes": 2, "minibatches": 4}
    learner = tasks.self_play_learner(game, model, algorithm, optax.adam(3e-3), **played)
    if config.learned == "nothing":
        learner = learner._replace(step=lambda state, batch, key: (state, {}))

    def evaluate(state: Any, batch: Any, key: jax.Array) -> dict[str, Any]:
        network = tasks.network_of(model, variables(state))
        positions = jax.vmap(functools.partial(position, game))(batch["way"])
        keys, weight = jax.random.split(key, len(batch["way"])), batch["weight"] * ~positions.terminated
        players = {n: tasks.search_player(game, network, simulations=n) for n in SIMULATIONS[1:]}
        players[0] = games.greedy(lambda at: network(at)[0])
        right = {n: best(positions, player(positions, keys)) for n, player in players.items()}
        return {f"best_{n}": metrics.mean(one.astype(jnp.float32), weight) for n, one in right.items()}

    nothing = fdl.Source((), lambda arrays, step, key: {}, 1)
    judged = data.sequential({"way": ways()}, batch_size=2000)
    learner = learner._replace(evaluate=evaluate, required=())
    return fdl.Experiment(learner, nothing, {"test": judged}, STEPS, STEPS)


SWEEP = fdl.grid(Config(), learned=("nothing", "right", "wrong"), seeds=8)


def better(result: fdl.Result, arm: str, simulations: int, at_least: float) -> fdl.Verdict:
    """Whether a net that learned makes more best moves than one that learned nothing."""
    options = {"metric": f"test/best_{simulations}", "arms": "learned", "at_least": at_least}
    return fdl.compare(result.where(learned=["nothing", arm]), baseline="nothing", **options).verdict


def searched(result: fdl.Result, more: int, fewer: int) -> fdl.Verdict:
    """Whether simulations add a point of best moves, of the same nets."""
    names = {str(count): f"test/best_{count}" for count in (fewer, more)}
    two = stats.metrics_as_arms(result.where(learned="right"), names, name="simulations")
    options = {"arms": "simulations", "baseline": str(fewer), "at_least": 0.01}
    return fdl.compare(two, metric="simulations/value", **options).verdict


def learning(key: str, statement: str, **asked: Any) -> fdl.Claim:
    """A claim on the net that learned, whose control is the one that learned from other positions."""
    of = functools.partial
    return fdl.Claim(key, statement, of(better, arm="right", **asked), of(better, arm="wrong", **asked))


CLAIMS = (
    learning("L5.1", "Self-play teaches the net 20 points more best moves.", simulations=0, at_least=0.2),
    learning("L5.2", "As much search on top, it makes 5 points more.", simulations=16, at_least=0.05),
    fdl.Claim(
        "L5.3",
        "Search adds to the net that learned: with 16 simulations 1 point of best moves.",
        functools.partial(searched, more=16, fewer=0),
        published="Elo 5,185 with search, 3,055 without (Silver et al. 2017, fig. 6)",
    ),
    fdl.Claim(
        "L5.4",
        "It grows with simulations: 1 point from 4 to 64.",
        functools.partial(searched, more=64, fewer=4),
    ),
)


def figure(result: fdl.Result) -> Figure:
    """The share of best moves by simulations; a line for each seed."""
    drawing = Figure(figsize=(5.2, 2.8), layout="constrained")
    axis, last = drawing.subplots(), result.last()
    for learned, colour in (("right", "#2f7fc1"), ("wrong", "#808080"), ("nothing", "#c1582f")):
        shares = last.loc[last["learned"] == learned, [f"test/best_{n}" for n in SIMULATIONS]].to_numpy()
        lines = axis.plot(list(map(str, SIMULATIONS)), shares.T, color=colour, alpha=0.4)
        lines[0].set_label(f"learned: {learned}")
    axis.set(xlabel="simulations before a move", ylabel="best moves", ylim=(None, 1.01))
    axis.legend(frameon=False)
    return drawing
