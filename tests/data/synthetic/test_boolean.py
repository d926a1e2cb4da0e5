"""Boolean functions against Python's own logic, and parity against counting."""

import itertools
import operator

import jax
import numpy as np
import pytest
from scipy import stats

from fdl.data.synthetic import boolean_row, parity, parity_number, truth_table


def many(sample, number=2048):
    return jax.device_get(jax.jit(jax.vmap(sample))(jax.random.split(jax.random.key(1), number)))


@pytest.mark.parametrize(
    ("number", "function"), [(6, operator.xor), (8, operator.and_), (14, operator.or_), (0b0010, operator.lt)]
)
def test_functions_of_two_inputs(number, function):
    table = truth_table(number, inputs=2)
    assert table["x"].dtype == np.float32 and table["y"].dtype == np.int32
    np.testing.assert_array_equal(table["x"], list(itertools.product((0, 1), repeat=2)))
    np.testing.assert_array_equal(
        table["y"], [function(a, b) for a, b in itertools.product((0, 1), repeat=2)]
    )


@pytest.mark.parametrize("inputs", [1, 3, 5])
def test_every_row_is_the_bit_it_is_documented_to_be(inputs):
    number = 0xCAFE_BABE % 2 ** (2**inputs)
    table = truth_table(number, inputs=inputs)
    for row, (x, y) in enumerate(zip(table["x"], table["y"], strict=True)):
        assert "".join(str(int(bit)) for bit in x) == f"{row:0{inputs}b}"
        assert y == number >> row & 1


def test_the_sixteen_functions_of_two_inputs_are_all_there():
    assert len({tuple(truth_table(number, inputs=2)["y"]) for number in range(16)}) == 16


@pytest.mark.parametrize("inputs", [1, 2, 4, 9])
def test_parity_number_is_an_odd_count(inputs):
    table = truth_table(parity_number(inputs), inputs=inputs)
    np.testing.assert_array_equal(table["y"], table["x"].sum(axis=1).astype(int) % 2)


def test_random_rows_are_rows_of_the_table_equally_often():
    number = 0xBEEF
    table, rows = truth_table(number, inputs=4), many(lambda key: boolean_row(key, number=number, inputs=4))
    place = rows["x"].astype(int) @ (8, 4, 2, 1)
    np.testing.assert_array_equal(rows["y"], table["y"][place])
    assert stats.chisquare(np.bincount(place, minlength=16)).pvalue > 1e-3
    assert boolean_row(jax.random.key(9), number=number, inputs=4)["x"].tolist() == [
        int(bit) for bit in f"{int(jax.random.randint(jax.random.key(9), (), 0, 16)):04b}"
    ]


@pytest.mark.parametrize("relevant", [None, (0,), (2, 5, 6), ()])
def test_parity_counts_the_relevant_inputs(relevant):
    rows = many(lambda key: parity(key, inputs=8, relevant=relevant))
    places = list(range(8)) if relevant is None else list(relevant)
    np.testing.assert_array_equal(rows["y"], rows["x"][:, places].sum(axis=1).astype(int) % 2)
    assert rows["x"].dtype == np.float32 and rows["y"].dtype == np.int32
    assert np.abs(rows["x"].mean(axis=0) - 0.5).max() < 4.5 * 0.5 / np.sqrt(2048)


def test_parity_reads_the_highest_bits():
    words = np.asarray(jax.random.bits(jax.random.key(6), (12,), "uint32"))
    assert parity(jax.random.key(6), inputs=12)["x"].tolist() == [int(word >= 2**31) for word in words]


def test_no_input_alone_tells_the_parity():
    rows = many(lambda key: parity(key, inputs=6, relevant=(1, 3, 4)), 4096)
    agreement = (rows["x"] == rows["y"][:, None]).mean(axis=0)
    assert np.abs(agreement - 0.5).max() < 4.5 * 0.5 / np.sqrt(4096)
    assert abs(rows["y"].mean() - 0.5) < 4.5 * 0.5 / np.sqrt(4096)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: truth_table(16, inputs=2), r"number is 0x10; with 2 inputs expected 0 to 2\*\*4 - 1"),
        (lambda: truth_table(-1, inputs=2), "number is -1; expected 0 or more"),
        (lambda: truth_table(0, inputs=17), "inputs is 17; expected 1 to 16"),
        (lambda: parity_number(0), "inputs is 0"),
        (lambda: parity(jax.random.key(0), inputs=0), "inputs is 0; expected at least 1"),
        (
            lambda: parity(jax.random.key(0), inputs=3, relevant=(0, 3)),
            "expected different places from 0 to 2",
        ),
        (
            lambda: parity(jax.random.key(0), inputs=3, relevant=(1, 1)),
            "expected different places from 0 to 2",
        ),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
