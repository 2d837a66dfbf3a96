"""From what probes measured to cells: no figure without its unit, its n, its interval and its source."""

from __future__ import annotations

import reprlib
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from slmeval.api import Probe
from slmeval.conditions import told_load
from slmeval.document import from_plain
from slmeval.errors import DataError, JobFailed
from slmeval.plan import Job, ProbeCell
from slmeval.types import (
    CellResult,
    Conditions,
    DataOrigin,
    Figure,
    Measurement,
    OptionValue,
    Series,
    Source,
    Verdict,
)

_LARGEST = sys.float_info.max
#: more values than can be counted are behind no figure
_MOST = 2**63 - 1


def merged(measurements: Sequence[Measurement]) -> tuple[Series, ...]:
    """The series of several workers, the values of those with one name one after the other.

    :raises ValueError: of one name they have different units.
    """
    found: dict[str, Series] = {}
    for series in (series for measurement in measurements for series in measurement.series):
        before = found.get(series.name)
        found[series.name] = series if before is None else _joined(before, series)
    return tuple(found.values())


def _joined(one: Series, other: Series) -> Series:
    if one.unit != other.unit:
        raise ValueError(f"series {one.name!r} is in {one.unit!r} and in {other.unit!r}")
    # what one worker had and another had not is told as it was had, with the reason of the one that had not
    best = one if one.values or not other.values else other
    note = "; ".join(dict.fromkeys(filter(None, (one.note, other.note))))
    return Series(one.name, one.unit, (*one.values, *other.values), best.source, note)


def measured_cell(job: Job, cell: ProbeCell, measurements: Sequence[Measurement]) -> CellResult:
    """What a probe's measurements come to; errors as of :func:`figures_of`."""
    series, figures = figures_of(cell.probe, cell.settings, measurements)
    notes = [note for each in measurements for note in each.notes]
    # said once, of the first worker that it is true of
    served = job.model.form == "server"
    loads = (told_load(each.conditions, job.place.machine().cores, served=served) for each in measurements)
    notes += [load for load in loads if load][:1]
    conditions = tuple(seen for each in measurements for seen in each.conditions)
    return _cell(job, cell, figures, series, conditions, tuple(dict.fromkeys(notes)))


def figures_of(
    probe: Probe, settings: Mapping[str, OptionValue], measurements: Sequence[Measurement]
) -> tuple[tuple[Series, ...], tuple[Figure, ...]]:
    """The series of several measurements, put together, and the figures that they come to.

    :raises JobFailed: the probe fails at making figures, or one of them lacks what it must have.
    """
    try:
        series = merged(measurements)
        figures = tuple(probe.figures(settings, {each.name: each for each in series}))
        wrong = unfit(figures)
    except (Exception, SystemExit) as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise JobFailed(f"probe {probe.name!r} makes no figures of what it measured: {told}") from error
    if wrong is not None:
        raise JobFailed(f"probe {probe.name!r} gave {wrong}")
    return series, figures


def unpacked(cell: ProbeCell, message: Mapping[str, Any]) -> Measurement:
    """The measurement in a worker's message.

    :raises JobFailed: it cannot be kept, or is not what a measurement must be.
    """
    try:
        measurement = from_plain(Measurement, message["measurement"], "its measurement")
    except DataError as error:
        raise JobFailed(f"probe {cell.probe.name!r} gave what cannot be kept: {error}") from None
    if (wrong := misfit(measurement)) is not None:
        raise JobFailed(f"probe {cell.probe.name!r} gave {wrong}")
    return measurement


def unavailable_cell(job: Job, cell: ProbeCell, reason: str) -> CellResult:
    """A probe of which nothing can be measured here, and why."""
    figure = Figure(cell.probe.name, None, None, None, 0, "", "unavailable", reason)
    return _cell(job, cell, (figure,), (), (), ())


def _cell(
    job: Job,
    cell: ProbeCell,
    figures: tuple[Figure, ...],
    series: tuple[Series, ...],
    conditions: tuple[Conditions, ...],
    notes: tuple[str, ...],
) -> CellResult:
    return CellResult(
        kind="probe",
        name=cell.probe.name,
        version=cell.probe.version,
        backend=job.backend.name,
        model=job.label,
        shots=0,
        seed=cell.seed,
        n=max((figure.n for figure in figures), default=0),
        sample=False,
        figures=figures,
        counts={},
        data=DataOrigin("random tokens", "", 0),
        notes=notes,
        settings=dict(cell.settings),
        series=series,
        conditions=conditions,
    )


# ---- what a stranger's probe says, checked ------------------------------------------------------------


def unfit(figures: Iterable[Any]) -> str | None:
    """The first thing wrong with a probe's figures, or ``None``: none of them, or what one of them lacks."""
    names: set[str] = set()
    for figure in figures:
        if not isinstance(figure, Figure) or not _is_text(figure.name):
            return f"{reprlib.repr(figure)} in place of a figure with a name"
        if figure.name in names:
            return f"two figures named {figure.name!r}"
        names.add(figure.name)
        if (lack := _lack(figure)) is not None:
            return f"figure {figure.name!r} {lack}"
    return None if names else "no figures"


def _lack(figure: Figure) -> str | None:
    if figure.source not in get_args(Source):
        return f"with the source {figure.source!r}, which is none of {', '.join(get_args(Source))}"
    if figure.verdict not in get_args(Verdict):
        return f"with the verdict {figure.verdict!r}"
    if not isinstance(figure.note, str) or not isinstance(figure.unit, str):
        return "with a note or a unit that is no text"
    of_source = _lack_of_reason if figure.source == "unavailable" else _lack_of_value
    return _unkept(figure) or of_source(figure)


def _unkept(figure: Figure) -> str | None:
    """What of it no document can hold, whatever its source is."""
    if type(figure.n) is not int or not 0 <= figure.n <= _MOST:
        return f"with n {reprlib.repr(figure.n)}"
    if figure.higher_is_better is not None and type(figure.higher_is_better) is not bool:
        return f"of which it is said that higher is better: {reprlib.repr(figure.higher_is_better)}"
    if not _are_numbers(figure.percentiles):
        return f"with percentiles that are no numbers: {reprlib.repr(figure.percentiles)}"
    return None


def _lack_of_reason(figure: Figure) -> str | None:
    told = [each for each in (figure.value, figure.stderr, figure.ci95) if each is not None]
    return "that is unavailable, and has a value, an error or no reason" if told or not figure.note else None


def _lack_of_value(figure: Figure) -> str | None:
    if not _is_number(figure.value):
        return f"with the value {reprlib.repr(figure.value)}"
    if not figure.unit:
        return "without a unit"
    if not figure.n:
        return "with n 0"
    if figure.stderr is not None and not (_is_number(figure.stderr) and figure.stderr >= 0):
        return f"with the standard error {reprlib.repr(figure.stderr)}"
    return _lack_of_interval(figure.value, figure.ci95)


def _lack_of_interval(value: Any, interval: Any) -> str | None:
    if not isinstance(interval, tuple) or len(interval) != 2 or not all(map(_is_number, interval)):
        return "without a 95% interval"
    if not interval[0] <= value <= interval[1]:
        return f"whose interval {interval} does not hold its value {value}"
    return None


def misfit(measurement: Any) -> str | None:
    """What is wrong with what a probe says that it measured, or ``None``."""
    if not isinstance(measurement, Measurement):
        return f"{reprlib.repr(measurement)} in place of a measurement"
    names = [series.name for series in measurement.series]
    if twice := next((name for name, times in Counter(names).items() if times > 1), None):
        return f"two series named {twice!r}"
    for series in measurement.series:
        if not series.name or not all(map(_is_number, series.values)):
            return f"a series {series.name!r} that has no name or is not of numbers"
        if (series.source == "unavailable") == bool(series.values) or not (series.values or series.note):
            return f"a series {series.name!r} that is {series.source} and has {len(series.values)} values"
    return None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_number(value: object) -> bool:
    # compared, because no function takes an integer of any size; NaN compares false
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _are_numbers(table: object) -> bool:
    return isinstance(table, Mapping) and all(map(_is_text, table)) and all(map(_is_number, table.values()))
