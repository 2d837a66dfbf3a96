"""Means with their errors: standard errors and 95% intervals. Pure functions on plain numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from slmeval.types import Figure

#: the 97.5% point of the normal distribution
Z95 = 1.959963984540054


def mean_figure(
    name: str,
    scores: Sequence[float],
    *,
    unit: str = "",
    proportion: bool = False,
    higher_is_better: bool | None = True,
) -> Figure:
    """The mean of ``scores`` with its standard error and 95% interval.

    The standard error is s/√n with the sample deviation (n - 1), as lm-evaluation-harness gives it; the
    interval is Wilson's for proportions, mean ± 1.96 standard errors else. With fewer than two scores
    there is no error to give; with none the figure is unavailable.
    """
    n = len(scores)
    if n == 0:
        return Figure(name, None, None, None, 0, unit, "unavailable", "no scores", higher_is_better)
    mean = math.fsum(scores) / n
    stderr = standard_error(scores)
    return Figure(
        name, mean, stderr, _interval(mean, stderr, n, proportion), n, unit, "measured", "", higher_is_better
    )


def standard_error(scores: Sequence[float]) -> float | None:
    """s/√n with the sample deviation; ``None`` where it is not defined (n < 2, or a score not finite)."""
    n = len(scores)
    if n < 2 or not all(math.isfinite(score) for score in scores):
        return None
    mean = math.fsum(scores) / n
    return math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / (n - 1) / n)


def _interval(mean: float, stderr: float | None, n: int, proportion: bool) -> tuple[float, float] | None:
    if proportion:
        return wilson(mean, n)
    return None if stderr is None else (mean - Z95 * stderr, mean + Z95 * stderr)


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95% score interval for a proportion (E. B. Wilson, JASA 22, 1927)."""
    z2 = Z95 * Z95
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)
