"""Signs that a model has seen the questions before."""

from __future__ import annotations

from collections.abc import Iterable

from slmeval import hookimpl
from slmeval.api import Task


@hookimpl
def slmeval_register_tasks() -> Iterable[Task]:
    return []
