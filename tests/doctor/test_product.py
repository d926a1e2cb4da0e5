"""The product of matrices: right by whole numbers of NumPy's, and an error of any step is found."""

import jax
import numpy as np
import pytest

from fdl.doctor import product
from fdl.doctor.product import HEAVY, LIGHT, PRIME, matrices, multiplied, products

FIRST, BY = matrices(LIGHT)


def by_hand(error_before: int | None = None, error: int = 0) -> np.ndarray:
    """The product in whole numbers; before one step an entry is off by `error`."""
    rows, by = FIRST.astype(np.int64), BY.astype(np.int64)
    for step in range(LIGHT.steps):
        if step == error_before:
            rows[3, 5] += error
        rows = (rows @ by + PRIME // 2) % PRIME - PRIME // 2
    return rows


def test_a_device_computes_what_whole_numbers_give():
    found, seconds = multiplied(jax.devices()[0], FIRST, BY, LIGHT)
    np.testing.assert_array_equal(found, by_hand())
    assert seconds > 0
    assert {abs(FIRST).max(), abs(BY).max()} == {PRIME // 2}


def test_sums_of_the_heavy_load_are_exact():
    largest = (PRIME // 2) ** 2 * HEAVY.size
    assert largest < 2**24 and PRIME // 2 < 2**8  # float32 has 24 bits, bfloat16 8
    # The quotient is off by its own rounding and the divisor's; it comes no nearer to a half than 1/62.
    assert 2 * largest / PRIME * 2.0**-24 < 0.5 / PRIME


@pytest.mark.parametrize(("before", "error"), [(0, 1), (4, -16), (7, 2**20)])
def test_an_error_of_one_entry_in_any_step_is_found(before, error):
    devices = jax.local_devices()
    wrong = by_hand(before, error).astype(np.float32)
    fine = by_hand().astype(np.float32)

    def work(device, *_):
        return (wrong if device == devices[-1] else fine), 1.0

    assert [one.right for one in products(work)] == [True] * (len(devices) - 1) + [False]


def test_every_device_has_the_same_bits_and_no_speed_on_cpus():
    found = products()
    assert [one.number for one in found] == [device.id for device in jax.local_devices()]
    assert len({one.digest for one in found}) == 1 and all(one.right for one in found)
    assert {one.rate for one in found} == {None}


def test_the_speed_is_that_of_all_products(monkeypatch):
    monkeypatch.setattr(product, "HEAVY", LIGHT)
    chip = type("Chip", (), {"platform": "tpu", "id": 0})()
    monkeypatch.setattr(jax, "local_devices", lambda: [chip])
    (found,) = products(lambda *_: (by_hand().astype(np.float32), 2.0))
    assert found.rate == 64 * 128 * 128 * 2 * 8 / 2.0 and found.right


def test_a_device_that_fails_is_told():
    def fails(*_):
        raise jax.errors.JaxRuntimeError("INTERNAL: parity")

    assert {one.trouble for one in products(fails)} == {"JaxRuntimeError: INTERNAL: parity"}
