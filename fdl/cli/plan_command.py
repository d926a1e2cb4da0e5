"""`fdl plan`: a slice that does not exist is refused before what takes seconds to import."""

from collections.abc import Sequence

from fdl.aot.chips import parse_slice

FLAG = "--topology"


def execute(words: Sequence[str]) -> int:
    """Runs the command on the words after its name; returns the exit code."""
    for place, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag == FLAG and (equals or place + 1 < len(words)):
            parse_slice(value if equals else words[place + 1])
    from fdl.cli.commands import plan

    return plan(words)
