"""A gate of which timing rules are measured on two sides in turn, and all others are judged as ever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from slmeval.against import against
from slmeval.confirming import Bench, Confirmed, Gate, confirm
from slmeval.errors import JobFailed, UsageError
from slmeval.registry import Registry
from slmeval.rules import Rule, cells_of, figure_of
from slmeval.timing_rules import is_timing
from slmeval.types import Failure, RunResult
from slmeval.verdicts import GateReport, Judged


def judge_in_turn(
    run: RunResult, gate: Gate, other: str, times: int, bench: Bench, pairs: int | None
) -> Confirmed:
    """Time the models against ``other``, in so many ``pairs`` at the most, for rules that are about times.

    ``times``: as :func:`slmeval.confirming.confirm` has it, for all other rules.

    :raises UsageError: no rule is about a time, or ``other`` cannot be timed.
    """
    timed = [rule for rule in gate.rules if is_about_time(rule, run, bench.registry)]
    if not timed:
        raise UsageError(f"--against {other} is for times, and no rule holds one against baseline")
    rest = [rule for rule in gate.rules if rule not in timed]
    plain = Confirmed(GateReport(run.id, "", ()))
    if rest:
        plain = confirm(run, replace(gate, rules=rest), times, bench)
    judged, failures = _timed(run, timed, other, bench, pairs)
    places = {rule.text: place for place, rule in enumerate(gate.rules)}
    ordered = sorted((*plain.report.judged, *judged), key=lambda each: places[each.rule])
    note = f"times were measured in turn with {other}, anew: they are not those of the run"
    report = replace(plain.report, judged=tuple(ordered), notes=(*plain.report.notes, note))
    return Confirmed(report, (*plain.failures, *failures))


def _timed(
    run: RunResult, rules: Sequence[Rule], other: str, bench: Bench, pairs: int | None
) -> tuple[Sequence[Judged], Sequence[Failure]]:
    told = {} if pairs is None else {"pairs": pairs}
    try:
        found = against(run.options, other, rules, bench.registry, bench.store, bench.progress, **told)
    except JobFailed as error:
        # what the other rules came to stands
        reason = f"not decided: it could not be timed: {error}"
        lost = [Judged(r.text, "inconclusive", reason, r.task, None, r.figure, "", "") for r in rules]
        return lost, [Failure("--against", other, str(error))]
    return found, ()


def is_about_time(rule: Rule, run: RunResult, registry: Registry) -> bool:
    """Whether a rule holds a time against the baseline; of one that the run has not, its probe tells it."""
    if not rule.needs_baseline:
        return False
    cells = cells_of(rule, run.cells)
    if not cells:
        return rule.task in registry.parts.probes
    figures = [figure_of(rule, cell) for cell in cells]
    return any(figure is not None and is_timing(figure) for figure in figures)
