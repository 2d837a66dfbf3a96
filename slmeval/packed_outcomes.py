"""The outcomes of items in documents, packed: a bit for a score of 0 or 1, four bytes for any other.

Ten thousand items take 80 kB of hashes, and 2 kB or 53 kB for each figure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args

from slmeval.packing import (
    pack_bits,
    pack_counts,
    pack_floats,
    pack_hashes,
    unpack_bits,
    unpack_counts,
    unpack_floats,
    unpack_hashes,
)
from slmeval.types import ItemScores, Outcomes, Scale

T = TypeVar("T")

_FIELDS = {"bits", "floats", "none", "weights", "scale"}


def to_packed(outcomes: Outcomes) -> dict[str, Any]:
    """``outcomes`` in JSON's own types."""
    columns = {name: _pack(column) for name, column in outcomes.columns.items()}
    together = {"clusters": pack_counts(outcomes.clusters)} if outcomes.clusters else {}
    return {"items": pack_hashes(outcomes.items), **together, "columns": columns}


def from_packed(raw: Any) -> Outcomes:
    """What :func:`to_packed` wrote.

    :raises ValueError: it is something else, or holds other numbers of values than of items.
    """
    packed = _mapping(raw, "it", {"items", "clusters", "columns"})
    items = _named("items", lambda: unpack_hashes(_text(packed, "items")))
    if len(set(items)) < len(items):
        raise ValueError("items: one of them is there twice")
    columns = packed.get("columns")
    if not isinstance(columns, Mapping):
        raise ValueError("columns is no object")
    clusters: tuple[int, ...] = ()
    if "clusters" in packed:
        clusters = _named("clusters", lambda: unpack_counts(_text(packed, "clusters"), len(items)))
    scores = {name: _unpack(each, name, len(items)) for name, each in columns.items()}
    return Outcomes(items, scores, clusters)


def _pack(column: ItemScores) -> dict[str, str]:
    scores = [score if score is not None else 0.0 for score in column.scores]
    none = [score is None for score in column.scores]
    whole = set(scores) <= {0.0, 1.0}
    packed = {"bits": pack_bits([score == 1.0 for score in scores])} if whole else {}
    if not whole:
        packed["floats"] = pack_floats(scores)
    if any(none):
        packed["none"] = pack_bits(none)
    if column.weights:
        packed["weights"] = pack_floats(column.weights)
    if column.scale != "mean":
        packed["scale"] = column.scale
    return packed


def _unpack(raw: Any, name: str, count: int) -> ItemScores:
    packed = _mapping(raw, name, _FIELDS)
    return _named(name, lambda: _column(packed, count))


def _column(packed: Mapping[str, Any], count: int) -> ItemScores:
    if ("bits" in packed) == ("floats" in packed):
        raise ValueError("it has no scores, or has them twice")
    scores: tuple[float, ...]
    if "bits" in packed:
        scores = tuple(map(float, unpack_bits(_text(packed, "bits"), count)))
    else:
        scores = _finite(unpack_floats(_text(packed, "floats"), count), "a score")
    none = unpack_bits(_text(packed, "none"), count) if "none" in packed else (False,) * count
    weights: tuple[float, ...] = ()
    if "weights" in packed:
        weights = _finite(unpack_floats(_text(packed, "weights"), count), "a weight")
        if min(weights, default=0.0) < 0:
            raise ValueError("a weight is below 0")
    scale = packed.get("scale", "mean")
    if scale not in get_args(Scale):
        raise ValueError(f"its scale is {scale!r}, not one of {', '.join(get_args(Scale))}")
    kept = tuple(None if left else score for score, left in zip(scores, none, strict=True))
    return ItemScores(kept, weights, scale)


def _finite(values: tuple[float, ...], what: str) -> tuple[float, ...]:
    for value in values:
        # NaN is not equal to itself
        if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124
            raise ValueError(f"{what} is {value}")
    return values


def _mapping(raw: Any, what: str, known: set[str]) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise ValueError(f"{what} is no object")
    if unknown := sorted(set(raw) - known):
        raise ValueError(f"{what} has an unknown {unknown[0]!r}")
    return raw


def _text(packed: Mapping[str, Any], name: str) -> str:
    text = packed.get(name)
    if not isinstance(text, str):
        raise ValueError(f"{name} is no text")
    return text


def _named(name: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
