"""How rules were answered, in words that all reports of a gate share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from slmeval.verdicts import Answer, GateReport, Judged

#: what must be looked at first stands first
WORST_FIRST: tuple[Answer, ...] = ("fail", "inconclusive", "pass")
_DONE: dict[Answer, str] = {"fail": "failed", "inconclusive": "inconclusive", "pass": "passed"}


def headline(report: GateReport) -> str:
    """``Gate: fail (1 failed, 1 inconclusive, 2 passed)``"""
    return f"Gate: {report.answer} ({counted(report)})"


def counted(report: GateReport) -> str:
    """How many rules were answered in each way; ways that no rule was answered in are left out."""
    told = [(report.count(answer), _DONE[answer]) for answer in WORST_FIRST]
    return ", ".join(f"{count} {done}" for count, done in told if count) or "no rules"


def named(report: GateReport) -> Iterator[tuple[Judged, str]]:
    """Each rule, in the order of the report, with a name that no other one has wherever that can be.

    One that was judged on several tasks or models is named with what these differ in.
    """
    for each in report.judged:
        alike = [other for other in report.judged if other.rule == each.rule]
        where = ", ".join(_where(each, alike))
        yield each, f"{each.rule} ({where})" if where else each.rule


def _where(each: Judged, alike: Sequence[Judged]) -> Iterator[str]:
    if any(other.cell != each.cell for other in alike):
        yield each.cell
    if any((other.model, other.backend) != (each.model, each.backend) for other in alike):
        yield f"{each.model} · {each.backend}"


def worst_first(report: GateReport) -> list[tuple[Judged, str]]:
    """As :func:`named`, those that failed first, those that passed last."""
    return sorted(named(report), key=lambda pair: WORST_FIRST.index(pair[0].answer))
