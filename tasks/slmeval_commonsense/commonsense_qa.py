"""CommonsenseQA: five words that belong to a thing, of which one answers the question.

One row::

    {"question": "Where would you keep milk?", "answerKey": "D",
     "choices": {"text": ["shoe", "desk", "tree", "fridge", "river"], "label": ["A", "B", "C", "D", "E"]}}

The choices are shown behind letters, and the model is asked for the letter. Talmor et al. 2019,
"CommonsenseQA: A Question Answering Challenge Targeting Commonsense Knowledge", arXiv:1811.00937. Prompt and
metrics are those of commonsense_qa, which has no version, in lm-evaluation-harness 0.4.13.
"""

from __future__ import annotations

from slmeval.tasks import LETTERS, LetteredChoice, text
from slmeval.types import DatasetSpec, Row
from slmeval_commonsense import labelled


def gold(row: Row) -> int:
    # the labels are what the model is asked for, so they must be the letters in their order
    labels = "".join(row["choices"]["label"])
    if labels != LETTERS[: len(labels)]:
        raise ValueError(f"the labels must be A, B, C and so on, not {', '.join(row['choices']['label'])}")
    return labelled.gold(row)


COMMONSENSE_QA = LetteredChoice(
    name="commonsense_qa",
    version="Yaml",
    dataset=DatasetSpec(
        name="commonsense_qa",
        evaluation="validation",
        shots="train",
        fields=("question", "choices", "answerKey"),
        hub="tau/commonsense_qa",
        rows=1221,
        licence="MIT",
        source="CommonsenseQA, Talmor et al. 2019",
    ),
    question=lambda row: f"Question: {text(row, 'question').strip()}",
    choices=labelled.choices,
    gold=gold,
    chance=0.2,
    lm_eval_same_split=True,
)
