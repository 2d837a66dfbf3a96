"""Attention over a row of tokens that is a forest: each sees what it follows, and nothing else.

transformers hands the attention of its models to a function that is registered under a name. Ours keeps
keys and values itself: those of the *trunk*, which all tokens follow, and of the tokens before a pass that
some of its tokens follow. There is no padding, and what is shared is there once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from slmeval_hf.forest import Forest, Numbers

#: the name under which transformers finds it
NAME = "slmeval_forest"
#: tokens that look together: were they more, they would look at more of what they do not follow
SEGMENT = 64
#: what some models hand to their attention, and this one does not know
UNKNOWN = ("s_aux", "position_bias")
#: keys and values, each [heads, tokens, size]
KeysValues = tuple[Tensor, Tensor]
#: those of each layer
Held = dict[int, KeysValues]


class Unsupported(RuntimeError):
    """The model asks for another attention."""


@dataclass(frozen=True)
class Manner:
    """How a layer attends: what scores are multiplied by, how far back it looks, and what caps the scores."""

    scale: float
    window: int | None
    cap: float | None


class Attention(Protocol):
    """What is done with the queries, keys and values of one layer, each [heads, tokens, size].

    ``query`` is [key heads, query heads to each, tokens, size]; so is what is given back.
    """

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, manner: Manner) -> Tensor: ...


_active: list[Attention] = []


@contextmanager
def attending(attention: Attention) -> Iterator[None]:
    """While this lasts, a model set to :data:`NAME` attends so."""
    _active.append(attention)
    try:
        yield
    finally:
        _active.pop()


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, _mask: Tensor | None, **given: Any
) -> tuple[Tensor, None]:
    """As transformers calls it: [1, heads, tokens, size] each; gives [1, tokens, heads, size]."""
    if unknown := [name for name in UNKNOWN if given.get(name) is not None]:
        raise Unsupported(f"its attention takes {unknown[0]}")
    scale = given.get("scaling")
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    manner = Manner(scale, given.get("sliding_window"), given.get("softcap"))
    folded = query[0].reshape(key.shape[1], -1, *query.shape[2:])
    out = _active[-1](module.layer_idx, folded, key[0], value[0], manner)
    return out.flatten(0, 1).transpose(0, 1)[None], None


AttentionInterface.register(NAME, _attend)


@dataclass(frozen=True)
class Segment:
    """Tokens ``start`` to ``end`` of a pass, counted in it, and which of the keys beside the trunk they see.

    ``mask`` is [query heads to each key head x tokens, keys]: minus infinity at what a token does not follow;
    with ``whole`` the keys of the trunk stand before these in it.
    """

    start: int
    end: int
    keys: slice | Tensor
    mask: Tensor


class ForestAttention:
    """One pass over the tokens ``start`` to ``end`` of a forest behind a trunk of ``depth`` tokens.

    ``before`` is what was held after the pass before this one, whose tokens are ``places``. What this pass
    holds is in ``held``, of the tokens ``known``.
    """

    def __init__(
        self, forest: Forest, start: int, end: int, trunk: Held, depth: int, before: Held, places: Numbers
    ) -> None:
        self._forest, self._start, self._end = forest, start, end
        self._trunk, self._depth, self._before = trunk, depth, before
        stem = forest.before(start)
        self._kept = np.searchsorted(places, stem)
        self.known = np.concatenate([stem, np.arange(start, end)])
        self.held: Held = {}
        #: by layer, how far its tokens look back
        self.windows: dict[int, int | None] = {}
        self._segments: dict[object, list[Segment]] = {}

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, manner: Manner) -> Tensor:
        self.windows[layer] = manner.window
        seen = self._hold(layer, key, value)
        trunk = self._trunk[layer] if self._depth else None
        if trunk is None or not self._can_merge(query, value, manner):
            return self._dense(query, seen, trunk, manner)
        return self._merged(query, seen, trunk, manner)

    def _dense(self, query: Tensor, seen: KeysValues, trunk: KeysValues | None, manner: Manner) -> Tensor:
        """All that a segment sees at once, the trunk with it."""
        out = query.new_empty((*query.shape[:3], seen[1].shape[-1]))
        for each in self._cut(manner.window, trunk is not None, query):
            rows = query[:, :, each.start : each.end]
            keys, values = _taken(seen, each.keys, trunk)
            out[:, :, each.start : each.end] = _look(rows, keys, values, each.mask, manner)
        return out

    def _merged(self, query: Tensor, seen: KeysValues, trunk: KeysValues, manner: Manner) -> Tensor:
        """The trunk without a mask, what is beside it with one, and both weighed by their sums."""
        far, far_sums = _flash(query.flatten(1, 2)[None], trunk[0][None], trunk[1][None], scale=manner.scale)
        near, near_sums = torch.empty_like(far), torch.empty_like(far_sums)
        spread = near.view(query.shape), near_sums.view(query.shape[:3])
        for each in self._cut(manner.window, False, query):
            rows = query[:, :, each.start : each.end]
            keys, values = _taken(seen, each.keys, None)
            found, sums = _flash(
                rows.flatten(1, 2)[None], keys[None], values[None], attn_mask=each.mask, scale=manner.scale
            )
            spread[0][:, :, each.start : each.end] = found.view(rows.shape)
            spread[1][:, :, each.start : each.end] = sums.view(rows.shape[:3])
        weight = torch.sigmoid(far_sums - near_sums)[..., None].to(far.dtype)
        return near.lerp_(far, weight).view(query.shape)

    def _can_merge(self, query: Tensor, value: Tensor, manner: Manner) -> bool:
        # every token sees all of the trunk, and torch tells the sums that two parts are put together by
        return (
            query.device.type == "cpu"
            and query.shape[-1] == value.shape[-1]
            and not manner.cap
            and not self._is_short(manner.window)
        )

    def _is_short(self, window: int | None) -> bool:
        """Whether a token of this pass looks less far back than to the first one."""
        return window is not None and int(self._forest.positions[self._start : self._end].max()) >= window

    def _hold(self, layer: int, key: Tensor, value: Tensor) -> KeysValues:
        if len(self._kept):
            kept = torch.from_numpy(self._kept).to(key.device)
            keys, values = (held.index_select(1, kept) for held in self._before[layer])
            key, value = torch.cat([keys, key], 1), torch.cat([values, value], 1)
        self.held[layer] = key, value
        return key, value

    def _cut(self, window: int | None, whole: bool, query: Tensor) -> list[Segment]:
        window = window if self._is_short(window) else None
        # every layer asks for the same
        if (window, whole) not in self._segments:
            size = SEGMENT if query.device.type == "cpu" else self._end - self._start
            self._segments[window, whole] = [
                self._segment(start, min(start + size, self._end), window, whole, query)
                for start in range(self._start, self._end, size)
            ]
        return self._segments[window, whole]

    def _segment(self, start: int, end: int, window: int | None, whole: bool, query: Tensor) -> Segment:
        forest, known = self._forest, self.known
        seen = np.flatnonzero((known < end) & (forest.ends[known] > start))
        places, asking = known[seen], np.arange(start, end)[:, None]
        follows = (places <= asking) & (asking < forest.ends[places])
        positions = forest.positions[places]
        if whole:
            follows = np.concatenate([np.ones((len(asking), self._depth), bool), follows], 1)
            positions = np.concatenate([np.arange(self._depth), positions])
        if window is not None:
            follows &= forest.positions[start:end, None] - positions < window
        mask = torch.zeros(follows.shape, dtype=query.dtype).masked_fill_(
            torch.from_numpy(~follows), -torch.inf
        )
        return Segment(
            start - self._start,
            end - self._start,
            _index(seen, query.device),
            mask.repeat(query.shape[1], 1).to(query.device),
        )


def _index(places: Numbers, device: torch.device) -> slice | Tensor:
    if len(places) and places[-1] - places[0] == len(places) - 1:
        # a piece that is whole need not be copied
        return slice(int(places[0]), int(places[-1]) + 1)
    return torch.from_numpy(places).to(device)


def _taken(seen: KeysValues, places: slice | Tensor, trunk: KeysValues | None) -> KeysValues:
    keys, values = (
        held[:, places] if isinstance(places, slice) else held.index_select(1, places) for held in seen
    )
    if trunk is not None:
        return torch.cat([trunk[0], keys], 1), torch.cat([trunk[1], values], 1)
    return keys, values


def _look(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, manner: Manner) -> Tensor:
    # the query heads of one key head stand below each other, so that keys are not repeated for them
    rows = query.flatten(1, 2)[None]
    if manner.cap:
        weights = capped(rows @ keys.transpose(1, 2), manner, mask)
        return (weights.to(query.dtype) @ values).reshape(*query.shape[:3], -1)
    found = scaled_dot_product_attention(rows, keys[None], values[None], attn_mask=mask, scale=manner.scale)
    return found.reshape(*query.shape[:3], -1)


def capped(scores: Tensor, manner: Manner, mask: Tensor) -> Tensor:
    """The weights of attention, in float32 or float64, by scores that are neither scaled nor masked."""
    wide = (scores if scores.dtype == torch.float64 else scores.float()) * manner.scale
    if manner.cap:
        wide = torch.tanh(wide / manner.cap) * manner.cap
    return (wide + mask).softmax(-1)


_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
