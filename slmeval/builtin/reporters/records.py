"""Reports for programs: the JSON document, and one CSV line per figure."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import ClassVar, TextIO

from slmeval.api import Reporter
from slmeval.builtin.reporters.documents import comparison_document, dump, gate_document
from slmeval.differences import Comparison
from slmeval.document import to_json
from slmeval.text import clean
from slmeval.types import CellResult, Figure, RunResult
from slmeval.verdicts import GateReport

#: a text that begins so is a formula to a spreadsheet (the wide forms to an East Asian one)
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")

COLUMNS = (
    "run", "demo", "status", "kind", "task", "version", "shots", "seed", "backend", "model", "sample",
    "figure", "value", "stderr", "ci95_low", "ci95_high", "n", "unit", "source", "note", "higher_is_better",
    "rows", "data_source", "data_sha256", "chat", "repeats", "verdict",
)  # fmt: skip


class JsonReporter(Reporter):
    """All of it as one JSON document: slmeval.run/1, slmeval.comparison/1 or slmeval.gate/1."""

    name = "json"
    suffix = "json"
    writes: ClassVar[frozenset[str]] = frozenset({"run", "comparison", "gate"})

    def write(self, run: RunResult, out: TextIO) -> None:
        out.write(to_json(run, indent=2) + "\n")

    def write_comparisons(self, comparisons: Sequence[Comparison], out: TextIO) -> None:
        out.write(dump(comparison_document(comparisons)))

    def write_gate(self, report: GateReport, out: TextIO) -> None:
        out.write(dump(gate_document(report)))


class CsvReporter(Reporter):
    """One line per figure, numbers in full; what failed stands in the JSON document alone."""

    name = "csv"
    suffix = "csv"

    def write(self, run: RunResult, out: TextIO) -> None:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([_field(value) for value in record] for record in _records(run))


def _records(run: RunResult) -> Iterator[tuple[object, ...]]:
    for cell in run.cells:
        for figure in cell.figures:
            head = (run.id, run.demo, run.status, *_cell_fields(cell))
            yield (*head, *_figure_fields(figure), *_data(cell), figure.verdict)


def _cell_fields(cell: CellResult) -> tuple[object, ...]:
    place = (cell.backend, cell.model)
    return (cell.kind, cell.name, cell.version, cell.shots, cell.seed, *place, cell.sample)


def _figure_fields(figure: Figure) -> tuple[object, ...]:
    low, high = figure.ci95 or (None, None)
    told = (figure.n, figure.unit, figure.source, figure.note, figure.higher_is_better)
    return (figure.name, figure.value, figure.stderr, low, high, *told)


def _data(cell: CellResult) -> tuple[object, ...]:
    return (cell.data.rows, cell.data.source, cell.data.sha256, cell.chat, cell.repeats)


def _field(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return value
    text = clean(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
