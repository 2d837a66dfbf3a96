r"""MATH: competition problems with worked solutions, in Minerva's prompt.

One row::

    {"problem": "What is $1+1$?", "level": "Level 1", "type": "Algebra", "solution": "It is $\\boxed{2}$."}

Hendrycks et al. 2021, "Measuring Mathematical Problem Solving With the MATH Dataset", arXiv:2103.03874;
prompt, examples and normal form of Lewkowycz et al. 2022, arXiv:2206.14858; MATH-500 is the part of
Lightman et al. 2023, "Let's Verify Step by Step", arXiv:2305.20050. All as minerva_math_*, version 3.1, in
lm-evaluation-harness 0.4.13; ``exact_match/robust`` is our own figure beside theirs.
"""

from __future__ import annotations

from slmeval.published import EXAMPLES, Examples, FreeTextAfter, returned_by
from slmeval.tasks import text
from slmeval.types import DatasetSpec, Group, Row, Use
from slmeval_math.final_answer import gold_answer

#: the subsets by the ends of their names, as configurations of the hub, and how many problems each has
_SUBSETS = (
    ("algebra", "algebra", 1187),
    ("counting_and_prob", "counting_and_probability", 474),
    ("geometry", "geometry", 479),
    ("intermediate_algebra", "intermediate_algebra", 903),
    ("num_theory", "number_theory", 540),
    ("prealgebra", "prealgebra", 871),
    ("precalc", "precalculus", 546),
)
_FIELDS = ("problem", "solution")
_EXAMPLES = Examples(
    "minerva_math", "minerva_math/utils.py", _FIELDS, read=returned_by("list_fewshot_samples")
)
ROBUST = "exact_match/robust"


def solution(row: Row) -> str:
    """
    :raises ValueError: it has no answer in a box.
    """
    found = text(row, "solution")
    gold_answer(found)
    return found


def _task(name: str, hub: str, config: str, rows: int) -> FreeTextAfter:
    return FreeTextAfter(
        name=name,
        version="3.1",
        dataset=DatasetSpec(
            name=name,
            evaluation="test",
            shots=EXAMPLES,
            fields=_FIELDS,
            hub=hub,
            config=config,
            rows=rows,
            licence="MIT",
            source="MATH, Hendrycks et al. 2021",
        ),
        examples=_EXAMPLES,
        prompt=lambda row: f"Problem:\n{text(row, 'problem')}\n\nSolution:",
        target=solution,
        stop=("Problem:",),
        filters=(),
        metrics=(
            Use("final_answer_match", label="exact_match"),
            Use("math_verify"),
            Use("robust_answer_match", label=ROBUST),
        ),
        shots=4,
    )


MINERVA_MATH = tuple(
    _task(f"minerva_math_{end}", "EleutherAI/hendrycks_math", config, rows) for end, config, rows in _SUBSETS
)
MINERVA_MATH500 = _task("minerva_math500", "HuggingFaceH4/MATH-500", "default", 500)
MINERVA_GROUP = Group(
    "minerva_math",
    tuple(task.name for task in MINERVA_MATH),
    average=("exact_match", "math_verify", ROBUST),
    over="rows",
    version="1.0",
    source="lm-evaluation-harness 0.4.13",
)
