"""Texts: what prompts share is run once, and texts that end make room for others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from slmeval.types import Completion, TokenIds
from slmeval_hf.batching import PassBudget, within_memory
from slmeval_hf.decoding import DecodingAttention, Slots
from slmeval_hf.forest import Forest, grow
from slmeval_hf.forest_passes import ForestPasses, Walk
from slmeval_hf.generation import Pen, next_tokens
from slmeval_hf.trunk import trunk_of

#: texts are let in when such a part of the places is free: prompts are best run several at a time
FREE_PART = 4


def generate_forest(
    passes: ForestPasses,
    prompts: Sequence[TokenIds],
    pens: Sequence[Pen],
    longest: int,
    texts: int,
    budget: PassBudget,
) -> Iterator[Completion]:
    """What the model writes after each prompt, in order: at most ``texts`` at once, of ``longest`` tokens."""
    waiting = [at for at, pen in enumerate(pens) if pen.stopper.reason is None]
    trunk = trunk_of([prompts[at] for at in waiting])
    writing = _Writing(passes, trunk, min(texts, max(1, len(waiting))), longest, budget)
    told = 0
    while waiting or writing.texts:
        if waiting and writing.is_roomy:
            entering, waiting = waiting[: writing.free], waiting[writing.free :]
            writing.let_in([(prompts[at], pens[at]) for at in entering])
        if writing.texts:
            writing.go_on()
        while told < len(prompts) and pens[told].stopper.reason is not None:
            yield pens[told].stopper.completion()
            told += 1
    yield from (pen.stopper.completion() for pen in pens[told:])


class _Writing:
    """The texts that are being written, in the first of so many places."""

    def __init__(
        self, passes: ForestPasses, trunk: TokenIds, places: int, longest: int, budget: PassBudget
    ) -> None:
        self._passes, self._budget, self._depth = passes, budget, len(trunk)
        self._trunk = budget.attempt(lambda _: passes.trunk.move_to(trunk))
        self._places, self._longest = places, longest - len(trunk)
        self._slots: Slots | None = None
        self._pens: list[Pen] = []
        self._latest: list[int] = []

    @property
    def texts(self) -> int:
        """How many are being written."""
        return len(self._pens)

    @property
    def free(self) -> int:
        """How many more may be."""
        return self._places - self.texts

    @property
    def is_roomy(self) -> bool:
        """Whether it is worth while to let others in."""
        return not self.texts or self.free * FREE_PART >= self._places

    def let_in(self, entering: Sequence[tuple[TokenIds, Pen]]) -> None:
        """Run prompts, each into a place of its own, and take the first token of what follows each."""
        forest = grow([ids[self._depth :] for ids, _ in entering], self._depth)
        ends = [len(ids) - 1 for ids, _ in entering]
        last = np.array([forest.places(row, end, end + 1)[0] for row, end in enumerate(ends)])
        pens = [pen for _, pen in entering]
        walk = self._passes.walk(forest, self._trunk, self._depth)
        tokens = np.empty(len(entering), np.int64)
        asked = np.unique(last)
        while walk.at < len(forest):
            start = walk.at
            wanted, logits = self._budget.attempt(lambda tokens: walk.step(tokens, asked))
            self._keep(forest, walk, start, ends)
            if len(wanted):
                mine = np.flatnonzero((last >= start) & (last < walk.at))
                rows = np.searchsorted(wanted, last[mine]).tolist()
                tokens[mine] = next_tokens(logits, rows, [pens[at] for at in mine])
        first = self.texts
        self._pens += pens
        self._latest += tokens.tolist()
        self._push(first)

    def _keep(self, forest: Forest, walk: Walk, start: int, ends: Sequence[int]) -> None:
        """Put what was run last into the places of the texts that it is part of."""
        if self._slots is None:
            self._slots = within_memory(lambda: Slots(walk.held, self._places, self._longest), self._places)
        for row, end in enumerate(ends):
            places = np.array(forest.places(row, self._depth, end + 1))
            mine = np.flatnonzero((places >= start) & (places < walk.at))
            if len(mine):
                self._slots.put(self.texts + row, mine, walk.held, np.searchsorted(walk.known, places[mine]))

    def go_on(self) -> None:
        """One token more for each text."""
        assert self._slots is not None, "texts are in places"
        attention = DecodingAttention(self._slots, self.texts, self._trunk, self._depth)
        positions = self._slots.sizes[: self.texts] + self._depth
        ids, wanted = np.array(self._latest), np.arange(self.texts)
        logits = within_memory(lambda: self._passes.run(ids, positions, wanted, attention), self.texts)
        self._slots.sizes[: self.texts] += 1
        self._latest = next_tokens(logits, range(self.texts), self._pens)
        self._push(0)

    def _push(self, first: int) -> None:
        """Tell the stoppers from ``first`` on; the last text takes the place of each that has ended."""
        assert self._slots is not None, "texts are in places"
        ended = [
            place
            for place in range(first, self.texts)
            if self._pens[place].stopper.push(self._latest[place]) is not None
        ]
        for place in reversed(ended):
            last, token = self._pens.pop(), self._latest.pop()
            if place < self.texts:
                self._slots.move(self.texts, place)
                self._pens[place], self._latest[place] = last, token
