"""GSM8K: grade-school word problems that take a few steps of arithmetic.

One row::

    {"question": "A box holds 6 eggs. How many eggs are in 4 boxes?",
     "answer": "There are 6 * 4 = <<6*4=24>>24 eggs.\\n#### 24"}

Cobbe et al. 2021, "Training Verifiers to Solve Math Word Problems", arXiv:2110.14168. Prompt, stop
strings, both ways of finding the answer and the metric are those of gsm8k, version 3.0, in
lm-evaluation-harness 0.4.13.
"""

from __future__ import annotations

from slmeval.tasks import FreeText, text
from slmeval.types import DatasetSpec, Use

GSM8K = FreeText(
    name="gsm8k",
    version="3.0",
    dataset=DatasetSpec(
        name="gsm8k",
        evaluation="test",
        shots="train",
        fields=("question", "answer"),
        hub="openai/gsm8k",
        config="main",
        rows=1319,
        licence="MIT",
        source="GSM8K, Cobbe et al. 2021",
    ),
    prompt=lambda row: f"Question: {text(row, 'question')}\nAnswer:",
    target=lambda row: row["answer"],
    stop=("Question:", "</s>", "<|im_end|>"),
    filters=(
        Use("regex", {"pattern": r"#### (\-?[0-9\.\,]+)"}, label="strict-match"),
        Use("regex", {"pattern": r"(-?[$0-9.,]{2,})|(-?[0-9]+)", "occurrence": -1}, label="flexible-extract"),
    ),
    metrics=(
        Use("exact_match", {"ignore_case": True, "regexes_to_ignore": (",", r"\$", r"(?s).*#### ", r"\.$")}),
    ),
    shots=5,
)
