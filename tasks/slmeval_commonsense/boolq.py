"""BoolQ: a yes or no question that somebody searched for, with a passage that answers it.

One row::

    {"passage": "Slate is a rock that splits into thin sheets, of which roofs are made.",
     "question": "can a roof be made of slate", "label": 1}

Clark et al. 2019, "BoolQ: Exploring the Surprising Difficulty of Natural Yes/No Questions",
arXiv:1905.10044, as in SuperGLUE. Prompt and metrics are those of boolq, version 2.0, in
lm-evaluation-harness 0.4.13.
"""

from __future__ import annotations

from slmeval.tasks import MultipleChoice, text, whole_number
from slmeval.types import DatasetSpec

BOOLQ = MultipleChoice(
    name="boolq",
    version="2.0",
    dataset=DatasetSpec(
        name="boolq",
        evaluation="validation",
        shots="train",
        fields=("passage", "question", "label"),
        hub="aps/super_glue",
        config="boolq",
        rows=3270,
        licence="CC BY-SA 3.0",
        source="BoolQ, Clark et al. 2019",
    ),
    prompt=lambda row: f"{text(row, 'passage')}\nQuestion: {text(row, 'question')}?\nAnswer:",
    choices=lambda _: ("no", "yes"),
    gold=lambda row: whole_number(row, "label"),
    chance=0.5,
    lm_eval_same_split=True,
    cluster="passage",
)
