"""Runs with scores by item, made by hand, for tests of what holds runs against each other."""

from __future__ import annotations

import random
from collections.abc import Sequence

import example_runs

from slmeval.medians import exact_figure, median_figure
from slmeval.statistics import mean_figure
from slmeval.types import CellResult, Figure, ItemScores, Outcomes, RunResult


def scores(n: int, share: float, *, lost: int = 0, gained: int = 0, seed: int = 1) -> list[float]:
    """``n`` scores of which about ``share`` are 1; of those so many are lost, and of the others gained."""
    drawn = random.Random(seed)
    made = [float(drawn.random() < share) for _ in range(n)]
    right, wrong = ([place for place in range(n) if made[place] == score] for score in (1.0, 0.0))
    for place in right[:lost]:
        made[place] = 0.0
    for place in wrong[:gained]:
        made[place] = 1.0
    return made


def scored(name: str, values: Sequence[float], figure: str = "acc", **changes: object) -> CellResult:
    """A task with these scores of one figure, of items that are the same in every such cell."""
    items = tuple(f"{place:012x}" for place in range(len(values)))
    return example_runs.cell(
        name,
        **{
            "n": len(values),
            "figures": (mean_figure(figure, values, proportion=max(values) <= 1),),
            "outcomes": Outcomes(items, {figure: ItemScores(tuple(values))}),
            "counts": {},
            **changes,
        },
    )


def probe(*figures: Figure, name: str = "memory", **changes: object) -> CellResult:
    """A probe with these figures."""
    n = max(figure.n for figure in figures)
    return example_runs.cell(
        name, **{"kind": "probe", "n": n, "figures": figures, "counts": {}, "sample": False, **changes}
    )


def weights(mib: float = 28.0) -> Figure:
    """What is the same each time."""
    return exact_figure("weights", mib, unit="MiB", n=6, higher_is_better=False)


def peak(*values: float) -> Figure:
    """The median of some workers' values."""
    return median_figure("peak", values, unit="MiB", higher_is_better=False)


def of(*cells: CellResult, **changes: object) -> RunResult:
    """A run of these cells."""
    return example_runs.run(**{"cells": cells, **changes})
