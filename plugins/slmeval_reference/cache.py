"""The cache of keys and values."""

from __future__ import annotations

import numpy as np

from slmeval_reference.config import Config
from slmeval_reference.weights import FloatArray


class Cache:
    """Keys and values of the tokens run so far, in each layer: float64[kv_heads, length, head_dim].

    A token sees none that come after it, so cutting off the end leaves the rest true.
    """

    def __init__(self, config: Config) -> None:
        self.length = 0
        # [layers, keys and values, kv_heads, room, head_dim]
        self._store = np.empty((config.layers, 2, config.kv_heads, 0, config.head_dim))

    @property
    def room(self) -> int:
        """Tokens that it has room for."""
        return self._store.shape[3]

    @property
    def bytes(self) -> int:
        """What its room takes."""
        return self._store.nbytes

    def truncate(self, length: int) -> None:
        """Forget all tokens but the first ``length``."""
        self.length = min(self.length, length)

    def reserve(self, tokens: int) -> None:
        """Make room for ``tokens`` more."""
        if self.length + tokens <= self.room:
            return
        # doubled, so that a text that grows token by token is not copied at each of them
        room = max(self.length + tokens, 2 * self.room)
        grown = np.empty((*self._store.shape[:3], room, self._store.shape[4]))
        grown[:, :, :, : self.length] = self._store[:, :, :, : self.length]
        self._store = grown

    def put(self, layer: int, keys: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Write those of n new tokens at the end, float64[kv_heads, n, head_dim]; give back those of all.

        The length stays until :meth:`advance`, so that each layer puts its own in the same place.
        """
        end = self.length + keys.shape[1]
        store = self._store[layer, :, :, :end]
        store[0, :, self.length :], store[1, :, self.length :] = keys, values
        return store[0], store[1]

    def advance(self, tokens: int) -> None:
        """Count ``tokens`` that each layer has put in."""
        self.length += tokens
