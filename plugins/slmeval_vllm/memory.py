"""What vLLM tells of its memory: the cache that it laid out, and its weights on a GPU."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from slmeval.api import Reading
from slmeval_vllm.loading import Opened
from slmeval_vllm.surroundings import device

_SOURCE = "vLLM"


def readings(opened: Opened) -> Iterator[Reading]:
    """The cache in bytes, all GPUs together, with the tokens that it has room for; and the weights.

    Its weights on a CPU are packed into what vLLM does not tell of, and those on several GPUs are in other
    processes: neither is told. Nor is the room where layers have caches of several kinds.
    """
    layout = opened.engine.engine_core.engine_core.scheduler.kv_cache_config
    gpus = int(opened.config.parallel_config.tensor_parallel_size)
    held = gpus * sum(tensor.size for tensor in layout.kv_cache_tensors)
    yield Reading(float(held), "bytes", 0.0, "kv cache", _SOURCE)
    if len(layout.kv_cache_groups) == 1:
        room = layout.num_blocks * opened.block
        yield Reading(float(room), "tokens", 0.0, "kv cache room", _SOURCE)
    if device() == "cuda" and gpus == 1:
        (weights,) = opened.engine.apply_model(_held_by)
        yield Reading(float(weights), "bytes", 0.0, "weights", "PyTorch")


def _held_by(model: nn.Module) -> int:
    """Bytes of all parameters, one that is tied to another counted once."""
    storages = (parameter.untyped_storage() for parameter in model.parameters())
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
