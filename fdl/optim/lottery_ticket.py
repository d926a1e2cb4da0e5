"""Lottery tickets: a net is trained, pruned, and its rest is trained again from where it started."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fdl.arguments import Count, NotNegative, Share, checked
from fdl.optim.paths import map_kernels
from fdl.optim.pruning import magnitude, still_kept


class TicketState(NamedTuple):
    """What finding a ticket keeps.

    Attributes:
      steps: steps so far, int32.
      masks: of each parameter, True where it is kept, of its own shape.
      start: the parameters that it goes back to.
      optimizer: the inner optimizer's state.
    """

    steps: jax.Array
    masks: Any
    start: Any
    optimizer: Any


@checked
def lottery_ticket(
    optimizer: optax.GradientTransformation,
    sparsity: Share[float | jax.Array],
    *,
    steps: Count,
    rounds: Count = 1,
    rewind_to: NotNegative[int] = 0,
    reinitialise: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Trains for `steps`, prunes the smallest weights, sets the rest back to what they were, and so on.

    Frankle & Carbin 2019, The Lottery Ticket Hypothesis, sec. 2, strategy 1 of appendix B: after each round
    every kernel loses the same share of the weights that it still has, so that after the last one it lacks
    `sparsity` of all; then what is kept is trained for the steps that the run still has. `optimizer` begins
    anew with each round, its schedules too. Frankle et al. 2020, Linear Mode Connectivity and the Lottery
    Ticket Hypothesis, sec. 4, go back to an early step instead of the first.

    A parameter comes back to what it was within the rounding of one sum; pruned ones are exactly zero.

    Args:
      optimizer: what trains in each round.
      sparsity: the share of each kernel's weights that is pruned in the end, 0 to 1; it may be traced.
      steps: of each round.
      rounds: how often it is pruned; the run has `(rounds + 1) * steps` steps if the last is as long.
      rewind_to: the step of the first round to whose parameters it goes back, below `steps`.
      reinitialise: whether each kernel's first weights come back in a random order: another start from the
        same numbers, the paper's control (sec. 1, there drawn anew). `update` needs `key` then.

    Raises:
      ValueError: `rewind_to` is not below `steps`.

    Example:
      >>> import optax
      >>> ticket = fdl.optim.lottery_ticket(optax.sgd(1.0), 0.5, steps=1)
      >>> params = {"kernel": jnp.array([[1.0], [2.0]])}
      >>> updates, state = ticket.update({"kernel": jnp.array([[-5.0], [1.5]])}, ticket.init(params), params)
      >>> (params["kernel"] + updates["kernel"]).tolist()  # 6 and 0.5 after the step
      [[1.0], [0.0]]
    """
    if rewind_to >= steps:
        raise ValueError(f"rewind_to is {rewind_to}, steps {steps}; expected a step of the first round")
    inner = optax.with_extra_args_support(optimizer)

    def init(params: Any) -> TicketState:
        masks = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), params)
        return TicketState(jnp.zeros((), jnp.int32), masks, params, inner.init(params))

    def update(updates: Any, state: TicketState, params: Any = None, **extra: Any) -> tuple[Any, TicketState]:
        if params is None:
            raise ValueError("lottery_ticket got no parameters; call update(updates, state, params)")
        changes, own = inner.update(updates, state.optimizer, params, **extra)
        changes = jax.tree.map(_masked, state.masks, changes, params)
        start = _where(state.steps == rewind_to, params, state.start)
        done = (state.steps + 1) // steps
        ends = ((state.steps + 1) % steps == 0) & (done <= rounds)

        def pruned() -> tuple[Any, Any, Any]:
            share = 1 - (1 - jnp.asarray(sparsity, float)) ** (done / rounds)
            after = optax.apply_updates(params, changes)
            masks = _lessened(after, state.masks, share)
            first = _shuffled(start, extra.get("key")) if reinitialise else start
            back = jax.tree.map(lambda kept, to, now: jnp.where(kept, to - now, -now), masks, first, params)
            return back, masks, inner.init(params)

        changes, masks, own = jax.lax.cond(ends, pruned, lambda: (changes, state.masks, own))
        return changes, TicketState(optax.safe_increment(state.steps), masks, start, own)

    return optax.GradientTransformationExtraArgs(init, update)


def _masked(kept: jax.Array, change: jax.Array, param: jax.Array) -> jax.Array:
    return jnp.where(kept, change, -param)


def _where(condition: jax.Array, one: Any, other: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def _lessened(params: Any, masks: Any, share: jax.Array) -> Any:
    """The masks, those of kernels without the smallest weights too."""
    lessened = lambda mask, leaf: still_kept(magnitude(leaf, None), mask, share)  # noqa: E731
    return map_kernels(lessened, masks, params)


def _shuffled(params: Any, key: jax.Array | None) -> Any:
    """The parameters, each kernel's in a random order.

    Raises:
      ValueError: there is no key.
    """
    if key is None:
        raise ValueError("lottery_ticket got no key; call update(updates, state, params, key=key)")
    keys = jax.tree.unflatten(
        jax.tree.structure(params), list(jax.random.split(key, len(jax.tree.leaves(params))))
    )
    mixed = lambda leaf, own: jax.random.permutation(own, leaf.ravel()).reshape(leaf.shape)  # noqa: E731
    return map_kernels(mixed, params, keys)
