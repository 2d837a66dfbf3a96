"""SVAMP: word problems of one step, changed so that the wording must be read.

One row::

    {"Body": "A box holds 6 eggs", "Question": "How many eggs are in 4 boxes?", "Answer": "24"}

Patel et al. 2021, "Are NLP Models really able to Solve Simple Math Word Problems?", arXiv:2103.07191.
lm-evaluation-harness has no such task: prompt, filter and metric are ours, the prompt being that of gsm8k.
"""

from __future__ import annotations

from slmeval.tasks import FreeText, text
from slmeval.types import DatasetSpec, Row, Use
from slmeval_math.stated_number import number_field


def question(row: Row) -> str:
    """The story and the question, each as a sentence of its own."""
    body = text(row, "Body").strip()
    stop = "" if not body or body.endswith((".", "?", "!", ",")) else "."
    return f"Question: {body}{stop} {text(row, 'Question').strip()}\nAnswer:"


SVAMP = FreeText(
    name="svamp",
    version="1.0",
    dataset=DatasetSpec(
        name="svamp",
        evaluation="test",
        shots="train",
        fields=("Body", "Question", "Answer"),
        hub="ChilleD/SVAMP",
        rows=300,
        licence="MIT",
        source="SVAMP, Patel et al. 2021",
    ),
    prompt=question,
    target=lambda row: number_field(row, "Answer"),
    stop=("Question:", "</s>", "<|im_end|>"),
    filters=(Use("stated_number", label="robust"),),
    metrics=(Use("same_number"),),
    shots=5,
)
