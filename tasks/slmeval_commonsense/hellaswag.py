"""HellaSwag: which of four endings continues the description of an everyday activity?

One row (WikiHow rows carry marks in brackets, which are taken out)::

    {"activity_label": "Baking bread", "ctx_a": "A woman kneads dough on a table.", "ctx_b": "she",
     "endings": ["puts it in the oven.", "paints it blue.", "[substeps] Sings.", "throws the table."],
     "label": "0"}

Zellers et al. 2019, "HellaSwag: Can a Machine Really Finish Your Sentence?", arXiv:1905.07830. Prompt and
metrics are those of hellaswag, version 1.0, in lm-evaluation-harness 0.4.13.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from slmeval.tasks import MultipleChoice, text, texts, whole_number
from slmeval.types import DatasetSpec, Row

_MARK = re.compile(r"\[.*?\]")


def cleaned(part: str) -> str:
    """``part`` without the marks of WikiHow."""
    return _MARK.sub("", part.strip().replace(" [title]", ". ")).replace("  ", " ")


def prompt(row: Row) -> str:
    activity, first, second = (text(row, name) for name in ("activity_label", "ctx_a", "ctx_b"))
    return cleaned(f"{activity}: {first} {second.capitalize()}")


def choices(row: Row) -> Sequence[str]:
    return [cleaned(ending) for ending in texts(row, "endings")]


def gold(row: Row) -> int:
    return whole_number(row, "label")


HELLASWAG = MultipleChoice(
    name="hellaswag",
    version="1.0",
    dataset=DatasetSpec(
        name="hellaswag",
        evaluation="validation",
        shots="train",
        fields=("activity_label", "ctx_a", "ctx_b", "endings", "label"),
        hub="Rowan/hellaswag",
        rows=10042,
        licence="MIT",
        source="HellaSwag, Zellers et al. 2019",
    ),
    prompt=prompt,
    choices=choices,
    gold=gold,
    chance=0.25,
    lm_eval_same_split=True,
)
