"""Where MLX computes, and what about that place can change a number."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

# MLX multiplies float32 at the precision of TF32 where there are matrix units (an M5, or CUDA), unless
# this is set before its first operation: https://github.com/ml-explore/mlx/issues/3860
os.environ.setdefault("MLX_ENABLE_TF32", "0")

import mlx.core as mx

from slmeval.errors import ModelError
from slmeval.types import OptionValue

DEVICES = {"cpu": mx.cpu, "gpu": mx.gpu}


def resolve_device(name: str) -> str:
    """ "cpu" or "gpu"; ``auto`` is what MLX itself takes here.

    :raises ModelError: there is no such device here.
    """
    if name == "auto":
        return _kind(mx.default_device())
    if not mx.is_available(mx.Device(DEVICES[name])):
        raise ModelError(
            f"device {name!r} is not there: MLX {version('mlx')} sees no GPU here, take device=cpu"
        )
    return name


def _kind(device: Any) -> str:
    return "gpu" if device.type == mx.gpu else "cpu"


def surroundings(options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """Versions and hardware, with ``device`` as it will be used.

    The kind of processor stands in it because kernels differ by it.
    """
    device = resolve_device(str(options["device"]))
    return {
        "version": version("mlx-lm"),
        "mlx": version("mlx"),
        "device": device,
        "processor": mx.device_info(mx.Device(DEVICES[device]))["architecture"],
        "tf32": os.environ["MLX_ENABLE_TF32"] != "0",
    }


@contextmanager
def computing(device: str) -> Iterator[None]:
    """What is built within it is computed on ``device``, whichever MLX would take."""
    with mx.stream(DEVICES[device]):
        yield


@contextmanager
def wired(model: Any, device: str) -> Iterator[None]:
    """The model's memory kept resident while it works, as mlx-lm does it; on Apple's GPU alone."""
    if device == "gpu" and mx.metal.is_available():
        from mlx_lm.generate import wired_limit

        with wired_limit(model):
            yield
    else:
        yield
