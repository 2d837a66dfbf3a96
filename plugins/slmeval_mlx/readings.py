"""What is held: the weights, and the cache of what is under way, by the arrays that they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.cache import ArraysCache

from slmeval.api import Reading
from slmeval_mlx.shape import held_by

ARRAYS = "mlx.core.array.nbytes"


def readings(model: Any, caches: Sequence[Sequence[Any]]) -> Iterator[Reading]:
    """Of the weights, of ``caches``, and what MLX counts itself: now, and at most since it was opened."""
    yield _reading("weights", held_by(model), ARRAYS)
    layers = list(_flat(layer for cache in caches for layer in cache))
    states = [layer for layer in layers if isinstance(layer, ArraysCache)]
    keys = [layer for layer in layers if not isinstance(layer, ArraysCache)]
    rooms = [columns * rows for columns, rows in map(room_of, caches)]
    for scope, value, unit, source in (
        ("kv cache", sum(map(_held, keys)), "bytes", ARRAYS),
        ("kv cache room", sum(rooms), "tokens", "mlx.core.array.shape"),
        ("state", sum(map(_held, states)), "bytes", ARRAYS),
    ):
        if value:
            yield _reading(scope, value, source, unit)
    yield _reading("active", mx.get_active_memory(), "mlx.core.get_active_memory")
    yield _reading("peak", mx.get_peak_memory(), "mlx.core.get_peak_memory")


def room_of(cache: Iterable[Any]) -> tuple[int, int]:
    """Columns of the layer that has most, for a token of each sequence each, and rows, one a sequence.

    A layer with a sliding window has fewer; one without keys and values, and one that is empty, none.
    """
    shapes = [_first(layer.keys).shape for layer in _flat(cache) if getattr(layer, "keys", None) is not None]
    return max(((shape[-2], shape[0]) for shape in shapes), default=(0, 0))


def _first(keys: Any) -> Any:
    """Keys, or the numbers of quantized ones, beside which there are scales."""
    return keys if isinstance(keys, mx.array) else keys[0]


def _flat(cache: Iterable[Any]) -> Iterator[Any]:
    """A layer may have several caches."""
    for layer in cache:
        yield from _flat(layer.caches) if hasattr(layer, "caches") else (layer,)


def _held(layer: Any) -> int:
    return sum(int(value.nbytes) for _, value in tree_flatten(layer.state) if isinstance(value, mx.array))


def _reading(scope: str, value: int, source: str, unit: str = "bytes") -> Reading:
    return Reading(float(value), unit, 0.0, scope, source)
