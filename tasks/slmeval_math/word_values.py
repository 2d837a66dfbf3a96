"""What words of a problem may stand for in its arithmetic: "twice" for 2, "a week" for 7, "30%" for 0.3.

It may say more than a problem means: a number that a word might stand for stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

#: a pattern, and what it may stand for
_Line = tuple[re.Pattern[str], tuple[Fraction, ...]]
_ONES = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_PARTS = ("third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_COUNTS = "an?|each|one|two|three|four|five|six|seven|eight|nine"
#: beginnings of words with the values that they may stand for, where the beginning is enough to know them by
_STANDS_FOR: tuple[tuple[str, tuple[str, ...]], ...] = (
    *((rf"{word}\b", (str(value),)) for value, word in enumerate(_ONES, 1)),
    *((word, (str(10 * value),)) for value, word in enumerate(_TENS, 2)),
    # the third of a share, not the third day
    *((rf"(?:{_COUNTS})[- ]{word}", (str(value), f"1/{value}")) for value, word in enumerate(_PARTS, 3)),
    ("hundred", ("100",)),
    ("thousand", ("1000",)),
    ("million", ("1000000",)),
    (r"half|halv", ("2", "1/2", "3/2")),
    (r"twice|doubl|couple|pair|both|twin|biweek|two-|round.?trip|way\b", ("2",)),
    (r"thrice|tripl", ("3",)),
    ("quadrupl", ("4",)),
    ("quarter", ("4", "1/4", "3/4", "3", "25")),
    ("dozen", ("12",)),
)
#: the same for units, which numbers are multiplied with or divided by
_UNITS_STAND_FOR: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"da(?:y|il)", ("7", "24")),
    (r"week(?!end|day)", ("7", "4", "52")),
    ("weekend", ("2",)),
    (r"weekday|work", ("5",)),
    ("month", ("12", "4", "30", "31")),
    (r"year|annual", ("12", "52", "365")),
    (r"hour|minute", ("60",)),
    ("second", ("60",)),
    (r"foot|feet|inch", ("12",)),
    ("yard", ("3", "36")),
    (r"pound|ounce|lb", ("16",)),
    (r"gallon|quart|pint", ("4", "8", "2", "16")),
    (r"kilo|meter|metre|liter|litre|gram|km|kg", ("1000", "100")),
    (r"cent|dollar|\$", ("100", "1/100")),
    ("decade", ("10",)),
    ("dime", ("10", "1/10")),
    ("nickel", ("5", "1/20")),
    (r"penn", ("1/100",)),
    (r"square|rectang", ("4", "2")),
    ("triang", ("3",)),
)


def _compiled(table: tuple[tuple[str, tuple[str, ...]], ...]) -> tuple[_Line, ...]:
    return tuple(
        (re.compile(rf"(?<![a-z])(?:{pattern})", re.IGNORECASE), tuple(map(Fraction, values)))
        for pattern, values in table
    )


_WORDS, _MEASURES = _compiled(_STANDS_FOR), _compiled(_UNITS_STAND_FOR)
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:%|percent)")
_PART = re.compile(r"(\d+)\s*/\s*(\d+)")
_FIXED = frozenset(map(Fraction, ("0", "1")))


def said_values(question: str) -> frozenset[Fraction]:
    """All values that number words, percentages and fractions may stand for; and nought and one."""
    return _FIXED | _found(_WORDS, question) | frozenset(_shares(question)) | frozenset(_parts(question))


def unit_values(question: str) -> frozenset[Fraction]:
    """All values by which one unit of the question may be converted to another."""
    return _found(_MEASURES, question)


def _found(table: tuple[_Line, ...], question: str) -> frozenset[Fraction]:
    return frozenset(value for pattern, values in table if pattern.search(question) for value in values)


def _shares(question: str) -> Iterator[Fraction]:
    for match in _SHARE.finditer(question):
        share = Fraction(match[1])
        yield from (Fraction(100), share, 100 - share, 100 + share)
        yield from (share / 100, 1 - share / 100, 1 + share / 100)


def _parts(question: str) -> Iterator[Fraction]:
    for match in _PART.finditer(question):
        above, below = Fraction(match[1]), Fraction(match[2])
        yield from (above, below, below - above)
        if below:
            yield from (above / below, 1 - above / below, 1 + above / below)
