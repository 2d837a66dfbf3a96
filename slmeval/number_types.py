"""Types of numbers by name, as bits for each: ``float16``, ``q8_0``, ``q4_k_m``, or the bits themselves."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from slmeval.errors import UnknownName, UsageError
from slmeval.gguf_file import TENSOR_TYPES

#: bits of files where llama.cpp mixes types; of other models than these they come to a little more or less,
#: for each tensor's type goes by its place and its size. Of Llama 2 7B (llama.cpp's table of its k-quants):
_OF_LLAMA_2: Mapping[str, float] = {
    "q2_k": 3.35,
    "q3_k_s": 3.50,
    "q3_k_m": 3.91,
    "q3_k_l": 4.27,
    "q4_k_s": 4.58,
    "q4_k_m": 4.85,
    "q5_k_s": 5.52,
    "q5_k_m": 5.68,
}
#: of Llama 3.1 8B (``tools/quantize/README.md``)
_OF_LLAMA_3: Mapping[str, float] = {
    "iq1_s": 2.00,
    "iq1_m": 2.15,
    "iq2_xxs": 2.38,
    "iq2_xs": 2.59,
    "iq2_s": 2.74,
    "iq2_m": 2.93,
    "iq3_xxs": 3.25,
    "iq3_xs": 3.50,
    "iq3_s": 3.66,
    "iq3_m": 3.76,
    "iq4_xs": 4.46,
    "iq4_nl": 4.68,
    "q2_k_s": 2.97,
}
MIXTURES: Mapping[str, float] = {
    **_OF_LLAMA_3,
    **_OF_LLAMA_2,
    **{name: _OF_LLAMA_2[f"{name}_m"] for name in ("q3_k", "q4_k", "q5_k")},
}
#: types of single tensors, and of keys and values
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
#: of these all matrices of a file are; llama.cpp keeps a head in more bits in files of its other types
_WHOLE = frozenset(("f64", "q8_0", *_FLOATS))
#: nothing is kept in more
_MOST = 64.0


def bits_of(name: str, mixtures: bool = False) -> float:
    """Bits per number of a type, or the number itself.

    With ``mixtures`` a name is a whole file's type, as of weights, else a tensor's, as of keys and values.

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
    """Whether files of a type hold others too, so that its bits are an estimate."""
    return name.lower() in {**TYPES, **MIXTURES} and name.lower() not in _WHOLE
