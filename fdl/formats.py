"""Numbers as text, with the digits that their uncertainty leaves."""

import math

NONE = "–"
"""What stands where there is no number."""


def number(value: float, *, digits: int = 4) -> str:
    """`value` to so many significant digits; scientific below 1e-4 and from 1e6 on."""
    if math.isnan(value):
        return NONE
    if not math.isfinite(value) or value == 0:
        return _minus(f"{value:.0f}")
    if not 1e-4 <= abs(value) < 1e6:
        return _minus(f"{value:.{digits - 1}e}")
    return _minus(f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}")


def plain(value: float) -> str:
    """A round number as it is, as `0.001`, `10` or `1e−06`."""
    return _minus(f"{value:g}")


def estimate(mean: float, margin: float) -> str:
    """A mean and its margin, as `0.9342 ± 0.0051`: two significant digits of the margin, and the
    mean to the same decimal. The mean alone where the margin is NaN."""
    if not (math.isfinite(mean) and math.isfinite(margin)):
        return number(mean)
    size = max(abs(mean), margin)
    if size and not 1e-4 <= size < 1e6:
        return _minus(f"{mean:.2e} ± {margin:.1e}")
    if margin == 0:  # all runs alike: the digits are the mean's
        shown = number(mean)
        return f"{shown} ± {0:.{len(shown.partition('.')[2])}f}" if mean else "0.0000 ± 0.0000"
    shown = number(margin, digits=2) if 0 < margin < 1e-5 else f"{margin:.{decimals(margin)}f}"
    return f"{fixed(mean, margin)} ± {_minus(shown)}"


def fixed(value: float, spread: float, *, sign: bool = False) -> str:
    """`value` to the decimal of the second significant digit of `spread`; `sign` shows a plus.

    What would be rounded to zero, and is not, is shown to two digits of its own: which side of zero the
    end of an interval lies on is what a verdict rests on.
    """
    if not (math.isfinite(value) and math.isfinite(spread)):
        return number(value)
    shown = f"{value:{'+' if sign else ''}.{decimals(spread)}f}"
    if value and not float(shown):
        return f"{'+' if sign and value > 0 else ''}{number(value, digits=2)}"
    return _minus(shown)


def interval(low: float, high: float, spread: float) -> str:
    """An interval as `[0.029, 0.039]`, its ends shown as by `fixed`."""
    if math.isnan(low) or math.isnan(high):
        return NONE
    return f"[{fixed(low, spread)}, {fixed(high, spread)}]"


def decimals(spread: float) -> int:
    """How many decimals show two significant digits of `spread`: from 0 to 6, 4 if it is zero."""
    if not math.isfinite(spread) or spread <= 0:
        return 4
    return min(6, max(0, 1 - math.floor(math.log10(spread))))


def p_value(p: float) -> str:
    """A p-value with two significant digits, never as zero."""
    if math.isnan(p):
        return NONE
    return "< 0.0001" if p < 1e-4 else number(p, digits=2)


def duration(seconds: float) -> str:
    """A time span, as `4.5 µs`, `310 ms`, `0.42 s`, `41 s`, `3 min 05 s` or `2 h 10 min`."""
    if seconds < 0.1:
        unit, name = (1e-3, "ms") if seconds >= 1e-3 else (1e-6, "µs")
        return f"{number(seconds / unit, digits=3)} {name}"
    if seconds < 100:
        return f"{number(seconds, digits=2 if seconds < 10 else 3)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def memory(size: float) -> str:
    """A number of bytes in binary units, as `1.5 MiB`."""
    power = min(4, max(0, math.floor(math.log2(size) / 10))) if size >= 1 else 0
    return f"{number(size / 1024**power, digits=3)} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


def _minus(text: str) -> str:
    return text.replace("-", "−")
