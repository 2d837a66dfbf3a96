"""BIG-Bench Hard without lm-evaluation-harness: where rows and texts come from, and how answers are found."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from slmeval.asking import Asker
from slmeval.datasets import DataSource, Rows, made_rows, open_folder
from slmeval.errors import DataError
from slmeval.questions import Draft, draft
from slmeval.registry import load
from slmeval.tokenizing import FastTokenizer
from slmeval.types import Answer, Completion, DatasetSpec, RunOptions, Sample

PARTS = load().parts
NAMES = [name for name in PARTS.tasks if name.startswith("bbh_")]
FAMILIES = ("cot_fewshot", "fewshot", "cot_zeroshot", "zeroshot")
ROW = {"input": "Sort the following words alphabetically: List: oven bee", "target": "bee oven"}
#: in the form of the authors' files, one example with a space before its steps
PROMPT = (
    "Put words in order.\n\nAs a dictionary does.\n\n"
    "Q: Sort: List: b a\nA: Let's think step by step.\nFirst a, then b.\n\nSo the answer is a b.\n\n"
    "Q: Sort: List: d c\nA: Let's think step by step. c is before d. So the answer is c d.\n\n"
    "Q: Sort: List: f e\nA: Let's think step by step.\nIt is clear, so the answer is e f."
)


def write(folder: Path, name: str, *rows: Mapping[str, Any]) -> None:
    path = folder / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def asked(name: str, folder: Path, shots: int, **options: Any) -> Draft:
    return draft(RunOptions(**options), PARTS.tasks[name], shots, PARTS, open_folder(folder))


def prompt(name: str, folder: Path, shots: int) -> str:
    (sample,) = asked(name, folder, shots).samples
    return sample.requests[0].prompt  # type: ignore[union-attr]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One file of rows for all subtasks, one of prompts."""
    other = {"task": "navigate", "input": "", "target": "No"}
    write(tmp_path, "bbh/test", other, {"task": "word_sorting", **ROW})
    write(tmp_path, "bbh/cot_prompts", {"task": "word_sorting", "prompt": PROMPT})
    return tmp_path


@pytest.fixture
def no_lm_eval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)


# ---- rows and texts ----------------------------------------------------------------------------------


def test_each_family_has_all_subtasks_and_its_group_a_mean_of_a_figure_that_they_have() -> None:
    assert len(NAMES) == 4 * 27
    assert sum(PARTS.tasks[name].dataset.rows or 0 for name in NAMES) == 4 * 6511
    for family in FAMILIES:
        group = PARTS.groups[f"bbh_{family}"]
        assert [*group.members] == [name for name in NAMES if name.startswith(f"bbh_{family}_")]
        for task in map(PARTS.tasks.__getitem__, group.members):
            found = {f"{metric.name}/{each.label}" for metric in task.metrics for each in task.filters}
            assert found >= set(group.average)
    assert PARTS.groups["bbh"].members == PARTS.groups["bbh_cot_fewshot"].members


def test_the_prompt_is_made_of_the_authors_text(folder: Path) -> None:
    head, question = "Put words in order.\n\nAs a dictionary does.\n\n", f"Q: {ROW['input']}\nA:"
    steps = " Let's think step by step."
    assert prompt("bbh_zeroshot_word_sorting", folder, 0) == head + question
    assert prompt("bbh_cot_zeroshot_word_sorting", folder, 0) == f"{head}{question}{steps}"
    shown = "Q: Sort: List: b a\nA: a b\n\nQ: Sort: List: d c\nA: c d\n\nQ: Sort: List: f e\nA: e f\n\n"
    assert prompt("bbh_fewshot_word_sorting", folder, 3) == head + shown + question
    # the space that one of the authors' texts has there is a line break in lm-evaluation-harness
    worked = PROMPT.replace("step. c", "step.\nc")
    assert prompt("bbh_cot_fewshot_word_sorting", folder, 3) == f"{worked}\n\n{question}{steps}\n"
    assert prompt("bbh_cot_fewshot_word_sorting", folder, 0) == f"{head}{question}{steps}\n"


class Hub(DataSource):
    """A configuration for each subtask, and nothing else."""

    kind = "hub"
    description = "a hub"

    def holds(self, spec: DatasetSpec, split: str) -> bool:
        return spec.hub is not None

    def load(self, spec: DatasetSpec, split: str) -> Rows:
        assert (spec.hub, spec.config, split) == ("SaylorTwift/bbh", "word_sorting", "test")
        return made_rows([ROW], "hub", "test.parquet")


def test_equal_rows_have_equal_hashes_wherever_they_come_from(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    own = tmp_path_factory.mktemp("own")
    write(own, "bbh_word_sorting/test", ROW)
    write(own, "bbh/cot_prompts", {"task": "word_sorting", "prompt": PROMPT})
    first, second = (asked("bbh_fewshot_word_sorting", each, 3).data for each in (folder, own))
    assert (first.sha256, first.shots_sha256) == (second.sha256, second.shots_sha256)
    assert (first.source, second.source) == ("folder bbh/test.jsonl", "folder bbh_word_sorting/test.jsonl")
    assert first.shots_source == "folder bbh/cot_prompts.jsonl"


def test_the_description_is_part_of_what_is_hashed(folder: Path) -> None:
    before = asked("bbh_zeroshot_word_sorting", folder, 0).data.sha256
    write(folder, "bbh/cot_prompts", {"task": "word_sorting", "prompt": f"Please. {PROMPT}"})
    assert asked("bbh_zeroshot_word_sorting", folder, 0).data.sha256 != before


def test_rows_of_the_hub_are_those_of_the_subtasks_configuration() -> None:
    pytest.importorskip("lm_eval")
    found = PARTS.tasks["bbh_zeroshot_word_sorting"].load(Hub(), "test")
    assert [{name: row[name] for name in ROW} for row in found.rows] == [ROW]
    assert "".join(found.rows[0]["description"]).endswith("\n\n")


# ---- what goes wrong -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_lm_eval")
def test_texts_that_are_nowhere_are_told_with_the_ways_out(tmp_path: Path) -> None:
    write(tmp_path, "bbh_word_sorting/test", ROW)
    with pytest.raises(DataError) as caught:
        asked("bbh_zeroshot_word_sorting", tmp_path, 0)
    for part in (
        "the word_sorting prompts",
        "not installed",
        "lm-eval==0.4.13",
        "bbh/cot_prompts.jsonl",
    ):
        assert part in str(caught.value)


def test_rows_that_are_not_there_are_told(folder: Path) -> None:
    with pytest.raises(DataError, match="holds no rows with task 'snarks'"):
        asked("bbh_zeroshot_snarks", folder, 0)


@pytest.mark.parametrize(
    ("name", "shots", "told"),
    [
        ("bbh_cot_fewshot_word_sorting", 4, "takes 4 rows, and there are 3"),
        ("bbh_zeroshot_word_sorting", 1, "has no rows for shots: --shots 0"),
    ],
)
def test_more_examples_than_there_are_are_refused(name: str, shots: int, told: str, folder: Path) -> None:
    with pytest.raises(DataError, match=told):
        asked(name, folder, shots)


@pytest.mark.parametrize(
    ("name", "broken", "told"),
    [
        ("bbh_fewshot_word_sorting", 3, "the prompt is no text"),
        ("bbh_fewshot_word_sorting", "Sort.\n\nQ: b a\nA: a b", "no line that begins with"),
        ("bbh_fewshot_word_sorting", PROMPT[:-1], "does not end in"),
    ],
)
def test_a_prompt_that_is_none_is_told_with_its_place(
    name: str, broken: object, told: str, folder: Path
) -> None:
    other = {"task": "navigate", "prompt": ""}
    write(folder, "bbh/cot_prompts", other, {"task": "word_sorting", "prompt": broken})
    with pytest.raises(DataError, match=told) as caught:
        asked(name, folder, 3)
    assert str(caught.value).startswith("bbh/cot_prompts.jsonl, line 2: ")


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"input": "x"}, "has no target"),
        ({"input": None, "target": "x"}, "input must be a text, not None"),
        ({"input": "x", "target": ""}, "the right answer must be a text that is not empty"),
        ({"input": "x", "target": 3}, "target must be a text, not 3"),
    ],
)
def test_a_row_that_is_none_is_told_with_its_place(bad: dict[str, Any], told: str, folder: Path) -> None:
    write(folder, "bbh/test", {"task": "word_sorting", **ROW}, {"task": "word_sorting", **bad})
    with pytest.raises(DataError, match=told) as caught:
        asked("bbh_cot_zeroshot_word_sorting", folder, 0)
    assert "bbh/test.jsonl, line 2" in str(caught.value)


def test_a_model_of_few_positions_is_refused_in_one_sentence(folder: Path, demo_model: Path) -> None:
    samples = asked("bbh_cot_fewshot_word_sorting", folder, 3).samples
    tokenizer = FastTokenizer((demo_model / "tokenizer.json").read_text(), "the demo model", 1, 2)
    with pytest.raises(DataError) as caught:
        Asker(tokenizer, 512, "bbh_cot_fewshot_word_sorting").ask(samples)
    told = str(caught.value)
    assert "up to 1024 tokens" in told
    assert "context of 512" in told
    assert "\n" not in told


# ---- answers -------------------------------------------------------------------------------------------


def scored(name: str, question: str, target: str, text: str) -> list[tuple[str | None, float | None]]:
    """For each filter, what is found and its score."""
    task = PARTS.tasks[name]
    sample = Sample((), target, asked=question)
    (use,) = task.metrics
    metric = PARTS.metrics[use.name](**use.settings)
    filters = [PARTS.filters[each.name](**each.settings) for each in task.filters]
    found = [each.find_for(text, sample) for each in filters]
    return [(each, metric.score(Answer(sample, (Completion(text, (), "end"),), each))) for each in found]


DOGS = "Which?\nOptions:\n(A) a dog\n(B) a dog house"


@pytest.mark.parametrize(
    ("name", "question", "target", "text", "expected"),
    [
        ("cot_fewshot_navigate", "", "Yes", "We turn. So the answer is Yes.", [("Yes", 1)]),
        ("cot_fewshot_navigate", "", "Yes", "The answer is Yes.", [(None, 0)]),
        ("fewshot_navigate", "", "Yes", "Yes", [("Yes", 1)]),
        ("fewshot_navigate", "", "Yes", " Yes", [(" Yes", 0)]),
        ("zeroshot_navigate", "", "Yes", "no, yes", [("no, yes", 0), ("no", 0)]),
        ("cot_zeroshot_navigate", "", "Yes", "no, yes", [("yes", 1), (None, 0)]),
        # what lm-evaluation-harness calls "[invalid]" is no answer, and never the right one
        ("zeroshot_formal_fallacies", "", "invalid", "?", [("?", 0), (None, 0)]),
        ("zeroshot_hyperbaton", DOGS, "(B)", "A dog house!", [("A dog house!", 0), ("(B)", 1)]),
        ("zeroshot_hyperbaton", DOGS, "(B)", "Choice: B", [("Choice: B", 0), ("(B)", 1)]),
        ("cot_zeroshot_hyperbaton", DOGS, "(B)", "Not (B). The answer: (A).", [("(A)", 0), ("(A)", 0)]),
        ("zeroshot_web_of_lies", "", "No", "Tells the TRUTH", [("Tells the TRUTH", 0), ("yes", 0)]),
        ("zeroshot_object_counting", "", "21", "Twenty one\n", [("Twenty one\n", 0), ("21", 1)]),
        ("cot_zeroshot_word_sorting", "List: b a", "a b", "b: a b", [("a b", 1), (None, 0)]),
    ],
)  # fmt: skip
def test_answers_are_found_and_scored(
    name: str, question: str, target: str, text: str, expected: list[tuple[str | None, float]]
) -> None:
    assert scored(f"bbh_{name}", question, target, text) == expected


def test_no_target_can_be_taken_for_no_answer() -> None:
    for name in NAMES:
        for found, score in scored(name, "x", "[invalid]", ""):
            assert (found or "", score) == ("", 0), name


def test_number_words_without_a_number_are_no_answer() -> None:
    # word2number, and with it an evaluation by lm-evaluation-harness, fails over these
    for text in ("thousand two", "one thousand two thousand", "twenty,one", "thousand million"):
        assert scored("bbh_zeroshot_object_counting", "", "1", text)[1] == (None, 0)
