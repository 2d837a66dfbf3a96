"""Reports say all that must be said, in tables that hostile names cannot break, and can be read back."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from dataclasses import replace
from typing import Any

import example_runs as examples
import pluggy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slmeval import hookspecs
from slmeval.api import Reporter
from slmeval.builtin import reporters
from slmeval.builtin.reporters import CsvReporter, JsonReporter, MarkdownReporter, TableReporter
from slmeval.builtin.reporters.text import clean, interval_text, markdown, value_text
from slmeval.document import from_document
from slmeval.types import DataOrigin, Failure, Figure, RunOptions, RunResult

READABLE = [TableReporter, MarkdownReporter]
READABLE_IDS = ["table", "md"]
HOSTILE = "x|y\n\x1b[31mred\x1b[0m \x1b]0;title\x07\r\u202e`<b>`\x9b2J [a](b)"
readable = pytest.mark.parametrize("kind", READABLE, ids=READABLE_IDS)


def written(kind: type[Reporter], run: RunResult) -> str:
    out = io.StringIO()
    kind().write(run, out)
    return out.getvalue()


def lines(kind: type[Reporter], run: RunResult) -> list[str]:
    return written(kind, run).splitlines()


def markdown_rows(text: str) -> list[dict[str, str]]:
    """The table of a Markdown report, read back as GitHub would."""
    rows = [
        [part.strip() for part in line.replace("\\|", "\0").strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    head, _, *body = rows
    return [dict(zip(head, row, strict=True)) for row in body]


def one_figure(figure: Figure, **changes: Any) -> RunResult:
    return examples.run(cells=(examples.cell(figures=(figure,), **changes),))


# ---- readers -----------------------------------------------------------------------------------------


def test_our_reporters_come_through_the_hook() -> None:
    manager = pluggy.PluginManager("slmeval")
    manager.add_hookspecs(hookspecs)
    manager.register(reporters)
    (brought,) = manager.hook.slmeval_register_reporters()
    assert {reporter.name: reporter.suffix for reporter in brought} == {
        "table": "txt",
        "md": "md",
        "json": "json",
        "csv": "csv",
        "junit": "xml",
        "bmf": "bmf.json",
        "github": "github.txt",
    }


@readable
def test_a_demonstration_says_so_first_and_ends_with_the_command_for_a_real_model(
    kind: type[Reporter],
) -> None:
    told = lines(kind, examples.run(demo=True))
    assert "Demonstration" in told[0]
    assert "nothing about any real model" in told[0]
    assert told[-1].strip() == "slmeval run --model HuggingFaceTB/SmolLM2-135M --tasks arc,hellaswag"


@readable
def test_a_real_run_is_no_demonstration(kind: type[Reporter]) -> None:
    text = written(kind, examples.run())
    assert "Demonstration" not in text
    assert "SmolLM2" not in text


def test_the_figures_of_one_model_can_be_read_back_from_markdown() -> None:
    rows = markdown_rows(written(MarkdownReporter, examples.run()))
    assert [row["Figure"] for row in rows] == [
        "acc",
        "acc_norm",
        "acc_bytes",
        "chance",
        "bits_per_byte",
        "margin",
    ]
    assert rows[0] == {
        "Task": "arc_easy",
        "Shots": "0",
        "Figure": "acc",
        "Value ± stderr": "0.4125 ± 0.0220",
        "95% CI": "[0.37, 0.46]",
        "n": "500 sample",
        "Unit": "",
    }
    assert rows[3]["Value ± stderr"] == "0.2500 (exact)"
    assert rows[4]["Unit"] == "bits/byte"


@readable
def test_several_backends_stand_side_by_side(kind: type[Reporter]) -> None:
    text = written(kind, examples.side_by_side())
    head = next(line for line in text.splitlines() if "Figure" in line)
    assert head.index("tiny · reference") < head.index("tiny · hf")
    row = next(line for line in text.splitlines() if " acc " in line)
    assert "0.4125 ± 0.0220" in row
    assert "0.4000 ± 0.0219" in row
    assert row.count("500 sample") == 1


def test_a_task_asked_twice_of_one_model_keeps_both_figures() -> None:
    figures = [(examples.accuracy("acc", share),) for share in (0.25, 0.75, 0.5)]
    cells = (
        examples.cell(figures=figures[0]),
        examples.cell(figures=figures[1]),
        examples.cell(figures=figures[2], backend="hf"),
    )
    rows = markdown_rows(written(MarkdownReporter, examples.run(cells=cells)))
    assert [(row["tiny · reference"][:6], row["tiny · hf"][:6]) for row in rows] == [
        ("0.2500", "0.5000"),
        ("0.7500", ""),
    ]


@readable
def test_a_sample_is_marked_and_explained(kind: type[Reporter]) -> None:
    text = written(kind, examples.run())
    assert "500 sample" in text
    assert "asked 500 of 2,376 rows" in text
    whole = written(kind, examples.run(cells=(examples.cell(sample=False, n=2376),)))
    assert "sample" not in whole.lower()


@readable
def test_what_is_true_of_all_backends_is_said_once(kind: type[Reporter]) -> None:
    assert written(kind, examples.side_by_side()).count("asked 500 of 2,376 rows") == 1


@readable
def test_bundled_rows_are_a_sample_even_when_all_were_asked(kind: type[Reporter]) -> None:
    data = DataOrigin("the bundled rows", "a1" * 32, 32)
    text = written(kind, examples.run(cells=(examples.cell(n=32, data=data),)))
    assert "asked all 32 rows of a sample (the bundled rows)" in text


@readable
def test_what_is_above_chance_is_told(kind: type[Reporter]) -> None:
    text = written(kind, examples.run())
    assert "arc_easy, 0 shots" in text
    assert "; not shown to be above chance: acc_bytes" in text
    assert "above chance: acc, acc_norm" in text


@readable
def test_counts_are_told_in_words_and_only_where_there_are_any(kind: type[Reporter]) -> None:
    counts = {"truncated": 3, "merged": 0, "cap_hit": 1200, "no_answer/strict-match": 7, "cold_starts": 2}
    text = " ".join(written(kind, examples.run(cells=(examples.cell(counts=counts),))).split())
    assert "3 requests shortened to fit the model's context" in text
    assert "1,200 answers that hit the token cap" in text
    assert "7 texts without an answer (strict-match)" in text
    assert "2 cold starts" in text
    assert "join across" not in text
    assert "Counts" not in written(kind, examples.run(cells=(examples.cell(counts={}),)))


@readable
def test_failures_and_notes_are_told_with_their_reasons(kind: type[Reporter]) -> None:
    text = written(kind, examples.side_by_side())
    assert "Not all that was asked for could be measured" in text
    assert "tiny · vllm" in text
    assert "ended by SIGKILL (out of memory?)" in text
    assert "the batch was halved" in text
    assert "float32 on the CPU" in text


@readable
def test_an_interrupted_run_says_how_to_go_on(kind: type[Reporter]) -> None:
    told = [line.strip() for line in lines(kind, examples.run(status="interrupted"))]
    assert "slmeval run --resume 20260801-101500-ab12" in told


@readable
def test_a_run_that_measured_nothing_can_be_told(kind: type[Reporter]) -> None:
    nothing = examples.run(
        status="failed", models=(), cells=(), failures=(Failure("hf", "tiny", "out of memory"),)
    )
    text = written(kind, nothing)
    assert "No figures." in text
    assert "out of memory" in text


@readable
def test_the_origin_tells_what_another_person_needs(kind: type[Reporter]) -> None:
    run = examples.run(options=RunOptions(compat="lm-eval", limit=500))
    text = " ".join(written(kind, run).split())
    for fact in (
        "3,700,000 unique parameters (4,224,288 stored)",
        "float32 on cpu",
        f"hash {'c3' * 6}",
        f"hash {'d4' * 6}",
        f"hash {'a1' * 6}",
        f"hash {'b2' * 6}",
        "tokenizer.json of models/tiny",
        "numpy 2.4.6 (dtype=float32, batch=8",
        "Linux 6.1 x86_64",
        "16 cores, 64.0 GiB",
        "NVIDIA H200",
        "1234",
        "limit=500, compat=lm-eval",
        "arc_easy 1.0: allenai/ai2_arc ARC-Easy test",
        "slmeval 0.1.0",
        "1,200 asked, 300 reused",
    ):
        assert fact in text


@readable
def test_a_model_that_was_never_opened_is_told_as_such(kind: type[Reporter]) -> None:
    text = written(kind, examples.run(models=(examples.model(info=None),)))
    assert "unavailable (the model was never opened)" in text


def test_one_model_fits_a_terminal_of_100_columns() -> None:
    figures = (
        *examples.CHOICES,
        Figure("exact_match/flexible-extract", 0.5, 0.01, (0.48, 0.52), 14042, "", "estimated"),
        Figure("time_to_first_token", None, None, None, 0, "ms/token", "unavailable", "no clock here " * 3),
    )
    cells = (
        examples.cell(figures=figures, n=1319),
        examples.cell("mmlu_high_school_european_history", shots=25),
        replace(examples.cell(), kind="probe", name="latency", figures=figures[-1:]),
    )
    told = lines(TableReporter, examples.run(demo=True, cells=cells))
    assert max(len(line) for line in told) <= 100


# ---- numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("figure", "value", "interval"),
    [
        (Figure("f", 0.4125, 0.0219, (0.3696, 0.4554), 500, ""), "0.4125 ± 0.0219", "[0.37, 0.46]"),
        (Figure("f", 0.4125, 0.0019, (0.4088, 0.4162), 9000, ""), "0.4125 ± 0.0019", "[0.409, 0.416]"),
        (Figure("f", -0.5, 0.25, (-0.99, -0.001), 9, "nats"), "-0.5000 ± 0.2500", "[-0.99, 0.00]"),
        (Figure("f", 0.0, 0.0, (0.0, 0.0), 9, ""), "0.0000 ± 0.0000", "[0.0000, 0.0000]"),
        (Figure("f", 2.5e-05, 1e-06, None, 9, "s"), "2.5e-05 ± 1e-06", ""),
        (Figure("f", 1e300, 1e298, (9e299, 2e300), 9, "s"), "1e+300 ± 1e+298", "[9e+299, 2e+300]"),
        (Figure("f", 1.0, 0.1, (-1.7e308, 1.7e308), 9, "s"), "1.0000 ± 0.1000", "[-1.7e+308, 1.7e+308]"),
        (Figure("f", 5e-324, 5e-324, (0.0, 1e-323), 9, "s"), "4.94e-324 ± 4.94e-324", "[0, 9.88e-324]"),
        (Figure("f", 3_700_000.0, None, None, 1, "B", "estimated"), "3,700,000 (estimated)", ""),
        (Figure("f", 1234.56, 7.8, (1219.0, 1250.0), 5, "ms"), "1,234.6 ± 7.8", "[1,219, 1,250]"),
        (Figure("f", 5.0, None, None, 1, "", "estimated", "by rule"), "5.0000 (estimated, by rule)", ""),
        (Figure("f", None, None, None, 0, "J", "unavailable", "no meter"), "unavailable (no meter)", ""),
        (Figure("f", None, None, None, 0, "J", "unavailable"), "unavailable (no reason given)", ""),
    ],
)
def test_numbers_are_told_with_their_error_and_source(figure: Figure, value: str, interval: str) -> None:
    assert (value_text(figure), interval_text(figure)) == (value, interval)


@readable
def test_an_unavailable_figure_says_why_where_its_value_would_stand(kind: type[Reporter]) -> None:
    figure = Figure("energy", None, None, None, 0, "J", "unavailable", "no meter")
    row = next(line for line in lines(kind, one_figure(figure)) if "energy" in line)
    assert "unavailable (no meter)" in row


# ---- hostile text ------------------------------------------------------------------------------------


def hostile_run() -> RunResult:
    figure = replace(examples.BITS, name=HOSTILE, unit=HOSTILE, note=HOSTILE)
    cell = examples.cell(
        HOSTILE, figures=(figure,), notes=(HOSTILE,), counts={HOSTILE: 2}, version=HOSTILE, model=HOSTILE
    )
    return examples.run(
        id=HOSTILE,
        demo=True,
        cells=(cell,),
        models=(examples.model(label=HOSTILE, reference=HOSTILE, options={HOSTILE: HOSTILE}),),
        failures=(Failure(HOSTILE, HOSTILE, HOSTILE),),
    )


@pytest.mark.parametrize("kind", [*READABLE, CsvReporter, JsonReporter])
def test_no_report_carries_anything_that_a_terminal_obeys(kind: type[Reporter]) -> None:
    text = written(kind, hostile_run()).replace("\n", "")
    assert not [character for character in text if unicodedata.category(character) in {"Cc", "Cf", "Cs"}]


def test_hostile_names_do_not_break_a_markdown_table() -> None:
    (row,) = markdown_rows(written(MarkdownReporter, hostile_run()))
    assert row["Task"].startswith("x\0y red ")
    assert row["Value ± stderr"] == "1.0625 ± 0.0100"


def test_hostile_names_do_not_change_the_number_of_lines() -> None:
    for kind in READABLE:
        tame = written(kind, hostile_run()).replace("\\", "")
        assert "title" not in tame
        assert tame.count("Origin") == 1


@example(text="a\u2028b\x85c")
@example(text="a\ud800\x1b]8;;url\x1b")
@given(text=st.text(st.characters()))
def test_clean_text_is_one_harmless_line(text: str) -> None:
    told = clean(text)
    assert "\x1b" not in told
    assert len(told.splitlines()) <= 1
    assert clean(told) == told
    assert told.encode().decode() == told


def test_plain_text_of_any_language_stays_as_it_is() -> None:
    for text in ("arc_easy", "mémoire (GiB) 50 %", "常識 @ 5 shots", "a+b=c [x] {y}"):
        assert clean(text) == text


def test_markdown_and_html_mean_nothing_in_names() -> None:
    assert markdown("<img src=x>|*a*|`b`|[c](d)|&lt;|![e](f)") == (
        r"\<img src=x\>\|\*a\*\|\`b\`\|\[c](d)\|\&lt;\|!\[e](f)"
    )
    assert markdown("[0.37, 0.46] arc_easy") == "[0.37, 0.46] arc_easy"


# ---- programs ----------------------------------------------------------------------------------------


def test_the_json_report_is_the_document() -> None:
    run = examples.side_by_side()
    text = written(JsonReporter, run)
    assert from_document(json.loads(text)) == run
    assert text.startswith('{\n  "schema": "slmeval.run/1"')
    assert text.endswith("}\n")


def test_the_csv_report_has_one_line_per_figure_with_numbers_in_full() -> None:
    run = examples.side_by_side()
    records = list(csv.DictReader(io.StringIO(written(CsvReporter, run))))
    figures = [(cell, figure) for cell in run.cells for figure in cell.figures]
    assert len(records) == len(figures)
    for record, (cell, figure) in zip(records, figures, strict=True):
        assert (record["task"], record["backend"], record["figure"]) == (cell.name, cell.backend, figure.name)
        assert float(record["value"]) == figure.value
        assert (record["stderr"] and float(record["stderr"])) == (
            "" if figure.stderr is None else figure.stderr
        )
        assert (int(record["n"]), record["unit"], record["sample"]) == (figure.n, figure.unit, "true")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", " =", "\t=", "\r@", "＝"])
def test_a_text_in_csv_is_never_a_formula(start: str) -> None:
    run = one_figure(replace(examples.MARGIN, note=f"{start}cmd('x')"), name=f"{start}1+1")
    (record,) = csv.DictReader(io.StringIO(written(CsvReporter, run)))
    assert record["note"] == f"'{start.strip()}cmd('x')"
    assert record["task"] == f"'{start.strip()}1+1"
    assert record["value"] == "-0.5", "a number stays a number"


@readable
def test_numbers_of_thousands_stand_as_they_are(kind: type[Reporter]) -> None:
    """A whole data set has 10,042 rows, and a hopeless perplexity has commas and no error."""
    figures = (examples.accuracy("acc", 0.5, 10042), Figure("perplexity", 1263355677.7, None, None, 1, ""))
    run = examples.run(cells=(examples.cell(sample=False, n=10042, figures=figures),))
    text = written(kind, run)
    assert "10,042" in text
    assert "1,263,355,677.7" in text


@readable
def test_a_large_group_is_shown_without_its_members(kind: type[Reporter]) -> None:
    names = tuple(f"mmlu_{number}" for number in range(11))
    group = examples.cell("mmlu", kind="group", members=names)
    small = examples.cell("pair", kind="group", members=("one", "two"))
    cells = tuple(map(examples.cell, (*names, "one", "two")))
    text = written(kind, examples.run(cells=(*cells, group, small)))
    assert "mmlu_3" not in text.replace("\\", "")
    assert "The members of mmlu stand in the JSON and CSV reports." in text
    assert all(f" {name} " in text.replace("\n", " \n") for name in ("one", "two", "pair", "mmlu"))
