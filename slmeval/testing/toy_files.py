"""The toy model as files: a folder as transformers writes it, or one GGUF file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slmeval.errors import UsageError
from slmeval.testing import toy

Array = NDArray[np.float32]

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "attention_bias": False,
    "bos_token_id": toy.BOS,
    "dtype": "float32",
    "eos_token_id": toy.EOS,
    "head_dim": toy.HEAD_DIM,
    "hidden_act": "silu",
    "hidden_size": toy.HIDDEN,
    "intermediate_size": toy.FEED,
    "max_position_embeddings": toy.CONTEXT,
    "mlp_bias": False,
    "num_attention_heads": toy.HEADS,
    "num_hidden_layers": 1,
    "num_key_value_heads": toy.KV_HEADS,
    "rms_norm_eps": toy.EPSILON,
    "rope_parameters": {"rope_type": "default", "rope_theta": toy.ROPE_BASE},
    "tie_word_embeddings": False,
    "vocab_size": toy.VOCABULARY,
}
TOKENIZER_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": toy.SPECIAL[toy.BOS],
    "eos_token": toy.SPECIAL[toy.EOS],
    "unk_token": toy.SPECIAL[toy.UNKNOWN],
    "model_max_length": toy.CONTEXT,
    "clean_up_tokenization_spaces": False,
}
#: the names of the tensors: in transformers, and in GGUF
_TOP = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def tensors() -> dict[str, Array]:
    """The weights by their names in transformers; those of the feed-forward block are zero."""
    hidden, keys = toy.HIDDEN, toy.KV_HEADS * toy.HEAD_DIM
    layer = {
        "input_layernorm": np.ones(hidden),
        "self_attn.q_proj": _queries(),
        "self_attn.k_proj": _keys(),
        "self_attn.v_proj": _values(keys),
        "self_attn.o_proj": _output(),
        "post_attention_layernorm": np.ones(hidden),
        "mlp.gate_proj": np.zeros((toy.FEED, hidden)),
        "mlp.up_proj": np.zeros((toy.FEED, hidden)),
        "mlp.down_proj": np.zeros((hidden, toy.FEED)),
    }
    top = dict(zip(_TOP, (_embeddings(), np.ones(hidden), toy.table()), strict=True))
    named = {**top, **{f"model.layers.0.{name}.weight": array for name, array in layer.items()}}
    return {name: array.astype(np.float32) for name, array in named.items()}


def parameters() -> int:
    """How many weights there are."""
    return sum(array.size for array in tensors().values())


def _embeddings() -> NDArray[np.float64]:
    made = np.zeros((toy.VOCABULARY, toy.HIDDEN))
    made[:, : toy.CODE], made[:, toy.ONE] = toy.codes(), 1
    return made


def _queries() -> NDArray[np.float64]:
    # the rotary embedding turns the first number of a head by one radian for each position
    made = np.zeros((toy.HEADS * toy.HEAD_DIM, toy.HIDDEN))
    made[:: toy.HEAD_DIM, toy.ONE] = toy.QUERIES
    return made


def _keys() -> NDArray[np.float64]:
    made = np.zeros((toy.KV_HEADS * toy.HEAD_DIM, toy.HIDDEN))
    made[:: toy.HEAD_DIM, toy.ONE] = 1
    return made


def _values(rows: int) -> NDArray[np.float64]:
    made = np.zeros((rows, toy.HIDDEN))
    for head in range(toy.KV_HEADS):
        for place in range(toy.SHARE):
            made[head * toy.HEAD_DIM + place, head * toy.SHARE + place] = 1
    return made


def _output() -> NDArray[np.float64]:
    made = np.zeros((toy.HIDDEN, toy.HEADS * toy.HEAD_DIM))
    for head in range(toy.HEADS):
        for place in range(toy.SHARE):
            made[toy.CODE + head * toy.SHARE + place, head * toy.HEAD_DIM + place] = 1
    return made


# ---- a folder ----------------------------------------------------------------------------------------


def write_folder(folder: Path) -> Path:
    """Write the model into ``folder`` as transformers does, and return it."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors(), folder / "model.safetensors", metadata={"format": "pt"})
    for name, content in (
        ("config.json", CONFIG),
        ("tokenizer.json", tokenizer()),
        ("tokenizer_config.json", TOKENIZER_CONFIG),
    ):
        (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    return folder


def tokenizer() -> dict[str, Any]:
    """What ``tokenizer.json`` holds: pieces, bytes for what is none, and BOS before every text."""
    special = [
        {
            "id": number,
            "content": content,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for number, content in enumerate(toy.SPECIAL)
    ]
    bos, bos_id = toy.SPECIAL[toy.BOS], toy.BOS
    mark = {"SpecialToken": {"id": bos, "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": at}} for at, name in enumerate("AB"))
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [mark, first],
            "pair": [mark, first, second],
            "special_tokens": {bos: {"id": bos, "ids": [bos_id], "tokens": [bos]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": toy.SPECIAL[toy.UNKNOWN],
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(toy.TOKENS)},
            "merges": [list(piece) for piece in toy.MERGED],
        },
    }


# ---- a GGUF file -------------------------------------------------------------------------------------


def write_gguf(path: Path) -> Path:
    """Write the model as one GGUF file in float32, and return its path.

    :raises UsageError: the library ``gguf`` is not installed.
    """
    try:
        gguf = import_module("gguf")
    except ImportError:
        raise UsageError(
            "the toy model is written as a GGUF file by the library gguf, which is not installed: "
            "pip install gguf"
        ) from None
    writer = gguf.GGUFWriter(path, "llama")
    _add_shape(writer, gguf)
    _add_tokenizer(writer, gguf)
    for name, array in _gguf_tensors():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_shape(writer: Any, gguf: Any) -> None:
    writer.add_name("slmeval toy")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(toy.CONTEXT)
    writer.add_embedding_length(toy.HIDDEN)
    writer.add_block_count(1)
    writer.add_feed_forward_length(toy.FEED)
    writer.add_head_count(toy.HEADS)
    writer.add_head_count_kv(toy.KV_HEADS)
    writer.add_rope_dimension_count(toy.HEAD_DIM)
    writer.add_rope_freq_base(toy.ROPE_BASE)
    writer.add_layer_norm_rms_eps(toy.EPSILON)
    writer.add_vocab_size(toy.VOCABULARY)


def _add_tokenizer(writer: Any, gguf: Any) -> None:
    kind = gguf.TokenType
    types = [kind.UNKNOWN, kind.CONTROL, kind.CONTROL, *[kind.BYTE] * 256, *[kind.NORMAL] * len(toy.PIECES)]
    # of two merges llama.cpp makes the one of the higher score first: that is the order in tokenizer.json
    scores = [0.0 if number < toy.byte(256) else -float(number) for number in range(toy.VOCABULARY)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(list(toy.TOKENS))
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(toy.BOS)
    writer.add_eos_token_id(toy.EOS)
    writer.add_unk_token_id(toy.UNKNOWN)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)


def _gguf_tensors() -> Iterator[tuple[str, Array]]:
    heads = {"self_attn.q_proj": toy.HEADS, "self_attn.k_proj": toy.KV_HEADS}
    for name, array in tensors().items():
        if name in _TOP:
            yield _TOP[name], array
            continue
        part = name.removeprefix("model.layers.0.").removesuffix(".weight")
        paired = _in_pairs(array, heads[part]) if part in heads else array
        yield f"blk.0.{_LAYER[part]}.weight", paired


def _in_pairs(matrix: Array, heads: int) -> Array:
    """Rows of each head, from halves that are turned together to neighbours, as llama.cpp turns them."""
    rows, columns = matrix.shape
    halves = matrix.reshape(heads, 2, rows // heads // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, columns))
