"""Self-play: the games, the estimates, the losses, and that it learns."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

pytest.importorskip("pgx", reason="the games come from pgx: the extra 'games'")
pytest.importorskip("mctx", reason="the search comes from mctx: the extra 'games'")

from fdl.models.mlp import MLP
from fdl.models.policy_value import BoardTower, PolicyValue
from fdl.tasks.alpha_zero import alpha_zero, search_player
from fdl.tasks.games import (
    connect_four,
    perfect_tic_tac_toe,
    play,
    tic_tac_toe,
    tic_tac_toe_moves,
    uniform,
)
from fdl.tasks.policy_gradient import clipped_surrogate, ppo, reinforce
from fdl.tasks.self_play import network_of, self_play
from fdl.tasks.trajectories import advantages, rollout

pytestmark = pytest.mark.slow  # minutes of compiling

GAME = tic_tac_toe()
MODEL = PolicyValue(MLP((64,), 64), 9)
OPPONENTS = {"random": uniform, "perfect": perfect_tic_tac_toe()}
LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


@functools.cache
def value(board: tuple[int, ...]) -> int:
    """What the player to move (1) gets against the other (2) if both play their best."""
    if any(all(board[i] == 2 for i in line) for line in LINES):
        return -1
    return max((-value(moved(board, i)) for i in range(9) if board[i] == 0), default=0)


def moved(board: tuple[int, ...], field: int) -> tuple[int, ...]:
    """The board after a move, as the other player sees it."""
    return tuple((0, 2, 1)[1 if i == field else b] for i, b in enumerate(board))


def test_best_moves_are_those_of_recursive_minimax():
    assert value((0,) * 9) == 0
    boards = [board for board in seen((0,) * 9, set()) if not over(board)]
    assert len(boards) == 4520  # of 5,478 positions that a game can reach, 958 are its end
    for board in boards:
        best = {i for i in range(9) if board[i] == 0 and -value(moved(board, i)) == value(board)}
        number = sum(b * 3**i for i, b in enumerate(board))
        assert set(np.flatnonzero(tic_tac_toe_moves()[number])) == best


def over(board: tuple[int, ...]) -> bool:
    return 0 not in board or any(all(board[i] == 2 for i in line) for line in LINES)


def seen(board: tuple[int, ...], found: set) -> set:
    """All positions that can be reached, as the player to move sees them."""
    if board not in found:
        found.add(board)
        for field in () if over(board) else range(9):
            if board[field] == 0:
                seen(moved(board, field), found)
    return found


def scores(first, second, games=200):
    keys = jax.random.split(jax.random.key(0), games)
    return np.asarray(jax.jit(lambda keys: play(GAME, first, second, keys))(keys))


def test_perfect_players_draw_and_never_lose():
    perfect = OPPONENTS["perfect"]
    np.testing.assert_array_equal(scores(perfect, perfect), 0)
    against = scores(perfect, uniform)
    assert against.min() == 0
    np.testing.assert_allclose(against.mean(), 0.91, atol=0.06)
    mirrored = scores(uniform, perfect)
    assert mirrored.max() == 0


@pytest.mark.parametrize(("game", "moves", "actions"), [(GAME, 9, 9), (connect_four(), 42, 7)])
def test_rollouts_are_whole_games(game, moves, actions):
    def act(positions, key):
        return uniform(positions, jax.random.split(key, 32)), positions.current_player

    run = functools.partial(rollout, game, act, games=32, moves=moves)
    played = jax.jit(run)(jax.random.key(0))
    assert played.legal.shape == (moves, 32, actions)
    lengths = np.asarray(played.playing.sum(0))
    assert lengths.min() >= 5
    for b, length in enumerate(lengths):
        assert played.playing[:length, b].all()
        players = np.asarray(played.extra[:length, b])
        assert np.all(players[1:] != players[:-1])  # in turn
        np.testing.assert_array_equal(played.discount[: length - 1, b], -1)
        np.testing.assert_array_equal(played.discount[length - 1 :, b], 0)
        assert not np.any(played.reward[: length - 1, b])
        assert played.reward[length - 1, b] in (0, 1)  # who moves last has won, or nobody has
    assert np.ptp(lengths) > 0


def test_advantages_are_the_sum_of_discounted_errors():
    rng = np.random.default_rng(0)
    reward, values = rng.normal(size=(2, 6))
    discount = np.array([0.9, 0.9, 0.0, 0.9, 0.9, 0.9])  # an episode ends after the third
    expected = np.zeros(6)
    for t in range(6):
        factor = 1.0
        for k in range(t, 6):
            following = values[k + 1] if k < 5 else 0.0
            expected[t] += factor * (reward[k] + discount[k] * following - values[k])
            factor *= 0.8 * discount[k]
    arrays = (jnp.asarray(a, jnp.float32) for a in (reward, values, discount))
    np.testing.assert_allclose(advantages(*arrays, trace=0.8), expected, rtol=1e-5, atol=1e-6)


def test_in_a_game_of_two_the_outcome_changes_its_sign():
    # Four moves in turn; the last wins. For its mover and the same player two before: 1; the other: -1.
    reward, discount = jnp.array([0.0, 0, 0, 1]), jnp.array([-1.0, -1, -1, 0])
    np.testing.assert_array_equal(advantages(reward, jnp.zeros(4), discount, trace=1.0), [-1, 1, -1, 1])
    # With a baseline and whole traces, the advantage is the outcome minus the baseline.
    baseline = jnp.array([0.3, -0.2, 0.1, 0.5])
    found = advantages(reward, baseline, discount, trace=1.0)
    np.testing.assert_allclose(found, jnp.array([-1, 1, -1, 1]) - baseline, atol=1e-6)


def test_the_clipped_surrogate_and_its_gradient():
    ratio = np.array([0.5, 0.5, 0.9, 1.1, 1.5, 1.5])
    advantage = np.array([1.0, -1.0, 2.0, -2.0, 1.0, -1.0])
    expected = [0.5, -0.8, 1.8, -2.2, 1.2, -1.5]
    arrays = jnp.asarray(ratio), jnp.asarray(advantage)
    np.testing.assert_allclose(clipped_surrogate(*arrays, clip=0.2), expected, rtol=1e-6)
    slope = jax.grad(lambda r: clipped_surrogate(r, arrays[1], clip=0.2).sum())(arrays[0])
    np.testing.assert_allclose(slope, [1, 0, 2, -2, 0, -1], rtol=1e-6)


def numbers(seed=0, rows=5, actions=4):
    rng = np.random.default_rng(seed)
    logits, values = rng.normal(size=(rows, actions)), rng.normal(size=rows)
    data = {"advantage": rng.normal(size=rows), "target": rng.normal(size=rows)}
    data |= {"log_prob": rng.normal(size=rows) - 1, "action": rng.integers(actions, size=rows)}
    return logits, values, data


@pytest.mark.parametrize("clip", [None, 0.2])
def test_losses_against_numpy(clip):
    logits, values, rows = numbers()
    algorithm = reinforce(value_weight=0.7, entropy_weight=0.3)
    if clip is not None:
        algorithm = ppo(clip=clip, value_weight=0.7, entropy_weight=0.3)
    found = algorithm.loss(jnp.asarray(logits), jnp.asarray(values), jax.tree.map(jnp.asarray, rows))
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    chosen = log_probs[np.arange(5), rows["action"]]
    entropy = -(np.exp(log_probs) * log_probs).sum(-1)
    policy = -chosen * rows["advantage"]
    if clip is not None:
        ratio = np.exp(chosen - rows["log_prob"])
        terms = ratio * rows["advantage"], np.clip(ratio, 0.8, 1.2) * rows["advantage"]
        policy = -np.minimum(*terms)
    expected = policy + 0.7 * (values - rows["target"]) ** 2 - 0.3 * entropy
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-5)


def test_illegal_moves_have_no_chance():
    network = network_of(MODEL, jax.jit(MODEL.init)(jax.random.key(0), jnp.zeros((1, 3, 3, 2))))
    start = jax.vmap(GAME.init)(jax.random.split(jax.random.key(0), 2))
    after = jax.vmap(GAME.step)(start, jnp.array([4, 0]))
    probabilities = jax.nn.softmax(network(after)[0])
    assert probabilities[0, 4] == 0
    assert probabilities[1, 0] == 0


def test_search_takes_a_win_and_stops_one():
    variables = jax.jit(MODEL.init)(jax.random.key(0), jnp.zeros((1, 3, 3, 2)))
    network = network_of(MODEL, variables)
    for moves in ([0, 3, 1, 4], [0, 4, 8, 1]):  # 0 and 1 want 2; 4 and 1 threaten 7
        position = GAME.init(jax.random.key(0))
        for move in moves:
            position = GAME.step(position, jnp.int32(move))
        positions = jax.tree.map(lambda x: x[None], position)
        search = jax.jit(search_player(GAME, network, simulations=128))
        assert search(positions, jax.random.split(jax.random.key(1), 1))[0] == (2 if moves[1] == 3 else 7)


def experiment(algorithm: Any, rate=1e-3, **options: Any):
    return self_play(GAME, MODEL, algorithm, optax.adam(rate), OPPONENTS, moves=9, **options)


def learned(e, seed=0):
    """The metrics of a run, and of the net that it started with."""

    @jax.jit
    def run(key):
        def step(i, state):
            return e.learner.step(state, {}, jax.random.fold_in(key, i))[0]

        start = e.learner.init(key)
        return start, jax.lax.fori_loop(0, e.steps, step, start)

    batch = e.evaluation["test"].batch((), jnp.int32(0), jax.random.key(0))
    evaluate = jax.jit(e.learner.evaluate)
    states = run(jax.random.key(seed))
    return [
        {name: float(m.value) for name, m in evaluate(s, batch, jax.random.key(0)).items()} for s in states
    ]


def test_ppo_beats_random_play_and_draws_with_a_perfect_opponent():
    e = experiment(ppo(), steps=150, games=256, passes=4, minibatches=4)
    before, after = learned(e)
    assert after["random_won"] > 0.85  # the perfect player wins 0.91
    assert after["random_lost"] < 0.03
    assert after["perfect_won"] == 0
    assert after["perfect_lost"] < 0.2
    assert before["random_won"] < 0.7
    assert before["perfect_lost"] > 0.8


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "rate", "options"),
    [
        (reinforce(), 1e-3, {"steps": 1000, "games": 128}),
        (alpha_zero(GAME), 2e-3, {"steps": 200, "games": 128, "passes": 2, "minibatches": 4}),
    ],
    ids=["reinforce", "alpha_zero"],
)
def test_the_other_algorithms_learn_too(algorithm, rate, options):
    _, after = learned(experiment(algorithm, rate, **options))
    assert after["random_won"] > 0.85
    assert after["random_lost"] < 0.03
    assert after["perfect_won"] == 0
    assert after["perfect_lost"] < 0.2


def test_a_step_is_pure_and_vmaps_over_seeds_and_rates():
    def run(rate, key):
        e = experiment(ppo(entropy_weight=rate), rate, steps=1, games=4, minibatches=2)
        return e.learner.step(e.learner.init(key), {}, key)[0].params

    rates, keys, one = jnp.array([1e-3, 1e-2]), jax.random.split(jax.random.key(0), 2), jax.jit(run)
    together, alone = jax.jit(jax.vmap(run))(rates, keys), one(rates[1], keys[1])
    jax.tree.map(np.testing.assert_array_equal, alone, one(rates[1], keys[1]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-4, atol=1e-5), together, alone)


def test_a_step_of_alpha_zero_moves_every_parameter():
    model = PolicyValue(BoardTower(channels=4, blocks=1), 9, hidden=8)
    options: dict[str, Any] = {"steps": 1, "games": 4, "moves": 9, "evaluation_games": 4}
    search = alpha_zero(GAME, simulations=2, explore=0.0)
    e = self_play(GAME, model, search, optax.sgd(0.1), OPPONENTS, **options)
    state = jax.jit(e.learner.init)(jax.random.key(0))
    after, metrics = jax.jit(e.learner.step)(state, {}, jax.random.key(1))
    assert all(np.isfinite(value) for value in metrics.values())
    moved = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), state.params, after.params)
    assert all(jax.tree.leaves(moved))
    assert e.train.arrays == ()


def test_what_comes_after_the_last_random_move_is_learned():
    algorithm = alpha_zero(GAME, simulations=2)
    network = network_of(MODEL, jax.jit(MODEL.init)(jax.random.key(0), jnp.zeros((1, 3, 3, 2))))
    act = functools.partial(algorithm.act, network)
    played = jax.jit(functools.partial(rollout, GAME, act, games=16, moves=9))(jax.random.key(0))
    rows, random = algorithm.rows(played), np.asarray(played.extra[1])
    for b in range(16):
        last = max(np.flatnonzero(random[:, b]), default=-1)
        np.testing.assert_array_equal(rows["searched"][:, b], np.arange(9) > last)
    assert 0 < random.mean() < 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"games": 0}, "games is 0; expected at least 1"),
        ({"games": 3, "minibatches": 4}, "3 games of 9 moves do not divide into 4 minibatches"),
    ],
)
def test_bad_counts_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        experiment(ppo(), steps=1, **options)


def test_no_opponent_is_refused():
    with pytest.raises(ValueError, match="there are no opponents"):
        self_play(GAME, MODEL, ppo(), optax.sgd(0.1), {}, steps=1, moves=9)
