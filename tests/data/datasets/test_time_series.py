"""Time series: windows in order of time, by a loop over time, and the recorded series."""

import hashlib
import sys

import numpy as np
import pandas as pd
import pytest

from fdl.data.datasets.time_series import co2, series, sunspots

RANDOM = np.random.default_rng(0)


def parts(splits):
    return [getattr(splits, name) for name in ("train", "validation", "test")]


@pytest.mark.parametrize(("size", "length", "horizon"), [(50, 5, 1), (103, 7, 4), (20, 1, 1), (41, 12, 8)])
@pytest.mark.parametrize("channels", [None, 3])
def test_windows_follow_the_documented_rule(size, length, horizon, channels):
    values = RANDOM.normal(5, 3, (size,) if channels is None else (size, channels))
    table = values.reshape(size, -1)
    cuts = [0, size * 60 // 100, size * 80 // 100, size]
    scaled = (table - table[: cuts[1]].mean(axis=0)) / table[: cuts[1]].std(axis=0)
    for number, part in enumerate(parts(series(values, length=length, horizon=horizon))):
        x, y = [], []
        for t in range(size - length - horizon + 1):
            targets = range(t + length, t + length + horizon)
            if cuts[number] <= targets[0] and targets[-1] < cuts[number + 1]:
                x.append(scaled[t : t + length])
                y.append(scaled[t + length : t + length + horizon])
        assert part["x"].dtype == part["y"].dtype == np.float32
        np.testing.assert_allclose(part["x"], x, atol=1e-6)
        np.testing.assert_allclose(part["y"], y, atol=1e-6)


def test_a_constant_channel_is_shifted_only():
    for part in parts(series(np.full(30, 7.0), length=3, horizon=1)):
        assert not part["x"].any() and not part["y"].any()


BAD = {
    "a gap": (np.array([1.0] * 20 + [np.nan] + [2.0] * 9), 3, 1, r"value 20 is \[nan\]; expected finite"),
    "too few for train": (np.arange(10.0), 6, 1, "the 10 values leave the train part without a window"),
    "too few for validation": (np.arange(20.0), 2, 5, "leave the validation part without a window"),
    "longer than all": (np.arange(10.0), 30, 1, "leave the train part"),
    "nothing": (np.zeros(0), 1, 1, r"shape \(0,\)"),
    "three axes": (np.zeros((9, 2, 2)), 1, 1, r"shape \(9, 2, 2\)"),
    "no length": (np.arange(9.0), 0, 1, "length is 0"),
    "no horizon": (np.arange(9.0), 1, 0, "horizon is 0; expected at least 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_no_windows_can_be_made_of_is_named(name):
    values, length, horizon, message = BAD[name]
    with pytest.raises(ValueError, match=message) as caught:
        series(values, length=length, horizon=horizon)
    assert "\n" not in str(caught.value)


def recorded(name):
    datasets = pytest.importorskip("statsmodels.datasets", reason="needs the extra 'embedded'")
    return getattr(datasets, name).load_pandas().data


def test_sunspots():
    table = recorded("sunspots")
    values = table["SUNACTIVITY"]
    assert (table["YEAR"].iloc[0], table["YEAR"].iloc[-1], len(table)) == (1700, 2008, 309)
    text = " ".join(f"{value:.1f}" for value in values)
    assert (
        hashlib.sha256(text.encode()).hexdigest()
        == "9945cc5995623c573e45bc2e806697eff3e2270125a9701d2373e990fc19d6e0"
    )
    for ours, theirs in zip(parts(sunspots()), parts(series(values, length=24, horizon=1)), strict=True):
        np.testing.assert_array_equal(ours["x"], theirs["x"])
        np.testing.assert_array_equal(ours["y"], theirs["y"])


def test_co2_and_its_gaps():
    values = recorded("co2")["co2"]
    assert (values.index[0], values.index[-1]) == (pd.Timestamp(1958, 3, 29), pd.Timestamp(2001, 12, 29))
    assert len(values) == 2284 and values.isna().sum() == 59
    text = " ".join(f"{value:.1f}" for value in values)
    assert (
        hashlib.sha256(text.encode()).hexdigest()
        == "42cac2158ed584588e0bf9dda34a333e7f20b267494fca34558f077c53a01412"
    )
    filled = values.interpolate("linear")
    for ours, theirs in zip(parts(co2()), parts(series(filled, length=52, horizon=4)), strict=True):
        np.testing.assert_allclose(ours["x"], theirs["x"], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(ours["y"], theirs["y"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("load", [sunspots, co2])
def test_without_the_extra(monkeypatch, load):
    monkeypatch.setitem(sys.modules, "statsmodels.datasets", None)
    with pytest.raises(ValueError, match=r"extra 'embedded': pip install fdl\[embedded\]"):
        load()
