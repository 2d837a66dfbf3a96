"""WikiText-2: how likely are whole pages of Wikipedia?

One row (a page in the data set's own spelling, with its spaces before marks)::

    {"page": " = Goat = \\n \\n A goat 's coat is warm , and sheds 1 @,@ 000 hairs . \\n"}

The model reads the page in plain spelling; words and bytes are counted on the page as it is. Merity et al.
2016, "Pointer Sentinel Mixture Models", arXiv:1609.07843. Spelling and metrics are those of wikitext, version
2.0, in lm-evaluation-harness 0.4.13 (``wikitext/preprocess_wikitext.py``).
"""

from __future__ import annotations

import re

from slmeval.tasks import WholeText, text
from slmeval.types import DatasetSpec, Use

# What is respelled, in this order: each step sees what those before it left.

_CONTRACTION = ("s '", "s'")
# meant as a pattern's delimiters once, these slashes match slashes in the page
_SLASHED_DIGIT = (re.compile("/' [0-9]/"), "/'[0-9]/")
#: between two parts of a number or word: 1 @,@ 000
_JOINING_MARKS = "-,."
#: the space before these goes, the space after them stays
_CLOSING_MARKS = ":;.!?,"
#: white space just inside these goes
_PAIRS = ("()", "[]", "{}", '""', "''")
_REST = (
    ("= = = =", "===="),
    ("= = =", "==="),
    ("= =", "=="),
    (" \N{DEGREE SIGN} ", "\N{DEGREE SIGN}"),
    (" \n", "\n"),
    ("\n ", "\n"),
    (" N ", " 1 "),
    (" 's", "'s"),
)


def _inside(pair: str) -> re.Pattern[str]:
    start, end = map(re.escape, pair)
    return re.compile(rf"{start}\s*([^{end}]*?)\s*{end}")


_LITERAL = (
    *((f" @{mark}@ ", mark) for mark in _JOINING_MARKS),
    *((f" {mark} ", f"{mark} ") for mark in _CLOSING_MARKS),
)
_INSIDE = tuple((_inside(pair), rf"{pair[0]}\1{pair[1]}") for pair in _PAIRS)


def plain(page: str) -> str:
    """The page as one would write it."""
    page = page.replace(*_CONTRACTION)
    page = _SLASHED_DIGIT[0].sub(_SLASHED_DIGIT[1], page)
    for spelling, respelled in _LITERAL:
        page = page.replace(spelling, respelled)
    for pattern, respelled in _INSIDE:
        page = pattern.sub(respelled, page)
    for spelling, respelled in _REST:
        page = page.replace(spelling, respelled)
    return page


WIKITEXT = WholeText(
    name="wikitext",
    version="2.0",
    dataset=DatasetSpec(
        name="wikitext",
        evaluation="test",
        fields=("page",),
        hub="EleutherAI/wikitext_document_level",
        config="wikitext-2-raw-v1",
        rows=62,
        licence="CC BY-SA 3.0 and GFDL",
        source="WikiText-2, Merity et al. 2016",
    ),
    text=lambda row: plain(text(row, "page")),
    original=lambda row: text(row, "page"),
    metrics=(
        Use("word_perplexity"),
        Use("byte_perplexity"),
        Use("text_bits_per_byte", label="bits_per_byte"),
    ),
)
