"""SVAMP and MAWPS: word problems of one or two steps, answered with a number.

A row of SVAMP, and one of MAWPS::

    {"Body": "A box holds 6 eggs", "Question": "How many eggs are in 4 boxes?", "Answer": "24"}
    {"input": "A box holds 6 eggs. How many eggs are in 4 boxes?", "target": 24.0}

Patel et al. 2021, "Are NLP Models really able to Solve Simple Math Word Problems?", arXiv:2103.07191;
Koncel-Kedziorski et al. 2016, "MAWPS: A Math Word Problem Repository", in the form of
ZubinGou/math-evaluation-harness (its AddSub, SingleEq, SingleOp and MultiArith parts).
lm-evaluation-harness has neither, so prompt, filter and metric are ours; the prompt is that of gsm8k.
"""

from __future__ import annotations

from slmeval.tasks import FreeText, text
from slmeval.types import DatasetSpec, Row, Use
from slmeval_math.stated_number import read_number, written

_STOP = ("Question:", "</s>", "<|im_end|>")
_FILTERS = (Use("stated_number", label="robust"),)
_METRICS = (Use("same_number"),)


def svamp_question(row: Row) -> str:
    """The story and the question, each as a sentence of its own."""
    body = text(row, "Body").strip()
    stop = "" if not body or body.endswith((".", "?", "!", ",")) else "."
    return f"Question: {body}{stop} {text(row, 'Question').strip()}\nAnswer:"


def number(row: Row, name: str) -> str:
    """A field with a number, written as one would: 24, not 24.0.

    :raises ValueError: it is no number.
    """
    given = row[name]
    found = None if isinstance(given, bool) else read_number(str(given))
    if found is None:
        raise ValueError(f"{name} must be a number, not {given!r}")
    return written(found)


SVAMP = FreeText(
    name="svamp",
    version="1.0",
    dataset=DatasetSpec(
        name="svamp",
        evaluation="test",
        shots="train",
        fields=("Body", "Question", "Answer"),
        hub="ChilleD/SVAMP",
        rows=300,
        licence="MIT",
        source="SVAMP, Patel et al. 2021",
    ),
    prompt=svamp_question,
    target=lambda row: number(row, "Answer"),
    stop=_STOP,
    filters=_FILTERS,
    metrics=_METRICS,
    shots=5,
)

MAWPS = FreeText(
    name="mawps",
    version="1.0",
    dataset=DatasetSpec(
        name="mawps",
        evaluation="test",
        shots="train",
        fields=("input", "target"),
        rows=2065,
        licence="MIT",
        source="MAWPS, Koncel-Kedziorski et al. 2016",
    ),
    prompt=lambda row: f"Question: {text(row, 'input')}\nAnswer:",
    target=lambda row: number(row, "target"),
    stop=_STOP,
    filters=_FILTERS,
    metrics=_METRICS,
    shots=5,
)
