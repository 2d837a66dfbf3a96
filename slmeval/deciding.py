"""The rules that a run is to decide: which cells they are about, and whether enough of these is known.

A rule is decided as a gate decides it, by the interval of the level that is due at this look, so that what
was decided here is what the gate says of the run. Cells that a rule on a group's mean is about end together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from slmeval.baselines import Baseline
from slmeval.errors import UnknownName, UsageError
from slmeval.foreseen import foreseen_cells
from slmeval.gate_cases import Case, Cases, opposed
from slmeval.gating import surer_level
from slmeval.plan import CellKey, Chat, Job
from slmeval.rules import Rule, cells_of, matching
from slmeval.sides import Side, settings_of, sides_of
from slmeval.types import CellResult, RunOptions
from slmeval.verdicts import Answer

#: under what a cell of a job is found
_Key = tuple[Chat, CellKey]


@dataclass(frozen=True)
class Decision:
    """The rules that a run is to decide, and what they are held against.

    ``probes`` are the names of all that the run measures with: rules about these are for later. ``tries`` are
    the rules and cells that chance can break.
    """

    rules: tuple[Rule, ...]
    baseline: Baseline | None
    options: RunOptions
    probes: tuple[str, ...] = ()
    tries: int = 1

    def check(self, job: Job) -> int:
        """Whether each rule can be judged when ``job`` is done; on how many figures they are.

        :raises UnknownName: a rule names what is not measured, or not in the baseline.
        :raises UsageError: all rules are about probes, or what they are about was asked otherwise then.
        """
        cells = tuple(foreseen_cells(job))
        rules = [rule for rule in self.rules if self._found(rule, cells)]
        if not rules:
            raise UsageError(
                f"--until-decided: {self.rules[0].text!r} is about a probe, which is measured whole: slmeval "
                "gate decides it when the run has ended"
            )
        cases = self._cases(job, cells)
        found = [case for rule in rules for case in cases.of(rule)]
        if cases.unlike:
            told = "; ".join(f"{name}: {', '.join(each)}" for name, each in cases.unlike.items())
            raise UsageError(
                f"this run cannot be held against the baseline, which was asked otherwise: {told}"
            )
        for case in found:
            if case.cell.kind == "task":
                # a unit that the figure has not is found here
                case.rule.offset_in(case.figure.unit)
        return len(found)

    def about(self, job: Job) -> list[tuple[Rule, tuple[int, ...]]]:
        """For each figure that a rule is about: the rule, and the places of the cells that it takes."""
        places: dict[_Key, tuple[int, ...]] = {(c.chat, c.key): (at,) for at, c in enumerate(job.cells)}
        for group in job.groups:
            members = (places.get((group.chat, key), ()) for key in group.members)
            places[group.chat, (group.group.name, group.shots)] = tuple(at for each in members for at in each)
        cells = tuple(foreseen_cells(job))
        return [
            (rule, places[cell.chat, (cell.name, cell.shots)])
            for rule in self.rules
            for cell in self._found(rule, cells)
        ]

    def decided(self, job: Job, cells: Sequence[CellResult], level: float) -> int:
        """How many rules are decided by ``cells``, tasks and groups; 0 where one of them is not.

        ``level`` is that of the intervals; there are more items.
        """
        cases = self._cases(job, cells)
        rules = [rule for rule in self.rules if cells_of(rule, cells)]
        found = [case for rule in rules for case in cases.of(rule)]
        surer = surer_level(level, self.tries)
        if cases.unlike or not all(_is_decided(case, level, surer) for case in found):
            return 0
        return len(found)

    def _found(self, rule: Rule, cells: Sequence[CellResult]) -> tuple[CellResult, ...]:
        """The tasks and groups that a rule is about; none where it is about a probe.

        :raises UnknownName: there is nothing that it is about.
        """
        try:
            return matching(rule, cells)
        except UnknownName:
            if any(fnmatchcase(name, rule.task) for name in self.probes):
                return ()
            raise

    def _cases(self, job: Job, cells: Sequence[CellResult]) -> Cases:
        side = Side(
            "this run",
            job.backend.name,
            job.label,
            tuple(cells),
            settings_of(self.options),
            job.template,
            self.options,
        )
        others = sides_of(self.baseline, "the baseline") if self.baseline is not None else ()
        return Cases(opposed([side], others, {}), 0.95, {}, shared=False)


def _is_decided(case: Case, level: float, surer: float) -> bool:
    """A pass takes the interval of ``level``, a fail that which leaves chance as many tries as it has."""
    if case.trouble:
        return False
    answer = _answer(case, level)
    return answer == "pass" or (answer == "fail" and _answer(case, surer) == "fail")


def _answer(case: Case, level: float) -> Answer:
    found = case.at(level)
    return case.rule.decide(found.low, found.high)


def trials_of(cells: int, about: Iterable[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """Which of so many cells end together: those that one rule is about, and all others alone."""
    of = list(range(cells))
    for places in about:
        joined = {of[at] for at in places}
        of = [min(joined) if each in joined else each for each in of]
    return tuple(tuple(at for at in range(cells) if of[at] == first) for first in dict.fromkeys(of))
