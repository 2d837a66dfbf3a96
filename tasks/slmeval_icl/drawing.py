"""Draws that come out the same for ever, on every Python."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from random import Random
from typing import TypeVar

from slmeval_icl.words import IDLE

ItemT = TypeVar("ItemT")
_PAIRS = tuple(f"{first} {second}" for first, second in permutations(IDLE, 2))


class Draw:
    """A stream of draws under a name; two streams of one name are equal."""

    def __init__(self, name: str) -> None:
        # random() is the one method whose sequence Python promises to keep for ever
        self._random = Random(name).random

    def some(self, items: Sequence[ItemT], count: int) -> list[ItemT]:
        """So many of ``items`` in random order, each at most once."""
        ranks = [self._random() for _ in items]
        return [items[place] for place in sorted(range(len(items)), key=ranks.__getitem__)[:count]]

    def rounds(self, size: int, count: int) -> list[int]:
        """``count`` numbers: all below ``size`` in random order, then all of them again, and so on."""
        numbers = range(size)
        return [each for _ in range(0, count, size) for each in self.some(numbers, size)][:count]

    def idle(self, count: int) -> list[str]:
        """So many pairs of idle words, no two equal."""
        return self.some(_PAIRS, count)
