"""What a population's folder has saved, only looked at: nothing is swept, moved or resumed, so that it can be
read while another process trains."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
from etils import epath
from jax.sharding import SingleDeviceSharding
from orbax.checkpoint import v1 as ocp

from fdl.storage import Folder, download, in_bucket, objects, orbax_writes
from fdl.text import innermost, named
from fdl.train.key_words import of_words, shape_of_words
from fdl.train.seal import SEAL, look, patiently

SKIPPED = ocp.PLACEHOLDER
"""What stands in a wanted tree for an array that is not to be read."""


class Saved(NamedTuple):
    """A finished checkpoint.

    Attributes:
      step: updates done.
      place: its folder.
    """

    step: int
    place: Folder


def saved_in(directory: Folder) -> list[Saved]:
    """The finished checkpoints of a population's folder, by step."""
    place = directory / "checkpoints"
    names = {path.name for path in place.iterdir()} if place.exists() else set()
    steps = sorted(int(name) for name in names if name.isdigit())
    return [Saved(step, place / str(step)) for step in steps if (place / str(step) / SEAL).exists()]


def fault_of(saved: Saved) -> str | None:
    """What is wrong with a checkpoint, by the checksums of its files; None where they agree.

    Raises:
      OSError: it cannot be read.
    """
    with _here(saved.place) as place:
        return patiently(lambda: look(place).fault, str(saved.place))


def size_of_saved(saved: Saved) -> int:
    """Bytes of a checkpoint's files."""
    if in_bucket(saved.place):
        return sum(int(one.get("size", 0)) for one in objects(saved.place).values())
    return sum(path.stat().st_size for path in Path(saved.place).rglob("*") if path.is_file())


def read_saved(saved: Saved, wanted: Callable[[Any], Any]) -> Any:
    """A checkpoint's carry, or a part of it, on this machine whatever it was saved on; nothing is unpickled.

    Args:
      saved: the checkpoint.
      wanted: `wanted(shapes) -> shapes`: what to read, given the shapes and dtypes of all that was saved, as
        dictionaries and lists; arrays that are not needed are `SKIPPED`. The result has its structure.

    Raises:
      ValueError: the checkpoint is damaged.
      OSError: it cannot be read.
    """
    if fault := fault_of(saved):
        raise ValueError(
            f"damaged checkpoint {saved.place}: {fault}; the command that trained it makes it again"
        )
    with _here(saved.place) as place:
        path = epath.Path(place if in_bucket(place) else Path(place).absolute())
        words = not orbax_writes(saved.place)  # of keys, see `fdl.train.checkpoint`
        try:
            tree = wanted(ocp.metadata(path).metadata["carry"])
            shapes = jax.tree.map(lambda leaf: _on_host(leaf, words=words), tree)
            found = ocp.load(path, {"carry": shapes})["carry"]
        except ValueError:
            raise
        except Exception as error:  # of many types; its bytes are right, so it is not damaged
            raise OSError(f"cannot read {saved.place}: {named(innermost(error), most=200)}") from error
    keyed = lambda leaf, shape: leaf if shape is SKIPPED else of_words(leaf, shape)  # noqa: E731
    return jax.tree.map(keyed, found, tree) if words else found


def _on_host(leaf: Any, *, words: bool) -> Any:
    """The leaf's shape where the memory of the host holds it, which has room for a whole population."""
    if leaf is SKIPPED:
        return leaf
    try:
        device = jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX was told to see accelerators alone
        device = jax.local_devices()[0]
    shape = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    shape = shape_of_words(shape) if words else shape
    return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=SingleDeviceSharding(device))


@contextlib.contextmanager
def _here(place: Folder) -> Iterator[Folder]:
    """The folder, or a copy of it where Orbax cannot read."""
    if orbax_writes(place):
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="fdl-read-") as name:
        download(place, Path(name, place.name))
        yield Path(name, place.name)
