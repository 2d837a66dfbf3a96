"""Figures by name, from their index in the store: over runs, and of every model. No document is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slmeval.service.first_figures import first_figures
from slmeval.store import Store
from slmeval.types import Figure, Source, cell_label

#: runs of a history, and those among which the newest results are looked for
MOST_RUNS, RECENT = 200, 500
#: points of a history: a run can have many engines and models
_MOST_POINTS = 2000

_COLUMNS = (
    "f.run, f.cell, r.started, r.status, f.kind, f.task, f.shots, f.chat, f.backend, f.model, f.figure,"
    " f.place, f.value, f.low, f.high, f.n, f.unit, f.source, f.sample, f.better, f.version, f.rows,"
    " f.settings, f.machine, f.weights"
)


@dataclass(frozen=True)
class Point:
    """A figure of one run. ``cell`` is its cell's place there, ``place`` its own in the cell, from 0.

    ``value`` is ``None`` where it is unavailable, ``low`` and ``high`` where it has no 95% interval. ``rows``
    is the SHA-256 of what was asked, ``weights`` that of the model, ``settings`` JSON of what a probe was
    told.
    """

    run: str
    cell: int
    started: str
    status: str
    kind: str
    task: str
    shots: int
    chat: str
    backend: str
    model: str
    figure: str
    place: int
    value: float | None
    low: float | None
    high: float | None
    n: int
    unit: str
    source: Source
    sample: bool
    better: bool | None
    version: str
    rows: str
    settings: str
    machine: str
    weights: str

    @property
    def label(self) -> str:
        """``task@shots``, or a probe's name."""
        return cell_label(self.kind, self.task, self.shots, self.chat)

    def as_figure(self) -> Figure:
        """It as its cell has it."""
        interval = None if self.low is None or self.high is None else (self.low, self.high)
        return Figure(
            self.figure, self.value, None, interval, self.n, self.unit, self.source, "", self.better
        )

    @property
    def side(self) -> tuple[str, str]:
        """The engine and the model."""
        return self.backend, self.model


def unlike(one: Point, other: Point) -> list[str]:
    """Why ``one`` is not the same thing measured again as ``other``: each difference in a few words."""
    told = {
        "another version of the task": one.version != other.version,
        "other rows": one.rows != other.rows,
        "another number of items": one.kind != "probe" and one.rows == other.rows and one.n != other.n,
        "a sample": one.sample and not other.sample,
        "no sample": other.sample and not one.sample,
        "other settings": one.settings != other.settings,
        "another machine": one.machine != other.machine,
    }
    return [words for words, differs in told.items() if differs]


def tasks(store: Store) -> list[str]:
    """Every task, group and probe of which any run has a figure."""
    return _walk(store, "task", "")


def figures(store: Store, task: str) -> list[str]:
    """Every figure that any run has of a task."""
    return _walk(store, "figure", "task = ? AND", task)


def _walk(store: Store, column: str, clause: str, *values: str) -> list[str]:
    """All values of a column. Each next one is found in the index: to read all of it takes longer."""
    statement = f"""
        WITH RECURSIVE known (value) AS (
          SELECT min({column}) FROM figures WHERE {clause} {column} IS NOT NULL
          UNION ALL
          SELECT (SELECT min({column}) FROM figures WHERE {clause} {column} > known.value)
          FROM known WHERE known.value IS NOT NULL
        )
        SELECT value FROM known WHERE value IS NOT NULL"""
    return [str(value) for (value,) in store.select(statement, *values, *values)]


def manners(store: Store, task: str, figure: str) -> list[tuple[int, str]]:
    """At how many shots, and whether in chat, there is a figure of a task."""
    statement = "SELECT DISTINCT shots, chat FROM figures WHERE task = ? AND figure = ? ORDER BY shots, chat"
    return [(int(shots), str(chat)) for shots, chat in store.select(statement, task, figure)]


#: the newest runs first, each looked up in the index by name, until there are enough
HISTORY = f"""
    WITH r AS (
      SELECT id, started, status, rowid AS began FROM runs WHERE EXISTS (
        SELECT 1 FROM figures f
        WHERE f.task = ?1 AND f.figure = ?2 AND f.shots = ?3 AND f.chat = ?4 AND f.run = runs.id
      )
      ORDER BY started DESC, rowid DESC LIMIT ?5
    )
    SELECT {_COLUMNS} FROM r CROSS JOIN figures f ON f.run = r.id
    WHERE f.task = ?1 AND f.figure = ?2 AND f.shots = ?3 AND f.chat = ?4
    ORDER BY r.started DESC, r.began DESC, f.cell LIMIT ?6"""


def history(store: Store, task: str, figure: str, shots: int, chat: str) -> list[Point]:
    """A figure over runs, the newest first; of the newest :data:`MOST_RUNS` that have it."""
    return _points(store.select(HISTORY, task, figure, shots, chat, MOST_RUNS, _MOST_POINTS))


def newest(store: Store, figure: str | None = None, backend: str | None = None) -> list[Point]:
    """Of every engine and model, each figure of each task as it last was; one of several by its name.

    Looked through are the newest :data:`RECENT` runs.
    """
    clauses = ["f.figure = ?"] if figure else []
    clauses += ["f.backend = ?"] if backend else []
    where = f"WHERE {' AND '.join(clauses)}" if clauses else ""
    # of each group SQLite takes the row that has the largest start
    statement = f"""
        WITH r AS (SELECT id, started, status FROM runs WHERE document IS NOT NULL
                   ORDER BY started DESC, rowid DESC LIMIT ?)
        SELECT {_COLUMNS}, max(r.started) FROM r CROSS JOIN figures f ON f.run = r.id {where}
        GROUP BY f.kind, f.task, f.shots, f.chat, f.backend, f.model, f.figure"""
    rows = store.select(statement, RECENT, *filter(None, (figure, backend)))
    return _points(row[:-1] for row in rows)


def main_figures(points: Iterable[Point]) -> list[Point]:
    """Of each cell's figures the one that is read first."""
    cells: dict[tuple[Any, ...], list[Point]] = {}
    for point in points:
        cells.setdefault((point.kind, point.label, point.side), []).append(point)
    return [main_of(each) for each in cells.values()]


def main_of(figures: Sequence[Point]) -> Point:
    """Of one cell's figures the one that is read first; where none has a value, the first one."""
    points = sorted(figures, key=lambda point: point.place)
    names = [figure.name for figure in first_figures(points[0].kind, [point.as_figure() for point in points])]
    return next((point for point in points if point.figure in names[:1]), points[0])


def recent_sides(store: Store, runs: int = 50) -> list[tuple[str, str, str]]:
    """The run, engine and model of each side of the newest runs, the newest first."""
    statement = """
        WITH recent AS (
          SELECT id, started, rowid AS began FROM runs WHERE document IS NOT NULL
          ORDER BY started DESC, began DESC LIMIT ?
        )
        SELECT DISTINCT f.run, f.backend, f.model, r.started, r.began
        FROM recent r CROSS JOIN figures f ON f.run = r.id ORDER BY r.started DESC, r.began DESC, f.cell"""
    rows = store.select(statement, runs)
    return list(dict.fromkeys((str(run), str(backend), str(model)) for run, backend, model, *_ in rows))


def _points(rows: Iterable[Sequence[Any]]) -> list[Point]:
    return [_point(row) for row in rows]


def _point(row: Sequence[Any]) -> Point:
    values: Mapping[str, Any] = dict(zip(_NAMES, row, strict=True))
    better = values["better"]
    return Point(
        **{**values, "sample": bool(values["sample"]), "better": None if better is None else bool(better)}
    )


_NAMES = tuple(name.strip().partition(".")[2] for name in _COLUMNS.split(","))
