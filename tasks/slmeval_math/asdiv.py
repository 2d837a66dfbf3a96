"""ASDiv: word problems of many kinds, from primary school.

One row::

    {"body": "A box holds 6 eggs.", "question": "How many eggs are in 4 boxes?", "answer": "24 (eggs)",
     "solution_type": "Multiplication", "formula": "6*4=24"}

Miao et al. 2020, "A Diverse Corpus for Evaluating and Developing English Math Word Problem Solvers",
arXiv:2106.15772. Prompts and figures are those of asdiv and asdiv_cot_llama, both version 1.0, in
lm-evaluation-harness 0.4.13. In asdiv nothing is generated: ``acc`` is the share of answers that greedy
decoding would write, and the answer follows the colon without a space.
"""

from __future__ import annotations

from dataclasses import replace

from slmeval.published import EXAMPLES, Examples, FreeTextAfter
from slmeval.tasks import NextWords, text
from slmeval.types import DatasetSpec, Row, Use
from slmeval_math.gsm8k import FLEXIBLE, ROBUST, SAME_NUMBER

DATA = DatasetSpec(
    name="asdiv",
    evaluation="validation",
    shots="validation",
    fields=("body", "question", "answer"),
    hub="EleutherAI/asdiv",
    rows=2305,
    licence="CC BY-NC 4.0",
    source="ASDiv, Miao et al. 2020",
)
_ENDS = (
    'Your response should end with "The final answer is [answer]" '
    "where [answer] is the response to the problem."
)


def answer(row: Row) -> str:
    """The answer without its unit; of an example the whole answer."""
    return text(row, "answer").split(" (")[0] if "answer" in row else text(row, "target")


def told(row: Row) -> str:
    """The problem with what is to be done about it; an example's problem has no body."""
    body = text(row, "body") if "body" in row else ""
    problem = f"Problem: {body} {text(row, 'question')}"
    return (
        f"Given the following problem, reason and give a final answer to the problem.\n{problem}\n{_ENDS}\n"
    )


ASDIV = NextWords(
    name="asdiv",
    version="1.0",
    dataset=DATA,
    context=lambda row: f"{text(row, 'body')}\nQuestion:{text(row, 'question')}\nAnswer:",
    ending=answer,
    metrics=(Use("greedy", label="acc"),),
    lm_eval_same_split=True,
)

ASDIV_COT_LLAMA = FreeTextAfter(
    name="asdiv_cot_llama",
    version="1.0",
    dataset=replace(DATA, shots=EXAMPLES),
    examples=Examples("asdiv_cot_llama", "asdiv/asdiv-cot-llama.yaml", ("question", "target")),
    prompt=told,
    target=answer,
    stop=("<|eot_id|>", "<|start_header_id|>user<|end_header_id|>", "Q:", "</s>", "<|im_end|>"),
    filters=(
        Use(
            "regex",
            {"pattern": r"The final answer is ((-?[$0-9.,]{2,})|(-?[0-9]+))", "occurrence": -1},
            label="strict-match",
        ),
        FLEXIBLE,
        ROBUST,
    ),
    metrics=(SAME_NUMBER,),
    shots=8,
)
