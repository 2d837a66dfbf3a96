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
from types import TracebackType
from typing import Any

from slmeval.api import Executor
from slmeval.conversation import Conversation
from slmeval.differences import Estimate
from slmeval.errors import JobFailed, UnknownName, UsageError
from slmeval.gating import FAMILY
from slmeval.plan import Job, ProbeCell
from slmeval.probe_figures import measured_cell, unpacked
from slmeval.protocol import Message
from slmeval.ranks import signed_rank, signed_rank_p
from slmeval.rules import Rule, figure_of
from slmeval.runner import Progress
from slmeval.sequences import look_levels_at
from slmeval.types import CellResult
from slmeval.verdicts import Answer

#: pairs at the most, where nobody says
PAIRS = 200
#: fewer have no interval of 95%
LEAST_PAIRS = 8
#: seconds of a turn, in which one side runs: two of each side make a pair
TURN = 0.05
#: shares of the pairs after which it is looked whether all is decided
LOOKS = (0.2, 0.3, 0.4, 0.55, 0.7, 0.85, 1.0)
#: fresh workers of a measurement that takes some
_FRESH = 2


@dataclass(frozen=True)
class Contest:
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
    rivals: int = 1,
) -> list[Contest]:
    """Hold ``judged`` against ``other`` by ``rules`` on one probe's figure each, in ``pairs`` at the most.

    ``rivals`` are how many jobs are so held in one gate: fails are corrected for their number and the rules'.

    :raises JobFailed: a side cannot be measured.
    :raises UnknownName: a rule's figure is none of its probe's.
    :raises UsageError: there are too few pairs for any answer, or a limit is not above 0.
    """
    if pairs < LEAST_PAIRS:
        raise UsageError(f"--pairs {pairs}: {LEAST_PAIRS} pairs or more have an interval")
    alpha = min(0.05, 2 * FAMILY / max(len(rules) * rivals, 1))
    schedule = _schedule(pairs, alpha)
    found: dict[Rule, Contest] = {}
    with _Side(judged, executor, timeout) as mine, _Side(other, executor, timeout) as theirs:
        for alike in _alike(rules):
            match = _Match(mine, theirs, alike)
            found.update(zip(alike, _played(match, alike, schedule, progress), strict=True))
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


def _played(
    match: _Match, rules: Sequence[Rule], schedule: Sequence[tuple[int, float]], progress: Progress
) -> list[Contest]:
    if match.trouble:
        return [Contest(rule, trouble=match.trouble) for rule in rules]
    progress.begin(match.label, schedule[-1][0], "pair")
    try:
        for look, level in schedule:
            while len(match.pairs) < look:
                match.play()
                progress.advance(1)
            found = [_weighed(rule, match, level) for rule in rules]
            if all(each.answer != "inconclusive" for each in found):
                break
    finally:
        progress.end()
    return found


def _weighed(rule: Rule, match: _Match, level: float) -> Contest:
    values, baselines = (tuple(each) for each in zip(*match.pairs, strict=True))
    limits = [rule.limit(each, match.unit) for each in baselines]
    if min(limits) <= 0:
        raise UsageError(
            f"rule {rule.text!r} has a limit of {min(limits):g} {match.unit}, and no time is below 0"
        )
    logs = [math.log(value / limit) for value, limit in zip(values, limits, strict=True)]
    return Contest(rule, match.unit, values, baselines, signed_rank(logs, level), signed_rank_p(logs))


# ---- a match -------------------------------------------------------------------------------------------


class _Match:
    """Two sides and a figure: one pair after another."""

    def __init__(self, mine: _Side, theirs: _Side, rules: Sequence[Rule]) -> None:
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
                side.turn()

    def play(self) -> None:
        """One more: each side before and after the other, and the other way round in the next."""
        order = (0, 1) if len(self.pairs) % 2 == 0 else (1, 0)
        taken: tuple[list[float], list[float]] = ([], [])
        for place in (*order, *order[::-1]) if self._streams else order:
            taken[place].extend(self._taken(self._sides[place]))
        value, baseline = (_quartile(each, upper=self._upward) for each in taken)
        self.pairs.append((value, baseline))

    def _taken(self, side: _Side) -> Sequence[float]:
        if self._streams:
            return side.turn()
        self.unit, value = side.whole(self._rule)
        return [value]


def _quartile(values: Sequence[float], *, upper: bool) -> float:
    ordered = sorted(values, reverse=upper)
    place = (len(ordered) - 1) / 4
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


# ---- a side --------------------------------------------------------------------------------------------


class _Side:
    """One job, its model open in a worker that stays; what asks for fresh workers gets them."""

    def __init__(self, job: Job, executor: Executor, timeout: float) -> None:
        self._job, self._executor, self._timeout = job, executor, timeout
        self._talk: Conversation | None = None

    def __enter__(self) -> _Side:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._talk is not None:
            self._talk.close(kill=error is not None)

    def begin(self, rule: Rule) -> Message:
        """What the stream of a rule's figure is; where a probe takes fresh workers there is none."""
        cell = self._cell(rule)
        if cell.probe.workers:
            return {"lacks": None, "streams": False, "unit": "", "higher_is_better": None}
        return self._asked("stream", "streaming", **_asked_of(cell), figure=rule.figure)

    def turn(self) -> list[float]:
        """The figure's value in each step of one turn."""
        values: list[float] = self._asked("turn", "turned", seconds=TURN)["values"]
        return values

    def whole(self, rule: Rule) -> tuple[str, float]:
        """The unit and the value of the figure in a measurement of its own.

        :raises JobFailed: it has none.
        :raises UnknownName: there is no such figure.
        """
        cell = self._measured(self._cell(rule))
        figure = figure_of(rule, cell)
        if figure is None:
            known = [each.name for each in cell.figures]
            raise UnknownName(f"figure of probe {rule.task!r}", rule.figure, known)
        if figure.value is None or not 0 < figure.value < math.inf:
            raise JobFailed(
                f"{self._label}: {rule.task}/{rule.figure} has no value: {figure.note or figure.value}"
            )
        return figure.unit, figure.value

    def _measured(self, cell: ProbeCell) -> CellResult:
        if not cell.probe.workers:
            return measured_cell(self._job, cell, [unpacked(cell, self._probed(cell, 0))])
        found = []
        for place in range(min(cell.probe.workers, _FRESH)):
            self._close()
            found.append(unpacked(cell, self._probed(cell, place)))
        self._close()
        return measured_cell(self._job, cell, found)

    def _probed(self, cell: ProbeCell, place: int) -> Message:
        started = self._open().started
        beginning = {} if started is None else {"start": started}
        message = self._asked(
            "probe", "measured", number=place, **_asked_of(cell), beginning=beginning, yardstick=False
        )
        if message["lacks"] is not None:
            raise JobFailed(f"{self._label}: {message['lacks']}")
        return message

    def _asked(self, kind: str, answer: str, **fields: Any) -> Message:
        talk = self._open()
        talk.send(kind, **{"number": 0, **fields})
        message = talk.expect(answer, "unmeasured")
        if message["kind"] == "unmeasured":
            raise JobFailed(f"{self._label}: {message['message']}")
        return message

    def _open(self) -> Conversation:
        if self._talk is None:
            self._talk = Conversation(self._job, self._executor, self._timeout)
            self._talk.name_model()
        return self._talk

    def _close(self) -> None:
        if self._talk is not None:
            self._talk.close()
        self._talk = None

    def _cell(self, rule: Rule) -> ProbeCell:
        return next(each for each in self._job.probes if each.probe.name == rule.task)

    @property
    def _label(self) -> str:
        return f"{self._job.backend.name}:{self._job.label}"


def _asked_of(cell: ProbeCell) -> dict[str, Any]:
    return {"probe": cell.probe.name, "settings": dict(cell.settings), "seed": cell.seed}
