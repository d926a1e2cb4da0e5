"""Reports: the same numbers in the terminal, on one self-contained HTML page and in files."""

from fdl.report.files import write as write
from fdl.report.terminal import show as show

__all__ = ["show", "write"]
