"""BIG-Bench Hard: 27 kinds of questions that language models found harder than people, asked in four ways.

One row of ``bbh/test.jsonl`` below ``--data`` (the hub has a configuration for each subtask, and its rows no
``task``; a folder may have them so too, as ``bbh_word_sorting/test.jsonl``)::

    {"task": "word_sorting", "input": "Sort the following words alphabetically: List: oven bee",
     "target": "bee oven"}

Suzgun et al. 2022, "Challenging BIG-Bench Tasks and Whether Chain-of-Thought Can Solve Them",
arXiv:2210.09261. Prompts, stop strings, token caps, ways of finding the answer and metric are those of the
groups bbh_cot_fewshot (also called bbh), bbh_fewshot, bbh_cot_zeroshot and bbh_zeroshot of
lm-evaluation-harness 0.4.13. What is compared in bbh_fewshot is the whole text: as there, white space before
the answer makes it wrong.
"""

from __future__ import annotations

from slmeval.types import Group
from slmeval_knowledge.bbh.families import FAMILIES, Family
from slmeval_knowledge.bbh.filters import FILTERS
from slmeval_knowledge.bbh.task import SUBTASKS

__all__ = ["BBH", "BBH_GROUPS", "FILTERS"]

BBH = tuple(family.task(subtask) for family in FAMILIES for subtask in SUBTASKS)


def _group(name: str, family: Family) -> Group:
    return Group(
        name,
        tuple(family.task(subtask).name for subtask in SUBTASKS),
        average=(f"exact_match/{family.averaged}",),
        over="rows",
        version="3.0",
        source=f"lm-evaluation-harness 0.4.13, bbh/{family.name}",
    )


_COT_FEWSHOT = FAMILIES[0]
BBH_GROUPS = (_group("bbh", _COT_FEWSHOT), *(_group(f"bbh_{family.name}", family) for family in FAMILIES))
