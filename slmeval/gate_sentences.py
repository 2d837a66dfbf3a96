"""The sentence that says why a rule was answered as it was, and what would decide one that was not."""

from __future__ import annotations

import math
from collections.abc import Iterator

from slmeval.differences import Estimate
from slmeval.excess import ratio
from slmeval.gate_cases import Case
from slmeval.verdicts import Answer

#: an answer, said of an interval, the side on which it may not be, and its limit
OF_INTERVAL = {"pass": "none of it is {} {}", "fail": "all of it is {} {}", "inconclusive": "{1} lies in it"}
#: the same of an exact value
_OF_VALUE = {"pass": "not {} {}", "fail": "{} {}", "inconclusive": "at {1}"}
#: more items than this are nothing that anybody would ask
_MOST = 10_000_000


def sentence(
    case: Case, answer: Answer, excess: Estimate | None, surer: Estimate | None = None, tries: int = 1
) -> str:
    """Value, baseline, difference with its interval, and why that is the ``answer``.

    ``surer`` is the interval that a fail would have taken, where the rule is one of ``tries``.
    """
    if excess is None:
        known = f"{_against(case)}, " if case.excess is not None else ""
        return f"{known}not decided: {case.trouble}"
    if excess.low == excess.high:
        return _exact(case, answer)
    shown = _Shown(case, excess)
    if surer is not None:
        return f"{shown.text}: alone it would fail, but {_doubt(case, surer, tries)}"
    told = f"{shown.text}: {OF_INTERVAL[answer].format(_wrong_side(case), shown.limit)}"
    return "; ".join((told, *_ways_out(case, excess, shown))) if answer == "inconclusive" else told


def _exact(case: Case, answer: Answer) -> str:
    """Of what has no error."""
    said = _OF_VALUE[answer].format(_wrong_side(case), f"the limit of {amount(case, case.limit)}")
    if case.changed == 0:
        all_ = f"all {case.items:,} items have" if case.items > 1 else "its one item has"
        alike = f"{all_} the same score as in {case.base}"
        return f"{amount(case, case.value)}, {said}: {alike}"
    return f"{_against(case)}, the same each time: {said}"


def _against(case: Case) -> str:
    """The value, and the baseline's where there is one."""
    against = "" if case.baseline is None else f" against {amount(case, case.baseline)} in {case.base}"
    return f"{amount(case, case.value)}{against}"


def _wrong_side(case: Case) -> str:
    return "below" if case.rule.upward else "above"


def _doubt(case: Case, surer: Estimate, tries: int) -> str:
    low, high = _bare(case, surer.low), _difference(case, surer.high)
    level = percent(surer.level)
    return f"of {tries} rules chance breaks one more often: {level} sure, it is {low} to {high} off the limit"


# ---- what was found --------------------------------------------------------------------------------------


class _Shown:
    """What was found, as suits the rule: the value, its share of the baseline, or how far it is from it.

    ``limit`` is what the interval in ``text`` is held against.
    """

    def __init__(self, case: Case, excess: Estimate) -> None:
        self._case, self._excess = case, excess
        self.shares = _shares(case, excess)
        if case.baseline is None:
            self.text, self.limit = self._alone(), f"the limit of {amount(case, case.limit)}"
        elif case.rule.factor == 1.0:
            self.text, self.limit = self._difference(), f"the limit of {_margin(case)}"
        elif self.shares is not None and not case.offset:
            assert case.rule.factor is not None
            self.text, self.limit = self._share(self.shares), f"the limit of {percent(case.rule.factor)}"
        else:
            self.text, self.limit = self._distance(), "the limit"

    def _alone(self) -> str:
        case, excess = self._case, self._excess
        low, high = (amount(case, bound + case.limit) for bound in (excess.low, excess.high))
        return f"{amount(case, case.value)} ({self._interval(low.partition(' ')[0], high)})"

    def _difference(self) -> str:
        case, excess = self._case, self._excess
        middle, low, high = (each + case.offset for each in (excess.value, excess.low, excess.high))
        share = f", {self._kept(self.shares)}" if self.shares and case.recovers else ""
        interval = self._interval(_bare(case, low), _difference(case, high))
        return f"{_against(case)}: {_difference(case, middle)} ({interval}){share}"

    def _share(self, shares: tuple[float, float]) -> str:
        case = self._case
        assert case.baseline is not None
        middle = percent(case.value / case.baseline)
        interval = self._interval(percent(shares[0]), percent(shares[1]))
        return f"{_against(case)}: {middle} of it ({interval})"

    def _kept(self, shares: tuple[float, float]) -> str:
        case = self._case
        assert case.baseline is not None
        return f"{percent(case.value / case.baseline)} of it ({percent(shares[0])} to {percent(shares[1])})"

    def _distance(self) -> str:
        case, excess = self._case, self._excess
        interval = self._interval(_bare(case, excess.low), _difference(case, excess.high))
        limit = f"which makes a limit of {amount(case, case.limit)}"
        return f"{_against(case)}, {limit}: {_difference(case, excess.value)} from it ({interval})"

    def _interval(self, low: str, high: str) -> str:
        return f"{percent(self._excess.level)} interval {low} to {high}; {_seen(self._case, self._excess)}"


def _shares(case: Case, excess: Estimate) -> tuple[float, float] | None:
    """The interval of value / baseline, where there is such."""
    if case.baseline is None or min(case.value, case.baseline) <= 0 or case.excess is None:
        return None
    if not (case.rule.factor != 1.0 or case.recovers):
        return None
    try:
        return ratio(case.excess, case.value, case.baseline, excess.level)
    except ValueError:
        return None


def _seen(case: Case, excess: Estimate) -> str:
    """In what it was seen."""
    machine = ", on this machine" if case.is_timing else ""
    if case.cell.kind == "probe":
        return f"{case.items:,} values{' on each side' if case.baseline is not None else ''}{machine}"
    clusters = f" in {excess.clusters:,} clusters" if excess.clusters else ""
    seen = f"{case.items:,} items{clusters}"
    if case.changed is not None:
        return f"{seen}, {case.changed:,} of them with another score"
    return f"{seen}, unpaired: {case.unpaired}" if case.unpaired else seen


# ---- what would decide it --------------------------------------------------------------------------------


def _ways_out(case: Case, excess: Estimate, shown: _Shown) -> Iterator[str]:
    yield f"it would pass with {_passing(case, excess, shown)}"
    if case.cell.kind != "probe" and (needed := _needed(case, excess)) is not None:
        there = case.cell.data.rows
        beyond = f", more than the {there:,} there are" if there and needed > there else ""
        yield f"some {needed:,} items would decide it, if the difference stays as it is{beyond}"


def _passing(case: Case, excess: Estimate, shown: _Shown) -> str:
    """The rule's right side that would have been kept, rounded to the safe side."""
    outward = math.floor if case.rule.upward else math.ceil
    bound = excess.low if case.rule.upward else excess.high
    if case.baseline is not None and case.rule.factor != 1.0 and shown.shares and not case.offset:
        share = shown.shares[0 if case.rule.upward else 1]
        return f"{case.rule.op} {outward(1000 * share) / 1000:g} * baseline"
    moved = case.offset + bound
    if case.is_share:
        points = outward(round(1000 * moved, 6)) / 10
        told = f"{abs(points):g}{'%' if case.baseline is None else 'pt'}"
    else:
        step = 10.0 ** (math.floor(math.log10(abs(moved))) - 2) if moved else 1.0
        points = outward(round(moved / step, 6)) * step
        told = f"{abs(points):.12g}{f' {case.figure.unit}' if case.figure.unit else ''}"
    if case.baseline is None:
        return f"{case.rule.op} {'-' if points < 0 else ''}{told}"
    factor = "" if case.rule.factor == 1.0 else f"{case.rule.factor:g} * "
    return f"{case.rule.op} {factor}baseline {'-' if points < 0 else '+'} {told}"


def _needed(case: Case, excess: Estimate) -> int | None:
    """How many items have an interval so narrow that the same difference is decided, to two digits."""
    if not excess.value:
        return None
    reach = excess.value - excess.low if excess.value > 0 else excess.high - excess.value
    needed = case.items * (reach / excess.value) ** 2
    if not needed < _MOST:
        return None
    step = int(10 ** max(math.floor(math.log10(needed)) - 1, 0))
    return math.ceil(needed / step) * step


# ---- numbers ---------------------------------------------------------------------------------------------


def amount(case: Case, value: float) -> str:
    """``41.25%``, ``184.7 MiB``"""
    if case.is_share:
        return percent(value)
    return f"{_number(value, value)}{f' {case.figure.unit}' if case.figure.unit else ''}"


def _difference(case: Case, value: float) -> str:
    """``-1.50 points``, ``+0.3 MiB``"""
    if case.is_share:
        return f"{100 * value + 0.0:+.2f} points"
    unit = f" {case.figure.unit}" if case.figure.unit else ""
    return f"{'+' if value >= 0 else ''}{_number(value, max(abs(value), abs(case.value) / 100))}{unit}"


def _bare(case: Case, value: float) -> str:
    """The difference without its unit."""
    return _difference(case, value).partition(" ")[0]


def _margin(case: Case) -> str:
    """How far from the baseline the limit is."""
    return _difference(case, case.offset) if case.offset else "0"


def percent(share: float) -> str:
    """``95%``, ``99.72%``"""
    return f"{100 * share + 0.0:.2f}".rstrip("0").rstrip(".") + "%"


def _number(value: float, scale: float) -> str:
    """Four digits of a number as large as ``scale``."""
    decimals = 3 - math.floor(math.log10(abs(scale))) if scale and math.isfinite(scale) else 0
    return f"{value + 0.0:,.{min(max(decimals, 0), 12)}f}"
