"""Energy by a processor's counters, which are made up here."""

import pytest

from fdl.report.model_card import Checked, NotChecked
from fdl.trained import checks_energy
from fdl.trained.checks_energy import prediction_energy


def test_counters_of_packages_are_read_also_where_they_begin_again(tmp_path, monkeypatch):
    monkeypatch.setattr(checks_energy, "_SECONDS", 0.0)
    for name, at in {"intel-rapl:0": 9_900, "intel-rapl:1": 10, "intel-rapl:0:0": 5}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{at}\n")
        (tmp_path / name / "max_energy_range_uj").write_text("9999\n")

    def predict():
        (tmp_path / "intel-rapl:0" / "energy_uj").write_text("300\n")  # 400 on, through 9,999 to 0
        (tmp_path / "intel-rapl:1" / "energy_uj").write_text("110\n")

    (found,) = prediction_energy(predict, 5, counters=tmp_path)
    assert isinstance(found, Checked) and found.value == pytest.approx((400 + 100) / 5)
    assert "measured" in found.how


def test_without_counters_nothing_is_told(tmp_path):
    (found,) = prediction_energy(lambda: None, 5, counters=tmp_path)
    assert isinstance(found, NotChecked) and "no counter" in found.reason
