"""ARC: grade-school science questions, mostly with four choices.

One row::

    {"id": "x1", "question": "Which of these is drawn to a magnet?",
     "choices": {"text": ["a cork", "an iron nail", "a leaf", "a candle"], "label": ["A", "B", "C", "D"]},
     "answerKey": "B"}

Some rows have the labels "1" to "4", or three or five choices. Clark et al. 2018, "Think you have Solved
Question Answering? Try ARC", arXiv:1803.05457. Prompt and metrics are those of arc_easy and
arc_challenge, version 1.0, in lm-evaluation-harness 0.4.13.
"""

from __future__ import annotations

from slmeval.tasks import MultipleChoice, text
from slmeval.types import DatasetSpec, Row
from slmeval_commonsense.labelled import choices, gold


def prompt(row: Row) -> str:
    return f"Question: {text(row, 'question')}\nAnswer:"


def _dataset(name: str, config: str, rows: int) -> DatasetSpec:
    return DatasetSpec(
        name=name,
        evaluation="test",
        shots="train",
        fields=("question", "choices", "answerKey"),
        hub="allenai/ai2_arc",
        config=config,
        rows=rows,
        licence="CC BY-SA 4.0",
        source="ARC, Clark et al. 2018",
    )


ARC_EASY = MultipleChoice("arc_easy", "1.0", _dataset("arc_easy", "ARC-Easy", 2376), prompt, choices, gold)
ARC_CHALLENGE = MultipleChoice(
    "arc_challenge", "1.0", _dataset("arc_challenge", "ARC-Challenge", 1172), prompt, choices, gold
)
