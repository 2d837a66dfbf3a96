"""How a judged rule reads in a report of pytest: a few aligned lines, or properties for JUnit's XML."""

from __future__ import annotations

from slmeval.builtin.reporters.text import number
from slmeval.verdicts import Judged


def sentence_of(judged: Judged) -> str:
    """Its sentence, with what it is about."""
    return f"{judged.cell}/{judged.figure} of {judged.model} on {judged.backend}: {judged.sentence}"


def lines_of(judged: Judged) -> str:
    """The sentence, and below it what it is made of."""
    rows = [("rule", f"{judged.rule} ({judged.answer})"), *_numbers(judged)]
    width = max(len(name) for name, _ in rows)
    return "\n".join([sentence_of(judged), *(f"  {name:<{width}}  {text}" for name, text in rows)])


def properties_of(judged: Judged) -> list[tuple[str, object]]:
    """Name and value of each property; what is not known is left out."""
    excess = judged.excess
    interval = {} if excess is None else {"excess_low": excess.low, "excess_high": excess.high}
    named = {
        "rule": judged.rule,
        "answer": judged.answer,
        "model": f"{judged.model} on {judged.backend}",
        "value": judged.value,
        "limit": judged.limit,
        "baseline": judged.baseline,
        **interval,
        "unit": judged.unit or None,
    }
    return [(f"slmeval_{name}", value) for name, value in named.items() if value is not None]


def _numbers(judged: Judged) -> list[tuple[str, str]]:
    rows = [
        (name, _amount(value, value, judged.unit))
        for name, value in (("value", judged.value), ("limit", judged.limit), ("baseline", judged.baseline))
        if value is not None
    ]
    if judged.excess is not None and judged.value is not None:
        each = judged.excess
        low, high = (_amount(end, judged.value, "") for end in (each.low, each.high))
        above = _amount(each.value, judged.value, "")
        rows.append(("above limit", f"{above}, {each.level:.0%} interval {low} to {high}, n = {each.n:,}"))
    return rows


def _amount(value: float, scale: float, unit: str) -> str:
    text = number(value, scale)
    return f"{text} {unit}" if unit else text
