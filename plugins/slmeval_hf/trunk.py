"""What all contexts of a call begin with, kept from one call to the next.

It is run in steps of a fixed number of tokens, each by itself: the keys and values of a step then have the
same bits whatever follows and whatever was asked before, and are kept for any trunk that begins alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from slmeval.token_tree import common_length, common_to_all
from slmeval.types import TokenIds
from slmeval_hf.attention import Held

#: tokens of a step
STEP = 128


def trunk_of(rows: Sequence[TokenIds]) -> TokenIds:
    """What all ``rows`` begin with, in whole steps; each row keeps at least one token to itself."""
    length = common_to_all(rows)
    return rows[0][: length - length % STEP] if length else ()


class Trunk:
    """Keys and values of the latest trunk; ``run`` gives those of a step behind what is held so far."""

    def __init__(self, run: Callable[[TokenIds, Held, int], Held]) -> None:
        self._run = run
        self._ids: TokenIds = ()
        self._held: Held = {}

    def move_to(self, ids: TokenIds) -> Held:
        """Keys and values of ``ids``, whole steps."""
        kept = common_length(self._ids, ids) // STEP * STEP
        if kept < len(self._ids):
            # copied, so that the rest is given back
            self._held = {
                layer: (keys[:, :kept].clone(), values[:, :kept].clone())
                for layer, (keys, values) in self._held.items()
            }
            self._ids = ids[:kept]
        for start in range(kept, len(ids), STEP):
            step = self._run(ids[start : start + STEP], self._held, start)
            self._held = _joined(self._held, step)
            self._ids = ids[: start + STEP]
        return self._held


def _joined(held: Held, step: Held) -> Held:
    if not held:
        return step
    return {
        layer: (torch.cat([held[layer][0], keys], 1), torch.cat([held[layer][1], values], 1))
        for layer, (keys, values) in step.items()
    }
