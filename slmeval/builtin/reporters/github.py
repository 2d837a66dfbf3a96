"""Annotations of GitHub Actions: lines that the page of a pull request shows."""

from __future__ import annotations

from typing import ClassVar, TextIO

from slmeval.api import Reporter
from slmeval.builtin.reporters.answers import headline, worst_first
from slmeval.builtin.reporters.text import plural
from slmeval.text import clean
from slmeval.types import RunResult
from slmeval.verdicts import GateReport

_LEVELS = {"fail": "error", "inconclusive": "warning"}


class GithubReporter(Reporter):
    """Annotations for GitHub Actions: an error for what failed, a warning for what is inconclusive."""

    name = "github"
    suffix = "github.txt"
    writes: ClassVar[frozenset[str]] = frozenset({"run", "gate"})

    def write(self, run: RunResult, out: TextIO) -> None:
        for failure in run.failures:
            out.write(_line("error", f"slmeval run: {failure.model} · {failure.backend}", failure.reason))
        if run.status == "interrupted":
            out.write(_line("warning", "slmeval run", f"interrupted: slmeval run --resume {run.id}"))
        figures = sum(len(cell.figures) for cell in run.cells)
        out.write(_line("notice", "slmeval run", f"Run {run.id}: {run.status}, {plural(figures, 'figure')}"))

    def write_gate(self, report: GateReport, out: TextIO) -> None:
        # GitHub shows the first ten of a level: what passed is one line
        for each, name in worst_first(report):
            if each.answer in _LEVELS:
                title = f"slmeval gate: {each.answer}: {name}"
                out.write(_line(_LEVELS[each.answer], title, each.sentence))
        out.write(_line("notice", "slmeval gate", headline(report)))


def _line(level: str, title: str, message: str) -> str:
    return f"::{level} title={_property(title)}::{_data(message)}\n"


def _data(text: str) -> str:
    """Escaped as actions/toolkit does (packages/core/src/command.ts); what is clean has no line ends."""
    return clean(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
