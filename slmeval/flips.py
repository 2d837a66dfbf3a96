"""Items whose score another side changed: first those that became worse, the largest change first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from slmeval.comparability import ended
from slmeval.differences import Flip
from slmeval.matching import CellPair
from slmeval.types import CellResult, Figure

#: the figure that says by how much the right choice is likelier than the best of the others, in nats
_MARGIN = "margin"
#: a cell, the item's places in its first and second side, and its scores there
Change = tuple[CellPair, int, int, float, float]


def flips_of(pair: CellPair, figure: Figure, most: int) -> tuple[list[Flip], int]:
    """The items of a task, or of a group's members, that have another score: at most so many, and how many.

    Prompts are not known here.
    """
    sign = -1 if figure.higher_is_better is False else 1

    def order(change: Change) -> tuple[bool, float]:
        *_, before, after = change
        return sign * (after - before) > 0, -abs(after - before)

    changes = sorted(_changes(pair, figure.name), key=order)
    return [_flip(figure.name, *change) for change in changes[:most]], len(changes)


def _changes(pair: CellPair, figure: str) -> Iterator[Change]:
    if pair.members:
        for member in pair.members:
            yield from _changes(member, figure)
        return
    one, other = _scores(pair.first, figure), _scores(pair.second, figure)
    for here, there in zip(*pair.places, strict=True):
        before, after = one[here], other[there]
        if before is not None and after is not None and before != after:
            yield pair, here, there, before, after


def _flip(figure: str, pair: CellPair, here: int, there: int, before: float, after: float) -> Flip:
    row, margin, later = _row(pair, here, there), _margin(pair.first, here), _margin(pair.second, there)
    return Flip(pair.name, figure, _item(pair, here), row, before, after, margin, later)


def _margin(cell: CellResult, place: int) -> float | None:
    scores = _scores(cell, _MARGIN)
    return scores[place] if scores else None


def _scores(cell: CellResult, figure: str) -> Sequence[float | None]:
    column = cell.outcomes.columns.get(figure) if cell.outcomes else None
    return column.scores if column else ()


def _item(pair: CellPair, place: int) -> str:
    return pair.first.outcomes.items[place] if pair.first.outcomes else ""


def _row(pair: CellPair, here: int, there: int) -> int | None:
    """Where a rule ended the asking, places among what was asked say nothing of the data set."""
    if not ended(pair.first):
        return here
    return None if ended(pair.second) else there
