"""Types of numbers by name, as bits for each: ``float16``, ``q8_0``, ``q4_k_m``, or the bits themselves."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from slmeval.errors import UnknownName, UsageError
from slmeval.gguf_file import TENSOR_TYPES

#: what llama.cpp's mixtures came to for Llama 2 7B (its own table, in ``tools/quantize``); of other models
#: they come to a little more or less, for each tensor's type goes by its place and its size
MIXTURES: Mapping[str, float] = {
    "q3_k_s": 3.50,
    "q3_k_m": 3.91,
    "q3_k_l": 4.27,
    "q4_k_s": 4.58,
    "q4_k_m": 4.85,
    "q5_k_s": 5.52,
    "q5_k_m": 5.68,
}
#: types of single tensors; the names of whole files that are of one type are these too
_FLOATS: Mapping[str, float] = {
    "float32": 32.0,
    "float16": 16.0,
    "bfloat16": 16.0,
    "fp32": 32.0,
    "fp16": 16.0,
    "f32": 32.0,
    "f16": 16.0,
    "bf16": 16.0,
    "float8": 8.0,
    "int8": 8.0,
    "int4": 4.0,
}
_BLOCKS: Mapping[str, float] = {
    name.lower(): 8 * size / block
    for name, block, size in TENSOR_TYPES.values()
    if name not in ("I8", "I16", "I32", "I64")
}
TYPES: Mapping[str, float] = {**_BLOCKS, **_FLOATS}
#: nothing is kept in more
_MOST = 64.0


def bits_of(name: str, mixtures: bool = True) -> float:
    """Bits per number of a type, or the number itself; ``mixtures`` of types are for weights alone.

    :raises UsageError: there is no such type, or no such number of bits.
    """
    known = {**TYPES, **(MIXTURES if mixtures else {})}
    try:
        # Python reads 4_0 as forty
        bits = float(name.replace("_", "?"))
    except ValueError:
        if name.lower() not in known:
            raise UnknownName("type of numbers", name, known) from None
        return known[name.lower()]
    if not (isfinite(bits) and 0 < bits <= _MOST):
        raise UsageError(f"{name} bits per number is none: above 0 and up to {_MOST:g}, or a type's name")
    return bits


def is_mixture(name: str) -> bool:
    """Whether a type's bits are those of another model, and so an estimate for this one."""
    return name.lower() in MIXTURES
