"""``config.json`` as mlx-lm reads it: what it would misread is given to it in its own words, or refused.

mlx-lm takes fields that it does not find for its own defaults, without a word. transformers 5 nests the
rotary embedding's base in ``rope_parameters``, where most of mlx-lm's architectures do not look.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from slmeval.errors import ModelError

Config = Mapping[str, Any]

#: where configs say the context, in lm-evaluation-harness's order
CONTEXT_FIELDS = ("n_positions", "max_position_embeddings", "n_ctx")
#: the context where a config says none, as in lm-evaluation-harness
DEFAULT_CONTEXT = 2048
#: architectures that mlx-lm computes with one activation, whatever the config names
_SILU = {"silu", "swish"}
_GELU_TANH = {"gelu_new", "gelu_fast", "gelu_pytorch_tanh"}
ACTIVATIONS = {
    "llama": _SILU,
    "mistral": _SILU,
    "qwen2": _SILU,
    "qwen3": _SILU,
    "gpt_neox": {"gelu", *_GELU_TANH},
}
#: architectures that have a sliding window in transformers and none in mlx-lm
WITHOUT_WINDOW = (
    "gemma2",
    "mistral",
    "mixtral",
    "phi3",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "starcoder2",
)


def read_config(folder: Path) -> dict[str, Any]:
    """The object in ``config.json``.

    :raises ModelError: it is not there, or is none.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(f"{folder} has no config.json: it is not a model folder")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: {error}") from None
    if not isinstance(config, dict):
        raise ModelError(f"{path} is damaged: it holds no object")
    return config


def text_config(config: Config) -> Config:
    """The part that describes the language model."""
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) else config


def context_of(config: Config) -> int:
    """The longest sequence, in tokens."""
    said = (source.get(name) for source in (text_config(config), config) for name in CONTEXT_FIELDS)
    return next((value for value in said if isinstance(value, int)), DEFAULT_CONTEXT)


def vocabulary_of(config: Config) -> int:
    """How many token ids the model knows.

    :raises ModelError: the config does not say.
    """
    size = text_config(config).get("vocab_size")
    if not isinstance(size, int):
        raise ModelError("config.json does not say vocab_size: the model cannot be asked")
    return size


def in_mlx_words(config: Config, tensors: Collection[str]) -> dict[str, Any]:
    """Fields to be laid over ``config`` for mlx-lm; ``tensors`` are the names in the checkpoint."""
    fields = rotary(config) | _shape(config)
    if "tie_word_embeddings" not in config and "lm_head.weight" in tensors:
        # where nothing is said, mlx-lm takes many for tied, and drops the head that is there
        fields["tie_word_embeddings"] = False
    if isinstance(config.get("text_config"), dict):
        inner = config["text_config"]
        fields["text_config"] = {**inner, **rotary(inner), **_shape(inner)}
    return fields


def rotary(config: Config) -> dict[str, Any]:
    """The rotary embedding, in the fields that transformers 4 had, and mlx-lm reads."""
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    # one object for all layers, or one for each type of layer
    whole = rope.get("full_attention") or rope
    fields = {name: whole[name] for name in ("rope_theta", "partial_rotary_factor") if name in whole}
    if whole.get("rope_type", whole.get("type", "default")) != "default":
        fields["rope_scaling"] = whole
    if "sliding_attention" in rope:
        fields["rope_local_base_freq"] = (rope["sliding_attention"] or {}).get("rope_theta")
    return _neox_rotary(config, fields) if config.get("model_type") == "gpt_neox" else fields


def _neox_rotary(config: Config, fields: Config) -> dict[str, Any]:
    # mlx-lm demands both; transformers has defaults
    scaling = {"rope_scaling": fields["rope_scaling"]} if "rope_scaling" in fields else {}
    return {
        "rotary_emb_base": fields.get("rope_theta", config.get("rotary_emb_base", 10_000)),
        "rotary_pct": fields.get("partial_rotary_factor", config.get("rotary_pct", 0.25)),
        **scaling,
    }


def _shape(config: Config) -> dict[str, Any]:
    if config.get("model_type") == "gpt2" and "n_ctx" not in config:
        return {"n_ctx": config.get("n_positions", 1024)}
    if "_sliding_window_pattern" in config and "sliding_window_pattern" not in config:
        return {"sliding_window_pattern": config["_sliding_window_pattern"]}
    return {}


def check_read(config: Config, accepted: Collection[str]) -> None:
    """Refuse a model whose rotary embedding mlx-lm does not read; ``accepted`` are the fields that it does.

    :raises ModelError: it would be computed with another one.
    """
    if "rope_parameters" in accepted or "text_config" in accepted:
        return
    fields = rotary(config)
    harmless = {"partial_rotary_factor": 1, "rope_local_base_freq": fields.get("rope_theta")}
    for name, value in fields.items():
        if name not in accepted and value != harmless.get(name):
            family = config.get("model_type")
            raise ModelError(f"mlx-lm does not read {name}, which config.json gives, in {family!r} models")


def check_activation(config: Config) -> None:
    """Refuse a model whose activation mlx-lm replaces with another.

    :raises ModelError: it is not among those that its architecture is computed with.
    """
    family = str(config.get("model_type"))
    if family in ACTIVATIONS and _activation(config) not in ACTIVATIONS[family]:
        raise ModelError(f"mlx-lm does not compute hidden_act {_activation(config)!r} in {family!r} models")


def has_exact_gelu(config: Config) -> bool:
    """Whether a GPT-NeoX has the exact GELU, for which mlx-lm takes the tanh approximation."""
    return config.get("model_type") == "gpt_neox" and _activation(config) == "gelu"


def _activation(config: Config) -> str:
    return str(config.get("hidden_act", "gelu" if config.get("model_type") == "gpt_neox" else "silu"))


def lost_window(config: Config) -> int | None:
    """The sliding window, in tokens, that mlx-lm leaves out; ``None`` where it leaves none out."""
    config = text_config(config)
    family = config.get("model_type")
    # of Qwen's it is used only where that is said
    if family not in WITHOUT_WINDOW or not config.get("use_sliding_window", "qwen" not in family):
        return None
    window = config.get("sliding_window", 4096 if family == "mistral" else None)
    return int(window) if isinstance(window, int) and window < context_of(config) else None
