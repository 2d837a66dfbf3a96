"""The likeliest next tokens after every token of a text."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from vllm import SamplingParams

from slmeval.errors import JobFailed
from slmeval.types import TokenIds, TopLogprobs
from slmeval_vllm.driver import run
from slmeval_vllm.requests import Desk

#: log-probabilities that one request may give: Python's numbers take 100 bytes each
MOST_NUMBERS = 1 << 21


@dataclass(frozen=True)
class TopAsk:
    """The ``k`` likeliest tokens after the last token of ``ids``; and, with ``all_``, after each one."""

    ids: TokenIds
    k: int
    all_: bool

    def params(self) -> SamplingParams:
        """The same in vLLM's words."""
        more = {"prompt_logprobs": self.k, "skip_reading_prefix_cache": True} if self.all_ else {}
        return SamplingParams(
            **more,
            temperature=0.0,
            max_tokens=1,
            ignore_eos=True,
            detokenize=False,
            flat_logprobs=True,
            logprobs=self.k,
        )

    def reply(self, output: Any) -> list[TopLogprobs]:
        """What ``output``, a RequestOutput that is finished, says.

        :raises JobFailed: it says less than was asked.
        """
        rows = chain(output.prompt_logprobs[1:] if self.all_ else (), output.outputs[0].logprobs)
        tops = [_top(row, self.k) for row in rows]
        if len(tops) != (len(self.ids) if self.all_ else 1):
            raise JobFailed(f"vLLM gave the likeliest tokens after {len(tops)} of {len(self.ids)} tokens")
        return tops


def tops(desk: Desk, ids: TokenIds, k: int) -> Iterator[TopLogprobs]:
    """All in one request, or, where that would be too many numbers, in one for each token."""
    if len(ids) * (k + 1) <= MOST_NUMBERS:
        asks = [TopAsk(ids, k, all_=True)]
    else:
        asks = [TopAsk(ids[: end + 1], k, all_=False) for end in range(len(ids))]
    for found in run(desk, [(k, _once(ask)) for ask in asks], MOST_NUMBERS):
        yield from found


def _once(ask: TopAsk) -> Generator[list[TopAsk], list[list[TopLogprobs]], list[TopLogprobs]]:
    (found,) = yield [ask]
    return found


def _top(row: Mapping[int, Any], k: int) -> TopLogprobs:
    # the token of the text is in it too, where it is not among the likeliest
    best = sorted((-found.logprob, token) for token, found in row.items())[:k]
    if len(best) != k:
        raise JobFailed(f"vLLM gave {len(best)} of the {k} likeliest tokens")
    return TopLogprobs(tuple(token for _, token in best), tuple(-number for number, _ in best))
