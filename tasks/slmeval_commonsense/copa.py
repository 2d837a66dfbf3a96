"""COPA: which of two sentences is the cause, or the effect, of a third?

One row::

    {"premise": "The ground was white.", "question": "cause", "choice1": "It had snowed.",
     "choice2": "It had rained.", "label": 0}

Premise and choice are joined to one sentence: the premise loses its full stop and the choice its capital.
Roemmele et al. 2011, "Choice of Plausible Alternatives: An Evaluation of Commonsense Causal Reasoning", as in
SuperGLUE. Prompt and metrics are those of copa, version 1.0, in lm-evaluation-harness 0.4.13, with the two
spaces that it has before a choice.
"""

from __future__ import annotations

from collections.abc import Sequence

from slmeval.tasks import MultipleChoice, text, whole_number
from slmeval.types import DatasetSpec, Row

_CONNECTORS = {"cause": "because", "effect": "therefore"}


def prompt(row: Row) -> str:
    asked = text(row, "question")
    if asked not in _CONNECTORS:
        raise ValueError(f"question must be cause or effect, not {asked!r}")
    return f"{text(row, 'premise').strip()[:-1]} {_CONNECTORS[asked]}"


def choices(row: Row) -> Sequence[str]:
    return [_continued(text(row, name)) for name in ("choice1", "choice2")]


def _continued(choice: str) -> str:
    if not choice:
        raise ValueError("a choice is empty")
    return f" {choice[0].lower()}{choice[1:]}"


COPA = MultipleChoice(
    name="copa",
    version="1.0",
    dataset=DatasetSpec(
        name="copa",
        evaluation="validation",
        shots="train",
        fields=("premise", "question", "choice1", "choice2", "label"),
        hub="aps/super_glue",
        config="copa",
        rows=100,
        licence="BSD-2-Clause",
        source="COPA, Roemmele et al. 2011",
    ),
    prompt=prompt,
    choices=choices,
    gold=lambda row: whole_number(row, "label"),
    chance=0.5,
    lm_eval_same_split=True,
)
