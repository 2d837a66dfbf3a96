"""Mathematics: word problems, and competition problems with worked solutions."""

from __future__ import annotations

from collections.abc import Iterable

from slmeval import hookimpl
from slmeval.api import Filter, Metric, Task
from slmeval.types import Group
from slmeval_math.asdiv import ASDIV, ASDIV_COT_LLAMA
from slmeval_math.gsm8k import GSM8K, GSM8K_COT
from slmeval_math.mawps import MAWPS
from slmeval_math.minerva import MINERVA_GROUP, MINERVA_MATH, MINERVA_MATH500, ROBUST
from slmeval_math.renumbered import GSM8K_RENUMBERED, PublishedGain, RepliedNumber
from slmeval_math.same_number import SameNumber
from slmeval_math.stated_number import StatedNumber
from slmeval_math.svamp import SVAMP
from slmeval_math.symbolic_metrics import FinalAnswerMatch, MathVerify, RobustAnswerMatch

_WORDS = (GSM8K, GSM8K_COT, SVAMP, ASDIV, ASDIV_COT_LLAMA, MAWPS)

SURVEY = Group(
    "survey_math",
    ("gsm8k", "minerva_math"),
    # minerva_math has no more examples, and a mean needs the same number in both
    shots=4,
    average=(ROBUST,),
    over="members",
    version="1",
    source="Lu et al. 2024, arXiv:2409.15790 (math), with this project's way of finding the answers",
)


@hookimpl
def slmeval_register_tasks() -> Iterable[Task]:
    return [*_WORDS, *MINERVA_MATH, MINERVA_MATH500, GSM8K_RENUMBERED]


@hookimpl
def slmeval_register_groups() -> Iterable[Group]:
    return [
        Group("math", (*(task.name for task in _WORDS), MINERVA_GROUP.name, MINERVA_MATH500.name)),
        MINERVA_GROUP,
        SURVEY,
    ]


@hookimpl
def slmeval_register_metrics() -> Iterable[type[Metric]]:
    return [SameNumber, FinalAnswerMatch, RobustAnswerMatch, MathVerify, RepliedNumber, PublishedGain]


@hookimpl
def slmeval_register_filters() -> Iterable[type[Filter]]:
    return [StatedNumber]
