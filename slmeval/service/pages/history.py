"""A figure over runs: one line for each engine and model, with intervals, and what is not the same thing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from slmeval.builtin.reporters.text import number
from slmeval.errors import UnknownName
from slmeval.service import plots
from slmeval.service.auth import Caller, needs
from slmeval.service.figures import (
    MOST_RUNS,
    Point,
    figures,
    history,
    main_of,
    manners,
    newest,
    tasks,
    unlike,
)
from slmeval.service.pages.addresses import address, cell_address, reference, run_address
from slmeval.service.pages.render import between, page
from slmeval.service.service import service_of
from slmeval.store import Store

router = APIRouter(include_in_schema=False)

#: lines that are drawn at the most: more cannot be told apart
_LINES = 12
#: names that are offered for choice; others can be told in the address
_LISTED = 1_000

Name = Annotated[str, Query(max_length=200)]


@dataclass(frozen=True)
class _Asked:
    """What is followed over runs; empty: chosen for the reader."""

    task: str
    figure: str
    shots: int | None
    chat: str
    backend: str
    model: str


@dataclass(frozen=True)
class _Found:
    """The points, the newest run's first, and what else could be looked at."""

    asked: _Asked
    points: Sequence[Point]
    tasks: Sequence[str]
    figures: Sequence[str]
    manners: Sequence[tuple[int, str]]
    #: what was asked for and is not there, so that another is shown
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class _Row:
    """A point with why it is not the same as the newest, its page, and that which holds it against its past.

    ``weights``: they are not those of the newest, which is what many look for.
    """

    point: Point
    differs: Sequence[str]
    weights: bool
    there: str
    compared: str | None


@dataclass(frozen=True)
class _Line:
    """One engine and model: its points, the newest first, each with why it is not the same as the newest."""

    side: tuple[str, str]
    plot: Markup
    points: Sequence[_Row]


@router.get("/history", response_class=HTMLResponse)
async def history_page(
    request: Request,
    caller: Annotated[Caller, Depends(needs("read"))],  # noqa: ARG001
    task: Name = "",
    figure: Name = "",
    manner: Name = "",
    shots: Annotated[int | None, Query(ge=0, le=10**6)] = None,
    chat: Name = "",
    backend: Name = "",
    model: Name = "",
) -> HTMLResponse:
    """The page; ``manner`` is what the form sends for shots and chat together: ``5``, ``5 chat``."""
    if manner:
        count, _, told = manner.partition(" ")
        shots = int(count) if count.isascii() and count.isdigit() and len(count) < 7 else shots
        chat = "on" if told == "chat" else "off"
    asked = _Asked(task.strip(), figure.strip(), shots, chat, backend.strip(), model.strip())
    found = await service_of(request).desk.read(lambda store: _find(store, asked))
    # drawing hundreds of points takes a while, in which others are not to wait
    return await asyncio.to_thread(_shown, request, found)


def _shown(request: Request, found: _Found) -> HTMLResponse:
    lines, asked = _lines(found), found.asked
    return page(
        request,
        "history.html",
        asked=asked,
        found=found,
        lines=lines[:_LINES],
        more=[_called(line, asked) for line in lines[_LINES:]],
        most=MOST_RUNS,
        of_probe=bool(found.points) and found.points[0].kind == "probe",
        runs=len({point.run for point in found.points}),
    )


def _find(store: Store, asked: _Asked) -> _Found:
    """
    :raises UnknownName: no run has such a task.
    """
    known, notes = tasks(store), []
    if asked.task and asked.task not in known:
        raise UnknownName("task", asked.task, known)
    if asked.figure and asked.task and asked.figure not in figures(store, asked.task):
        # the form sends the figure of the task that was shown before
        notes.append(f"{asked.task} has no figure {asked.figure!r}: the one that is read first is shown")
        asked = replace(asked, figure="")
    chosen = _chosen(store, asked) if known else None
    if chosen is None:
        return _Found(asked, (), known, (), ())
    if asked.shots not in (None, chosen.shots) or asked.chat not in ("", chosen.chat):
        notes.append("it was never asked with so many examples in that manner: another is shown")
    ways = manners(store, chosen.task, chosen.figure)
    points = history(store, chosen.task, chosen.figure, chosen.shots or 0, chosen.chat)
    kept = [point for point in points if _is_of(point, asked)]
    names = figures(store, chosen.task)
    return _Found(chosen, kept, known[:_LISTED], names[:_LISTED], ways, notes)


def _is_of(point: Point, asked: _Asked) -> bool:
    return asked.backend in ("", point.backend) and asked.model in ("", point.model)


def _chosen(store: Store, asked: _Asked) -> _Asked | None:
    """With what was left open chosen: the figure that is read first, as it was last asked."""
    task, figure, shots, chat = asked.task, asked.figure, asked.shots, asked.chat
    if (not task or not figure) and (last := _last(newest(store, figure or None), task)) is not None:
        task, figure = last.task, last.figure
        shots = last.shots if shots is None else shots
        chat = chat or last.chat
    # of a task that no recent run asked
    task = task or next(iter(tasks(store)), "")
    names = figures(store, task)
    figure = figure if figure in names else next(iter(names), "")
    ways = manners(store, task, figure)
    fitting = [way for way in ways if shots in (None, way[0]) and chat in ("", way[1])] or ways
    return replace(asked, task=task, figure=figure, shots=fitting[0][0], chat=fitting[0][1]) if ways else None


def _last(points: Sequence[Point], task: str) -> Point | None:
    """The main figure of the newest result, of a task where one is named; what is no probe comes first."""
    mine = [point for point in points if task in ("", point.task)]
    mine = [point for point in mine if point.kind != "probe"] or mine
    if not mine:
        return None
    last = max(mine, key=lambda point: (point.started, -point.cell))
    return main_of([point for point in mine if (point.run, point.cell) == (last.run, last.cell)])


# ---- lines -------------------------------------------------------------------------------------------


def _lines(found: _Found) -> list[_Line]:
    sides: dict[tuple[str, str], list[Point]] = {}
    for point in found.points:
        sides.setdefault(point.side, []).append(point)
    return [_line(side, points, found.asked) for side, points in sides.items()]


def _line(side: tuple[str, str], points: Sequence[Point], asked: _Asked) -> _Line:
    last = points[0]
    before = [*(reference(point.run, *side) for point in points[1:]), None]
    rows = [
        _Row(point, unlike(point, last), point.weights != last.weights, _place(point), _compared(point, one))
        for point, one in zip(points, before, strict=True)
    ]
    title = f"{last.label}/{asked.figure} of {side[0]}:{side[1]} over runs"
    drawn = [_drawn(row.point, row.differs) for row in reversed(rows)]
    plot = plots.over_runs([each for each in drawn if each is not None], title, last.unit)
    return _Line(side, plot, rows)


def _drawn(point: Point, differs: Sequence[str]) -> plots.Point | None:
    if point.value is None:
        return None
    told = f"{number(point.value, point.value)}{_interval(point)}, n = {point.n:,}"
    if differs:
        told += f"; {', '.join(differs)}"
    return plots.Point(
        point.started[:16].replace("T", " "),
        point.value,
        point.low,
        point.high,
        told,
        _place(point),
        marked=bool(differs),
    )


def _interval(point: Point) -> str:
    if point.low is None or point.high is None or point.value is None:
        return ""
    return f" {between(point.low, point.high)}"


def _place(point: Point) -> str:
    return cell_address(point.run, point.cell) if point.kind == "task" else run_address(point.run)


def _compared(point: Point, earlier: str | None) -> str | None:
    """The page that holds it against the run before it."""
    if earlier is None or point.kind == "probe":
        return None
    mine = reference(point.run, point.backend, point.model)
    return address("/compare", first=earlier, second=mine, tasks=point.task)


def _called(line: _Line, asked: _Asked) -> tuple[str, str]:
    """A line that is not drawn: its name, and the page on which it is."""
    backend, model = line.side
    there = address(
        "/history",
        task=asked.task,
        figure=asked.figure,
        shots=asked.shots,
        chat=asked.chat,
        backend=backend,
        model=model,
    )
    return f"{backend}:{model}", there
