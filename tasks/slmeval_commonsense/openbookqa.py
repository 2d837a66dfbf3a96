"""OpenBookQA: which choice completes a statement of elementary science?

One row::

    {"question_stem": "A plant turns its leaves to", "answerKey": "C",
     "choices": {"text": ["the ground", "the wind", "the light", "the night"], "label": ["A", "B", "C", "D"]}}

The prompt is the bare stem: the book of facts is not shown. Mihaylov et al. 2018, "Can a Suit of Armor
Conduct Electricity? A New Dataset for Open Book Question Answering", arXiv:1809.02789. Prompt and metrics are
those of openbookqa, version 1.0, in lm-evaluation-harness 0.4.13.
"""

from __future__ import annotations

from slmeval.tasks import MultipleChoice, text
from slmeval.types import DatasetSpec
from slmeval_commonsense.labelled import choices, gold

OPENBOOKQA = MultipleChoice(
    name="openbookqa",
    version="1.0",
    dataset=DatasetSpec(
        name="openbookqa",
        evaluation="test",
        shots="train",
        fields=("question_stem", "choices", "answerKey"),
        hub="allenai/openbookqa",
        config="main",
        rows=500,
        licence="unknown",
        source="OpenBookQA, Mihaylov et al. 2018",
    ),
    prompt=lambda row: text(row, "question_stem"),
    choices=choices,
    gold=gold,
    chance=0.25,
)
