"""In which order a cell's items are drawn, and after which of them it is looked at: told before one is asked.

Each cell's items are put in an order by the seed and cut into as many equal parts as there are looks. Parts
of all cells are asked in turn, so that something is known of each of them early.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random

from slmeval.asking import cut_units
from slmeval.plan import Block, Cell, Item

#: at how many moments a cell may end, its last item included: more would save little, and cost some power
LOOKS = 10
#: items at the first look, where there are so many: with fewer no interval is to be trusted
FEWEST = 50
#: items that are asked first of all, so that a table has something to show
FIRST_SIGHT = 16


def looks_at(items: int) -> int:
    """How many looks there are at cells that have so many items together."""
    return max(1, min(LOOKS, items // FEWEST))


def draw(cell: Cell) -> tuple[Item, ...]:
    """The cell's items in an order by its seed and its task, at any number of shots.

    More rows of the same task keep the order of the fewer.
    """
    stream = Random(f"items of {cell.task.name}:{cell.seed}")
    # random() is the one method whose sequence Python promises to keep for ever
    ranks = [stream.random() for _ in cell.items]
    return tuple(item for _, item in sorted(zip(ranks, cell.items, strict=True), key=lambda pair: pair[0]))


def cut_blocks(cells: Sequence[Cell], trials: Sequence[Sequence[int]]) -> tuple[Block, ...]:
    """All that ``cells`` ask, in the order in which it is asked; ``trials`` are places of cells.

    In a block what is asked twice is asked once; of two blocks each has it, since either may be left out.
    """
    made = [
        block
        for number, places in enumerate(trials)
        for block in _of_trial(number, places, cells, looks_at(sum(len(cells[at].items) for at in places)))
    ]
    return tuple(sorted(made, key=lambda block: block.look))


def _of_trial(number: int, places: Sequence[int], cells: Sequence[Cell], looks: int) -> Iterator[Block]:
    for at in places:
        drawn = draw(cells[at])
        ends = _ends(len(drawn), looks)
        for look, (start, end) in enumerate(zip((0, *ends), ends, strict=False)):
            items = tuple(sorted(drawn[start:end], key=lambda item: item.index))
            units = tuple(cut_units([replace(cells[at], items=items)]))
            yield Block(at, number, look, looks, items, units)


def _ends(items: int, looks: int) -> tuple[int, ...]:
    """Where the parts end; the first is only shown, and empty where it would be most of a look's."""
    ends = [items * look // looks for look in range(1, looks + 1)]
    first = FIRST_SIGHT if ends[0] >= 2 * FIRST_SIGHT else 0
    return (first, *ends)


def asked_until(cell: Cell, blocks: Sequence[Block]) -> Cell:
    """The cell with the items of these blocks alone, as they stand in the data set."""
    items = tuple(sorted((item for block in blocks for item in block.items), key=lambda item: item.index))
    if len(items) == len(cell.items):
        return cell
    counts = Counter({"flawed": sum(bool(item.sample.flaw) for item in items)})
    for item in items:
        counts.update(item.counts)
    return replace(cell, items=items, counts=dict(counts), sample=True)
