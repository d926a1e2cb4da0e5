"""A step may update a large array of its state in place: no loop of fdl's copies it."""

import re

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import fdl
from fdl.experiment import Best, Experiment, Learner, Source
from fdl.metrics import Mean
from fdl.parallel.plan import Plan
from fdl.train import early_stopping
from fdl.train.lowering import parts_of
from fdl.train.program import lower_program, stack_members
from fdl.train.run import arrays_of

ROWS, WIDTH = 1009, 13


@fdl.config
class Config:
    scale: float = 1.0


def experiment(config: Config) -> Experiment:
    """Writes a row of a buffer at every step."""

    def step(state, batch, key):
        row = config.scale * jax.random.normal(key, (1, WIDTH))
        buffer = lax.dynamic_update_slice(state["buffer"], row, (state["next"] % ROWS, 0))
        return {"buffer": buffer, "next": state["next"] + 1}, {"loss": jnp.mean(row)}

    def evaluate(state, batch):
        return {"loss": Mean(jnp.sum(state["buffer"]), jnp.float32(ROWS))}

    source = Source((), lambda arrays, step, key: jnp.zeros(1), 1)
    init = lambda key: {"buffer": jnp.zeros((ROWS, WIDTH)), "next": jnp.int32(0)}  # noqa: E731
    return Experiment(Learner(init, step, evaluate), source, {"validation": source}, 100, 10)


RESULTS = {
    "last": lambda one: one,
    "best": lambda one: one._replace(best=Best("validation/loss", "lower")),
    "stopping": lambda one: one._replace(stop=early_stopping("validation/loss", patience=3)),
}
# Members one after another are copied once a call, in which each takes many steps.
PLANS = [Plan(1, "map", "scan"), Plan(3, "vmap", "scan"), Plan(1, "map", "calls"), Plan(3, "vmap", "calls")]


@pytest.mark.medium
@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_a_step_copies_no_buffer(plan, result):
    build = lambda config: RESULTS[result](experiment(config))  # noqa: E731
    keys = jax.random.split(jax.random.key(0), plan.members)
    members = stack_members([Config()] * plan.members, keys, pad_to=plan.members)
    lowered, _ = lower_program(parts_of(build, members, arrays_of(build(Config())), plan))
    text = lowered["advance"]().compiled.as_text()
    of_buffers = re.findall(rf"= f32\[(?:\d,)?{ROWS},{WIDTH}\]\S* ([\w-]+)\(", text)
    assert {"dynamic-update-slice", "scatter"} & set(of_buffers)
    assert not {"copy", "select"} & set(of_buffers)
