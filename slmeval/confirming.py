"""What a gate could not decide is measured again, until it is decided or the looks are used up.

Each further measurement is one more look at the same question. The intervals' levels are spent over all
looks, as they are planned before the first one (Lan and DeMets, Biometrika 70, 1983), so that all of them
together err no more often than one look does. :mod:`slmeval.growing` says what more there is of each cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from slmeval.errors import UsageError
from slmeval.gate_cases import CellName, named
from slmeval.gating import judge
from slmeval.growing import Growth, about, further, growth_of, joined
from slmeval.matching import figure_named
from slmeval.plan import Plan
from slmeval.planner import plan
from slmeval.registry import Registry
from slmeval.rules import Rule
from slmeval.run import execute
from slmeval.runner import Progress
from slmeval.store import Store
from slmeval.timing_rules import is_timing
from slmeval.types import CellResult, Failure, RunOptions, RunResult
from slmeval.verdicts import GateReport, Judged

if TYPE_CHECKING:
    from slmeval.baselines import Baseline


@dataclass(frozen=True)
class Bench:
    """What a further measurement takes."""

    registry: Registry
    store: Store
    progress: Progress


@dataclass(frozen=True)
class Gate:
    """A gate's rules, and what they are held against."""

    rules: Sequence[Rule]
    baseline: RunResult | Baseline | None = None
    shared: bool = False
    recovery_of: str = ""

    def judge(
        self, run: RunResult, levels: Mapping[CellName, float] | None = None, *, shared: bool = False
    ) -> GateReport:
        """As :func:`slmeval.gating.judge` does."""
        return judge(
            run,
            self.rules,
            self.baseline,
            shared=self.shared or shared,
            levels=levels,
            recovery_of=self.recovery_of,
        )


@dataclass(frozen=True)
class Confirmed:
    """The gate's report after its last look, and what failed on the way there."""

    report: GateReport
    failures: tuple[Failure, ...] = ()


def confirm(run: RunResult, gate: Gate, times: int, bench: Bench) -> Confirmed:
    """Judge ``run``, and up to ``times`` more what is not decided.

    :raises UsageError: the run's models, rows or tasks are not there; and as :func:`slmeval.gating.judge`.
    """
    return _Confirming(run, gate, times, bench).result()


class _Confirming:
    def __init__(self, run: RunResult, gate: Gate, times: int, bench: Bench) -> None:
        self._run, self._gate, self._times, self._bench = run, gate, times, bench
        self._growths = {
            named(cell): growth_of(cell, run, gate.rules, gate.baseline, times) for cell in _about(gate, run)
        }
        self._notes: list[str] = []
        self._failures: list[Failure] = []

    def result(self) -> Confirmed:
        """What came of all looks."""
        report = self._judge(0)
        for look in range(1, self._times + 1):
            wanted = self._wanted(report, look)
            if not wanted or self._failures:
                break
            made = self._measured(wanted, look)
            self._run = joined(self._run, made, self._bench.registry)
            self._see(wanted, look, made)
            shared = any(growth.kind == "repeats" for growth in wanted)
            report = _kept(report, self._judge(look, shared=shared))
        report = replace(report, notes=(*report.notes, *self._notes))
        return Confirmed(self._explained(report), tuple(self._failures))

    def _judge(self, look: int, *, shared: bool = False) -> GateReport:
        levels = {name: growth.level(look) for name, growth in self._growths.items()}
        return self._gate.judge(self._run, levels, shared=shared)

    def _growth(self, judged: Judged) -> Growth | None:
        """That of the cell that was judged."""
        return self._growths.get((judged.backend, judged.model, judged.cell))

    def _wanted(self, report: GateReport, look: int) -> list[Growth]:
        """What of that which is not decided has more at this look."""
        open_ones = [each for each in report.judged if each.answer == "inconclusive" and each.excess]
        found = [
            growth for each in open_ones if (growth := self._growth(each)) and not _is_time(each, growth)
        ]
        return [growth for growth in dict.fromkeys(found) if look < growth.looks]

    def _measured(self, wanted: Sequence[Growth], look: int) -> RunResult:
        options = further(self._run, wanted, look, self._bench.registry)
        planned = replace(_narrowed(self._planned(options), self._sides(wanted)), confirms=self._run.id)
        made = execute(planned, self._bench.registry, self._bench.store, self._bench.progress)
        if made.status == "interrupted":
            raise KeyboardInterrupt
        self._failures += made.failures
        return made

    def _see(self, wanted: Sequence[Growth], look: int, made: RunResult) -> None:
        """Note what there is more of now; of some data sets fewer rows are here than they have."""
        cells = {named(cell): cell for cell in self._run.cells}
        for growth in wanted:
            found = cells[named(growth.cell)].n
            if growth.kind == "items" and found < growth.sizes[look]:
                self._growths[named(growth.cell)] = growth.ended_at(look, found)
        said = ", ".join(growth.said(look, cells[named(growth.cell)].n) for growth in wanted)
        self._notes.append(f"what was not decided was measured again as run {made.id}: {said}")

    def _planned(self, options: RunOptions) -> Plan:
        try:
            return plan(options, self._bench.registry.parts, self._bench.store.file_hash)
        except UsageError as error:
            raise UsageError(f"--confirm cannot measure run {self._run.id} again: {error}") from None

    def _sides(self, wanted: Sequence[Growth]) -> set[tuple[str, str]]:
        """The models to ask; for a recovery they are all, since the base is one of them."""
        if self._gate.recovery_of:
            return {(cell.backend, cell.model) for cell in self._run.cells}
        return {(growth.cell.backend, growth.cell.model) for growth in wanted}

    def _explained(self, report: GateReport) -> GateReport:
        """The report that says of what is not decided why no more of it was measured."""
        return replace(report, judged=tuple(map(self._with_reason, report.judged)))

    def _with_reason(self, judged: Judged) -> Judged:
        growth = self._growth(judged)
        if judged.answer != "inconclusive" or judged.excess is None or growth is None:
            return judged
        reason = growth.end(self._times)
        if _is_time(judged, growth):
            reason = "times are decided by --against alone"
        elif self._failures:
            reason = "measuring more of it failed"
        return replace(judged, sentence=f"{judged.sentence}; {reason}")


def _about(gate: Gate, run: RunResult) -> list[CellResult]:
    """The cells that a rule is about."""
    return [cell for cell in run.cells if about(cell, gate.rules)]


def _is_time(judged: Judged, growth: Growth) -> bool:
    figure = figure_named(growth.cell, judged.figure)
    return figure is not None and is_timing(figure)


def _kept(before: GateReport, now: GateReport) -> GateReport:
    """What was decided before stays so: no later look can take it back."""
    pairs = zip(before.judged, now.judged, strict=True)
    return replace(now, judged=tuple(then if then.answer != "inconclusive" else each for then, each in pairs))


def _narrowed(planned: Plan, sides: set[tuple[str, str]]) -> Plan:
    """The plan for these models alone.

    :raises UsageError: one of them is not in it.
    """
    jobs = tuple(job for job in planned.jobs if (job.backend.name, job.label) in sides)
    refused = tuple(each for each in planned.refused if (each.backend, each.model) in sides)
    lacking = (
        sides - {(job.backend.name, job.label) for job in jobs} - {(e.backend, e.model) for e in refused}
    )
    if lacking:
        names = ", ".join(sorted(f"{backend}:{model}" for backend, model in lacking))
        raise UsageError(f"--confirm cannot measure {names} again: the run's models are called otherwise now")
    return replace(planned, jobs=jobs, refused=refused)
