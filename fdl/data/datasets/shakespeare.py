"""Tiny Shakespeare: a text of plays."""

from pathlib import Path

from fdl.copies import local
from fdl.data.datasets.data_set import DataSet, Origin, Remote
from fdl.data.datasets.published import obtain, say_on_stderr

TINY_SHAKESPEARE = Remote(
    "text/shakespeare.txt",
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    1115394,
)


def tiny_shakespeare_file() -> Path:
    """Tiny Shakespeare (Karpathy 2015): scenes of plays, 1,115,394 bytes of ASCII, 65 characters.

    Looked for as `text/shakespeare.txt` (see `fdl.data.paths.locate`), and downloaded where missing.

    Raises:
      OSError, ValueError: it cannot be downloaded.

    Example:
      >>> splits = fdl.data.text(fdl.data.tiny_shakespeare_file(), length=64)  # doctest: +SKIP
      >>> len(splits.classes)  # doctest: +SKIP
      65
    """
    return local(obtain(TINY_SHAKESPEARE, say_on_stderr))


DATA_SETS = (
    DataSet(
        "tiny-shakespeare",
        "1.1 million characters of plays",
        Origin.PUBLISHED,
        tiny_shakespeare_file,
        licence="public domain",
        files=(TINY_SHAKESPEARE,),
        places=((TINY_SHAKESPEARE.name,),),
        get=lambda say: obtain(TINY_SHAKESPEARE, say),
    ),
)
