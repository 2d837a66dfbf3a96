"""PIQA: which of two ways reaches a goal in the physical world?

One row::

    {"goal": "To keep a door open,", "sol1": "put a wedge under it.", "sol2": "put a wedge over it.",
     "label": 0}

Some solutions end in a space, which is kept. Bisk et al. 2020, "PIQA: Reasoning about Physical
Commonsense in Natural Language", arXiv:1911.11641. Prompt and metrics are those of piqa, version 1.0, in
lm-evaluation-harness 0.4.13.
"""

from __future__ import annotations

from slmeval.tasks import MultipleChoice, text, whole_number
from slmeval.types import DatasetSpec

PIQA = MultipleChoice(
    name="piqa",
    version="1.0",
    dataset=DatasetSpec(
        name="piqa",
        evaluation="validation",
        shots="train",
        fields=("goal", "sol1", "sol2", "label"),
        hub="baber/piqa",
        rows=1838,
        licence="AFL-3.0",
        source="PIQA, Bisk et al. 2020",
    ),
    prompt=lambda row: f"Question: {text(row, 'goal')}\nAnswer:",
    choices=lambda row: (row["sol1"], row["sol2"]),
    gold=lambda row: whole_number(row, "label"),
    chance=0.5,
    lm_eval_same_split=True,
)
