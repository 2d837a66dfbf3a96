"""Two sides' cells of the same questions, and the scores of the items that both have."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, cast

from slmeval.averages import rows_behind
from slmeval.comparability import ended, unlike
from slmeval.errors import UsageError
from slmeval.influences import items_of
from slmeval.paired import Pairs
from slmeval.sides import Side
from slmeval.types import CellResult, Figure, ItemScores

Over = Literal["rows", "members"]
#: what a cell is found by in its side: name, shots, manner
Key = tuple[str, int, str]
#: places of items that both have: in the first cell, and in the second
Places = tuple[Sequence[int], Sequence[int]]
#: so many parts of a data set can be taken as drawn; fewer of them are what they are
SUBJECTS = 10
#: values this near are the same mean, written with fewer digits
_EQUAL = 1e-6


class Unpaired(UsageError):
    """A figure whose items cannot be held against each other, and why."""


@dataclass(frozen=True)
class CellPair:
    """One task on two sides; a group has its ``members``, as far as both sides have them."""

    first: CellResult
    second: CellResult
    members: tuple[CellPair, ...] = ()

    @property
    def name(self) -> str:
        """``task@shots``, or a probe's name."""
        return self.first.label

    @cached_property
    def places(self) -> Places:
        """Where the items stand that both have, in the order of the first.

        :raises Unpaired: a cell has none, or they have none in common.
        """
        return _places(self.first, self.second)


def _places(first: CellResult, second: CellResult) -> Places:
    if first.outcomes is None or second.outcomes is None:
        raise Unpaired(f"{first.label} has no scores by item, on one side at least")
    here, there = first.outcomes.items, second.outcomes.items
    if here == there:
        return range(len(here)), range(len(here))
    where = {item: place for place, item in enumerate(there)}
    common = [(place, where[item]) for place, item in enumerate(here) if item in where]
    if not common:
        raise Unpaired(f"no item of {first.label} is on both sides")
    return [place for place, _ in common], [place for _, place in common]


# ---- which cells stand opposite --------------------------------------------------------------------------


@dataclass(frozen=True)
class Matching:
    """The cells of two sides that stand opposite, what differs in them, and what stands alone.

    ``differences`` are by the name of the cell, those of comparable ones left out; ``notes`` are on cells of
    one side only, and on items that were not asked because a rule ended the asking.
    """

    here: Side
    there: Side
    cells: tuple[CellPair, ...]
    differences: Mapping[str, Sequence[str]]
    notes: tuple[str, ...]


def match(here: Side, there: Side) -> Matching:
    """The cells of both sides that have the same task, and the same shots and manner where there are such."""
    pairs, alone = _opposite(here, there)
    cells = tuple(_with_members(pair, pairs) for pair in pairs)
    found = {pair.name: unlike(here, pair.first, there, pair.second) for pair in cells}
    notes = [*alone, *_early(cells)]
    return Matching(here, there, cells, {name: each for name, each in found.items() if each}, tuple(notes))


def _key(cell: CellResult) -> Key:
    return cell.name, cell.shots, cell.chat


def _opposite(here: Side, there: Side) -> tuple[list[CellPair], list[str]]:
    """Each pair, and what is said of the cells that are in none."""
    # of a task that was asked twice the first counts
    ones = {_key(cell): cell for cell in reversed(here.cells)}
    others = {_key(cell): cell for cell in reversed(there.cells)}
    matched = {key: others.pop(key) for key in (_key(cell) for cell in here.cells) if key in others}
    left = [cell for key, cell in ones.items() if key not in matched]
    for cell in left:
        # the only one that is left of a task, with other shots or in another manner, differs in just that
        same = [key for key in others if key[0] == cell.name]
        if len(same) == 1 and sum(each.name == cell.name for each in left) == 1:
            matched[_key(cell)] = others.pop(same[0])
    pairs = [CellPair(cell, matched[_key(cell)]) for cell in _once(here.cells) if _key(cell) in matched]
    alone = [*_alone(here, [cell for cell in _once(here.cells) if _key(cell) not in matched])]
    return pairs, [*alone, *_alone(there, [cell for cell in _once(there.cells) if _key(cell) in others])]


def _once(cells: Sequence[CellResult]) -> Iterator[CellResult]:
    yield from {_key(cell): cell for cell in reversed(cells)}.values().__reversed__()


def _alone(side: Side, cells: Sequence[CellResult]) -> Iterator[str]:
    if cells:
        yield f"{listed([cell.label for cell in cells])}: on one side only ({side})"


def _with_members(pair: CellPair, pairs: Sequence[CellPair]) -> CellPair:
    if pair.first.kind != "group":
        return pair
    found = (_member(name, pair.first, pairs) for name in pair.first.members)
    return CellPair(pair.first, pair.second, tuple(_with_members(each, pairs) for each in found if each))


def _member(name: str, group: CellResult, pairs: Sequence[CellPair]) -> CellPair | None:
    """Of a member that is asked with other shots than its group there is one cell only."""
    of_name = [each for each in pairs if each.first.name == name and each.first.chat == group.chat]
    exact = [each for each in of_name if each.first.shots == group.shots]
    found = exact or (of_name if len(of_name) == 1 else [])
    return found[0] if found else None


def _early(cells: Sequence[CellPair]) -> Iterator[str]:
    for pair in cells:
        one, other = pair.first.outcomes, pair.second.outcomes
        if one and other and one.items != other.items and (ended(pair.first) or ended(pair.second)):
            common = len(set(one.items) & set(other.items))
            yield f"{pair.name}: its asking was ended early; compared on the {common:,} items of both"


def listed(names: Sequence[str], most: int = 4) -> str:
    """The first few of them, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


# ---- their scores ----------------------------------------------------------------------------------------


def pairs_of(pair: CellPair, figure: str) -> Pairs:
    """The scores of ``figure`` of all items that both sides have one of.

    Those of a group are its members', each a stratum that counts as much as it does in the group's mean.
    Where a group is one data set in many parts, :data:`SUBJECTS` or more whose rows all count the same, each
    part is a cluster: what is asked of one subject belongs together.

    :raises Unpaired: there are no such scores, and why.
    """
    return _of_group(pair, figure) if pair.first.kind == "group" else _of_task(pair, figure)


def _of_task(pair: CellPair, figure: str) -> Pairs:
    here, there = pair.places
    one, other = _column(pair.first, figure), _column(pair.second, figure)
    if one.scale != other.scale:
        raise Unpaired(f"{pair.name}/{figure} is made of its scores in two ways: {one.scale}, {other.scale}")
    kept = [
        (a, b)
        for a, b in zip(here, there, strict=True)
        if one.scores[a] is not None and other.scores[b] is not None
    ]
    if not kept:
        raise Unpaired(f"no item has a score of {pair.name}/{figure} on both sides")
    first, second = [one.scores[a] or 0.0 for a, _ in kept], [other.scores[b] or 0.0 for _, b in kept]
    weights = [one.weights[a] for a, _ in kept] if one.weights else []
    if not all(map(math.isfinite, (*first, *second, *weights))) or min(weights, default=1.0) <= 0:
        raise Unpaired(f"a score of {pair.name}/{figure} or its weight is no number")
    clusters = pair.first.outcomes.clusters if pair.first.outcomes else ()
    return Pairs(
        first,
        second,
        weights,
        [clusters[a] for a, _ in kept] if clusters else (),
        scale=one.scale,
    )


def _column(cell: CellResult, figure: str) -> ItemScores:
    known = figure_named(cell, figure)
    if known is not None and (known.value is None or not math.isfinite(known.value)):
        raise Unpaired(f"{cell.label}/{figure} is unavailable: {known.note or 'it has no value'}")
    columns = cell.outcomes.columns if cell.outcomes else {}
    if figure not in columns:
        raise Unpaired(f"{cell.label}/{figure} is not made of scores by item")
    return columns[figure]


def figure_named(cell: CellResult, name: str) -> Figure | None:
    """The figure of that name, if the cell has it."""
    return next((figure for figure in cell.figures if figure.name == name), None)


def _of_group(pair: CellPair, figure: str) -> Pairs:
    if len(pair.members) < len(pair.first.members) or pair.first.members != pair.second.members:
        raise Unpaired(f"{pair.name} has members on one side that the other lacks")
    over = averaged_over(pair, figure)
    parts = [pairs_of(member, figure) for member in pair.members]
    if len({part.scale for part in parts}) > 1:
        raise Unpaired(f"{figure} is not made of its scores in the same way in all members of {pair.name}")
    whole = Pairs(
        [score for part in parts for score in part.first],
        [score for part in parts for score in part.second],
        [
            weight
            for member, part in zip(pair.members, parts, strict=True)
            for weight in _weights(part, _rows(member, figure, part) if over == "rows" else 1.0)
        ],
        _renumbered([part.clusters or range(len(part.first)) for part in parts])
        if any(part.clusters for part in parts)
        else (),
        _renumbered([part.strata or (0,) * len(part.first) for part in parts]),
        parts[0].scale,
    )
    if over == "members" or len(set(whole.strata)) < SUBJECTS:
        return whole
    return replace(whole, clusters=whole.strata, strata=())


def _rows(member: CellPair, figure: str, part: Pairs) -> float:
    """How many rows a member stands for: where a rule ended it, more than were asked."""
    early = [cell for cell in (member.first, member.second) if ended(cell)]
    found = [rows_behind(cell, known) for cell in early if (known := figure_named(cell, figure))]
    return max(found, default=float(len(part.first)))


def _weights(part: Pairs, whole: float) -> Sequence[float]:
    """Of each item in the group: they sum to ``whole``."""
    if not part.weights:
        return [whole / len(part.first)] * len(part.first)
    share = whole / math.fsum(part.weights)
    return [weight * share for weight in part.weights]


def _renumbered(parts: Sequence[Sequence[int]]) -> list[int]:
    """The numbers of each part, so that no two parts share one."""
    found: list[int] = []
    start = 0
    for part in parts:
        found += [start + number for number in part]
        start += max(part) + 1
    return found


def averaged_over(pair: CellPair, figure: str) -> Over:
    """Whether the group's figure is a mean over rows or over members.

    Of a run that does not say it is seen from the members' own figures.

    :raises Unpaired: it is neither.
    """
    whole = figure_named(pair.first, figure)
    parts = [figure_named(member.first, figure) for member in pair.members]
    found = [
        (part.value, rows_behind(member.first, part))
        for member, part in zip(pair.members, parts, strict=True)
        if part is not None and part.value is not None
    ]
    if whole is None or whole.value is None or len(found) < len(parts):
        raise Unpaired(f"{pair.name}/{figure} is unavailable, or one of its members is")
    rows = sum(n for _, n in found)
    means = {
        "rows": math.fsum(value * n for value, n in found) / rows if rows else math.nan,
        "members": math.fsum(value for value, _ in found) / len(found) if found else math.nan,
    }
    for over, mean in means.items():
        told_so = pair.first.over in ("", over)
        if told_so and math.isclose(whole.value, mean, rel_tol=_EQUAL, abs_tol=_EQUAL):
            return cast(Over, over)
    raise Unpaired(f"{pair.name}/{figure} is no mean of its members' figures")


def values_of(pairs: Pairs) -> tuple[float, float]:
    """What the figure comes to on each side, on the items of both."""
    items = items_of(len(pairs.first), pairs.weights, pairs.clusters, pairs.strata)
    first, second = (items.scores(scores, "score") for scores in (pairs.first, pairs.second))
    return items.value(first, pairs.scale), items.value(second, pairs.scale)
