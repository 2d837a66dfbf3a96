"""JUnit XML, which every CI system shows: each rule of a gate, or each cell of a run, as a test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar, TextIO
from xml.etree import ElementTree

from slmeval.api import Reporter
from slmeval.builtin.reporters.answers import headline, named
from slmeval.builtin.reporters.text import value_text
from slmeval.text import clean
from slmeval.types import CellResult, Failure, RunResult
from slmeval.verdicts import GateReport, Judged

#: the outcomes of a test that a suite counts, by the name of their count
_COUNTS = {"failures": "failure", "errors": "error", "skipped": "skipped"}


class JunitReporter(Reporter):
    """JUnit XML: a rule that failed is a failure, one that is inconclusive is skipped, and says why."""

    name = "junit"
    suffix = "xml"
    writes: ClassVar[frozenset[str]] = frozenset({"run", "gate"})

    def write(self, run: RunResult, out: TextIO) -> None:
        tests = [*map(_cell, run.cells), *map(_failed, run.failures)]
        told = {"run": run.id, "status": run.status, "demo": str(run.demo).lower(), **run.versions}
        _write(_suite("slmeval run", tests, told.items()), out)

    def write_gate(self, report: GateReport, out: TextIO) -> None:
        tests = [_rule(each, name) for each, name in named(report)]
        told = [("run", report.run), ("baseline", report.baseline), ("answer", headline(report))]
        suite = _suite("slmeval gate", tests, told)
        if report.notes:
            _add(suite, "system-out", "\n".join(map(_xml, report.notes)))
        _write(suite, out)


# ---- tests -------------------------------------------------------------------------------------------


def _rule(each: Judged, name: str) -> ElementTree.Element:
    test = _test(f"slmeval gate.{each.model} · {each.backend}", name)
    if each.answer == "fail":
        _add(test, "failure", _xml(each.sentence), message=each.sentence, type="gate")
    elif each.answer == "inconclusive":
        # a failure would stop the pipeline, and a pass would be a lie
        _add(test, "skipped", message=f"inconclusive: {each.sentence}")
    _add(test, "system-out", _xml(each.sentence))
    return test


def _cell(cell: CellResult) -> ElementTree.Element:
    test = _test(f"slmeval run.{cell.model} · {cell.backend}", cell.label)
    if cell.figures:
        _properties(test, _figures(cell))
    if not any(figure.value is not None for figure in cell.figures):
        _add(test, "skipped", message="no figure is available")
    return test


def _figures(cell: CellResult) -> Iterator[tuple[str, str]]:
    for figure in cell.figures:
        yield figure.name, f"{value_text(figure)} {figure.unit}"


def _failed(failure: Failure) -> ElementTree.Element:
    side = f"{failure.model} · {failure.backend}"
    test = _test(f"slmeval run.{side}", f"{side} ran")
    _add(test, "error", _xml(failure.reason), message=failure.reason, type="job")
    return test


# ---- the document ------------------------------------------------------------------------------------


def _test(group: str, name: str) -> ElementTree.Element:
    return ElementTree.Element("testcase", classname=_xml(group), name=_xml(name))


def _suite(
    name: str, tests: list[ElementTree.Element], told: Iterable[tuple[str, str]]
) -> ElementTree.Element:
    counts = {count: str(_number_of(tests, outcome)) for count, outcome in _COUNTS.items()}
    suite = ElementTree.Element("testsuite", {"name": name, "tests": str(len(tests)), **counts})
    _properties(suite, told)
    suite.extend(tests)
    return suite


def _number_of(tests: Iterable[ElementTree.Element], outcome: str) -> int:
    return sum(test.find(outcome) is not None for test in tests)


def _properties(parent: ElementTree.Element, told: Iterable[tuple[str, str]]) -> None:
    properties = ElementTree.SubElement(parent, "properties")
    for name, value in told:
        _add(properties, "property", name=name, value=value)


def _add(parent: ElementTree.Element, tag: str, text: str | None = None, **attributes: str) -> None:
    """An element with text that is XML already, and attributes that need not be."""
    made = ElementTree.SubElement(parent, tag, {key: _xml(value) for key, value in attributes.items()})
    made.text = text


def _xml(text: str) -> str:
    """One clean line of characters that XML 1.0 knows: no controls, no surrogates, not U+FFFE, not U+FFFF."""
    return clean(text).translate({0xFFFE: None, 0xFFFF: None})


def _write(suite: ElementTree.Element, out: TextIO) -> None:
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    text = ElementTree.tostring(suites, encoding="unicode")
    out.write(f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')
