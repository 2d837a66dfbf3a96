"""WinoGrande: which of two names fits the gap in a sentence?

One row::

    {"sentence": "The vase stood on the shelf until the cat jumped, and then the _ was in pieces.",
     "option1": "vase", "option2": "shelf", "answer": "1"}

Both choices end alike: what differs is the beginning, with either name in the gap, and the model is asked how
likely the rest is after it. Sakaguchi et al. 2019, "WinoGrande: An Adversarial Winograd Schema Challenge at
Scale", arXiv:1907.10641. Prompt and metrics are those of winogrande, version 1.0, in lm-evaluation-harness
0.4.13; there the two texts are of one length, so that the accuracies are one.
"""

from __future__ import annotations

from slmeval.tasks import MultipleChoice, text
from slmeval.types import DatasetSpec, Row, Use


def beginnings(row: Row) -> tuple[str, str]:
    before, names = _parts(row)[0], (text(row, "option1"), text(row, "option2"))
    if not all(names):
        raise ValueError("option1 or option2 is empty")
    return before + names[0], before + names[1]


def ending(row: Row) -> str:
    return _parts(row)[1].strip()


def _parts(row: Row) -> tuple[str, str]:
    before, gap, after = text(row, "sentence").partition("_")
    if not gap:
        raise ValueError("sentence has no gap, which is written _")
    return before, after


def gold(row: Row) -> int:
    answer = text(row, "answer")
    if answer not in {"1", "2"}:
        raise ValueError(f"answer must be 1 or 2, not {answer!r}")
    return int(answer) - 1


WINOGRANDE = MultipleChoice(
    name="winogrande",
    version="1.0",
    dataset=DatasetSpec(
        name="winogrande",
        evaluation="validation",
        shots="train",
        fields=("sentence", "option1", "option2", "answer"),
        hub="allenai/winogrande",
        config="winogrande_xl",
        rows=1267,
        licence="CC BY",
        source="WinoGrande, Sakaguchi et al. 2019",
    ),
    prompt=beginnings,
    choices=lambda row: (ending(row),) * 2,
    gold=gold,
    # norming divides both by the same
    metrics=(Use("acc"), Use("acc_corrected"), Use("chance"), Use("bits_per_byte"), Use("margin")),
    chance=0.5,
    lm_eval_same_split=True,
)
