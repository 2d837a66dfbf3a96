"""Kinds of options: what turns the text after ``-o name=`` into a value, for :class:`slmeval.api.Option`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

#: a number, or the first and the last, and by what one goes on to the next
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+)(?:([*+])([0-9]+))?)?")

#: values that one list may have: each of them is measured
_MOST = 64
#: engines count in 32 bits
_LARGEST = 2**31 - 1


def truth(text: str) -> bool:
    """``true`` or ``false``, in any case.

    :raises ValueError: it is neither.
    """
    values = {"true": True, "false": False}
    if text.lower() not in values:
        raise ValueError(f"{text!r} is neither true nor false")
    return values[text.lower()]


def count(text: str) -> int:
    """A whole number that is not negative, of 32 bits at most.

    :raises ValueError: it is none.
    """
    try:
        number = int(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no whole number") from None
    if number < 0:
        raise ValueError(f"{text[:40]} is negative")
    if number > _LARGEST:
        raise ValueError(f"{text[:40]} is larger than {_LARGEST:,}")
    return number


def positive(text: str) -> int:
    """A whole number above zero.

    :raises ValueError: it is none.
    """
    number = count(text)
    if not number:
        raise ValueError("0 is too small")
    return number


def seconds(text: str) -> float:
    """A time above zero.

    :raises ValueError: it is none.
    """
    number = float(text)
    if not 0 < number < math.inf:
        raise ValueError(f"{text} is no time in seconds")
    return number


def counts(text: str, least: int = 1) -> tuple[int, ...]:
    """Different whole numbers of at least ``least``: ``512,1024``, or a range with its ends in it.

    Ranges are llama-bench's: ``1-4`` is 1, 2, 3, 4; ``0-2048+512`` goes on by sums, ``1-16*2`` by products.

    :raises ValueError: they are not, or there are more than 64.
    """
    numbers: list[int] = []
    for number in _all_in(text):
        if number < least:
            raise ValueError(f"{number} is too small: at least {least}")
        if number in numbers:
            raise ValueError(f"{number} is given twice")
        if len(numbers) == _MOST:
            raise ValueError(f"more than {_MOST} values")
        numbers.append(number)
    return tuple(numbers)


def counted(numbers: Iterable[int]) -> str:
    """The text that :func:`counts` reads as ``numbers``."""
    return ",".join(map(str, numbers))


def listed(text: str, least: int = 1) -> str:
    """The kind of an option with one value or several: the text of :func:`counts`, ranges written out.

    :raises ValueError: as :func:`counts`.
    """
    return counted(counts(text, least))


def _all_in(text: str) -> Iterator[int]:
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        if not found:
            raise ValueError(f"{part.strip()!r} is neither a whole number nor a range (1-16*2, 0-2048+512)")
        first, last, sign, by = found.groups()
        yield from _between(int(first), int(last or first), sign or "+", int(by or 1))


def _between(first: int, last: int, sign: str, by: int) -> Iterator[int]:
    """From ``first`` to ``last``, each the one before it plus, or times, ``by``.

    :raises ValueError: that would never come to an end, or never begin.
    """
    if first > last:
        raise ValueError(f"{first}-{last} goes down")
    times = sign == "*"
    if by < 1 + times or (times and not first):
        raise ValueError(f"{first}-{last}{sign}{by} never comes to {last}")
    while first <= last:
        yield first
        first = first * by if times else first + by
