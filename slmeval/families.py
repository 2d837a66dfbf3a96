"""What tells families of models apart where a ``config.json`` does not: norms, biases, gates, positions.

From transformers' own classes (5.24) and, where a model brings its code, from that; the names are the
``model_type`` of the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Family:
    """How a family differs from Llama, as which a bare ``Family()`` is built.

    ``qkv_bias``, ``out_bias`` and ``ffn_bias`` are yes or no, or the field that says so (no without it).
    ``tied`` and ``defaults`` are what transformers, or the model's own code, takes where the configuration is
    silent.
    """

    norm: Literal["RMSNorm", "LayerNorm", "LayerNorm without weights"] = "RMSNorm"
    norm_bias: bool = False
    norms: int = 2
    qkv_bias: bool | str = False
    out_bias: bool | str = False
    ffn_bias: bool | str = False
    gated: bool = True
    #: whether several query heads may share one of keys and values
    grouped: bool = True
    #: what is normalized of queries and keys: each head by one table, each by its own, or all at once
    qk_norm: Literal["", "head", "heads", "whole"] = ""
    qk_norm_field: str = ""
    qk_norm_bias: bool = False
    embedding_norm: bool = False
    #: learned positions: as many as the context is long, and so many more
    positions: int | None = None
    head_bias: bool = False
    tied: bool = False
    #: how layers with and without a window follow each other, where ``layer_types`` does not say
    windows: Literal["none", "all", "even", "sixth", "late", "early", "unrotated"] = "none"
    #: whether there are windows only where ``use_sliding_window`` says so
    windows_asked: bool = False
    activation: str | None = None
    #: the FFN's width where it is not given, in hidden widths
    ffn_times: int | None = None
    #: the configuration's FFN width is that of gate and up together
    ffn_halved: bool = False
    defaults: Mapping[str, int] = field(default_factory=dict)


_QWEN = {"sliding_window": 4096, "max_window_layers": 28}
_GEMMA = {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256}
_DEEPSEEK = {"q_lora_rank": 1536, "v_head_dim": 128}

#: families of one plan: attention over keys and values, then an FFN
FAMILIES: Mapping[str, Family] = {
    "llama": Family(qkv_bias="attention_bias", out_bias="attention_bias", ffn_bias="mlp_bias"),
    "mistral": Family(windows="all", defaults={"num_key_value_heads": 8, "sliding_window": 4096}),
    "mixtral": Family(
        windows="all",
        defaults={"num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2},
    ),
    "qwen2": Family(
        qkv_bias=True,
        windows="late",
        windows_asked=True,
        defaults={"num_key_value_heads": 32, **_QWEN},
    ),
    "qwen2_moe": Family(
        qkv_bias=True,
        windows="early",
        windows_asked=True,
        defaults={"num_key_value_heads": 16, "decoder_sparse_step": 1, **_QWEN},
    ),
    "qwen3": Family(
        qkv_bias="attention_bias",
        out_bias="attention_bias",
        qk_norm="head",
        windows="late",
        windows_asked=True,
        defaults={"num_key_value_heads": 32, "head_dim": 128, **_QWEN},
    ),
    "qwen3_moe": Family(
        qkv_bias="attention_bias",
        out_bias="attention_bias",
        qk_norm="head",
        windows="all",
        windows_asked=True,
        defaults={"num_key_value_heads": 4, "sliding_window": 4096, "decoder_sparse_step": 1},
    ),
    "qwen": Family(qkv_bias=True, ffn_halved=True, activation="silu"),
    "smollm3": Family(
        qkv_bias="attention_bias",
        out_bias="attention_bias",
        ffn_bias="mlp_bias",
        tied=True,
        windows="unrotated",
        windows_asked=True,
        defaults={"num_key_value_heads": 4, "no_rope_layer_interval": 4},
    ),
    "granite": Family(qkv_bias="attention_bias", out_bias="attention_bias", ffn_bias="mlp_bias"),
    "minicpm": Family(qkv_bias="attention_bias", out_bias="attention_bias", tied=True),
    "minicpm3": Family(tied=True, defaults={"q_lora_rank": 768}),
    "deepseek_v2": Family(
        ffn_bias="mlp_bias",
        defaults={**_DEEPSEEK, "n_routed_experts": 64, "n_shared_experts": 2, "first_k_dense_replace": 0},
    ),
    "deepseek_v3": Family(
        defaults={**_DEEPSEEK, "n_routed_experts": 256, "n_shared_experts": 1, "first_k_dense_replace": 3},
    ),
    "phi3": Family(windows="all"),
    "olmo": Family(norm="LayerNorm without weights", qkv_bias="attention_bias", out_bias="attention_bias"),
    "olmo2": Family(qkv_bias="attention_bias", out_bias="attention_bias", qk_norm="whole"),
    "gemma": Family(
        qkv_bias="attention_bias",
        out_bias="attention_bias",
        tied=True,
        activation="gelu_pytorch_tanh",
        defaults={"num_key_value_heads": 16, "head_dim": 256},
    ),
    "gemma2": Family(
        norms=4,
        qkv_bias="attention_bias",
        out_bias="attention_bias",
        tied=True,
        windows="even",
        activation="gelu_pytorch_tanh",
        defaults={**_GEMMA, "sliding_window": 4096},
    ),
    "gemma3_text": Family(
        norms=4,
        qkv_bias="attention_bias",
        out_bias="attention_bias",
        qk_norm="head",
        tied=True,
        windows="sixth",
        activation="gelu_pytorch_tanh",
        defaults={
            **_GEMMA,
            "sliding_window": 4096,
            "sliding_window_pattern": 6,
            "vocab_size": 262208,
            "max_position_embeddings": 131072,
        },
    ),
    "stablelm": Family(
        norm="LayerNorm",
        norm_bias=True,
        qkv_bias="use_qkv_bias",
        qk_norm="heads",
        qk_norm_field="qk_layernorm",
        defaults={"num_key_value_heads": 32},
    ),
    "opt": Family(
        norm="LayerNorm",
        norm_bias=True,
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
        gated=False,
        positions=2,
        tied=True,
    ),
    "gpt_neox": Family(
        norm="LayerNorm",
        norm_bias=True,
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
        gated=False,
        grouped=False,
        defaults={"intermediate_size": 24576},
    ),
    "bloom": Family(
        norm="LayerNorm",
        norm_bias=True,
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
        gated=False,
        embedding_norm=True,
        tied=True,
        activation="gelu_new",
        ffn_times=4,
    ),
    "gpt2": Family(
        norm="LayerNorm",
        norm_bias=True,
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
        gated=False,
        positions=0,
        tied=True,
        ffn_times=4,
    ),
    "phi": Family(
        norm="LayerNorm",
        norm_bias=True,
        norms=1,
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
        gated=False,
        head_bias=True,
        qk_norm="head",
        qk_norm_field="qk_layernorm",
        qk_norm_bias=True,
    ),
    "recurrent_gemma": Family(
        ffn_bias=True,
        tied=True,
        ffn_halved=True,
        activation="gelu_pytorch_tanh",
        defaults={"attention_window_size": 2048, "conv1d_width": 4},
    ),
    "openelm": Family(
        qk_norm="head",
        qk_norm_field="normalize_qk_projections",
        tied=True,
        defaults={"ffn_dim_divisor": 256},
    ),
}

#: names under which some families go
ALSO: Mapping[str, str] = {"stablelm_epoch": "stablelm", "gemma3": "gemma3_text"}
