"""GSM8K: grade-school word problems that take a few steps of arithmetic.

One row::

    {"question": "A box holds 6 eggs. How many eggs are in 4 boxes?",
     "answer": "There are 6 * 4 = <<6*4=24>>24 eggs.\\n#### 24"}

Cobbe et al. 2021, "Training Verifiers to Solve Math Word Problems", arXiv:2110.14168. Prompts, stop strings,
the filters ``strict-match`` and ``flexible-extract`` and the metric are those of gsm8k and gsm8k_cot, version
3.0, in lm-evaluation-harness 0.4.13. The examples of gsm8k_cot are those of Wei et al. 2022,
"Chain-of-Thought Prompting Elicits Reasoning in Large Language Models", arXiv:2201.11903. ``robust`` is our
own way of finding the answer, beside theirs.
"""

from __future__ import annotations

from dataclasses import replace

from slmeval.published import EXAMPLES, Examples, FreeTextAfter
from slmeval.tasks import FreeText, text
from slmeval.types import DatasetSpec, Row, Use

DATA = DatasetSpec(
    name="gsm8k",
    evaluation="test",
    shots="train",
    fields=("question", "answer"),
    hub="openai/gsm8k",
    config="main",
    rows=1319,
    licence="MIT",
    source="GSM8K, Cobbe et al. 2021",
)
FLEXIBLE = Use(
    "regex", {"pattern": r"(-?[$0-9.,]{2,})|(-?[0-9]+)", "occurrence": -1}, label="flexible-extract"
)
ROBUST = Use("stated_number", label="robust")
SAME_NUMBER = Use(
    "exact_match", {"ignore_case": True, "regexes_to_ignore": (",", r"\$", r"(?s).*#### ", r"\.$")}
)


def final(row: Row) -> str:
    """The number alone; of an example the whole answer."""
    return text(row, "answer").split("####")[-1].strip() if "answer" in row else text(row, "target")


GSM8K = FreeText(
    name="gsm8k",
    version="3.0",
    dataset=DATA,
    prompt=lambda row: f"Question: {text(row, 'question')}\nAnswer:",
    target=lambda row: row["answer"],
    stop=("Question:", "</s>", "<|im_end|>"),
    filters=(Use("regex", {"pattern": r"#### (\-?[0-9\.\,]+)"}, label="strict-match"), FLEXIBLE, ROBUST),
    metrics=(SAME_NUMBER,),
    shots=5,
)

GSM8K_COT = FreeTextAfter(
    name="gsm8k_cot",
    version="3.0",
    dataset=replace(DATA, shots=EXAMPLES),
    examples=Examples("gsm8k_cot", "gsm8k/gsm8k-cot.yaml", ("question", "target")),
    prompt=lambda row: f"Q: {text(row, 'question')}\nA:",
    target=final,
    stop=("Q:", "</s>", "<|im_end|>"),
    filters=(
        Use("regex", {"pattern": r"The answer is (\-?[0-9\.\,]+)."}, label="strict-match"),
        FLEXIBLE,
        ROBUST,
    ),
    metrics=(SAME_NUMBER,),
    shots=8,
)
