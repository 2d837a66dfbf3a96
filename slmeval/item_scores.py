"""The scores of a cell by item: as they are gathered, and as they go into a run, to be compared later."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from slmeval.api import Metric
from slmeval.packing import LARGEST, float32
from slmeval.types import Figure, ItemScores, Outcomes, Sample, Scale


@dataclass(frozen=True)
class Column:
    """The scores of one figure: by the item's place in the data set, with how much each counts."""

    metric: Metric
    scores: dict[int, float]
    weights: dict[int, float]


def outcomes_of(
    asked: Mapping[int, Sample], figures: Sequence[Figure], columns: Mapping[str, Column]
) -> Outcomes | None:
    """What came of each item, ``asked`` by its place; ``None`` where the items are not told apart.

    Left out is a figure that is not made of its scores in one of the known ways.
    """
    places = sorted(asked)
    items = tuple(asked[place].item for place in places)
    if not items or not all(items):
        return None
    values = {figure.name: figure.value for figure in figures}
    made = {name: _scores(column, places) for name, column in columns.items()}
    kept = {name: each for name, each in made.items() if each is not None and is_value_of(values[name], each)}
    clusters = [asked[place].cluster for place in places]
    together = tuple(each for each in clusters if each is not None)
    return Outcomes(items, kept, together if len(together) == len(items) else ())


def value_of(column: ItemScores) -> float | None:
    """The figure that ``column`` comes to; ``None`` where no item has a score, or none that counts."""
    weights = column.weights or (1.0,) * len(column.scores)
    pairs = [(w, s) for w, s in zip(weights, column.scores, strict=True) if s is not None]
    whole = math.fsum(w for w, _ in pairs)
    if not whole:
        return None
    mean = math.fsum(w * s for w, s in pairs) / whole
    if column.scale == "exp":
        return math.exp(mean) if mean < math.log(LARGEST) else math.inf
    return mean / math.log(2) if column.scale == "bits" else mean


def _scores(column: Column, places: Sequence[int]) -> ItemScores | None:
    scale = column.metric.scale
    given = [*column.scores.values(), *column.weights.values()]
    # a stranger's metric may name a way that is none of ours
    if scale is None or scale not in get_args(Scale):
        return None
    if not column.scores or max(map(abs, given)) > LARGEST:
        return None
    rounded = dict(zip(column.scores, float32([*column.scores.values()]), strict=True))
    weights: tuple[float, ...] = ()
    if set(column.weights.values()) != {1.0}:
        weights = float32([column.weights.get(place, 0.0) for place in places])
    return ItemScores(tuple(rounded.get(place) for place in places), weights, scale)


def is_value_of(value: float | None, column: ItemScores) -> bool:
    """Whether a figure is what its scores come to, as its metric says."""
    found = value_of(column)
    return value is not None and found is not None and math.isclose(value, found, rel_tol=1e-4, abs_tol=1e-6)
