"""What a model is: how many weights, how long a context; from its files, for vLLM pads and fuses them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

#: the context where neither the config nor the tokenizer says one, as in lm-evaluation-harness
DEFAULT_CONTEXT = 2048
#: where configs say it, in the order in which lm-evaluation-harness looks
CONTEXT_FIELDS = ("n_positions", "max_position_embeddings", "n_ctx")
#: tokenizers without a limit name a number of this size
NO_LIMIT = 10**9
#: safetensors' names
_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
#: the output matrix, which is stored or not where it is the embeddings' too
_OUTPUT = ("lm_head.weight", "output.weight", "embed_out.weight")


def read_object(path: Path) -> dict[str, Any]:
    """A file's JSON object; an empty one where there is no such file."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def text_config(folder: Path) -> dict[str, Any]:
    """The part of ``config.json`` that describes the language model."""
    config = read_object(folder / "config.json")
    return {**config, **config.get("text_config", {})}


def context_of(folder: Path) -> int:
    """The longest sequence, in tokens, as lm-evaluation-harness finds it."""
    config = text_config(folder)
    said = [value for name in CONTEXT_FIELDS if (value := config.get(name)) and value > 0]
    if said:
        return int(said[0])
    limit = read_object(folder / "tokenizer_config.json").get("model_max_length") or NO_LIMIT
    return int(limit) if limit < NO_LIMIT else DEFAULT_CONTEXT


def dtype_of(folder: Path, asked: str) -> str:
    """What vLLM is told: "auto" is the checkpoint's own, where vLLM would narrow float32 to float16."""
    if asked != "auto":
        return asked
    config = text_config(folder)
    said = str(config.get("dtype") or config.get("torch_dtype") or _stored_dtype(folder)).removeprefix(
        "torch."
    )
    quantized = "quantization_config" in config
    return said if said in ("float16", "bfloat16", "float32") and not quantized else "auto"


def _stored_dtype(folder: Path) -> str:
    """What the first tensor is stored in, where safetensors tells; else "auto"."""
    for file in _weight_files(folder, "model.safetensors", "*.safetensors"):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 -- not a dictionary
                return _DTYPES.get(tensors.get_slice(name).get_dtype(), "auto")
    return "auto"


def parameters_of(folder: Path) -> tuple[int, int]:
    """Weights, those that are tied counted once; and numbers in the checkpoint's files."""
    sizes = _sizes(folder)
    stored = sum(sizes.values())
    # a config that does not say so leaves it to the class of the model, which ties seldom
    tied = text_config(folder).get("tie_word_embeddings", False)
    twice = sum(sizes.get(name, 0) for name in _OUTPUT) if tied else 0
    return stored - twice, stored


def _sizes(folder: Path) -> dict[str, int]:
    """How many numbers each tensor has, by its name."""
    safe = _weight_files(folder, "model.safetensors", "*.safetensors")
    if safe:
        return {name: size for file in safe for name, size in _sizes_in(file).items()}
    pickled = _weight_files(folder, "pytorch_model.bin", "*.bin")
    return {
        name: tensor.numel()
        for file in pickled
        for name, tensor in torch.load(file, map_location="meta", weights_only=True).items()
    }


def _weight_files(folder: Path, single: str, pattern: str) -> list[Path]:
    # by the index: folders may hold the same weights a second time under other names
    index = read_object(folder / f"{single}.index.json")
    if index:
        return [folder / name for name in sorted(set(index["weight_map"].values()))]
    return [folder / single] if (folder / single).is_file() else sorted(folder.glob(pattern))


def _sizes_in(file: Path) -> dict[str, int]:
    with safe_open(file, framework="pt") as tensors:
        return {
            name: torch.Size(tensors.get_slice(name).get_shape()).numel()
            for name in tensors.keys()  # noqa: SIM118 -- not a dictionary
        }
