"""Whether what a probe asks fits a model and this machine: refused beforehand, with the arithmetic."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping

from slmeval.api import Demand, Probe
from slmeval.errors import ModelError, UsageError
from slmeval.models import FoundModel
from slmeval.shape import Shape
from slmeval.shape_of_config import BITS
from slmeval.shape_reading import shape_of
from slmeval.types import OptionValue

_GIB = 2**30
#: types of plain numbers, as configurations, safetensors and GGUF files name them
_FLOATS = frozenset((*BITS, "F64", "F32", "F16", "BF16"))


def check_room(
    probe: Probe,
    settings: Mapping[str, OptionValue],
    model: FoundModel,
    cache_bits: float,
    dtype: OptionValue,
    free: int | None,
) -> None:
    """Look at what a probe asks at most; keys and values have ``cache_bits`` each.

    ``dtype``: the type of the weights that is asked of the engine, if one is; ``free``: bytes of memory.

    :raises ModelError: the sequences are longer than the model's context, or the model and its cache are
        more than the memory that is free.
    :raises UsageError: the probe's settings make no sense to it.
    """
    try:
        demand = probe.demand(settings)
    except ValueError as error:
        raise UsageError(f"probe {probe.name!r}: {error}") from None
    except Exception as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(f"probe {probe.name!r} fails at what it asks of a model: {told}") from error
    if demand is None:
        return
    if not isinstance(demand, Demand):
        raise UsageError(f"probe {probe.name!r} asks {reprlib.repr(demand)} of a model, which is no Demand")
    if demand.tokens > model.context:
        raise ModelError(
            f"probe {probe.name!r} asks sequences of {demand.tokens:,} tokens, and the context of "
            f"{model.ref} has {model.context:,}: ask for less (slmeval list probes shows its options)"
        )
    if model.form != "server":
        _check_memory(probe, demand, model, cache_bits, dtype, free)


def _check_memory(
    probe: Probe, demand: Demand, model: FoundModel, bits: float, dtype: OptionValue, free: int | None
) -> None:
    try:
        shape = shape_of(model.place)
        weights, cache = _weights(shape, dtype), shape.kv_bytes(demand.tokens, bits) * demand.sequences
    except ModelError:
        return  # of an unknown architecture nothing can be computed; the engine will say what does not fit
    if free is None or weights + cache <= free:
        return
    raise ModelError(
        f"probe {probe.name!r} asks more memory than is free: {weights / _GIB:,.1f} GiB of weights and "
        f"{cache / _GIB:,.1f} GiB of keys and values ({demand.sequences:,} × {demand.tokens:,} tokens in "
        f"{bits:g} bits) are {(weights + cache) / _GIB:,.1f} GiB, and {free / _GIB:,.1f} GiB are free: "
        "ask for fewer tokens or sequences"
    )


def _weights(shape: Shape, dtype: OptionValue) -> float:
    """Bytes in the type that is asked for, where that is a plain one; what is packed, as it is stored."""
    plain = all(weight.dtype in _FLOATS for weight in shape.weights)
    return shape.weight_bytes(BITS.get(str(dtype)) if plain else None)
