r"""A final answer in one way of writing: ``\frac12`` is ``\frac{1}{2}``, ``5 \text{ cm}`` is ``5``.

The steps and their tables define the metric: appendix D of Lewkowycz et al. 2022, "Solving Quantitative
Reasoning Problems with Language Models", arXiv:2206.14858, as lm-evaluation-harness 0.4.13 carries them out
in its minerva_math, version 3.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, reduce

#: what goes away or is spelled otherwise, in this order
_SPELLED = (
    *(("an ", ""), ("a ", ""), (".$", "$"), ("\\$", ""), ("\\ ", ""), (" ", ""), ("mbox", "text")),
    *((",\\text{and}", ","), ("\\text{and}", ","), ("\\text{m}", "\\text{}")),
)
#: units and other words around a number, and marks, which go away in this order
_DROPPED = (
    *("square", "ways", "integers", "dollars", "mph", "inches", "ft", "hours", "km", "units", "\\ldots"),
    *("sue", "points", "feet", "minutes", "digits", "cents", "degrees", "cm", "gm", "pounds", "meters"),
    *("meals", "edges", "students", "childrentickets", "multiples", "\\text{s}", "\\text{.}"),
    *("\\text{\ns}", "\\text{}^2", "\\text{}^3", "\\text{\n}", "\\text{}", "\\mathrm{th}", "^\\circ"),
    *("^{\\circ}", "\\;", ",\\!", "{,}", '"', "\\dots"),
)
_FONTS, _BOX = ("\\text{", "\\textbf{", "\\overline{"), "\\boxed{"
#: short forms that are written out
_SHORT = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r"frac([^{])(.)", r"frac{\1}{\2}"),
        (r"(sqrt\[[^\]]*\])(\w)", r"\1{\2}"),
        (r"sqrt(?!\[)([^{])", r"sqrt{\1}"),
    )
)
_COMMAND = re.compile(r"(\\[a-zA-Z]+)")
_THOUSANDS = re.compile(r"-?\d{1,3}(,\d{3})+")


def normal_form(answer: str) -> str:
    """``answer`` in the one way of writing."""
    text = answer.rpartition("=")[2]
    # words are told from parts of words while there are spaces between them
    text = reduce(lambda rest, word: _whole_word(word).sub("", rest), filter(str.isalpha, _DROPPED), text)
    text = reduce(lambda rest, pair: rest.replace(*pair), _SPELLED, text)
    text = reduce(_dropped, _DROPPED, text)
    text = "\n".join(map(_bare, text.split("\n")))
    text = reduce(lambda rest, short: short[0].sub(short[1], rest), _SHORT, text).replace("$", "")
    # commas between thousands go, those of a pair of numbers stay
    return text.replace(",", "") if _THOUSANDS.fullmatch(text) else text


def _bare(line: str) -> str:
    """A line out of its first dollar signs, its fonts and its box.

    Without regular expressions: theirs look through the whole line again for each of its signs, which takes
    minutes where a model never stops.
    """
    parts = line.split("$", 2)
    line = f"${parts[1]}$" if len(parts) == 3 else line
    line = reduce(_out_of_font, _FONTS, line)
    before, box, rest = line.partition(_BOX)
    inside, end, behind = rest.rpartition("}")
    return before + inside + behind if box and end else line


def _out_of_font(line: str, font: str) -> str:
    """Each ``font`` goes, with the next brace that closes."""
    *closed, last = line.split("}")
    return "".join(part.replace(font, "", 1) if font in part else f"{part}}}" for part in closed) + last


@cache
def _whole_word(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\\)\b{word}\b")


def _dropped(text: str, part: str) -> str:
    return "".join(_without(_COMMAND.split(text), part)) if part.isalpha() else text.replace(part, "")


def _without(pieces: Iterable[str], word: str) -> Iterable[str]:
    """Pieces of text without ``word``; every other piece is a command of LaTeX, which stays whole."""
    return (piece if place % 2 else piece.replace(word, "") for place, piece in enumerate(pieces))
