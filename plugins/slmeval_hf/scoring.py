"""Likelihoods of continuations: each context is run once, and its cache serves all that follow it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from slmeval.types import Likelihood, ScoreGroup, TokenIds
from slmeval_hf.batching import Budget
from slmeval_hf.passes import Passes, State, pad_right


@dataclass(frozen=True)
class Ask:
    """A continuation that is not empty, and the row of its context in the batch."""

    row: int
    context: TokenIds
    tokens: TokenIds

    @property
    def fed(self) -> TokenIds:
        """All tokens that must be run to know the last one's probability."""
        return self.context + self.tokens[:-1]


#: per token of a continuation: its log-probability, and whether it is the most likely one
Judged = list[tuple[float, bool]]


def score_cached(
    passes: Passes, groups: Sequence[ScoreGroup], prefix: State | None, budget: Budget
) -> list[tuple[Likelihood, ...]]:
    """One pass over the contexts, then their continuations on copies of the cache.

    ``prefix`` is the state of tokens that all contexts begin with.
    """
    asks = _asks(groups)
    logits, state = passes.prefill([group.context for group in groups], prefix)
    judged = _first_tokens(logits, asks)
    rest = {at: len(ask.tokens) - 1 for at, ask in enumerate(asks) if len(ask.tokens) > 1}
    for taken in _portions(rest, state.columns, budget):
        later = _later_tokens(passes, state, [asks[at] for at in taken], budget.positions)
        for at, found in zip(taken, later, strict=True):
            judged[at] += found
    return _gathered(groups, asks, judged)


def score_whole(passes: Passes, groups: Sequence[ScoreGroup], budget: Budget) -> list[tuple[Likelihood, ...]]:
    """Every context again with each of its continuations: for models whose state cannot be copied."""
    asks = _asks(groups)
    judged: dict[int, Judged] = {}
    for taken in _portions({at: len(ask.fed) for at, ask in enumerate(asks)}, 0, budget):
        judged.update(zip(taken, _whole(passes, [asks[at] for at in taken]), strict=True))
    return _gathered(groups, asks, [judged[at] for at in range(len(asks))])


def _asks(groups: Sequence[ScoreGroup]) -> list[Ask]:
    # equal choices are run once, so that they come out equal to the last bit
    return [
        Ask(row, group.context, tokens)
        for row, group in enumerate(groups)
        for tokens in dict.fromkeys(group.continuations)
        if tokens
    ]


def _portions(lengths: Mapping[int, int], held: int, budget: Budget) -> Iterator[list[int]]:
    """The keys of ``lengths``, the longest first, as many at a time as fit behind ``held`` columns."""
    waiting = sorted(lengths, key=lambda at: -lengths[at])
    while waiting:
        longest = lengths[waiting[0]]
        count = budget.rows(held + longest, longest)
        yield waiting[:count]
        waiting = waiting[count:]


def _first_tokens(logits: Tensor, asks: Sequence[Ask]) -> list[Judged]:
    """The first token of each continuation, by the logits [rows, vocabulary] after the contexts."""
    normalizer, best = _summary(logits)
    rows = torch.tensor([ask.row for ask in asks], dtype=torch.long, device=logits.device)
    tokens = torch.tensor([ask.tokens[0] for ask in asks], dtype=torch.long, device=logits.device)
    logprobs = (wide(logits[rows, tokens]) - normalizer[rows]).tolist()
    hits = (best[rows] == tokens).tolist()
    return [[pair] for pair in zip(logprobs, hits, strict=True)]


def _later_tokens(passes: Passes, state: State, asks: Sequence[Ask], positions: int) -> list[Judged]:
    """The second token and what follows of each continuation.

    One that is longer than ``positions``, which is then alone, is run in pieces: the logits of a text as long
    as a context would fill the memory.
    """
    state = state.select([ask.row for ask in asks])
    judged: list[Judged] = [[] for _ in asks]
    for start in range(0, max(len(ask.tokens) for ask in asks) - 1, positions):
        piece = slice(start, start + positions)
        logits, state = passes.extend(state, [ask.tokens[:-1][piece] for ask in asks])
        found = _judge(logits, [ask.tokens[1:][piece] for ask in asks], [0] * len(asks))
        judged = [before + after for before, after in zip(judged, found, strict=True)]
    return judged


def _whole(passes: Passes, asks: Sequence[Ask]) -> list[Judged]:
    first = min(len(ask.context) for ask in asks) - 1
    logits = passes.whole([ask.fed for ask in asks], first)
    return _judge(logits, [ask.tokens for ask in asks], [len(ask.context) - 1 - first for ask in asks])


def _judge(logits: Tensor, targets: Sequence[TokenIds], starts: Sequence[int]) -> list[Judged]:
    """Per row the tokens ``targets``, by the logits [rows, columns, vocabulary] from its start on."""
    shifted = [(0,) * start + row for start, row in zip(starts, targets, strict=True)]
    tokens, _ = pad_right(shifted, logits.device)
    normalizer, best = _summary(logits)
    logprobs = (wide(logits.gather(-1, tokens[..., None])[..., 0]) - normalizer).tolist()
    hits = (best == tokens).tolist()
    return [
        list(zip(logprobs[row][start : len(ids)], hits[row][start : len(ids)], strict=True))
        for row, (start, ids) in enumerate(zip(starts, shifted, strict=True))
    ]


def _summary(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Over the vocabulary: the logarithm of the sum of exponentials, and the most likely token."""
    return wide(logits).logsumexp(-1), logits.argmax(-1)


def wide(logits: Tensor) -> Tensor:
    """``logits`` in a type that a sum over a vocabulary can be made in."""
    # three digits of half precision are not enough for a sum over a vocabulary
    return logits if logits.dtype == torch.float64 else logits.float()


def _gathered(
    groups: Sequence[ScoreGroup], asks: Sequence[Ask], judged: Sequence[Judged]
) -> list[tuple[Likelihood, ...]]:
    known = {(ask.row, ask.tokens): _likelihood(found) for ask, found in zip(asks, judged, strict=True)}
    certain = _likelihood([])
    return [
        tuple(known.get((row, tokens), certain) for tokens in group.continuations)
        for row, group in enumerate(groups)
    ]


def _likelihood(judged: Judged) -> Likelihood:
    return Likelihood(tuple(logprob for logprob, _ in judged), all(hit for _, hit in judged))
