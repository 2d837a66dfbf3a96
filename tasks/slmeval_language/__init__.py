"""How well a model predicts text."""

from __future__ import annotations

from collections.abc import Iterable

from slmeval import hookimpl
from slmeval.api import Task
from slmeval.types import Group
from slmeval_language.lambada import LAMBADA_OPENAI
from slmeval_language.wikitext import WIKITEXT


@hookimpl
def slmeval_register_tasks() -> Iterable[Task]:
    return [LAMBADA_OPENAI, WIKITEXT]


@hookimpl
def slmeval_register_groups() -> Iterable[Group]:
    return [Group("language", ("lambada_openai", "wikitext"))]
