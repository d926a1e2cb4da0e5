"""fdl, functional deep learning: a deep-learning experiment is a pure function.

Write one         Experiment, Learner, Source, Stopper, Best; config, static, traced
Check one         check
Run many          sweep over grid, fractional_factorial, zip_, sample, ablate; choice, uniform, log_uniform;
                  Sweep, Trial
Search            search in a space; Search, Space
Schedule          successive_halving, asha, hyperband, pbt; Scheduler of Curves and Next
Judge them        load, Result; compare, compare_rates, difference_in_differences, factorial_effects, all_of,
                  judge_claims; Claim, Comparison, Verdict

fdl.data          data sets, readers of files, augmentations, sources
fdl.models        Flax modules: what is trained
fdl.tasks         a model, data and an optimizer as an Experiment
fdl.optim         what Optax lacks
fdl.losses        losses that tasks use
fdl.metrics       what an evaluation measures
fdl.train         fit and scan: one run, with effects and as one pure function
fdl.inspection    pictures, texts, sounds and figures of a run as it learns
fdl.analysis      what a trained net does, and why: attributions, attacks, certificates, its insides
fdl.stats         intervals, tests, power
fdl.pretrained    published weights
fdl.report        the page and the table of a result

>>> import fdl
>>> fdl.models.MLP(widths=(64,), outputs=10).outputs
10

All is loaded on first use, so that the command line answers without importing JAX.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

# Before JAX is imported, which reads it: of every program that comes from the cache XLA says in 2 kB on
# stderr that it may not suit this processor, by names of features that no processor has (seen with jaxlib
# 0.10.1). Where stderr is a pipe that nobody reads, the process waits forever once that is full. What fails
# raises too.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

if TYPE_CHECKING:
    from fdl import analysis as analysis
    from fdl import data as data
    from fdl import inspection as inspection
    from fdl import losses as losses
    from fdl import metrics as metrics
    from fdl import models as models
    from fdl import optim as optim
    from fdl import pretrained as pretrained
    from fdl import report as report
    from fdl import stats as stats
    from fdl import tasks as tasks
    from fdl import train as train
    from fdl.configs import config as config
    from fdl.configs import static as static
    from fdl.configs import traced as traced
    from fdl.experiment import Best as Best
    from fdl.experiment import Experiment as Experiment
    from fdl.experiment import Learner as Learner
    from fdl.experiment import Source as Source
    from fdl.experiment import Stopper as Stopper
    from fdl.result import Result as Result
    from fdl.stats import Claim as Claim
    from fdl.stats import Comparison as Comparison
    from fdl.stats import Verdict as Verdict
    from fdl.stats import all_of as all_of
    from fdl.stats import compare as compare
    from fdl.stats import compare_rates as compare_rates
    from fdl.stats import difference_in_differences as difference_in_differences
    from fdl.stats import factorial_effects as factorial_effects
    from fdl.stats import judge_claims as judge_claims
    from fdl.sweeps import Curves as Curves
    from fdl.sweeps import Next as Next
    from fdl.sweeps import Scheduler as Scheduler
    from fdl.sweeps import Search as Search
    from fdl.sweeps import Space as Space
    from fdl.sweeps import Sweep as Sweep
    from fdl.sweeps import Trial as Trial
    from fdl.sweeps import ablate as ablate
    from fdl.sweeps import asha as asha
    from fdl.sweeps import choice as choice
    from fdl.sweeps import fractional_factorial as fractional_factorial
    from fdl.sweeps import grid as grid
    from fdl.sweeps import hyperband as hyperband
    from fdl.sweeps import log_uniform as log_uniform
    from fdl.sweeps import pbt as pbt
    from fdl.sweeps import sample as sample
    from fdl.sweeps import search as search
    from fdl.sweeps import space as space
    from fdl.sweeps import successive_halving as successive_halving
    from fdl.sweeps import sweep as sweep
    from fdl.sweeps import uniform as uniform
    from fdl.sweeps import zip_ as zip_
    from fdl.train.check import check as check
    from fdl.trained import load as load

_HOME = {
    "config": "fdl.configs",
    "static": "fdl.configs",
    "traced": "fdl.configs",
    "Best": "fdl.experiment",
    "Experiment": "fdl.experiment",
    "Learner": "fdl.experiment",
    "Source": "fdl.experiment",
    "Stopper": "fdl.experiment",
    "Result": "fdl.result",
    "Comparison": "fdl.stats",
    "Claim": "fdl.stats",
    "Verdict": "fdl.stats",
    "compare": "fdl.stats",
    "compare_rates": "fdl.stats",
    "difference_in_differences": "fdl.stats",
    "all_of": "fdl.stats",
    "factorial_effects": "fdl.stats",
    "judge_claims": "fdl.stats",
    "Curves": "fdl.sweeps",
    "Next": "fdl.sweeps",
    "Scheduler": "fdl.sweeps",
    "Search": "fdl.sweeps",
    "Space": "fdl.sweeps",
    "Sweep": "fdl.sweeps",
    "Trial": "fdl.sweeps",
    "ablate": "fdl.sweeps",
    "asha": "fdl.sweeps",
    "choice": "fdl.sweeps",
    "fractional_factorial": "fdl.sweeps",
    "grid": "fdl.sweeps",
    "hyperband": "fdl.sweeps",
    "log_uniform": "fdl.sweeps",
    "pbt": "fdl.sweeps",
    "sample": "fdl.sweeps",
    "search": "fdl.sweeps",
    "space": "fdl.sweeps",
    "successive_halving": "fdl.sweeps",
    "sweep": "fdl.sweeps",
    "uniform": "fdl.sweeps",
    "zip_": "fdl.sweeps",
    "check": "fdl.train.check",
    "load": "fdl.trained",
}

_PARTS = (
    "analysis",
    "data",
    "inspection",
    "losses",
    "metrics",
    "models",
    "optim",
    "pretrained",
    "report",
    "stats",
    "tasks",
    "train",
)
"""The packages that users reach through `fdl.`, as `fdl.models`."""


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _PARTS:
        return importlib.import_module(f"fdl.{name}")
    raise AttributeError(f"module 'fdl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*_PARTS, *_HOME])
