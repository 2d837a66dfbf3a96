"""Other words for the same: rules that change how a question is written, and not what it asks."""

from __future__ import annotations

import re

#: each stands for the other: which of the two a text has is no sign of anything
PAIRS = (
    ("What is", "What's"),
    ("Who is", "Who's"),
    ("Where is", "Where's"),
    ("It is", "It's"),
    ("is not", "isn't"),
    ("are not", "aren't"),
    ("was not", "wasn't"),
    ("does not", "doesn't"),
    ("do not", "don't"),
    ("did not", "didn't"),
    ("cannot", "can't"),
    ("will not", "won't"),
    ("which of the following", "which one of these"),
    ("Which of the following", "Which one of these"),
    ("most likely", "most probably"),
    ("in order to", "so as to"),
    ("such as", "for example"),
    ("because of", "due to"),
    ("begin to", "start to"),
    ("begins to", "starts to"),
    ("began to", "started to"),
    ("a lot of", "lots of"),
    ("someone", "somebody"),
    ("everyone", "everybody"),
    ("How many", "What number of"),
    ("how many", "what number of"),
    ("color", "colour"),
    ("meters", "metres"),
    ("gray", "grey"),
)
_OTHER = {one: other for pair in PAIRS for one, other in (pair, pair[::-1])}
# the longest first, and whole words alone
_ANY = re.compile(r"\b(?:" + "|".join(map(re.escape, sorted(_OTHER, key=len, reverse=True))) + r")\b(?!')")


def rewritten(text: str) -> str:
    """``text`` with every phrase of a pair as the other one has it; a text without any is not changed."""
    return _ANY.sub(lambda match: _OTHER[match[0]], text)
