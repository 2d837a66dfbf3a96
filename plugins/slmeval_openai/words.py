"""What a server says, as words that can be shown: one line, no control characters, not long."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

#: characters of a server's message that are quoted
_SHOWN = 300
#: names that are listed
_LISTED = 8


def clean(text: str) -> str:
    """``text`` on one line, without control characters, whole."""
    # formats (Cf) turn a line's direction or hide letters; lone surrogates (Cs) cannot be written
    kept = "".join(" " if letter.isspace() else letter for letter in text)
    kept = "".join(letter for letter in kept if unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Co"))
    return " ".join(kept.split())


def listed(names: Sequence[str]) -> str:
    """The first of ``names``, and how many others there are."""
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} others" if more > 0 else "")


def short(text: str, most: int = _SHOWN) -> str:
    """``text`` cut to what is worth quoting."""
    return text if len(text) <= most else text[:most] + "..."
