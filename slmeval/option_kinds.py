"""Kinds of options: what turns the text after ``-o name=`` into a value, for :class:`slmeval.api.Option`."""

from __future__ import annotations


def truth(text: str) -> bool:
    """``true`` or ``false``, in any case.

    :raises ValueError: it is neither.
    """
    values = {"true": True, "false": False}
    if text.lower() not in values:
        raise ValueError(f"{text!r} is neither true nor false")
    return values[text.lower()]


def count(text: str) -> int:
    """A whole number that is not negative.

    :raises ValueError: it is none.
    """
    number = int(text)
    if number < 0:
        raise ValueError(f"{number} is negative")
    return number


def positive(text: str) -> int:
    """A whole number above zero.

    :raises ValueError: it is none.
    """
    number = count(text)
    if not number:
        raise ValueError("0 is too small")
    return number
