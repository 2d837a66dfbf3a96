r"""The number that a text gives as its answer, however it is written: our own filter, ``stated_number``.

Looked for, in this order: in the last ``\boxed{}``; after the first ``####``; after the first "answer is",
"answer:" and the like; and else the last number of all. In the first three cases it is the first number
there, behind an equals sign if there is one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction

from slmeval.api import Filter
from slmeval.types import Row
from slmeval_math.boxed import boxed

#: numbers of more digits are noise, and take long to compute with
_LONGEST = 400

# ---- one way of writing ------------------------------------------------------------------------------

_PLAIN: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        ("\u2212", "-"),
        # where no range and no list can begin, a dash before a number is its sign
        (r"(?<=[=({\[$])(\s*)[-\u2013]\s*(?=[\d.$\\])", r"\1-"),
        # what LaTeX and typography put between thousands
        (r"(?<=\d)(?:\{,\}|,\\!|\\[,!]|[\u00a0\u2009\u202f])(?=\d{3}(?!\d))", ","),
        (r"\\([$%])", r"\1"),
        # a date is no quotient
        (r"(?<!\d)\d{1,4}/\d{1,2}/\d{1,4}(?!\d)", ""),
        (r"(?<=\d)\s*\\[cdt]?frac", r" \\frac"),
        (r"\\[cdt]?frac\s*\{\s*(-?\d+)\s*\}\s*\{\s*(\d+)\s*\}", r"\1/\2"),
        (r"\\[cdt]?frac\s*(\d)\s*(\d)", r"\1/\2"),
        (r"(?<=\d)\s*(?:\\times|\\cdot|[×*])\s*10\s*\^\s*\{?(-?\d{1,3})(?!\d)\}?", r"e\1"),
    )
)
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)\]}%.,])-)?(?:[$€£]\s?)?(?P<inner>(?<=[$€£])-)?"
    # an exponent, an index or a part of a name is no number of its own
    r"(?<![A-Za-z_^\d])(?<![_^]\{)"
    r"(?:(?P<whole>\d+)\s+(?P<over>\d+)/(?P<under>\d+)"
    r"|(?P<number>\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?P<decimals>(?<!\.)\.\d+)?(?P<power>e-?\d{1,3}(?!\w))?"
    r"(?:\s?/\s?(?P<below>\d+)(?!\s?/))?)"
    # nor is one that counts places: the 3rd
    r"(?!\d)(?!(?:st|nd|rd|th)\b)"
)


def plain(text: str) -> str:
    """``text`` with its numbers written without LaTeX and typography: a minus, commas, ``3/4``, ``5e3``."""
    for pattern, instead in _PLAIN:
        text = pattern.sub(instead, text)
    return text


def numbers(text: str) -> list[Fraction]:
    """All numbers in ``text``, in their order."""
    found = (_value(match) for match in _NUMBER.finditer(plain(text)))
    return [value for value in found if value is not None]


def _value(match: re.Match[str]) -> Fraction | None:
    if len(match[0]) > _LONGEST:
        return None
    sign = -1 if match["sign"] or match["inner"] else 1
    if match["whole"]:
        part = _divided(Fraction(match["over"]), match["under"])
        return part and sign * (int(match["whole"]) + part)
    digits = (match["number"] or "").replace(",", "") + (match["decimals"] or "")
    if not digits:
        return None
    value = Fraction(f"0{digits}{match['power'] or ''}")
    return _divided(sign * value, match["below"] or "1")


def _divided(value: Fraction, by: str) -> Fraction | None:
    return value / int(by) if int(by) else None


def read_number(text: str) -> Fraction | None:
    """A text that is a number and nothing else, as data sets write it: ``24``, ``24.0``, ``1.2e+06``."""
    try:
        return Fraction(text) if math.isfinite(float(text)) else None
    except ValueError:
        return None


def written(value: Fraction) -> str:
    """A number in one way: ``24``, ``-0.5``, and ``1/3`` where no decimals are enough."""
    if value.denominator == 1:
        return str(value.numerator)
    rest, places = value.denominator, 0
    for factor in (2, 5):
        count = 0
        while rest % factor == 0:
            rest, count = rest // factor, count + 1
        places = max(places, count)
    if rest != 1:
        return str(value)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def number_field(row: Row, name: str) -> str:
    """A field with a number, written as one would: 24, not 24.0.

    :raises ValueError: it is no number.
    """
    given = row[name]
    found = None if isinstance(given, bool) else read_number(str(given))
    if found is None:
        raise ValueError(f"{name} must be a number, not {given!r}")
    return written(found)


# ---- where it is said ----------------------------------------------------------------------------------

_SAID = re.compile(r"\banswers?\s*(?:is|are|was|=|:)", re.IGNORECASE)


def stated(text: str) -> Fraction | None:
    """The number that ``text`` gives as its answer."""
    ways: tuple[Callable[[str], str | None], ...] = (_boxed, _marked, _said)
    for way in ways:
        told = way(text)
        if told is not None and (found := numbers("".join(told.rpartition("=")[1:]))):
            return found[0]
    everywhere = numbers(text)
    return everywhere[-1] if everywhere else None


def _boxed(text: str) -> str | None:
    found = boxed(text)
    return found and f"{{{found}}}"


def _marked(text: str) -> str | None:
    _, mark, rest = text.partition("####")
    return rest.partition("\n")[0] if mark else None


def _said(text: str) -> str | None:
    found = _SAID.search(text)
    return found and re.split(r"\n|\.\s", text[found.end() :].lstrip(), maxsplit=1)[0]


class StatedNumber(Filter):
    """The number that is given as the answer, in one way of writing."""

    name = "stated_number"

    def find(self, text: str) -> str | None:
        found = stated(text)
        return None if found is None else written(found)
