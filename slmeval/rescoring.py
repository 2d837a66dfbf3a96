"""A run's figures made anew from its stored answers: no model is opened, no engine is started."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from slmeval import endings
from slmeval.api import Task
from slmeval.errors import DataError, JobFailed, StoreError, UnknownName, UsageError
from slmeval.finishing import Finisher, Measured
from slmeval.machine import this_machine
from slmeval.plan import GroupCell
from slmeval.questions import Draft, draft, open_source, scorer_of
from slmeval.registry import Registry
from slmeval.run import Watchers, library_versions, new_run_id, now
from slmeval.scoring import Answered, draws_of
from slmeval.selection import Selection, select
from slmeval.store import RESCORED, Store
from slmeval.types import CellResult, Failure, Generate, Reply, RunResult, Sample, Use


@dataclass(frozen=True)
class Extra:
    """Filters and metrics beside those of each task whose answers are texts."""

    filters: tuple[Use, ...] = ()
    metrics: tuple[Use, ...] = ()


def rescore(old: RunResult, extra: Extra, registry: Registry, store: Store) -> RunResult:
    """A new run, kept in the store, with the answers of ``old`` and today's filters and metrics.

    Rows are read again from where ``old.options`` say.

    :raises UsageError: a task, filter or metric is not there, or a group has no mean.
    :raises DataError: rows are missing, or are no longer those that were asked.
    """
    if not any(cell.kind == "task" for cell in old.cells):
        raise UsageError(f"run {old.id} has no answered tasks to score again")
    return _Rescoring(old, extra, registry, store).result()


class _Rescoring:
    def __init__(self, old: RunResult, extra: Extra, registry: Registry, store: Store) -> None:
        self._old, self._extra, self._store = old, extra, store
        self._parts = registry.parts
        self._id = new_run_id()
        self._watchers = Watchers(registry.seats)
        self._selection = select(old.options, registry.parts)
        self._source = open_source(old.options, old.demo)
        self._cells: list[CellResult] = []
        self._failures: list[Failure] = []
        self._reused = 0
        self._kept: list[tuple[int, Sequence[tuple[int, int, str]]]] = []

    def result(self) -> RunResult:
        """What the answers come to now; it is in the store."""
        numbered = [(number, cell) for number, cell in enumerate(self._old.cells) if cell.kind == "task"]
        drafts = {key: self._draft(key, cells) for key, cells in _by_task(numbered).items()}
        self._check_extra(drafts.values())
        begun = now()
        for alike in _by_model(numbered).values():
            self._finish(alike, drafts)
        note = f"scored again from the answers of run {self._old.id}: nothing was asked of the model"
        if any(cell.kind == "probe" for cell in self._old.cells):
            note += ", and what probes measured stands there alone"
        made = replace(
            self._old,
            id=self._id,
            started=begun,
            finished=now(),
            # what was not answered then has no figures now
            status="failed" if self._failures else self._old.status,
            versions=library_versions(),
            machine=this_machine(),
            models=tuple(replace(each, notes=(*each.notes, note)) for each in self._old.models),
            cells=tuple(self._cells),
            failures=tuple(dict.fromkeys((*self._old.failures, *self._failures))),
            asked=0,
            reused=self._reused,
        )
        self._save(made)
        self._watchers.tell("slmeval_run_finished", run=made)
        return made

    def _save(self, made: RunResult) -> None:
        """All at once, so that nothing unfinished stands in the store where this is broken off."""
        self._store.begin_run(made.id, made.started, made.options, {RESCORED: self._old.id})
        for number, items in self._kept:
            self._store.save_items(made.id, number, items)
        self._store.finish_run(made)

    def _check_extra(self, drafts: Iterable[Draft]) -> None:
        if self._extra != Extra() and not any(map(_is_written, drafts)):
            raise UsageError(
                f"run {self._old.id} has no texts, which --filter and --metric are for: leave them out"
            )

    # ---- questions -------------------------------------------------------------------------------------

    def _draft(self, key: tuple[str, int], cells: Sequence[CellResult]) -> Draft:
        task = _task(self._selection, key[0])
        made = draft(self._old.options, task, key[1], self._parts, self._source)
        for cell in cells:
            now_, then = made.data, cell.data
            # of a cell that ended early there are more questions than were asked
            asked = cell.stop.planned if cell.stop else cell.n
            if (now_.sha256, len(made.samples)) != (then.sha256, asked):
                raise DataError(
                    f"the rows of {key[0]} are not those that were asked: they have the hash "
                    f"{now_.sha256[:12]}, and had {then.sha256[:12]}"
                )
        if not _is_written(made):
            return made
        extra = self._extra
        scorer = scorer_of(task, self._parts, extra.filters, extra.metrics)
        return replace(
            made, scorer=scorer, notes=tuple(_told("filter", extra.filters) + _told("metric", extra.metrics))
        )

    # ---- figures ---------------------------------------------------------------------------------------

    def _finish(
        self, numbered: Sequence[tuple[int, CellResult]], drafts: Mapping[tuple[str, int], Draft]
    ) -> None:
        finisher = Finisher((cell.chat, (cell.name, cell.shots)) for _, cell in numbered)
        for number, cell in numbered:
            try:
                self._finish_cell(number, cell, drafts[cell.name, cell.shots], finisher)
            except JobFailed as error:
                self._failures.append(Failure(cell.backend, cell.model, str(error)))
        for group in self._groups(numbered[0][1]):
            if (made := finisher.group(group, self._old.options.seed)) is not None:
                self._add(made)

    def _finish_cell(self, number: int, cell: CellResult, drafted: Draft, finisher: Finisher) -> None:
        items = self._store.items(self._old.id, number)
        rows = self._answered(cell, items, drafted.samples)
        # what was counted when it was asked still holds; what is counted by scoring is counted again
        counts = {name: n for name, n in cell.counts.items() if name.partition("/")[0] not in endings.NAMES}
        told = drafted.notes if _is_written(drafted) else ()
        notes = tuple(dict.fromkeys((*cell.notes, *told, *_of_version(cell, drafted.task.version))))
        bare = replace(cell, version=drafted.task.version, figures=(), counts=counts, notes=notes)
        label = f"{cell.name}@{cell.shots} on {cell.backend}:{cell.model}"

        def watch(index: int, answer: object, scores: object) -> None:
            self._watchers.tell(
                "slmeval_answer_scored", cell=label, index=index, answer=answer, scores=scores
            )

        made = finisher.finish(Measured(bare, drafted.scorer, rows), watch)
        self._kept.append((len(self._cells), items))
        self._reused += len(items)
        self._add(made)

    def _answered(
        self, cell: CellResult, items: Sequence[tuple[int, int, str]], samples: Sequence[Sample]
    ) -> Iterator[Answered]:
        replies = self._store.replies(key for _, _, key in items)
        by_row: dict[int, list[Reply]] = {}
        for row, _, key in items:
            if key not in replies:
                raise StoreError(
                    f"answer {key} of run {self._old.id} is no longer in the store {self._store.path}"
                )
            by_row.setdefault(row, []).append(replies[key])
        early = cell.stop is not None and cell.stop.asked < cell.stop.planned
        for index, sample in enumerate(samples):
            if index in by_row or not early:
                yield Answered(index, sample, draws_of(_parts(cell, sample, by_row.get(index, []))))

    def _groups(self, alike: CellResult) -> Iterator[GroupCell]:
        """The groups that the old run had of this model."""
        planned = {(each.group.name, each.shots): each for each in self._selection.groups}
        for cell in self._old.cells:
            if cell.kind == "group" and _model(cell) == _model(alike):
                if (cell.name, cell.shots) not in planned:
                    raise UsageError(
                        f"group {cell.name} at {cell.shots} shots is no longer what run {self._old.id} names"
                    )
                yield replace(planned[cell.name, cell.shots], chat=cell.chat)

    def _add(self, cell: CellResult) -> None:
        self._cells.append(cell)
        self._watchers.tell("slmeval_cell_finished", cell=cell)


def _task(selection: Selection, name: str) -> Task:
    tasks = {wish.task.name: wish.task for wish in selection.wishes}
    if name not in tasks:
        raise UnknownName("task", name, tasks)
    return tasks[name]


def _of_version(cell: CellResult, version: str) -> list[str]:
    """Whether the answers are to other questions than the task of today would ask."""
    if cell.version == version:
        return []
    return [f"asked as version {cell.version} of the task, scored as version {version}"]


def _told(kind: str, uses: Sequence[Use]) -> list[str]:
    """What another person needs to get the same figures."""
    return [f"one more {kind}: {use.label} = {use.name} {json.dumps(dict(use.settings))}" for use in uses]


def _is_written(made: Draft) -> bool:
    return any(isinstance(part, Generate) for sample in made.samples[:1] for part in sample.requests)


def _parts(cell: CellResult, sample: Sample, replies: Sequence[Reply]) -> list[Sequence[Reply]]:
    """The replies to each request; a repeated one has several, and a long text has one for each window."""
    requests = len(sample.requests)
    each = len(replies) if requests == 1 else cell.repeats
    if len(replies) != each * requests or not replies:
        raise JobFailed(
            f"{cell.name}: {len(replies)} answers are kept of a question that takes {each * requests}"
        )
    return [replies[at : at + each] for at in range(0, len(replies), each)]


def _model(cell: CellResult) -> tuple[str, str]:
    return cell.backend, cell.model


def _by_task(numbered: Sequence[tuple[int, CellResult]]) -> dict[tuple[str, int], list[CellResult]]:
    found: dict[tuple[str, int], list[CellResult]] = {}
    for _, cell in numbered:
        found.setdefault((cell.name, cell.shots), []).append(cell)
    return found


def _by_model(
    numbered: Sequence[tuple[int, CellResult]],
) -> dict[tuple[str, str], list[tuple[int, CellResult]]]:
    found: dict[tuple[str, str], list[tuple[int, CellResult]]] = {}
    for number, cell in numbered:
        found.setdefault(_model(cell), []).append((number, cell))
    return found
