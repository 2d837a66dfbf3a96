"""Greedy generation: a batch of prompts is run once, and finished sequences leave it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from slmeval.stopping import Stopper
from slmeval.types import Completion, TokenIds
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
        tokens = logits.argmax(-1).tolist()
        going = [row for row, token in enumerate(tokens) if stoppers[row].push(token) is None]
        if not going:
            return
        if len(going) < len(stoppers):
            state, stoppers = state.select(going), [stoppers[row] for row in going]
        block, state = passes.extend(state, [(tokens[row],) for row in going])
        logits = block[:, -1]


def generate_plainly(
    passes: Passes, prompts: Sequence[TokenIds], stopper_of: StopperOf
) -> list[Completion]:
    """By transformers' own loop, which knows the state of every architecture; one length at a time."""
    found: dict[int, Completion] = {}
    for _, places in groupby(range(len(prompts)), key=lambda place: len(prompts[place])):
        batch = list(places)
        stoppers = [stopper_of(place) for place in batch]
        # it generates at least one token, asked or not
        if stoppers[0].reason is None:
            _own_loop(passes.model, [prompts[place] for place in batch], stoppers)
        found.update(zip(batch, [stopper.completion() for stopper in stoppers], strict=True))
    return [found[place] for place in range(len(prompts))]


@torch.inference_mode()
def _own_loop(model: Any, prompts: Sequence[TokenIds], stoppers: Sequence[Stopper]) -> None:
    ids = torch.tensor(prompts, device=model.device)
    # the stoppers alone say when it ends
    settings = GenerationConfig(do_sample=False, max_new_tokens=1 << 30, pad_token_id=0)
    model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        generation_config=settings,
        stopping_criteria=StoppingCriteriaList([_AllStopped(stoppers)]),
    )


class _AllStopped(StoppingCriteria):  # type: ignore[misc]  # transformers ships no types
    """Passes each new token on to its stopper."""

    def __init__(self, stoppers: Sequence[Stopper]) -> None:
        self._stoppers = stoppers

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        tokens = input_ids[:, -1].tolist()
        ended = [
            stopper.reason is not None or stopper.push(token) is not None
            for stopper, token in zip(self._stoppers, tokens, strict=True)
        ]
        return torch.tensor(ended, device=input_ids.device)
