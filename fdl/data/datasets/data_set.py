"""What there is to know of a data set, wherever it comes from."""

import enum
from collections.abc import Callable
from typing import Any, NamedTuple

from fdl.data.generated import sampled
from fdl.data.readers.download import Say
from fdl.storage import Folder


class Remote(NamedTuple):
    """A published file.

    Attributes:
      name: where it lies in a data folder; a `.tar.gz` is unpacked to a folder of its name without that.
      url: where it is published.
      sha256: of the published file, hexadecimal.
      bytes: its size.
    """

    name: str
    url: str
    sha256: str
    bytes: int


class Origin(enum.Enum):
    """Where a data set comes from; the value says it to a user."""

    PUBLISHED = "published"
    LIBRARY = "comes with a library"
    MADE = "made on demand"
    ENDLESS = "made on the device, endless"


class DataSet(NamedTuple):
    """A data set as it is declared, once, beside the function that makes it.

    Attributes:
      name: for the user to type.
      what: one line.
      origin: where it comes from.
      function: the public function. Of an `ENDLESS` set it makes one row of a key; of others it needs no
        arguments, and returns `Splits`, arrays by name, or the path of a text.
      licence: of a published one, in short.
      files: of a published one: what is downloaded.
      places: of a published one: of each thing that must be there, the names in a data folder under which it
        may lie; with all of them found, nothing is downloaded.
      get: of a published one, `get(say) -> path`: finds the files, or downloads those that are missing;
        the file, or the folder that they are in. `say` is told, line by line, what is downloaded.
    """

    name: str
    what: str
    origin: Origin
    function: Callable[..., Any]
    licence: str = ""
    files: tuple[Remote, ...] = ()
    places: tuple[tuple[str, ...], ...] = ()
    get: Callable[[Say | None], Folder] | None = None


def load_data_set(data_set: DataSet) -> Any:
    """What the function returns; of an endless set, a few rows of it."""
    if data_set.origin is Origin.ENDLESS:
        return sampled(data_set.function, train=64, validation=8, test=8)
    return data_set.function()
