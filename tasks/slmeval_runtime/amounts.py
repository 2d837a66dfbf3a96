"""What probes give besides series of times: one value of each worker, or why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from slmeval.medians import exact_figure, median_figure, unavailable
from slmeval.types import Figure, Series, Source


def one(name: str, unit: str, value: float, source: Source = "measured", note: str = "") -> Series:
    """A single value."""
    return Series(name, unit, (float(value),), source, note)


def none(name: str, unit: str, why: str) -> Series:
    """No value, and why."""
    return Series(name, unit, (), "unavailable", why)


def figure_of(series: Series, *, higher_is_better: bool | None = None) -> Figure:
    """The median over workers, of which each gave one value; what is computed is the same in all of them."""
    name, unit, values = series.name, series.unit, series.values
    if series.source == "unavailable":
        return unavailable(name, unit, series.note)
    # one value that was measured has no error to give
    if len(set(values)) == 1 and (len(values) > 1 or series.source == "estimated"):
        return exact_figure(
            name,
            values[0],
            unit=unit,
            n=len(values),
            source=series.source,
            note=series.note,
            higher_is_better=higher_is_better,
        )
    return median_figure(
        name, values, unit=unit, note=series.note, source=series.source, higher_is_better=higher_is_better
    )


def unfit(several: Iterable[Series]) -> str | None:
    """Why ``several`` cannot be reckoned with worker by worker, or ``None``."""
    several = tuple(several)
    for series in several:
        if series.source == "unavailable":
            return f"{series.name}: {series.note}"
    short = min(several, key=lambda series: len(series.values))
    if any(len(series.values) != len(short.values) for series in several):
        return f"{short.name} is not known of all workers: {short.note}"
    return None


def summed(name: str, unit: str, series: Mapping[str, Series], parts: tuple[str, ...], note: str) -> Series:
    """The sum of several series, worker by worker; where one of them has no values, there is none."""
    if (why := unfit(series[part] for part in parts)) is not None:
        return none(name, unit, why)
    totals = tuple(map(sum, zip(*(series[part].values for part in parts), strict=True)))
    return Series(name, unit, totals, "measured", note)
