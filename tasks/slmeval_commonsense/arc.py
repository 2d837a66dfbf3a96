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

from collections.abc import Mapping, Sequence
from typing import Any

from slmeval.tasks import MultipleChoice, text, texts
from slmeval.types import DatasetSpec, Row


def prompt(row: Row) -> str:
    return f"Question: {text(row, 'question')}\nAnswer:"


def choices(row: Row) -> Sequence[str]:
    return texts(_held(row), "text")


def gold(row: Row) -> int:
    labels, key = texts(_held(row), "label"), text(row, "answerKey")
    if len(labels) != len(choices(row)):
        raise ValueError(f"there are {len(labels)} labels for {len(choices(row))} choices")
    if len(set(labels)) != len(labels):
        raise ValueError(f"a label is there twice: {', '.join(labels)}")
    if key not in labels:
        raise ValueError(f"answerKey {key!r} is none of the labels {', '.join(labels)}")
    return labels.index(key)


def _held(row: Row) -> Mapping[str, Any]:
    held = row["choices"]
    if not isinstance(held, dict):
        raise ValueError("choices must be an object with text and label")
    return held


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
