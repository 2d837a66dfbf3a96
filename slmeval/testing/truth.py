"""What is right: for the toy model its closed form, for the demo model the float64 oracle."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

import slmeval.demo
from slmeval.api import Backend
from slmeval.registry import load, pick
from slmeval.testing import toy
from slmeval.types import GenerationSettings, Likelihood, ModelRef, Prompt, ScoreGroup, TokenIds

#: where two tokens are this close, or closer, in their logits, an engine may take either
CLOSE = 0.01

DEMO = Path(slmeval.demo.__file__ or "").parent


class Truth(Protocol):
    """Right answers about one model."""

    def likelihood(self, context: TokenIds, continuation: TokenIds) -> Likelihood:
        """The log-probability of each token of the continuation."""

    def greedy(self, prompt: TokenIds, count: int) -> TokenIds:
        """The likeliest text of ``count`` tokens, cut off before the first that is hardly the likeliest."""


class ToyTruth:
    """By :func:`slmeval.testing.toy.logits`."""

    @lru_cache(maxsize=1 << 14)  # noqa: B019  there is one of it
    def likelihood(self, context: TokenIds, continuation: TokenIds) -> Likelihood:
        """The log-probability of each token of the continuation."""
        rows = toy.logprobs((context + continuation)[:-1])[len(context) - 1 :]
        logprobs = rows[np.arange(len(continuation)), list(continuation)]
        return Likelihood(tuple(logprobs.tolist()), bool((rows.argmax(axis=1) == continuation).all()))

    @lru_cache(maxsize=1 << 10)  # noqa: B019  there is one of it
    def greedy(self, prompt: TokenIds, count: int) -> TokenIds:
        """The likeliest text of ``count`` tokens, cut off before the first that is hardly the likeliest."""
        return prompt[:0] + tuple(self._steps(prompt, count))

    def _steps(self, ids: TokenIds, count: int) -> Iterator[int]:
        for _ in range(count):
            row = toy.logits(ids)[-1]
            second, first = np.argsort(row)[-2:].tolist()
            if row[first] - row[second] <= CLOSE:
                return
            yield first
            ids = (*ids, first)


class OracleTruth:
    """By the reference backend, on the folder of the demo model."""

    def __init__(self) -> None:
        oracle = pick("backend", "reference", load().parts.backends)
        options = {option.name: option.default for option in oracle.options}
        self._oracle: Backend = oracle(ModelRef(str(DEMO / "model")), options)

    @lru_cache(maxsize=1 << 12)  # noqa: B019  there is one of it
    def likelihood(self, context: TokenIds, continuation: TokenIds) -> Likelihood:
        """The log-probability of each token of the continuation."""
        ((answer,),) = self._oracle.score([ScoreGroup(context, (continuation,))])
        return answer

    @lru_cache(maxsize=1 << 10)  # noqa: B019  there is one of it
    def greedy(self, prompt: TokenIds, count: int) -> TokenIds:
        """The likeliest text of ``count`` tokens, cut off before the first that is hardly the likeliest."""
        (written,) = self._oracle.generate([Prompt(prompt)], GenerationSettings(count), lambda _: "")
        best = list(self._oracle.top_logprobs(prompt + written.ids[:-1], 2))[len(prompt) - 1 :]
        sure = [each.logprobs[0] - each.logprobs[1] > CLOSE for each in best]
        return written.ids[: sure.index(False)] if False in sure else written.ids


@cache
def truth_of(model: str) -> Truth:
    """The truth about "toy" or "demo", made once: the oracle is not quick."""
    return ToyTruth() if model == "toy" else OracleTruth()
