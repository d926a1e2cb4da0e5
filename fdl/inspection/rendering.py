"""What was computed on the devices as files that anyone can open: PNG, text, WAV, SVG."""

import io
import sys
import wave
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fdl import formats
from fdl.inspection.chart import chart_of
from fdl.inspection.counts import Counts
from fdl.inspection.kinds import Audio, Figure, Image, Text
from fdl.text import counted, one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawn

_LOUDEST = 2**15 - 1
_PAUSE = 0.25  # seconds
_DPI = 100


class Rendered(NamedTuple):
    """A file.

    Attributes:
      kind: what it is: `"image"`, `"text"`, `"histogram"`, `"audio"` or `"figure"`.
      suffix: of its name, without the dot.
      content: its bytes.
      words: what it shows, for those who do not see or hear it, and what of it is not as it was computed.
    """

    kind: str
    suffix: str
    content: bytes
    words: str


def rendered(one: Any) -> Rendered:
    """A kind of `fdl.inspection` with NumPy's arrays, of a histogram its counts, as a file.

    Raises:
      Exception: whatever a function of the user's raises.
      ValueError: such a function returns something else than it should.
    """
    return _RENDERERS[type(one)](one)


def _image(one: Image) -> Rendered:
    from PIL import Image as Pillow  # as in `contact_sheet`, only where there is something to draw

    from fdl.data.contact_sheet import contact_sheet

    pixels = np.asarray(one.pixels)
    several, notes = pixels.ndim == 4, ""
    if pixels.dtype != np.uint8:
        unit, notes = _within(pixels, 0.0, ("black", "0 to 1"))
        pixels = np.round(255 * unit).astype(np.uint8)
    if several:
        picture = contact_sheet(pixels)
    else:
        picture = Pillow.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)
    buffer = io.BytesIO()
    picture.save(buffer, format="png")
    height, width = pixels.shape[several : several + 2]
    number = counted(pixels.shape[0], "picture") if several else "a picture"
    return Rendered("image", "png", buffer.getvalue(), f"{number} of {width} × {height} pixels{notes}")


def _text(one: Text) -> Rendered:
    tokens = np.asarray(one.tokens)
    rows = [tokens] if tokens.ndim == 1 else list(tokens)
    texts = [_decoded(one.decode, row) for row in rows]
    if tokens.ndim == 2:
        texts = [f"--- {place} of {len(texts)} ---\n{text}\n" for place, text in enumerate(texts, 1)]
    content = "\n".join(texts).encode(errors="backslashreplace")  # a lone surrogate has no bytes
    number = "a text" if tokens.ndim == 1 else counted(len(rows), "text")
    return Rendered("text", "txt", content, f"{number} of {counted(tokens.shape[-1], 'token')}")


def _decoded(decode: Callable[[Any], str] | None, tokens: np.ndarray) -> str:
    text = " ".join(map(str, tokens.tolist())) if decode is None else decode(tokens)
    if not isinstance(text, str):
        raise ValueError(f"decode returns a {type(text).__name__}; expected a str")
    return text


def _histogram(one: Counts) -> Rendered:
    numbers = np.asarray(one.counts).tolist()
    edges = np.asarray(one.edges).astype(float).tolist()  # each float32 is such a number
    finite = sum(numbers)
    if finite and edges[0] == edges[-1]:
        numbers, edges = [finite], [edges[0], edges[-1]]
    if not finite:
        numbers, edges = [], []
    rest = {"nan": int(one.nan), "inf": int(one.above), "-inf": int(one.below)}
    words = "no finite number"
    if finite:
        words = f"{counted(finite, 'number')} from {formats.number(edges[0])} to {formats.number(edges[-1])}"
    words += "".join(
        f"; {count:,} {what}"
        for what, count in zip(("NaN", "infinite", "minus infinite"), rest.values(), strict=True)
        if count
    )
    return Rendered("histogram", "svg", chart_of(edges, numbers, rest, words).encode(), words)


def _audio(one: Audio) -> Rendered:
    samples = np.atleast_2d(np.asarray(one.samples))
    clips, notes = _within(samples, -1.0, ("silent", "-1 to 1"))
    whole = np.round(_LOUDEST * clips).astype("<i2")
    pause = np.zeros(round(_PAUSE * one.rate), "<i2")
    parts = [part for clip in whole for part in (clip, pause)][:-1]
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(one.rate)
        file.writeframes(b"".join(part.tobytes() for part in parts))
    number = "a sound" if len(whole) == 1 else counted(len(whole), "sound")
    length = formats.duration(whole.shape[1] / one.rate)
    return Rendered("audio", "wav", buffer.getvalue(), f"{number} of {length}{notes}")


def _figure(one: Figure) -> Rendered:
    import matplotlib
    from matplotlib.figure import Figure as Drawn  # half a second

    buffer = io.BytesIO()
    with matplotlib.rc_context():  # a style that `draw` chooses is not that of the report
        drawn = one.draw(one.data)
        if not isinstance(drawn, Drawn):
            raise ValueError(f"draw returns a {type(drawn).__name__}; expected a Figure of Matplotlib")
        drawn.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    words = _said_in(drawn)
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close(drawn)  # which keeps all figures that it made
    return Rendered("figure", "png", buffer.getvalue(), words)


def _said_in(drawn: "Drawn") -> str:
    """The titles and labels of a figure."""
    texts = [drawn.get_suptitle()]
    for axes in drawn.axes:
        texts += [axes.get_title(), axes.get_xlabel(), axes.get_ylabel()]
    said = one_line(", ".join(dict.fromkeys(filter(None, texts))), most=300)
    return f"a figure: {said}" if said else "a figure without a title"


def _within(values: np.ndarray, low: float, words: tuple[str, str]) -> tuple[np.ndarray, str]:
    """Floats within `low` and 1, what is no number as 0, and how many were otherwise."""
    values = values.astype(np.float64)
    lost, beyond = np.isnan(values), (values < low) | (values > 1)
    notes = ""
    if beyond.any():
        notes += f"; not within {words[1]}, so cut off: {beyond.sum():,} of {values.size:,} values"
    if lost.any():
        notes += f"; no numbers, so {words[0]}: {lost.sum():,} of {values.size:,} values"
    return np.clip(np.where(lost, 0.0, values), low, 1.0), notes


_RENDERERS: dict[type, Callable[[Any], Rendered]] = {
    Image: _image,
    Text: _text,
    Counts: _histogram,
    Audio: _audio,
    Figure: _figure,
}
