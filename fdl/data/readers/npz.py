"""NPZ archives: arrays by name, read with every size checked, never as pickles."""

import errno
import math
import os
import zipfile

import numpy as np

from fdl.arguments import checked
from fdl.data.readers.opened_files import opened
from fdl.text import message_of

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@checked
def read_npz(path: str | os.PathLike[str], *names: str) -> dict[str, np.ndarray]:
    """Reads arrays of an NPZ archive by name; pickled objects are refused, not run.

    Args:
      path: the file.
      *names: which arrays to read; all if there are none.

    Raises:
      ValueError: not an NPZ archive, damaged, without one of the arrays, or an array of objects.
      OSError: the file cannot be read.

    Example:
      >>> np.savez("points.npz", x=np.arange(3), y=np.ones(3))
      >>> fdl.data.read_npz("points.npz", "x")["x"].tolist()
      [0, 1, 2]
    """
    try:
        with opened(path) as file:
            begin = file.read(4)
            if begin != b"PK\x03\x04":
                raise ValueError(f"byte 0: it begins with {begin!r}, not with b'PK\\x03\\x04'")
            with zipfile.ZipFile(file) as archive:
                known = [member.removesuffix(".npy") for member in archive.namelist()]
                missing = [name for name in names if name not in known]
                if missing:
                    raise ValueError(f"no array {missing[0]!r} among {known}")
                return {name: _array(archive, name) for name in names or known}
    except Exception as error:  # zipfile and NumPy raise nearly anything for what is damaged
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = message_of(error)
        wanted = f"the arrays {list(names)}" if names else "arrays"
        raise ValueError(
            f"{path}: {reason}; expected an NPZ archive with {wanted}, none of objects"
        ) from error


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """One array. NumPy's own reader takes the memory that a header claims before it looks at the file."""
    member = f"{name}.npy" if f"{name}.npy" in archive.namelist() else name
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"{member} has version {version} of the npy format; expected 1.0 or 2.0")
        shape, columns_first, dtype = _HEADERS[version](file)
        if dtype.hasobject:
            raise ValueError(f"{member} is an array of objects")
        if any(size < 0 for size in shape):
            raise ValueError(f"{member} has shape {shape}")
        size = math.prod(shape) * dtype.itemsize
        content = file.read()
    if len(content) != size:
        raise ValueError(
            f"{member} holds {len(content)} bytes; its header says {dtype} {list(shape)}, {size}"
        )
    array = np.ndarray(shape, dtype, bytearray(content), order="F" if columns_first else "C")
    if dtype == np.bool and array.size and array.view(np.uint8).max() > 1:
        raise ValueError(f"{member} has truth values other than 0 and 1")
    return array
