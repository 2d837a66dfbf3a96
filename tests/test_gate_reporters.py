"""Reports of comparisons and of gates: all that must be said, in forms that CI systems read."""

from __future__ import annotations

import io
import json
import re
import types
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

import example_runs as examples
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from slmeval import differences, hookimpl, verdicts
from slmeval.api import Reporter
from slmeval.builtin.reporters import (
    BmfReporter,
    CsvReporter,
    GithubReporter,
    JsonReporter,
    JunitReporter,
    MarkdownReporter,
    TableReporter,
)
from slmeval.builtin.reporters.answers import named
from slmeval.builtin.reporters.bmf import slug
from slmeval.builtin.reporters.documents import schema_of
from slmeval.builtin.reporters.text import last_part, markdown, signed
from slmeval.cli.output import choose_reporter, report_comparisons, report_gate, reporters_into
from slmeval.differences import Compared, Comparison, Estimate, FigureDifference, Flip
from slmeval.errors import JobFailed, UnknownName, UsageError
from slmeval.registry import load
from slmeval.types import Failure, Figure, RunResult
from slmeval.verdicts import GateReport, Judged

HOSTILE = (
    "x|y\n::error::\x1b[31mred\x1b[0m \x1b]0;title\x07\r\u202e`<b>`]]>&\ufffe\uffff\ud800 [a](b) @all #1,%0A"
)
GATES = [TableReporter, MarkdownReporter, JsonReporter, JunitReporter, BmfReporter, GithubReporter]
READABLE = pytest.mark.parametrize("kind", [TableReporter, MarkdownReporter], ids=["table", "md"])

EXCESS = Estimate(-0.03, -0.045, -0.015, 0.0077, 2376, "paired bootstrap")
FAILED = Judged(
    "arc_easy/acc_norm >= baseline - 1pt",
    "fail",
    "0.3825 lies 3.00 points below the limit 0.4125 [-4.50, -1.50].",
    *("arc_easy", 0, "acc_norm", "reference", "tiny"),
    value=0.3825,
    limit=0.4125,
    baseline=0.4225,
    excess=EXCESS,
)
OPEN = replace(
    FAILED,
    rule="hellaswag/acc >= baseline",
    answer="inconclusive",
    sentence="The interval [-0.02, 0.01] straddles the limit.",
    task="hellaswag",
    figure="acc",
    excess=replace(EXCESS, value=-0.005, low=-0.02, high=0.01),
)
PASSED = Judged(
    "memory/peak <= 1.05 * baseline",
    "pass",
    "1.50 GiB is at most 1.58 GiB.",
    *("memory", None, "peak", "reference", "tiny", "GiB"),
    value=1.5,
    limit=1.575,
    baseline=1.5,
)
GATE = GateReport("20260801-101500-ab12", "gates/baseline.json", (PASSED, FAILED, OPEN), ("seen on CPU",))

LOST = FigureDifference(
    *("arc_easy", 0, "acc", "", True, 0.4125, 0.4),
    Estimate(-0.0125, -0.024, -0.001, 0.0058, 2376, "paired bootstrap"),
    *(12, 41, 2376, 0.00008, 0.0002, 0.0162),
)
SAME = FigureDifference(
    *("boolq", 5, "bits_per_byte", "bits/byte", False, 1.06, 1.05),
    Estimate(-0.01, -0.03, 0.01, 0.01, 500, "paired bootstrap", clusters=57),
    *(200, 190, 500),
    chat="on",
)
APART = FigureDifference(
    "gsm8k", 5, "pass@4", "", True, 0.1, None, None, note="it comes of no scores by item"
)
FLIP = Flip(
    "arc_easy@0", "acc", "0123456789ab", 17, 1.0, 0.0, 0.31, -0.12, "Question: " + "why? " * 60 + "End"
)
FIRST = Compared("20260801-101500-ab12", "reference", "tiny", "float32")
SECOND = Compared("20260802-101500-cd34", "hf", "tiny", "int8")
COMPARISON = Comparison(FIRST, SECOND, (LOST, SAME, APART), (FLIP,), ("compared on 2,376 items",))


def gate_text(kind: type[Reporter], gate: GateReport = GATE) -> str:
    out = io.StringIO()
    kind().write_gate(gate, out)
    return out.getvalue()


def comparison_text(kind: type[Reporter], *comparisons: Comparison) -> str:
    out = io.StringIO()
    kind().write_comparisons(comparisons or (COMPARISON,), out)
    return out.getvalue()


def run_text(kind: type[Reporter], run: RunResult) -> str:
    out = io.StringIO()
    kind().write(run, out)
    return out.getvalue()


def flat(text: str) -> str:
    return " ".join(text.split())


# ---- readers: gates ----------------------------------------------------------------------------------


@READABLE
def test_the_verdict_stands_first_with_how_many_rules_were_answered_how(kind: type[Reporter]) -> None:
    first = gate_text(kind).splitlines()[0]
    assert first.strip("*") == "Gate: fail (1 failed, 1 inconclusive, 1 passed)."


@READABLE
@pytest.mark.parametrize(
    ("judged", "told"),
    [((PASSED,), "pass (1 passed)"), ((OPEN, PASSED), "inconclusive (1 inconclusive, 1 passed)")],
)
def test_the_verdict_is_that_of_the_worst_rule(
    kind: type[Reporter], judged: tuple[Judged, ...], told: str
) -> None:
    assert f"Gate: {told}." in gate_text(kind, replace(GATE, judged=judged)).splitlines()[0]


@READABLE
def test_each_rule_is_told_with_its_sentence_the_failed_ones_first(kind: type[Reporter]) -> None:
    text = flat(gate_text(kind).replace("\\", ""))
    places = [text.index(each.rule) for each in (FAILED, OPEN, PASSED)]
    assert places == sorted(places)
    for fact in (FAILED.sentence, OPEN.sentence, PASSED.sentence, "gates/baseline.json", "seen on CPU"):
        assert fact in text


def test_plain_signs_survive_any_console() -> None:
    told = gate_text(TableReporter).splitlines()
    assert "! FAIL          arc_easy/acc_norm >= baseline - 1pt" in told
    assert "? INCONCLUSIVE  hellaswag/acc >= baseline" in told
    assert "+ PASS          memory/peak <= 1.05 * baseline" in told
    assert told[told.index("+ PASS          memory/peak <= 1.05 * baseline") + 1].strip() == PASSED.sentence
    assert gate_text(TableReporter).isascii()
    assert max(map(len, told)) <= 100


def test_what_passed_is_folded_in_markdown() -> None:
    text = gate_text(MarkdownReporter)
    before, _, folded = text.partition("<details>\n<summary>1 rule passed</summary>\n\n")
    assert "❌ fail" in before
    assert "❔ inconclusive" in before
    assert "✅ pass" not in before
    assert "✅ pass" in folded.partition("\n\n</details>")[0]


@READABLE
def test_a_rule_judged_on_several_models_names_each(kind: type[Reporter]) -> None:
    other = replace(FAILED, backend="hf", answer="pass", sentence="fine")
    text = flat(gate_text(kind, replace(GATE, judged=(FAILED, other, PASSED))).replace("\\", ""))
    assert "arc_easy/acc_norm >= baseline - 1pt (tiny · hf)" in text
    assert "arc_easy/acc_norm >= baseline - 1pt (tiny · reference)" in text
    assert "memory/peak <= 1.05 * baseline (" not in text


def test_a_rule_judged_plainly_and_in_chat_names_each() -> None:
    gate = replace(GATE, judged=(FAILED, replace(FAILED, chat="on")))
    assert [name for _, name in named(gate)] == [
        f"{FAILED.rule} (arc_easy@0)",
        f"{FAILED.rule} (arc_easy@0 in chat)",
    ]


def test_a_pattern_judged_on_several_tasks_names_each() -> None:
    pair = tuple(
        replace(FAILED, rule="*/acc >= 0.3", shots=shots, task=task) for task, shots in (("a", 0), ("b", 5))
    )
    text = gate_text(TableReporter, replace(GATE, judged=pair))
    assert "*/acc >= 0.3 (a@0)" in text
    assert "*/acc >= 0.3 (b@5)" in text


@READABLE
def test_a_gate_without_rules_or_baseline_can_be_told(kind: type[Reporter]) -> None:
    text = gate_text(kind, GateReport("r", "", ()))
    assert "no rules" in text
    assert "against" not in text


# ---- readers: comparisons ----------------------------------------------------------------------------


def comparison_rows(text: str) -> list[dict[str, str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    head, _, *rows = [[part.strip() for part in line.strip("|").split("|")] for line in lines]
    return [dict(zip(head, row, strict=True)) for row in rows]


def test_a_comparison_can_be_read_back_from_markdown() -> None:
    lost, same, apart = comparison_rows(comparison_text(MarkdownReporter))
    assert lost == {
        "Figure": "arc_easy@0/acc",
        "float32": "0.4125",
        "int8": "0.4000",
        "Change": "-0.0125",
        "95% CI": "[-0.0240, -0.0010]",
        "Gained/lost": "12/41",
        "p (Holm)": "0.0002",
        "Detectable": "0.0162",
        "n": "2,376",
    }
    assert same["Figure"] == "boolq@5 in chat/bits_per_byte (bits/byte)"
    assert (same["p (Holm)"], same["Detectable"], same["n"]) == ("", "", "500")
    assert (apart["int8"], apart["Change"]) == ("unavailable", "not compared")


@READABLE
def test_a_comparison_says_which_sides_and_what_is_shown(kind: type[Reporter]) -> None:
    text = flat(comparison_text(kind))
    second, first = "int8 (tiny · hf, run 20260802-101500-cd34)", "float32 (tiny · reference, run 20260801"
    assert f"{second} against {first}" in text
    assert "Worse: arc_easy@0/acc. Not shown to differ: 1 figure." in text
    assert "compared on 2,376 items" in text
    assert "Intervals: paired bootstrap, paired bootstrap (57 clusters)." in text
    assert "gsm8k@5/pass@4: it comes of no scores by item" in text


@READABLE
def test_what_a_sides_label_says_is_not_said_again(kind: type[Reporter]) -> None:
    sides = {"first": replace(FIRST, label=FIRST.run), "second": replace(SECOND, label="tiny · hf")}
    text = flat(comparison_text(kind, replace(COMPARISON, **sides)))
    assert f"tiny · hf (run {SECOND.run}) against {FIRST.run} (tiny · reference)." in text


def test_p_decides_where_there_is_one_and_the_interval_where_there_is_none() -> None:
    figures = (
        replace(LOST, task="corrected_away", p=0.02, p_holm=0.06),
        replace(SAME, task="lower", change=replace(cast(Estimate, SAME.change), high=-0.001)),
        replace(
            SAME,
            task="neither",
            change=replace(cast(Estimate, SAME.change), high=-0.001),
            higher_is_better=None,
        ),
    )
    text = flat(comparison_text(TableReporter, replace(COMPARISON, figures=figures)))
    assert "Better: lower@5 in chat/bits_per_byte. Changed: neither@5 in chat/bits_per_byte. " in text
    assert "Not shown to differ: 1 figure." in text
    assert "Worse" not in text


@READABLE
def test_flips_are_told_with_the_end_of_their_prompts_and_margins(kind: type[Reporter]) -> None:
    text = flat(comparison_text(kind))
    assert re.search("(-|score) arc_easy@0/acc, row 17:? 1 → 0, margin \\+0.310 → -0.120 nats: …", text)
    assert "why? End" in text
    assert "Question:" not in text
    bare = replace(FLIP, row=None, margin_before=None, margin_after=None, prompt=None)
    text = flat(comparison_text(kind, replace(COMPARISON, flips=(bare,))))
    assert re.search("item 0123456789ab:? 1 → 0 (Notes|</details>)", text)


@READABLE
def test_of_very_many_flips_the_rest_is_left_to_the_json_report(kind: type[Reporter]) -> None:
    text = comparison_text(kind, replace(COMPARISON, flips=(FLIP,) * 1234))
    assert "1,234 items with another score" in text
    assert "1,034 more stand in the JSON report." in text
    assert "more stand" not in comparison_text(kind, replace(COMPARISON, flips=(FLIP,) * 200))


@READABLE
def test_a_comparison_of_nothing_says_so(kind: type[Reporter]) -> None:
    out = io.StringIO()
    kind().write_comparisons((), out)
    assert out.getvalue() == "Nothing was compared.\n"
    empty = comparison_text(kind, replace(COMPARISON, figures=(), flips=()))
    assert "No figure could be compared." in empty


def test_different_levels_are_not_told_as_one() -> None:
    other = replace(SAME, change=replace(cast(Estimate, SAME.change), level=0.99))
    assert "% CI" not in comparison_text(TableReporter, replace(COMPARISON, figures=(LOST, other)))


@pytest.mark.parametrize(
    ("value", "scale", "told"),
    [(0.0125, 0.4, "+0.0125"), (-0.00001, 0.4, "0.0000"), (-12.34, 1234.5, "-12.3"), (0.0, 0.4, "0.0000")],
)
def test_a_change_has_a_sign_unless_it_is_nothing(value: float, scale: float, told: str) -> None:
    assert signed(value, scale) == told


def test_a_number_that_is_not_finite_is_told_as_it_is() -> None:
    odd = replace(LOST, first=float("inf"), change=Estimate(float("nan"), float("-inf"), 1.0, 1.0, 2, "m"))
    text = comparison_text(TableReporter, replace(COMPARISON, figures=(odd,)))
    assert "[-inf, 1.0000]" in text


# ---- hostile text ------------------------------------------------------------------------------------


def hostile_gate() -> GateReport:
    texts: Any = dict.fromkeys(("rule", "sentence", "task", "figure", "backend", "model", "unit"), HOSTILE)
    judged = tuple(replace(FAILED, answer=answer, **texts) for answer in ("fail", "inconclusive", "pass"))
    return GateReport(HOSTILE, HOSTILE, judged, (HOSTILE,))


def hostile_comparison() -> Comparison:
    side = Compared(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    figures = tuple(
        replace(each, task=HOSTILE, figure=HOSTILE, unit=HOSTILE, note=HOSTILE) for each in (LOST, APART)
    )
    flip = replace(FLIP, task=HOSTILE, figure=HOSTILE, item=HOSTILE, prompt=HOSTILE)
    return Comparison(side, side, figures, (flip,), (HOSTILE,))


def hostile_run() -> RunResult:
    figure = replace(examples.BITS, name=HOSTILE, unit=HOSTILE, note=HOSTILE)
    cells = (examples.cell(HOSTILE, figures=(figure,), backend=HOSTILE, model=HOSTILE),)
    return examples.run(id=HOSTILE, cells=cells, failures=(Failure(HOSTILE, HOSTILE, HOSTILE),))


def obeyed(text: str) -> list[str]:
    lines = text.replace("\n", "")
    return [character for character in lines if unicodedata.category(character) in {"Cc", "Cf", "Cs"}]


@pytest.mark.parametrize("kind", GATES)
def test_no_report_of_a_gate_carries_anything_that_a_terminal_obeys(kind: type[Reporter]) -> None:
    assert not obeyed(gate_text(kind, hostile_gate()))


@pytest.mark.parametrize("kind", [TableReporter, MarkdownReporter, JsonReporter])
def test_no_report_of_a_comparison_carries_anything_that_a_terminal_obeys(kind: type[Reporter]) -> None:
    assert not obeyed(comparison_text(kind, hostile_comparison()))


def test_hostile_texts_break_no_table_and_no_fold() -> None:
    for text in (
        gate_text(MarkdownReporter, hostile_gate()),
        comparison_text(MarkdownReporter, hostile_comparison()),
    ):
        assert text.count("<details>") == text.count("</details>") == 2
        rows = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) == 1
        assert not re.search(r"(?<!\\)<(?!/?details>|/?summary>)", text)
        assert not re.search(r"@all|#1", text), "nobody is called"


def test_markdown_calls_nobody() -> None:
    assert markdown("@team #12 arc_easy@5 a#1") == "@&#8203;team #&#8203;12 arc_easy@5 a#1"


@given(st.text(), st.integers(2, 50))
def test_the_last_part_of_a_text_is_never_longer(text: str, length: int) -> None:
    told = last_part(text, length)
    assert len(told) <= length
    assert obeyed(told) == []


# ---- JSON --------------------------------------------------------------------------------------------


def checked(text: str) -> dict[str, Any]:
    document = json.loads(text)
    schema = schema_of(document["schema"])
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(document)
    return cast(dict[str, Any], document)


@pytest.mark.parametrize("gate", [GATE, hostile_gate(), GateReport("r", "", ())])
def test_a_gate_keeps_to_its_schema(gate: GateReport) -> None:
    document = checked(gate_text(JsonReporter, gate))
    assert document["answer"] == gate.answer
    assert sum(document["counts"].values()) == len(gate.judged)
    for told, judged in zip(document["judged"], gate.judged, strict=True):
        assert {field.name for field in fields(Judged)} | {"cell"} == set(told)
        assert (told["rule"], told["value"], told["cell"]) == (judged.rule, judged.value, judged.cell)


@pytest.mark.parametrize(
    "found", [COMPARISON, replace(COMPARISON, flips=(replace(FLIP, row=None),)), hostile_comparison()]
)
def test_a_comparison_keeps_to_its_schema(found: Comparison) -> None:
    document = checked(comparison_text(JsonReporter, found))
    (told,) = document["comparisons"]
    assert [figure["label"] for figure in told["figures"]] == [figure.label for figure in found.figures]
    assert told["flips"][0]["prompt"] == found.flips[0].prompt, "whole, and of all items"


def test_a_number_that_is_not_finite_is_a_text_in_json() -> None:
    odd = replace(FAILED, value=float("nan"), limit=float("-inf"))
    (told,) = checked(gate_text(JsonReporter, replace(GATE, judged=(odd,))))["judged"]
    assert (told["value"], told["limit"]) == ("NaN", "-Infinity")


RECORDS = [
    ("slmeval.comparison/1", differences.Comparison, set()),
    ("slmeval.comparison/1", differences.Compared, set()),
    ("slmeval.comparison/1", differences.FigureDifference, {"label"}),
    ("slmeval.comparison/1", differences.Estimate, set()),
    ("slmeval.comparison/1", differences.Flip, set()),
    ("slmeval.gate/1", verdicts.Judged, {"cell"}),
    ("slmeval.gate/1", differences.Estimate, set()),
]


@pytest.mark.parametrize(("name", "record", "more"), RECORDS)
def test_the_schemas_have_every_field(name: str, record: Any, more: set[str]) -> None:
    part = schema_of(name)["$defs"][record.__name__]
    assert set(part["properties"]) == set(part["required"]) == {each.name for each in fields(record)} | more


# ---- JUnit XML ---------------------------------------------------------------------------------------

#: what Ant's and Jenkins's readers of JUnit know: children in this order, and attributes
CHILDREN = {
    "testsuites": ("testsuite",),
    "testsuite": ("properties", "testcase", "system-out", "system-err"),
    "testcase": ("properties", "skipped", "error", "failure", "system-out", "system-err"),
    "properties": ("property",),
    **dict.fromkeys(("property", "skipped", "error", "failure", "system-out", "system-err"), ()),
}
REQUIRED = {
    "testsuite": {"name", "tests", "failures", "errors", "skipped"},
    "testcase": {"name", "classname"},
    "property": {"name", "value"},
    "failure": {"message", "type"},
    "error": {"message", "type"},
    "skipped": {"message"},
}


def checked_junit(text: str) -> ElementTree.Element:
    """The suite, after every element, attribute and count has been looked at."""
    root = ElementTree.fromstring(text.encode("utf-8"))
    assert root.tag == "testsuites"
    for element in root.iter():
        order = [CHILDREN[element.tag].index(child.tag) for child in element]
        assert order == sorted(order), element.tag
        assert set(element.attrib) == REQUIRED.get(element.tag, set()), element.tag
    (suite,) = root
    tests = suite.findall("testcase")
    assert int(suite.attrib["tests"]) == len(tests)
    for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.attrib[count]) == sum(test.find(tag) is not None for test in tests)
    outcomes = [[child.tag for child in test if child.tag in REQUIRED] for test in tests]
    assert all(len(outcome) <= 1 for outcome in outcomes), "one outcome a test"
    return suite


def test_each_rule_is_a_test_that_fails_is_skipped_or_passes() -> None:
    suite = checked_junit(gate_text(JunitReporter))
    passed, failed, opened = suite.findall("testcase")
    assert [each.attrib["name"] for each in (passed, failed, opened)] == [PASSED.rule, FAILED.rule, OPEN.rule]
    assert passed.attrib["classname"] == "slmeval gate.tiny · reference"
    assert [child.tag for child in passed] == ["system-out"]
    failure = failed.find("failure")
    assert failure is not None
    assert failure.attrib["message"] == failure.text == FAILED.sentence
    skipped = opened.find("skipped")
    assert skipped is not None
    assert skipped.attrib["message"] == f"inconclusive: {OPEN.sentence}"
    assert suite.find("properties/property[@name='answer']").attrib["value"].startswith("Gate: fail")  # type: ignore[union-attr]
    assert suite.findtext("system-out") == "seen on CPU"


def test_each_cell_of_a_run_is_a_test_with_its_figures() -> None:
    nothing = Figure("energy", None, None, None, 0, "J", "unavailable", "no meter")
    cells = (examples.cell(), replace(examples.cell("power", figures=(nothing,)), kind="probe"))
    run = examples.run(cells=cells, status="failed", failures=(Failure("vllm", "tiny", "out of memory"),))
    suite = checked_junit(run_text(JunitReporter, run))
    arc, power, failed = suite.findall("testcase")
    assert [test.attrib["name"] for test in (arc, power, failed)] == [
        "arc_easy@0",
        "power",
        "tiny · vllm ran",
    ]
    told = {each.attrib["name"]: each.attrib["value"] for each in arc.iterfind("properties/property")}
    assert told["bits_per_byte"] == "1.0625 ± 0.0100 bits/byte"
    assert power.find("skipped") is not None
    assert power.find("properties/property").attrib["value"] == "unavailable (no meter) J"  # type: ignore[union-attr]
    assert failed.find("error").text == "out of memory"  # type: ignore[union-attr]


def test_hostile_texts_are_valid_xml() -> None:
    for text in (gate_text(JunitReporter, hostile_gate()), run_text(JunitReporter, hostile_run())):
        suite = checked_junit(text)
        assert suite[1].attrib["name"].startswith("x|y ::error::red `<b>`]]>& [a](b)")


@given(st.text(st.characters()))
def test_any_text_is_valid_xml(text: str) -> None:
    judged = replace(FAILED, rule=text, sentence=text, model=text)
    checked_junit(
        gate_text(JunitReporter, GateReport(text, text, (judged, replace(judged, answer="pass")), (text,)))
    )


# ---- Bencher -----------------------------------------------------------------------------------------


def checked_bmf(text: str) -> dict[str, dict[str, dict[str, float]]]:
    """As the schema that Bencher publishes has it, and with slugs that it would make itself."""
    document = json.loads(text)
    for benchmark, measures in document.items():
        assert 0 < len(benchmark) <= 1024
        for measure, metric in measures.items():
            assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", measure)
            assert len(measure) <= 64
            assert "value" in metric
            assert set(metric) <= {"value", "lower_value", "upper_value"}
            assert all(type(number) is float for number in metric.values())
    return cast(dict[str, dict[str, dict[str, float]]], document)


def test_a_run_is_told_to_bencher_with_intervals() -> None:
    nothing = Figure("energy", None, None, None, 0, "J", "unavailable", "no meter")
    cells = (examples.cell(figures=(*examples.CHOICES, nothing)),)
    document = checked_bmf(run_text(BmfReporter, examples.run(cells=cells)))
    (measures,) = document.values()
    assert list(document) == ["reference/tiny/arc_easy@0"]
    assert measures["bits-per-byte"] == {"value": 1.0625, "lower_value": 1.0429, "upper_value": 1.0821}
    assert measures["chance"] == {"value": 0.25}
    assert "energy" not in measures


def test_a_gate_is_told_to_bencher_with_what_it_was_decided_by() -> None:
    document = checked_bmf(gate_text(BmfReporter))
    assert document["reference/tiny/arc_easy@0"] == {
        "acc-norm": {"value": 0.3825},
        "acc-norm-excess": {"value": -0.03, "lower_value": -0.045, "upper_value": -0.015},
    }
    assert document["reference/tiny/memory"] == {"peak": {"value": 1.5}}


def test_measures_with_one_slug_are_told_apart() -> None:
    names = ("exact_match/strict", "exact match-strict", "exact_match.strict", "é" * 9, "x" * 80, "x" * 90)
    figures = tuple(examples.accuracy(name, (place + 1) / 10) for place, name in enumerate(names))
    document = checked_bmf(run_text(BmfReporter, examples.run(cells=(examples.cell(figures=figures),))))
    (measures,) = document.values()
    assert [metric["value"] for metric in measures.values()] == [figure.value for figure in figures]
    assert list(measures)[:4] == [
        "exact-match-strict",
        "exact-match-strict-2",
        "exact-match-strict-3",
        "figure",
    ]


def test_two_rules_of_one_figure_have_an_excess_each() -> None:
    absolute = replace(FAILED, rule="arc_easy/acc_norm >= 0.3", excess=replace(EXCESS, value=0.08))
    document = checked_bmf(gate_text(BmfReporter, replace(GATE, judged=(FAILED, absolute))))
    (measures,) = document.values()
    assert list(measures) == ["acc-norm", "acc-norm-excess", "acc-norm-excess-2"]


def test_numbers_that_are_not_finite_are_left_out() -> None:
    odd = replace(FAILED, value=float("nan"), excess=replace(EXCESS, low=float("-inf")))
    document = checked_bmf(gate_text(BmfReporter, replace(GATE, judged=(odd,))))
    assert document == {
        "reference/tiny/arc_easy@0": {"acc-norm-excess": {"value": -0.03, "upper_value": -0.015}}
    }


@pytest.mark.parametrize("run", [hostile_run(), examples.side_by_side()])
def test_any_run_can_be_told_to_bencher(run: RunResult) -> None:
    assert checked_bmf(run_text(BmfReporter, run))


@given(st.text())
def test_a_slug_is_a_slug(text: str) -> None:
    assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", slug(text))
    assert slug(slug(text)) == slug(text)


# ---- GitHub ------------------------------------------------------------------------------------------

COMMAND = re.compile(r"::(error|warning|notice) title=([^:,\n]*)::(.*)")


def commands(text: str) -> list[tuple[str, str, str]]:
    """The annotations, read as the runner does: a line each."""
    found = [COMMAND.fullmatch(line) for line in text.splitlines()]
    assert all(found)
    return [
        (each[1], *(_unescaped(part) for part in each.groups()[1:]))  # type: ignore[misc]
        for each in found
        if each
    ]


def _unescaped(text: str) -> str:
    for escape, sign in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(escape, sign)
    return text


def test_github_is_told_what_failed_and_what_is_inconclusive() -> None:
    assert commands(gate_text(GithubReporter)) == [
        ("error", f"slmeval gate: fail: {FAILED.rule}", FAILED.sentence),
        ("warning", f"slmeval gate: inconclusive: {OPEN.rule}", OPEN.sentence),
        ("notice", "slmeval gate", "Gate: fail (1 failed, 1 inconclusive, 1 passed)"),
    ]


def test_github_is_told_what_failed_in_a_run() -> None:
    run = examples.run(status="interrupted", failures=(Failure("hf", "tiny", "out of memory"),))
    told = commands(run_text(GithubReporter, run))
    assert told[0] == ("error", "slmeval run: tiny · hf", "out of memory")
    assert told[1] == ("warning", "slmeval run", f"interrupted: slmeval run --resume {run.id}")
    assert [level for level, *_ in told] == ["error", "warning", "notice"]


def test_hostile_texts_are_no_commands_of_their_own() -> None:
    told = commands(gate_text(GithubReporter, hostile_gate()))
    assert [level for level, *_ in told] == ["error", "warning", "notice"]
    assert told[0][2].endswith("@all #1,%0A"), "a percent sign is one"
    assert len(commands(run_text(GithubReporter, hostile_run()))) == 2


# ---- which format ------------------------------------------------------------------------------------


def known() -> Mapping[str, type[Reporter]]:
    return load(installed=False).parts.reporters


@pytest.mark.parametrize(
    ("output", "name"),
    [
        (None, "table"),
        ("plain", "table"),
        ("gate.md", "md"),
        ("GATE.MD", "md"),
        ("junit.xml", "junit"),
        ("gate.json", "json"),
        ("gate.bmf.json", "bmf"),
        ("notes.txt", "table"),
        ("notes.github.txt", "github"),
    ],
)
def test_the_format_is_that_of_the_longest_ending(output: str | None, name: str) -> None:
    assert choose_reporter(None, output, known(), "gate").name == name


def test_a_format_that_does_not_write_it_is_refused_with_those_that_do() -> None:
    others = "bmf, github, json, junit, md, table"
    with pytest.raises(
        UsageError, match=f"'csv' does not write gates: name another with --format \\({others}\\)"
    ):
        choose_reporter("csv", None, known(), "gate")
    with pytest.raises(UsageError, match=r"'junit' does not write comparisons: .* \(json, md, table\)"):
        choose_reporter(None, "found.xml", known(), "comparison")
    with pytest.raises(
        UsageError, match=r"no format ends in .html \(.json, .md, .txt\): name one with --format"
    ):
        choose_reporter(None, "found.html", known(), "comparison")
    with pytest.raises(UnknownName, match="did you mean 'junit'"):
        choose_reporter("junitt", None, known(), "gate")


def test_further_reports_are_looked_at_before_anything_is_done(tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("gate.md", "gate.bmf.json", "gate.xml")]
    found = reporters_into(files, known(), "gate")
    assert [(reporter.name, file) for reporter, file in found] == list(
        zip(("md", "bmf", "junit"), files, strict=True)
    )
    with pytest.raises(UsageError, match="'csv' does not write gates"):
        reporters_into([*files, str(tmp_path / "gate.csv")], known(), "gate")
    with pytest.raises(UsageError, match="there is no folder"):
        reporters_into([*files, str(tmp_path / "nowhere" / "gate.md")], known(), "gate")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["bmf", "csv", "github", "json", "junit", "md", "table"])
def test_every_format_writes_what_it_says_and_refuses_the_rest(name: str) -> None:
    reporter = known()[name]()
    ways: Mapping[str, Callable[[Any], None]] = {
        "run": lambda out: reporter.write(examples.run(), out),
        "comparison": lambda out: reporter.write_comparisons((COMPARISON,), out),
        "gate": lambda out: reporter.write_gate(GATE, out),
    }
    assert reporter.writes <= set(ways)
    for what, write in ways.items():
        out = io.StringIO()
        if what in reporter.writes:
            write(out)
            assert out.getvalue().endswith("\n")
        else:
            with pytest.raises(NotImplementedError, match=f"format '{name}' does not write"):
                write(out)


def test_a_reporter_that_knows_runs_alone_is_asked_for_nothing_else() -> None:
    class Old(Reporter):
        name = "old"
        suffix = "old"

        def write(self, run: RunResult, out: Any) -> None:
            out.write(run.id)

    reporters = {**known(), "old": Old}
    assert choose_reporter("old", None, reporters).name == "old"
    with pytest.raises(UsageError, match="'old' does not write gates"):
        choose_reporter("old", None, reporters, "gate")


def test_reports_of_gates_and_comparisons_go_into_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report_gate(GATE, JunitReporter(), str(tmp_path / "gate.xml"))
    checked_junit((tmp_path / "gate.xml").read_text(encoding="utf-8"))
    report_comparisons((COMPARISON,), JsonReporter(), str(tmp_path / "found.json"))
    checked((tmp_path / "found.json").read_text(encoding="utf-8"))
    report_gate(GATE, CsvOfGates(), None)
    assert capsys.readouterr().out == GATE.run
    with pytest.raises(JobFailed, match=f"cannot be written .*: slmeval gate {GATE.run}"):
        report_gate(GATE, JunitReporter(), str(tmp_path / "nowhere" / "gate.xml"))


class CsvOfGates(CsvReporter):
    writes = frozenset({"gate"})

    def write_gate(self, report: GateReport, out: Any) -> None:
        out.write(report.run)


def test_a_reporter_whose_kinds_are_no_set_is_left_out() -> None:
    brought = type("Mine", (CsvReporter,), {"name": "mine", "writes": "gate"})
    plugin = types.SimpleNamespace(slmeval_register_reporters=hookimpl(lambda: [brought]))
    with pytest.raises(UsageError, match="reporter 'mine' has writes 'gate', which is no set of kinds"):
        load(extra={"mine": plugin}, installed=False)


def test_the_example_of_the_plugin_guide_is_a_reporter() -> None:
    page = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(class Verdict.*?)```", page, re.DOTALL)
    found: dict[str, Any] = {"Reporter": Reporter}
    exec(example, found)
    assert gate_text(found["Verdict"]) == "fail\n"
    assert run_text(found["Verdict"], examples.run()) == "done\n"
