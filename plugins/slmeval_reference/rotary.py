"""Rotary position embedding (J. Su et al., RoFormer, 2021), with the stretching of Llama 3.1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slmeval_reference.config import Rope
from slmeval_reference.weights import FloatArray


@dataclass(frozen=True)
class Rotation:
    """By how much each position turns each pair: two float64[n, head_dim / 2]."""

    cosine: FloatArray
    sine: FloatArray

    def turn(self, vectors: FloatArray) -> FloatArray:
        """Turn ``vectors``, float64[heads, n, head_dim].

        Number i of a vector is paired with number i + head_dim / 2, not with its neighbour.
        """
        first, second = np.split(vectors, 2, axis=-1)
        return np.concatenate(
            (first * self.cosine - second * self.sine, second * self.cosine + first * self.sine), axis=-1
        )


def rotation(frequencies: FloatArray, positions: NDArray[np.int64]) -> Rotation:
    """The turns of the tokens at ``positions``."""
    angles = positions[:, None] * frequencies
    return Rotation(np.cos(angles), np.sin(angles))


def frequencies(rope: Rope, head_dim: int) -> FloatArray:
    """Radians per position of each pair, float64[head_dim / 2]."""
    plain = rope.theta ** -(np.arange(0, head_dim, 2) / head_dim)
    if rope.kind == "llama3":
        return _llama3(plain, rope)
    return plain / rope.factor


def _llama3(plain: FloatArray, rope: Rope) -> FloatArray:
    """Low frequencies are slowed by the factor, high ones kept, those between blended."""
    turns = rope.original_context * plain / (2 * math.pi)
    span = rope.high_frequency_factor - rope.low_frequency_factor
    kept = np.clip((turns - rope.low_frequency_factor) / span, 0.0, 1.0)
    return plain * (kept + (1.0 - kept) / rope.factor)
