"""What is foreseen of a program: on the devices of this process, and with the TPUs' compiler."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from fdl.aot.chips import parse_slice
from fdl.aot.estimate import estimate, from_data, to_data
from fdl.aot.flops import cost_of
from fdl.aot.traffic import bytes_moved
from fdl.parallel.plan import Plan, mesh_of
from fdl.train.lowering import parts_of
from fdl.train.program import lower_program, stack_members
from fdl.train.run import arrays_of
from tests import toy


def program_of(plan: Plan) -> tuple[Any, Any, Any]:
    """The toy's experiment, members and arrays."""
    keys = jax.vmap(jax.random.key)(jnp.arange(plan.members))
    members = stack_members([toy.Config()] * plan.members, keys, pad_to=plan.members)
    return toy.experiment, members, arrays_of(toy.experiment(toy.Config()))


@pytest.mark.medium
@pytest.mark.parametrize("loop", ["scan", "calls"])
def test_what_is_lowered_for_absent_devices_is_what_runs(loop):
    plan = Plan(2, "vmap", loop, population=min(2, jax.device_count()))
    texts = [
        {name: bare(compile().compiled.as_text()) for name, compile in lower_program(parts)[0].items()}
        for parts in (
            parts_of(*program_of(plan), plan),
            parts_of(*program_of(plan), plan, absent=mesh_of(plan)),
        )
    ]
    assert texts[0] == texts[1] and "advance" in texts[0]


def bare(text: str) -> list[str]:
    """A program's instructions without where in the source they come from."""
    return [re.sub(r", metadata=\{.*?\}", "", line) for line in text.splitlines() if line.startswith("  ")]


def test_a_foresight_of_this_machine():
    plan = Plan(4, "vmap", "scan")
    found = estimate(*program_of(plan), plan, mesh_of(plan), parse_slice("v5e:1x1").chip)
    assert found.refusal is None and found.memory and found.evaluation
    carry = jax.eval_shape(jax.jit(toy.experiment(toy.Config()).learner.init), jax.random.key(0))
    state = 4 * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(carry))
    assert found.memory.donated >= state
    assert not found.collectives.each and not found.collectives.uncounted
    # Of a step of each of 4 members: predictions, and the gradient of the weights.
    assert found.cost.matrix == 4 * 2 * 2 * toy.BATCH * toy.WIDTH
    assert found.roofline.compute == found.cost.matrix / 197e12
    assert found.expected and found.expected.compute == pytest.approx(found.cost.matrix / 197e12 / 0.611)
    assert found.expected.memory == found.moved / 819e9 >= found.roofline.memory > 0
    assert from_data(json.loads(json.dumps(to_data(found)))) == found


def test_bytes_of_one_device_of_several():
    step = lambda weights, rows, index: (weights + rows[index].sum(), index)  # noqa: E731
    jaxpr = jax.make_jaxpr(step)(jnp.zeros(1000), jnp.zeros((64, 10)), jnp.int32(0))
    whole = bytes_moved(jaxpr)
    assert whole == cost_of(step, jnp.zeros(1000), jnp.zeros((64, 10)), jnp.int32(0)).bytes
    assert whole == 4000 + 40 + 4 + 4000  # weights read and written, a row, the index, which is handed on
    split = bytes_moved(jaxpr, shares=[0.25, 0.5, 0.0], out_shares=[0.25, 1.0])
    assert split == 1000 + 20 + 1000


def driven(case: str) -> dict[str, Any]:
    """What the driver foresaw; a process of its own, since libtpu must be readied before JAX starts."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.aot.estimate_driver", case]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed: pip install fdl[tpu]"
)


@needs_libtpu
@pytest.mark.tpu_compile
def test_a_step_of_gpt2_needs_as_much_of_a_chip_among_256_as_among_4():
    few, many = driven("gpt 2x2"), driven("gpt 16x16")
    for found in (few, many):
        memory = found["memory"]
        assert found["refusal"] is None
        assert memory["donated"] >= 0.99 * (memory["arguments"] - found["data"])  # all but the data
        assert not found["collectives"]["uncounted"]
        assert {one["kind"] for one in found["collectives"]["each"]} >= {"all-gather", "all-reduce"}
    assert many["memory"]["temporaries"] < 1.1 * few["memory"]["temporaries"]
    # Each chip has the same rows, and the FLOPs are counted with their layers' trips.
    assert many["cost"]["matrix"] == 64 * few["cost"]["matrix"]
    # The logits of a chip alone, float32, are written and read again.
    assert few["moved"] > 2 * 4 * 8 * 1024 * 50257
    assert few["expected"]["memory"] > 2 * few["roofline"]["memory"]
    parameters, tokens = 124e6, 4 * 8 * 1024
    assert few["cost"]["matrix"] > 8 * parameters * tokens  # with remat a fourth pass


@needs_libtpu
@pytest.mark.tpu_compile
def test_a_batch_that_is_too_large_is_refused_with_the_numbers():
    found = driven("gpt too large")
    assert found["memory"] is None
    assert found["refusal"]["available"] == 15.75 * 2**30
    assert found["refusal"]["needed"] > found["refusal"]["available"]


@needs_libtpu
@pytest.mark.tpu_compile
def test_every_strategy_compiles_for_tpus():
    found = driven("strategies")
    for name, one in found.items():
        assert one["refusal"] is None, name
        assert one["memory"]["donated"] >= 0.99 * one["state"], name
        assert not one["collectives"]["uncounted"], name
        kinds = {each["kind"] for each in one["collectives"]["each"]}
        assert ("all-reduce" in kinds) == (name != "population"), name
        if name in ("jit data", "shard_map", "pmap", "pmap of cores"):
            assert kinds == {"all-reduce"}, name  # of gradients; rows are nowhere gathered
        between = {each["kind"] for each in one["collectives"]["each"] if each["between_slices"]}
        expected = {
            "slices": {"all-reduce"},
            "slices by fsdp": {"all-gather", "all-reduce", "reduce-scatter"},
        }
        assert between == expected.get(name, set()), name  # gradients cross; where told, parameters do
    crossing = {name: found[name]["roofline"]["network"] for name in ("slices", "slices by fsdp")}
    assert crossing["slices by fsdp"] > 2 * crossing["slices"]
    alone = found["population"]
    assert alone["roofline"]["links"] == 0 and not alone["collectives"]["each"]
