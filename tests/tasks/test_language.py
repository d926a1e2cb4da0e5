"""Language modelling: exact metrics, what counts, what is hidden, and texts whose best loss is known."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl.data import Splits, sampled
from fdl.data.synthetic.algorithmic import associative_recall
from fdl.data.synthetic.entropy import entropy_rate
from fdl.data.synthetic.markov import markov_text, stochastic_matrix
from fdl.models.experts import Experts
from fdl.models.language_model import gpt2, llama
from fdl.models.text_encoder import MaskedLanguageModel, bert
from fdl.models.transformer import FeedForward
from fdl.tasks.gradient import State
from fdl.tasks.language import language_learner, language_modelling
from fdl.tasks.masked_language import hide, masked_language_learner, masked_language_modelling
from tests.models.parameters import drawn
from tests.tasks.test_supervised import batch_of, close, evaluated, trained

pytestmark = pytest.mark.slow  # minutes of compiling

V, T = 7, 6
SMALL: Any = {"width": 8, "layers": 1, "heads": 2}
MODEL: Any = gpt2(V, length=T, **SMALL)
MASKED: Any = MaskedLanguageModel(bert(V + 1, length=T, padding=None, **SMALL))
HIDING: Any = {"mask_token": V, "vocabulary": V}


def texts(rows=(32, 9, 700), mask=True):
    rng = np.random.default_rng(0)

    def part(n):
        whole = rng.integers(0, V, (n, T + 1)).astype(np.int32)
        out = {"x": whole[:, :-1], "y": whole[:, 1:]}
        return out | ({"mask": rng.integers(0, 2, (n, T)).astype(np.float32)} if mask else {})

    train, validation, test = map(part, rows)
    return Splits(train, validation, test)


def modelling(model=MODEL, splits=None, optimizer=None, **options: Any):
    splits = texts() if splits is None else splits
    return language_modelling(model, splits, optimizer or optax.sgd(0.1), steps=3, batch_size=8, **options)


def state_of(model):
    """Drawn parameters, and the state of `optax.sgd`."""
    params = drawn(model, jnp.zeros((1, T), jnp.int32))
    return State(params, {}, optax.sgd(0.1).init(params))


def log_probabilities(model: Any, params, x):
    return np.asarray(jax.nn.log_softmax(jax.jit(model.apply)({"params": params}, x)), np.float64)


@pytest.mark.parametrize("mask", [True, False])
def test_an_evaluation_is_the_mean_over_all_that_counts(mask):
    splits = texts(mask=mask)
    experiment = modelling(splits=splits)
    state = state_of(MODEL)
    x, y = splits.test["x"], splits.test["y"]
    logp = log_probabilities(MODEL, state.params, x)
    own = np.take_along_axis(logp, y[..., None], axis=-1)[..., 0]
    counts = splits.test["mask"] if mask else np.ones(y.shape)
    loss = -(own * counts).sum() / counts.sum()
    right = ((logp.argmax(-1) == y) * counts).sum() / counts.sum()
    assert experiment.evaluation["test"].batches == 2  # the last one is padded
    expected = {"loss": loss, "bits": loss / np.log(2), "accuracy": right}
    close(evaluated(experiment, state, "test"), expected, rtol=1e-6)


def test_a_step_follows_the_gradient_of_what_counts():
    experiment = modelling(label_smoothing=0.1)
    state, batch = state_of(MODEL), batch_of(experiment.train)

    def objective(params):
        logp = jax.nn.log_softmax(MODEL.apply({"params": params}, batch["x"]))
        labels = optax.smooth_labels(jax.nn.one_hot(batch["y"], V), 0.1)
        return -jnp.sum(jnp.sum(labels * logp, -1) * batch["mask"]) / batch["mask"].sum()

    after, metrics = jax.jit(experiment.learner.step)(state, batch, jax.random.key(1))
    gradient = jax.jit(jax.grad(objective))(state.params)
    close(after.params, jax.tree.map(lambda p, g: p - 0.1 * g, state.params, gradient))
    own = np.take_along_axis(
        log_probabilities(MODEL, state.params, batch["x"]), np.asarray(batch["y"])[..., None], -1
    )
    close(metrics["loss"].value, -(own[..., 0] * batch["mask"]).sum() / batch["mask"].sum(), rtol=1e-5)


def test_a_batch_in_which_nothing_counts_changes_nothing_and_has_no_loss():
    experiment = modelling()
    state, batch = state_of(MODEL), batch_of(experiment.train)
    batch = batch | {"mask": jnp.zeros_like(batch["mask"])}
    after, metrics = jax.jit(experiment.learner.step)(state, batch, jax.random.key(1))
    close(after.params, state.params, rtol=0, atol=0)
    assert all(metrics[name].weight == 0 for name in ("loss", "bits", "accuracy"))


def test_the_models_own_losses_are_added():
    layer = functools.partial(Experts, 3, functools.partial(FeedForward, 8))
    model: Any = llama(V, feed_forward=layer, scan=True, **SMALL)
    plain, other = (modelling(model, balance=jnp.float32(c)) for c in (0.0, 2.0))
    state, batch = state_of(model), batch_of(plain.train)
    assert jax.eval_shape(plain.learner.init, jax.random.key(0)).model_state == {}

    def own(params):
        variables = model.apply({"params": params}, batch["x"], mutable=["losses"])[1]
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(variables["losses"]))

    (a, first), (b, second) = (
        jax.jit(e.learner.step)(state, batch, jax.random.key(1)) for e in (plain, other)
    )
    gradient = jax.jit(jax.grad(own))(state.params)
    close(b.params, jax.tree.map(lambda p, g: p - 0.1 * 2.0 * g, a.params, gradient))
    del first["update_norm"], second["update_norm"]
    close(first, second)  # what is reported is of the data alone
    kernel = gradient["transformer"]["layers"]["feed_forward"]["router"]["kernel"]
    assert np.abs(kernel).max() > 1e-4


def test_it_is_pure_and_vmappable_over_traced_hyper_parameters():
    model = functools.partial(gpt2, V, length=T, **SMALL)
    arrays = modelling().train.arrays

    state = state_of(MODEL)

    def loss(rate, key):
        e = modelling(model(dropout=rate), label_smoothing=rate, balance=rate)
        batch = e.train.batch(arrays, jnp.int32(0), key)
        after, metrics = e.learner.step(state, batch, key)
        return metrics["loss"].value, after.params

    rates, keys = jnp.array([0.0, 0.3]), jax.random.split(jax.random.key(0), 2)
    together, one = jax.jit(jax.vmap(loss))(rates, keys), jax.jit(loss)
    for row in range(2):
        close(jax.tree.map(lambda leaf, row=row: leaf[row], together), one(rates[row], keys[row]), rtol=1e-4)


def test_what_is_hidden_is_hidden_80_10_10():
    tokens = jax.random.randint(jax.random.key(1), (200, 500), 0, 10)
    row = jax.jit(functools.partial(hide, mask_token=10, vocabulary=10, special=(0, 3)))(
        tokens, jax.random.key(0)
    )
    x, y, mask = (np.asarray(row[name]) for name in ("x", "y", "mask"))
    np.testing.assert_array_equal(y, tokens)
    np.testing.assert_array_equal(x[mask == 0], y[mask == 0])
    special = (y == 0) | (y == 3)
    assert not mask[special].any()
    chosen, before = x[mask == 1], y[mask == 1]
    n = len(chosen)
    # Five standard deviations of a share of n.
    assert abs(n / (~special).sum() - 0.15) < 5 * np.sqrt(0.15 * 0.85 / (~special).sum())
    near = 5 * 0.5 / np.sqrt(n)
    assert abs((chosen == 10).mean() - 0.8) < near
    assert abs((chosen == before).mean() - (0.1 + 0.1 / 10)) < near
    others = chosen[(chosen != 10) & (chosen != before)]
    assert abs(len(others) / n - 0.09) < near and set(others) == set(range(10))


def test_masked_training_hides_anew_and_counts_the_hidden_alone():
    learner = masked_language_learner(MASKED, optax.sgd(0.1), **HIDING, rate=0.5)
    state, x = state_of(MASKED), texts().train["x"]
    step = jax.jit(learner.step)
    _, first = step(state, {"x": x}, jax.random.key(1))
    assert float(step(state, {"x": x}, jax.random.key(1))[1]["loss"].value) == float(first["loss"].value)
    assert float(step(state, {"x": x}, jax.random.key(2))[1]["loss"].value) != float(first["loss"].value)
    one, evaluate = jnp.array([[1, 2, 3, 4, 5, 6]]), jax.jit(evaluate_one, static_argnums=0)
    # Without the text to be seen, all hidden, the loss is of y alone.
    everything = masked_language_learner(MASKED, optax.sgd(0.1), **HIDING, rate=1.0)
    loss = evaluate(everything, state, one)["loss"]
    assert loss.weight == 6
    nothing = masked_language_learner(MASKED, optax.sgd(0.1), **HIDING, rate=0.0)
    assert evaluate(nothing, state, one)["loss"].weight == 0


def evaluate_one(learner, state, x):
    return learner.evaluate(state, {"x": x, "weight": jnp.ones(len(x))}, jax.random.key(0))


def test_an_evaluation_of_hidden_tokens_does_not_depend_on_the_batch():
    learner = masked_language_learner(MASKED, optax.sgd(0.1), **HIDING, rate=0.4)
    state, x = state_of(MASKED), jnp.asarray(texts().test["x"][:8])
    evaluate = jax.jit(functools.partial(evaluate_one, learner))
    rows = [evaluate(state, x[i : i + 1]) for i in range(8)]
    close(jax.tree.map(lambda *values: sum(values), *rows), evaluate(state, x[::-1]))
    assert len({float(row["loss"].weight) for row in rows}) > 1  # rows have patterns of their own


def test_it_learns_a_markov_chain_to_its_entropy_rate():
    transition = stochastic_matrix(jax.random.key(0), rows=5, columns=5, sharpness=2.0)
    sample = functools.partial(markov_text, transition=transition, length=16)
    splits = sampled(sample, train=4096, validation=16, test=1024)
    model = gpt2(5, length=16, width=16, layers=1, heads=2)
    experiment = language_modelling(model, splits, optax.adam(1e-2), steps=200)
    loss = float(evaluated(experiment, trained(experiment, 200), "test")["loss"])
    best = -np.log(transition[splits.test["x"], splits.test["y"]]).mean()
    assert best < loss < best + 0.02  # of the very same text, that of the chain that knows itself
    assert abs(loss - entropy_rate(transition)) < 0.03
    # The chain without its memory: the loss of the frequencies alone.
    shares = np.bincount(splits.train["y"].ravel()) / splits.train["y"].size
    assert loss < -np.log(shares[splits.test["y"]]).mean() - 0.3


def test_attention_recalls_what_went_with_a_key():
    sample = functools.partial(associative_recall, length=16, pairs=3, vocabulary=16, power=1.0)
    splits = sampled(sample, train=8192, validation=16, test=512)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(3e-3))
    experiment = language_modelling(llama(16, width=32, layers=2, heads=2), splits, optimizer, steps=500)
    # Guessing among the three values that were seen is right a third of the time.
    assert evaluated(experiment, trained(experiment, 500), "test")["accuracy"] > 0.95


def counting(key):
    """x[t] = x[0] + t modulo 8: any token and its place say all the others; each alone is uniform."""
    return {"x": ((jax.random.randint(key, (), 0, 8) + jnp.arange(12)) % 8).astype(jnp.int32)}


def test_a_masked_model_learns_a_grammar():
    splits = sampled(counting, train=512, validation=16, test=256)
    model = MaskedLanguageModel(bert(9, length=12, width=32, layers=1, heads=2, padding=None))
    options: Any = {"mask_token": 8, "vocabulary": 8, "steps": 300}
    experiment = masked_language_modelling(model, splits, optax.adam(3e-3), **options)
    assert evaluated(experiment, trained(experiment, 300), "test")["loss"] < 0.5 * np.log(8)


def broken(**columns):
    splits = texts()
    return splits._replace(test=splits.test | columns)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: modelling(splits=broken(y=np.full((700, T), V))),
            r"test tokens of y go from 7 to 7; expected 0 to 6, as the model has 7 \(row 0 has 7\)",
        ),
        (
            lambda: modelling(splits=broken(mask=np.zeros((700, T)))),
            r"test mask is 0 everywhere; expected at least one place that counts",
        ),
        (
            lambda: modelling(splits=broken(mask=np.full((700, T), -1.0))),
            r"test mask weights go from -1.0 to -1.0; expected at least 0",
        ),
        (
            lambda: modelling(splits=broken(x=np.zeros((700, T)))),
            r"test x is float64 \['N', 6\]; expected integer",
        ),
        (
            lambda: modelling(splits=broken(y=np.zeros(700, int))),
            r"test y is int64 \['N'\]; expected integer",
        ),
        (
            lambda: modelling(splits=broken(mask=np.zeros(700))),
            r"test mask has shape \['N'\]; expected \['N', 6\]",
        ),
        (
            lambda: masked_language_modelling(
                MASKED, texts(), optax.sgd(0.1), mask_token=8, vocabulary=7, steps=1
            ),
            "mask_token is 8 and vocabulary 7; expected tokens of the model, which has 8",
        ),
        (
            lambda: masked_language_modelling(
                MASKED, texts(), optax.sgd(0.1), mask_token=7, vocabulary=7, rate=0.0, steps=1
            ),
            "rate is 0.0; expected above 0",
        ),
    ],
    ids=["range", "empty mask", "negative mask", "floats", "shape", "mask", "token", "rate"],
)
def test_data_that_does_not_fit_is_told(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_learner_takes_any_source():
    learner = language_learner(MODEL, optax.sgd(0.1))
    batch = {name: jnp.asarray(column[:4]) for name, column in texts(mask=False).train.items()}
    state, metrics = jax.jit(learner.step)(jax.jit(learner.init)(jax.random.key(0)), batch, jax.random.key(1))
    assert set(metrics) == {"loss", "bits", "accuracy", "update_norm"} and state.model_state == {}
