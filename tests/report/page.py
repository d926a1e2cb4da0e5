"""A page as a browser would read it: elements, text and tables."""

from html.parser import HTMLParser

VOID = ("meta", "img", "link", "br", "hr", "input")


class Page(HTMLParser):
    """Parses a page; fails where a closing tag does not fit.

    Attributes:
      elements: tag and attributes of every element, in order.
      tables: rows of cells by the table's label.
      texts: every piece of text outside of style.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.texts: list[str] = []
        self.styles: list[str] = []
        self._open: list[str] = []
        self._rows: list[list[str]] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self._rows = self.tables.setdefault(attributes["aria-label"], [])
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.styles.append(data)
            return
        self.texts.append(data)
        if self._open and self._open[-1] in ("td", "th"):
            self._rows[-1][-1] += data

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def having(self, tag: str) -> list[dict[str, str]]:
        """The attributes of all elements with this tag."""
        return [attributes for name, attributes in self.elements if name == tag]
