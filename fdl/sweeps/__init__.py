"""Sweeps: spaces of configs, and populations that train them."""

from fdl.public import public as _public
from fdl.sweeps.distributions import choice as choice
from fdl.sweeps.distributions import log_uniform as log_uniform
from fdl.sweeps.distributions import uniform as uniform
from fdl.sweeps.drawn import Space as Space
from fdl.sweeps.drawn import sample as sample
from fdl.sweeps.drawn import space as space
from fdl.sweeps.executor import Executor as Executor
from fdl.sweeps.forecasting import Forecast as Forecast
from fdl.sweeps.forecasting import forecast as forecast
from fdl.sweeps.fractional import fractional_factorial as fractional_factorial
from fdl.sweeps.on_processes import on_processes as on_processes
from fdl.sweeps.on_ray import on_ray as on_ray
from fdl.sweeps.on_slurm import on_slurm as on_slurm
from fdl.sweeps.pbt import pbt as pbt
from fdl.sweeps.run import program_of as program_of
from fdl.sweeps.run import stored as stored
from fdl.sweeps.run import sweep as sweep
from fdl.sweeps.schedulers import Curves as Curves
from fdl.sweeps.schedulers import Next as Next
from fdl.sweeps.schedulers import Scheduler as Scheduler
from fdl.sweeps.schedulers import asha as asha
from fdl.sweeps.schedulers import hyperband as hyperband
from fdl.sweeps.schedulers import successive_halving as successive_halving
from fdl.sweeps.searching import Search as Search
from fdl.sweeps.searching import search as search
from fdl.sweeps.space import Sweep as Sweep
from fdl.sweeps.space import Trial as Trial
from fdl.sweeps.space import ablate as ablate
from fdl.sweeps.space import grid as grid
from fdl.sweeps.space import zip_ as zip_


def __dir__() -> list[str]:
    return _public(globals())
