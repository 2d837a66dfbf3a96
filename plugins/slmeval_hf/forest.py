"""Sequences with common beginnings as one row of tokens, in which each token stands once.

The tokens stand in the order of a walk through the tree of what the sequences begin with. One token is
before another in a sequence if it stands no later, and the other stands before its ``end``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from slmeval.token_tree import Node, tree
from slmeval.types import TokenIds

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Forest:
    """A row of tokens: ids, positions in their sequences, and where what follows each of them ends.

    ``paths`` says for each sequence where its tokens stand: pairs (first position, place of that token),
    the last part first; within a part both go up by one.
    """

    ids: Numbers
    positions: Numbers
    ends: Numbers
    paths: tuple[tuple[tuple[int, int], ...], ...]

    def __len__(self) -> int:
        return len(self.ids)

    def places(self, row: int, start: int, end: int) -> list[int]:
        """Where the tokens of a sequence at the positions ``start`` to ``end`` stand."""
        found: list[int] = []
        for first, place in self.paths[row]:
            if first < end:
                known = max(first, start)
                found[:0] = range(place + known - first, place + end - first)
                end = known
            if end <= start:
                break
        return found

    def before(self, place: int) -> Numbers:
        """The places before ``place`` of those tokens that what stands from there on may follow."""
        return np.flatnonzero(self.ends[:place] > place)


def grow(rows: Sequence[TokenIds], offset: int = 0) -> Forest:
    """The forest of ``rows``, whose first tokens are at position ``offset``."""
    nodes = tree(rows)
    sizes = np.array([node.end - node.start for node in nodes], np.int64)
    firsts = np.concatenate([[0], np.cumsum(sizes)])
    ids = chain.from_iterable(rows[node.row][node.start : node.end] for node in nodes[1:])
    starts = np.array([node.start for node in nodes], np.int64)
    last = np.array([node.last for node in nodes], np.int64)
    return Forest(
        np.fromiter(ids, np.int64, int(firsts[-1])),
        np.arange(firsts[-1]) + np.repeat(starts - firsts[:-1], sizes) + offset,
        np.repeat(firsts[last + 1], sizes),
        _paths(nodes, firsts.tolist(), len(rows), offset),
    )


def _paths(
    nodes: Sequence[Node], firsts: Sequence[int], rows: int, offset: int
) -> tuple[tuple[tuple[int, int], ...], ...]:
    paths: list[tuple[tuple[int, int], ...]] = [()] * rows
    for number, node in enumerate(nodes):
        for row in node.ends:
            paths[row] = tuple(
                (nodes[each].start + offset, firsts[each]) for each in _upwards(nodes, number) if each
            )
    return tuple(paths)


def _upwards(nodes: Sequence[Node], number: int) -> list[int]:
    found = []
    while number >= 0:
        found.append(number)
        number = nodes[number].parent
    return found
