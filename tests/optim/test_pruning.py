"""Pruning: exact shares, against PyTorch and by hand; what is pruned stays zero, in one run or in two."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl import data, models, tasks
from fdl.optim.pruning import by_chance, pruning, unit_magnitude
from fdl.train import Progress, Saving, fit

RNG = np.random.default_rng(0)
PARAMS = {
    "Dense_0": {"kernel": RNG.normal(size=(7, 9)).astype(np.float32), "bias": np.ones(9, np.float32)},
    "Conv_0": {"kernel": RNG.normal(size=(3, 3, 2, 10)).astype(np.float32)},
}
ZEROS = jax.tree.map(np.zeros_like, PARAMS)
KEY = jax.random.key(3)


def stepped(optimizer, params, state, updates=ZEROS, key=KEY):
    changed, state = optimizer.update(updates, state, params, key=key)
    return optax.apply_updates(params, changed), state


def once(optimizer, params=PARAMS, key: Any = KEY):
    return stepped(optimizer, params, optimizer.init(params), key=key)[0]


class Stop(Exception):
    """Ends a run at a moment of the test's choice, as a crash would."""


def zeros(params):
    return {name: int(np.sum(np.asarray(layer["kernel"]) == 0)) for name, layer in params.items()}


@pytest.mark.parametrize("score", [None, by_chance])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 1.0])
def test_exactly_the_share_is_pruned(share, score):
    got = once(pruning(share, **({"score": score} if score else {})))
    assert zeros(got) == {"Dense_0": round(63 * share + 1e-6), "Conv_0": round(180 * share)}
    np.testing.assert_array_equal(got["Dense_0"]["bias"], PARAMS["Dense_0"]["bias"])
    for layer in PARAMS:
        kernel, before = np.asarray(got[layer]["kernel"]), PARAMS[layer]["kernel"]
        np.testing.assert_array_equal(kernel[kernel != 0], before[kernel != 0])


def test_by_magnitude_and_by_unit_it_is_pytorchs():
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    prune = pytest.importorskip("torch.nn.utils.prune")
    small, units = once(pruning(0.6)), once(pruning(0.6, score=unit_magnitude))
    for layer in PARAMS:
        for got, how in ((small, "l1_unstructured"), (units, "ln_structured")):
            module = torch.nn.Module()
            module.w = torch.nn.Parameter(torch.tensor(PARAMS[layer]["kernel"]))
            structured = {"n": 1, "dim": -1} if how == "ln_structured" else {}
            getattr(prune, how)(module, "w", amount=0.6, **structured)
            np.testing.assert_array_equal(got[layer]["kernel"], module.w.detach().numpy())


def test_whole_units_go_by_the_sum_of_their_weights():
    got = once(pruning(0.5, score=unit_magnitude))
    for layer, pruned in (("Dense_0", 5), ("Conv_0", 5)):  # 4.5 and 5 units
        flat = PARAMS[layer]["kernel"].reshape(-1, PARAMS[layer]["kernel"].shape[-1])
        gone = np.sort(np.argsort(np.abs(flat).sum(0))[:pruned])
        kernel = np.asarray(got[layer]["kernel"]).reshape(flat.shape)
        np.testing.assert_array_equal(np.flatnonzero((kernel == 0).all(0)), gone)
        assert (kernel == 0).sum() == pruned * len(flat)


def test_chance_draws_by_the_steps_key_for_each_kernel():
    masks = [
        np.asarray(once(pruning(0.5, score=by_chance), key=key)["Dense_0"]["kernel"]) == 0
        for key in jax.random.split(KEY)
    ]
    assert (masks[0] != masks[1]).any()
    twins = {name: {"kernel": PARAMS["Dense_0"]["kernel"]} for name in "ab"}
    optimizer = pruning(0.5, score=by_chance)
    changed, _ = optimizer.update(twins, optimizer.init(twins), twins, key=KEY)
    assert (np.asarray(changed["a"]["kernel"]) != np.asarray(changed["b"]["kernel"])).any()


@pytest.mark.parametrize("score", [None, by_chance, unit_magnitude])
def test_what_is_pruned_stays_so_and_gets_no_update(score):
    schedule = optax.polynomial_schedule(0.0, 0.8, 3, 8)
    optimizer = optax.chain(
        optax.adam(0.1), pruning(schedule, every=2, **({"score": score} if score else {}))
    )
    step, state, params = jax.jit(lambda *of: stepped(optimizer, *of)), optimizer.init(PARAMS), PARAMS
    before = {name: np.zeros(layer["kernel"].shape, bool) for name, layer in PARAMS.items()}
    for count in range(12):
        updates = jax.tree.map(lambda leaf: RNG.normal(size=leaf.shape).astype(np.float32), PARAMS)
        params, state = step(params, state, updates, jax.random.fold_in(KEY, count))
        last = count - count % 2  # Zhu and Gupta, eq. 1
        share = 0.8 - 0.8 * (1 - min(last, 8) / 8) ** 3
        for name, layer in params.items():
            gone = np.asarray(layer["kernel"]) == 0
            assert gone[before[name]].all()
            units = gone.reshape(-1, gone.shape[-1]).all(0) if score is unit_magnitude else gone
            assert units.sum() == np.floor(share * units.size + 0.5)
            before[name] = gone
    assert before["Conv_0"].mean() == pytest.approx(0.8)


def test_traced_shares_side_by_side_are_each_alone():
    shares = jnp.array([0.3, 0.9])
    together = jax.jit(jax.vmap(lambda share: once(pruning(share))))(shares)
    for index, share in enumerate((0.3, 0.9)):
        own = jax.tree.map(lambda leaf, i=index: leaf[i], together)
        jax.tree.map(np.testing.assert_array_equal, own, once(pruning(share)))


def test_only_what_is_chosen():
    got = once(pruning(0.5, chosen=lambda path: path == ("Conv_0", "kernel")))
    assert zeros(got) == {"Dense_0": 0, "Conv_0": 90}


@pytest.mark.medium
def test_a_run_that_was_stopped_goes_on_with_its_masks(tmp_path):
    schedule = optax.polynomial_schedule(0.0, 0.9, 3, 20, 5)
    optimizer = optax.chain(optax.adam(1e-2), pruning(schedule, score=by_chance, every=3))
    built = tasks.classification(models.MLP((8,), 10), data.digits(), optimizer, steps=30, evaluate_every=10)
    whole = fit(built, KEY)

    def crash(done, *_):
        if done >= 15:
            raise Stop

    with pytest.raises(Stop):
        fit(built, KEY, directory=tmp_path, saving=Saving(steps=5), progress=Progress(step=crash))
    resumed = fit(built, KEY, directory=tmp_path, saving=Saving(steps=5))
    jax.tree.map(np.testing.assert_array_equal, resumed.state, whole.state)
    for leaf in jax.tree.leaves(whole.state.params):
        if leaf.ndim == 2:
            assert np.sum(np.asarray(leaf) == 0) == np.floor(0.9 * leaf.size + 0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pruning(1.2), "sparsity is 1.2; expected from 0 to 1"),
        (lambda: pruning(0.5, every=0), "every is 0; expected at least 1"),
        (lambda: pruning(0.5).update(ZEROS, pruning(0.5).init(PARAMS)), "pruning got no parameters"),
        (lambda: once(pruning(0.5, score=by_chance), key=None), "pruning by chance got no key"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()
