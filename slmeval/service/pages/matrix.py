"""Models against tasks: of each the newest result, and which is best where that can be told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse

from slmeval.registry import Parts
from slmeval.service.auth import Caller, needs
from slmeval.service.figures import RECENT, Point, main_figures, newest, unlike
from slmeval.service.pages.addresses import address, cell_address, run_address
from slmeval.service.pages.render import page
from slmeval.service.service import service_of

router = APIRouter(include_in_schema=False)

#: rows and columns that are shown at the most
_MOST = 200

Name = Annotated[str, Query(max_length=200)]


@dataclass(frozen=True)
class Cell:
    """A result beside the others of its column.

    ``standing``: best, where no other's interval reaches its own; tied, where its interval reaches that of
    the best value, or it is that value and others reach it; "" else. ``differs`` says why it is not the same
    thing as the column's newest: then it is not ranked.
    """

    point: Point
    address: str
    history: str
    standing: str = ""
    differs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """A task under one figure, with its results by engine and model."""

    label: str
    figure: str
    unit: str
    better: bool | None
    cells: dict[tuple[str, str], Cell]


@router.get("/matrix", response_class=HTMLResponse)
async def matrix_page(
    request: Request,
    caller: Annotated[Caller, Depends(needs("read"))],  # noqa: ARG001
    figure: Name = "",
    backend: Name = "",
    kind: Annotated[str, Query(pattern="^(task|probe)?$")] = "",
    members: bool = False,
) -> HTMLResponse:
    """The page."""
    service = service_of(request)
    points = await service.desk.read(lambda store: newest(store, figure.strip() or None))
    kind = kind or "task"
    of_kind = [point for point in points if (point.kind == "probe") == (kind == "probe")]
    engines = sorted({point.backend for point in of_kind})
    mine = [point for point in of_kind if backend in ("", point.backend)]
    shown = mine if figure else main_figures(mine)
    below = set() if members else _below(service.registry.parts, {point.task for point in shown})
    columns = columns_of([point for point in shown if point.task not in below])
    sides = sorted({side for column in columns for side in column.cells})
    names = sorted({point.figure for point in of_kind} | ({figure} if figure else set()))
    return await asyncio.to_thread(
        page,
        request,
        "matrix.html",
        columns=columns[:_MOST],
        sides=sides[:_MOST],
        left_out=(max(0, len(sides) - _MOST), max(0, len(columns) - _MOST)),
        figure=figure,
        figures=names,
        backend=backend,
        backends=engines if not backend or backend in engines else [*engines, backend],
        kind=kind,
        members=members,
        hidden=len(below & {point.task for point in shown}),
        recent=RECENT,
        of_samples=any(cell.point.sample for column in columns for cell in column.cells.values()),
        run_address=run_address,
    )


def _below(parts: Parts, present: set[str]) -> set[str]:
    """The members of groups that have results of their own: a group of many parts is read as one."""
    found: set[str] = set()
    waiting = [name for name in present if name in parts.groups]
    while waiting:
        for member in parts.groups[waiting.pop()].members:
            if member not in found:
                found.add(member)
                waiting += [member] if member in parts.groups else []
    return found


# ---- columns -----------------------------------------------------------------------------------------


def columns_of(points: Sequence[Point]) -> list[Column]:
    """A column for each task and figure, by name."""
    newest_of: dict[tuple[str, str], Point] = {}
    found: dict[tuple[str, str], list[Point]] = {}
    for point in sorted(points, key=_age):
        newest_of[point.side] = point
        found.setdefault((point.label, point.figure), []).append(point)
    weights = {side: point.weights for side, point in newest_of.items()}
    return [_column(each, weights) for _, each in sorted(found.items())]


def _age(point: Point) -> tuple[str, str]:
    return point.started, point.run


def _column(points: Sequence[Point], weights: Mapping[tuple[str, str], str]) -> Column:
    last = points[-1]
    differences = {point.side: tuple(_differs(point, last, weights)) for point in points}
    alike = [point for point in points if point.value is not None and not differences[point.side]]
    standings = _standings(alike)
    cells = {}
    for point in points:
        there = cell_address(point.run, point.cell) if point.kind == "task" else run_address(point.run)
        standing = standings.get(point.side, "")
        cells[point.side] = Cell(point, there, _history(point), standing, differences[point.side])
    return Column(last.label, last.figure, last.unit, last.better, cells)


def _differs(point: Point, last: Point, weights: Mapping[tuple[str, str], str]) -> Iterator[str]:
    """Of what is no timing, the machine changes nothing that is to be told."""
    if point.weights != weights[point.side]:
        yield "other weights than the newest of this name"
    for words in unlike(point, last):
        if point.kind == "probe" or words != "another machine":
            yield words


def _history(point: Point) -> str:
    return address("/history", task=point.task, figure=point.figure, shots=str(point.shots), chat=point.chat)


def _standings(alike: Sequence[Point]) -> dict[tuple[str, str], str]:
    """Which side is the best, and which are not to be told apart from it: by intervals, wider than a test."""
    if len(alike) < 2 or alike[-1].better is None:
        return {}
    sign = 1 if alike[-1].better else -1
    best = max(alike, key=lambda each: sign * (each.value or 0.0))
    reached = [each for each in alike if each is not best and _reaches(each, best, sign)]
    return {best.side: "tied" if reached else "best", **{each.side: "tied" for each in reached}}


def _reaches(one: Point, best: Point, sign: int) -> bool:
    """Whether an interval reaches the best one's; what has no interval is its value alone."""
    top = (one.high if sign > 0 else one.low, one.value)
    foot = (best.low if sign > 0 else best.high, best.value)
    high, low = (next((each for each in ends if each is not None), 0.0) for ends in (top, foot))
    return sign * high >= sign * low
