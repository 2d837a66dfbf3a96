"""The other sides of a cell: who else was asked the same, and which items they scored otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from slmeval.comparability import unlike
from slmeval.errors import SlmevalError
from slmeval.service.item_page import MOST_SIDES, Against
from slmeval.service.ledger import Ledger
from slmeval.service.problems import Refused
from slmeval.service.seen_cells import Seen, see
from slmeval.service.shelf import Shelf
from slmeval.sides import chosen, sides_of
from slmeval.store import Store
from slmeval.types import RunResult


@dataclass(frozen=True)
class Held:
    """Another side's cell, and by the item's place in the page's cell its place there."""

    seen: Seen
    places: Mapping[int, int]
    told: Against

    def opposite(self, places: Sequence[int]) -> list[int]:
        """Where those of some items stand there that it has."""
        return [self.places[place] for place in places if place in self.places]


def others_of(
    store: Store, shelf: Shelf, seen: Seen, against: tuple[str, ...] | None
) -> tuple[list[Seen], tuple[str, ...]]:
    """The cells of the same questions on other sides, and what is said of sides that have none."""
    notes: list[str] = []
    found: list[Seen] = []
    for run, wanted in _named(store, shelf, seen, against, notes):
        cells = list(_alike(store, run, wanted, seen))
        if against is not None and not cells:
            notes.append(f"{run.id} has not asked {seen.cell.label}")
        found += cells
    if len(found) > MOST_SIDES:
        notes.append(f"{MOST_SIDES} of {len(found)} other sides are shown: name those that are to be")
    return found[:MOST_SIDES], tuple(notes)


def _named(
    store: Store, shelf: Shelf, seen: Seen, against: tuple[str, ...] | None, notes: list[str]
) -> Iterator[tuple[RunResult, str]]:
    """Runs, each with the side of it that is meant, "" for all."""
    if against is not None:
        for reference in against:
            run, _, wanted = reference.partition("#")
            yield shelf.run(store, run), wanted
        return
    yield seen.run, ""
    for run_id in _together(store, seen.run.id):
        try:
            yield shelf.run(store, run_id), ""
        except Refused:
            continue  # it has not begun, or not ended yet
        except SlmevalError as error:
            notes.append(f"run {run_id}: {error}")


def _together(store: Store, run_id: str) -> list[str]:
    """Those that were submitted together with it."""
    ledger = Ledger(store)
    own = ledger.submission(run_id)
    if own is None:
        return []
    return [each.run for each in ledger.submissions(batch=own.batch) if each.run != run_id]


def _alike(store: Store, run: RunResult, wanted: str, seen: Seen) -> Iterator[Seen]:
    sides = {(side.backend, side.model) for side in (chosen(sides_of(run), wanted) if run.cells else ())}
    mine = seen.cell
    for number, cell in enumerate(run.cells):
        same = (cell.kind, cell.name, cell.shots, cell.chat) == (mine.kind, mine.name, mine.shots, mine.chat)
        itself = run.id == seen.run.id and number == seen.number
        if same and not itself and (cell.backend, cell.model) in sides:
            yield see(store, run, number)


def hold(seen: Seen, other: Seen, figure: str | None) -> Held:
    there = {item: place for place, item in enumerate(other.items) if item}
    places = {place: there[item] for place, item in enumerate(seen.items) if item in there}
    cell, notes = other.cell, tuple(_unlike(seen, other))
    told = Against(other.run.id, other.number, cell.backend, cell.model, len(places), notes=notes)
    here, scores = seen.scores(figure), other.scores(figure)
    if not here or not scores:
        return Held(other, places, told)
    changes = [_change(here[one], scores[two]) for one, two in places.items()]
    up, down = sum(change > 0 for change in changes), sum(change < 0 for change in changes)
    better = next((each.higher_is_better for each in seen.cell.figures if each.name == figure), None)
    gained, lost = {True: (up, down), False: (down, up), None: (0, 0)}[better]
    return Held(other, places, replace(told, gained=gained, lost=lost, changed=up + down))


def _unlike(seen: Seen, other: Seen) -> Iterator[str]:
    if seen.cell.outcomes is None or other.cell.outcomes is None:
        yield "no scores are kept by item on both sides, so no item is found on both"
        return
    yield from unlike(seen.side, seen.cell, other.side, other.cell)


def _change(before: float | None, after: float | None) -> float:
    return 0.0 if before is None or after is None else after - before


def is_flipped(seen: Seen, place: int, held: Held, figure: str | None) -> bool:
    here, there = seen.scores(figure), held.seen.scores(figure)
    if not here or not there or place not in held.places:
        return False
    return _change(here[place], there[held.places[place]]) != 0
