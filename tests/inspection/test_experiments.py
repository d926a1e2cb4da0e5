"""What the repository's own experiments show is what they say."""

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.aot.flops import cost_of
from fdl.experiment_file import load_file

ROOT = Path(__file__).parents[2]


def test_augmentation_shows_what_its_first_hidden_units_weigh_the_pixels_by():
    file = load_file(ROOT / "experiments/augmentation.py")
    experiment = file.experiment(file.config())
    assert experiment.inspect
    state = experiment.learner.init(jax.random.key(0))
    shown = experiment.inspect(state, jax.random.key(1))["weights"].pixels
    (kernel,) = [leaf for leaf in jax.tree.leaves(state.params) if leaf.shape == (64, 128)]
    units = np.asarray(kernel).T[:32].reshape(32, 8, 8, 1)
    np.testing.assert_allclose(shown, 0.5 + 0.5 * units / np.abs(units).max(), atol=1e-6)


@pytest.mark.parametrize("lenet", [False, True])
def test_compression_counts_the_flops_of_its_nets_as_their_programs_have_them(lenet):
    module = load_file(ROOT / "experiments/compressed.py").experiment.__globals__
    net = module["models"].lenet5(10) if lenet else module["models"].MLP((300, 100), 10)
    model, x = module["as_it_is"](net), jnp.zeros((3, 32, 32, 1) if lenet else (3, 64))
    params = nn.meta.unbox(jax.jit(model.init)(jax.random.key(0), x))["params"]
    counted = module["flops"](params, model, x)
    assert float(counted) == cost_of(lambda x: model.apply({"params": params}, x), x[:1]).matrix
    thin = module["models"].low_rank(params, rank=8)
    kernels = [leaf for leaf in jax.tree.leaves(thin) if leaf.ndim == 2]
    if not lenet:
        assert float(module["flops"](thin, model, x)) == 2 * sum(leaf.size for leaf in kernels)


def test_translation_judges_by_sentences_that_it_does_not_train_on():
    module = load_file(ROOT / "experiments/translation.py").experiment.__globals__
    judged, validation, train, *words = module["sentences"]()
    seen = {tuple(row) for row in train["x"]}
    assert len(seen) == len(train["x"]) > 10_000
    for part in (validation, *judged.values()):
        assert not seen & {tuple(row) for row in part["x"]}
    lengths = {groups: (part["x"] > 1).sum(1) for groups, part in judged.items()}
    assert lengths[1].max() == 5 and lengths[3].min() > 5 and lengths[3].max() == 17
    assert all(len(names) == len(set(names)) for names in words)


def test_self_play_is_judged_by_the_best_moves_of_a_perfect_player():
    pytest.importorskip("pgx", reason="the games come from pgx: the extra 'games'")
    module = load_file(ROOT / "experiments/search_and_self_play.py").experiment.__globals__
    games, ways = module["games"], module["ways"]()[:500]
    game, keys = games.tic_tac_toe(), jax.random.split(jax.random.key(0), 500)

    @jax.jit
    def share(ways):
        positions = jax.vmap(lambda way: module["position"](game, way))(ways)
        players = (games.perfect_tic_tac_toe(), games.uniform)
        open_ = ~positions.terminated
        right = [module["best"](positions, player(positions, keys)) & open_ for player in players]
        return jnp.stack(right).sum(1) / open_.sum(), open_

    (perfect, uniform), open_ = share(ways)
    assert perfect == 1 and 0.4 < uniform < 0.75
    moves = (ways >= 0).sum(1)
    assert open_[moves < 5].all() and not open_[moves >= 5].all() and set(moves) == set(range(9))
