"""How many bits a number takes: of weights by the name of their type, of a cache by what it takes."""

from __future__ import annotations

#: of the types whose weights all have the same
_BITS = {"float64": 64.0, "float32": 32.0, "float16": 16.0, "bfloat16": 16.0}
#: in a cache, scales included: plain types, and those of quantized caches
_WIDTHS = (64.0, 32.0, 16.0, 9.0, 8.5, 8.0, 6.0, 5.5, 5.0, 4.5, 4.0)
#: where nothing says how a cache keeps its numbers
_USUAL = 16.0


def weight_bits(dtype: str) -> float | None:
    """Of each weight of a model in ``dtype``, as engines name it; ``None`` where not all have the same."""
    return _BITS.get(dtype.partition(" ")[0])


def cache_bits(dtype: str) -> float:
    """Of each number in such a model's cache, where nothing is told of the cache itself."""
    return weight_bits(dtype) or _USUAL


def nearest_width(bits: float) -> float:
    """The width that a cache can have which is nearest to ``bits``, by ratio."""
    return min(_WIDTHS, key=lambda width: max(width / bits, bits / width))
