"""Signs that a model has seen the questions before: signals with their error, not verdicts."""

from __future__ import annotations

from collections.abc import Iterable

from slmeval import hookimpl
from slmeval.api import Metric, Task
from slmeval.types import Group
from slmeval_commonsense.arc import ARC_CHALLENGE, ARC_EASY
from slmeval_commonsense.boolq import BOOLQ
from slmeval_commonsense.commonsense_qa import COMMONSENSE_QA
from slmeval_commonsense.hellaswag import HELLASWAG
from slmeval_commonsense.openbookqa import OPENBOOKQA
from slmeval_commonsense.piqa import PIQA
from slmeval_commonsense.winogrande import WINOGRANDE
from slmeval_contamination.min_k import MinK, MinKGain, MinKTask
from slmeval_contamination.order import OrderGain, OrderP, OrderTask
from slmeval_math.gsm8k import GSM8K
from slmeval_math.renumbered import GSM8K_RENUMBERED

LOOKED_FOR = (ARC_EASY, ARC_CHALLENGE, HELLASWAG, PIQA, GSM8K, WINOGRANDE, OPENBOOKQA, COMMONSENSE_QA, BOOLQ)

ORDER = tuple(OrderTask(task) for task in LOOKED_FOR)
MIN_K = tuple(MinKTask(task) for task in LOOKED_FOR)


@hookimpl
def slmeval_register_tasks() -> Iterable[Task]:
    return [*ORDER, *MIN_K]


@hookimpl
def slmeval_register_groups() -> Iterable[Group]:
    return [
        Group("contamination", ("contamination_order", "contamination_min_k", GSM8K_RENUMBERED.name)),
        Group("contamination_order", tuple(task.name for task in ORDER)),
        Group("contamination_min_k", tuple(task.name for task in MIN_K)),
    ]


@hookimpl
def slmeval_register_metrics() -> Iterable[type[Metric]]:
    return [OrderGain, OrderP, MinK, MinKGain]
