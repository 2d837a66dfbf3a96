r"""The answer that a solution puts in a box: ``\boxed{...}``."""

from __future__ import annotations

_MARK = "\\boxed"


def boxed(text: str) -> str | None:
    r"""What stands in the last box, or ``None`` where there is none or it is not closed.

    As in lm-evaluation-harness (its minerva_math, 0.4.13): ``\boxed 5$`` has what follows up to a dollar
    sign, and such a box goes before those with braces.
    """
    _, bare, rest = text.rpartition(f"{_MARK} ")
    if bare:
        return rest.partition("$")[0]
    _, mark, rest = text.rpartition(_MARK)
    return _braced(rest) if mark and rest.startswith("{") else None


def _braced(text: str) -> str | None:
    """What stands between the brace that ``text`` begins with and the one that closes it."""
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign == "{") - (sign == "}")
        if not depth:
            return text[1:place]
    return None
