"""Social IQa: why did somebody do this, what will they do next, how do they feel?

One row::

    {"context": "Kim lent Robin an umbrella.", "question": "How would Robin feel afterwards?",
     "answerA": "wet", "answerB": "grateful", "answerC": "hungry", "label": "2"}

Sap et al. 2019, "SocialIQA: Commonsense Reasoning about Social Interactions", arXiv:1904.09728. Prompt and
metrics are those of social_iqa, version 0.0, in lm-evaluation-harness 0.4.13.
"""

from __future__ import annotations

from collections.abc import Sequence

from slmeval.tasks import MultipleChoice, text, whole_number
from slmeval.types import DatasetSpec, Row


def choices(row: Row) -> Sequence[str]:
    return [text(row, name) for name in ("answerA", "answerB", "answerC")]


def gold(row: Row) -> int:
    label = whole_number(row, "label")
    if not 1 <= label <= 3:
        raise ValueError(f"label must be 1, 2 or 3, not {label}")
    return label - 1


SOCIAL_IQA = MultipleChoice(
    name="social_iqa",
    version="0.0",
    dataset=DatasetSpec(
        name="social_iqa",
        evaluation="validation",
        shots="train",
        fields=("context", "question", "answerA", "answerB", "answerC", "label"),
        hub="lighteval/siqa",
        rows=1954,
        licence="unknown",
        source="Social IQa, Sap et al. 2019",
    ),
    prompt=lambda row: f"Q: {text(row, 'context')} {text(row, 'question')}\nA:",
    choices=choices,
    gold=gold,
    chance=1 / 3,
    lm_eval_same_split=True,
    cluster="context",
)
