"""A run held against its rules: each one is answered pass, fail or inconclusive.

A rule is decided where the interval of how far the value lies above the limit leaves out 0. That a gate
passes takes all of its rules, so no correction is due; that it fails takes one, so chance has as many tries
as there are rules. Fails are therefore corrected for their number by Holm's step-down method (Scand. J.
Statist. 6, 1979), over all rules of the gate that chance can break.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from slmeval.differences import Estimate
from slmeval.errors import UnknownName, UsageError
from slmeval.gate_cases import Case, Cases, CellName, opposed
from slmeval.gate_sentences import sentence
from slmeval.rules import Rule
from slmeval.sides import Side, sides_of
from slmeval.types import RunResult
from slmeval.verdicts import Answer, GateReport, Judged

if TYPE_CHECKING:
    from slmeval.baselines import Baseline

#: how often a gate may fail, all its rules together, where nothing is worse: below the 5% that is promised,
#: for what the intervals of few items err by; one rule alone errs in half of what its interval leaves out
FAMILY = 0.04


def judge(
    run: RunResult,
    rules: Sequence[Rule],
    baseline: RunResult | Baseline | None = None,
    *,
    shared: bool = False,
    level: float = 0.95,
    levels: Mapping[CellName, float] | None = None,
    recovery_of: str = "",
) -> GateReport:
    """Hold ``run`` against ``rules``, and against ``baseline`` where these need one.

    With ``shared`` cells that were not asked alike are held against each other on the items of both.
    Intervals have the ``level``, or that of ``levels`` for their cell, or what the cell's stop asks for.
    ``recovery_of`` names a side of the run itself, which is then the baseline of the others.

    :raises UsageError: what was measured cannot be compared (what differs is told), or a rule fits nothing.
    """
    sides, others = sides_to_judge(run, baseline, recovery_of)
    cases = Cases(opposed(sides, others, _failures(run)), level, levels or {}, shared, bool(recovery_of))
    found = [case for rule in rules for case in cases.of(rule)]
    if cases.unlike:
        told = "; ".join(f"{name}: {', '.join(each)}" for name, each in cases.unlike.items())
        raise UsageError(
            f"run {run.id} cannot be held against {others[0].run}, which was asked otherwise: {told}"
        )
    answers = answers_of(found)
    judged = tuple(_judged(case, given) for case, given in zip(found, answers, strict=True))
    judged += tuple(_unreached(run, rules))
    return GateReport(run.id, others[0].run if others else "", judged, tuple(cases.notes))


def _unreached(run: RunResult, rules: Sequence[Rule]) -> Iterator[Judged]:
    """What an interrupted run says of the models that it did not come to: nothing."""
    if run.status != "interrupted":
        return
    asked = set(_asked_for(run))
    begun = {(cell.backend, cell.model) for cell in run.cells}
    begun |= {(failed.backend, failed.model) for failed in run.failures}
    if len(begun) >= len(asked):
        return
    reason = (
        f"not decided: the run was interrupted, and {len(asked) - len(begun)} of its {len(asked)} models "
        f"have no results: slmeval run --resume {run.id}"
    )
    for rule in rules:
        yield Judged(rule.text, "inconclusive", reason, rule.task, rule.shots, rule.figure, "", "")


def _asked_for(run: RunResult) -> Iterator[tuple[str, str]]:
    """The engines and models that a run was to measure, as they were named."""
    engines = run.options.backends or ("",)
    for engine in engines:
        for text in run.options.models or ("",):
            meant = text.partition("=")[0]
            if meant == engine or meant not in engines:
                yield engine, text.removeprefix(f"{engine}=")


# ---- sides -----------------------------------------------------------------------------------------------


def sides_to_judge(
    run: RunResult, baseline: RunResult | Baseline | None, recovery_of: str
) -> tuple[Sequence[Side], Sequence[Side]]:
    """Those that are judged, and those that they are held against.

    :raises UsageError: the run has no model called ``recovery_of``, several, or no other.
    """
    measured = sides_of(run) if run.cells else ()
    known = {(side.backend, side.model) for side in measured}
    lost = dict.fromkeys((failed.backend, failed.model) for failed in run.failures)
    sides = (*measured, *(Side(run.id, *key, ()) for key in lost if key not in known))
    if not recovery_of:
        return sides, sides_of(baseline) if baseline is not None else ()
    base = [
        side for side in sides if recovery_of in (f"{side.backend}:{side.model}", side.model, side.backend)
    ]
    if not base:
        names = {name for side in sides for name in (f"{side.backend}:{side.model}", side.model)}
        raise UnknownName("base model of this run", recovery_of, names)
    if len(base) > 1:
        meant = ", ".join(f"{side.backend}:{side.model}" for side in base)
        raise UsageError(f"--recovery-of {recovery_of} may mean {meant}: name one of them in full")
    rest = [side for side in sides if side is not base[0]]
    if not rest:
        raise UsageError(f"--recovery-of {recovery_of}: run {run.id} has no other model that could recover")
    return rest, base


def _failures(run: RunResult) -> Mapping[tuple[str, str], Sequence[str]]:
    """What went wrong in the run, by engine and model."""
    found: dict[tuple[str, str], list[str]] = {}
    for failed in run.failures:
        found.setdefault((failed.backend, failed.model), []).append(failed.reason)
    if run.status == "interrupted":
        for cell in run.cells:
            found.setdefault((cell.backend, cell.model), ["the run was interrupted"])
    return found


# ---- answers ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Given:
    """A case's answer.

    ``excess`` is what decided it; ``surer`` the wider interval that a fail would have taken, where the rule
    alone would have failed and is one of ``tries``.
    """

    answer: Answer
    excess: Estimate | None = None
    surer: Estimate | None = None
    tries: int = 1


def answers_of(cases: Sequence[Case]) -> list[Given]:
    """How each of a gate's cases is answered, fails corrected for their number."""
    given = [_alone(case) for case in cases]
    tries = sum(map(_is_chancy, given))
    failed = [place for place, each in enumerate(given) if each.answer == "fail" and _is_chancy(each)]
    failed.sort(key=lambda place: _certainty(given[place].excess), reverse=True)
    for rank, place in enumerate(failed):
        surer = _surer(cases[place], tries - rank)
        if surer is not None and cases[place].rule.decide(surer.low, surer.high) != "fail":
            for doubted in failed[rank:]:
                wider = _surer(cases[doubted], tries - rank)
                given[doubted] = replace(given[doubted], answer="inconclusive", surer=wider, tries=tries)
            break
    return given


def _alone(case: Case) -> Given:
    """The answer where the gate has no other rule."""
    if case.trouble:
        return Given("inconclusive")
    excess = case.at(case.level)
    return Given(case.rule.decide(excess.low, excess.high), excess)


def _is_chancy(given: Given) -> bool:
    return given.excess is not None and given.excess.low < given.excess.high


def _certainty(excess: Estimate | None) -> float:
    """How many of its own half widths it lies from 0."""
    assert excess is not None
    half = excess.high - excess.value if excess.value < 0 else excess.value - excess.low
    return abs(excess.value) / half if half else abs(excess.value)


def _surer(case: Case, tries: int) -> Estimate | None:
    """The interval that must leave out 0 where chance has so many tries; ``None``: the case's own will do."""
    level = surer_level(case.level, tries)
    return None if level == case.level else case.at(level)


def surer_level(level: float, tries: int) -> float:
    """The level at which one of so many rules must fail, where a rule alone takes ``level``."""
    share = 2 * FAMILY / tries / 0.05
    return level if share >= 1 else 1 - (1 - level) * share


def _judged(case: Case, given: Given) -> Judged:
    backend, model = case.side
    has_value = case.excess is not None
    told = sentence(case, given.answer, given.excess, given.surer, given.tries)
    return Judged(
        case.rule.text,
        given.answer,
        f"in chat: {told}" if case.cell.chat == "on" else told,
        case.cell.name,
        None if case.cell.kind == "probe" else case.cell.shots,
        case.rule.figure,
        backend,
        model,
        case.figure.unit,
        case.value if has_value else None,
        case.limit if has_value else None,
        case.baseline,
        given.excess,
        case.cell.chat,
    )
