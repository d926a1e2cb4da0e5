"""German names of numbers, whose units come before the tens."""

from fdl.arguments import checked

_SMALL = (
    *("null", "ein", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf"),
    *("zwölf", "dreizehn", "vierzehn", "fünfzehn", "sechzehn", "siebzehn", "achtzehn", "neunzehn"),
)
_TENS = ("zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig")


@checked
def german_number_words(number: int) -> tuple[str, ...]:
    """The German name of a number, its parts apart: 21,305 is ein und zwanzig tausend drei hundert fünf.

    Args:
      number: 0 to 999,999,999.

    Raises:
      ValueError: a number out of that range.
    """
    if not 0 <= number < 10**9:
        raise ValueError(f"the number is {number}; expected 0 to 999999999")
    millions, rest = divmod(number, 10**6)
    thousands, last = divmod(rest, 1000)
    words = (*_ending(millions, "eine"), "million" if millions == 1 else "millionen") if millions else ()
    words += (*_hundreds(thousands), "tausend") if thousands else ()
    return (*words, *_ending(last, "eins")) if last or not words else words


def _ending(number: int, one: str) -> tuple[str, ...]:
    """The name of a group of three digits, where a one at its end is said as `one`."""
    words = _hundreds(number)
    return (*words[:-1], one) if words[-1] == "ein" else words


def _hundreds(number: int) -> tuple[str, ...]:
    """The name of 0 to 999, as before a thousand."""
    if number >= 100:
        rest = number % 100
        return (_SMALL[number // 100], "hundert", *(_hundreds(rest) if rest else ()))
    if number < 20:
        return (_SMALL[number],)
    tens, units = divmod(number, 10)
    return (*((_SMALL[units], "und") if units else ()), _TENS[tens - 2])
