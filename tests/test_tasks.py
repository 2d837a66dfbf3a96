"""Tasks on one page, and the rows that are shown as examples."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from slmeval.errors import DataError
from slmeval.registry import load
from slmeval.shots import fixed_shots, lm_eval_shots
from slmeval.tasks import FreeText, MultipleChoice
from slmeval.types import DatasetSpec, Generate, Row, Score, Use
from slmeval_commonsense import ARC_CHALLENGE, ARC_EASY, HELLASWAG, PIQA
from slmeval_math import GSM8K

ROOT = Path(__file__).parents[1]
TASKS = (ARC_EASY, ARC_CHALLENGE, HELLASWAG, PIQA, GSM8K)

CHOICE = MultipleChoice(
    name="toy",
    version="1.0",
    dataset=DatasetSpec("toy", "test", ("q", "a", "right")),
    prompt=lambda row: f"Q: {row['q']}\nA:",
    choices=lambda row: row["a"],
    gold=lambda row: row["right"],
)
TEXT = FreeText(
    name="sums",
    version="1.0",
    dataset=DatasetSpec("sums", "test", ("q", "a")),
    prompt=lambda row: f"{row['q']} =",
    target=lambda row: row["a"],
    stop=("\n",),
    filters=(Use("regex", {"pattern": "[0-9]+"}),),
    metrics=(Use("exact_match"),),
    max_tokens=8,
)
ROW = {"q": "2 + 2", "a": ["four", "vier "], "right": 1}

# ---- prompts ---------------------------------------------------------------------------------------


def test_a_choice_is_asked_after_the_question_with_the_delimiter_before_it() -> None:
    sample = CHOICE.sample(ROW, ())
    assert sample.requests == (Score("Q: 2 + 2\nA:", " four"), Score("Q: 2 + 2\nA:", " vier "))
    assert (sample.target, sample.choices) == (1, ("four", "vier "))


def test_examples_stand_before_the_question_with_their_answers() -> None:
    task = dataclasses.replace(CHOICE, description="Sums.\n", delimiter="_", separator="|")
    shots = ({"q": "1", "a": ["one", "two"], "right": 0}, {"q": "3", "a": ["no", "three"], "right": 1})
    (first, _) = task.sample(ROW, shots).requests
    assert first == Score("Sums.\nQ: 1\nA:_one|Q: 3\nA:_three|Q: 2 + 2\nA:", "_four")


def test_free_text_is_asked_once_with_its_limits_and_keeps_the_right_answer() -> None:
    sample = TEXT.sample({"q": "2 + 2", "a": "4"}, ({"q": "1 + 1", "a": "2"},))
    assert sample.requests == (Generate("1 + 1 = 2\n\n2 + 2 =", 8, ("\n",)),)
    assert (sample.target, sample.choices) == ("4", ())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"right": 2}, "the right choice is given as 2, but there are 2, from 0 on"),
        ({"right": -1}, "the right choice is given as -1, but there are 2, from 0 on"),
        ({"a": ["four", ""]}, "choice 1 must be a text that is not empty, not ''"),
        ({"a": ["four", None]}, "choice 1 must be a text that is not empty, not None"),
        ({"a": []}, "there are no choices"),
        ({"a": "ab"}, "the choices must be a list of texts, not the one text 'ab'"),
        ({"right": True}, "the right choice must be given as a whole number, not True"),
        ({"right": 1.0}, "the right choice must be given as a whole number, not 1.0"),
    ],
)
def test_a_row_that_makes_no_question_is_refused_as_question_and_as_example(
    change: Row, message: str
) -> None:
    for row, shots in (({**ROW, **change}, ()), (ROW, ({**ROW, **change},))):
        with pytest.raises(ValueError, match=message):
            CHOICE.sample(row, shots)


@pytest.mark.parametrize("target", ["", None, 4])
def test_a_right_answer_that_is_no_text_is_refused(target: object) -> None:
    for row, shots in (({"q": "2 + 2", "a": target}, ()), ({"q": "1", "a": "1"}, ({"q": "2", "a": target},))):
        with pytest.raises(ValueError, match="the right answer must be a text that is not empty"):
            TEXT.sample(row, shots)


def test_a_task_is_frozen_and_its_kind_follows_from_its_class() -> None:
    assert (CHOICE.kind, TEXT.kind) == ("multiple_choice", "generation")
    with pytest.raises(dataclasses.FrozenInstanceError):
        CHOICE.shots = 3


# ---- the tasks that come with slmeval --------------------------------------------------------------


def test_every_member_of_every_group_is_there() -> None:
    parts = load().parts
    known = {*parts.tasks, *parts.probes, *parts.groups}
    assert {member for group in parts.groups.values() for member in group.members} <= known
    assert len(parts.groups["commonsense"].members) == 13
    assert set(parts.groups["survey_commonsense"].members) < set(parts.groups["commonsense"].members)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_task_says_where_its_rows_are_from_and_how_many_there_are(task: MultipleChoice | FreeText) -> None:
    dataset = task.dataset
    assert dataset.name == task.name
    assert dataset.evaluation != dataset.shots == "train"
    assert all((dataset.fields, dataset.hub, dataset.rows, dataset.licence, dataset.source))


def test_the_sizes_of_the_full_evaluation_splits_are_the_published_ones() -> None:
    assert [task.dataset.rows for task in TASKS] == [2376, 1172, 10042, 1838, 1319]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_every_filter_and_metric_that_a_task_uses_exists_and_takes_its_settings(
    task: MultipleChoice | FreeText,
) -> None:
    parts = load().parts
    assert all(parts.metrics[use.name](**use.settings) for use in task.metrics)
    assert all(parts.filters[use.name](**use.settings) for use in task.filters)


def test_arc_finds_the_right_choice_by_its_label() -> None:
    row = {"question": "?", "choices": {"text": ["a", "b", "c"], "label": ["1", "2", "3"]}, "answerKey": "3"}
    assert ARC_EASY.sample(row, ()).target == 2
    with pytest.raises(ValueError, match="answerKey 'C' is none of the labels 1, 2, 3"):
        ARC_EASY.sample({**row, "answerKey": "C"}, ())


ARC_ROW = {"question": "?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"}
HELLASWAG_ROW = {"activity_label": "a", "ctx_a": "b", "ctx_b": "c", "endings": ["d", "e"], "label": "0"}
PIQA_ROW = {"goal": "a", "sol1": "b", "sol2": "c", "label": 0}


@pytest.mark.parametrize(
    ("task", "row", "change", "message"),
    [
        (ARC_EASY, ARC_ROW, {"question": None}, "question must be a text, not None"),
        (ARC_EASY, ARC_ROW, {"question": {"a": 1}}, "question must be a text, not {'a': 1}"),
        (ARC_EASY, ARC_ROW, {"choices": ["a", "b"]}, "choices must be an object with text and label"),
        (ARC_EASY, ARC_ROW, {"choices": {"text": "ab", "label": ["A", "B"]}}, "text must be a list of texts"),
        (ARC_EASY, ARC_ROW, {"choices": {"text": ["a", "b"], "label": [1, 2]}}, "label must be a list of te"),
        (ARC_EASY, ARC_ROW, {"choices": {"text": ["a"], "label": ["A", "B"]}}, "2 labels for 1 choices"),
        (ARC_EASY, ARC_ROW, {"choices": {"text": ["a", "b"], "label": ["B", "B"]}}, "a label is there twice"),
        (ARC_EASY, ARC_ROW, {"answerKey": 2}, "answerKey must be a text, not 2"),
        (HELLASWAG, HELLASWAG_ROW, {"ctx_a": None}, "ctx_a must be a text, not None"),
        (HELLASWAG, HELLASWAG_ROW, {"endings": "de"}, "endings must be a list of texts, not 'de'"),
        (HELLASWAG, HELLASWAG_ROW, {"label": ""}, "label must be a whole number, not ''"),
        (PIQA, PIQA_ROW, {"goal": 3}, "goal must be a text, not 3"),
        (PIQA, PIQA_ROW, {"label": 0.7}, "label must be a whole number, not 0.7"),
        (PIQA, PIQA_ROW, {"label": True}, "label must be a whole number, not True"),
        (PIQA, PIQA_ROW, {"label": float("inf")}, "label must be a whole number, not inf"),
        (GSM8K, {"question": "?", "answer": "#### 1"}, {"question": None}, "question must be a text"),
    ],
)
def test_a_field_of_another_kind_is_refused_and_never_asked_about(
    task: MultipleChoice | FreeText, row: Row, change: Row, message: str
) -> None:
    assert task.sample(row, ())
    with pytest.raises(ValueError, match=message):
        task.sample({**row, **change}, ())


def test_hellaswag_takes_the_marks_out_and_begins_the_second_part_with_a_capital() -> None:
    row = {
        "activity_label": "Cooking",
        "ctx_a": "How to boil an egg [title] Fill a pot.",
        "ctx_b": "the WATER",
        "endings": ["[step] Boil  it .", " Eat [now] it."],
        "label": "1",
    }
    sample = HELLASWAG.sample(row, ())
    assert sample.requests[0] == Score("Cooking: How to boil an egg. Fill a pot. The water", "  Boil it .")
    assert sample.choices == (" Boil it .", "Eat it.")


@pytest.mark.parametrize("label", [1, "1"])
def test_piqa_takes_a_label_in_either_form_and_keeps_a_space_at_the_end(label: object) -> None:
    sample = PIQA.sample({"goal": "g", "sol1": "one ", "sol2": "two", "label": label}, ())
    assert (sample.target, sample.requests[0].continuation) == (1, " one ")


def test_tasks_import_no_engine_and_no_library_for_data() -> None:
    heavy = "{'torch', 'transformers', 'numpy', 'pyarrow', 'huggingface_hub', 'tokenizers'}"
    program = f"import sys, slmeval_commonsense, slmeval_math; print(sorted({heavy} & set(sys.modules)))"
    path = f"{ROOT}:{ROOT / 'tasks'}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert done.stdout.strip() == "[]"


# ---- shots -----------------------------------------------------------------------------------------

#: few different rows, so that equal ones are common
pools = st.lists(st.integers(0, 12).map(lambda number: {"id": number}), max_size=20)
seeds = st.integers(0, 2**32)


def some_rows(ids: range) -> list[Row]:
    return [{"id": number} for number in ids]


@given(pool=pools, rows=pools, k=st.integers(0, 6), seed=seeds)
def test_fixed_shots_come_from_the_pool_and_never_equal_the_question(
    pool: list[Row], rows: list[Row], k: int, seed: int
) -> None:
    assume(all(len([row for row in pool if row != asked]) >= k for asked in rows) and len(pool) >= k)
    drawn = list(fixed_shots(pool, rows, k, seed, "toy"))
    assert [len(shots) for shots in drawn] == [k] * len(rows)
    for asked, shots in zip(rows, drawn, strict=True):
        assert asked not in shots
        assert not Counter(shot["id"] for shot in shots) - Counter(row["id"] for row in pool)
    assert drawn == list(fixed_shots(pool, rows, k, seed, "toy"))


@given(pool=pools, rows=pools, fewer=st.integers(0, 4), more=st.integers(0, 4), seed=seeds)
def test_more_fixed_shots_begin_with_the_fewer(
    pool: list[Row], rows: list[Row], fewer: int, more: int, seed: int
) -> None:
    k = fewer + more
    assume(all(len([row for row in pool if row != asked]) >= k for asked in rows) and len(pool) >= k)
    many = fixed_shots(pool, rows, k, seed, "toy")
    few = fixed_shots(pool, rows, fewer, seed, "toy")
    assert [shots[:fewer] for shots in many] == list(few)


def test_fixed_shots_are_the_same_for_all_rows_but_those_among_them() -> None:
    pool = some_rows(range(10))
    others = some_rows(range(100, 120))
    (common,) = set(map(str, fixed_shots(pool, others, 3, 1234, "toy")))
    (first, second, third, fourth) = next(fixed_shots(pool, others, 4, 1234, "toy"))
    assert str((first, second, third)) == common
    assert list(fixed_shots(pool, [second], 3, 1234, "toy")) == [(first, third, fourth)]


def test_fixed_shots_differ_between_seeds_and_between_tasks() -> None:
    pool, rows = some_rows(range(50)), some_rows(range(100, 101))
    drawn = [
        str(list(fixed_shots(pool, rows, 5, seed, name))) for seed in (0, 1) for name in ("arc_easy", "piqa")
    ]
    assert len(set(drawn)) == 4


def test_fixed_shots_stay_what_they_were_in_earlier_versions() -> None:
    (shots,) = fixed_shots(some_rows(range(100)), [{}], 5, 1234, "arc_easy")
    assert [shot["id"] for shot in shots] == [82, 21, 63, 39, 89]


@given(pool=pools, rows=pools, k=st.integers(0, 6), seed=seeds, same_split=st.booleans())
def test_lm_eval_shots_are_k_rows_of_the_pool_and_always_the_same(
    pool: list[Row], rows: list[Row], k: int, seed: int, same_split: bool
) -> None:
    assume(all(len([row for row in pool if row != asked]) >= k for asked in rows) and len(pool) > k)
    drawn = list(lm_eval_shots(pool, rows, k, seed, same_split))
    assert [len(shots) for shots in drawn] == [k] * len(rows)
    for asked, shots in zip(rows, drawn, strict=True):
        assert not Counter(shot["id"] for shot in shots) - Counter(row["id"] for row in pool)
        assert asked not in shots or not same_split
    assert drawn == list(lm_eval_shots(pool, rows, k, seed, same_split))


@given(pool=pools, rows=pools, k=st.integers(0, 6), seed=seeds, same_split=st.booleans())
def test_lm_eval_shots_are_those_of_its_sampler(
    pool: list[Row], rows: list[Row], k: int, seed: int, same_split: bool
) -> None:
    samplers = pytest.importorskip("lm_eval.api.samplers")
    assume(all(len([row for row in pool if row != asked]) >= k for asked in rows) and len(pool) > k)
    sampler = samplers.ContextSampler(pool, rnd=None).set_rnd(seed)
    theirs = [tuple(sampler.sample(k, eval_doc=row if same_split else None)) for row in rows]
    assert list(lm_eval_shots(pool, rows, k, seed, same_split)) == theirs


def test_the_lm_eval_stream_goes_on_from_row_to_row() -> None:
    pool, stream = some_rows(range(30)), Random(1234)
    rows = some_rows(range(100, 104))
    assert list(lm_eval_shots(pool, rows, 3, 1234, False)) == [tuple(stream.sample(pool, 3)) for _ in rows]


@pytest.mark.parametrize(
    ("pool", "asked", "draw", "numbers"),
    [
        (4, {"id": 9}, lambda pool, rows: fixed_shots(pool, rows, 5, 0, "toy"), (5, 4)),
        (5, {"id": 2}, lambda pool, rows: fixed_shots(pool, rows, 5, 0, "toy"), (5, 4)),
        (4, {"id": 9}, lambda pool, rows: lm_eval_shots(pool, rows, 5, 0, False), (5, 4)),
        (5, {"id": 9}, lambda pool, rows: lm_eval_shots(pool, rows, 5, 0, True), (6, 5)),
    ],
)
def test_a_pool_that_is_too_small_names_both_numbers(
    pool: int, asked: Row, draw: object, numbers: tuple[int, int]
) -> None:
    message = "takes {} rows, and there are {} ".format(*numbers)
    with pytest.raises(DataError, match=message):
        list(draw(some_rows(range(pool)), [asked]))


def test_a_pool_of_copies_of_the_question_is_too_small_for_lm_eval_too() -> None:
    with pytest.raises(DataError, match="takes 2 rows, and there are 1 "):
        list(lm_eval_shots([{"id": 1}] * 5 + [{"id": 2}], [{"id": 1}], 2, 0, True))


def test_no_shots_need_no_pool() -> None:
    for drawn in (fixed_shots([], [{"id": 1}], 0, 0, "toy"), lm_eval_shots([], [{"id": 1}], 0, 0, True)):
        assert list(drawn) == [()]
