"""What weights and cache should take by the model's configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slmeval.errors import ModelError
from slmeval.shape import Shape
from slmeval.shape_reading import shape_of
from slmeval_runtime.held import Held, growth
from slmeval_runtime.widths import cache_bits, nearest_width, weight_bits


@dataclass(frozen=True)
class Prediction:
    """Bytes, and at how many bits and why; or ``None`` and why not."""

    value: float | None
    note: str


@dataclass(frozen=True)
class Predictor:
    """Computes from a shape; with ``None`` in its place it says ``why`` it cannot."""

    shape: Shape | None
    why: str
    dtype: str

    def weights(self) -> Prediction:
        """Bytes of the weights in the type in which the engine holds them."""
        bits = weight_bits(self.dtype)
        how = f"{bits:g} bits a parameter" if bits else "as the tensors are stored"
        return self._tried(lambda shape: shape.weight_bytes(bits), f"from the configuration: {how}")

    def cache(self, held: Held, bits: float) -> Prediction:
        """Bytes of keys and values, for as many tokens as the cache has room for."""
        note = f"from the configuration, at {bits:g} bits a number"
        return self._tried(lambda shape: _cache(shape, held, bits), note)

    def per_token(self, held: Held, less: Held | None, bits: float) -> Prediction:
        """Bytes that one token more takes, between the same two rooms as were measured."""

        def rise(shape: Shape) -> float:
            if less is None or less.room == held.room:
                return _cache(shape, held, bits) / held.room
            return (_cache(shape, held, bits) - _cache(shape, less, bits)) / (held.room - less.room)

        return self._tried(rise, f"from the configuration, at {bits:g} bits a number")

    def state(self, batch: int) -> Prediction:
        """Bytes that recurrent layers keep of ``batch`` sequences."""
        return self._tried(lambda shape: batch * shape.state_bytes(), "from the configuration, in float32")

    def bits(self, held: Held, less: Held | None) -> float:
        """Of each number in the cache: the width nearest to what was measured, or the weights' own.

        By the growth between two rooms, where there is one: llama.cpp keeps more than a window's tokens.
        """
        numbers, measured = self.per_token(held, less, 8.0).value, growth(held, less)
        if not numbers or not measured:
            return cache_bits(self.dtype)
        return nearest_width(8 * measured / numbers)

    def _tried(self, compute: Callable[[Shape], float], note: str) -> Prediction:
        if self.shape is None:
            return Prediction(None, self.why)
        try:
            return Prediction(compute(self.shape), note)
        except ModelError as error:
            return Prediction(None, str(error))


def predictor(place: Path, dtype: str) -> Predictor:
    """For the model at ``place``, which an engine says it holds in ``dtype``."""
    try:
        return Predictor(shape_of(place), "", dtype)
    except ModelError as error:
        return Predictor(None, str(error), dtype)


def _cache(shape: Shape, held: Held, bits: float) -> float:
    """A window caps each sequence's tokens, so that they are counted sequence by sequence."""
    return held.batch * shape.kv_bytes(round(held.room / held.batch), bits)
