"""What the effects at the edge say, in one line."""


def one_line(error: BaseException) -> str:
    """The innermost cause of an error, as one line of at most 200 characters: its beginning and its end."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 200 else f"{text[:80]} ... {text[-115:]}"


def duration(seconds: float) -> str:
    """A time span as a person says it: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def short(error: BaseException) -> str:
    """What an error says, on one line of at most 300 characters."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:297]}..."
