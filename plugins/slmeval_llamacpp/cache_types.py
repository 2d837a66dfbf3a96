"""Types of the key-value cache, told by the options alone: llama.cpp is not needed for it."""

from __future__ import annotations

from collections.abc import Mapping

from slmeval.types import OptionValue

#: as llama.cpp names them
KV_TYPES = ("auto", "f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")


def kv_types(options: Mapping[str, OptionValue]) -> tuple[str, str]:
    """Of the keys and of the values, with "auto" resolved."""
    keys = _first_named(options["kv_type"], "f32" if options["dtype"] == "float32" else "f16")
    return keys, _first_named(options["kv_type_v"], keys)


def _first_named(asked: OptionValue, otherwise: str) -> str:
    return otherwise if asked == "auto" else str(asked)
