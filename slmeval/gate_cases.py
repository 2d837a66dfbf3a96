"""What a gate is to judge: each rule on each model's cell that it is about, with what it is held against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from slmeval.comparability import ended, unlike_settings
from slmeval.differences import Estimate
from slmeval.errors import UnknownName, UsageError
from slmeval.excess import Excess, Spread, above_items, above_number, above_other, settled
from slmeval.matching import CellPair, Matching, Unpaired, match, pairs_of, values_of
from slmeval.paired import Pairs
from slmeval.rules import Rule, cells_of, figure_of, matching
from slmeval.sides import Place, Side
from slmeval.timing_rules import UndecidedError, is_timing, steadied, swing
from slmeval.types import CellResult, DataOrigin, Figure

#: engine, model and ``task@shots``
CellName = tuple[str, str, str]


@dataclass(frozen=True)
class Case:
    """One rule on one figure.

    ``trouble`` says why it cannot be judged; then nothing below it stands. ``value`` and ``baseline`` are
    those of the items that both sides have. ``changed`` counts the items with another score; it is ``None``
    where items cannot be told apart, and ``unpaired`` says why not.
    """

    rule: Rule
    cell: CellResult
    figure: Figure
    level: float
    trouble: str = ""
    value: float = 0.0
    baseline: float | None = None
    excess: Excess | None = None
    items: int = 0
    changed: int | None = None
    unpaired: str = ""
    #: whether the baseline is a model of the same run, of which the others are to keep a share
    recovers: bool = False

    @property
    def name(self) -> str:
        """``task@shots/figure``."""
        return f"{self.cell.label}/{self.rule.figure}"

    @property
    def side(self) -> tuple[str, str]:
        """The engine and the model."""
        return self.cell.backend, self.cell.model

    @property
    def base(self) -> str:
        """What the value is held against, in words."""
        return "the base model" if self.recovers else "the baseline"

    @property
    def is_share(self) -> bool:
        """Whether it reads best in percent."""
        return self.figure.unit == "" and max(abs(self.value), abs(self.baseline or 0.0)) <= 1

    @property
    def offset(self) -> float:
        """The rule's, in the figure's unit."""
        return self.rule.offset_in(self.figure.unit)

    @cached_property
    def limit(self) -> float:
        """What the value is held against."""
        return self.rule.limit(self.baseline, self.figure.unit)

    @property
    def is_timing(self) -> bool:
        """Whether the figure is made of times."""
        return is_timing(self.figure)

    def at(self, level: float) -> Estimate:
        """How far the value lies above the limit."""
        assert self.excess is not None
        factor = 1.0 if self.rule.factor is None else self.rule.factor
        size = max(abs(self.value), abs(self.limit))
        return settled(self.excess(factor, self.offset, level), size)


def named(cell: CellResult) -> CellName:
    """Under what a cell is found in its run."""
    return cell.backend, cell.model, cell.label


@dataclass(frozen=True)
class Opposed:
    """A side that is judged, and the one that it is held against, if there is one."""

    side: Side
    matching: Matching | None
    #: what went wrong with the side in its run
    failures: tuple[str, ...] = ()


def opposed(
    sides: Sequence[Side], others: Sequence[Side], failures: Mapping[tuple[str, str], Sequence[str]]
) -> list[Opposed]:
    """Each of ``sides`` with its opposite: the only one there is, or the one of the same engine and model.

    :raises UsageError: there is none such.
    """
    return [
        Opposed(
            side,
            match(opposite_of(side, others), side) if others else None,
            tuple(failures.get((side.backend, side.model), ())),
        )
        for side in sides
    ]


def opposite_of(side: Side, others: Sequence[Side]) -> Side:
    """The only one of ``others``, or the one of the same engine and model, or of the same model.

    :raises UsageError: there is none such.
    """
    if len(others) == 1:
        return others[0]
    same = [each for each in others if (each.backend, each.model) == (side.backend, side.model)]
    found = same or [each for each in others if each.model == side.model]
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{each.backend}:{each.model}" for each in others)
    raise UsageError(
        f"{side.backend}:{side.model} of run {side.run} is none of those that {others[0].run} has ({names}): "
        "a baseline with one of them alone is held against any"
    )


# ---- from rules to cases ---------------------------------------------------------------------------------


class Cases:
    """Lays out the cases of a gate, and gathers what keeps sides from being compared."""

    def __init__(
        self,
        opposed: Sequence[Opposed],
        level: float,
        levels: Mapping[CellName, float],
        shared: bool,
        recovers: bool = False,
    ) -> None:
        """``levels`` are those of cells that have another than ``level`` or their stop's."""
        self._opposed = opposed
        self._level = level
        self._levels = levels
        self._shared = shared
        self._recovers = recovers
        #: what differs where that forbids a comparison, by cell
        self.unlike: dict[str, Sequence[str]] = {}
        #: what is to be said beside the answers
        self.notes: list[str] = []

    def of(self, rule: Rule) -> list[Case]:
        """The rule's, model by model.

        :raises UnknownName: nobody measured the figure.
        :raises UsageError: its unit is of another kind, or it needs a baseline, and there is none.
        """
        made = [case for each in self._opposed for case in self._of_side(rule, each)]
        if not made:
            # says which name would be right
            matching(rule, [cell for each in self._opposed for cell in _known(each)])
        return made

    def _of_side(self, rule: Rule, each: Opposed) -> Iterator[Case]:
        cells = cells_of(rule, each.side.cells)
        for cell in cells:
            yield self._case(rule, cell, each)
        there = cells_of(rule, each.matching.here.cells) if each.matching else ()
        lacking = [cell for cell in there if cell.label not in {each.label for each in cells}]
        if each.failures:
            unknown = not lacking and self._may_lack(rule, each, cells)
            yield from _lost(rule, each, [_nothing(rule, each.side)] if unknown else lacking)
        elif lacking and cells:
            names = ", ".join(cell.label for cell in lacking)
            self._note(
                f"{rule.text}: the baseline also has {names}, of which run {each.side.run} has nothing"
            )

    def _may_lack(self, rule: Rule, each: Opposed, cells: Sequence[CellResult]) -> bool:
        """Whether a rule may be about what failed, of which nothing tells the name."""
        if rule.needs_baseline and each.matching and not self._recovers:
            # what it is about is what the baseline has
            return False
        return not cells or any(sign in rule.task for sign in "*?[")

    def _case(self, rule: Rule, cell: CellResult, each: Opposed) -> Case:
        figure = figure_of(rule, cell)
        assert figure is not None, "matching cells have the figure"
        level = self._levels.get(named(cell)) or (cell.stop.level if cell.stop else self._level)
        bare, mine = Case(rule, cell, figure, level, recovers=self._recovers), Spread(cell, figure)
        if not rule.needs_baseline:
            return _absolute(bare, mine)
        if each.matching is None:
            raise UsageError(f"rule {rule.text!r} needs a baseline: name one with --baseline FILE")
        pair = next((pair for pair in each.matching.cells if pair.second.label == cell.label), None)
        figure = figure_of(rule, pair.first) if pair else None
        if pair is None or figure is None:
            here = each.matching.here
            known = {f"{cell.label}/{known.name}" for cell in here.cells for known in cell.figures}
            raise UnknownName(f"figure of the baseline {here.run}", bare.name, known)
        self._check(pair, each.matching)
        case = _relative(bare, mine, Spread(pair.first, figure), pair)
        return _steady(case, pair, (each.matching.here.place, each.side.place))

    def _check(self, pair: CellPair, found: Matching) -> None:
        """Gather what differs: in what was asked it may be waived, in what was measured it may not."""
        if different := [*unlike_settings(pair.first, pair.second)]:
            self.unlike[pair.name] = different
        elif (asked := found.differences.get(pair.name)) and not self._shared:
            self.unlike[pair.name] = asked
        elif asked:
            self._note(f"{pair.name}: held against the baseline on what both have ({'; '.join(asked)})")

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _known(each: Opposed) -> Sequence[CellResult]:
    """What a rule may be about: where the whole run failed, that is what the baseline has."""
    return each.side.cells or (each.matching.here.cells if each.matching else ())


def _lost(rule: Rule, each: Opposed, cells: Iterable[CellResult]) -> Iterator[Case]:
    """What the run has not, for a job of it failed."""
    reason = f"it was not measured: {'; '.join(each.failures)}"
    for cell in cells:
        figure = figure_of(rule, cell) or Figure(rule.figure, None, None, None, 0, "", "unavailable", reason)
        here = replace(cell, backend=each.side.backend, model=each.side.model)
        yield Case(rule, here, figure, 0.95, trouble=reason)


def _nothing(rule: Rule, side: Side) -> CellResult:
    """A cell that would have been there."""
    origin = DataOrigin("", "", 0)
    kind: Literal["task", "probe"] = "task" if rule.shots is not None else "probe"
    return CellResult(
        kind, rule.task, "", side.backend, side.model, rule.shots or 0, 0, 0, False, (), {}, origin
    )


def _absolute(bare: Case, mine: Spread) -> Case:
    if mine.trouble:
        return replace(bare, trouble=f"it has no value: {mine.trouble}")
    # a unit of another kind is found here
    bare.rule.limit(None, mine.figure.unit)
    return replace(bare, value=mine.value, excess=above_number(mine), items=mine.figure.n)


def _relative(bare: Case, mine: Spread, theirs: Spread, pair: CellPair) -> Case:
    if mine.trouble:
        return replace(bare, trouble=f"it has no value: {mine.trouble}")
    if theirs.trouble:
        return replace(bare, trouble=f"the baseline has no value: {theirs.trouble}")
    if mine.figure.unit != theirs.figure.unit:
        units = (
            f"{theirs.figure.unit or 'no unit'} in the baseline, {mine.figure.unit or 'no unit'} in the run"
        )
        raise UsageError(f"{bare.name} cannot be held against the baseline: it is in {units}")
    bare.rule.offset_in(mine.figure.unit)
    if pair.first.kind == "probe":
        return _unpaired(bare, mine, theirs, "")
    try:
        return _paired(bare, pairs_of(pair, bare.figure.name), more=_has_more(pair))
    except Unpaired as error:
        return _unpaired(bare, mine, theirs, str(error))


def _has_more(pair: CellPair) -> bool:
    """Whether there are items that one side, at least, was not asked: of the task, or of a member."""
    if ended(pair.first) or ended(pair.second) or any(map(_has_more, pair.members)):
        return True
    one, other = pair.first.outcomes, pair.second.outcomes
    return one is not None and other is not None and {*one.items} != {*other.items}


def _paired(bare: Case, pairs: Pairs, *, more: bool) -> Case:
    baseline, value = values_of(pairs)
    changed = sum(a != b for a, b in zip(pairs.first, pairs.second, strict=True))
    return replace(
        bare,
        value=value,
        baseline=baseline,
        excess=above_items(pairs, more=more),
        items=len(pairs.first),
        changed=changed,
    )


def _steady(case: Case, pair: CellPair, places: tuple[Place, Place]) -> Case:
    """A time counts only where a yardstick shows that the machine is as it was."""
    if case.trouble or case.excess is None or pair.first.kind != "probe" or not case.is_timing:
        return case
    try:
        by = swing(pair.first, pair.second, places)
    except UndecidedError as reason:
        return replace(case, trouble=str(reason))
    return replace(case, excess=steadied(case.excess, case.figure, by))


def _unpaired(bare: Case, mine: Spread, theirs: Spread, reason: str) -> Case:
    return replace(
        bare,
        value=mine.value,
        baseline=theirs.value,
        excess=above_other(mine, theirs),
        items=min(mine.figure.n, theirs.figure.n),
        unpaired=reason,
    )
