"""Two engines timed in turn, a few hundredths of a second each, until a rank test has decided every rule.

Whatever else a machine does, both sides of a pair have of it. A side's value in a pair is the better quartile
of its steps: other processes only take time away, so the faster steps are those in which the engine was let
run, and what makes an engine slower makes these slower too. Of each pair counts the logarithm of value over
limit; of all of them the signed-rank test's interval, at looks that were fixed before (group-sequential:
:func:`slmeval.sequences.look_levels_at`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from slmeval.api import Executor
from slmeval.differences import Estimate
from slmeval.errors import UsageError
from slmeval.gating import FAMILY
from slmeval.plan import Job
from slmeval.ranks import signed_rank, signed_rank_p
from slmeval.rules import Rule
from slmeval.runner import Progress
from slmeval.sequences import look_levels_at
from slmeval.timed_sides import TimedSide
from slmeval.verdicts import Answer

#: pairs at the most, where nobody says
PAIRS = 200
#: fewer have no interval of 95%
LEAST_PAIRS = 8
#: seconds of a turn, in which one side runs: two of each side make a pair
TURN = 0.05
#: shares of the pairs after which it is looked whether all is decided
LOOKS = (0.2, 0.3, 0.4, 0.55, 0.7, 0.85, 1.0)


@dataclass(frozen=True)
class TimedRule:
    """One rule, after both sides were timed in turn.

    ``excess`` is the logarithm of value over limit, with an interval that may be looked at as often as it
    was; ``values`` and ``baselines`` are each pair's, in ``unit``. With ``trouble`` there are none.
    """

    rule: Rule
    unit: str = ""
    values: tuple[float, ...] = ()
    baselines: tuple[float, ...] = ()
    excess: Estimate | None = None
    #: how often chance alone takes the pairs so far from the limit
    p: float = 1.0
    trouble: str = ""

    @property
    def answer(self) -> Answer:
        """Pass or fail where the interval leaves out the limit."""
        return self.rule.decide(self.excess.low, self.excess.high) if self.excess else "inconclusive"


def interleave(
    judged: Job,
    other: Job,
    rules: Sequence[Rule],
    executor: Executor,
    timeout: float,
    progress: Progress,
    *,
    pairs: int = PAIRS,
    jobs: int = 1,
) -> list[TimedRule]:
    """Hold ``judged`` against ``other`` by ``rules`` on one probe's figure each, in ``pairs`` at the most.

    ``jobs`` are how many jobs are so held in one gate: fails are corrected for their number and the rules'.

    :raises JobFailed: a side cannot be measured.
    :raises UnknownName: a rule's figure is none of its probe's.
    :raises UsageError: there are too few pairs for any answer, or a limit is not above 0.
    """
    if pairs < LEAST_PAIRS:
        raise UsageError(f"--pairs {pairs}: {LEAST_PAIRS} pairs or more have an interval")
    alpha = min(0.05, 2 * FAMILY / max(len(rules) * jobs, 1))
    schedule = _schedule(pairs, alpha)
    found: dict[Rule, TimedRule] = {}
    with TimedSide(judged, executor, timeout) as mine, TimedSide(other, executor, timeout) as theirs:
        for alike in _alike(rules):
            timing = _PairedTiming(mine, theirs, alike)
            found.update(zip(alike, _timed_until_decided(timing, alike, schedule, progress), strict=True))
    return [found[rule] for rule in rules]


def _schedule(pairs: int, alpha: float) -> list[tuple[int, float]]:
    """After how many pairs it is looked, and at which level."""
    looks = sorted({max(LEAST_PAIRS, math.ceil(share * pairs)) for share in LOOKS})
    return list(zip(looks, look_levels_at([look / pairs for look in looks], alpha), strict=True))


def _alike(rules: Sequence[Rule]) -> list[list[Rule]]:
    """Rules on one figure are decided by the same pairs."""
    found: dict[tuple[str, str], list[Rule]] = {}
    for rule in rules:
        found.setdefault((rule.task, rule.figure), []).append(rule)
    return list(found.values())


def _timed_until_decided(
    timing: _PairedTiming, rules: Sequence[Rule], schedule: Sequence[tuple[int, float]], progress: Progress
) -> list[TimedRule]:
    if timing.trouble:
        return [TimedRule(rule, trouble=timing.trouble) for rule in rules]
    progress.begin(timing.label, schedule[-1][0], "pair")
    try:
        for look, level in schedule:
            while len(timing.pairs) < look:
                timing.time_pair()
                progress.advance(1)
            found = [_weighed(rule, timing, level) for rule in rules]
            if all(each.answer != "inconclusive" for each in found):
                break
    finally:
        progress.end()
    return found


def _weighed(rule: Rule, timing: _PairedTiming, level: float) -> TimedRule:
    values, baselines = (tuple(each) for each in zip(*timing.pairs, strict=True))
    limits = [rule.limit(each, timing.unit) for each in baselines]
    if min(limits) <= 0:
        raise UsageError(
            f"rule {rule.text!r} has a limit of {min(limits):g} {timing.unit}, and no time is below 0"
        )
    logs = [math.log(value / limit) for value, limit in zip(values, limits, strict=True)]
    return TimedRule(rule, timing.unit, values, baselines, signed_rank(logs, level), signed_rank_p(logs))


# ---- pairs ---------------------------------------------------------------------------------------------


class _PairedTiming:
    """Two sides and a figure: one pair after another."""

    def __init__(self, mine: TimedSide, theirs: TimedSide, rules: Sequence[Rule]) -> None:
        self._sides, self._rule = (mine, theirs), rules[0]
        #: value and baseline of each pair
        self.pairs: list[tuple[float, float]] = []
        self.label = f"{self._rule.task}/{self._rule.figure}"
        begun = [side.begin(self._rule) for side in self._sides]
        self.trouble = next((each["lacks"] for each in begun if each["lacks"]), "")
        self._streams = all(each["streams"] for each in begun)
        self.unit, self._upward = begun[0]["unit"], bool(begun[0]["higher_is_better"])
        if self._streams and not self.trouble:
            for rule in rules:
                # a unit of another kind is found before anything is timed
                rule.offset_in(self.unit)
            # the first turn after the other side has warmed up is no turn like the others
            for side in self._sides:
                side.turn(TURN)

    def time_pair(self) -> None:
        """One more: each side before and after the other, and the other way round in the next."""
        order = (0, 1) if len(self.pairs) % 2 == 0 else (1, 0)
        taken: tuple[list[float], list[float]] = ([], [])
        for place in (*order, *order[::-1]) if self._streams else order:
            taken[place].extend(self._taken(self._sides[place]))
        value, baseline = (_quartile(each, upper=self._upward) for each in taken)
        self.pairs.append((value, baseline))

    def _taken(self, side: TimedSide) -> Sequence[float]:
        if self._streams:
            return side.turn(TURN)
        self.unit, value = side.whole(self._rule)
        return [value]


def _quartile(values: Sequence[float], *, upper: bool) -> float:
    ordered = sorted(values, reverse=upper)
    place = (len(ordered) - 1) / 4
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
