"""What a trained network does and why: pure functions of what it computes, its variables and rows."""

from fdl.analysis.attacks import fgsm as fgsm
from fdl.analysis.attacks import pgd as pgd
from fdl.analysis.attacks import square_attack as square_attack
from fdl.public import public as _public


def __dir__() -> list[str]:
    return _public(globals())
