"""What a model is: how many parameters, how long a context, how large a vocabulary."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from transformers import PreTrainedModel

#: the context where neither the config nor the tokenizer says one, as in lm-evaluation-harness
DEFAULT_CONTEXT = 2048
#: where configs say it, in the order in which lm-evaluation-harness looks
CONTEXT_FIELDS = ("n_positions", "max_position_embeddings", "n_ctx")
#: tokenizers without a limit name a number of this size
NO_LIMIT = 10**9


def unique_parameters(model: PreTrainedModel) -> int:
    """Weights, those that are tied counted once."""
    return sum(weight.numel() for weight in model.parameters())


def stored_parameters(model: PreTrainedModel, folder: Path) -> int:
    """Numbers in the checkpoint's safetensors files; where there are none, weights with tied ones twice."""
    files = _weight_files(folder)
    if not files:
        return sum(weight.numel() for _, weight in model.named_parameters(remove_duplicate=False))
    return sum(map(_stored_in, files))


def _weight_files(folder: Path) -> list[Path]:
    # by the index: folders may hold the same weights a second time under other names
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return [folder / name for name in sorted(set(names))]
    single = folder / "model.safetensors"
    return [single] if single.is_file() else []


def _stored_in(path: Path) -> int:
    total = 0
    with safe_open(path, framework="pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118 -- not a dictionary
            size = 1
            for extent in tensors.get_slice(name).get_shape():
                size *= extent
            total += size
    return total


def context_of(model: PreTrainedModel, folder: Path) -> int:
    """The longest sequence, in tokens, as lm-evaluation-harness finds it."""
    config = model.config.get_text_config()
    said = [value for name in CONTEXT_FIELDS if (value := getattr(config, name, None)) and value > 0]
    return int(said[0]) if said else _context_of_tokenizer(folder)


def _context_of_tokenizer(folder: Path) -> int:
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    said = settings.get("model_max_length") or NO_LIMIT
    return int(said) if said < NO_LIMIT else DEFAULT_CONTEXT


def reach_of(model: PreTrainedModel) -> int | None:
    """Up to so many tokens a pass gives a token the same whatever else is in it; ``None``: always.

    Beyond, the longest sequence of a pass changes the rotary embedding of all its tokens (LongRoPE).
    """
    tables = _long_ropes(model.config.get_text_config())
    return min((int(table["original_max_position_embeddings"]) for table in tables), default=None)


def _long_ropes(config: Any) -> list[Mapping[str, Any]]:
    told = getattr(config, "rope_parameters", None) or {}
    # a table, or one for each kind of layer
    tables = [told, *(table for table in told.values() if isinstance(table, Mapping))]
    return [table for table in tables if table.get("rope_type") == "longrope"]


def vocabulary_of(model: PreTrainedModel) -> int:
    """How many token ids the model knows."""
    return int(model.config.get_text_config().vocab_size)
