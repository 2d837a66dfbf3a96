"""Where the arithmetic runs, and what about that place can change a number."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

import torch

from slmeval.errors import ModelError
from slmeval.types import OptionValue


def resolve_device(name: str) -> torch.device:
    """The device that ``name`` means here; ``auto`` is the first of cuda, mps and cpu that is there.

    :raises ModelError: there is no such device here.
    """
    if name == "auto":
        return torch.device(_best())
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"device {name!r} is none: take auto, cpu, cuda, cuda:N or mps") from error
    if not _is_there(device):
        raise ModelError(f"device {name!r} is not there: torch {torch.__version__} sees {_best()} at best")
    return device


def _best() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _is_there(device: torch.device) -> bool:
    if device.type == "cuda":
        return (device.index or 0) < torch.cuda.device_count()
    return device.type == "cpu" or (device.type == "mps" and torch.backends.mps.is_available())


def surroundings(options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """Versions and hardware, with ``device`` and ``threads`` as they will be used.

    The kind of processor stands in it because kernels differ by it; the threads of the CPU do not
    matter elsewhere, nor does which one of several GPUs is used.
    """
    device = resolve_device(str(options["device"]))
    on_cpu = device.type == "cpu"
    return {
        "version": version("transformers"),
        "torch": torch.__version__,
        "device": device.type,
        "processor": _processor(device),
        "threads": (options["threads"] or torch.get_num_threads()) if on_cpu else None,
    }


def _processor(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else device.type
