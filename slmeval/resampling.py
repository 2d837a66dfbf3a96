"""The bootstrap's distribution of a sum of draws, computed and not drawn: no seed, no error of drawing.

The distribution of the sum of n draws with replacement is the n-fold convolution of what is drawn from, and
that is the n-th power of its Fourier transform. (Of values of -1, 0 and 1 it is the difference of two counts
of a multinomial distribution.) The transform is taken on a grid that reaches so far on either side that
nothing wraps round.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: points of the grid
POINTS = 1 << 13
#: standard deviations between the grid's middle and its ends
REACH = 14.0
#: a tail that is smaller is not told from rounding
LEAST_TAIL = 1e-12
#: as small a factor of a transform does not count
_LEAST_FACTOR = 1e-20


@dataclass(frozen=True)
class Urn:
    """What is drawn from: ``values``, each with its share (they sum to 1), ``draws`` times.

    ``freedom`` is how many degrees of freedom the variance of its values has.
    """

    values: Floats
    shares: Floats
    draws: int
    freedom: float

    @property
    def mean(self) -> float:
        """Of the sum of all draws."""
        return float(self.draws * (self.values @ self.shares))

    @property
    def variance(self) -> float:
        """Of the sum of all draws."""
        away = self.values - self.values @ self.shares
        return float(self.draws * ((away * away) @ self.shares))


@dataclass(frozen=True)
class Sums:
    """How the sum of all draws is distributed: at rising ``places`` the mass below and above each."""

    places: Floats
    below: Floats
    above: Floats

    def tails(self, tail: float) -> tuple[float, float]:
        """The places below and above which lies a mass of ``tail``, at least :data:`LEAST_TAIL`."""
        import numpy as np

        low = np.interp(tail, self.below, self.places)
        high = np.interp(tail, self.above[::-1], self.places[::-1])
        return float(low), float(high)


def sums(urns: Sequence[Urn], grain: float = 0.0) -> Sums:
    """The distribution of the sum of all draws from ``urns``, one of which has values that differ.

    ``grain`` is the step of values that lie on a lattice: each mass is spread evenly over one step around it,
    so that tails do not jump.
    """
    import numpy as np

    mean, variance = sum(urn.mean for urn in urns), sum(urn.variance for urn in urns)
    step = 2 * REACH * math.sqrt(variance + grain * grain / 12) / POINTS
    # sinc(x) is sin(πx)/(πx), the transform of a mass that is spread evenly
    transform = np.sinc(np.arange(POINTS // 2 + 1) * (grain / step / POINTS)).astype(np.complex128)
    added = 0.0
    for urn in urns:
        power, more = _power(urn, step)
        transform *= power
        added += more
    middle = round(mean / step)
    mass = np.maximum(np.roll(np.fft.irfft(transform, POINTS), POINTS // 2 - middle), 0.0)
    away = (np.arange(POINTS) - POINTS // 2 + middle + 0.5) * step - mean
    above = np.append(np.cumsum(mass[:0:-1])[::-1], 0.0)
    places = mean + away * math.sqrt(variance / (variance + added))
    return Sums(places.astype(np.float64), np.cumsum(mass), above)


def _power(urn: Urn, step: float) -> tuple[NDArray[np.complex128], float]:
    """The transform of the sum of its draws, and the variance that the grid adds to it.

    Each value is shared out between its neighbours on the grid, which keeps the mean.
    """
    import numpy as np

    places = urn.values / step
    lower = np.floor(places)
    beyond = places - lower
    at = lower.astype(np.int64) % POINTS
    mass = np.bincount(at, urn.shares * (1 - beyond), POINTS)
    mass += np.bincount((at + 1) % POINTS, urn.shares * beyond, POINTS)
    one = np.fft.rfft(mass)
    seen = np.abs(one) > _LEAST_FACTOR ** (1 / urn.draws)
    power = np.zeros_like(one)
    power[seen] = one[seen] ** urn.draws
    return power, float(urn.draws * (urn.shares @ (beyond * (1 - beyond)))) * step * step
