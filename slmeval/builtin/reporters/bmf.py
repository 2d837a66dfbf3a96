"""Bencher Metric Format: benchmarks, their measures, and of each its value and bounds (see bencher.dev)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import ClassVar, TextIO

from slmeval.api import Reporter
from slmeval.text import clean
from slmeval.types import Figure, RunResult
from slmeval.verdicts import GateReport, Judged

#: longest name of a benchmark, and longest slug of a measure, that Bencher takes
_LONGEST_NAME, _LONGEST = 1024, 64

Metric = dict[str, float]
#: a benchmark, a measure's name as we write it, and its values
Line = tuple[str, str, Metric]


class BmfReporter(Reporter):
    """Bencher Metric Format (JSON), to follow figures over time; what is unavailable is left out."""

    name = "bmf"
    suffix = "bmf.json"
    writes: ClassVar[frozenset[str]] = frozenset({"run", "gate"})

    def write(self, run: RunResult, out: TextIO) -> None:
        _write(_measured(run), out)

    def write_gate(self, report: GateReport, out: TextIO) -> None:
        _write((line for each in report.judged for line in _judged(each)), out)


# ---- what is followed --------------------------------------------------------------------------------


def _measured(run: RunResult) -> Iterator[Line]:
    for cell in run.cells:
        benchmark = _benchmark(cell.backend, cell.model, cell.label)
        for figure in cell.figures:
            if figure.value is not None and figure.source != "unavailable":
                yield benchmark, figure.name, _metric(figure.value, *_ends(figure))


def _judged(each: Judged) -> Iterator[Line]:
    """The value as a run has it, and how far it lies above the rule's limit: 0 is where the rule turns."""
    benchmark = _benchmark(each.backend, each.model, each.cell)
    if each.value is not None:
        yield benchmark, each.figure, _metric(each.value, None, None)
    if each.excess is not None:
        excess = each.excess
        yield benchmark, f"{each.figure}-excess", _metric(excess.value, excess.low, excess.high)


def _benchmark(*parts: str) -> str:
    """``reference/tiny/arc_easy@0``: the same in every run, so that it can be followed."""
    return "/".join(map(clean, parts))[:_LONGEST_NAME]


def _ends(figure: Figure) -> tuple[float | None, float | None]:
    return figure.ci95 or (None, None)


def _metric(value: float, low: float | None, high: float | None) -> Metric:
    named = {"value": value, "lower_value": low, "upper_value": high}
    return {name: number for name, number in named.items() if number is not None and math.isfinite(number)}


# ---- the document ------------------------------------------------------------------------------------


def _write(lines: Iterator[Line], out: TextIO) -> None:
    found: dict[str, dict[str, Metric]] = {}
    for benchmark, measure, metric in lines:
        if "value" in metric:
            _put(found.setdefault(benchmark, {}), slug(measure), metric)
    out.write(json.dumps(found, indent=2, allow_nan=False) + "\n")


def _put(measures: dict[str, Metric], name: str, metric: Metric) -> None:
    """Under ``name``, or under the next that is free where another metric has it."""
    free, count = name, 1
    while measures.get(free, metric) != metric:
        count += 1
        free = f"{name[: _LONGEST - 4].rstrip('-')}-{count}"
    measures[free] = metric


def slug(name: str) -> str:
    """``acc-norm`` of ``acc_norm``: small Latin letters, digits and single hyphens between them."""
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST].rstrip("-") or "figure"
