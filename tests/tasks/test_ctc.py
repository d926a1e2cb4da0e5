# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# Flax types what `apply` returns as a union that no array function takes.

"""CTC against sums over all alignments and PyTorch, decoding, exact rates, and what it learns."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdl.data import Splits, sampled
from fdl.models.acoustic import AcousticModel
from fdl.tasks.ctc import best_path, ctc, ctc_loss, prefix_beam

pytestmark = pytest.mark.slow  # minutes of compiling

FRAMES, CLASSES = 5, 3
LABELS = np.array([[1, 2, 0], [1, 1, 0], [2, 0, 0], [0, 0, 0], [2, 2, 2], [1, 2, 1]])
LENGTHS = np.array([5, 4, 1, 3, 5, 3])
LOGITS = np.random.default_rng(0).normal(size=(len(LABELS), FRAMES, CLASSES)) * 2


def collapsed(path):
    return tuple(label for label, _ in itertools.groupby(path) if label)


def every_transcription(logits):
    """Log-probabilities of all label sequences, summed over all alignments."""
    logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    found = {}
    for path in itertools.product(range(CLASSES), repeat=len(logits)):
        found.setdefault(collapsed(path), []).append(sum(logp[t, c] for t, c in enumerate(path)))
    return {labels: np.logaddexp.reduce(scores) for labels, scores in found.items()}


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_the_loss_sums_over_all_alignments(dtype, rtol):
    with jax.enable_x64(dtype == np.float64):
        loss = jax.jit(ctc_loss)(jnp.asarray(LOGITS, dtype), LENGTHS, LABELS)
    for row, (logits, length, labels) in enumerate(zip(LOGITS, LENGTHS, LABELS, strict=True)):
        expected = every_transcription(logits[:length])[tuple(labels[labels != 0])]
        np.testing.assert_allclose(loss[row], -expected, rtol=rtol)


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-5), (np.float64, 1e-11)])
@pytest.mark.parametrize("size", [(len(LABELS), FRAMES, CLASSES, 3), (8, 40, 12, 9)])
def test_loss_and_gradient_agree_with_pytorch(dtype, rtol, size):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    rows, frames, classes, most = size
    rng = np.random.default_rng(1)
    counts = rng.integers(0, most + 1, size=rows)
    labels = np.where(np.arange(most) < counts[:, None], rng.integers(1, classes, size=(rows, most)), 0)
    repeats = ((labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] != 0)).sum(1)
    lengths = np.maximum(1, rng.integers(counts + repeats, frames + 1))
    logits, weight = rng.normal(size=(rows, frames, classes)).astype(dtype), rng.normal(size=rows)
    with jax.enable_x64(dtype == np.float64):
        both = jax.jit(jax.value_and_grad(lambda logits: jnp.sum(weight * ctc_loss(logits, lengths, labels))))
        total, gradient = both(jnp.asarray(logits))
    inputs = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    losses = torch.nn.functional.ctc_loss(
        inputs.log_softmax(-1).transpose(0, 1),
        torch.tensor(labels),
        torch.tensor(lengths),
        torch.tensor(counts),
        reduction="none",
    )
    (torch.tensor(weight) * losses).sum().backward()
    assert gradient.dtype == dtype
    np.testing.assert_allclose(total, (weight * losses.detach().numpy()).sum(), rtol=rtol)
    expected = inputs.grad.numpy()
    np.testing.assert_allclose(gradient, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


def test_the_best_path_is_collapsed():
    rng = np.random.default_rng(2)
    logits, lengths = rng.normal(size=(50, 9, 3)), rng.integers(1, 10, size=50)
    given = np.asarray(jax.jit(best_path)(logits, lengths))
    for row in range(50):
        expected = collapsed(logits[row, : lengths[row]].argmax(-1))
        assert tuple(given[row, : len(expected)]) == expected and not given[row, len(expected) :].any()


def test_a_prefix_beam_wide_enough_finds_all_transcriptions_in_order():
    for logits, length in zip(LOGITS, LENGTHS, strict=True):
        expected = every_transcription(logits[:length])
        found = prefix_beam(logits[:length], beams=1000)
        assert [labels for labels, _ in found] == sorted(expected, key=lambda labels: -expected[labels])
        np.testing.assert_allclose([score for _, score in found], [expected[s] for s, _ in found], rtol=1e-10)


def test_a_narrow_prefix_beam_can_beat_the_best_path():
    logits = np.log([[0.4, 0.35, 0.25]] * 2)  # nothing is likeliest of all paths, but one 1 in sum
    assert not best_path(logits[None], np.array([2])).any()
    ((labels, score),) = prefix_beam(logits, beams=3)[:1]
    assert labels == (1,)
    np.testing.assert_allclose(np.exp(score), 2 * 0.4 * 0.35 + 0.35**2)
    with pytest.raises(ValueError, match="beams is 0; expected at least 1"):
        prefix_beam(logits, beams=0)


SYMBOLS, MOST, LONGEST = 5, 4, 6


def runs(key):
    """One to four labels, no two neighbours equal; each is said for 2 to 6 noisy frames of its one-hot."""
    label_key, count_key, run_key, noise_key = jax.random.split(key, 4)
    steps = jax.random.randint(label_key, (MOST,), 1, SYMBOLS)
    labels = jnp.cumsum(steps) % SYMBOLS + 1
    count = jax.random.randint(count_key, (), 1, MOST + 1)
    real = jnp.arange(MOST) < count
    ends = jnp.cumsum(jnp.where(real, jax.random.randint(run_key, (MOST,), 2, LONGEST + 1), 0))
    frames = jnp.arange(MOST * LONGEST)
    said = labels[jnp.clip(jnp.searchsorted(ends, frames, side="right"), 0, MOST - 1)]
    x = jax.nn.one_hot(said - 1, SYMBOLS) + 0.3 * jax.random.normal(noise_key, (len(frames), SYMBOLS))
    return {"x": x, "length": ends[-1], "y": jnp.where(real, labels, 0).astype(jnp.int32)}


RUNS = sampled(runs, train=2048, validation=64, test=600)
SMALL = AcousticModel(SYMBOLS + 1, channels=16, widths=(16,), stride=1)


def trained(experiment, seed=0):
    learner, source = experiment.learner, experiment.train

    @jax.jit
    def run(arrays, key):
        def step(i, state):
            return learner.step(state, source.batch(arrays, i, key), jax.random.fold_in(key, i))[0]

        return jax.lax.fori_loop(0, experiment.steps, step, learner.init(key))

    return run(source.arrays, jax.random.key(seed))


def evaluated(experiment, state, split):
    source, evaluate = experiment.evaluation[split], jax.jit(experiment.learner.evaluate)
    batch = lambda i: source.batch(source.arrays, jnp.int32(i), jax.random.key(0))  # noqa: E731
    means = [evaluate(state, batch(i), jax.random.key(0)) for i in range(source.batches)]
    return {name: sum(m[name].total for m in means) / sum(m[name].weight for m in means) for name in means[0]}


def distance(a, b):
    """Levenshtein's, by its table."""
    line = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, line[0] = line[0], i
        for j, y in enumerate(b, 1):
            last, line[j] = line[j], min(line[j] + 1, line[j - 1] + 1, last + (x != y))
    return line[-1]


def test_it_learns_and_its_rates_are_exact_over_the_split():
    experiment = ctc(SMALL, RUNS, optax.adam(1e-2), steps=200)
    state = trained(experiment)
    values, test = evaluated(experiment, state, "test"), RUNS.test
    assert experiment.evaluation["test"].batches == 2  # the second is padded
    assert values["error_rate"] < 0.02 and values["exact_match"] > 0.95
    mask = np.arange(test["x"].shape[1]) < test["length"][:, None]
    logits = np.asarray(jax.jit(SMALL.apply)({"params": state.params}, test["x"], mask=mask))
    given = [collapsed(row[:length].argmax(-1)) for row, length in zip(logits, test["length"], strict=True)]
    truth = [tuple(row[row != 0]) for row in test["y"]]
    edits = [distance(a, b) for a, b in zip(given, truth, strict=True)]
    np.testing.assert_allclose(values["error_rate"], sum(edits) / sum(map(len, truth)), rtol=1e-6)
    np.testing.assert_allclose(values["exact_match"], np.mean([e == 0 for e in edits]), rtol=1e-6)
    expected = np.asarray(ctc_loss(logits, test["length"], test["y"])).mean(dtype=np.float64)
    np.testing.assert_allclose(values["loss"], expected, rtol=1e-5)


GOOD = {
    "x": np.zeros((2, 8, 3), np.float32),
    "length": np.array([8, 4], np.int32),
    "y": np.array([[1, 2, 0], [3, 0, 0]], np.int32),
}


@pytest.mark.parametrize(
    ("broken", "stride", "message"),
    [
        ({}, 2, r"outputs for one row have shape \[1, 8, 6\]; expected \[1, 4, C\], as x has 8 frames"),
        ({}, 0, "stride is 0; expected at least 1"),
        ({"y": GOOD["y"] + 4}, 1, r"train labels have shape \[2, 3\] and go from 4 to 7; expected .* 0 to 5"),
        ({"y": np.array([[1, 0, 2], [1, 0, 0]], np.int32)}, 1, "train row 0 has a label after a 0"),
        ({"length": np.array([8, 9], np.int32)}, 1, "train row 1 has length 9 .* of at most 8"),
        ({"y": np.array([[1, 1, 1]] * 2, np.int32)}, 1, "train row 1 has length 4 and needs 5 frames"),
        ({"length": GOOD["length"][:1]}, 1, "train has 2 rows of y and 1 lengths"),
    ],
)
def test_rows_that_do_not_fit(broken, stride, message):
    with pytest.raises(ValueError, match=message) as caught:
        ctc(SMALL, Splits(GOOD | broken, GOOD, GOOD), optax.sgd(0.1), steps=1, stride=stride)
    assert "\n" not in str(caught.value)
