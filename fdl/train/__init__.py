"""Training: `scan`, a whole run as one pure function, and `fit`, the same run with effects."""

from fdl.public import public as _public
from fdl.train.early_stopping import early_stopping as early_stopping
from fdl.train.fit import Fitted as Fitted
from fdl.train.fit import fit as fit
from fdl.train.fit import state_at as state_at
from fdl.train.progress import Progress as Progress
from fdl.train.rows import Row as Row
from fdl.train.run import scan as scan
from fdl.train.saving import Saving as Saving
from fdl.train.signals import Interrupted as Interrupted


def __dir__() -> list[str]:
    return _public(globals())
