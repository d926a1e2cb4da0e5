"""What was shown of runs, as a page holds it: a slider over steps for each run and name."""

import base64
import codecs
from collections.abc import Sequence
from typing import NamedTuple

from fdl.inspection import Inspection
from fdl.text import counted, message_of

STEPS = 12
"""So many steps of a run are on the page at most, the first and the last among them."""
PAGE_BYTES = 8 * 2**20
"""So much of the page may be inspections."""
TEXT_BYTES = 20_000
"""So much of a text is shown."""
_TYPES = {"png": "image/png", "svg": "image/svg+xml", "wav": "audio/wav"}


class Panel(NamedTuple):
    """What one step showed.

    Attributes:
      step: updates done.
      kind: as `Inspection.kind`; `"text"` also of what cannot be read.
      source: a data URI; empty for a text.
      text: a text; empty for all else.
      words: what it shows in words.
    """

    step: int
    kind: str
    source: str
    text: str
    words: str


class Slider(NamedTuple):
    """The steps of one run.

    Attributes:
      run: its arm and seed.
      panels: in the order of the steps.
      left_out: which steps are not on the page, in words; empty if all are.
    """

    run: str
    panels: list[Panel]
    left_out: str


def sliders(inspections: Sequence[Inspection]) -> dict[str, list[Slider]]:
    """By name a slider for each run; of many or large files so many steps as the page has room for."""
    series: dict[tuple[str, str], list[Inspection]] = {}
    for one in inspections:
        series.setdefault((one.name, f"{one.arm}, seed {one.seed}"), []).append(one)
    ordered = {key: sorted(found, key=lambda one: one.step) for key, found in series.items()}
    most = _fitting(list(ordered.values()))
    shown: dict[str, list[Slider]] = {}
    room = PAGE_BYTES
    for (name, run), found in ordered.items():
        chosen = evenly(found, most)
        cost = sum(map(_cost, chosen))
        panels = [_panel(one) for one in chosen] if cost <= room else []
        room -= cost if panels else 0
        shown.setdefault(name, []).append(Slider(run, panels, _left_out(len(panels), len(found))))
    return shown


def evenly(found: Sequence[Inspection], most: int) -> list[Inspection]:
    """So many at most, evenly spaced, the first and the last among them; of one the last."""
    if len(found) <= most:
        return list(found)
    if most == 1:
        return [found[-1]]
    return [found[place * (len(found) - 1) // (most - 1)] for place in range(most)]


def _fitting(series: Sequence[Sequence[Inspection]]) -> int:
    """How many steps of each run there is room for, 1 at least."""
    for most in range(STEPS, 1, -1):
        if sum(_cost(one) for found in series for one in evenly(found, most)) <= PAGE_BYTES:
            return most
    return 1


def _cost(one: Inspection) -> int:
    """Bytes of the page."""
    return min(one.size, TEXT_BYTES) if one.kind == "text" else -(-one.size // 3) * 4


def _left_out(shown: int, there: int) -> str:
    if shown == there:
        return ""
    return f"{shown} of {counted(there, 'step')} are on this page; all are kept with the run"


def _panel(one: Inspection) -> Panel:
    try:
        content = one.read()
    except OSError as error:
        return Panel(one.step, "text", "", f"cannot be read: {message_of(error, most=200)}", one.words)
    if one.suffix not in _TYPES:
        # A letter that is cut in two is left out.
        start = codecs.getincrementaldecoder("utf-8")("replace")
        text = start.decode(content[:TEXT_BYTES], final=len(content) <= TEXT_BYTES)
        more = f" (the first {TEXT_BYTES:,} of {len(content):,} bytes)" if len(content) > TEXT_BYTES else ""
        return Panel(one.step, "text", "", text, f"{one.words}{more}")
    source = f"data:{_TYPES[one.suffix]};base64,{base64.b64encode(content).decode()}"
    return Panel(one.step, one.kind, source, "", one.words)
