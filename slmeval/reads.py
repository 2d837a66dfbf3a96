"""Which rows tasks read: found by letting them load, for a task may read another's rows, or make its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from slmeval.api import Task
from slmeval.datasets import FEWSHOT, DataSource, Rows, made_rows
from slmeval.errors import DataError
from slmeval.registry import Parts
from slmeval.selection import select
from slmeval.types import DatasetSpec, RunOptions


@dataclass(frozen=True)
class Read:
    """All rows of one split of a data set, whichever of them a task asks.

    ``published`` says where others find them, if it is known.
    """

    spec: DatasetSpec
    split: str
    rows: Rows
    published: str


@dataclass(frozen=True)
class Reads:
    """What tasks read, by name, each once, and what could not be had.

    ``making`` are the tasks that make or bring all their rows; ``elsewhere`` says of others, by name, what
    their examples are read from instead.
    """

    found: tuple[Read, ...]
    making: tuple[str, ...]
    elsewhere: Mapping[str, str]
    failures: tuple[DataError, ...]


def named_tasks(names: Sequence[str], parts: Parts) -> tuple[Task, ...]:
    """What the names stand for, as in ``run --tasks``; that of a data set stands for the tasks on it.

    :raises UsageError: there is nothing of a name.
    """
    known = {*parts.tasks, *parts.groups}
    wanted: list[str] = []
    for name in names:
        on_it = [each for each, task in parts.tasks.items() if task.dataset.name == name]
        wanted += [name] if name in known or not on_it else on_it
    # at one number of shots, every group has a mean
    wishes = select(RunOptions(tasks=tuple(wanted), shots=(0,)), parts).wishes
    return tuple(wish.task for wish in wishes)


def reads(tasks: Iterable[Task], source: DataSource, shots: bool = True) -> Reads:
    """Let each task load its rows from ``source``, those for examples too with ``shots``.

    :raises MissingExtra: what reads or fetches them is not installed.
    """
    notes = _Notes(source)
    making: list[str] = []
    elsewhere: dict[str, str] = {}
    failures: dict[str, DataError] = {}
    for task in tasks:
        before, notes.task = notes.asked, task
        outside: dict[str, str] = {}
        for split in _splits(task, shots):
            asked = notes.asked
            try:
                rows = task.load(notes, split)
            except DataError as error:
                failures.setdefault(str(error), error)
                continue
            if notes.asked == asked:
                outside[task.name] = rows.source
        if outside and notes.asked == before:
            making.append(task.name)
        else:
            elsewhere |= outside
    found = tuple(notes.found[name] for name in sorted(notes.found))
    return Reads(found, tuple(making), elsewhere, tuple(failures.values()))


def _splits(task: Task, shots: bool) -> list[str]:
    both = [task.dataset.evaluation, task.dataset.shots if shots else None]
    return list(dict.fromkeys(split for split in both if split is not None))


class _Notes(DataSource):
    """Another source, and what was loaded from it: ``asked`` times in all."""

    def __init__(self, source: DataSource) -> None:
        super().__init__()
        self.kind = source.kind
        self.description = source.description
        self._source = source
        self.found: dict[tuple[str, str], Read] = {}
        self.asked = 0
        #: whose rows are being loaded
        self.task: Task | None = None

    def holds(self, spec: DatasetSpec, split: str) -> bool:
        return self._source.holds(spec, split)

    def published(self, spec: DatasetSpec, split: str) -> str:
        return self._source.published(spec, split)

    def offer(self, spec: DatasetSpec, split: str, rows: Rows) -> None:
        self.asked += 1
        spec = self._named(spec)
        known = self.found.get((spec.name, split))
        held = known.rows.rows if known is not None else ()
        more = [row for row in rows.rows if row not in held]
        whole = made_rows((*held, *more), rows.source, f"{spec.name}/{split}.jsonl")
        self.found[spec.name, split] = Read(spec, split, whole, whole.source)

    def load(self, spec: DatasetSpec, split: str) -> Rows:
        self.asked += 1
        rows = self._source.load(spec, split)
        self._note(self._named(replace(spec, where=None)), split)
        return rows

    def _named(self, spec: DatasetSpec) -> DatasetSpec:
        """With a licence and whose the rows are: a file that says nothing of it is of its task's data set."""
        if self.task is None:
            return spec
        known = self.task.dataset
        return replace(spec, licence=spec.licence or known.licence, source=spec.source or known.source)

    def _note(self, spec: DatasetSpec, split: str) -> None:
        """Keep all rows of the split, under the name of the file that has them.

        :raises DataError: another data set has that name.
        """
        plain = replace(spec, shots=None)
        if not self._source.holds(plain, split):
            # other rows stand in for it
            spec, split = plain, FEWSHOT
        known = self.found.get((spec.name, split))
        if known is None:
            rows = self._source.load(spec, split)
            self.found[spec.name, split] = Read(spec, split, rows, self._source.published(spec, split))
        elif (known.spec.hub, known.spec.config) != (spec.hub, spec.config):
            raise DataError(f"two data sets are named {spec.name}: {known.spec.hub} and {spec.hub}")
