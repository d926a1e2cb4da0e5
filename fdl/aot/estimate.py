"""What a population's program will be on TPUs that are not there: it is compiled for them, and never run."""

import math
import time
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from fdl.aot.chips import Chip
from fdl.aot.collectives import Collective, Collectives
from fdl.aot.compiled import Memory, Refusal, memory_of, refusal_of, report_of
from fdl.aot.expected import expected
from fdl.aot.flops import Cost, count
from fdl.aot.roofline import Roofline, roofline
from fdl.aot.traffic import bytes_moved
from fdl.parallel.plan import Plan
from fdl.train import run as one
from fdl.train.lowering import Parts, parts_of
from fdl.train.program import lower_program
from fdl.train.run import Build, Member


class Estimate(NamedTuple):
    """What a program will be.

    Attributes:
      memory: of the training on one device; None if the compiler refuses it.
      evaluation: of the evaluation on one device; None where it runs a batch a call, or is refused.
      refusal: what the compiler says of memory that does not suffice, of whichever was refused first.
      collectives: of one step, or none where it is refused.
      cost: of one step of all members on all devices.
      roofline: of one step of all members; without the collectives where it is refused.
      moved: bytes that one device moves from and to its memory in a step of the compiled program; 0 where
        it is refused.
      expected: of the same step, see `fdl.aot.expected`; None where it is refused, or nothing is known of
        the chip.
      compile_seconds: what compiling took.
    """

    memory: Memory | None
    evaluation: Memory | None
    refusal: Refusal | None
    collectives: Collectives
    cost: Cost
    roofline: Roofline
    moved: int
    expected: Roofline | None
    compile_seconds: float

    @property
    def held(self) -> int:
        """Bytes that one device needs, for the larger of training and evaluation; the compiler's peak may
        count the program itself too."""
        fitting = [max(one.held, one.peak) for one in (self.memory, self.evaluation) if one]
        return max([*fitting, *([self.refusal.needed] if self.refusal else [])])


def estimate(build: Build, members: Member, arrays: Any, plan: Plan, mesh: Mesh, chip: Chip) -> Estimate:
    """Compiles a population's training and evaluation for devices that need not be there.

    The roofline counts of memory only what a step must read and write of its state and batch; small
    states may stay on the chip from step to step, and are bounded by something else then. What is expected
    counts what the compiled program moves, activations and logits among it.

    Args:
      build: the experiment as a function of the config.
      members: leaves `[plan.members, ...]`.
      arrays: the sources' arrays by split.
      plan: how the members run.
      mesh: the devices, as from `fdl.aot.topology.absent_mesh`.
      chip: of what kind they are, or which to plan for.

    Raises:
      ValueError: the plan does not fit the experiment.
      jax.errors.JaxRuntimeError: the compiler fails for another reason than memory.
    """
    began = time.perf_counter()
    parts = parts_of(build, members, arrays, plan, absent=mesh)
    cost, moved = _step_of(build, parts)
    lowered, _ = lower_program(parts)
    memory, evaluation, refusal, collectives, by_program = None, None, None, Collectives(), 0
    try:
        report = report_of(lowered["advance"]().compiled)
        memory, collectives = report.memory, _of_a_step(report.collectives, plan, cost)
        by_program = report.moved
        if "evaluate" in lowered:
            evaluation = memory_of(lowered["evaluate"]().compiled)
    except jax.errors.JaxRuntimeError as error:
        refusal = refusal_of(error)
        if refusal is None:
            raise
    flops, network = cost.matrix / plan.devices * chip.devices, collectives.sent(between_slices=True)
    sent = {"links": collectives.sent(between_slices=False), "network": network * chip.devices}
    bound = roofline(chip, flops=flops, memory=moved * chip.devices, **sent)
    likely = None
    if not refusal:
        likely = expected(chip, flops=flops, moved=by_program * chip.devices, **sent)
    seconds = time.perf_counter() - began
    return Estimate(memory, evaluation, refusal, collectives, cost, bound, by_program, likely, seconds)


def _step_of(build: Build, parts: Parts) -> tuple[Cost, int]:
    """The cost of a step of all members, and the bytes that one device must move for it."""
    plan = parts.plan
    member, carry = (jax.tree.map(_first, tree) for tree in (parts.members, parts.carry))
    arguments = (member, jax.tree.map(_whole, parts.arrays), carry)
    step = lambda member, arrays, carry: one.advance_once(build, member, arrays, carry)  # noqa: E731
    jaxpr = jax.make_jaxpr(step)(*arguments)
    each = plan.members / plan.population
    state = [_share(leaf) for leaf in jax.tree.leaves(parts.carry)]
    shares = [
        *[each for _ in jax.tree.leaves(member)],
        *[each / (plan.data * plan.fsdp) for _ in jax.tree.leaves(parts.arrays)],
        *state,
    ]
    cost, times = count(jaxpr), plan.members
    cost = cost._replace(matrix=cost.matrix * times, other=cost.other * times, bytes=cost.bytes * times)
    return cost, bytes_moved(jaxpr, shares=shares, out_shares=state)


def _of_a_step(collectives: Collectives, plan: Plan, cost: Cost) -> Collectives:
    """Those of one step, of a program that takes steps in a loop until it is told to end.

    The text says of that loop alone no number of trips; what does in the step itself is said by its cost.
    """
    steps = 1 if plan.loop == "scan" and "while" not in cost.uncounted else 0
    return collectives._replace(uncounted=max(0, collectives.uncounted - steps))


def _first(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)


def _whole(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


def _share(leaf: jax.ShapeDtypeStruct) -> float:
    """How much one device holds of an array `[members, ...]`, in arrays of one member."""
    assert leaf.sharding is not None
    return math.prod(leaf.sharding.shard_shape(leaf.shape)) / max(math.prod(leaf.shape[1:]), 1)


def to_data(value: Any) -> Any:
    """A foresight as JSON-able data; NamedTuples become dictionaries."""
    if isinstance(value, tuple):
        names = getattr(value, "_fields", None)
        found = [to_data(item) for item in value]
        return dict(zip(names, found, strict=True)) if names else found
    return value


def from_data(data: dict[str, Any]) -> Estimate:
    """The foresight that `to_data` wrote."""
    read = lambda kind, part: None if part is None else kind(**part)  # noqa: E731
    collectives, cost = data["collectives"], data["cost"]
    each = tuple(Collective(**one) for one in collectives["each"])
    return Estimate(
        memory=read(Memory, data["memory"]),
        evaluation=read(Memory, data["evaluation"]),
        refusal=read(Refusal, data["refusal"]),
        collectives=Collectives(each, collectives["uncounted"]),
        cost=Cost(**{**cost, "uncounted": tuple(cost["uncounted"])}),
        roofline=Roofline(**data["roofline"]),
        moved=data["moved"],
        expected=read(Roofline, data["expected"]),
        compile_seconds=data["compile_seconds"],
    )
