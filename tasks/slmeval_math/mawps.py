"""MAWPS: word problems of one or two steps, gathered from several older sets.

One row::

    {"input": "A box holds 6 eggs. How many eggs are in 4 boxes?", "target": 24.0}

Koncel-Kedziorski et al. 2016, "MAWPS: A Math Word Problem Repository", in the form of
ZubinGou/math-evaluation-harness (its parts AddSub, SingleEq, SingleOp and MultiArith). lm-evaluation-harness
has no such task: prompt, filter and metric are those of svamp. There are no official splits, and none on the
hub in this form.
"""

from __future__ import annotations

from slmeval.tasks import FreeText, text
from slmeval.types import DatasetSpec
from slmeval_math.stated_number import number_field
from slmeval_math.svamp import SVAMP

MAWPS = FreeText(
    name="mawps",
    version="1.0",
    dataset=DatasetSpec(
        name="mawps",
        evaluation="test",
        shots="train",
        fields=("input", "target"),
        rows=2065,
        licence="MIT",
        source="MAWPS, Koncel-Kedziorski et al. 2016",
    ),
    prompt=lambda row: f"Question: {text(row, 'input')}\nAnswer:",
    target=lambda row: number_field(row, "target"),
    stop=SVAMP.stop,
    filters=SVAMP.filters,
    metrics=SVAMP.metrics,
    shots=5,
)
