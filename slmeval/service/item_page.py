"""What a page of a cell's items is asked for, and what it holds: frozen records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from slmeval.service.item_answers import Answer
from slmeval.types import CellResult

#: which items: all, those scored less than 1, those another side scored otherwise, those without an answer
Only = Literal["all", "wrong", "flipped", "no_answer"]
#: items of one page unless told, and at the most; sides that a cell is held against at once
PAGE, LARGEST_PAGE, MOST_SIDES = 50, 200, 8


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
