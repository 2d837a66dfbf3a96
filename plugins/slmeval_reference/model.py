"""The arithmetic of the Llama family in float64: token ids to hidden states to logits.

In the shapes, n is how many tokens are run now, and m how many the cache holds with them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slmeval_reference.config import Config
from slmeval_reference.layers import Layer, Weights
from slmeval_reference.rotary import Rotation, frequencies, rotation
from slmeval_reference.weights import FloatArray

IntArray = NDArray[np.int64]


class Cache:
    """Keys and values of the tokens run so far, in each layer: float64[kv_heads, length, head_dim].

    A token sees none that come after it, so cutting off the end leaves the rest true.
    """

    def __init__(self, config: Config) -> None:
        self.length = 0
        self._room = 0
        # [layers, keys and values, kv_heads, room, head_dim]
        self._store = np.empty((config.layers, 2, config.kv_heads, 0, config.head_dim))

    def truncate(self, length: int) -> None:
        """Forget all tokens but the first ``length``."""
        self.length = min(self.length, length)

    def reserve(self, tokens: int) -> None:
        """Make room for ``tokens`` more."""
        room = self._store.shape[3]
        if self.length + tokens <= room:
            return
        # doubled, so that a text that grows token by token is not copied at each of them
        grown = np.empty((*self._store.shape[:3], max(self.length + tokens, 2 * room), self._store.shape[4]))
        grown[:, :, :, : self.length] = self._store[:, :, :, : self.length]
        self._store = grown

    def put(self, layer: int, keys: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Write keys and values of the n tokens now run, [kv_heads, n, head_dim]; those of all m."""
        end = self.length + keys.shape[1]
        store = self._store[layer, :, :, :end]
        store[0, :, self.length :], store[1, :, self.length :] = keys, values
        return store[0], store[1]

    def advance(self, tokens: int) -> None:
        """Count ``tokens`` that every layer has put in."""
        self.length += tokens


@dataclass(frozen=True)
class Tokens:
    """Tokens to be run: ``ids`` and ``positions`` int64[n], and ``visible`` bool[n, m].

    ``visible`` says which tokens each one sees: of those in the cache and, after them, of its fellows.
    """

    ids: IntArray
    positions: IntArray
    visible: NDArray[np.bool_]


class Model:
    """A model in memory."""

    def __init__(self, config: Config, weights: Weights) -> None:
        self.config = config
        self._weights = weights
        self._frequencies = frequencies(config.rope, config.head_dim)

    def forward(self, tokens: Tokens, cache: Cache) -> FloatArray:
        """Run ``tokens``, and add them to ``cache``; their hidden states, float64[n, hidden]."""
        cache.reserve(len(tokens.ids))
        turns = rotation(self._frequencies, tokens.positions)
        hidden = self._weights.embedding[tokens.ids]
        for index, layer in enumerate(self._weights.layers):
            queries, keys, values = self._project(layer, layer.attention_norm(hidden), turns)
            mixed = _attend(queries, *cache.put(index, keys, values), tokens.visible)
            hidden = hidden + layer.output(mixed)
            hidden = hidden + _feed(layer, layer.feed_norm(hidden))
        cache.advance(len(tokens.ids))
        return self._weights.norm(hidden)

    def logits(self, states: FloatArray) -> FloatArray:
        """What the next token will be: float64[..., hidden] to float64[..., vocabulary]."""
        return self._weights.head(states)

    def _project(
        self, layer: Layer, inputs: FloatArray, turns: Rotation
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Queries, keys and values, each float64[heads, n, head_dim]."""
        queries, keys, values = (
            _split(linear(inputs), self.config.head_dim) for linear in (layer.query, layer.key, layer.value)
        )
        return turns.turn(queries), turns.turn(keys), values


def _split(rows: FloatArray, head_dim: int) -> FloatArray:
    """float64[n, heads * head_dim] as float64[heads, n, head_dim]."""
    heads: FloatArray = rows.reshape(len(rows), -1, head_dim).transpose(1, 0, 2)
    return heads


def _attend(
    queries: FloatArray, keys: FloatArray, values: FloatArray, visible: NDArray[np.bool_]
) -> FloatArray:
    """Grouped-query attention (J. Ainslie et al., 2023): float64[n, heads * head_dim].

    ``queries`` are float64[heads, n, head_dim]; ``keys`` and ``values`` float64[kv_heads, m, head_dim],
    each shared by the query heads of a group, which lie side by side.
    """
    (heads, n, head_dim), (kv_heads, m, _) = queries.shape, keys.shape
    grouped = queries.reshape(kv_heads, -1, head_dim)
    scores = (grouped @ keys.transpose(0, 2, 1) / math.sqrt(head_dim)).reshape(heads, n, m)
    shares = _softmax(np.where(visible, scores, -np.inf)).reshape(kv_heads, -1, m)
    mixed: FloatArray = (shares @ values).reshape(heads, n, head_dim).transpose(1, 0, 2)
    return mixed.reshape(n, heads * head_dim)


def _softmax(scores: FloatArray) -> FloatArray:
    """Shares along the last axis, which add up to 1."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares: FloatArray = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _feed(layer: Layer, inputs: FloatArray) -> FloatArray:
    """The gated feed-forward block, SwiGLU (N. Shazeer, 2020)."""
    gate = layer.gate(inputs)
    # below -709 the exponential is infinite, and the quotient is rightly 0
    with np.errstate(over="ignore"):
        return layer.down(gate / (1.0 + np.exp(-gate)) * layer.up(inputs))
