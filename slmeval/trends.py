"""Whether what was measured again and again stayed as it was. Pure functions on plain numbers.

Values are costs (seconds), so that a rise is a slowing down, and stand in the order of time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import NormalDist, median
from typing import Literal

from slmeval.medians import LEAST
from slmeval.statistics import Z95
from slmeval.types import Conditions, Verdict

#: a change of less than so many percent is none, however surely it is there
EFFECT = 5.0
#: nothing is said where no change was found, and one of so many percent could be there all the same
UNSURE = 25.0
#: a change that noise alone would bring less often than this is taken for one
ALPHA = 0.05
#: noise, however much alike from one value to the next, does not move by so many of its own deviations
BEYOND_NOISE = 5.0
#: the correlation of noise from one value to the next is taken for at most this
MOST_ALIKE = 0.9
#: longer series are looked at in as many blocks, each by its median: every value is compared with every other
BLOCKS = 120
#: throttled is what slows down while the clock falls by such a share,
CLOCK_FELL = 0.05
#: or, where no clock is told, while it gets hotter by so many degrees Celsius
HOTTER = 5.0
#: up to so many,
HOT = 80.0
#: unless other processes took so much more of all cores' time meanwhile
BUSIER = 0.1

Shape = Literal["ramp", "step"]


@dataclass(frozen=True)
class Trend:
    """By how much a series changed, in percent of how it began, with a 95% interval.

    There is no verdict where that is too wide for one.

    A ``ramp`` changed from its first value to its last, a ``step`` with the ``at``-th value (counted from 0).
    ``p`` is how often noise alone does as much.
    """

    verdict: Literal["", "stable", "drifting"]
    percent: float
    low: float
    high: float
    p: float
    n: int
    shape: Shape = "ramp"
    at: int = 0

    @property
    def told(self) -> str:
        """What happened, for a note; nothing where it was stable."""
        if self.verdict != "drifting":
            return "" if self.verdict else "too uneven to tell a drift from chance"
        how = "slower" if self.percent > 0 else "faster"
        return f"{how} from value {self.at + 1} of {self.n} on" if self.shape == "step" else f"ever {how}"


def trend(values: Sequence[float], *, effect: float = EFFECT) -> Trend:
    """Whether ``values``, six or more positive ones, drift: by ``effect`` percent or more, and not by chance.

    Where no drift is found they are stable, unless they are so uneven that the interval goes beyond
    :data:`UNSURE` percent.

    Two tests look for a change, both by ranks, so that no single value makes or hides one: Mann and Kendall's
    for a steady one (Mann 1945, Kendall 1975, with ties), whose size is the slope of Theil and Sen from the
    first value to the last with the interval of Sen (JASA 63, 1968), in percent of that line's beginning; and
    Pettitt's for a sudden one (Applied Statistics 28, 1979), whose size is the shift of Hodges and Lehmann,
    with the interval of Mann and Whitney's test for this place, in percent of the median before it. Where
    both find one, the shape counts that is closer to the values.

    Noise that is alike from one value to the next (other processes come and go) looks like a trend: the
    variances are raised by what the ranks of the remainder have in common with their neighbours (Hamed and
    Rao, J. Hydrology 204, 1998; by the first lag alone, with its bias in short series taken out as in Hamed,
    J. Hydrology 368, 2009), unless the change is :data:`BEYOND_NOISE`.

    :raises ValueError: there are too few values, or one is not positive.
    """
    if len(values) < LEAST:
        raise ValueError(f"{len(values)} values are too few for a trend: {LEAST} or more")
    if not all(0 < value < math.inf for value in values):
        raise ValueError("a trend is told of positive numbers only")
    blocks = _blocks(values)
    ramp, step = _ramp(blocks), _step(blocks)
    found = [change for change in (ramp, step) if change.p < ALPHA and abs(change.percent) >= effect]
    change = min(found, key=lambda each: each.away, default=ramp)
    at = change.at * len(values) // len(blocks)
    unsure = max(-change.low, change.high) > UNSURE
    return Trend(
        "drifting" if found else "" if unsure else "stable",
        change.percent, change.low, change.high, change.p, len(values), change.shape, at,
    )  # fmt: skip


def verdict(found: Trend, conditions: Sequence[Conditions] = ()) -> Verdict:
    """The verdict on a trend: what got slower while the machine was throttled is "throttled"."""
    slower = found.verdict == "drifting" and found.percent > 0
    return "throttled" if slower and _throttled(conditions) else found.verdict


def verdict_of(values: Sequence[float], conditions: Sequence[Conditions] = ()) -> Verdict:
    """The verdict on costs that were measured one after the other; none on fewer than six.

    :raises ValueError: one is not positive.
    """
    return verdict(trend(values), conditions) if len(values) >= LEAST else ""


# ---- what the machine says ---------------------------------------------------------------------------


def _throttled(conditions: Sequence[Conditions]) -> bool:
    """Whether the clock fell, or the heat rose to its limit, and not because of other processes."""
    busy = _early_and_late(conditions, lambda each: each.busy)
    if busy and busy[1] >= busy[0] + BUSIER:
        return False
    clock = _early_and_late(conditions, lambda each: each.clock)
    if clock:
        return clock[1] <= (1 - CLOCK_FELL) * clock[0]
    heat = _early_and_late(conditions, lambda each: each.temperature)
    return heat is not None and heat[1] >= max(HOT, heat[0] + HOTTER)


def _early_and_late(
    conditions: Sequence[Conditions], told: Callable[[Conditions], float | None]
) -> tuple[float, float] | None:
    """The medians of the first and of the last third, where there are at least three values."""
    values = [value for each in conditions if (value := told(each)) is not None]
    third = len(values) // 3
    return (median(values[:third]), median(values[-third:])) if third else None


# ---- one change, tested and measured -----------------------------------------------------------------


@dataclass(frozen=True)
class _Change:
    """A change of one shape; ``away`` is how far the values lie from it, all together."""

    shape: Shape
    at: int
    percent: float
    low: float
    high: float
    p: float
    away: float


def _ramp(values: Sequence[float]) -> _Change:
    n = len(values)
    slopes = sorted((values[j] - values[i]) / (j - i) for i, j in combinations(range(n), 2))
    slope = median(slopes)
    rest = _above_line(values, slope)
    begins = median(rest)
    rest = [value - begins for value in rest]
    variance = _kendall_variance(values) * _inflation(rest, slope * (n - 1))
    concordant = sum(_sign(later - earlier) for earlier, later in combinations(values, 2))
    low, percent, high = sorted(
        _percent(values, each) for each in (slope, *_enclosing(slopes, math.sqrt(variance) / 2))
    )
    return _Change("ramp", 0, percent, low, high, _two_sided(concordant, variance), _away(rest))


def _above_line(values: Sequence[float], slope: float) -> list[float]:
    """What is left of each without a line of such a ``slope`` that begins at 0."""
    return [value - slope * place for place, value in enumerate(values)]


def _percent(values: Sequence[float], slope: float) -> float:
    """By how much a line of such a ``slope`` through ``values`` rises, of what it begins with."""
    # it may begin below zero, of which there is no percent
    begins = max(median(_above_line(values, slope)), min(values))
    return 100 * slope * (len(values) - 1) / begins


def _step(values: Sequence[float]) -> _Change:
    n = len(values)
    at, most = _pettitt(values)
    before, after = values[:at], values[at:]
    shifts = sorted(later - earlier for earlier in before for later in after)
    shift = median(shifts)
    rest = [*(value - median(before) for value in before), *(value - median(after) for value in after)]
    inflation = _inflation(rest, shift)
    low, high = _enclosing(shifts, math.sqrt(len(shifts) * (n + 1) / 12 * inflation))
    share = 100 / median(before)
    p = min(1.0, 2 * math.exp(-6 * most**2 / inflation / (n**3 + n**2)))
    return _Change("step", at, shift * share, low * share, high * share, p, _away(rest))


def _pettitt(values: Sequence[float]) -> tuple[int, int]:
    """The place that divides the values best, and by how many pairs more one side is above the other."""
    passed, best = 0, (1, 0)
    for at, value in enumerate(values[:-1], start=1):
        passed += sum(_sign(other - value) for other in values)
        best = max(best, (at, abs(passed)), key=lambda each: each[1])
    return best


def _kendall_variance(values: Sequence[float]) -> float:
    counts = (len(values), *(-count for count in Counter(values).values()))
    return sum(math.copysign(_pairs_variance(abs(count)), count) for count in counts)


def _pairs_variance(count: int) -> float:
    return count * (count - 1) * (2 * count + 5) / 18


def _two_sided(concordant: int, variance: float) -> float:
    """How often so many pairs more go one way by chance, by the normal distribution."""
    if not variance:
        return 1.0
    return 2 * NormalDist().cdf(-max(abs(concordant) - 1, 0) / math.sqrt(variance))


def _enclosing(ordered: Sequence[float], deviation: float) -> tuple[float, float]:
    """The two of ``ordered`` that enclose its median with 95%, its place having such a standard deviation."""
    below = max(0, math.floor(len(ordered) / 2 - Z95 * deviation))
    return ordered[min(below, (len(ordered) - 1) // 2)], ordered[
        max(len(ordered) - 1 - below, len(ordered) // 2)
    ]


def _inflation(rest: Sequence[float], change: float) -> float:
    """By how much the variance of a sum of ranks grows, each being like the one before."""
    deviation = 1.4826 * median(abs(value) for value in rest)
    if abs(change) >= BEYOND_NOISE * deviation:
        return 1.0
    n = len(rest)
    # a remainder looks less alike than the noise was, the more so the fewer values there are
    alike = min(max(0.0, (n * _alike(_ranks(rest)) + 2) / (n - 4)), MOST_ALIKE)
    return 1 + 2 * math.fsum((1 - lag / n) * alike**lag for lag in range(1, n))


def _alike(ranks: Sequence[float]) -> float:
    """The correlation of each with the one before."""
    middle = math.fsum(ranks) / len(ranks)
    off = [rank - middle for rank in ranks]
    whole = math.fsum(each * each for each in off)
    return math.fsum(one * other for one, other in pairwise(off)) / whole if whole else 0.0


def _ranks(values: Sequence[float]) -> list[float]:
    """The rank of each, the mean of their ranks where several are the same."""
    ordered = sorted(values)
    counts = Counter(values)
    first = {value: place for place, value in reversed(list(enumerate(ordered)))}
    return [first[value] + (counts[value] - 1) / 2 for value in values]


def _away(rest: Sequence[float]) -> float:
    return math.fsum(abs(value) for value in rest)


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _blocks(values: Sequence[float]) -> Sequence[float]:
    n = len(values)
    if n <= BLOCKS:
        return values
    ends = [n * block // BLOCKS for block in range(BLOCKS + 1)]
    return [median(values[begin:end]) for begin, end in pairwise(ends)]
