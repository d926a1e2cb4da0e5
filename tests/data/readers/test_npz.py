"""NPZ archives that are damaged or foreign."""

import numpy as np
import pytest

from fdl.data.readers.npz import read_npz


def damaged(content):
    """The archive with bytes changed inside an array."""
    place = content.index(b"NUMPY") + 200
    return content[:place] + bytes(byte ^ 255 for byte in content[place : place + 8]) + content[place + 8 :]


MALFORMED_ARCHIVES = {
    "zero bytes": (lambda content: b"", "byte 0: it begins with b''"),
    "foreign file": (lambda content: b"RIFF" + content, "byte 0: it begins with b'RIFF'"),
    "pickle": (lambda content: b"\x80\x04N.", r"byte 0: it begins with b'\\x80"),
    "cut": (lambda content: content[:-100], "not a zip file"),
    "damaged": (damaged, "Bad CRC-32"),
    "without the array": (lambda content: content, r"no array 'z' among \['x'\]"),
}


@pytest.mark.parametrize("name", MALFORMED_ARCHIVES)
def test_malformed_archive_is_named(tmp_path, name):
    change, message = MALFORMED_ARCHIVES[name]
    path = tmp_path / "a.npz"
    np.savez(path, x=np.arange(100))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        read_npz(path, "x", *(["z"] if name == "without the array" else []))
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
