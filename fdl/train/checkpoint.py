"""Checkpoints through Orbax: asynchronous, atomic, verified. All that fdl asks of Orbax is here."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from etils import epath
from jax.sharding import NamedSharding, PartitionSpec
from orbax.checkpoint import v1 as ocp

from fdl.train.text import one_line


class Checkpoints(NamedTuple):
    """The checkpoints of one directory.

    Attributes:
      save: `save(step, carry, score)` starts a save and returns within milliseconds; the `score` of
        the best (highest) is kept beside the last ones. Raises `OSError` if this or the save before
        failed.
      busy: `busy() -> bool`, whether a save is still under way.
      restore: `restore(abstract) -> (step, carry) | None`, the newest undamaged one; damaged ones
        are moved aside and said. Raises `ValueError` if there are some but none can be read.
      close: waits for the last save; raises `OSError` if it failed.
    """

    save: Callable[[int, Any, float | None], None]
    busy: Callable[[], bool]
    restore: Callable[[Any], tuple[int, Any] | None]
    close: Callable[[], None]


def open_checkpoints(directory: Path, *, keep: int, say: Callable[[str], None]) -> Checkpoints:
    """Opens (or begins) the checkpoints in a directory; half-written ones are swept away.

    Args:
      directory: where they lie, one numbered folder a checkpoint.
      keep: how many of the last to keep, besides the best.
      say: told of damaged checkpoints, one line each.

    Raises:
      OSError: the directory cannot be written.
    """
    policies = ocp.training.preservation_policies
    best = policies.BestN(get_metric_fn=_score, n=1, keep_checkpoints_without_metrics=False)
    preserve = policies.AnyPreservationPolicy([policies.LatestN(keep), best])
    open_ = functools.partial(
        ocp.training.Checkpointer,
        epath.Path(directory.absolute()),
        context=_context(),
        preservation_policy=preserve,  # pyright: ignore[reportArgumentType]
    )
    checkpointer = open_(cleanup_tmp_directories=True)
    fail = f"cannot save to {directory}: %s; earlier checkpoints are intact: mend it and repeat the command"

    def guarded(action: Callable[[], Any]) -> Any:
        try:
            return action()
        except Exception as error:  # Orbax wraps a full disk in many types
            raise OSError(fail % one_line(error)) from error

    def save(step: int, carry: Any, score: float | None) -> None:
        tree = {"carry": carry, "checksums": _checksums_of(carry)}
        metrics: Any = None if score is None else {"score": score}
        guarded(lambda: checkpointer.save_async(step, tree, metrics=metrics, force=True))

    def restore(abstract: Any) -> tuple[int, Any] | None:
        nonlocal checkpointer
        damaged = []
        for step in sorted((c.step for c in checkpointer.checkpoints), reverse=True):
            try:
                carry = _load(checkpointer, step, abstract)
            except Exception as error:  # whatever a damaged file makes of Orbax's readers
                damaged.append(f"{directory / str(step)}: {one_line(error)}")
                continue
            for line in damaged:
                say(f"damaged checkpoint {line}; moved aside, going on from step {step}")
            if damaged:
                checkpointer.close()
                _move_aside(directory, step)
                checkpointer = open_()
            return step, carry
        if damaged:
            raise ValueError(f"no checkpoint can be read: {'; '.join(damaged)}; begin anew with --restart")
        return None

    return Checkpoints(
        save=save,
        busy=lambda: checkpointer.is_saving_in_progress(),
        restore=restore,
        close=lambda: guarded(lambda: checkpointer.close()),
    )


def _context() -> ocp.Context:
    context = ocp.Context()
    context.array.saving.use_compression = False  # floats do not compress; it costs five times the time
    return context


def _score(metrics: Any) -> float:
    return metrics["score"]


def _load(checkpointer: Any, step: int, abstract: Any) -> Any:
    place = jax.tree.leaves(abstract)[0].sharding
    whole = NamedSharding(place.mesh, PartitionSpec())
    sums = jax.ShapeDtypeStruct((len(jax.tree.leaves(abstract)),), jnp.uint32, sharding=whole)
    tree = {"carry": abstract, "checksums": sums}
    loaded = checkpointer.load(step, tree)
    if not bool(jnp.all(_checksums_of(loaded["carry"]) == loaded["checksums"])):
        raise ValueError("its numbers do not agree with its checksums")
    return loaded["carry"]


def _move_aside(directory: Path, newest_good: int) -> None:
    aside = directory.parent / "damaged"
    aside.mkdir(exist_ok=True)
    for folder in directory.iterdir():
        if folder.name.isdigit() and int(folder.name) > newest_good:
            number = sum(1 for _ in aside.iterdir())
            folder.rename(aside / f"{folder.name}-{number}")


@jax.jit
def _checksums_of(carry: Any) -> jax.Array:
    """A uint32 for every leaf of a carry; uncompressed files carry no checksum of their own.

    Each 32-bit word times an odd number that depends on its place: any changed word changes the sum.
    """
    return jnp.stack([_checksum(leaf) for leaf in jax.tree.leaves(carry)])


def _checksum(leaf: jax.Array) -> jax.Array:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    if leaf.dtype == jnp.bool_:
        leaf = leaf.astype(jnp.uint8)
    width = min(leaf.dtype.itemsize * 8, 32)
    words = jax.lax.bitcast_convert_type(leaf, f"uint{width}").reshape(-1).astype(jnp.uint32)
    places = jnp.arange(words.size, dtype=jnp.uint32) * jnp.uint32(2654435761)
    return jnp.sum(words * (places << 1 | 1), dtype=jnp.uint32)
