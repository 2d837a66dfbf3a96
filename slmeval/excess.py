"""How far a figure lies above the limit of a rule, with its interval, at any level."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from slmeval.differences import Estimate
from slmeval.medians import LEAST
from slmeval.paired import Pairs, contrast, one_sample
from slmeval.statistics import Z95, upper_point
from slmeval.types import CellResult, Figure, ItemScores

#: said of a figure that is computed, and the same each time
_EXACT = "exact"
#: smaller than what rounding leaves of a difference of two numbers of size 1
_ROUNDING = 1e-12

#: value - factor x baseline - offset with its interval, by factor, offset and level
Excess = Callable[[float, float, float], Estimate]


@dataclass(frozen=True)
class Spread:
    """A figure with its interval at any level; ``cell`` is the one in which it stands."""

    cell: CellResult
    figure: Figure

    @cached_property
    def trouble(self) -> str | None:
        """Why nothing can be said of it, or ``None``."""
        figure = self.figure
        if figure.value is None or figure.source == "unavailable":
            return figure.note or "no reason is given"
        if not math.isfinite(figure.value):
            return f"the value was {figure.value}"
        if self.exact or (figure.ci95 is not None and all(map(math.isfinite, figure.ci95))):
            return None
        return f"it has no interval{f' ({figure.note})' if figure.note else ''}"

    @property
    def value(self) -> float:
        """The figure's, which it has where there is no trouble with it."""
        assert self.figure.value is not None
        return self.figure.value

    @property
    def exact(self) -> bool:
        """Whether it is the same each time."""
        interval = self.figure.ci95
        if interval is None:
            return self.figure.stderr is None and self.figure.note == _EXACT
        return interval[0] == interval[1] and not self.figure.stderr

    def at(self, level: float) -> Estimate:
        """The figure with its interval of that ``level``."""
        if level != 0.95 and (column := self._column()) is not None:
            return self._of_items(column, level)
        low, high = self._interval(level)
        return Estimate(self.value, low, high, self.figure.stderr or 0.0, self.figure.n, "its own", 0, level)

    def _column(self) -> ItemScores | None:
        outcomes = self.cell.outcomes
        return outcomes.columns.get(self.figure.name) if outcomes is not None else None

    def _of_items(self, column: ItemScores, level: float) -> Estimate:
        assert self.cell.outcomes is not None
        kept = [place for place, score in enumerate(column.scores) if score is not None]
        scores = [score for score in column.scores if score is not None]
        weights, clusters = (
            [each[place] for place in kept] if each else ()
            for each in (column.weights, self.cell.outcomes.clusters)
        )
        return one_sample(scores, weights, clusters, column.scale, level)  # type: ignore[arg-type]

    def _interval(self, level: float) -> tuple[float, float]:
        if self.exact or self.figure.ci95 is None:
            return self.value, self.value
        low, high = self.figure.ci95
        if self.cell.kind == "probe" and self.figure.n < LEAST and self.figure.stderr:
            # from the smallest to the largest of so few values is less than 95%: Student's interval is not
            wide = _student(0.95, self.figure.n) * self.figure.stderr
            low, high = min(low, self.value - wide), max(high, self.value + wide)
        times = self._times(level)
        return self.value - times * (self.value - low), self.value + times * (high - self.value)

    def _times(self, level: float) -> float:
        """By what an interval of 95% is to be wider."""
        if level == 0.95:
            return 1.0
        if self.cell.kind == "probe":
            return _student(level, self.figure.n) / _student(0.95, self.figure.n)
        return upper_point((1 - level) / 2) / Z95


def above_number(value: Spread) -> Excess:
    """Of a limit that is a number: there is no baseline for ``factor`` to count."""

    def at(_: float, offset: float, level: float) -> Estimate:
        return _lowered(value.at(level), offset)

    return at


def above_items(pairs: Pairs, *, more: bool = False) -> Excess:
    """Of a baseline with the same items.

    Where all their scores are the same there is no error, unless there are ``more`` items that were not
    asked: that none differs so far does not say that none will.
    """
    alike = list(pairs.first) == list(pairs.second)
    nothing = (0.0,) * len(pairs.first)

    def at(factor: float, offset: float, level: float) -> Estimate:
        found = contrast(pairs, factor=factor, offset=offset, level=level)
        if not alike:
            return found
        if not more:
            return replace(found, low=found.value, high=found.value, stderr=0.0)
        chance = contrast(Pairs(nothing, nothing), level=level)
        return replace(found, low=found.value + chance.low, high=found.value + chance.high)

    return at


def above_other(value: Spread, baseline: Spread) -> Excess:
    """Of a baseline whose error has nothing to do with the value's.

    The interval is Zou and Donner's of a difference, made of both intervals, which need not be symmetric
    (Statistics in Medicine 27, 2008, 1693-1702).
    """

    def at(factor: float, offset: float, level: float) -> Estimate:
        mine, theirs = value.at(level), baseline.at(level)
        middle = mine.value - factor * theirs.value
        down = math.hypot(mine.value - mine.low, factor * (theirs.high - theirs.value))
        up = math.hypot(mine.high - mine.value, factor * (theirs.value - theirs.low))
        error = math.hypot(mine.stderr, factor * theirs.stderr)
        n = min(mine.n, theirs.n)
        found = Estimate(middle, middle - down, middle + up, error, n, "independent errors", 0, level)
        return _lowered(found, offset)

    return at


def ratio(excess: Excess, value: float, baseline: float, level: float) -> tuple[float, float]:
    """The interval of value / ``baseline``: all factors by which the excess may be 0 (Fieller's way).

    :raises ValueError: it has no end, for the baseline may be 0 as far as anybody knows.
    """
    from scipy.optimize import brentq

    middle = value / baseline
    widest = 2 * middle + 2
    low = brentq(lambda factor: excess(factor, 0.0, level).low, 0.0, widest) if _low(excess, level) else 0.0
    return float(low), float(brentq(lambda factor: excess(factor, 0.0, level).high, 0.0, widest))


def _low(excess: Excess, level: float) -> bool:
    return excess(0.0, 0.0, level).low > 0


def settled(found: Estimate, size: float) -> Estimate:
    """``found`` with bounds of 0 where rounding alone keeps them from it; ``size`` is what was subtracted."""
    least = _ROUNDING * max(abs(size), _ROUNDING)
    low, high = (0.0 if abs(bound) <= least else bound for bound in (found.low, found.high))
    return replace(found, low=low, high=high)


def _lowered(found: Estimate, offset: float) -> Estimate:
    return replace(found, value=found.value - offset, low=found.low - offset, high=found.high - offset)


def _student(level: float, n: int) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, max(n - 1, 1)))
