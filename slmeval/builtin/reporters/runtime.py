"""What a readable report says of probes beside their figures: how values spread, and how the machine was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from slmeval.builtin.reporters.text import number
from slmeval.types import CellResult, Conditions, Figure

Named = tuple[str, CellResult]
#: the others stand in the JSON report
_SHOWN = ("p5", "p50", "p95", "p99")


def spreads(named: Iterable[Named]) -> Iterator[tuple[str, str]]:
    """The percentiles of each figure that has them."""
    for label, cell in named:
        for figure in cell.figures:
            if figure.percentiles and figure.value is not None:
                yield f"{label}, {figure.name}", _percentiles(figure, figure.value)


def _percentiles(figure: Figure, scale: float) -> str:
    told = ", ".join(
        f"{name} {number(value, scale)}" for name, value in figure.percentiles.items() if name in _SHOWN
    )
    return f"{told} {figure.unit}".rstrip()


def conditions(named: Iterable[Named]) -> Iterator[tuple[str, str]]:
    """The machine while each probe measured, as far as it tells."""
    for label, cell in named:
        if told := "; ".join(_told(cell.conditions)):
            yield label, told


def _told(seen: Sequence[Conditions]) -> Iterator[str]:
    governors = dict.fromkeys(each.governor for each in seen if each.governor)
    yield from _range("clock", [each.clock for each in seen], "{:,.0f}", " MHz")
    if governors:
        yield f"governor {', '.join(governors)}"
    yield from _range("load", [each.load for each in seen], "{:.2f}")
    shares = [None if each.busy is None else 100 * each.busy for each in seen]
    yield from _range("other processes on", shares, "{:.0f}", "% of the cores' time")
    yield from _range("hottest sensor", [each.temperature for each in seen], "{:.0f}", " °C")


def _range(what: str, values: Sequence[float | None], form: str, unit: str = "") -> Iterator[str]:
    told = [value for value in values if value is not None]
    if told:
        ends = dict.fromkeys(form.format(value) for value in (min(told), max(told)))
        yield f"{what} {' to '.join(ends)}{unit}"
