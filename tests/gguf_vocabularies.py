"""GGUF files that hold a vocabulary, a tensor, and nothing else: for tests of headers and tokenizers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def write_vocabulary(path: Path, tokenizer: Path, pre: str, **more: Any) -> Path:
    """The byte-level ``tokenizer.json`` as GGUF, its words cut in the way that llama.cpp calls ``pre``."""
    import gguf

    definition = json.loads(tokenizer.read_text(encoding="utf-8"))
    special = {token["content"] for token in definition["added_tokens"] if token["special"]}
    vocabulary = definition["model"]["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    kinds = gguf.TokenType
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([kinds.CONTROL if token in special else kinds.NORMAL for token in tokens])
    merges = definition["model"]["merges"]
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in merges])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, value in more.items():
        getattr(writer, f"add_{name}")(value)
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
