"""The runs of one submission side by side: engines and devices across, figures down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slmeval.service.first_figures import first_figures
from slmeval.service.ledger import ENDED, Ledger, Submission
from slmeval.store import Store
from slmeval.types import Figure, cell_label

#: so many runs stand beside each other, with so many figures in all; the others are told of
_ACROSS, _FIGURES = 12, 2400

#: what a row shows: kind, task, shots, chat, model, figure
Key = tuple[str, str, int, str, str, str]


@dataclass(frozen=True)
class Entry:
    """A figure of one run. ``sample``: not the whole data set was asked; ``place`` is its cell's."""

    figure: Figure
    sample: bool
    place: int


@dataclass(frozen=True)
class Row:
    """One figure of one task in all runs that have it; ``""`` for a part that is the same in all rows."""

    task: str
    model: str
    figure: str
    unit: str
    entries: Mapping[str, Entry]


@dataclass(frozen=True)
class Batch:
    """``after`` is the newest event of all that is in it."""

    id: str
    after: int
    runs: tuple[Submission, ...]
    rows: tuple[Row, ...]
    hidden: int

    @property
    def across(self) -> tuple[Submission, ...]:
        """The runs that have a column."""
        return self.runs[:_ACROSS]

    @property
    def ended(self) -> int:
        """How many have come to their end, whatever it is."""
        return sum(run.state in ENDED for run in self.runs)

    @property
    def is_live(self) -> bool:
        """Whether there is more to come."""
        return any(run.state not in ENDED for run in self.runs)

    @property
    def several_models(self) -> bool:
        return len({row.model for row in self.rows}) > 1


def batch_of(store: Store, batch: str) -> Batch | None:
    """What there is of a submission; ``None`` where there is none of this id."""
    ledger = Ledger(store)
    after = ledger.last_event()
    runs = tuple(ledger.submissions(batch=batch))
    if not runs:
        return None
    across = [run.run for run in runs[:_ACROSS]]
    rows, most = _rows(store, across), _FIGURES // len(across)
    return Batch(batch, after, runs, rows[:most], max(0, len(rows) - most))


def _rows(store: Store, runs: Sequence[str]) -> tuple[Row, ...]:
    found: dict[Key, dict[str, Entry]] = {}
    for run in runs:
        for key, entry in _entries(store, run):
            found.setdefault(key, {}).setdefault(run, entry)
    return tuple(_row(key, entries) for key, entries in found.items())


def _row(key: Key, entries: Mapping[str, Entry]) -> Row:
    kind, task, shots, chat, model, figure = key
    unit = next(iter(entries.values())).figure.unit
    return Row(cell_label(kind, task, shots, chat), model, figure, unit, entries)


def _entries(store: Store, run: str) -> list[tuple[Key, Entry]]:
    """The figures of a run that are shown first, in the order of its cells."""
    columns = (
        "cell, kind, task, shots, chat, model, figure, value, low, high, n, unit, source, sample, better"
    )
    cells: dict[int, list[Any]] = {}
    for place, *rest in store.select(
        f"SELECT {columns} FROM figures WHERE run = ? ORDER BY cell, place", run
    ):
        cells.setdefault(place, []).append(rest)
    entries = []
    for place, rows in cells.items():
        kind, task, shots, chat, model = rows[0][:5]
        for figure in first_figures(kind, [_figure(row[5:]) for row in rows]):
            key = (kind, task, shots, chat, model, figure.name)
            entries.append((key, Entry(figure, bool(rows[0][12]), place)))
    return entries


def _figure(row: Sequence[Any]) -> Figure:
    name, value, low, high, n, unit, source, _, better = row
    interval = None if low is None or high is None else (low, high)
    return Figure(name, value, None, interval, n, unit, source, "", None if better is None else bool(better))
