"""Everyday knowledge and reasoning, as multiple choice."""

from __future__ import annotations

from collections.abc import Iterable

from slmeval import hookimpl
from slmeval.api import Task
from slmeval_commonsense.arc import ARC_CHALLENGE, ARC_EASY
from slmeval_commonsense.hellaswag import HELLASWAG
from slmeval_commonsense.piqa import PIQA


@hookimpl
def slmeval_register_tasks() -> Iterable[Task]:
    return [ARC_EASY, ARC_CHALLENGE, HELLASWAG, PIQA]


@hookimpl
def slmeval_register_groups() -> Iterable[tuple[str, tuple[str, ...]]]:
    return [
        ("arc", ("arc_easy", "arc_challenge")),
        ("commonsense", ("arc_easy", "arc_challenge", "hellaswag", "piqa")),
    ]
