"""The numbers of a word problem: which of them may be others, and the problem with these."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from slmeval_math.annotations import CannotRenumber
from slmeval_math.word_values import said_values, unit_values

_NUMBER = re.compile(r"(?<![\d.,])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?!\d)")
#: what makes a number of the question stay: what stands right before or behind it
_BEFORE = re.compile(r"[A-Za-z/:.]$|\b(?:in|grade|page|chapter|level|number|no\.) $|\d\s*(?:[-–—]|to)\s*$")
_BEHIND = re.compile(
    r"[a-z/:]|\s*(?:[-–—]|to)\s*\d|\s*%|\s+percent|\s*/|\s*[ap]\.?m\b|\s+o'clock"
    r"|\s+(?:day|time|hour|minute|week|month)s?\s+(?:an?|per|each|every|in)\s+(?:an?\s+|the\s+)?"
    r"(?:day|week|month|year|hour)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Given:
    """The numbers of a question: those that stay, those that may change, those that units stand for."""

    stay: frozenset[Fraction]
    free: frozenset[Fraction]
    units: frozenset[Fraction]


def given_numbers(question: str, used: Mapping[Fraction, int]) -> Given:
    """``used`` is how often each number is computed with; one that is so as often as it is named may change.

    :raises CannotRenumber: none of the numbers may change.
    """
    said: Counter[Fraction] = Counter()
    stay = set(said_values(question))
    for match in _NUMBER.finditer(question):
        value = Fraction(match[0].replace(",", ""))
        said[value] += 1
        if not _is_free(question, match, value):
            stay.add(value)
    units = unit_values(question)
    free = {value for value, count in said.items() if count == used.get(value)} - stay - units
    if not free:
        raise CannotRenumber("no number of the question can be drawn anew")
    return Given(frozenset(stay | said.keys()) - free, frozenset(free), units)


def _is_free(question: str, match: re.Match[str], value: Fraction) -> bool:
    if "." in match[0] or value < 2 or 1900 <= value <= 2100:
        return False
    return not (_BEFORE.search(question[: match.start()]) or _BEHIND.match(question, match.end()))


def alike(question: str, changed: Mapping[int, int]) -> bool:
    """Every number changes, and what was less, equal or more in the question is so again."""
    if any(old == new for old, new in changed.items()):
        return False
    old = sorted({Fraction(match[0].replace(",", "")) for match in _NUMBER.finditer(question)})
    new = [Fraction(changed.get(int(value), value) if value.denominator == 1 else value) for value in old]
    return all(low < high for low, high in pairwise(new))


def rewritten(question: str, changed: Mapping[int, int]) -> str:
    """The question with other numbers for the old ones, written as these were."""

    def other(match: re.Match[str]) -> str:
        value = Fraction(match[0].replace(",", ""))
        if value not in changed:
            return match[0]
        new = changed[int(value)]
        return f"{new:,}" if "," in match[0] or (new >= 1000 and value < 1000) else str(new)

    return _NUMBER.sub(other, question)
