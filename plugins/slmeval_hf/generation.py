"""Generation: a batch of prompts is run once, and finished sequences leave it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from slmeval.sampling import Sampler
from slmeval.stopping import Stopper
from slmeval.types import Completion, TokenIds
from slmeval_hf.loading import quiet
from slmeval_hf.passes import Passes, State


@dataclass(frozen=True)
class Pen:
    """What writes a text: ``sampler`` draws its tokens, ``stopper`` ends it.

    Without a sampler the likeliest token is taken each time.
    """

    stopper: Stopper
    sampler: Sampler | None = None


#: gives the pen of the prompt at this place in the batch
PenOf = Callable[[int], Pen]


def generate_cached(
    passes: Passes, prompts: Sequence[TokenIds], prefix: State | None, pen_of: PenOf
) -> list[Completion]:
    """All of ``prompts`` at once; ``prefix`` is the state of tokens that all of them begin with."""
    pens = [pen_of(place) for place in range(len(prompts))]
    open_ = [place for place, pen in enumerate(pens) if pen.stopper.reason is None]
    if open_:
        logits, state = _prefill(passes, [prompts[place] for place in open_], prefix)
        _decode(passes, logits, state, [pens[place] for place in open_])
    return [pen.stopper.completion() for pen in pens]


def _prefill(passes: Passes, prompts: Sequence[TokenIds], prefix: State | None) -> tuple[Tensor, State]:
    """As :meth:`Passes.prefill`; of equal prompts, from which several texts are drawn, one is run."""
    distinct = {prompt: row for row, prompt in enumerate(dict.fromkeys(prompts))}
    logits, state = passes.prefill(list(distinct), prefix)
    if len(distinct) == len(prompts):
        return logits, state
    rows = [distinct[prompt] for prompt in prompts]
    return logits[rows], state.select(rows)


def _decode(passes: Passes, logits: Tensor, state: State, pens: list[Pen]) -> None:
    """Token by token, until every stopper has its verdict; ``logits`` are [rows, vocabulary]."""
    while True:
        tokens = next_tokens(logits, range(len(pens)), pens)
        going = [row for row, token in enumerate(tokens) if pens[row].stopper.push(token) is None]
        if not going:
            return
        if len(going) < len(pens):
            state, pens = state.select(going), [pens[row] for row in going]
        block, state = passes.extend(state, [(tokens[row],) for row in going])
        logits = block[:, -1]


def next_tokens(logits: Tensor, rows: Sequence[int], pens: Sequence[Pen]) -> list[int]:
    """The next token of each text, of which ``rows`` say where its logits stand in [rows, vocabulary].

    :raises JobFailed: a row holds what is no number.
    """
    best = likeliest(logits)
    if all(pen.sampler is None for pen in pens):
        return [best[row] for row in rows]
    numbers = logits.float().cpu().numpy()
    return [
        best[row] if pen.sampler is None else pen.sampler.draw(numbers[row])
        for row, pen in zip(rows, pens, strict=True)
    ]


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


def generate_plainly(passes: Passes, prompts: Sequence[TokenIds], pen_of: PenOf) -> list[Completion]:
    """By transformers' own loop, which knows the state of every architecture.

    One at a time: its batches are not right for all of them (RWKV's are not).
    """
    pens = [pen_of(place) for place in range(len(prompts))]
    for prompt, pen in zip(prompts, pens, strict=True):
        # it generates at least one token, asked or not
        if pen.stopper.reason is None:
            _own_loop(passes.model, prompt, pen)
    return [pen.stopper.completion() for pen in pens]


@torch.inference_mode()
def _own_loop(model: Any, prompt: TokenIds, pen: Pen) -> None:
    ids = torch.tensor([prompt], device=model.device)
    # the stopper alone says when it ends
    settings = GenerationConfig(do_sample=False, max_new_tokens=1 << 30, pad_token_id=0)
    with quiet():
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            generation_config=settings,
            logits_processor=LogitsProcessorList([_Chosen(pen)]),
            stopping_criteria=StoppingCriteriaList([_Stopped(pen.stopper)]),
        )


class _Chosen(LogitsProcessor):  # type: ignore[misc]  # transformers ships no types
    """Leaves the token alone that is to be taken; lets none be taken from what are no numbers."""

    def __init__(self, pen: Pen) -> None:
        self._pen = pen

    def __call__(self, _: Tensor, scores: Tensor) -> Tensor:
        (token,) = next_tokens(scores, [0], [self._pen])
        if self._pen.sampler is None:
            return scores
        alone = torch.full_like(scores, -torch.inf)
        alone[0, token] = 0
        return alone


class _Stopped(StoppingCriteria):  # type: ignore[misc]  # transformers ships no types
    """Passes each new token on to the stopper."""

    def __init__(self, stopper: Stopper) -> None:
        self._stopper = stopper

    def __call__(self, input_ids: Tensor, *_: Any, **__: Any) -> Tensor:
        ended = self._stopper.push(int(input_ids[0, -1])) is not None
        return torch.tensor([ended], device=input_ids.device)
