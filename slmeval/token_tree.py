"""The tree of what sequences of token ids begin with: a radix tree, in which each common token stands once.

Building it and walking it take time linear in the number of tokens. Nodes are numbered in the order of a
walk that goes down before it goes on (depth first), branches in the order in which they were first met.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from slmeval.types import TokenIds


def common_length(left: Sequence[object], right: Sequence[object]) -> int:
    """How many leading tokens, or characters, the two have in common."""
    low, high = 0, min(len(left), len(right))
    if left[:high] == right[:high]:
        return high
    # slices are compared far quicker than tokens one by one
    while high - low > 1:
        middle = (low + high) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle
    return low


def common_to_all(rows: Collection[TokenIds]) -> int:
    """How many leading tokens all of several ``rows`` have in common; each keeps at least one to itself."""
    if len(rows) < 2:
        return 0
    # the first and the last in order have in common what all have
    return max(0, min(common_length(min(rows), max(rows)), min(map(len, rows)) - 1))


@dataclass(frozen=True)
class Node:
    """Tokens ``start`` to ``end`` of sequence ``row``, which all sequences below it have in common.

    ``parent`` is the number of the node before it, -1 at the root. ``last`` is the number of the last node
    below it, its own where there is none: the nodes from its own number to ``last`` are those that begin
    with its tokens. ``ends`` are the sequences that end with it; ``branching`` says that more than one does
    so or goes on from it.
    """

    row: int
    start: int
    end: int
    parent: int
    last: int
    ends: tuple[int, ...]
    branching: bool


class _Branch:
    """A node while the tree grows."""

    __slots__ = ("branches", "end", "ends", "row", "start")

    def __init__(self, row: int, start: int, end: int, ends: list[int]) -> None:
        self.row, self.start, self.end, self.ends = row, start, end, ends
        self.branches: dict[int, _Branch] = {}


def tree(rows: Sequence[TokenIds]) -> tuple[Node, ...]:
    """The nodes over ``rows``, depth first; number 0 is the root, which holds no tokens."""
    root = _Branch(0, 0, 0, [])
    for number in range(len(rows)):
        _insert(root, rows, number)
    return _numbered(root)


def _insert(node: _Branch, rows: Sequence[TokenIds], number: int) -> None:
    ids, depth = rows[number], 0
    while depth < len(ids):
        below = node.branches.get(ids[depth])
        if below is None:
            node.branches[ids[depth]] = _Branch(number, depth, len(ids), [number])
            return
        held = rows[below.row][below.start : below.end]
        shared = common_length(held, ids[depth : depth + len(held)])
        depth += shared
        if shared < len(held):
            _split(below, rows, below.start + shared)
        node = below
    node.ends.append(number)


def _split(node: _Branch, rows: Sequence[TokenIds], at: int) -> None:
    """Cut the tokens of ``node`` in two; what was below it is below the second part."""
    below = _Branch(node.row, at, node.end, node.ends)
    below.branches = node.branches
    node.end, node.ends = at, []
    node.branches = {rows[node.row][at]: below}


def _numbered(root: _Branch) -> tuple[Node, ...]:
    order: list[tuple[_Branch, int]] = []
    waiting = [(root, -1)]
    while waiting:
        branch, parent = waiting.pop()
        waiting += [(below, len(order)) for below in reversed(branch.branches.values())]
        order.append((branch, parent))
    last = list(range(len(order)))
    for number in range(len(order) - 1, 0, -1):
        parent = order[number][1]
        last[parent] = max(last[parent], last[number])
    return tuple(
        Node(
            branch.row,
            branch.start,
            branch.end,
            parent,
            last[number],
            tuple(branch.ends),
            len(branch.ends) + len(branch.branches) > 1,
        )
        for number, (branch, parent) in enumerate(order)
    )


def in_order(nodes: Sequence[Node]) -> Iterator[int]:
    """The numbers of the sequences, so that each one's neighbours are those it has most in common with."""
    for node in nodes:
        yield from node.ends
