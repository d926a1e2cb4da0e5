"""What a trained network does and why: pure functions of what it computes, its variables and rows."""

from fdl.analysis.attacks import fgsm as fgsm
from fdl.analysis.attacks import pgd as pgd
from fdl.analysis.attacks import square_attack as square_attack
from fdl.analysis.corruptions import CORRUPTIONS as CORRUPTIONS
from fdl.analysis.corruptions import Corruption as Corruption
from fdl.analysis.corruptions import corrupted as corrupted
from fdl.analysis.scores import energy_score as energy_score
from fdl.analysis.scores import exposure as exposure
from fdl.analysis.scores import max_softmax as max_softmax
from fdl.analysis.smoothing import Certificate as Certificate
from fdl.analysis.smoothing import certify as certify
from fdl.analysis.smoothing import noisy_counts as noisy_counts
from fdl.analysis.temperature import fit_temperature as fit_temperature
from fdl.public import public as _public


def __dir__() -> list[str]:
    return _public(globals())
