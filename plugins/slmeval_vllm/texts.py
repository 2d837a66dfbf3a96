"""Texts, token by token, until each stopper has its verdict."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from slmeval.errors import JobFailed
from slmeval.stopping import Stopper
from slmeval.types import Completion, TokenIds
from slmeval_vllm.errors import NO_NUMBERS
from slmeval_vllm.requests import Desk, Turn


@dataclass(frozen=True)
class Work:
    """A prompt, how its text is written, and what says when it ends."""

    ids: TokenIds
    params: SamplingParams
    stopper: Stopper

    @property
    def size(self) -> int:
        """Tokens that it may come to."""
        return len(self.ids) + int(self.params.max_tokens or 0)


def write(desk: Desk, works: Sequence[Work], room: int) -> Iterator[Completion]:
    """What follows each prompt, in order.

    ``room`` tokens are under way at once, those that may be written counted.

    :raises JobFailed: the model gives no numbers.
    """
    waiting = deque(works)
    order: deque[tuple[int, Stopper]] = deque()
    with desk.turn([work.ids for work in works]) as turn:
        stoppers: dict[str, Stopper] = {}
        while waiting or order:
            taken = sum(tokens for tokens, _ in order)
            while waiting and (not order or taken + waiting[0].size <= room):
                work = waiting.popleft()
                order.append((work.size, work.stopper))
                taken += work.size
                if work.stopper.reason is None:
                    stoppers[turn.add(work.ids, work.params)] = work.stopper
            while order and order[0][1].reason is not None:
                yield order.popleft()[1].completion()
            if stoppers:
                _step(turn, stoppers)


def params_of(tokens: int, rule: Mapping[str, Any]) -> SamplingParams:
    """How up to ``tokens`` are written: greedily, or drawn by a ``rule``."""
    return SamplingParams(
        **{"temperature": 0.0, **rule},
        # a text of no tokens is never handed in
        max_tokens=max(1, tokens),
        # the stopper alone says when a text ends
        ignore_eos=True,
        detokenize=False,
        # the token's own, which shows whether the model gives numbers
        logprobs=0,
        output_kind=RequestOutputKind.DELTA,
    )


def _step(turn: Turn, stoppers: dict[str, Stopper]) -> None:
    """One more token of each text under way."""
    for output in turn.step():
        stopper = stoppers[output.request_id]
        for token in _new_tokens(output):
            if stopper.push(token) is not None:
                break
        if stopper.reason is not None:
            turn.abort(output.request_id)
            del stoppers[output.request_id]


def _new_tokens(output: Any) -> Iterator[int]:
    written = output.outputs[0]
    for token, found in zip(written.token_ids, written.logprobs, strict=True):
        if not isfinite(found[token].logprob):
            raise JobFailed(NO_NUMBERS)
        yield token
