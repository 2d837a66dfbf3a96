"""A cell of a run as it is kept: which rows its items are, and the answers to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slmeval.comparability import ended
from slmeval.service.item_answers import trimmed
from slmeval.service.problems import Refused
from slmeval.sides import Side, sides_of
from slmeval.store import Store
from slmeval.types import CellResult, Reply, RunResult


@dataclass(frozen=True)
class Seen:
    """A cell as it is kept: its items' rows in the data set, ``None`` where these are not told.

    ``made_here``: its answers were given here, so that its options may be trusted with what they name.
    """

    run: RunResult
    number: int
    cell: CellResult
    rows: Sequence[int | None]
    made_here: bool

    @property
    def items(self) -> Sequence[str]:
        """The items' hashes; of a cell without outcomes none is known."""
        return self.cell.outcomes.items if self.cell.outcomes else ("",) * len(self.rows)

    @property
    def side(self) -> Side:
        """The side that the cell is of."""
        key = (self.cell.backend, self.cell.model)
        return next(side for side in sides_of(self.run) if (side.backend, side.model) == key)

    def scores(self, figure: str | None) -> Sequence[float | None]:
        """Of a figure, by item; () where there are none."""
        columns = self.cell.outcomes.columns if self.cell.outcomes else {}
        return columns[figure].scores if figure is not None and figure in columns else ()


def see(store: Store, run: RunResult, number: int) -> Seen:
    """One cell of a run, as it is kept.

    :raises Refused: there is none of that number, or it has no items of its own.
    """
    if not 0 <= number < len(run.cells):
        raise Refused(404, f"run {run.id} has no cell {number}: it has {len(run.cells)}, counted from 0")
    cell = run.cells[number]
    if cell.kind != "task":
        whose = "its members have them" if cell.kind == "group" else "what it measured stands in the run"
        raise Refused(404, f"{cell.kind} {cell.name} has no items: {whose}")
    statement = "SELECT DISTINCT item FROM cell_items WHERE run = ? AND cell = ? ORDER BY item"
    rows = [int(row) for (row,) in store.select(statement, run.id, number)]
    uploaded = bool(store.select("SELECT 1 FROM uploads WHERE run = ?", run.id))
    items = cell.outcomes.items if cell.outcomes else None
    if rows and not uploaded and (items is None or len(items) == len(rows)):
        return Seen(run, number, cell, rows, made_here=True)
    known = items or ()
    places = [None if ended(cell) else place for place in range(len(known))]
    return Seen(run, number, cell, places, made_here=False)


def answers_in(store: Store, seen: Seen, places: Sequence[int]) -> dict[int, list[Reply]]:
    """The replies to each of some items, by its place."""
    if not seen.made_here:
        return {}
    found: dict[int, list[Reply]] = {}
    for place in places:
        keys = [
            key
            for (key,) in store.select(
                "SELECT key FROM cell_items WHERE run = ? AND cell = ? AND item = ? ORDER BY request",
                seen.run.id,
                seen.number,
                seen.rows[place],
            )
        ]
        replies = store.replies(keys)
        if all(key in replies for key in keys):
            found[place] = [trimmed(replies[key]) for key in keys]
    return found
