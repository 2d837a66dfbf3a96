"""Greedy generation: a batch of prompts is run once, and finished sequences leave it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from slmeval.errors import JobFailed
from slmeval.stopping import Stopper
from slmeval.types import Completion, TokenIds
from slmeval_hf.loading import quiet
from slmeval_hf.passes import Passes, State

#: gives the stopper of the prompt at this place in the batch
StopperOf = Callable[[int], Stopper]


def generate_cached(
    passes: Passes, prompts: Sequence[TokenIds], prefix: State | None, stopper_of: StopperOf
) -> list[Completion]:
    """All of ``prompts`` at once; ``prefix`` is the state of tokens that all of them begin with."""
    stoppers = [stopper_of(place) for place in range(len(prompts))]
    open_ = [place for place, stopper in enumerate(stoppers) if stopper.reason is None]
    if open_:
        logits, state = passes.prefill([prompts[place] for place in open_], prefix)
        _decode(passes, logits, state, [stoppers[place] for place in open_])
    return [stopper.completion() for stopper in stoppers]


def _decode(passes: Passes, logits: Tensor, state: State, stoppers: list[Stopper]) -> None:
    """Token by token, until every stopper has its verdict; ``logits`` are [rows, vocabulary]."""
    while True:
        tokens = likeliest(logits)
        going = [row for row, token in enumerate(tokens) if stoppers[row].push(token) is None]
        if not going:
            return
        if len(going) < len(stoppers):
            state, stoppers = state.select(going), [stoppers[row] for row in going]
        block, state = passes.extend(state, [(tokens[row],) for row in going])
        logits = block[:, -1]


def likeliest(logits: Tensor) -> list[int]:
    """The likeliest token of each row of ``logits``, [rows, vocabulary].

    :raises JobFailed: a row holds what is no number; ``argmax`` alone would give some token all the same.
    """
    best = logits.argmax(-1, keepdim=True)
    # one tensor, so that the device is waited for once
    tokens: list[int] = torch.where(logits.gather(-1, best).isfinite(), best, -1).flatten().tolist()
    if min(tokens) < 0:
        raise JobFailed(
            "the model's logits are not numbers: its weights are damaged, or its numbers overflow "
            "(another --dtype may help)"
        )
    return tokens


def generate_plainly(passes: Passes, prompts: Sequence[TokenIds], stopper_of: StopperOf) -> list[Completion]:
    """By transformers' own loop, which knows the state of every architecture.

    One at a time: its batches are not right for all of them (RWKV's are not).
    """
    stoppers = [stopper_of(place) for place in range(len(prompts))]
    for prompt, stopper in zip(prompts, stoppers, strict=True):
        # it generates at least one token, asked or not
        if stopper.reason is None:
            _own_loop(passes.model, prompt, stopper)
    return [stopper.completion() for stopper in stoppers]


@torch.inference_mode()
def _own_loop(model: Any, prompt: TokenIds, stopper: Stopper) -> None:
    ids = torch.tensor([prompt], device=model.device)
    # the stopper alone says when it ends
    settings = GenerationConfig(do_sample=False, max_new_tokens=1 << 30, pad_token_id=0)
    with quiet():
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            generation_config=settings,
            logits_processor=LogitsProcessorList([_Checked()]),
            stopping_criteria=StoppingCriteriaList([_Stopped(stopper)]),
        )


class _Checked(LogitsProcessor):  # type: ignore[misc]  # transformers ships no types
    """Lets no token be taken from what are no numbers."""

    def __call__(self, _: Tensor, scores: Tensor) -> Tensor:
        likeliest(scores)
        return scores


class _Stopped(StoppingCriteria):  # type: ignore[misc]  # transformers ships no types
    """Passes each new token on to the stopper."""

    def __init__(self, stopper: Stopper) -> None:
        self._stopper = stopper

    def __call__(self, input_ids: Tensor, *_: Any, **__: Any) -> Tensor:
        ended = self._stopper.push(int(input_ids[0, -1])) is not None
        return torch.tensor([ended], device=input_ids.device)
