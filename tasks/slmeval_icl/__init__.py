"""Learning a rule from the examples in the prompt."""

from __future__ import annotations

from collections.abc import Iterable

from slmeval import hookimpl
from slmeval.api import Task
from slmeval.types import Group
from slmeval_icl.copying import COPY
from slmeval_icl.labels import FLIPPED, LABELS, NAMED
from slmeval_icl.mapping import CLASSIFY, RECALL

TASKS = (COPY, RECALL, CLASSIFY, LABELS, NAMED, FLIPPED)

#: not a mean, for one of icl_named and icl_flipped would hide in it what they are asked together to show
ICL = Group("icl", tuple(task.name for task in TASKS))

#: published data sets whose gain from shots the survey draws, at 0, 1 and 5
SURVEY = Group(
    name="survey_icl",
    members=(
        "arc_challenge",
        "hellaswag",
        "winogrande",
        "mmlu",
        "truthfulqa_mc2",
        "commonsense_qa",
        "piqa",
        "openbookqa",
    ),
    shots=5,
    average=("acc",),
    over="members",
    version="1",
    source="Lu et al. 2024, arXiv:2409.15790, the figure of in-context learning: acc at 0, 1 and 5 shots",
)


@hookimpl
def slmeval_register_tasks() -> Iterable[Task]:
    return TASKS


@hookimpl
def slmeval_register_groups() -> Iterable[Group]:
    return [ICL, SURVEY]
