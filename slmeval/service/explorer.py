"""Every item of a cell: what was asked and answered, what it scored, and what other sides made of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

from starlette.requests import HTTPConnection

from slmeval import endings
from slmeval.comparability import ended, unlike
from slmeval.errors import SlmevalError, UnknownName, UsageError
from slmeval.headlines import headlines
from slmeval.matching import CellPair
from slmeval.prompts import question_of
from slmeval.registry import Registry
from slmeval.service.item_answers import Answer, answer_of, prompt_of, target_of, trimmed
from slmeval.service.ledger import Ledger
from slmeval.service.problems import Refused
from slmeval.service.service import service_of
from slmeval.service.shelf import Drafted, Shelf, shelf_of
from slmeval.sides import Side, chosen, sides_of
from slmeval.store import Store
from slmeval.types import CellResult, Reply, RunResult, Sample

#: which items: all, those scored less than 1, those another side scored otherwise, those without an answer
Only = Literal["all", "wrong", "flipped", "no_answer"]
#: items of one page unless told, and at the most; sides that a cell is held against at once
PAGE, LARGEST_PAGE, MOST_SIDES = 50, 200, 8
_MARGIN = "margin"


@dataclass(frozen=True)
class Wanted:
    """What of a cell is to be shown. ``cell`` is its place in the run, from 0.

    ``against`` are RUN, RUN#BACKEND or RUN#BACKEND:MODEL; ``None``: the other engines and models that were
    submitted together with it. An item is wrong or flipped by its ``figure``; ``None``: the one read first.
    """

    run: str
    cell: int
    offset: int = 0
    limit: int = PAGE
    only: Only = "all"
    against: tuple[str, ...] | None = None
    figure: str | None = None
    #: the hash of the one item that is meant, if one is
    item: str | None = None


@dataclass(frozen=True)
class Opposite:
    """An item on another side, ``side`` being its place among the page's; ``place`` is the item's there.

    ``score`` is that of the page's figure, ``margin`` in nats; ``flipped`` where the score is another.
    ``answer`` is ``None`` where that side keeps none.
    """

    side: int
    place: int
    score: float | None
    margin: float | None
    flipped: bool
    answer: Answer | None


@dataclass(frozen=True)
class Item:
    """One item. ``place`` is among the cell's items, ``row`` in the data set, both from 0; ``item`` its hash.

    ``question`` stands alone, ``prompt`` is all that was shown, its examples too; these and the ``target``
    are ``None`` where the rows cannot be had. ``scores`` are by figure, ``None`` where it has none.
    """

    place: int
    row: int | None
    item: str
    question: str | None
    prompt: str | None
    target: str | None
    answer: Answer | None
    scores: Mapping[str, float | None]
    others: tuple[Opposite, ...] = ()


@dataclass(frozen=True)
class Against:
    """A side that the cell is held against, with its own cell there.

    Of ``common`` items it scored ``gained`` better and ``lost`` worse (of a figure that has a better);
    ``notes`` say what was not asked alike.
    """

    run: str
    cell: int
    backend: str
    model: str
    common: int = 0
    gained: int = 0
    lost: int = 0
    changed: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """Some items of a cell. Of ``total`` items ``count`` are of the kind that was asked for (``only``).

    ``offers`` are the kinds that this cell has. ``notes`` say what is lacking, and why.
    """

    run: str
    cell: int
    demo: bool
    result: CellResult
    figure: str | None
    only: Only
    offers: tuple[Only, ...]
    offset: int
    limit: int
    total: int
    count: int
    items: tuple[Item, ...]
    sides: tuple[Against, ...]
    #: seconds that it took to make the questions anew, when that was last done
    seconds: float
    notes: tuple[str, ...]


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


@dataclass(frozen=True)
class _Held:
    """Another side's cell, and by the item's place in the page's cell its place there."""

    seen: Seen
    places: Mapping[int, int]
    told: Against

    def opposite(self, places: Sequence[int]) -> list[int]:
        """Where those of some items stand there that it has."""
        return [self.places[place] for place in places if place in self.places]


@dataclass(frozen=True)
class _Look:
    """All that the store has for a page; answers are by row."""

    wanted: Wanted
    seen: Seen
    figure: str | None
    offers: tuple[Only, ...]
    count: int
    places: Sequence[int]
    held: tuple[_Held, ...]
    answers: Mapping[int, Sequence[Reply]]
    other_answers: Sequence[Mapping[int, Sequence[Reply]]]
    notes: tuple[str, ...]


def _look(store: Store, shelf: Shelf, wanted: Wanted) -> _Look:
    _check(wanted)
    run = shelf.run(store, wanted.run)
    seen = see(store, run, wanted.cell)
    figure = _figure(seen.cell, wanted.figure)
    others, notes = _others(store, shelf, seen, wanted.against)
    held = tuple(_hold(seen, other, figure) for other in others)
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
        _answers(store, seen, places),
        [_answers(store, each.seen, each.opposite(places)) for each in held],
        notes,
    )


def _check(wanted: Wanted) -> None:
    if wanted.only not in get_args(Only):
        raise UsageError(f"only={wanted.only!r}: one of {', '.join(get_args(Only))}")
    if wanted.offset < 0 or not 1 <= wanted.limit <= LARGEST_PAGE:
        raise UsageError(
            f"offset={wanted.offset} and limit={wanted.limit}: from 0 on, and 1 to {LARGEST_PAGE} items"
        )


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


def _answers(store: Store, seen: Seen, places: Sequence[int]) -> dict[int, list[Reply]]:
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


def _figure(cell: CellResult, named: str | None) -> str | None:
    """The figure that says which items are wrong; ``None`` where no figure is kept by item."""
    columns = cell.outcomes.columns if cell.outcomes else {}
    if named is not None and named not in columns:
        raise UnknownName("figure", named, columns)
    if named is not None or not columns:
        return named
    return next((name for name in headlines(CellPair(cell, cell)) if name in columns), next(iter(columns)))


# ---- the other sides ---------------------------------------------------------------------------------


def _others(
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


def _hold(seen: Seen, other: Seen, figure: str | None) -> _Held:
    there = {item: place for place, item in enumerate(other.items) if item}
    places = {place: there[item] for place, item in enumerate(seen.items) if item in there}
    cell, notes = other.cell, tuple(_unlike(seen, other))
    told = Against(other.run.id, other.number, cell.backend, cell.model, len(places), notes=notes)
    here, scores = seen.scores(figure), other.scores(figure)
    if not here or not scores:
        return _Held(other, places, told)
    changes = [_change(here[one], scores[two]) for one, two in places.items()]
    up, down = sum(change > 0 for change in changes), sum(change < 0 for change in changes)
    better = next((each.higher_is_better for each in seen.cell.figures if each.name == figure), None)
    gained, lost = {True: (up, down), False: (down, up), None: (0, 0)}[better]
    return _Held(other, places, replace(told, gained=gained, lost=lost, changed=up + down))


def _unlike(seen: Seen, other: Seen) -> Iterator[str]:
    if seen.cell.outcomes is None or other.cell.outcomes is None:
        yield "no scores are kept by item on both sides, so no item is found on both"
        return
    yield from unlike(seen.side, seen.cell, other.side, other.cell)


def _change(before: float | None, after: float | None) -> float:
    return 0.0 if before is None or after is None else after - before


# ---- which items -------------------------------------------------------------------------------------


def _offers(seen: Seen, figure: str | None, held: Sequence[_Held]) -> tuple[Only, ...]:
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


def _wanted(wanted: Wanted, seen: Seen, figure: str | None, held: Sequence[_Held]) -> list[int]:
    """The places of the items that are of the kind."""
    found = _of_kind(wanted.only, seen, figure, held)
    return [place for place in found if wanted.item in (None, seen.items[place])]


def _of_kind(only: Only, seen: Seen, figure: str | None, held: Sequence[_Held]) -> Iterable[int]:
    places = range(len(seen.items))
    if only == "all":
        return places
    if only == "flipped":
        return [place for place in places if any(_flipped(seen, place, each, figure) for each in held)]
    if only == "no_answer":
        return [place for place, score in enumerate(seen.scores(_unanswered(seen, figure))) if score]
    scores = seen.scores(figure) if _is_right_or_wrong(seen, figure) else ()
    return [place for place, score in enumerate(scores) if score is not None and score < 1]


def _flipped(seen: Seen, place: int, held: _Held, figure: str | None) -> bool:
    here, there = seen.scores(figure), held.seen.scores(figure)
    if not here or not there or place not in held.places:
        return False
    return _change(here[place], there[held.places[place]]) != 0


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
            _flipped(look.seen, place, held, look.figure),
            None if replies is None else answer_of(sample, drafted.scorer, repeats, replies),
        )


def _at(scores: Sequence[float | None], place: int) -> float | None:
    return scores[place] if scores else None
