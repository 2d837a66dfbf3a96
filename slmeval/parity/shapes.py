"""Whether two models are of one make: family, size, and the settings that their files give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slmeval.errors import ModelError
from slmeval.gguf_file import read_gguf
from slmeval.models import FoundModel
from slmeval.tokenizing import read_json
from slmeval.types import ModelInfo

#: entries of config.json that change no log-probability of the same token ids: what was asked shows the rest
_WITHOUT_EFFECT = {
    *("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache", "initializer_range"),
    *("bos_token_id", "eos_token_id", "pad_token_id", "max_position_embeddings", "n_positions", "n_ctx"),
    *(
        "quantization",
        "quantization_config",
        "attention_dropout",
        "pretraining_tp",
        "max_length",
        "output_attentions",
        "output_hidden_states",
    ),
}
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
#: numbers that are kept in float32 are not the decimals they were
_NEAR = 1e-6


def shape_differences(
    first: FoundModel, other: FoundModel, first_info: ModelInfo | None, other_info: ModelInfo | None
) -> tuple[str, ...]:
    """Sentences on what makes these two models rather than one: the first's, then the other's."""
    try:
        return (*_of_files(first, other), *_of_infos(first, other, first_info, other_info))
    except ModelError:  # an engine has opened it: what we cannot read is no difference
        return ()


def _of_files(first: FoundModel, other: FoundModel) -> Iterator[str]:
    ours, theirs = _settings(first), _settings(other)
    # what one of them leaves out is its default, which only the engine knows
    for name in sorted(ours.keys() & theirs.keys(), key=lambda each: (each not in _IN_GGUF, each)):
        if not _alike(ours.get(name), theirs.get(name)):
            yield f"{name} is {ours.get(name)!r} against {theirs.get(name)!r}"


def _settings(model: FoundModel) -> Mapping[str, Any]:
    if model.form == "folder":
        config = read_json(model.place / "config.json")
        # transformers 5 writes the base of the rotary angles one level down
        rope = config.get("rope_parameters")
        theta = {"rope_theta": rope["rope_theta"]} if isinstance(rope, dict) and "rope_theta" in rope else {}
        return {name: value for name, value in {**config, **theta}.items() if name not in _WITHOUT_EFFECT}
    if model.form == "gguf":
        header = read_gguf(model.place)
        found = {name: header.of_architecture(key) for name, key in _IN_GGUF.items()}
        return {name: value for name, value in found.items() if value is not None}
    return {}


def _alike(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float | int):
        return bool(abs(ours - theirs) <= _NEAR * max(abs(ours), abs(theirs)))
    return bool(ours == theirs)


def _of_infos(
    first: FoundModel, other: FoundModel, ours: ModelInfo | None, theirs: ModelInfo | None
) -> Iterator[str]:
    if ours is None or theirs is None:
        return
    # engines of other forms call one family by other names, and store other helpers
    if first.form == other.form and ours.engine == theirs.engine and ours.architecture != theirs.architecture:
        yield f"the architecture is {ours.architecture} against {theirs.architecture}"
    sizes = (ours.parameters, theirs.parameters)
    if min(sizes) > 0 and abs(sizes[0] - sizes[1]) > max(sizes) / 100:
        yield f"{sizes[0]:,} parameters against {sizes[1]:,}"
    if min(ours.vocabulary, theirs.vocabulary) > 0 and ours.vocabulary != theirs.vocabulary:
        yield f"a vocabulary of {ours.vocabulary:,} against {theirs.vocabulary:,}"
