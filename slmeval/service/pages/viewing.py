"""One run as its page shows it: read from the store in one go, so that no event falls between."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slmeval.builtin.reporters.blocks import Listing
from slmeval.builtin.reporters.content import report
from slmeval.builtin.reporters.text import number
from slmeval.document import cell_from, from_document, from_plain
from slmeval.errors import StoreError
from slmeval.service.first_figures import first_figures
from slmeval.service.ledger import ENDED, Ledger, Submission
from slmeval.service.listing import state_of
from slmeval.service.plots import Interval
from slmeval.store import Store
from slmeval.types import CellResult, Figure, RunOptions, RunResult, Series

#: a group of more members is shown in one table with one line for each of them
_MANY = 10
#: the most that a page shows of a run: lines in tables of cells' own, values in a plot, plots, raw series
_LINES, _PLOTTED, _PLOTS, _SERIES = 400, 24, 6, 48
#: a rate is of so many of the last messages about progress
_MESSAGES = 60
#: figures that guessing would bring to chance
_GUESSED = frozenset({"acc", "acc_norm", "acc_bytes", "acc_rotated"})


@dataclass(frozen=True)
class Progress:
    """How far a job is: ``rate`` is units a second, ``left`` seconds, each ``None`` where it is not known."""

    label: str
    done: int
    total: int
    unit: str
    rate: float | None
    left: float | None


@dataclass(frozen=True)
class CellView:
    """A cell with its place in the run, the figures that are shown first, and the raw series that are."""

    place: int
    cell: CellResult
    main: tuple[Figure, ...]
    series: tuple[Series, ...]


@dataclass(frozen=True)
class View:
    """What there is of one run. ``after`` is the newest event of all that is in it."""

    run: str
    state: str
    after: int
    options: RunOptions
    submission: Submission | None
    started: str | None
    finished: str | None
    result: RunResult | None
    cells: tuple[CellView, ...]
    planned: Mapping[str, Any]
    progress: Progress | None

    @property
    def is_live(self) -> bool:
        """Whether there is more to come that the server hears of."""
        return self.submission is not None and self.submission.state not in ENDED

    @property
    def is_demo(self) -> bool:
        return self.result.demo if self.result else not self.options.models

    @property
    def several(self) -> bool:
        """Whether a cell's model and engine must be said."""
        return len({(view.cell.model, view.cell.backend) for view in self.cells}) > 1

    @property
    def whole(self) -> tuple[CellView, ...]:
        """The cells with a table of their own."""
        hidden, lines = self._hidden(), 0
        found: list[CellView] = []
        for view in self.cells:
            lines += len(view.cell.figures) if view.cell.name not in hidden else 0
            if view.cell.name not in hidden and (lines <= _LINES or not found):
                found.append(view)
        return tuple(found)

    @property
    def brief(self) -> tuple[CellView, ...]:
        """The others, with a line for each."""
        places = {view.place for view in self.whole}
        return tuple(view for view in self.cells if view.place not in places)

    def _hidden(self) -> set[str]:
        groups = [view.cell for view in self.cells if view.cell.kind == "group"]
        return {member for cell in groups if len(cell.members) > _MANY for member in cell.members}

    @property
    def plots(self) -> list[tuple[str, list[Interval]]]:
        """The main figures by their unit, accuracies (without one) first."""
        found: dict[str, list[Interval]] = {}
        for view in self.whole:
            for figure in view.main:
                found.setdefault(figure.unit, []).append(_interval(view.cell, figure, self.several))
        ordered = sorted(found.items(), key=lambda pair: bool(pair[0]))
        return [(unit, rows[:_PLOTTED]) for unit, rows in ordered[:_PLOTS]]

    @property
    def remarks(self) -> list[Listing]:
        """What a report says below its table: samples, counts, conditions, notes, failures, origin."""
        return [block for block in report(self.result) if isinstance(block, Listing)] if self.result else []


def _interval(cell: CellResult, figure: Figure, several: bool) -> Interval:
    assert figure.value is not None
    low, high = figure.ci95 or (None, None)
    where = f", {cell.model} · {cell.backend}" if several else ""
    chance = next((each.value for each in cell.figures if each.name == "chance"), None)
    return Interval(
        f"{cell.label} {figure.name}{where}",
        figure.value,
        low,
        high,
        number(figure.value, figure.value) + (" sample" if cell.sample else ""),
        chance if figure.name in _GUESSED else None,
    )


# ---- reading -------------------------------------------------------------------------------------------


def view_of(store: Store, run: str) -> View | None:
    """What there is of a run; ``None`` where there is none of this id."""
    ledger = Ledger(store)
    # first: what happens after it is told again, which is better than not at all
    after = ledger.last_event()
    submission = ledger.submission(run)
    columns = "started, finished, status, options, document"
    found = store.select(f"SELECT {columns} FROM runs WHERE id = ?", run)
    if submission is None and not found:
        return None
    started, finished, status, options, document = found[0] if found else (None, None, "", None, None)
    asked = submission.options if submission else from_plain(RunOptions, json.loads(options), "options")
    state = submission.state if submission else state_of(store, run, status)
    live = submission is not None and submission.state not in ENDED
    result = _result(document, run) if document and not (live and state == "running") else None
    cells = result.cells if result else _cells_so_far(store, run)
    planned = _last(store, run, "planned") or {}
    progress = _progress(store, run) if live and state == "running" else None
    views = tuple(_views(cells))
    return View(run, state, after, asked, submission, started, finished, result, views, planned, progress)


def _views(cells: Sequence[CellResult]) -> Iterator[CellView]:
    room = _SERIES
    for place, cell in enumerate(cells):
        yield CellView(place, cell, tuple(first_figures(cell.kind, cell.figures)), cell.series[:room])
        room -= len(cell.series[:room])


def _result(text: str, run: str) -> RunResult:
    """The run without the scores of its items, which take most of the time and are shown elsewhere."""
    try:
        document = json.loads(text)
        document["cells"] = [{**cell, "outcomes": None} for cell in document["cells"]]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"the store is damaged: the document of run {run} cannot be read") from error
    return from_document(document)


def _cells_so_far(store: Store, run: str) -> list[CellResult]:
    """Those that were told of, each as it was told last: one that went on tells of all once more."""
    rows = store.select("SELECT data FROM events WHERE run = ? AND kind = 'cell' ORDER BY id", run)
    found: dict[tuple[str, ...], CellResult] = {}
    for (data,) in rows:
        cell = cell_from({**json.loads(data)["cell"], "outcomes": None}, "cell")
        found[(cell.kind, cell.label, cell.model, cell.backend)] = cell
    return list(found.values())


def _last(store: Store, run: str, kind: str) -> Any:
    statement = "SELECT data FROM events WHERE run = ? AND kind = ? ORDER BY id DESC LIMIT 1"
    found = store.select(statement, run, kind)
    return json.loads(found[0][0]) if found else None


def _progress(store: Store, run: str) -> Progress | None:
    statement = "SELECT at, data FROM events WHERE run = ? AND kind = 'progress' ORDER BY id DESC LIMIT ?"
    told = [(at, json.loads(data)) for at, data in store.select(statement, run, _MESSAGES)]
    if not told:
        return None
    last = told[0][1]
    same = [(at, data["done"]) for at, data in told if data["label"] == last["label"]]
    rate = _rate(same)
    left = (last["total"] - last["done"]) / rate if rate else None
    return Progress(last["label"], last["done"], last["total"], last["unit"], rate, left)


def _rate(told: Sequence[tuple[str, int]]) -> float | None:
    """Units a second from the oldest of the messages to the newest."""
    (last_at, last_done), (first_at, first_done) = told[0], told[-1]
    seconds = (datetime.fromisoformat(last_at) - datetime.fromisoformat(first_at)).total_seconds()
    return (last_done - first_done) / seconds if seconds > 0 and last_done > first_done else None
