"""The likeliest next tokens after every token of a text."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from slmeval.types import TokenIds, TopLogprobs
from slmeval_hf.batching import PassBudget
from slmeval_hf.forest import grow
from slmeval_hf.forest_passes import ForestPasses
from slmeval_hf.passes import Passes
from slmeval_hf.scoring import wide


def top_cached(passes: Passes, ids: TokenIds, k: int, positions: int) -> Iterator[TopLogprobs]:
    """On one cache, in pieces of ``positions`` tokens: of so many the logits fit the memory."""
    logits, state = passes.prefill([ids[:1]])
    yield _top(logits[0], k)
    for start in range(1, len(ids), positions):
        block, state = passes.extend(state, [ids[start : start + positions]])
        for row in block[0]:
            yield _top(row, k)


def top_forest(passes: ForestPasses, ids: TokenIds, k: int, budget: PassBudget) -> Iterator[TopLogprobs]:
    """Over a forest of one sequence, in pieces of which the logits fit the memory."""
    forest = grow([ids])
    walk = passes.walk(forest, {}, 0)
    while walk.at < len(forest):
        _, logits = budget.attempt(lambda tokens: walk.step(tokens, np.arange(len(forest))))
        for row in logits:
            yield _top(row, k)


def top_whole(passes: Passes, ids: TokenIds, k: int) -> Iterator[TopLogprobs]:
    """In one pass, for models whose state cannot be copied or gone on from."""
    return (_top(row, k) for row in passes.whole([ids], 0)[0])


def _top(logits: Tensor, k: int) -> TopLogprobs:
    """The likeliest by ``logits``, [vocabulary]."""
    # row by row: all of a large vocabulary after every token would be millions of Python's numbers
    logprobs, ids = wide(logits).log_softmax(-1).topk(k)
    return TopLogprobs(tuple(ids.tolist()), tuple(logprobs.tolist()))
