"""Attention of texts that are being written: one token each, behind a trunk that all of them follow."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from slmeval_hf.attention import Held, Manner, capped
from slmeval_hf.forest import Numbers


class Slots:
    """Keys and values of several texts beside the trunk: by layer [texts, heads, tokens, size].

    The texts that are being written stand in the first ones; ``sizes`` are their tokens.
    """

    def __init__(self, like: Held, texts: int, tokens: int) -> None:
        self.held: Held = {
            layer: (_room(keys, texts, tokens), _room(values, texts, tokens))
            for layer, (keys, values) in like.items()
        }
        self.sizes = np.zeros(texts, np.int64)

    def put(self, slot: int, positions: Numbers, held: Held, places: Numbers) -> None:
        """Copy the tokens ``places`` of ``held`` to where the text in ``slot`` has ``positions``."""
        for layer, (keys, values) in held.items():
            taken = torch.from_numpy(places).to(keys.device)
            first, end = int(positions[0]), int(positions[-1]) + 1
            self.held[layer][0][slot, :, first:end] = keys.index_select(1, taken)
            self.held[layer][1][slot, :, first:end] = values.index_select(1, taken)
        self.sizes[slot] = positions[-1] + 1

    def move(self, source: int, slot: int) -> None:
        """Let the text in ``source`` stand in ``slot``."""
        size = int(self.sizes[source])
        for keys, values in self.held.values():
            keys[slot, :, :size] = keys[source, :, :size]
            values[slot, :, :size] = values[source, :, :size]
        self.sizes[slot] = size


def _room(like: Tensor, texts: int, tokens: int) -> Tensor:
    return like.new_zeros((texts, like.shape[0], tokens, like.shape[2]))


class DecodingAttention:
    """One token more for each of the first ``texts`` slots; the caller counts them."""

    def __init__(self, slots: Slots, texts: int, trunk: Held, depth: int) -> None:
        self._slots, self._texts, self._trunk, self._depth = slots, texts, trunk, depth
        self._sizes = slots.sizes[:texts]
        self._longest = int(self._sizes.max()) + 1
        self._masks: dict[int | None, Tensor] = {}

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, manner: Manner) -> Tensor:
        held = self._slots.held[layer]
        keys, values = self._added(held[0], key), self._added(held[1], value)
        # [texts, key heads, query heads to each, size]
        rows = query.permute(2, 0, 1, 3)
        scores = rows @ keys.transpose(2, 3)
        if self._depth:
            far = query.flatten(1, 2) @ self._trunk[layer][0].transpose(1, 2)
            scores = torch.cat([far.reshape(*query.shape[:3], -1).permute(2, 0, 1, 3), scores], 3)
        weights = capped(scores, manner, self._mask(manner.window, query)).to(query.dtype)
        near = weights[..., self._depth :] @ values
        found: Tensor = near.permute(1, 2, 0, 3)
        if self._depth:
            seen = weights[..., : self._depth].permute(1, 2, 0, 3).flatten(1, 2) @ self._trunk[layer][1]
            found = found + seen.reshape(*query.shape[:3], -1)
        return found

    def _added(self, held: Tensor, new: Tensor) -> Tensor:
        held[torch.arange(self._texts), :, torch.from_numpy(self._sizes)] = new.transpose(0, 1)
        return held[: self._texts, :, : self._longest]

    def _mask(self, window: int | None, query: Tensor) -> Tensor:
        """[texts, 1, 1, tokens of the trunk and of the longest text]: minus infinity at what is not there."""
        if window not in self._masks:
            ends = self._sizes[:, None] + self._depth
            places = np.arange(self._depth + self._longest)
            hidden = places > ends
            if window is not None:
                hidden |= ends - places >= window
            mask = torch.zeros(hidden.shape).masked_fill_(torch.from_numpy(hidden), -torch.inf)
            self._masks[window] = mask[:, None, None].to(query.device)
        return self._masks[window]
