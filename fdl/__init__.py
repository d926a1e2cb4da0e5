"""fdl, functional deep learning: a deep-learning experiment is a pure function.

The names below are loaded on first use, so that the command line answers without importing JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fdl.configs import config as config
    from fdl.configs import static as static
    from fdl.configs import traced as traced
    from fdl.experiment import Experiment as Experiment
    from fdl.experiment import Learner as Learner
    from fdl.experiment import Source as Source
    from fdl.experiment import Stopper as Stopper

_HOME = {
    "config": "fdl.configs",
    "static": "fdl.configs",
    "traced": "fdl.configs",
    "Experiment": "fdl.experiment",
    "Learner": "fdl.experiment",
    "Source": "fdl.experiment",
    "Stopper": "fdl.experiment",
}

__all__ = list(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'fdl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
