"""Training and evaluation that loop on the host, a call a step.

On CPUs convolutions inside a loop on the device are many times slower, and data that stays on the host
comes a batch at a time.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fdl.parallel.plan import replicated
from fdl.parallel.sharding import assembled, put, readable
from fdl.train import run as one
from fdl.train.batches import joined_parts
from fdl.train.functions import Advance, Compiled, Evaluate, Functions, Pulse, pulse_of
from fdl.train.lowering import Parts, fetched, in_turn, lifted, ready
from fdl.train.prefetch import Feed, Stalled, never
from fdl.train.rows import Row
from fdl.train.run import Carry, Member

Asked = Callable[[], bool]
"""Whether a run is to stop."""


class _Data(NamedTuple):
    """Where each split's data comes from.

    Attributes:
      feeds: readers, of the splits whose data stays on the host.
      shapes: of what these read, with layouts.
      given: by split the arrays on the devices; nothing where there is a feed.
    """

    feeds: dict[str, Feed]
    shapes: dict[str, Any]
    given: dict[str, Any]


def on_host(parts: Parts) -> Functions:
    """The functions of a population, each call of which takes one step or measures one batch."""
    data = _data(parts)
    read = readable(parts.mesh)
    return Functions(
        {
            "advance": ready(
                parts,
                _advance(parts, data),
                (parts.carry, parts.members, data.shapes.get("train", ()), data.given),
                out=parts.layout,
                donate=True,
                manual=True,
            ),
            "pulse": ready(
                parts, lambda carry: jax.tree.map(jnp.copy, pulse_of(carry)), (parts.carry,), out=read
            ),
        },
        lambda run: (_stepping(run, data), _evaluating(parts, data)),
    )


def _data(parts: Parts) -> _Data:
    experiment = parts.experiment
    hosted = {name: source for name, source in one.sources_of(experiment).items() if source.fetch}
    shapes = {name: fetched(parts, source, members=name == "train") for name, source in hosted.items()}
    ends = {name: source.batches for name, source in experiment.evaluation.items()}
    feeds = {
        name: Feed(
            source,
            functools.partial(assembled, shapes=shapes[name], members=name == "train"),
            end=ends.get(name, experiment.steps),
        )
        for name, source in hosted.items()
    }
    return _Data(feeds, shapes, {name: () if name in feeds else part for name, part in parts.arrays.items()})


def _advance(parts: Parts, data: _Data) -> Any:
    def of_one(own: Any, shared: Any) -> Carry:
        carry, member, fetched = own
        train = {"train": fetched} if "train" in data.feeds else {}
        return one.advance_once(parts.build, member, shared | train, carry)

    of_all = lifted(parts, of_one, manual=True)
    return lambda carry, members, fetched, arrays: of_all((carry, members, fetched), arrays)


def _stepping(run: Compiled, data: _Data) -> Advance:
    def advance(
        members: Member, carry: Carry, start: int, end: int, asked: Asked = never
    ) -> tuple[Carry, Pulse]:
        for step in range(start, end):
            try:
                fetched = data.feeds["train"].of(members.key, step, asked) if "train" in data.feeds else ()
            except Stalled:
                raise Stalled(step, carry) from None
            carry = run["advance"](carry, members, fetched, data.given)
        return carry, run["pulse"](carry)

    return advance


def _evaluating(parts: Parts, data: _Data) -> Evaluate:
    """Compiled when first called: what a run needs to train is not kept waiting for it."""
    whole, close = replicated(parts.mesh), _close(parts)
    measures = {name: _measure(parts, name) for name in parts.experiment.evaluation}

    def measured(members: Member, carry: Carry, name: str, index: int, asked: Asked) -> Any:
        batch = data.feeds[name].of(None, index, asked) if name in data.feeds else data.given[name]
        return measures[name](carry, members, batch, put(np.int32(index), whole))

    def evaluate(members: Member, carry: Carry, asked: Asked = never) -> tuple[Carry, Row]:
        found = {}
        for name, source in parts.experiment.evaluation.items():
            each = (measured(members, carry, name, index, asked) for index in range(source.batches))
            found[name] = joined_parts(each)
        return close(carry, members, found)

    return evaluate


def _measure(parts: Parts, name: str) -> Callable[..., Any]:
    """The metrics of one batch of a split."""

    def of_one(own: Any, shared: Any) -> Any:
        experiment = one.experiment_of(parts.build, own[1])
        return one.measure(experiment, own[1], {name: shared[0]}, own[0].state, name, shared[1])

    of_all = lifted(parts, of_one)
    run = jax.jit(lambda carry, members, data, index: of_all((carry, members), (data, index)))
    return in_turn(run, parts.plan)


def _close(parts: Parts) -> Callable[..., tuple[Carry, Row]]:
    """From the sums of all splits to a row."""
    of_all = lifted(parts, lambda own, _: one.close(one.experiment_of(parts.build, own[1]), own[0], own[2]))
    closed = jax.jit(
        lambda carry, members, sums: of_all((carry, members, sums), ()),
        donate_argnums=0,
        out_shardings=(parts.layout, readable(parts.mesh)),
    )
    return in_turn(closed, parts.plan)
