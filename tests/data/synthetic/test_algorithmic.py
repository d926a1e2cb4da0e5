"""Algorithmic tasks: each row against its written specification, computed again in plain Python."""

import functools
import hashlib
import itertools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.data.generated import stream
from fdl.data.permutation import permute
from fdl.data.synthetic.algorithmic import (
    add,
    associative_recall,
    divide,
    induction,
    modular_arithmetic,
    multiply,
    rewrite,
    subtract,
)

SAMPLES = [
    functools.partial(associative_recall, length=20, pairs=3, vocabulary=50),
    functools.partial(induction, length=12, symbols=5),
    functools.partial(rewrite, rule=jnp.flip, length=5, symbols=7),
]
IDS = ["associative_recall", "induction", "rewrite"]
PARTS = ["train", "validation", "test"]


@functools.cache
def rows(sample, count):
    """`count` rows as NumPy arrays `[count, ...]`; one compilation serves several tests."""
    keys = jax.vmap(jax.random.key)(np.arange(count))
    return {name: np.asarray(array) for name, array in jax.jit(jax.vmap(sample))(keys).items()}


def digest(*arrays):
    return hashlib.sha256(b"".join(np.asarray(array, "<i4").tobytes() for array in arrays)).hexdigest()


@pytest.mark.parametrize("sizes", [(4, 1, 4), (30, 4, 11), (64, 8, 8192)])
def test_associative_recall_is_as_written(sizes):
    length, pairs, vocabulary = sizes
    for seed, power in enumerate((0.01, 1.0, 0.5)):
        a, b, c = jax.random.split(jax.random.key(seed), 3)
        half, slots = vocabulary // 2, (length - 2 * pairs) // 2
        u = np.asarray(jax.random.uniform(c, (slots,)), np.float64)
        clock = [-np.log(1 - u[g]) * (g + 1) ** (1 - power) for g in range(slots)]
        nearest = sorted(range(slots), key=lambda g: clock[g])
        x, y, mask = [0] * length, [0] * length, [0] * length
        keys = (1 + permute(np.arange(pairs), a, size=half - 1)).tolist()
        values = (half + permute(np.arange(pairs), b, size=vocabulary - half)).tolist()
        for i, (key, value) in enumerate(zip(keys, values, strict=True)):
            x[2 * i : 2 * i + 2] = [key, value]
            query = 2 * pairs + 2 * nearest[i]
            x[query], y[query], mask[query] = key, value, 1
        row = associative_recall(
            jax.random.key(seed), length=length, pairs=pairs, vocabulary=vocabulary, power=power
        )
        assert {name: array.tolist() for name, array in row.items()} == {"x": x, "y": y, "mask": mask}
        assert [row[name].dtype for name in ("x", "y", "mask")] == [np.int32, np.int32, np.float32]


def test_a_dictionary_solves_associative_recall():
    batch = rows(SAMPLES[0], 200)
    for x, y, mask in zip(batch["x"], batch["y"], batch["mask"], strict=True):
        memory = dict(zip(x[0:6:2], x[1:6:2], strict=True))
        assert len(memory) == len(set(memory.values())) == 3
        assert all(1 <= key <= 24 and 25 <= value <= 49 for key, value in memory.items())
        answers = [memory[token] if token and place >= 6 else 0 for place, token in enumerate(x)]
        assert answers == y.tolist() and mask.sum() == 3
        np.testing.assert_array_equal(mask, y > 0)


@functools.cache
def recalled(power):
    """The x of 20,000 rows with two pairs; the power is traced, so both have one program."""
    return np.asarray(_recalled(jax.vmap(jax.random.key)(np.arange(20000)), power))


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, None))
def _recalled(key, power):
    return associative_recall(key, length=12, pairs=2, vocabulary=10, power=power)["x"]


@pytest.mark.parametrize("power", [0.01, 1.0])
def test_associative_recall_draws_slots_by_the_power_law(power):
    """The first slot has the probabilities themselves; the second, those of what is left."""
    x = recalled(power)
    asked = [(x[:, 4::2] == x[:, [2 * i]]).argmax(axis=1).tolist() for i in range(2)]
    weight = np.arange(1, 5) ** (power - 1)
    weight /= weight.sum()
    seen = Counter(zip(*asked, strict=True))
    for first, second in itertools.permutations(range(4), 2):
        chance = weight[first] * weight[second] / (1 - weight[first])
        assert abs(seen[first, second] / len(x) - chance) < 4.5 * np.sqrt(chance / len(x))


@pytest.mark.parametrize("place, choices", [(0, range(1, 5)), (1, range(5, 10))], ids=["keys", "values"])
def test_associative_recall_draws_keys_and_values_uniformly(place, choices):
    seen = Counter(map(tuple, recalled(0.01)[:, place:4:2].tolist()))
    pairs = list(itertools.permutations(choices, 2))
    mean = 20000 / len(pairs)
    assert set(seen) == set(pairs)
    np.testing.assert_allclose([seen[pair] for pair in pairs], mean, atol=4.5 * np.sqrt(mean))


@pytest.mark.parametrize("sizes", [(3, 1), (4, 2), (40, 15)])
def test_induction_is_as_written(sizes):
    length, symbols = sizes
    for seed in range(4):
        a, b = jax.random.split(jax.random.key(seed))
        s = jax.random.randint(a, (length,), 0, symbols).tolist()
        i = int(jax.random.randint(b, (), 0, length - 2))
        x = [*s[:i], symbols, *s[i + 1 : -1], symbols]
        row = induction(jax.random.key(seed), length=length, symbols=symbols)
        assert row["x"].tolist() == x
        assert row["y"].tolist() == [0] * (length - 1) + [x[x.index(symbols) + 1]]
        assert row["mask"].tolist() == [0] * (length - 1) + [1]
        assert [row[name].dtype for name in ("x", "y", "mask")] == [np.int32, np.int32, np.float32]


@pytest.mark.parametrize(
    "rule, plain",
    [(jnp.sort, sorted), (jnp.flip, lambda s: s[::-1]), (lambda s: s, lambda s: s)],
    ids=["sort", "flip", "copy"],
)
def test_rewrite_is_as_written(rule, plain):
    for seed in range(3):
        given = jax.random.randint(jax.random.key(seed), (6,), 0, 4).tolist()
        row = rewrite(jax.random.key(seed), rule=rule, length=6, symbols=4)
        assert row["x"].tolist() == [*given, 4, *plain(given)[:-1]]
        assert row["y"].tolist() == [*given[1:], 4, *plain(given)]
        assert row["y"][row["mask"] > 0].tolist() == plain(given)
        assert [row[name].dtype for name in ("x", "y", "mask")] == [np.int32, np.int32, np.float32]


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_jit_and_vmap_change_nothing(sample):
    together = rows(sample, 200)
    for seed in range(3):
        row = sample(jax.random.key(seed))
        assert set(row) == set(together)
        for name, array in row.items():
            np.testing.assert_array_equal(together[name][seed], array)
            assert together[name].dtype == array.dtype


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_batches_are_rows_of_their_own(sample):
    source = stream(sample, batch_size=64)
    batch = jax.jit(lambda step, key: source.batch((), step, key))(3, jax.random.key(0))
    assert all(len(array) == 64 for array in batch.values())
    assert len(np.unique(batch["x"], axis=0)) == 64


PLAIN = {
    add: lambda a, b, p: (a + b) % p,
    subtract: lambda a, b, p: (a - b) % p,
    multiply: lambda a, b, p: (a * b) % p,
    divide: lambda a, b, p: a * pow(b, -1, p) % p,
}


def table(splits, name):
    part = getattr(splits, name)
    return [(*x, y) for x, y in zip(part["x"].tolist(), part["y"].tolist(), strict=True)]


@pytest.mark.parametrize("operation", PLAIN, ids=lambda operation: operation.__name__)
@pytest.mark.parametrize("p", [3, 7, 97])
def test_tables_are_whole_and_right(operation, p):
    splits = modular_arithmetic(operation=operation, p=p)
    pairs = itertools.product(range(p), range(1 if operation is divide else 0, p))
    expected = {(a, p, b, p + 1, PLAIN[operation](a, b, p)) for a, b in pairs}
    found = [row for name in PARTS for row in table(splits, name)]
    assert len(found) == len(expected) and set(found) == expected
    assert all(array.dtype == np.int32 for name in PARTS for array in getattr(splits, name).values())
    assert splits.classes == tuple(str(c) for c in range(p))


@pytest.mark.parametrize("operation", [add, divide])
@pytest.mark.parametrize("fraction, seed", [(0.5, 0), (0.3, 0), (0.8, 5)])
def test_split_follows_the_documented_rule(operation, fraction, seed):
    p = 7
    pairs = list(itertools.product(range(p), range(1 if operation is divide else 0, p)))
    words = jax.random.bits(jax.random.key(seed), (len(pairs),)).tolist()
    order = [pair for _, pair in sorted(zip(words, pairs, strict=True))]
    train = round(fraction * len(pairs))
    validation = train + (len(pairs) - train) // 2
    splits = modular_arithmetic(operation=operation, p=p, train_fraction=fraction, seed=seed)
    for name, part in zip(PARTS, (order[:train], order[train:validation], order[validation:]), strict=True):
        assert [(row[0], row[2]) for row in table(splits, name)] == part


def test_division_leaves_out_what_has_no_inverse():
    found = [row for name in PARTS for row in table(modular_arithmetic(operation=divide, p=6), name)]
    assert {b for _, _, b, _, _ in found} == {1, 5} and len(found) == 12
    assert all(b * c % 6 == a for a, _, b, _, c in found)


@pytest.mark.parametrize(
    "sample, expected",
    [
        (associative_recall, "f141fa115a2643da90c01d9a160f6196afe1043c4334874c983358e99e3ff7af"),
        (induction, "051813e8b88784e7537122efdd50819eeca9a4f361aa12c9340c1d23c201b916"),
        (rewrite, "6d00e86a68f060f2a14052c05750e5aae116a619062153a8e0d0cdb54710331c"),
    ],
)
def test_rows_never_change(sample, expected):
    row = jax.jit(sample)(jax.random.key(0))
    assert digest(row["x"], row["y"], row["mask"]) == expected


def test_tables_never_change():
    splits = modular_arithmetic()
    arrays = [array for name in ("train", "test") for array in getattr(splits, name).values()]
    assert digest(*arrays) == "3192d13d0c0c0bafcb485d1f68a20a5d2eda2dfde56344757ee335d32c19ac7c"


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda key: associative_recall(key, length=15, pairs=2), "length is 15 and pairs 2; expected"),
        (lambda key: associative_recall(key, length=14, pairs=4), "at least 4 \\* pairs"),
        (lambda key: associative_recall(key, pairs=0), "pairs is 0; expected at least 1"),
        (lambda key: associative_recall(key, vocabulary=9), "vocabulary is 9; .* 2 \\* pairs \\+ 2 = 10"),
        (lambda key: induction(key, length=2), "length is 2"),
        (lambda key: induction(key, symbols=0), "symbols is 0; expected at least 1"),
        (lambda key: rewrite(key, length=0), "length is 0"),
        (lambda key: modular_arithmetic(p=1), "p is 1; expected a modulus"),
        (lambda key: modular_arithmetic(train_fraction=0.0), "train_fraction is 0.0 of 9409 rows"),
        (lambda key: modular_arithmetic(train_fraction=1.0), "leaves some in each part"),
        (lambda key: modular_arithmetic(operation=lambda a, b, p: a + b, p=5), "gives 8 modulo 5"),
    ],
)
def test_arguments_out_of_range(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call(jax.random.key(0))
    assert "\n" not in str(error.value)
