"""What a model and its caches hold, by torch's own storages; and what the device says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from slmeval.api import Reading
from slmeval_hf.timing import Sequences


def forget_peak(device: torch.device) -> None:
    """From now on the peak of ``device`` is counted anew, where it counts one."""
    if device.type == "cuda":
        # without it there are no counters yet, and CUDA calls the device invalid
        torch.cuda.init()  # type: ignore[no-untyped-call]
        torch.cuda.reset_peak_memory_stats(device)


def readings(model: PreTrainedModel, under_way: Sequence[Sequences]) -> tuple[Reading, ...]:
    """Weights, caches of the workloads under way, and what the device has given out.

    A state that a model keeps in its own modules (RecurrentGemma) is not known.
    """
    weights = _bytes([*model.parameters(), *model.buffers()])
    found = [_reading(weights, "weights", "storages of parameters and buffers")]
    keys, states = ([t for each in under_way for t in tensors_of(each, kind)] for kind in (False, True))
    if keys:
        tokens = sum(each.rows * each.length for each in under_way)
        found.append(_reading(_bytes(keys), "kv cache", "storages of the cache"))
        found.append(_reading(tokens, "kv cache room", "tokens that were run", "tokens"))
    if states:
        found.append(_reading(_bytes(states), "state", "storages of the cache"))
    return (*found, *_of_device(model.device))


def tensors_of(sequences: Sequences, states: bool) -> Iterator[Tensor]:
    """Those in the cache: keys and values, or the ``states`` of layers that keep one in their place."""
    for part in (sequences.cache, *getattr(sequences.cache, "layers", ())):
        # RWKV's is a list
        named = vars(part) if hasattr(part, "__dict__") else {"state": part}
        for name, value in named.items():
            if name != "layers" and ("state" in name) == states:
                yield from _tensors(value)


def _tensors(value: Any) -> Iterator[Tensor]:
    # a window's size is held as a tensor, without dimensions
    if isinstance(value, Tensor) and value.dim():
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensors(each)


def _bytes(tensors: Iterable[Tensor]) -> int:
    """Those of all storages, one that is shared once; of a view the whole that it keeps alive."""
    storages = [tensor.untyped_storage() for tensor in tensors]
    return sum({(each.device, each.data_ptr()): each.nbytes() for each in storages}.values())


def _of_device(device: torch.device) -> Iterator[Reading]:
    if device.type == "cuda":
        yield _reading(torch.cuda.memory_allocated(device), "active", "torch.cuda.memory_allocated")
        yield _reading(torch.cuda.max_memory_allocated(device), "peak", "torch.cuda.max_memory_allocated")
    if device.type == "mps":
        yield _reading(torch.mps.current_allocated_memory(), "active", "torch.mps.current_allocated_memory")


def _reading(value: int, scope: str, source: str, unit: str = "bytes") -> Reading:
    return Reading(float(value), unit, 0.0, scope, source)
