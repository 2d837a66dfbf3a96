"""How far rounding alone can move log-probabilities, by the arithmetic that an engine declares.

Half precision rounds logits in proportion to their size, so sizes are told as shares of log-probabilities:
all absolute differences over all absolute log-probabilities, and of one token the difference over its own
log-probability (or over 1 nat, if that is more). Against the float64 oracle, on tokens of choice tasks: 1,642
of the bundled rows, of which the demo model is sure (1.4 nats in the mean), 3,579 of real English, of which
it is not (11.3), 1,759 of these on a model of random weights (12.0). Shares, and the largest of one token:

                             bundled rows       real English       random weights
    hf       float32         7.5e-7  7.0e-6     4.9e-7  1.1e-5     1.2e-7  1.4e-6
    hf       float16         6.7e-4  1.6e-2     5.0e-4  1.7e-2     2.6e-4  2.5e-3
    hf       bfloat16        5.2e-3  1.6e-1     4.4e-3  3.1e-1     2.3e-3  2.1e-2
    mlx      float32         4.3e-6  2.9e-5
    llamacpp F16             3.4e-4  7.2e-3     3.2e-4  1.3e-2
    llamacpp Q8_0            8.2e-3  1.2e-1     7.2e-3  3.2e-1
    llamacpp Q6_K            2.7e-2  4.8e-1     2.0e-2  3.7e-1
    llamacpp Q5_K_M          3.2e-2  4.0e-1     2.6e-2  1.1
    llamacpp Q4_K_M          6.0e-2  2.1        4.1e-2  3.1
    llamacpp Q4_0            5.9e-2  1.6        4.7e-2  1.4
    llamacpp Q3_K_M          5.8e-2  1.2        4.5e-2  2.3
    llamacpp Q2_K            1.5e-1  4.1        1.1e-1  5.4
    mlx      8 bits          6.2e-3  1.2e-1
    mlx      4 bits          8.0e-2  1.6
    mlx      2 bits          4.9e-1  8.3
    llamacpp in float32, keys and values kept as
             f16             1.7e-4  9.5e-3     1.3e-4  7.3e-3
             q8_0            2.8e-3  6.6e-2     2.3e-3  5.9e-2
             q4_0            4.4e-2  1.0        3.4e-2  9.7e-1
    llamacpp in float32, flash attention
                             1.3e-4  4.5e-3     1.1e-4  4.9e-3

A ceiling is two to five times what was measured: other models are other. What lies above one is more than
that arithmetic explains; what lies below may be that arithmetic, or something smaller beside it.
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
    """What an arithmetic can explain: a share of all log-probabilities, and of a single token's."""

    share: float
    single: float

    def explains(self, size: Size) -> bool:
        """Whether differences of that size can come from it."""
        return size.single <= self.single and (size.tokens < _FEW or size.share <= self.share)


@dataclass(frozen=True)
class Size:
    """How large differences per token are: ``mean`` and ``largest`` in nats, ``share`` and ``single`` as in
    :class:`Ceiling`; ``position`` is the farthest token's.
    """

    tokens: int
    mean: float
    largest: float
    share: float
    single: float
    position: int


#: by bits of a stored number, at most; floating types of 32 bits and more: see :func:`exact`
_BY_BITS = ((2, Ceiling(1.0, 40.0)), (4, Ceiling(0.2, 10.0)), (6, Ceiling(0.1, 5.0)), (8, Ceiling(0.03, 1.6)))
#: llama.cpp's fused attention rounds to float16 on its way, whatever the cache
FUSED = Ceiling(6e-4, 0.025)
_HALF = {"float16": Ceiling(2.5e-3, 0.08), "bfloat16": Ceiling(2e-2, 1.5)}


def exact(position: int) -> Ceiling:
    """The ceiling of float32 and of what is finer; it grows with the position.

    transformers computes rotary angles in float32, which moves a log-probability by up to 2.6e-3 at 2,000
    tokens, and by 6e-6 within 60 (random weights of the demo's shape, ``docs/design.md``).
    """
    return Ceiling(1.5e-5 + 5e-5 * position / 2000, 2e-4 + 5e-3 * position / 2000)


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
            return next((ceiling for bits, ceiling in _BY_BITS if self.bits <= bits), _BY_BITS[-1][1])
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
