"""Two sides held against each other: what changed, whether chance explains it, and which items flipped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse

from slmeval.builtin.reporters.blocks import Table
from slmeval.builtin.reporters.comparisons import direction, remarks, summary, table
from slmeval.comparison import Wanted, compare
from slmeval.differences import Comparison, Flip
from slmeval.errors import UsageError
from slmeval.matching import match
from slmeval.prompts import question_of
from slmeval.service.auth import Caller, needs
from slmeval.service.figures import recent_sides
from slmeval.service.pages.addresses import address, cell_address, filled, reference, run_address
from slmeval.service.pages.render import page
from slmeval.service.problems import Refused
from slmeval.service.seen_cells import see
from slmeval.service.service import service_of
from slmeval.service.shelf import Drafted, Shelf, shelf_of
from slmeval.sides import Side, chosen, opposite, sides_of
from slmeval.store import Store
from slmeval.types import RunResult

router = APIRouter(include_in_schema=False)

#: items of each task that are listed
_LISTED = 20

#: a run or one of its sides, and names of tasks or figures with commas between
Reference = Annotated[str, Query(max_length=400)]
Names = Annotated[str, Query(max_length=1000)]


@dataclass(frozen=True)
class _Read:
    """Two runs, and the pairs of their sides that stand opposite."""

    runs: tuple[RunResult, ...]
    pairs: tuple[tuple[Side, Side], ...]
    notes: tuple[str, ...]
    #: those whose answers were given here
    made_here: frozenset[str]


@dataclass(frozen=True)
class _Shown:
    """A comparison as it is read, with the question and the addresses of each item that flipped."""

    told: Comparison
    table: Table
    summary: str
    found: Sequence[str]
    notes: Sequence[str]
    flips: Sequence[tuple[Flip, str | None, str | None, str | None]]


@router.get("/compare", response_class=HTMLResponse)
async def compare_page(
    request: Request,
    caller: Annotated[Caller, Depends(needs("read"))],  # noqa: ARG001
    first: Reference = "",
    second: Reference = "",
    tasks: Names = "",
    figures: Names = "",
    shared: bool = False,
) -> HTMLResponse:
    """The form; and the comparison, once a run is named."""
    desk, shelf = service_of(request).desk, shelf_of(request)
    asked = {"first": first.strip(), "second": second.strip(), "tasks": tasks, "figures": figures}
    named = filled((first, second))
    wanted = Wanted(filled(tasks.split(",")), filled(figures.split(",")), shared, _LISTED)
    known = await desk.read(recent_sides)
    context: dict[str, Any] = {
        "asked": asked,
        "shared": shared,
        "known": [reference(*each) for each in known],
        "reasons": (),
        "trouble": "",
        "alone": "",
        "shown": (),
        "sharing": address("/compare", **asked, shared="true"),
    }
    status = 200
    if named:
        try:
            found = await desk.read(lambda store: _read(store, shelf, named))
            if isinstance(found, Side):
                context["alone"] = reference(found.run, found.backend, found.model)
            else:
                context |= await asyncio.to_thread(_compared, shelf, found, wanted)
        except (UsageError, Refused) as error:
            # a mistake is told beside the form in which it was made
            status, context["trouble"] = getattr(error, "status", 422), str(error)
    return await asyncio.to_thread(page, request, "compare.html", status=status, **context)


def _read(store: Store, shelf: Shelf, named: Sequence[str]) -> _Read | Side:
    """What is named, or the one side that it is: who comes from a run's page names the second here.

    :raises SlmevalError: there are no such runs, or no two sides.
    """
    runs: list[RunResult] = []
    sides: list[tuple[Side, ...]] = []
    for each in named:
        run, _, wanted = each.partition("#")
        runs.append(shelf.run(store, run))
        sides.append(chosen(sides_of(runs[-1]), wanted))
    if len(sides) == 1 and len(sides[0]) == 1:
        return sides[0][0]
    pairs, notes = opposite(sides)
    here = frozenset(run.id for run in runs if _is_of_here(store, run))
    return _Read(tuple(runs), pairs, notes, here)


def _is_of_here(store: Store, run: RunResult) -> bool:
    tasks = (number for number, cell in enumerate(run.cells) if cell.kind == "task")
    return any(see(store, run, number).made_here for number in tasks)


def _compared(shelf: Shelf, found: _Read, wanted: Wanted) -> Mapping[str, Any]:
    """What the page shows of it: comparisons, or why there are none.

    :raises SlmevalError: a task or figure is not there, or there is nothing in common.
    """
    reasons = () if wanted.shared else tuple(dict.fromkeys(_reasons(found.pairs, wanted.tasks)))
    if reasons:
        return {"reasons": reasons}
    made = compare(found.pairs, wanted, found.notes)
    return {
        "shown": [_shown(shelf, found, *each) for each in zip(found.pairs, made, strict=True)],
        "runs": {run.id: run_address(run.id) for run in found.runs},
        "demo": any(run.demo for run in found.runs),
    }


def _shown(shelf: Shelf, found: _Read, pair: tuple[Side, Side], made: Comparison) -> _Shown:
    directions = [direction(each, each.change) if each.change else "" for each in made.figures]
    notes = (*made.notes, *remarks(made.figures))
    flips = list(_flips(shelf, found, pair, made))
    return _Shown(made, table(made), summary(made.figures), directions, notes, flips)


def _reasons(pairs: Sequence[tuple[Side, Side]], tasks: Sequence[str]) -> Iterator[str]:
    """Why sides are not comparable as they are, task by task; what probes differ in is told beside them."""
    for one, other in pairs:
        matching = match(one, other)
        for cell in matching.cells:
            meant = not tasks or any(
                fnmatchcase(name, pattern) for name in (cell.first.name, cell.name) for pattern in tasks
            )
            if cell.first.kind != "probe" and meant:
                yield from (f"{cell.name}: {each}" for each in matching.differences.get(cell.name, ()))


# ---- items that flipped ------------------------------------------------------------------------------


def _flips(
    shelf: Shelf, found: _Read, pair: tuple[Side, Side], made: Comparison
) -> Iterator[tuple[Flip, str | None, str | None, str | None]]:
    """Each with its question, and its address on the first side and on the second, held against the other."""
    drafts: dict[str, Drafted] = {}
    one, other = pair
    called = [reference(side.run, side.backend, side.model) for side in pair]
    for flip in made.flips:
        if flip.task not in drafts:
            drafts[flip.task] = _draft(shelf, found, one, flip.task)
        sample = drafts[flip.task].question(flip.row)
        here = _address(found, one, flip, called[1])
        there = _address(found, other, flip, called[0])
        yield flip, question_of(sample) if sample else None, here, there


def _address(found: _Read, side: Side, flip: Flip, against: str) -> str | None:
    number = _number(_run(found, side), side, flip.task)
    if number is None:
        return None
    return cell_address(side.run, number, item=flip.item, figure=flip.figure, against=against)


def _draft(shelf: Shelf, found: _Read, side: Side, label: str) -> Drafted:
    """What a cell asked; nothing where its rows cannot be had."""
    run = _run(found, side)
    number = _number(run, side, label)
    if number is None or side.run not in found.made_here:
        return Drafted()
    return shelf.draft(run, run.cells[number])


def _run(found: _Read, side: Side) -> RunResult:
    return next(run for run in found.runs if run.id == side.run)


def _number(run: RunResult, side: Side, label: str) -> int | None:
    """The place of a side's cell in its run."""
    cells = ((number, cell) for number, cell in enumerate(run.cells) if cell.label == label)
    return next(
        (
            number
            for number, cell in cells
            if cell.kind == "task" and (cell.backend, cell.model) == (side.backend, side.model)
        ),
        None,
    )
