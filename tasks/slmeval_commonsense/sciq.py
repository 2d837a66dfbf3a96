"""SciQ: science exam questions with a passage that supports the answer.

One row::

    {"support": "Water boils when its vapour presses as hard as the air.",
     "question": "What does water become?", "distractor1": "ice", "distractor2": "sand",
     "distractor3": "salt", "correct_answer": "vapour"}

The passage may be empty. Welbl et al. 2017, "Crowdsourcing Multiple Choice Science Questions",
arXiv:1707.06209. Prompt, metrics and the order of the choices are those of sciq, version 1.0, in
lm-evaluation-harness 0.4.13.
"""

from __future__ import annotations

from collections.abc import Sequence

from slmeval.tasks import MultipleChoice, text
from slmeval.types import DatasetSpec, Row

_CHOICES = ("distractor1", "distractor2", "distractor3", "correct_answer")


def choices(row: Row) -> Sequence[str]:
    return [text(row, name) for name in _CHOICES]


SCIQ = MultipleChoice(
    name="sciq",
    version="1.0",
    dataset=DatasetSpec(
        name="sciq",
        evaluation="test",
        shots="train",
        fields=("support", "question", *_CHOICES),
        hub="allenai/sciq",
        rows=1000,
        licence="CC BY-NC 3.0",
        source="SciQ, Welbl et al. 2017",
    ),
    prompt=lambda row: f"{text(row, 'support').lstrip()}\nQuestion: {text(row, 'question')}\nAnswer:",
    choices=choices,
    # the position tells the model nothing: choices are not shown, but scored one by one
    gold=lambda _: 3,
    chance=0.25,
    cluster="support",
)
