"""What an experiment's `inspect` returns: pictures, texts, histograms, sounds and figures by name.

Of `fdl.Experiment(..., inspect=inspect)`, `inspect(state, key) -> {"samples": Image(...), ...}` is called
after evaluations, for a few members of a population: see `fdl.sweep` and `fdl.train.fit`.
"""

from fdl.inspection.kinds import Audio as Audio
from fdl.inspection.kinds import Figure as Figure
from fdl.inspection.kinds import Histogram as Histogram
from fdl.inspection.kinds import Image as Image
from fdl.inspection.kinds import Text as Text
from fdl.inspection.record import Inspection as Inspection
from fdl.public import public as _public


def __dir__() -> list[str]:
    return _public(globals())
