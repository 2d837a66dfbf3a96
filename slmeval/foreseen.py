"""What a run will have measured, before anything is: its cells with their figures' names, and no values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from slmeval.api import Backend
from slmeval.models import FoundModel
from slmeval.plan import Cell, GroupCell, Job
from slmeval.questions import scorer_of
from slmeval.registry import Parts
from slmeval.selection import Selection, Wish
from slmeval.tokenizing import text_tokenizer
from slmeval.types import CellResult, DataOrigin, Figure, ModelRef, Outcomes

_NOTE = "nothing was asked yet"
_NOWHERE = DataOrigin("", "", 0)
#: stands for every model, for what is foreseen without one
_ANY = FoundModel(ModelRef("any"), Path(), "", 0)


def foreseen_job(backend: type[Backend], selection: Selection, parts: Parts) -> Job:
    """What an engine will be asked, without rows and a model: tasks have their figures, and no items.

    :raises slmeval.errors.SlmevalError: a filter or metric of a task cannot be made.
    """
    cells = tuple(_without_items(wish, parts) for wish in selection.wishes)
    return Job(backend, _ANY, _ANY.ref.location, text_tokenizer(), {}, "", cells, (), selection.groups)


def _without_items(wish: Wish, parts: Parts) -> Cell:
    return Cell(wish.task, wish.shots, 0, scorer_of(wish.task, parts), (), _NOWHERE, {}, sample=False)


def bare(job: Job, cell: Cell) -> CellResult:
    """What is known of a cell before its answers are scored."""
    return CellResult(
        kind="task",
        name=cell.task.name,
        version=cell.task.version,
        backend=job.backend.name,
        model=job.label,
        shots=cell.shots,
        seed=cell.seed,
        n=len(cell.items),
        sample=cell.sample,
        figures=(),
        counts=cell.counts,
        data=cell.data,
        notes=cell.notes,
        chat=cell.chat,
        repeats=cell.repeats,
    )


def foreseen_cells(job: Job) -> Iterator[CellResult]:
    """Every task and group of a job, with figures that are unavailable."""
    for cell in job.cells:
        figures = [_figure(name, metric.unit) for name, metric in cell.scorer.figures.items()]
        items = tuple(item.sample.item for item in cell.items)
        outcomes = Outcomes(items, {}) if items and all(items) else None
        yield replace(bare(job, cell), figures=tuple(figures), outcomes=outcomes)
    for group in job.groups:
        yield _of_group(job, group)


def _figure(name: str, unit: str = "") -> Figure:
    return Figure(name, None, None, None, 0, unit, "unavailable", _NOTE)


def _of_group(job: Job, planned: GroupCell) -> CellResult:
    return CellResult(
        kind="group",
        name=planned.group.name,
        version=planned.group.version,
        backend=job.backend.name,
        model=job.label,
        shots=planned.shots,
        seed=0,
        n=0,
        sample=False,
        figures=tuple(_figure(name) for name in planned.group.average),
        counts={},
        data=_NOWHERE,
        members=tuple(name for name, _ in planned.members),
        chat=planned.chat,
    )
