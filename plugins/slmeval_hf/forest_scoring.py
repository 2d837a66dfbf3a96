"""Likelihoods of continuations: every token is run once, and the head where something is asked of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain

import numpy as np
import torch
from torch import Tensor

from slmeval.types import Likelihood, ScoreGroup, TokenIds
from slmeval_hf.batching import PassBudget
from slmeval_hf.forest import Numbers, grow
from slmeval_hf.forest_passes import ForestPasses
from slmeval_hf.trunk import trunk_of

#: rows of logits whose sums are made at once: what stays in the processor's cache is quickest
ROWS = 16
#: so far below the likeliest token nothing counts, in float64 neither; exp() is slow down there
FLOOR = -80.0


def score_forest(
    passes: ForestPasses, groups: Sequence[ScoreGroup], budget: PassBudget
) -> Iterator[tuple[Likelihood, ...]]:
    """One likelihood per continuation of each group, in order."""
    return score_behind(passes, groups, trunk_of([group.context for group in groups]), budget)


def score_behind(
    passes: ForestPasses, groups: Sequence[ScoreGroup], trunk: TokenIds, budget: PassBudget
) -> Iterator[tuple[Likelihood, ...]]:
    """The same with ``trunk``, which all contexts begin with, and are longer than."""
    held = budget.attempt(lambda _: passes.trunk.move_to(trunk))
    questions = _Questions(groups, len(trunk))
    walk = passes.walk(questions.forest, held, len(trunk))
    told = 0
    while walk.at < len(questions.forest):
        start = walk.at
        wanted, logits = budget.attempt(lambda tokens: walk.step(tokens, questions.wanted))
        questions.take(start, walk.at, wanted, logits)
        while told < len(groups) and questions.last[told] < walk.at:
            yield questions.answer(told)
            told += 1
    yield from map(questions.answer, range(told, len(groups)))


class _Questions:
    """The tokens that are asked for, each at the place in the forest that it is predicted from."""

    def __init__(self, groups: Sequence[ScoreGroup], depth: int) -> None:
        pairs = [(group.context, tokens) for group in groups for tokens in group.continuations]
        self._sizes = [len(tokens) for _, tokens in pairs]
        self._counts = [0, *accumulate(len(group.continuations) for group in groups)]
        self._ends = [0, *accumulate(self._sizes)]
        self.forest = grow([(context + tokens[:-1])[depth:] for context, tokens in pairs], depth)
        places = (
            self.forest.places(row, len(context) - 1, len(context) - 1 + len(tokens))
            for row, (context, tokens) in enumerate(pairs)
        )
        self._places = np.fromiter(chain.from_iterable(places), np.int64)
        self._tokens = np.fromiter(chain.from_iterable(tokens for _, tokens in pairs), np.int64)
        self._logprobs = np.empty(len(self._tokens))
        self._hits = np.empty(len(self._tokens), bool)
        #: the places asked of, in order
        self.wanted = np.unique(self._places)
        #: of each group, the last place asked of
        self.last = [self._last(group) for group in range(len(groups))]

    def _last(self, group: int) -> int:
        start, end = self._ends[self._counts[group]], self._ends[self._counts[group + 1]]
        return int(self._places[start:end].max(initial=-1))

    def take(self, start: int, end: int, wanted: Numbers, logits: Tensor) -> None:
        """Of the places from ``start`` to ``end``, the logits after the ``wanted``, [wanted, vocabulary]."""
        mine = np.flatnonzero((self._places >= start) & (self._places < end))
        if not len(mine):
            return
        lines = torch.from_numpy(np.searchsorted(wanted, self._places[mine])).to(logits.device)
        tokens = torch.from_numpy(self._tokens[mine]).to(logits.device)
        sums, top = summary(logits)
        asked = logits[lines, tokens].to(sums.dtype)
        self._logprobs[mine] = (asked - sums[lines]).cpu().numpy()
        # of equals the first is the likeliest; where to look for it is soon known, and to look is slow
        hits = torch.nonzero(asked == top[lines])[:, 0]
        hits = hits[logits[lines[hits]].argmax(-1) == tokens[hits]]
        self._hits[mine] = False
        self._hits[mine[hits.cpu().numpy()]] = True

    def answer(self, group: int) -> tuple[Likelihood, ...]:
        """One likelihood per continuation of the group."""
        return tuple(map(self._likelihood, range(self._counts[group], self._counts[group + 1])))

    def _likelihood(self, row: int) -> Likelihood:
        part = slice(self._ends[row], self._ends[row + 1])
        return Likelihood(tuple(self._logprobs[part].tolist()), bool(self._hits[part].all()))


def summary(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row of ``logits``, [rows, vocabulary]: the logarithm of the sum of exponentials, and the top.

    Both in float32, or in float64 where the logits are.
    """
    parts = [_sums(rows) for rows in torch.split(logits, ROWS)]
    return torch.cat([sums for sums, _ in parts]), torch.cat([top for _, top in parts])


def _sums(logits: Tensor) -> tuple[Tensor, Tensor]:
    # three digits of half precision are not enough for a sum over a vocabulary
    wide = logits if logits.dtype == torch.float64 else logits.float()
    top = wide.amax(-1, keepdim=True)
    sums = (wide - top).clamp_(min=FLOOR).exp_().sum(-1)
    return sums.log() + top[:, 0], top[:, 0]
