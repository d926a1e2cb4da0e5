"""What a scheduler saved, in the time of devices."""

import numpy as np

from fdl.parallel.plan import Plan
from fdl.sweeps.outlook import saved_by_stopping
from fdl.sweeps.racing import Race
from fdl.sweeps.units import Segment, Trained, Unit


def unit(start: int, until: int, **cost: float) -> Trained:
    whole = {"devices": 2, "steps": until - start, **cost}
    return Trained(Unit([], Plan(4, "vmap", "scan", 2), "", segment=Segment(start, until)), [], [], whole, [])


def test_seconds_are_of_devices_and_a_program_of_an_earlier_unit_takes_none():
    """As `fdl.report.costs` counts them; that of two populations compiles its programs once."""
    trained = [
        unit(0, 10, train_seconds=1.0, compile_seconds=8.0),
        unit(10, 30, train_seconds=0.5, compile_seconds=4.0),
        unit(0, 10, train_seconds=2.0),
        unit(10, 30, train_seconds=0.25),
    ]
    told = saved_by_stopping(Race({}, {}, {}, [], [], 160), trained, 8, 30)
    assert told["seconds"] == 2 * 3.75 and told["seconds_at_first"] == 2 * 3.0
    assert told["compile_seconds"] == 2 * 4.0
    np.testing.assert_allclose(told["seconds_of_all"], 2 * 3.0 * 3)
