"""Forward passes over batches of token ids, with a key-value cache or without one.

With the cache, sequences end in the same column: padding stands on their left, so what follows is
beside them, and the distance between two columns is the distance between two tokens. Sliding windows,
relative biases and rotary embeddings are then right without knowing which of them a model has.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from slmeval.types import TokenIds


@dataclass(frozen=True)
class State:
    """Sequences that were run: keys and values per layer, and ``real``, 1 where a column is a token.

    ``real`` is [sequences, columns]; keys and values are [sequences, heads, columns, size].
    """

    cache: DynamicCache
    real: Tensor

    @property
    def columns(self) -> int:
        """How many columns there are, padding included."""
        return self.real.shape[1]

    def select(self, rows: Sequence[int]) -> State:
        """The sequences ``rows``, in this order; one may be taken several times."""
        index = torch.tensor(rows, device=self.real.device)
        return State(_changed(self.cache, lambda held: held.index_select(0, index)), self.real[index])


class Passes:
    """A model's forward pass, in the shapes in which it is needed here."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        #: names of what its forward pass takes
        self.accepted = inspect.signature(model.forward).parameters.keys()
        #: what the model calls its cache: transformers 5.24 renamed it
        self.cache_name = "cache" if "cache" in self.accepted else "past_key_values"

    def prefill(self, rows: Sequence[TokenIds], prefix: State | None = None) -> tuple[Tensor, State]:
        """Logits after the last token of each row, [rows, vocabulary], and the state to go on from.

        Every row begins with the one sequence of ``prefix``, and is longer than it.
        """
        ids, real = pad_left(rows, self.model.device)
        cache, held = DynamicCache(), 0
        if prefix is not None:
            cache, held = _spread(prefix, real.shape[1] - real.sum(1)), prefix.columns
        logits = self._forward(ids[:, held:], State(cache, real), keep=1)
        return logits[:, -1], State(cache, real)

    def extend(self, state: State, rows: Sequence[TokenIds]) -> tuple[Tensor, State]:
        """Logits after every token of ``rows``, [rows, columns, vocabulary]; each row follows its sequence.

        The state given is used up: its cache grows.
        """
        ids, real = pad_right(rows, self.model.device)
        grown = State(state.cache, torch.cat([state.real, real], 1))
        return self._forward(ids, grown), grown

    def whole(self, rows: Sequence[TokenIds], first: int) -> Tensor:
        """Logits from column ``first`` on, [rows, columns, vocabulary], by the plainest pass there is."""
        ids, _ = pad_right(rows, self.model.device)
        # what is right of a token cannot reach it, so that no mask is needed
        keep = ids.shape[1] - first
        return self._logits(keep, input_ids=ids, use_cache=False)

    def _forward(self, ids: Tensor, state: State, keep: int = 0) -> Tensor:
        positions = (state.real.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        given = {"position_ids": positions} if "position_ids" in self.accepted else {}
        return self._logits(
            keep,
            input_ids=ids,
            attention_mask=state.real,
            use_cache=True,
            **{self.cache_name: state.cache},
            **given,
        )

    @torch.inference_mode()
    def _logits(self, keep: int, **inputs: Any) -> Tensor:
        # the head is most of the work in a small model, so it only sees the columns that are asked for
        if keep and "logits_to_keep" in self.accepted:
            inputs["logits_to_keep"] = keep
        logits: Tensor = self.model(**inputs, return_dict=True).logits
        return logits[:, -keep:]


def pad_left(rows: Sequence[TokenIds], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and where they are real, both [rows, longest], ending in the same column."""
    width = max(map(len, rows))
    ids = [(0,) * (width - len(row)) + row for row in rows]
    real = [(0,) * (width - len(row)) + (1,) * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(real, device=device)


def pad_right(rows: Sequence[TokenIds], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and where they are real, both [rows, longest], beginning in the same column."""
    width = max(map(len, rows))
    ids = [row + (0,) * (width - len(row)) for row in rows]
    real = [(1,) * len(row) + (0,) * (width - len(row)) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(real, device=device)


def _spread(prefix: State, pads: Tensor) -> DynamicCache:
    """The prefix once per row, moved to the right by the row's padding.

    Its last tokens fall off there, and are run again with the row: that keeps the columns without a gap.
    """
    columns = torch.arange(prefix.columns, device=pads.device)
    # the columns on the left of it hold the first token's keys: any will do, for nothing looks at them
    source = (columns - pads[:, None]).clamp(min=0)
    return _changed(prefix.cache, lambda held: held[0][:, source].transpose(0, 1))


def _changed(cache: DynamicCache, change: Callable[[Tensor], Tensor]) -> DynamicCache:
    """A new cache with ``change`` of all keys and values; the old one stays as it was."""
    new = copy.copy(cache)
    new.layers = [_changed_layer(layer, change) for layer in cache.layers]
    return new


def _changed_layer(layer: Any, change: Callable[[Tensor], Tensor]) -> Any:
    new = copy.copy(layer)
    # a layer that uses another's keys holds none
    if layer.keys is not None:
        new.keys, new.values = change(layer.keys), change(layer.values)
    return new
