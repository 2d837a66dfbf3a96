"""Every item of a cell: what was asked and answered, what it scored, and what other sides made of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import get_args

from starlette.requests import HTTPConnection

from slmeval import endings
from slmeval.errors import UnknownName, UsageError
from slmeval.headlines import headlines
from slmeval.matching import CellPair
from slmeval.prompts import question_of
from slmeval.registry import Registry
from slmeval.service.item_answers import answer_of, prompt_of, target_of
from slmeval.service.item_page import LARGEST_PAGE, PAGE, Item, Only, Opposite, Page, Wanted
from slmeval.service.opposing import Held, hold, is_flipped, others_of
from slmeval.service.seen_cells import Seen, answers_in, see
from slmeval.service.service import service_of
from slmeval.service.shelf import Drafted, Shelf, shelf_of
from slmeval.store import Store
from slmeval.types import CellResult, Reply, Sample

_MARGIN = "margin"


def items_of(
    store: Store,
    registry: Registry,
    run: str,
    cell: int,
    offset: int = 0,
    limit: int = PAGE,
    only: Only = "all",
    against: Sequence[str] | None = None,
    figure: str | None = None,
) -> Page:
    """Some items of a cell, everything made for this one time; :func:`explore` keeps what can be kept.

    :raises Refused: there is no such run or cell, or the cell has no items.
    :raises UsageError: another side is not called so, or the page cannot be as asked.
    """
    others = None if against is None else tuple(against)
    shelf = Shelf(registry)
    look = _look(store, shelf, Wanted(run, cell, offset, limit, only, others, figure))
    return _page(look, _drafted(shelf, look))


async def explore(connection: HTTPConnection, wanted: Wanted) -> Page:
    """:func:`items_of` for a request: the store is read at the desk, and questions are made in a thread."""
    desk, shelf = service_of(connection).desk, shelf_of(connection)
    look = await desk.read(partial(_look, shelf=shelf, wanted=wanted))
    drafted = await asyncio.to_thread(_drafted, shelf, look)
    return await asyncio.to_thread(_page, look, drafted)


# ---- what is in the store ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Look:
    """All that the store has for a page; answers are by row."""

    wanted: Wanted
    seen: Seen
    figure: str | None
    offers: tuple[Only, ...]
    count: int
    places: Sequence[int]
    held: tuple[Held, ...]
    answers: Mapping[int, Sequence[Reply]]
    other_answers: Sequence[Mapping[int, Sequence[Reply]]]
    notes: tuple[str, ...]


def _look(store: Store, shelf: Shelf, wanted: Wanted) -> _Look:
    _check(wanted)
    run = shelf.run(store, wanted.run)
    seen = see(store, run, wanted.cell)
    figure = _figure(seen.cell, wanted.figure)
    others, notes = others_of(store, shelf, seen, wanted.against)
    held = tuple(hold(seen, other, figure) for other in others)
    offers = _offers(seen, figure, held)
    found = _wanted(wanted, seen, figure, held)
    places = found[wanted.offset : wanted.offset + wanted.limit]
    return _Look(
        wanted,
        seen,
        figure,
        offers,
        len(found),
        places,
        held,
        answers_in(store, seen, places),
        [answers_in(store, each.seen, each.opposite(places)) for each in held],
        notes,
    )


def _check(wanted: Wanted) -> None:
    if wanted.only not in get_args(Only):
        raise UsageError(f"only={wanted.only!r}: one of {', '.join(get_args(Only))}")
    if wanted.offset < 0 or not 1 <= wanted.limit <= LARGEST_PAGE:
        raise UsageError(
            f"offset={wanted.offset} and limit={wanted.limit}: from 0 on, and 1 to {LARGEST_PAGE} items"
        )


def _figure(cell: CellResult, named: str | None) -> str | None:
    """The figure that says which items are wrong; ``None`` where no figure is kept by item."""
    columns = cell.outcomes.columns if cell.outcomes else {}
    if named is not None and named not in columns:
        raise UnknownName("figure", named, columns)
    if named is not None or not columns:
        return named
    return next((name for name in headlines(CellPair(cell, cell)) if name in columns), next(iter(columns)))


# ---- which items -------------------------------------------------------------------------------------


def _offers(seen: Seen, figure: str | None, held: Sequence[Held]) -> tuple[Only, ...]:
    found: list[Only] = ["all"]
    if _is_right_or_wrong(seen, figure):
        found.append("wrong")
    if held:
        found.append("flipped")
    if _unanswered(seen, figure) is not None:
        found.append("no_answer")
    return tuple(found)


def _is_right_or_wrong(seen: Seen, figure: str | None) -> bool:
    """Whether each answer is right or wrong by it; the mean of several may lie between."""
    known = next((each for each in seen.cell.figures if each.name == figure), None)
    scores = {score for score in seen.scores(figure) if score is not None}
    if known is None or known.unit or known.higher_is_better is not True:
        return False
    return scores <= {0.0, 1.0} or (seen.cell.repeats > 1 and all(0 <= score <= 1 for score in scores))


def _unanswered(seen: Seen, figure: str | None) -> str | None:
    """The figure that says where no answer was found: that of the filter before ``figure``."""
    columns = seen.cell.outcomes.columns if seen.cell.outcomes else {}
    label = (figure or "").partition("/")[2]
    names = [f"{endings.NO_ANSWER}/{label}", *columns]
    return next((name for name in names if name in columns and name.startswith(endings.NO_ANSWER)), None)


def _wanted(wanted: Wanted, seen: Seen, figure: str | None, held: Sequence[Held]) -> list[int]:
    """The places of the items that are of the kind."""
    found = _of_kind(wanted.only, seen, figure, held)
    return [place for place in found if wanted.item in (None, seen.items[place])]


def _of_kind(only: Only, seen: Seen, figure: str | None, held: Sequence[Held]) -> Iterable[int]:
    places = range(len(seen.items))
    if only == "all":
        return places
    if only == "flipped":
        return [place for place in places if any(is_flipped(seen, place, each, figure) for each in held)]
    if only == "no_answer":
        return [place for place, score in enumerate(seen.scores(_unanswered(seen, figure))) if score]
    scores = seen.scores(figure) if _is_right_or_wrong(seen, figure) else ()
    return [place for place, score in enumerate(scores) if score is not None and score < 1]


# ---- the page ----------------------------------------------------------------------------------------


def _drafted(shelf: Shelf, look: _Look) -> Drafted:
    seen = look.seen
    if not seen.made_here:
        # what an upload names as its rows could be any file of this machine
        return Drafted()
    return shelf.draft(seen.run, seen.cell)


def _page(look: _Look, drafted: Drafted) -> Page:
    seen, wanted = look.seen, look.wanted
    items = tuple(_item(look, drafted, place) for place in look.places)
    return Page(
        seen.run.id,
        seen.number,
        seen.run.demo,
        seen.cell,
        look.figure,
        wanted.only,
        look.offers,
        wanted.offset,
        wanted.limit,
        len(seen.items),
        look.count,
        items,
        tuple(each.told for each in look.held),
        drafted.seconds,
        (*_lacking(look, drafted, items), *look.notes),
    )


def _lacking(look: _Look, drafted: Drafted, items: Sequence[Item]) -> Iterator[str]:
    seen = look.seen
    if not seen.made_here:
        yield "this run was not made here, or its answers are gone: there are scores alone"
    elif drafted.reason:
        yield f"the questions cannot be shown: {drafted.reason}"
    if seen.made_here and any(item.answer is None for item in items):
        yield "answers of some items are no longer in the store"
    if seen.cell.outcomes is None:
        yield f"no scores are kept by item: slmeval rescore {seen.run.id} makes a run that has them"
    if seen.cell.chat == "on":
        yield "the model's own chat template wrote the prompts; here its parts stand one after the other"


def _item(look: _Look, drafted: Drafted, place: int) -> Item:
    seen = look.seen
    sample = drafted.question(seen.rows[place])
    replies = look.answers.get(place)
    columns = seen.cell.outcomes.columns if seen.cell.outcomes else {}
    return Item(
        place,
        seen.rows[place],
        seen.items[place],
        question_of(sample) if sample else None,
        prompt_of(sample) if sample else None,
        target_of(sample) if sample else None,
        None if replies is None else answer_of(sample, drafted.scorer, seen.cell.repeats, replies),
        {name: column.scores[place] for name, column in columns.items()},
        tuple(_opposites(look, drafted, place, sample)),
    )


def _opposites(look: _Look, drafted: Drafted, place: int, sample: Sample | None) -> Iterator[Opposite]:
    for number, (held, answers) in enumerate(zip(look.held, look.other_answers, strict=True)):
        there = held.places.get(place)
        if there is None:
            continue
        replies, repeats = answers.get(there), held.seen.cell.repeats
        yield Opposite(
            number,
            there,
            _at(held.seen.scores(look.figure), there),
            _at(held.seen.scores(_MARGIN), there),
            is_flipped(look.seen, place, held, look.figure),
            None if replies is None else answer_of(sample, drafted.scorer, repeats, replies),
        )


def _at(scores: Sequence[float | None], place: int) -> float | None:
    return scores[place] if scores else None
