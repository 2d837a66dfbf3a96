"""Intervals that stay valid though one looks at them again and again, and rules of when to stop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING

from slmeval.statistics import Z95, upper_point

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: with fewer items an interval is not taken to be narrow enough
LEAST_ITEMS = 100
#: the number of items at which an always valid interval is narrowest, against one of a single look
TUNED = 500
#: so many scores are added to those seen, each half a unit from their mean: simulation says how many it takes
UNSEEN = 10
#: a bound that is further away is never crossed
MOST = 8.0
#: points of the grid on which the looks' densities are integrated
_POINTS = 801
_NORMAL = NormalDist()


def look_levels(looks: int, alpha: float = 0.05) -> tuple[float, ...]:
    """The level of the interval at each of ``looks`` looks, after equal shares of the items.

    An interval of that level, given at every look, covers the truth at all of them with 1 - ``alpha``
    (repeated confidence intervals: Jennison and Turnbull, J. R. Statist. Soc. B 51, 1989, 305-361).

    :raises ValueError: there is no look.
    """
    return look_levels_at(tuple(look / looks for look in range(1, looks + 1)), alpha)


def look_levels_at(fractions: Sequence[float], alpha: float = 0.05) -> tuple[float, ...]:
    """The same for looks after ``fractions`` of the items, which rise to at most 1.

    What may go wrong is spent as O'Brien and Fleming's bounds spend it: hardly any at first (Lan and DeMets,
    Biometrika 70, 1983, 659-663), each side for itself: 2 - 2Φ(z / √t) with z of alpha / 4.

    :raises ValueError: the fractions do not rise, or leave 0 to 1.
    """
    return tuple(2 * _NORMAL.cdf(bound) - 1 for bound in look_bounds(tuple(fractions), alpha))


@lru_cache(maxsize=256)
def look_bounds(fractions: tuple[float, ...], alpha: float = 0.05) -> tuple[float, ...]:
    """How many standard errors the intervals of those levels reach to either side, at most :data:`MOST`.

    By the recursion of Armitage, McPherson and Rowe (J. R. Statist. Soc. A 132, 1969, 235-244): at each look
    the density of a Brownian motion that no earlier look has stopped.
    """
    _check(fractions, alpha)
    bounds: list[float] = []
    paths, before = None, 0.0
    for share in fractions:
        left = _spent(share, alpha) - _spent(before, alpha)
        bounds.append(_bound(paths, share, share - before, left))
        paths, before = _going_on(paths, bounds[-1] * math.sqrt(share), share - before), share
    return tuple(bounds)


def _check(fractions: Sequence[float], alpha: float) -> None:
    steps = zip((0.0, *fractions), (*fractions, 1.0), strict=True)
    *rising, last = [after - before for before, after in steps]
    if not rising or min(rising) <= 0 or last < 0:
        given = ", ".join(f"{each:g}" for each in fractions)
        raise ValueError(
            f"looks are to come after rising shares of the items, up to 1, and not after [{given}]"
        )
    if not 0 < alpha < 1:
        raise ValueError(f"a share of errors is between 0 and 1, and {alpha:g} is not")


def _spent(share: float, alpha: float) -> float:
    """How much of ``alpha`` may be gone after this share of the items."""
    return 2 * math.erfc(upper_point(alpha / 4) / math.sqrt(2 * share)) if share else 0.0


@dataclass(frozen=True)
class _Paths:
    """Where those are that no look has stopped: a density, times the weights of the integral's points."""

    places: Floats
    masses: Floats


def _bound(paths: _Paths | None, share: float, step: float, left: float) -> float:
    """The bound beyond which ``left`` of all paths arrive at this look, by halving."""
    low, high = 0.0, MOST
    while high - low > 1e-10:
        middle = (low + high) / 2
        beyond = _beyond(paths, middle * math.sqrt(share), math.sqrt(step))
        low, high = (middle, high) if beyond > left else (low, middle)
    return high


def _beyond(paths: _Paths | None, edge: float, spread: float) -> float:
    """How many of the paths are beyond ``edge`` on either side, after a step of that standard deviation."""
    from scipy.special import ndtr

    if paths is None:
        return float(2 * ndtr(-edge / spread))
    return float(2 * paths.masses @ ndtr((paths.places - edge) / spread))


def _going_on(paths: _Paths | None, edge: float, step: float) -> _Paths:
    """The paths that after a further step of this variance are within ``edge``: by Simpson's rule."""
    import numpy as np

    places = np.linspace(-edge, edge, _POINTS)
    weights = np.full(_POINTS, 2.0)
    weights[1::2], weights[[0, -1]] = 4.0, 1.0
    weights *= (places[1] - places[0]) / 3 / math.sqrt(2 * math.pi * step)
    if paths is None:
        return _Paths(places, weights * np.exp(-(places**2) / (2 * step)))
    steps = np.exp(-((places[:, None] - paths.places) ** 2) / (2 * step))
    return _Paths(places, weights * (steps @ paths.masses))


def always_valid(n: int, mean: float, sd: float, alpha: float = 0.05) -> tuple[float, float]:
    """The interval of a mean of ``n`` scores that may be looked at after every one of them, for ever.

    ``sd`` is the scores' sample deviation. It is the asymptotic confidence sequence of Waudby-Smith, Arbour,
    Sinha, Kennedy and Ramdas (Annals of Statistics 52, 2024, 2613-2640, theorem 2.2), tuned to be narrowest
    at :data:`TUNED` scores. That holds of many scores; so that it holds of a few too, which may all be
    alike, :data:`UNSEEN` more count, half a unit away from the mean. With no score there is no bound.
    """
    if n < 1:
        return -math.inf, math.inf
    log = -2 * math.log(alpha)
    tuned = n * (log + math.log(log + 1)) / TUNED
    width = math.sqrt((tuned + 1) / tuned * 2 * math.log(math.sqrt(tuned + 1) / alpha) / n)
    spread = math.sqrt(((n - 1) * sd * sd + UNSEEN / 4) / n)
    return mean - spread * width, mean + spread * width


def narrow_enough(n: int, stderr: float, half_width: float) -> bool:
    """Whether the 95% interval of a mean of ``n`` scores, so far, reaches no further than ``half_width``.

    The rule of Chow and Robbins (Annals of Mathematical Statistics 36, 1965, 457-462), for whose interval the
    stopping costs no coverage where it is narrow: 1/n is added to the variance, and no fewer than
    :data:`LEAST_ITEMS` scores are enough.
    """
    return n >= LEAST_ITEMS and Z95 * math.hypot(stderr, 1 / n) <= half_width
