"""Which rows tasks read: found by letting them load, for a task may read another's rows, or make its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from slmeval.api import Task
from slmeval.datasets import FEWSHOT, DataSource, Rows, made_rows
from slmeval.errors import DataError
from slmeval.registry import Parts
from slmeval.selection import select
from slmeval.types import DatasetSpec, Row, RunOptions


@dataclass(frozen=True)
class Read:
    """All rows of one split of a data set, whichever of them a task asks.

    ``published`` says where others find them, if it is known. With ``keys``, the fields by which a row is
    looked up, they are a part of a table.
    """

    spec: DatasetSpec
    split: str
    rows: Rows
    published: str
    keys: tuple[str, ...] = ()


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


def beside(read: Read, source: DataSource) -> Read:
    """Rows that are a part of a table, with the other rows that ``source`` has of it.

    :raises DataError: what is there is damaged, or no such table.
    """
    plain = replace(read.spec, fields=read.keys, shots=None, where=None)
    if not read.keys or not source.holds(plain, read.split):
        return read
    return _with(source.load(plain, read.split).rows, read)


def _with(held: Iterable[Row], read: Read) -> Read:
    """A part of a table beside the rows held of it: one row of a kind, in the order of the keys."""
    rows = {_kind(row, read.keys): row for row in (*held, *read.rows.rows)}
    ordered = [rows[kind] for kind in sorted(rows)] if read.keys else read.rows.rows
    return replace(read, rows=made_rows(ordered, read.rows.source, f"{read.spec.name}/{read.split}.jsonl"))


def _kind(row: Row, keys: Sequence[str]) -> str:
    return json.dumps([row[key] for key in keys])


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

    def offer(self, spec: DatasetSpec, split: str, rows: Rows, keys: Sequence[str] = ()) -> None:
        """
        :raises DataError: they are all of a file that has others.
        """
        self.asked += 1
        spec = self._named(spec)
        fresh = Read(spec, split, rows, rows.source, tuple(keys))
        known = self.found.get((spec.name, split))
        if known is None or keys:
            self.found[spec.name, split] = _with(known.rows.rows if known else (), fresh)
        elif known.rows.sha256 != rows.sha256:
            raise DataError(
                f"{spec.name}/{split} is of {known.rows.source} and of {rows.source}, whose rows differ: "
                "name tasks that show the one apart from those that show the other"
            )

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
