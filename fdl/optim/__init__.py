"""What Optax lacks; everything else is Optax's own, whose hyper-parameters may be traced."""

from fdl.optim.schedules import warmup_cosine as warmup_cosine
