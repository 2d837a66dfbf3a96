"""How much is run at once: by the memory that is free, and by what the model takes of it."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from slmeval.available import available_memory

#: tokens of a pass: more bring nothing on a CPU; a GPU wants more to do
ON_CPU, ON_GPU = 512, 4096
#: logits of a pass, over all positions and the whole vocabulary: half a GiB of float32
LOGITS = 1 << 27
#: texts that are written at once
TEXTS = 64
#: vectors of the hidden size that a layer holds for each token at once, roughly
VECTORS = 16
#: of the memory that is free, this part may be taken
PART = 2


def tokens_of_pass(model: PreTrainedModel, vocabulary: int, free: int) -> int:
    """How many tokens one pass may run, at least one, where so many bytes are ``free``."""
    most = ON_CPU if model.device.type == "cpu" else ON_GPU
    fit = free // PART // (_held(model) + _working(model))
    return max(1, min(most, fit, LOGITS // vocabulary))


def texts_at_once(model: PreTrainedModel, longest: int, free: int, tokens: int) -> int:
    """How many texts of ``longest`` tokens may be written at once, at least one.

    ``free`` as above; ``tokens`` are as many as all of them may hold, 0: any.
    """
    fit = free // PART // (longest * _held(model))
    return max(1, min(TEXTS, fit, tokens // longest if tokens else TEXTS))


def _held(model: PreTrainedModel) -> int:
    """Bytes of keys and values of one token; of an unusual model, no less than it may take."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * size * model.dtype.itemsize)


def _working(model: PreTrainedModel) -> int:
    """Bytes that one token takes while a layer works on it, roughly."""
    config = model.config.get_text_config()
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    # Gemma 3n has one for each layer
    inner = max(inner) if isinstance(inner, Sequence) else inner
    return int((VECTORS * config.hidden_size + 4 * inner) * model.dtype.itemsize)


def free_memory(device: torch.device) -> int:
    """Bytes that can be had on ``device``."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    left = available_memory()
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2 if left is None else left
