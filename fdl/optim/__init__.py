"""What Optax lacks; everything else is Optax's own, whose hyper-parameters may be traced."""

from fdl.optim.evaluation import evaluation_params as evaluation_params
from fdl.optim.frozen import Frozen as Frozen
from fdl.optim.frozen import frozen as frozen
from fdl.optim.gradient_noise import gradient_noise as gradient_noise
from fdl.optim.lottery_ticket import lottery_ticket as lottery_ticket
from fdl.optim.max_norm import max_norm as max_norm
from fdl.optim.proximal_l1 import proximal_l1 as proximal_l1
from fdl.optim.pruning import by_chance as by_chance
from fdl.optim.pruning import pruning as pruning
from fdl.optim.pruning import unit_magnitude as unit_magnitude
from fdl.optim.sam import sharpness_aware as sharpness_aware
from fdl.optim.schedules import warmup_cosine as warmup_cosine
from fdl.public import public as _public


def __dir__() -> list[str]:
    return _public(globals())
