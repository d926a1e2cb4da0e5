"""Text as a data set: cut in three, encoded, in windows."""

import codecs
import functools
import os
from collections.abc import Callable, Mapping

import numpy as np

from fdl.arguments import Count, Share, checked
from fdl.data.readers.opened_files import content_of
from fdl.data.splits import Part, Reader, Rows, Splits
from fdl.data.tokens.vocabulary import Vocabulary, characters, told_vocabulary, vocabulary_of
from fdl.data.tokens.windows import windows
from fdl.storage import Folder, in_bucket, path_of


@checked
def text(
    source: str | os.PathLike[str],
    *,
    length: Count,
    vocabulary: Vocabulary | Callable[[str], Vocabulary] = characters,
    stride: Count | None = None,
    validation: Share[float] = 0.05,
    test: Share[float] = 0.05,
) -> Splits:
    """A text for models that predict the next token.

    The end of the text is the test part, `int(test * L)` of its L characters; what comes just
    before it is the validation part, `int(validation * L)`; the rest, from the start, is train.
    Each part is encoded and cut into windows on its own, so no window crosses a border. The
    vocabulary is learned from train alone.

    Args:
      source: a file, as a `pathlib.Path` (also of `gs://...`); or the text itself, as a `str`. A
        byte-order mark at its start is no part of it.
      length: T, tokens in a window.
      vocabulary: made of the train part, such as `characters`, `utf8` or
        `functools.partial(train_bpe, size=4096)`; or one that exists already.
      stride: tokens between the starts of train windows, T if None; below T they overlap and stay
        on the host. Validation and test never overlap, so every token counts once.
      validation: the share of the validation part.
      test: the share of the test part.

    Returns:
      Parts with `x` and `y`, int32 `[N, T]` (see `windows`); `classes` are the vocabulary's symbols.

    Raises:
      OSError: the file cannot be read.
      ValueError: shares that leave no part, a part too short for one window, a text that is not
        UTF-8, or a character of validation or test that the vocabulary lacks.

    Example:
      >>> splits = fdl.data.text("to be or not to be " * 9, length=4)
      >>> splits.train["x"][0].tolist(), "".join(splits.classes)
      ([6, 4, 0, 1], ' benort')
    """
    if not (validation > 0 and test > 0 and validation + test < 1):
        raise ValueError(
            f"validation is {validation} and test is {test}; expected both above 0, together below 1"
        )
    given = isinstance(source, str)
    if given and in_bucket(source) and len(source.split()) == 1:
        raise ValueError(f"the text is {source!r}; a file is given as a path: pathlib.Path({source!r})")
    content = source.removeprefix("\ufeff") if given else read_text(source)
    name = "the text given (a file is given as a pathlib.Path)" if given else str(source)
    last = len(content) - int(test * len(content))
    middle = last - int(validation * len(content))
    made = vocabulary if isinstance(vocabulary, Vocabulary) else vocabulary(content[:middle])

    def part(title: str, start: int, stop: int, stride: int | None = None) -> Part:
        try:
            return windows(made.encode(content[start:stop]), length=length, stride=stride)
        except ValueError as error:
            place = f"the {title} part, characters {start} to {stop} of {len(content)}"
            raise ValueError(f"{name}, {place}: {error}") from None

    train, told = part("train", 0, middle, stride), told_vocabulary(made)
    own = made if told is None else told
    return Splits(
        train,
        part("validation", middle, last),
        part("test", last, len(content)),
        classes=made.symbols,
        reader=Reader(
            functools.partial(read_windows, vocabulary=own, length=length),
            train.identity if isinstance(train, Rows) else train["x"],
        ),
    )


def read_windows(
    path: str | os.PathLike[str], *, vocabulary: Vocabulary | Mapping[str, str], length: int
) -> dict[str, np.ndarray]:
    """A text file as windows for a model that was trained on a text: `x`, int32 `[N, T]`, up to the text's
    end, which is to go on; what is left over at its start is left out.

    Args:
      path: the file.
      vocabulary: by which it is encoded, or what `told_vocabulary` tells of it.
      length: T.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is shorter than a window, no text, or has what the vocabulary lacks.
    """
    made = vocabulary if isinstance(vocabulary, Vocabulary) else vocabulary_of(vocabulary)
    tokens = made.encode(read_text(path))
    if len(tokens) < length:
        raise ValueError(f"{path} has {len(tokens)} tokens; expected at least {length}, one window")
    return {"x": tokens[len(tokens) % length :].reshape(-1, length)}


@checked
def read_text(path: str | os.PathLike[str]) -> str:
    """A text file, which must be UTF-8; line ends stay as they are, a byte-order mark at its start goes.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is empty, not UTF-8, or no regular file.

    Example:
      >>> _ = pathlib.Path("poem.txt").write_text("To be")
      >>> fdl.data.read_text("poem.txt")
      'To be'
    """
    return decoded(path_of(path), content_of(path))


def decoded(path: Folder, content: bytes) -> str:
    """The content of a file as text.

    Raises:
      ValueError: it is empty, or not UTF-8.
    """
    # Editors of Windows write the mark (U+FEFF) to say that a file is UTF-8; it is no character of the text.
    start = len(codecs.BOM_UTF8) if content.startswith(codecs.BOM_UTF8) else 0
    if len(content) == start:
        raise ValueError(f"{path} is empty; expected text in UTF-8")
    try:
        return str(memoryview(content)[start:], "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8: byte {start + error.start} is 0x{content[start + error.start]:02x} "
            f"({error.reason}); convert it to UTF-8 first"
        ) from None
