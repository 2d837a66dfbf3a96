"""Items whose score another side changed: first those that became worse."""

from __future__ import annotations

from slmeval.comparability import ended
from slmeval.differences import Flip
from slmeval.matching import CellPair
from slmeval.types import CellResult, Figure

#: the figure that says by how much the right choice is likelier than the best of the others, in nats
_MARGIN = "margin"


def flips_of(pair: CellPair, figure: Figure) -> list[Flip]:
    """The items of a task, or of a group's members, that have another score; prompts are not known here."""
    if pair.members:
        flips = [flip for member in pair.members for flip in flips_of(member, figure)]
    else:
        flips = _of_task(pair, figure.name)
    sign = -1 if figure.higher_is_better is False else 1
    return sorted(flips, key=lambda flip: sign * (flip.after - flip.before) > 0)


def _of_task(pair: CellPair, figure: str) -> list[Flip]:
    here, there = pair.places
    one, other = _scores(pair.first, figure), _scores(pair.second, figure)
    margins = _scores(pair.first, _MARGIN), _scores(pair.second, _MARGIN)
    found = []
    for a, b in zip(here, there, strict=True):
        before, after = one.get(a), other.get(b)
        if before is not None and after is not None and before != after:
            seen = (margins[0].get(a), margins[1].get(b))
            found.append(Flip(pair.name, figure, _item(pair, a), _row(pair, a, b), before, after, *seen))
    return found


def _scores(cell: CellResult, figure: str) -> dict[int, float | None]:
    column = cell.outcomes.columns.get(figure) if cell.outcomes else None
    return dict(enumerate(column.scores)) if column else {}


def _item(pair: CellPair, place: int) -> str:
    return pair.first.outcomes.items[place] if pair.first.outcomes else ""


def _row(pair: CellPair, here: int, there: int) -> int | None:
    """Where a rule ended the asking, places among what was asked say nothing of the data set."""
    if not ended(pair.first):
        return here
    return None if ended(pair.second) else there
