"""Low-rank adaptation: zero at the start, merged weights that give the same, and what is trained."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl import data, models, tasks
from fdl.models.axes import names_shown
from fdl.models.lora import LoRA
from fdl.models.text_encoder import first_token
from fdl.tasks.fine_tuning import warm_start

KEY = jax.random.key(0)
TOKENS = np.array([[1, 2, 3, 4], [3, 3, 1, 2]], np.int32)
SMALL: Any = {"width": 8, "layers": 2, "heads": 2}
KERNELS = lambda path: path[-1] == "kernel"  # noqa: E731
CASES: dict[str, tuple[Any, np.ndarray]] = {
    "gpt2": (LoRA(models.gpt2(13, length=4, **SMALL), rank=2, alpha=6.0), TOKENS),
    "scan": (LoRA(models.gpt2(13, length=4, scan=True, **SMALL), rank=2), TOKENS),
    "classifier": (
        LoRA(models.TextClassifier(models.bert(13, length=4, **SMALL), 3, first_token), 3, chosen=KERNELS),
        TOKENS,
    ),
    "mlp": (
        LoRA(models.MLP((5, 4), 3, norm=models.batch_norm), 2, 0.5, KERNELS),
        np.eye(4, 6, dtype=np.float32),
    ),
    "mixed": (
        LoRA(models.MixedPrecision(models.MLP((5,), 3), compute=jnp.float32), 2, chosen=KERNELS),
        np.eye(4, 6, dtype=np.float32),
    ),
}


@functools.cache
def started(name):
    """A model, its input, and its variables at the start."""
    model, x = CASES[name]
    return model, x, jax.jit(model.init)(KEY, x)


@pytest.fixture(params=CASES)
def case(request):
    return started(request.param)


def own(variables):
    """Variables of the model inside."""
    return {name: tree["model"] for name, tree in variables.items()}


def moved(variables):
    """The variables after a step that leaves none of the pairs as it was."""
    noise = lambda leaf: leaf + 0.3 * np.random.default_rng(leaf.size).normal(size=leaf.shape)  # noqa: E731
    low = jax.tree.map(lambda leaf: noise(leaf).astype(np.float32), variables["params"]["lora"])
    return variables | {"params": variables["params"] | {"lora": low}}


def close(value, expected):
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.medium
def test_it_starts_as_the_model_and_its_merged_weights_give_the_same(case):
    model, x, variables = case
    start = jax.jit(model.apply)(variables, x)
    np.testing.assert_array_equal(start, jax.jit(model.model.apply)(own(variables), x))
    later = moved(variables)
    value = jax.jit(model.apply)(later, x)
    assert np.abs(value - start).max() > 1e-2
    merged = own(variables | {"params": {"model": jax.jit(model.merged)(later["params"])}})
    close(value, jax.jit(model.model.apply)(merged, x))


def test_merged_weights_are_the_papers_sum(case):
    model, _, variables = case
    params = moved(variables)["params"]
    factor = {2: {6.0: 3.0, None: 1.0, 0.5: 0.25}, 3: {None: 1.0}}[model.rank][model.alpha]
    old, new = (
        dict(jax.tree_util.tree_leaves_with_path(x)) for x in (params["model"], jax.jit(model.merged)(params))
    )
    assert old.keys() == new.keys()
    changed = 0
    for path, leaf in old.items():
        pair = params["lora"]
        for entry in path:
            pair = pair.get(entry.key, {})
        if pair:
            changed += 1
            a, b = np.asarray(pair["a"], np.float64), np.asarray(pair["b"], np.float64)
            assert a.shape[-1] == b.shape[-2] == model.rank
            np.testing.assert_allclose(new[path], leaf + factor * (a @ b), rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(new[path], leaf)
    assert changed == len(jax.tree.leaves(params["lora"])) // 2 > 0


def test_by_default_the_queries_and_values_of_all_layers_are_adapted():
    flat = started("gpt2")[2]["params"]["lora"]["transformer"]
    assert {f"{i}/{k}" for i, layer in flat.items() for k in layer["attention"]} == {
        f"layer_{i}/{name}" for i in range(2) for name in ("query", "value")
    }
    assert not np.any(flat["layer_0"]["attention"]["query"]["kernel"]["b"])


@pytest.mark.parametrize(("name", "layer", "more"), [("gpt2", "layer_0", ()), ("scan", "layers", (None,))])
def test_pairs_are_sharded_as_the_kernel_is(name, layer, more):
    with names_shown():
        boxed = jax.eval_shape(CASES[name][0].init, KEY, TOKENS)["params"]["lora"]
    pair = boxed["transformer"][layer]["attention"]["query"]["kernel"]
    assert (pair["a"].names, pair["b"].names) == ((*more, "embed", None), (*more, None, "heads"))
    plain = jax.tree.map(jnp.shape, started(name)[2]["params"]["lora"])
    assert jax.tree.map(jnp.shape, nn.meta.unbox(boxed)) == plain


def test_statistics_of_the_model_are_kept():
    model, x, variables = started("mlp")
    trained = {"train": True, "mutable": ["batch_stats"]}
    _, kept = jax.jit(functools.partial(model.apply, **trained))(variables, x)
    _, wanted = jax.jit(functools.partial(model.model.apply, **trained))(own(variables), x)
    jax.tree.map(np.testing.assert_array_equal, own(kept), wanted)


def test_a_cache_gives_the_same():
    model, x, variables = started("gpt2")
    variables = moved(variables)
    read = jax.jit(functools.partial(model.cached(4).apply, mutable=["cache"]))
    first, cache = read(variables, x[:, :2])
    second, _ = read(variables | cache, x[:, 2:])
    close(np.concatenate([first, second], axis=1), jax.jit(model.apply)(variables, x))


@pytest.mark.medium
def test_frozen_and_warm_it_trains_the_pairs_alone_from_the_given_weights():
    inner = models.MLP((5,), 3)
    x = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    part = {"x": x, "y": np.arange(12, dtype=np.int32) % 3}
    given = jax.jit(inner.init)(jax.random.key(7), x)["params"]
    optimizer = tasks.frozen(optax.adam(0.05), lambda path: path[0] == "model")
    model = LoRA(inner, 2, chosen=KERNELS)
    experiment = tasks.classification(model, data.Splits(part, part, part), optimizer, steps=4, batch_size=4)
    experiment = warm_start(
        experiment, optimizer, {"params": {"model": given}}, fresh=lambda path: path[0] == "lora"
    )
    state = start = jax.jit(experiment.learner.init)(KEY)
    for number in range(4):
        batch = {name: array[4 * (number % 3) :][:4] for name, array in part.items()}
        state, _ = jax.jit(experiment.learner.step)(state, batch, jax.random.key(number))
    jax.tree.map(np.testing.assert_array_equal, state.params["model"], given)
    differs = jax.tree.map(lambda a, b: bool((a != b).any()), state.params["lora"], start.params["lora"])
    assert all(jax.tree.leaves(differs))
    kept = {leaf.size for leaf in jax.tree.leaves(state.optimizer) if leaf.ndim}
    assert kept == {leaf.size for leaf in jax.tree.leaves(state.params["lora"])}  # no state of the model's


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank is 0; expected at least 1"),
        (
            {"chosen": lambda path: False},
            "0 parameters are chosen, of such as .*; expected a rank from 1 and",
        ),
        ({"chosen": lambda path: path[-1] == "bias"}, r"bias is \[\d+\]; expected matrices \[\.\.\., I, O\]"),
    ],
    ids=["rank", "none", "bias"],
)
def test_what_cannot_be_adapted_is_told(options, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(LoRA(CASES["gpt2"][0].model, **options).init, KEY, jnp.asarray(TOKENS))
