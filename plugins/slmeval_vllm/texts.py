"""Greedy texts, token by token, until each stopper has its verdict."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from slmeval.errors import JobFailed
from slmeval.stopping import Stopper
from slmeval.types import Completion, TokenIds
from slmeval_vllm.errors import NO_NUMBERS
from slmeval_vllm.requests import Desk, Turn


def write(desk: Desk, prompts: Sequence[tuple[TokenIds, int, Stopper]], room: int) -> Iterator[Completion]:
    """What follows each prompt, with the tokens that it may have and its stopper, in order.

    ``room`` tokens are under way at once, those that may be written counted.

    :raises JobFailed: the model gives no numbers.
    """
    waiting = deque(prompts)
    order: deque[tuple[int, Stopper]] = deque()
    with desk.turn([ids for ids, _, _ in prompts]) as turn:
        stoppers: dict[str, Stopper] = {}
        while waiting or order:
            taken = sum(tokens for tokens, _ in order)
            while waiting and (not order or taken + _tokens(waiting[0]) <= room):
                ids, more, stopper = waiting.popleft()
                order.append((len(ids) + more, stopper))
                taken += len(ids) + more
                if stopper.reason is None:
                    stoppers[turn.add(ids, _params(more))] = stopper
            while order and order[0][1].reason is not None:
                yield order.popleft()[1].completion()
            if stoppers:
                _step(turn, stoppers)


def _tokens(prompt: tuple[TokenIds, int, Stopper]) -> int:
    return len(prompt[0]) + prompt[1]


def _params(tokens: int) -> SamplingParams:
    return SamplingParams(
        temperature=0.0,
        max_tokens=tokens,
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
