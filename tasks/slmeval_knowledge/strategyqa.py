"""StrategyQA: yes or no, where the steps to the answer must be thought of first.

One row (``target``, the answer with its reasons, is not shown)::

    {"question": "Could a camel fit into a letter box?", "answer": false,
     "target": "No. A camel is about two metres tall. A letter box takes letters."}

Geva et al. 2021, "Did Aristotle Use a Laptop? A Question Answering Benchmark with Implicit Reasoning
Strategies", arXiv:2101.02235; the 2,289 examples are those of BIG-bench's task strategyqa.

The definition is our own: lm-evaluation-harness has these questions only as bigbench_strategyqa_*, over rows
that hold a finished prompt (``inputs``, ``targets``, ``multiple_choice_targets``) and no examples, so that
its numbers cannot be had from rows of this form. Nor has the hub a data set of exactly this form that we know
of: the rows come with ``--data``. There being one split, examples come from it, never the row that is asked.
"""

from __future__ import annotations

from slmeval.tasks import MultipleChoice, text
from slmeval.types import DatasetSpec, Row


def gold(row: Row) -> int:
    answer = row["answer"]
    if not isinstance(answer, bool):
        raise ValueError(f"answer must be true or false, not {answer!r}")
    return int(answer)


STRATEGYQA = MultipleChoice(
    name="strategyqa",
    version="1.0",
    dataset=DatasetSpec(
        name="strategyqa",
        evaluation="test",
        shots="test",
        fields=("question", "answer"),
        rows=2289,
        licence="MIT",
        source="StrategyQA, Geva et al. 2021, as in BIG-bench",
    ),
    prompt=lambda row: f"Question: {text(row, 'question')}\nAnswer:",
    choices=lambda _: ("no", "yes"),
    gold=gold,
    chance=0.5,
    # no task of lm-evaluation-harness; this is how it would draw from the one split
    lm_eval_same_split=True,
)
