"""BIG-Bench Hard is asked and scored as lm-evaluation-harness does: all 27 subtasks, in all four ways."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

import datasets
import lm_eval.tasks
from lm_eval.api.instance import Instance
from lm_eval.tasks._yaml_loader import load_yaml
from lm_eval.tasks.bbh.cot_zeroshot import utils as cot_utils
from lm_eval.tasks.bbh.zeroshot import utils
from lm_eval_tasks import SEED, LocalTask, quiet, requests

from slmeval.api import Filter
from slmeval.datasets import open_folder
from slmeval.questions import Draft, draft
from slmeval.registry import load
from slmeval.types import Answer, Completion, Generate, RunOptions, Sample
from slmeval_knowledge.bbh.filters import Meaning, NumberOrWords, ShownChoice, WordsOfQuestion
from slmeval_knowledge.bbh.task import EXAMPLES, BbhTask
from slmeval_knowledge.bbh.texts import find_texts

DEFINITIONS = Path(lm_eval.tasks.__file__).parent / "bbh"
REAL = Path(__file__).parents[1].parent / "shared" / "data" / "bbh"
PARTS = load().parts
TASKS = {name: task for name, task in PARTS.tasks.items() if isinstance(task, BbhTask)}
COMPAT = RunOptions(compat="lm-eval")

#: rows in which something could go wrong, for every subtask
WRITTEN = [
    {"input": "Which?\nOptions:\n(A) a dog\n(B) a dog house\n(C) It's… red, or\n(D) 1,000", "target": "(B)"},
    {"input": " {{ braces }} and {% marks %}\nList: bee oven's two-way bee\n", "target": "bee oven's"},
    {
        "input": "Ünï \u2028 code: (A)( a ^ b\n\n- Yes\n- No\nA: Q: List: x List: y",
        "target": '"No", \\ [ ]. ',
    },
    {"input": "", "target": "invalid"},
]


def real_rows(subtask: str, limit: int) -> list[dict[str, str]]:
    if not REAL.is_dir():
        return []
    lines = (REAL / "test.jsonl").read_text(encoding="utf-8").split("\n")
    rows = [row for row in map(json.loads, filter(None, lines)) if row["task"] == subtask]
    return [{"input": row["input"], "target": row["target"]} for row in rows[:limit]]


@cache
def rows(subtask: str) -> list[dict[str, str]]:
    return WRITTEN + real_rows(subtask, 2)


@cache
def theirs(name: str) -> LocalTask:
    """lm-eval's task over the rows of its subtask."""
    task = TASKS[name]
    config = load_yaml(DEFINITIONS / task.family / f"{task.subtask}.yaml")
    with quiet():
        made = LocalTask(
            config, datasets.DatasetDict({"test": datasets.Dataset.from_list(rows(task.subtask))})
        )
    made.set_fewshot_seed(SEED)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rows of every subtask in one file; the texts come from lm-eval."""
    place = tmp_path_factory.mktemp("rows")
    (place / "bbh").mkdir()
    subtasks = dict.fromkeys(task.subtask for task in TASKS.values())
    lines = [json.dumps({"task": each, **row}) for each in subtasks for row in rows(each)]
    (place / "bbh" / "test.jsonl").write_text("\n".join(lines))
    return place


def ours(name: str, folder: Path, shots: int) -> Draft:
    return draft(COMPAT, TASKS[name], shots, PARTS, open_folder(folder))


# ---- what is asked ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_prompts_and_limits_are_those_of_lm_eval(name: str, folder: Path) -> None:
    task, other = TASKS[name], theirs(name)
    for shots in {0, task.shots}:
        other.set_config("num_fewshot", shots)
        asked, made = requests(other), ours(name, folder, shots).samples
        assert len(asked) == len(made) == len(rows(task.subtask))
        for sample, (instance,) in zip(made, asked, strict=True):
            prompt, settings = instance.args
            # without max_gen_toks lm-eval writes 256 tokens (lm_eval/defaults.py)
            limit = settings.get("max_gen_toks", 256)
            assert sample.requests == (Generate(prompt, limit, tuple(settings["until"])),)
            assert (settings["do_sample"], settings["temperature"]) == (False, 0.0)
            assert sample.target == other.doc_to_target(instance.doc)


@pytest.mark.parametrize("name", TASKS)
def test_names_versions_data_and_shots_are_those_of_lm_eval(name: str) -> None:
    task, config = TASKS[name], theirs(name).config
    defined = load_yaml(DEFINITIONS / task.family / f"{task.subtask}.yaml")
    assert (name, task.version) == (config.task, str(theirs(name).VERSION))
    assert (task.dataset.hub, task.dataset.config) == (config.dataset_path, config.dataset_name)
    assert task.dataset.evaluation == config.test_split
    assert (task.shots, task.lm_eval_zero_shot) == (defined["num_fewshot"], defined["num_fewshot"] == 0)
    if task.shots:
        assert (task.dataset.shots, task.shot_order) == (EXAMPLES, "first")
        assert "first_n" in str(config.fewshot_config)


@pytest.mark.parametrize("file", sorted(DEFINITIONS.glob("*/_bbh*.yaml")), ids=lambda path: path.stem)
def test_groups_are_those_of_lm_eval(file: Path) -> None:
    defined = load_yaml(file)
    (averaged,) = defined["aggregate_metric_list"]
    group = PARTS.groups[defined["group"]]
    figure = f"{averaged['metric']}/{averaged.get('filter_list', 'none')}"
    assert group.members == tuple(defined["task"])
    assert (group.average, group.over, averaged["weight_by_size"]) == ((figure,), "rows", True)
    assert group.version == str(defined["metadata"]["version"])


def test_every_task_and_group_of_lm_eval_is_here() -> None:
    files = [load_yaml(path) for path in DEFINITIONS.glob("*/*.yaml")]
    assert {each["task"] for each in files if "group" not in each} == set(TASKS)
    assert {each["group"] for each in files if "group" in each} <= set(PARTS.groups)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real rows of ../shared/data are not here")
def test_the_authors_texts_are_those_of_lm_eval(tmp_path: Path) -> None:
    real, none = open_folder(REAL.parent), open_folder(tmp_path)
    for task in TASKS.values():
        found, expected = (find_texts(source, task.subtask, task.family) for source in (real, none))
        assert found.description == expected.description
        assert found.examples.rows == expected.examples.rows or not task.shots
        assert found.examples.sha256 == expected.examples.sha256 or not task.shots


# ---- how texts are read ----------------------------------------------------------------------------------

#: each is read after every way of asking every subtask
TEXTS = (
    "", " ", "\n", "[invalid]", "invalid", "Valid", "The argument is invalid, not valid.", "True",
    " False or True", "true", "Yes.", "yes or No", "NO", "She does not tell the truth",
    "is telling the truth; so Yes", "not plausible", "It is PLAUSIBLE", "know", "(A)", "(B) or (C)", "(b)",
    "B", ": B", "Answer:\n C", "A dog house!", "a dog", "it's… RED, or", "it's red or", "1000", "(", "6",
    "six", "Sixty six", "-7", "--", "well-known: 12", "1,000", "twenty one, or thirty",
    "one hundred and twenty two thousand", "eight", "two million three thousand", "oven's bee two-way",
    "bee bee oven's", "two way", ") ] }", "x ] > )", "] \" [", "<a>", "the answer is No",
    "The answer is (B).", "the answer is (A). So the answer is (B).\nmore", "The answer: bee oven's",
    "The final answer: 21.", "the answer is", "the answer is .", "the answer is a",
    'So the answer is "No", \\ [ ].', '"No", \\ [ ]', "No \\ [ ]. ", "BEE OVEN'S.", "bee oven's\n",
    "a\u2028b", "Ünï: D", "invalid\n.", ":", ": ", "the answer is yes\n\nthe answer is no.",
)  # fmt: skip


def lm_eval_reads(task: LocalTask, doc: dict[str, str], texts: Sequence[str]) -> list[dict[str, Any]]:
    """For each text, by filter, what lm-eval finds and its score."""
    instances = [
        Instance("generate_until", doc, ("", {}), at, ("bbh", at, 1), resps=[text])
        for at, text in enumerate(texts)
    ]
    task._instances = instances
    task.apply_filters()
    return [
        {
            label: (found, task.process_results(doc, [found])["exact_match"])
            for label, found in instance.filtered_resps.items()
        }
        for instance in instances
    ]


@pytest.mark.parametrize("name", TASKS)
def test_answers_and_scores_are_those_of_lm_eval(name: str, folder: Path) -> None:
    made = ours(name, folder, 0)
    ((_, metric),) = made.scorer.metrics
    # the first row has choices, the second a list, without which lm-eval fails over words to be sorted
    for at in (1 if TASKS[name].subtask == "word_sorting" else 0, -1 if REAL.is_dir() else 1):
        sample, doc = made.samples[at], rows(TASKS[name].subtask)[at]
        for text, expected in zip(TEXTS, lm_eval_reads(theirs(name), doc, TEXTS), strict=True):
            assert [label for label, _ in made.scorer.filters] == list(expected)
            for label, part in made.scorer.filters:
                found = part.find_for(text, sample)
                score = metric.score(Answer(sample, (Completion(text, (), "end"),), found))
                # lm-eval's words for "no answer found"
                told = "[invalid]" if found is None else found
                assert (told, score) == expected[label], (text, label)


#: makes a text of pieces
Pieces = Sequence[str]
NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "twenty", "thirty", "forty", "sixty", "ninety", "hundred",
    "hundred", "thousand", "million", "billion", "trillion", "and", "&", ",", "-", "teen", "ty", "fourty",
    "point", "7", "-3",
)  # fmt: skip
MEANT = (
    "yes", "no", "not", "plausible", "Yes,", "NOT PLAUSIBLE", "know", "tells the truth", "does not",
    "tell the truth", "is", "telling the truth",
)  # fmt: skip
CHOICES = (
    "a dog",
    "dog",
    "a dog house",
    "- x",
    "…",
    "",
    "It's",
    "ß",
    "STRASSE",
    "(red",
    "re^d",
    "1,000",
    "x: A",
)
CHOSEN = (
    *(
        "a dog",
        "dog house",
        "(A)",
        "(B) ",
        "(Z)",
        "A",
        ": A",
        ":\nB",
        ":C",
        "x",
        " - x",
        "its",
        "ss",
        "re",
        "d",
    ),
    *("strasse", "red", "1000", "\n", "the answer is", "[invalid]", ":", "(a)"),
)
WORDS = ("oven", "be", "bee", "two-way", "it's", "a", "é", "List:", "Oven")
GAPS = ("", " ", " ", " ", "\n", "\t", "\u00a0", "\x1c", ", ")
WAYS = {
    "no": ("no|not plausible", "no|does not tell the truth|is not telling the truth"),
    "yes": ("yes|plausible", "yes|tells the truth|is telling the truth"),
}


def text_of(pieces: Pieces, draws: random.Random, most: int) -> str:
    made = "".join(draws.choice(pieces) + draws.choice(GAPS) for _ in range(draws.randint(0, most)))
    return made.upper() if draws.random() < 0.1 else made


def drawn_cases(draws: random.Random, module: Any) -> Iterator[tuple[Filter, Any, str, str]]:
    """For each filter a text and a question, with lm-eval's filter."""
    at = draws.choice((0, -1))
    numbers = module.NumberParseRegexFilter(r"([-0-9]+)", at)
    yield NumberOrWords(at), numbers, text_of(NUMBERS, draws, 9), ""
    way = draws.choice((0, 1))
    meanings = {rf"\b({ways[way]})\b": answer for answer, ways in WAYS.items()}
    mapped = module.MapRegexFilter(meanings, at, ignore_case=True)
    yield Meaning({key: ways[way] for key, ways in WAYS.items()}, at), mapped, text_of(MEANT, draws, 6), ""
    options = [f"({letter}) {draws.choice(CHOICES)}" for letter in "ABCDEFG"[: draws.randint(0, 7)]]
    chosen = module.MultiChoiceRegexFilter(r"(\([A-Z]\))", at, ignore_case=True, ignore_punctuation=True)
    yield ShownChoice(at), chosen, text_of(CHOSEN, draws, 5), "\n".join(["Which?", *options])
    listed = " ".join(draws.choices(WORDS, k=draws.randint(0, 6)))
    yield WordsOfQuestion(), module.WordSortFilter(), text_of(WORDS, draws, 8), f"Sort: List: {listed}"


@pytest.mark.parametrize("module", [utils, cot_utils], ids=["zeroshot", "cot_zeroshot"])
def test_each_filter_finds_what_lm_evals_finds_in_texts_drawn_at_random(module: Any) -> None:
    draws = random.Random(7)
    found = dict.fromkeys(("some", "none", "failed"), 0)
    for _ in range(1500):
        for ours, other, text, question in drawn_cases(draws, module):
            answer = ours.find_for(text, Sample((), "", asked=question))
            try:
                ((expected,),) = other.apply([[text]], [{"input": question}])
            except (ValueError, IndexError):  # word2number's, over words that are no number
                assert isinstance(ours, NumberOrWords)
                assert answer is None, text
                found["failed"] += 1
                continue
            assert ("[invalid]" if answer is None else answer) == expected, (text, question)
            found["none" if answer is None else "some"] += 1
    assert all(found.values())
