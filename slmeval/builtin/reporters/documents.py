"""Comparisons and gates as JSON documents, each of a schema of its own: strict JSON, in ASCII."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, cast

from slmeval.builtin.reporters.answers import WORST_FIRST
from slmeval.differences import Comparison
from slmeval.document import to_plain
from slmeval.verdicts import GateReport, Judged

COMPARISON = "slmeval.comparison/1"
GATE = "slmeval.gate/1"


def comparison_document(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """All that was compared, each figure with the label by which rules name it."""
    return {"schema": COMPARISON, "comparisons": [_comparison(each) for each in comparisons]}


def _comparison(each: Comparison) -> dict[str, Any]:
    figures = [{"label": figure.label, **to_plain(figure)} for figure in each.figures]
    return {**to_plain(each), "figures": figures}


def gate_document(report: GateReport) -> dict[str, Any]:
    """How the gate as a whole was answered, how many rules in each way, and each of them."""
    counts = {answer: report.count(answer) for answer in WORST_FIRST}
    plain = to_plain(report)
    plain["judged"] = [_judged(each) for each in report.judged]
    return {"schema": GATE, "answer": report.answer, "counts": counts, **plain}


def _judged(each: Judged) -> dict[str, Any]:
    return {"cell": each.cell, **to_plain(each)}


def dump(document: Mapping[str, Any]) -> str:
    """The document as text, with the line end of a file."""
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def schema_of(document: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a document, by the name that stands in it."""
    family, _, version = document.removeprefix("slmeval.").partition("/")
    text = (resources.files("slmeval.schema") / f"{family}-{version}.json").read_text(encoding="utf-8")
    return cast(dict[str, Any], json.loads(text))
