"""What was learnt: many subjects, and facts put together."""

from __future__ import annotations

from collections.abc import Iterable

from slmeval import hookimpl
from slmeval.api import Filter, Task
from slmeval.types import Group
from slmeval_knowledge.bbh import BBH, BBH_GROUPS, FILTERS
from slmeval_knowledge.mmlu import MMLU, MMLU_GROUPS
from slmeval_knowledge.strategyqa import STRATEGYQA

SURVEY_REASONING = Group(
    "survey_reasoning",
    ("arc_easy", "arc_challenge", "mmlu"),
    shots=5,
    average=("acc",),
    over="members",
    version="1",
    source="Small Language Models: Survey, Measurements, and Insights, arXiv:2409.15790 (problem solving)",
)


@hookimpl
def slmeval_register_tasks() -> Iterable[Task]:
    return [*MMLU, STRATEGYQA, *BBH]


@hookimpl
def slmeval_register_groups() -> Iterable[Group]:
    return [*MMLU_GROUPS, *BBH_GROUPS, Group("knowledge", ("mmlu", "strategyqa")), SURVEY_REASONING]


@hookimpl
def slmeval_register_filters() -> Iterable[type[Filter]]:
    return FILTERS
