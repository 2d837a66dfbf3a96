"""Everyday knowledge and reasoning, as multiple choice."""

from __future__ import annotations

from collections.abc import Iterable

from slmeval import hookimpl
from slmeval.api import Task
from slmeval.types import Group
from slmeval_commonsense.arc import ARC_CHALLENGE, ARC_EASY
from slmeval_commonsense.boolq import BOOLQ
from slmeval_commonsense.commonsense_qa import COMMONSENSE_QA
from slmeval_commonsense.copa import COPA
from slmeval_commonsense.hellaswag import HELLASWAG
from slmeval_commonsense.openbookqa import OPENBOOKQA
from slmeval_commonsense.piqa import PIQA
from slmeval_commonsense.sciq import SCIQ
from slmeval_commonsense.social_iqa import SOCIAL_IQA
from slmeval_commonsense.truthfulqa import TRUTHFULQA_MC1, TRUTHFULQA_MC2
from slmeval_commonsense.winogrande import WINOGRANDE

TASKS = (
    *(ARC_EASY, ARC_CHALLENGE, HELLASWAG, PIQA, WINOGRANDE, OPENBOOKQA, SOCIAL_IQA, COMMONSENSE_QA, BOOLQ),
    *(TRUTHFULQA_MC1, TRUTHFULQA_MC2, COPA, SCIQ),
)

SURVEY = Group(
    "survey_commonsense",
    ("hellaswag", "truthfulqa_mc2", "winogrande", "commonsense_qa", "piqa", "openbookqa", "boolq"),
    shots=5,
    average=("acc",),
    over="members",
    version="1",
    source="Lu et al. 2024, arXiv:2409.15790 (commonsense)",
)


@hookimpl
def slmeval_register_tasks() -> Iterable[Task]:
    return TASKS


@hookimpl
def slmeval_register_groups() -> Iterable[Group]:
    return [
        Group("arc", ("arc_easy", "arc_challenge")),
        Group("truthfulqa", ("truthfulqa_mc1", "truthfulqa_mc2")),
        Group("commonsense", tuple(task.name for task in TASKS)),
        SURVEY,
    ]
