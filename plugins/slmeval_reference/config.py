"""``config.json``: the shape of a Llama-family model, and a refusal of what is computed otherwise.

The three families differ in biases and windows alone. A field that changes the numbers in a way that
this engine does not know is an error: a wrong number is worse than none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmeval.errors import ModelError
from slmeval_reference.fields import Fields, read_object

#: the model types that are exactly this arithmetic
FAMILIES = ("llama", "mistral", "qwen2")
#: the ways of stretching the rotary embedding
ROPE_TYPES = ("default", "linear", "llama3")


@dataclass(frozen=True)
class Rope:
    """Rotary embedding: its base, and how its frequencies are stretched for a longer context.

    ``factor`` is used by "linear" and "llama3", what follows by "llama3" alone; ``original_context`` is
    in tokens.
    """

    theta: float
    kind: str = "default"
    factor: float = 1.0
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    original_context: int = 1


@dataclass(frozen=True)
class Config:
    """The shape of a model; ``context`` is in tokens."""

    architecture: str
    vocabulary: int
    context: int
    hidden: int
    feed: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    epsilon: float
    rope: Rope
    tied: bool
    qkv_bias: bool
    output_bias: bool
    feed_bias: bool


def read_config(path: Path) -> Config:
    """The shape that the ``config.json`` at ``path`` describes, as transformers 4 or 5 writes it.

    :raises ModelError: it is missing, damaged, or describes what this engine does not compute.
    """
    fields = Fields(str(path), read_object(path))
    family = fields.text("model_type")
    if family not in FAMILIES:
        raise ModelError(
            f"{path}: the reference backend computes no {family!r} models, only {', '.join(FAMILIES)}"
        )
    _refuse_other_arithmetic(fields, family)
    return _shape(fields, family)


def _shape(fields: Fields, family: str) -> Config:
    attention_bias = family == "llama" and fields.flag("attention_bias", False)
    heads, kv_heads, head_dim = _heads(fields, family)
    return Config(
        architecture=next(iter(fields.names("architectures")), family),
        vocabulary=fields.count("vocab_size"),
        context=fields.count("max_position_embeddings"),
        hidden=fields.count("hidden_size"),
        feed=fields.count("intermediate_size"),
        layers=fields.count("num_hidden_layers"),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        epsilon=fields.number("rms_norm_eps"),
        rope=_rope(fields),
        tied=fields.flag("tie_word_embeddings", False),
        qkv_bias=attention_bias or family == "qwen2",
        output_bias=attention_bias,
        feed_bias=family == "llama" and fields.flag("mlp_bias", False),
    )


def _heads(fields: Fields, family: str) -> tuple[int, int, int]:
    """Query heads, key-value heads, and the size of a head."""
    heads = fields.count("num_attention_heads")
    # the first Llama had as many of both, and its files say nothing
    kv_heads = fields.count("num_key_value_heads", heads if family == "llama" else None)
    head_dim = fields.count("head_dim", fields.count("hidden_size") // heads)
    if heads % kv_heads:
        raise ModelError(f"{fields.place}: {heads} heads cannot share {kv_heads} key-value heads evenly")
    if head_dim % 2:
        raise ModelError(f"{fields.place}: heads of {head_dim} cannot be rotated, for the size is odd")
    return heads, kv_heads, head_dim


def _rope(fields: Fields) -> Rope:
    # transformers 5 writes rope_parameters; 4 wrote rope_scaling, with rope_theta beside it; 5 lets the
    # older field win where both are there
    scaling = fields.inner("rope_scaling" if fields.get("rope_scaling") else "rope_parameters")
    theta = scaling.number("rope_theta", fields.number("rope_theta", 10_000.0))
    kind = scaling.text("rope_type", scaling.text("type", "default"))
    if kind not in ROPE_TYPES:
        _refuse(scaling, "rope_type", kind)
    _allow(scaling, "partial_rotary_factor", (1,), default=1)
    if kind == "llama3":
        return _llama3(scaling, theta)
    return Rope(theta, kind, scaling.number("factor") if kind == "linear" else 1.0)


def _llama3(scaling: Fields, theta: float) -> Rope:
    low, high = scaling.number("low_freq_factor"), scaling.number("high_freq_factor")
    if low >= high:
        raise ModelError(f"{scaling.place}: low_freq_factor {low} is not below high_freq_factor {high}")
    context = scaling.count("original_max_position_embeddings")
    return Rope(theta, "llama3", scaling.number("factor"), low, high, context)


def _refuse_other_arithmetic(fields: Fields, family: str) -> None:
    _allow(fields, "hidden_act", ("silu", "swish"), default="silu")
    _allow(fields, "quantization_config", (None,))
    _allow(fields, "partial_rotary_factor", (1,), default=1)
    _allow(fields, "use_sliding_window", (False,), default=False)
    for layer in fields.names("layer_types"):
        if layer != "full_attention":
            _refuse(fields, "layer_types", layer)
    if family == "mistral":
        _refuse_window(fields)


def _refuse_window(fields: Fields) -> None:
    # null says that there is no window; a missing field means 4,096 to those who defined the format
    if "sliding_window" in fields and fields.get("sliding_window") is None:
        return
    window = fields.count("sliding_window", 4096)
    if window < fields.count("max_position_embeddings"):
        _refuse(fields, "sliding_window", window)


def _allow(fields: Fields, name: str, values: tuple[Any, ...], default: Any = None) -> None:
    if fields.get(name, default) not in values:
        _refuse(fields, name, fields.get(name))


def _refuse(fields: Fields, name: str, value: Any) -> None:
    raise ModelError(f"{fields.place}: the reference backend does not compute {name} {json.dumps(value)}")
