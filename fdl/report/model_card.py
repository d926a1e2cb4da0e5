"""A trained run's model card: what was checked of it, with intervals, and what was not, with reasons."""

import json
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from fdl import formats
from fdl.report.tables import Column
from fdl.storage import Folder, kind_of, write_atomically

CARD = "model_card.json"
"""Its file in the directory of the runs."""
BEGIN, END = "<!-- model card -->", "<!-- end of model card -->"
"""Between these it stands on a page; what users write is escaped, so that none of it is one of these."""
HEADS = (
    "Rates have Wilson's 95 % interval over the rows, other numbers the one that is named. Intervals tell of "
    "other rows of the same kind, not of other seeds. Rows count alike, also where the training weighed them."
)


class Checked(NamedTuple):
    """A number that was measured.

    Attributes:
      name: what it is.
      of: the rows or the setting that it is of, as `"sex=1"`; empty for all.
      value: the number.
      low: the lower end of its 95 % interval; None for what is no estimate, as a number of parameters.
      high: the upper end.
      rows: of how many rows; None likewise.
      how: by which method, in words.
    """

    name: str
    of: str
    value: float
    low: float | None
    high: float | None
    rows: int | None
    how: str = ""


class NotChecked(NamedTuple):
    """What was not measured, and why.

    Attributes:
      name: what it is.
      reason: why, in words.
    """

    name: str
    reason: str


class ModelCard(NamedTuple):
    """What is known of a trained run.

    Attributes:
      about: which run and data, short answers by name.
      checked: what was measured.
      not_checked: what was not.
    """

    about: dict[str, str]
    checked: tuple[Checked, ...]
    not_checked: tuple[NotChecked, ...]


def card_tables(card: ModelCard) -> tuple[tuple[str, tuple[Column, ...]], ...]:
    """Headings and tables, for the terminal and for the page: what was checked, what was not."""
    found, gone = card.checked, card.not_checked
    numbers = (
        Column("check", tuple(one.name for one in found), number=False),
        Column("of", tuple(one.of for one in found), number=False),
        Column("value, 95 % interval", tuple(_shown(one) for one in found)),
        Column("rows", tuple("" if one.rows is None else f"{one.rows:,}" for one in found)),
        Column("how", tuple(one.how for one in found), number=False),
    )
    reasons = (
        Column("not checked", tuple(one.name for one in gone), number=False),
        Column("reason", tuple(one.reason for one in gone), number=False),
    )
    told = (("Checked", numbers), ("Not checked", reasons))
    return tuple((heading, columns) for heading, columns in told if columns[0].cells)


def page_with_room(directory: Folder) -> str | None:
    """The text of the `report.html` in a directory, or None where there is none.

    Raises:
      ValueError: it has no place for a card, as it is of an earlier fdl.
      OSError: it cannot be read.
    """
    page = directory / "report.html"
    text = page.read_text("utf-8") if kind_of(page) else None
    if text is not None and (BEGIN not in text or END not in text):
        raise ValueError(f"{page} was made by an earlier fdl and has no room for a model card: make it again")
    return text


def write_card(card: ModelCard, directory: Folder) -> bool:
    """Writes the card beside the runs, and into `report.html` where that is there; whether it is.

    Raises:
      ValueError: as of `page_with_room`.
      OSError: a file cannot be read or written.
    """
    text = page_with_room(directory)
    write_atomically(directory / CARD, json.dumps(_as_json(card), indent=1).encode())
    if text is not None:
        head, _, rest = text.partition(BEGIN)
        page = f"{head}{card_section(card)}{rest.partition(END)[2]}"
        write_atomically(directory / "report.html", page.encode())
    return text is not None


def read_card(directory: Folder) -> ModelCard | None:
    """The card that is stored in a directory, or None.

    Raises:
      ValueError: the file is not one that `write_card` wrote.
    """
    if not kind_of(directory / CARD):
        return None
    try:
        found = json.loads((directory / CARD).read_text("utf-8"))
        checked = tuple(Checked(**one) for one in found["checked"])
        return ModelCard(found["about"], checked, tuple(NotChecked(**one) for one in found["not_checked"]))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{directory / CARD} is no model card: {error}; remove it, and fdl check again"
        ) from None


def card_section(card: ModelCard | None) -> str:
    """The page's section, between its marks; the marks alone where there is no card."""
    if card is None:
        return f"{BEGIN}{END}"
    facts = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in card.about.items())
    tables = "".join(_table(heading, columns) for heading, columns in card_tables(card))
    head = f'<h2>Model card</h2>\n<dl class="facts">{facts}</dl>\n<p class="note">{escape(HEADS)}</p>'
    return f"{BEGIN}{head}{tables}{END}"


def _table(label: str, columns: Sequence[Column]) -> str:
    heads = "".join(f'<th scope="col" class="{one.kind}">{escape(one.name)}</th>' for one in columns)
    rows = "".join(
        "<tr>" + "".join(f'<td class="{c.kind}">{escape(c.cells[n])}</td>' for c in columns) + "</tr>"
        for n in range(len(columns[0].cells))
    )
    region = (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table aria-label="{label}">'
    )
    table = f"{region}<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    return f'\n<p class="caption">{label}</p>\n{table}\n'


def _shown(one: Checked) -> str:
    if one.low is None or one.high is None:
        return f"{one.value:,.0f}"
    spread = (one.high - one.low) / 2
    return f"{formats.fixed(one.value, spread)} {formats.interval(one.low, one.high, spread)}"


def _as_json(card: ModelCard) -> dict[str, Any]:
    checked, gone = ([one._asdict() for one in part] for part in (card.checked, card.not_checked))
    return {"about": card.about, "checked": checked, "not_checked": gone}
