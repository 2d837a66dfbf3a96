"""Text from strangers on a page: whatever would change how its neighbours read is shown as a visible mark."""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup, escape

#: characters of one text that a page shows
LONGEST = 2000
#: those of a text in a title, an option or an attribute
_LONGEST_PLAIN = 200
#: controls; what has no width or turns the direction of text; line ends that are none in HTML; surrogates;
#: marks on marks beyond what any script needs, which would be painted over the lines above
_ODD = re.compile(
    "([\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff])\\1*|(?<=[\u0300-\u036f]{4})[\u0300-\u036f]+"
)
_MARK = Markup('<span class="mark">{}</span>')
#: so often the same mark stands in a row
_FEW = 4
#: what stays as it is where a text has lines
_BREAKS = "\n\t"


def shown(value: Any, lines: bool = False, longest: int = LONGEST) -> Markup:
    """Any text as a page may show it: escaped, isolated from its neighbours, cut where it is long.

    With ``lines`` its line ends and tabs are kept, else they are marks as other controls are.
    """
    text = str(value)
    kept = escape_odd(text[:longest], lines)
    rest = ""
    if len(text) > longest:
        rest = Markup('<span class="cut">… ({:,} of {:,} characters)</span>').format(longest, len(text))
    name = ' class="lines"' if lines else ""
    return Markup("<bdi{}>{}{}</bdi>").format(Markup(name), kept, rest)


def escape_odd(text: str, lines: bool = False) -> Markup:
    """``text`` escaped, each odd character a mark; neither isolated nor cut."""
    pieces: list[Markup] = []
    end = 0
    for found in _ODD.finditer(text):
        if lines and found[0][0] in _BREAKS:
            continue
        pieces += (
            escape(text[end : found.start()]),
            Markup('<span class="mark">{}</span>').format(_sign(found)),
        )
        end = found.end()
    return Markup("").join([*pieces, escape(text[end:])])


def plain(value: Any, longest: int = _LONGEST_PLAIN) -> str:
    """As :func:`shown`, without markup: for titles, options and attributes."""
    text = str(value)
    cut = "…" if len(text) > longest else ""
    return _ODD.sub(_sign, text[:longest]) + cut


def _sign(found: re.Match[str]) -> str:
    """What stands for one odd character, or for the same one again and again."""
    sign, times = _sign_of(ord(found[0][0])), len(found[0])
    return sign * times if times <= _FEW else f"{sign}×{times:,}"


def _sign_of(code: int) -> str:
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
