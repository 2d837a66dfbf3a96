"""How rules were answered, in words that all reports of a gate share."""

from __future__ import annotations

from collections.abc import Iterator

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
    cells: dict[str, set[str]] = {}
    models: dict[str, set[tuple[str, str]]] = {}
    for each in report.judged:
        cells.setdefault(each.rule, set()).add(each.cell)
        models.setdefault(each.rule, set()).add((each.model, each.backend))
    for each in report.judged:
        where = [each.cell] if len(cells[each.rule]) > 1 else []
        where += [f"{each.model} · {each.backend}"] if len(models[each.rule]) > 1 else []
        yield each, f"{each.rule} ({', '.join(where)})" if where else each.rule


def worst_first(report: GateReport) -> list[tuple[Judged, str]]:
    """As :func:`named`, those that failed first, those that passed last."""
    return sorted(named(report), key=lambda pair: WORST_FIRST.index(pair[0].answer))
