"""The questions of items that are known by their hashes, made anew from the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from slmeval.api import Task
from slmeval.datasets import DataSource
from slmeval.differences import Comparison, Flip
from slmeval.errors import DataError, SlmevalError, UnknownName
from slmeval.matching import listed
from slmeval.questions import draft, open_source
from slmeval.registry import Registry
from slmeval.selection import select
from slmeval.sides import Side
from slmeval.types import Generate, Rolling, RunOptions, Sample


@dataclass(frozen=True)
class Question:
    """A question as plain text, and its row's place in the data set, from 0."""

    row: int
    text: str


def with_prompts(
    comparison: Comparison, sides: Sequence[Side], registry: Registry, data: str | None = None
) -> Comparison:
    """``comparison`` with the prompt and row of each item that is listed in it.

    Rows are read from where the options of one of ``sides`` say, or from ``data``. Where they cannot be had,
    or are other rows now, a note says why.
    """
    books = [_Book(side, registry, data) for side in sides if side.options is not None]
    by_task: dict[str, list[Flip]] = {}
    for flip in comparison.flips:
        by_task.setdefault(flip.task, []).append(flip)
    found: dict[str, Mapping[str, Question]] = {}
    reasons: dict[str, list[str]] = {}
    for task, flips in by_task.items():
        try:
            found[task] = _of_task(task, flips, books)
        except SlmevalError as error:
            reasons.setdefault(str(error), []).append(task)
    filled = tuple(_filled(flip, found.get(flip.task, {})) for flip in comparison.flips)
    notes = [f"no prompts of {listed(tasks)}: {reason}" for reason, tasks in reasons.items()]
    return replace(comparison, flips=filled, notes=(*comparison.notes, *notes))


def _filled(flip: Flip, questions: Mapping[str, Question]) -> Flip:
    found = questions.get(flip.item)
    return flip if found is None else replace(flip, row=found.row, prompt=found.text)


def _of_task(task: str, flips: Iterable[Flip], books: Sequence[_Book]) -> Mapping[str, Question]:
    """
    :raises DataError: nobody says where the rows lie, or they are no longer those that were asked.
    """
    if not books:
        raise DataError("a baseline does not tell where its rows lie")
    questions = books[0].questions(task)
    if any(flip.item not in questions for flip in flips):
        raise DataError("the rows that are there now are not those that were asked")
    return questions


class _Book:
    """The questions of one side's tasks, made anew."""

    def __init__(self, side: Side, registry: Registry, data: str | None) -> None:
        options = side.options or RunOptions()
        self._options = options if data is None else replace(options, data=data, sample=False)
        self._demo, self._parts = side.demo, registry.parts

    @cached_property
    def _source(self) -> DataSource:
        return open_source(self._options, self._demo)

    @cached_property
    def _tasks(self) -> Mapping[str, Task]:
        return {wish.task.name: wish.task for wish in select(self._options, self._parts).wishes}

    def questions(self, label: str) -> Mapping[str, Question]:
        """Those of ``task@shots`` by the hash of the item.

        :raises SlmevalError: the task is no longer there, or its rows are not.
        """
        name = label.rpartition("@")[0]
        if name not in self._tasks:
            raise UnknownName("task", name, self._tasks)
        # the question is the same whatever is shown before it
        made = draft(self._options, self._tasks[name], 0, self._parts, self._source)
        return {sample.item: Question(row, question_of(sample)) for row, sample in enumerate(made.samples)}


def question_of(sample: Sample) -> str:
    """The question alone, as plain text."""
    if sample.asked:
        return sample.asked
    request = sample.requests[0]
    if isinstance(request, Rolling):
        return request.text
    if request.turns is not None:
        return request.turns.question
    return request.prompt if isinstance(request, Generate) else request.context
