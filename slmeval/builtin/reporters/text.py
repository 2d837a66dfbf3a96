"""Text and numbers as a report shows them. Names and notes come from strangers: they are made harmless."""

from __future__ import annotations

import math
import re

from slmeval.text import clean
from slmeval.types import Figure

#: numbers of this size, and intervals narrower than that, are told by their power of ten
_HUGE, _TINY = 1e15, 1e-12
_MARKS = re.compile(r"([\\`*<>|&]|\[(?=[^\]]*\]\())")
#: a person, a team or an issue as GitHub links it, and tells of it to whoever it concerns
_MENTIONS = re.compile(r"(?<!\w)(@(?=\w)|#(?=\d))")


def markdown(text: str) -> str:
    """One clean line in which Markdown and HTML mean nothing, nor end a table's cell, nor call anybody."""
    return _MENTIONS.sub(r"\1&#8203;", _MARKS.sub(r"\\\1", clean(text)))


def last_part(text: str, length: int) -> str:
    """The end of ``text`` in one clean line: what is asked stands there."""
    line = clean(text)
    return line if len(line) <= length else f"…{line[1 - length :]}"


# ---- numbers -----------------------------------------------------------------------------------------


def plural(count: int, noun: str) -> str:
    """``1 row``, ``2,376 rows``"""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def value_text(figure: Figure) -> str:
    """``0.4125 ± 0.0219``, with its source where it was not measured and its note where it has no error."""
    if figure.value is None or figure.source == "unavailable":
        return f"unavailable ({figure.note or 'no reason given'})"
    if not math.isfinite(figure.value):
        return f"unavailable (the value was {figure.value})"
    text = number(figure.value, figure.value)
    if figure.stderr is not None and math.isfinite(figure.stderr):
        text += f" ± {number(figure.stderr, figure.value)}"
    told = ["estimated"] if figure.source == "estimated" else []
    told += [figure.note] if figure.note and figure.stderr is None else []
    return f"{text} ({', '.join(told)})" if told else text


def number(value: float, scale: float) -> str:
    """``value`` with as many digits as are of use beside one of size ``scale``."""
    text = format(value, _form(scale))
    # what was rounded to nothing has no sign
    return text if text.strip("-0.,") else text.removeprefix("-")


def _form(scale: float) -> str:
    size = abs(scale)
    if size >= _HUGE:
        return ".3g"
    if size >= 1000:
        return ",.0f" if float(scale).is_integer() else ",.1f"
    return ".4f" if size >= 0.001 or size == 0 else ".3g"


def signed(value: float, scale: float) -> str:
    """As :func:`number`, with a sign in front of what is more than nothing, too."""
    text = number(value, scale)
    return f"+{text}" if value > 0 and text != number(0.0, scale) else text


def interval_text(figure: Figure) -> str:
    """``[0.37, 0.46]``: two decimals, or as many as its half width needs; empty where none is finite."""
    if figure.ci95 is None or not all(map(math.isfinite, figure.ci95)):
        return ""
    low, high = figure.ci95
    if max(abs(low), abs(high)) >= _HUGE or 0 < high - low < _TINY:
        return f"[{low:.3g}, {high:.3g}]"
    decimals = _decimals(low, high)
    # adding zero makes a zero of what was rounded to minus zero
    low, high = round(low, decimals) + 0.0, round(high, decimals) + 0.0
    return f"[{low:,.{decimals}f}, {high:,.{decimals}f}]"


def _decimals(low: float, high: float) -> int:
    least = 2 if max(abs(low), abs(high)) < 1000 else 0
    # the half is taken of the logarithm: of the smallest number there is no half
    return max(least, -math.floor(math.log10(high - low) - math.log10(2))) if high > low else max(least, 4)
