"""What goes wrong in a user's functions, in one line: which, where, and what it was."""

import contextlib
import re
import traceback
import types
from collections.abc import Iterator
from pathlib import Path

import jax

import fdl
from fdl.identity.places import installed
from fdl.text import named

HIDDEN = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
"""What JAX raises where a traced value is asked for as a number or as an array of NumPy's."""
_OTHERS = (OSError, MemoryError, jax.errors.JaxRuntimeError)
"""What the disk, the machine or a device did; not the user."""
_OURS = Path(fdl.__file__).parent


@contextlib.contextmanager
def told(what: str, *, hidden: bool = True) -> Iterator[None]:
    """While it lasts, what is raised by a user's function is a `ValueError` of one line.

    A `ValueError` of fdl's or of the user's own says already what is wrong, and stays as it is.

    Args:
      what: the function that is called.
      hidden: whether JAX's complaint about a traced value is told too, or left to who knows its field.

    Raises:
      ValueError: the function raised something.
    """
    try:
        yield
    except HIDDEN as error:
        if not hidden:
            raise
        raise ValueError(
            f"{what}{_place(error)} asks for the value of what is being traced, for Python control flow, a "
            "shape or NumPy; write it with jnp.where, lax.cond or jax.numpy"
        ) from error
    except _OTHERS:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ValueError) and _says_enough(error):
            raise
        raise ValueError(f"{what} fails{_place(error)}: {named(error, most=300)}{_hint(error)}") from error


def is_ours(error: Exception) -> bool:
    """Whether fdl itself raised an error."""
    return _OURS in Path(_raised_in(error)).parents


def _says_enough(error: ValueError) -> bool:
    """Whether fdl or a user's own `raise` made the message, not a library's."""
    return is_ours(error) or not installed(_raised_in(error))


def _raised_in(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return frames[-1].filename if frames else ""


def _place(error: BaseException) -> str:
    """Where in a user's file: ` at line 7 of first.py`; empty where no such file took part."""
    frames = traceback.extract_tb(error.__traceback__)
    frames = [
        f for f in frames if not installed(f.filename) and f.filename != "<string>"
    ]  # a dataclass's own
    return f" at line {frames[-1].lineno} of {Path(frames[-1].filename).name}" if frames else ""


def _hint(error: BaseException) -> str:
    """What was expected, where the error shows it."""
    if isinstance(error, SystemExit):  # the command would end with its number, which means something else
        return "; expected an error that says why, as raise ValueError(...)"
    owner = getattr(error, "obj", None) if isinstance(error, AttributeError) else None
    if isinstance(owner, types.FunctionType | type):
        name = owner.__name__
        return f"; {name} is a {type(owner).__name__}, expected what it returns: write {name}(...)"
    unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    return f"; expected a function that takes {unknown[1]}=..." if unknown else ""
