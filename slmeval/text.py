"""Text from strangers (names, notes, messages of engines), made harmless for a terminal."""

from __future__ import annotations

import re
import unicodedata

#: terminal commands (ECMA-48): CSI, then OSC and the other strings, then the short ones
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|\x1b[]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)"
    r"|\x1b[ -/]*[0-~]"
)


def clean(text: str) -> str:
    """One line without anything that a terminal would obey: escapes, controls, direction marks."""
    text = _ESCAPES.sub("", text)
    # split takes the other line ends (U+2028, U+2029) for blanks
    return " ".join("".join(map(_harmless, text)).split())


def _harmless(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cc":
        return " "
    return "" if category in {"Cf", "Cs"} else character
