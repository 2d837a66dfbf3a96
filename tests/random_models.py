"""Random-weight models of any shape, for tests: folders as transformers writes them.

    folder = write_model(tmp_path / "model", TINY_LLAMA | {"tie_word_embeddings": True}, seed=3)

Weights are float32, and depend on nothing but shape and seed. numpy and safetensors only.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

Shape = Mapping[str, Any]

#: two query heads to each key-value head, and heads that are not hidden_size / heads
TINY_LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "vocab_size": 96,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    "tie_word_embeddings": False,
}

#: the older way to write a config, and Qwen2's biases
TINY_QWEN2: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_act": "silu",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "vocab_size": 96,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "use_sliding_window": False,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
}

#: the shape of the bundled demo model
DEMO_LLAMA: dict[str, Any] = TINY_LLAMA | {
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "head_dim": 64,
    "vocab_size": 2048,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}


def write_model(
    folder: Path, shape: Shape, *, seed: int = 0, shards: int = 0, tokenizer: Path | None = None
) -> Path:
    """Write a model into ``folder`` and return it.

    ``shape`` is what config.json will hold. With ``shards`` the tensors are dealt out to so many files
    with an index; else they lie in one. ``tokenizer`` is a tokenizer.json to be copied beside them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(shape, indent=1))
    tensors = random_tensors(shape, seed)
    if shards:
        _write_shards(folder, tensors, shards)
    else:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    if tokenizer is not None:
        shutil.copyfile(tokenizer, folder / "tokenizer.json")
    return folder


def random_tensors(shape: Shape, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights by name, float32: large enough that the predictions are far from even."""
    random = np.random.default_rng(seed)
    return {name: _draw(random, name, size) for name, size in tensor_shapes(shape)}


def _draw(random: np.random.Generator, name: str, size: tuple[int, ...]) -> np.ndarray:
    if name.endswith("norm.weight"):
        return random.uniform(0.5, 1.5, size).astype(np.float32)
    spread = 1.0 if len(size) == 1 or "embed" in name else 1.5 / math.sqrt(size[1])
    return (spread * random.standard_normal(size)).astype(np.float32)


def tensor_shapes(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the tensors that a config asks for, as transformers names them."""
    vocabulary, hidden = shape["vocab_size"], shape["hidden_size"]
    yield "model.embed_tokens.weight", (vocabulary, hidden)
    for layer in range(shape["num_hidden_layers"]):
        for name, size in _layer_shapes(shape):
            yield f"model.layers.{layer}.{name}", size
    yield "model.norm.weight", (hidden,)
    if not shape.get("tie_word_embeddings"):
        yield "lm_head.weight", (vocabulary, hidden)


def _layer_shapes(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, feed = shape["hidden_size"], shape["intermediate_size"]
    head_dim = shape.get("head_dim") or hidden // shape["num_attention_heads"]
    queries, keys = shape["num_attention_heads"] * head_dim, shape["num_key_value_heads"] * head_dim
    bias, qwen2 = shape.get("attention_bias"), shape["model_type"] == "qwen2"
    yield "input_layernorm.weight", (hidden,)
    yield from _linear("self_attn.q_proj", queries, hidden, bias or qwen2)
    yield from _linear("self_attn.k_proj", keys, hidden, bias or qwen2)
    yield from _linear("self_attn.v_proj", keys, hidden, bias or qwen2)
    yield from _linear("self_attn.o_proj", hidden, queries, bias)
    yield "post_attention_layernorm.weight", (hidden,)
    yield from _linear("mlp.gate_proj", feed, hidden, shape.get("mlp_bias"))
    yield from _linear("mlp.up_proj", feed, hidden, shape.get("mlp_bias"))
    yield from _linear("mlp.down_proj", hidden, feed, shape.get("mlp_bias"))


def _linear(name: str, outputs: int, inputs: int, bias: bool | None) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (outputs, inputs)
    if bias:
        yield f"{name}.bias", (outputs,)


def _write_shards(folder: Path, tensors: Mapping[str, np.ndarray], shards: int) -> None:
    places = {
        name: f"model-{at % shards + 1:05}-of-{shards:05}.safetensors" for at, name in enumerate(tensors)
    }
    for file in set(places.values()):
        part = {name: tensors[name] for name in tensors if places[name] == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))
