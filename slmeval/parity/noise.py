"""How far rounding alone can move a log-probability, by the arithmetic that an engine declares.

Measured on the bundled demo model against the float64 oracle, 1,642 tokens of four choice tasks (absolute
differences per token in nats, mean and largest):

    hf       float32 1.1e-6, 2.0e-5   float16 9.5e-4, 2.7e-2   bfloat16 7.5e-3, 1.8e-1
    llamacpp F16     4.9e-4, 1.9e-2   Q8_0    1.2e-2, 3.6e-1   Q6_K     3.8e-2, 1.8
             Q5_K_M  4.6e-2, 1.8      Q4_K_M  8.6e-2, 2.2      Q4_0     8.5e-2, 1.8
             Q3_K_M  8.3e-2, 2.5      Q2_K    2.2e-1, 6.4
    mlx      8 bits  8.9e-3, 3.4e-1   4 bits  1.1e-1, 3.5      2 bits   7.1e-1, 8.6
    llamacpp in float32, keys and values as f16 2.4e-4, 9.5e-3, q8_0 4.1e-3, 1.3e-1, q4_0 6.3e-2, 2.3;
             flash attention 1.9e-4, 7.0e-3

A ceiling is about five times what was measured: other models are other. So what lies above one is more than
that arithmetic explains, and what lies below may be that arithmetic, or something smaller beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from slmeval.types import OptionValue

#: fewer tokens than these have no mean to speak of
_FEW = 20


@dataclass(frozen=True)
class Ceiling:
    """The mean and the largest difference per token that an arithmetic can explain, in nats."""

    mean: float
    largest: float

    def explains(self, size: Size) -> bool:
        """Whether differences of that size can come from it."""
        return size.largest <= self.largest and (size.tokens < _FEW or size.mean <= self.mean)


@dataclass(frozen=True)
class Size:
    """How large differences per token are, in nats; ``position`` is the farthest token's."""

    tokens: int
    mean: float
    largest: float
    position: int


#: by bits of a stored number, at most; floating types of 32 bits and more: see :func:`exact`
_BY_BITS = (
    (2, Ceiling(3.5, 45.0)),
    (3, Ceiling(0.6, 15.0)),
    (4, Ceiling(0.6, 15.0)),
    (6, Ceiling(0.25, 9.0)),
)
_EIGHT = Ceiling(0.06, 2.0)
#: llama.cpp's fused attention rounds to float16 on its way, whatever the cache
FUSED = Ceiling(5e-3, 0.15)
_HALF = {"float16": Ceiling(5e-3, 0.15), "bfloat16": Ceiling(4e-2, 1.0)}


def exact(position: int) -> Ceiling:
    """The ceiling of float32 and of what is finer; it grows with the position.

    transformers computes rotary angles in float32, which moves a log-probability by up to 2.6e-3 at 2,000
    tokens, and by 6e-6 within 60 (random weights of the demo's shape, ``docs/design.md``).
    """
    return Ceiling(3e-5 + 1e-3 * position / 2000, 2e-4 + 5e-3 * position / 2000)


_FLOATS = (
    (re.compile(r"\b(?:bfloat16|bf16)\b"), "bfloat16"),
    (re.compile(r"\b(?:float16|fp16|f16|half)\b"), "float16"),
    (re.compile(r"\b(?:float32|fp32|f32|float)\b"), "float32"),
    (re.compile(r"\b(?:float64|fp64|f64|double)\b"), "float64"),
)
_BITS = re.compile(r"\b(?:i?q|tq|mxfp|nvfp|fp|int|w)(\d)(?!\d)|\b(\d)-?bit")


@dataclass(frozen=True)
class Precision:
    """A type of numbers: a floating one by its name, or so many ``bits``."""

    name: str
    bits: int | None = None

    @property
    def is_exact(self) -> bool:
        """Whether it is float32 or finer."""
        return self.name in ("float32", "float64")

    def ceiling(self, position: int) -> Ceiling:
        """What it can explain."""
        if self.bits is not None:
            return next((ceiling for bits, ceiling in _BY_BITS if self.bits <= bits), _EIGHT)
        return _HALF.get(self.name) or exact(position)


def precision_of(text: str) -> Precision | None:
    """The type of numbers that an engine names; of several the coarsest. ``None``: it is not known here."""
    lower = text.lower().replace("_", " ")
    if found := _BITS.search(lower):
        bits = int(found[1] or found[2])
        return Precision(text.partition(",")[0], bits)
    return _float_in(lower)


def _float_in(text: str) -> Precision | None:
    """The first floating type in a text: llama.cpp's "float32 (from F16 ...)" computes in the first."""
    lower = text.lower()
    first = min(
        ((match.start(), name) for form, name in _FLOATS if (match := form.search(lower))), default=None
    )
    return Precision(first[1]) if first else None


# ---- what an engine declares -----------------------------------------------------------------------------

#: under which names engines tell the type of the cached keys and values, and whether attention is fused
_CACHE_TYPES = ("kv_type", "kv_cache_dtype", "cache_type")
_CACHE_BITS = "kv_bits"
_ATTENTION = ("flash_attention", "attention", "attention_backend")


@dataclass(frozen=True)
class Arithmetic:
    """What a side declares: its type of numbers, that of its cache where it is another one, and whether its
    attention is fused (flash)."""

    told: str
    numbers: Precision | None
    cache: Precision | None
    flash: bool

    @property
    def effective_cache(self) -> Precision | None:
        """The type of the cached keys and values: that of the arithmetic where none is declared."""
        return self.cache or _float_in(self.told) or self.numbers


def arithmetic_of(dtype: str, options: Mapping[str, OptionValue]) -> Arithmetic:
    """What ``dtype`` and an engine's resolved options declare."""
    return Arithmetic(dtype, precision_of(dtype), _cache(options), _flash(options))


def _cache(options: Mapping[str, OptionValue]) -> Precision | None:
    if isinstance(bits := options.get(_CACHE_BITS), int) and bits:
        return Precision(f"{bits}-bit", bits)
    named = next((str(options[name]) for name in _CACHE_TYPES if options.get(name)), "auto")
    return precision_of(named) if named != "auto" else None


def _flash(options: Mapping[str, OptionValue]) -> bool:
    told = {name: str(options[name]).lower() for name in _ATTENTION if options.get(name) is not None}
    return told.get("flash_attention") in ("on", "true") or any(
        "flash" in text for name, text in told.items() if name != "flash_attention"
    )
