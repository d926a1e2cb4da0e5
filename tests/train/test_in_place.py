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
from fdl.train import early_stopping, run
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

    def evaluate(state, batch, key):
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


def test_whether_a_loop_goes_on_depends_on_no_steps_result():
    """Else a step on a CPU would wait for the metrics of the one before."""
    one = experiment(Config())
    member = run.Member((), jax.random.key(0), jnp.bool_(True))
    carry = run.init(lambda _: one, member)

    def advance(carry, end):
        return run.advance(lambda _: one, member, arrays_of(one), carry, end)

    traced = jax.make_jaxpr(advance)(carry, jnp.int32(7)).jaxpr
    (loop,) = [equation for equation in traced.eqns if equation.primitive.name == "while"]
    condition = loop.params["cond_jaxpr"].jaxpr
    asked = {name for equation in condition.eqns for name in equation.invars if name in condition.invars}
    carried = condition.invars[loop.params["cond_nconsts"] :]
    read = [place for place, name in enumerate(carried) if name in asked]
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(carry)[0]]
    assert [paths[place] for place in read] == [".step"]
