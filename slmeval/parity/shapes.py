"""Whether two models are of one make: what their files say that they compute, and their sizes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from slmeval.gguf_file import read_gguf
from slmeval.models import FoundModel
from slmeval.tokenizing import read_json
from slmeval.types import ModelInfo

#: entries of config.json that change what is computed of the same token ids and weights
_COMPUTES = {
    *("model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "head_dim"),
    *("num_attention_heads", "num_key_value_heads", "n_embd", "n_layer", "n_head", "n_inner", "layer_types"),
    *(
        "rms_norm_eps",
        "layer_norm_eps",
        "layer_norm_epsilon",
        "layernorm_epsilon",
        "norm_eps",
        "norm_epsilon",
    ),
    *("hidden_act", "hidden_activation", "activation_function", "rope_theta", "rope_scaling", "rotary_dim"),
    *("rope_local_base_freq", "rotary_pct", "rotary_emb_base", "partial_rotary_factor", "no_rope_layers"),
    *("sliding_window", "use_sliding_window", "max_window_layers", "sliding_window_pattern", "qk_layernorm"),
    *(
        "attention_bias",
        "mlp_bias",
        "qkv_bias",
        "bias",
        "use_bias",
        "use_qkv_bias",
        "use_qk_norm",
        "clip_qkv",
    ),
    *("use_parallel_residual", "parallel_attn", "alibi", "scale_attn_weights", "query_pre_attn_scalar"),
    *("attn_logit_softcapping", "final_logit_softcapping", "logit_scale", "logits_scaling", "scale_emb"),
    *("embedding_multiplier", "attention_multiplier", "residual_multiplier", "scale_depth", "dim_model_base"),
    *("num_experts", "num_local_experts", "num_experts_per_tok", "norm_topk_prob", "moe_intermediate_size"),
    *("n_routed_experts", "n_shared_experts", "shared_expert_intermediate_size", "decoder_sparse_step"),
    *("mlp_only_layers", "first_k_dense_replace", "routed_scaling_factor", "scoring_func", "topk_method"),
}
#: those that change nothing of it: names of things, training, what an answer brings along, special tokens
#: (what was asked shows these), and what the tensors show (which of them the output matrix is)
_HARMLESS = re.compile(
    r"^_|dropout|pdrop$|^output_|_token_id$|^(?:torch_)?dtype$|_version$|^use_cache$|^initializer_range$"
    r"|^max_position_embeddings$|^n_positions$|^n_ctx$|^max_length$|^pretraining_tp$|^quantization"
    r"|^tie_word_embeddings$|^text_config$|^rope_parameters$"
)
#: what a GGUF file calls an entry of config.json (``gguf-py/gguf/constants.py`` in llama.cpp)
_IN_GGUF = {
    "num_hidden_layers": "block_count",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "rope_theta": "rope.freq_base",
}
#: entries of a GGUF file under its architecture that change nothing of what fits its context
_GGUF_HARMLESS = ("context_length", "vocab_size")
#: numbers that are kept in float32 are not the decimals they were
_NEAR = 1e-6
#: characters of a value that are shown
_SHOWN = 120


@dataclass(frozen=True)
class Settings:
    """How two models' files differ, in sentences: the first's, then the other's.

    ``differing`` are given on both sides. ``one_sided`` are given on one: what the other computes is its
    default, which only the engine knows. ``unknown`` are entries whose effect is not known here.
    """

    differing: tuple[str, ...] = ()
    one_sided: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def compare_settings(first: FoundModel, other: FoundModel) -> Settings:
    """:raises ModelError: a file cannot be read."""
    forms = {first.form, other.form}
    if forms == {"gguf"}:
        return _compared(_of_gguf(first), _of_gguf(other), known=True)
    if forms == {"folder"}:
        return _compared(_of_folder(first), _of_folder(other))
    if forms == {"folder", "gguf"}:
        ours, theirs = (
            _of_folder(each) if each.form == "folder" else _mapped(each) for each in (first, other)
        )
        # what an engine is not told in the other form is not told here either
        return Settings(_compared(ours, theirs).differing)
    return Settings()


def _compared(ours: Mapping[str, Any], theirs: Mapping[str, Any], *, known: bool = False) -> Settings:
    changed = [name for name in sorted({**ours, **theirs}) if not _alike(ours.get(name), theirs.get(name))]
    told = {name: f"{name} is {_told(ours, name)} against {_told(theirs, name)}" for name in changed}
    computing = [name for name in changed if known or name in _COMPUTES]
    both = [name for name in computing if name in ours and name in theirs]
    # what is off or empty is what an engine does where nothing is said
    alone = [name for name in computing if name not in both and (ours.get(name) or theirs.get(name))]
    return Settings(
        tuple(told[name] for name in both),
        tuple(told[name] for name in alone),
        tuple(told[name] for name in changed if name not in computing),
    )


def _told(settings: Mapping[str, Any], name: str) -> str:
    return repr(settings[name])[:_SHOWN] if name in settings else "not given"


def _of_folder(model: FoundModel) -> Mapping[str, Any]:
    """The entries of config.json that may matter, whichever version of transformers wrote it."""
    config = read_json(model.place / "config.json")
    inner = config.get("text_config")
    config = {**config, **(inner if isinstance(inner, dict) else {})}
    config |= _rope(config)
    if isinstance(heads := config.get("num_attention_heads"), int) and heads:
        config["num_key_value_heads"] = config.get("num_key_value_heads") or heads
        if isinstance(width := config.get("hidden_size"), int):
            config["head_dim"] = config.get("head_dim") or width // heads
    return {
        name: value
        for name, value in config.items()
        if not _HARMLESS.search(name) and not (name == "rope_scaling" and not value)
    }


def _rope(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """transformers 5 writes the base of the rotary angles, and how they are scaled, one level down."""
    given = [config.get(name) for name in ("rope_parameters", "rope_scaling")]
    rope = {name: value for each in given if isinstance(each, dict) for name, value in each.items()}
    kind = rope.pop("rope_type", rope.pop("type", "default"))
    lifted = {name: rope.pop(name) for name in ("rope_theta", "partial_rotary_factor") if name in rope}
    scaling = {"rope_type": kind, **rope} if kind != "default" else rope
    return {**lifted, "rope_scaling": scaling}


def _mapped(model: FoundModel) -> Mapping[str, Any]:
    header = read_gguf(model.place)
    found = {name: header.of_architecture(key) for name, key in _IN_GGUF.items()}
    return {name: value for name, value in found.items() if value is not None}


def _of_gguf(model: FoundModel) -> Mapping[str, Any]:
    header = read_gguf(model.place)
    begin = f"{header.architecture}."
    entries = {
        name.removeprefix(begin): value for name, value in header.metadata.items() if name.startswith(begin)
    }
    kept = {name: value for name, value in entries.items() if name not in _GGUF_HARMLESS}
    return {"general.architecture": header.architecture, **kept}


def _alike(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float | int):
        return bool(abs(ours - theirs) <= _NEAR * max(abs(ours), abs(theirs)))
    return bool(ours == theirs)


def size_differences(ours: ModelInfo | None, theirs: ModelInfo | None) -> Iterator[str]:
    """Sentences on sizes, as the engines tell them; they need not store the same helpers."""
    if ours is None or theirs is None:
        return
    sizes = (ours.parameters, theirs.parameters)
    if min(sizes) > 0 and abs(sizes[0] - sizes[1]) > max(sizes) / 100:
        yield f"{sizes[0]:,} parameters against {sizes[1]:,}"
    if min(ours.vocabulary, theirs.vocabulary) > 0 and ours.vocabulary != theirs.vocabulary:
        yield f"a vocabulary of {ours.vocabulary:,} against {theirs.vocabulary:,}"
