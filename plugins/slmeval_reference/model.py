"""The arithmetic of the Llama family in float64: token ids to hidden states to logits.

In the shapes, n is how many tokens are run now, and m how many the cache holds with them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slmeval_reference.cache import Cache
from slmeval_reference.config import Config
from slmeval_reference.layers import Layer, Weights
from slmeval_reference.rotary import Rotation, frequencies, rotation
from slmeval_reference.weights import FloatArray


@dataclass(frozen=True)
class Tokens:
    """Tokens to be run: ``ids`` and ``positions`` int64[n], and ``visible`` bool[n, m].

    ``visible`` says which tokens each one sees: of those in the cache and, after them, of its fellows.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
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
