"""Mathematics in words."""

from __future__ import annotations

from collections.abc import Iterable

from slmeval import hookimpl
from slmeval.api import Task
from slmeval_math.gsm8k import GSM8K


@hookimpl
def slmeval_register_tasks() -> Iterable[Task]:
    return [GSM8K]


@hookimpl
def slmeval_register_groups() -> Iterable[tuple[str, tuple[str, ...]]]:
    return [("math", ("gsm8k",))]
