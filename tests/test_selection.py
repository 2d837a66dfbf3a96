"""Which tasks are asked at which shots: names, groups, globs, files, and what has a mean."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slmeval import hookimpl
from slmeval.errors import UnknownName, UsageError
from slmeval.registry import Parts, load
from slmeval.selection import Selection, select
from slmeval.types import Group, RunOptions


def parts_with(*groups: Group) -> Parts:
    plugin = SimpleNamespace(slmeval_register_groups=hookimpl(lambda: groups))
    return load(extra={"mine": plugin}).parts


@pytest.fixture(scope="module")
def parts() -> Parts:
    return load().parts


def asked(selection: Selection) -> list[tuple[str, int]]:
    return [(wish.task.name, wish.shots) for wish in selection.wishes]


def means(selection: Selection) -> list[tuple[str, int]]:
    return [(cell.group.name, cell.shots) for cell in selection.groups]


def test_each_task_is_asked_once_with_the_fewest_shots_first(parts: Parts) -> None:
    options = RunOptions(tasks=("piqa", "arc", "arc_easy", "arc_*"), shots=(5, 0, 5))
    expected = [(name, shots) for name in ("piqa", "arc_easy", "arc_challenge") for shots in (0, 5)]
    assert asked(select(options, parts)) == expected


def test_shots_are_the_users_or_the_groups_or_the_tasks_own(parts: Parts) -> None:
    survey = parts.groups["survey_commonsense"]
    found = select(RunOptions(tasks=("survey_commonsense", "gsm8k", "arc_easy")), parts)
    assert asked(found) == [*((name, 5) for name in survey.members), ("gsm8k", 5), ("arc_easy", 0)]
    assert means(found) == [("survey_commonsense", 5)]
    found = select(RunOptions(tasks=("survey_commonsense",), shots=(0, 1)), parts)
    assert asked(found) == [(name, shots) for name in survey.members for shots in (0, 1)]
    assert means(found) == [("survey_commonsense", 0), ("survey_commonsense", 1)]


def test_the_outermost_group_with_shots_decides() -> None:
    inner, plain = Group("inner", ("piqa",), shots=2), Group("plain", ("inner", "arc_easy"))
    parts = parts_with(inner, plain, Group("outer", ("plain",), shots=3))
    assert asked(select(RunOptions(tasks=("plain",)), parts)) == [("piqa", 2), ("arc_easy", 0)]
    assert asked(select(RunOptions(tasks=("outer",)), parts)) == [("piqa", 3), ("arc_easy", 3)]


def test_a_group_with_a_mean_counts_as_one_member_of_the_group_around_it(parts: Parts) -> None:
    found = select(RunOptions(tasks=("survey_reasoning",)), parts)
    members = {cell.group.name: cell.members for cell in found.groups}
    assert members["survey_reasoning"] == (("arc_easy", 5), ("arc_challenge", 5), ("mmlu", 5))
    assert list(members)[-2:] == ["mmlu", "survey_reasoning"]
    assert len(members["mmlu_stem"]) == 19
    assert sum(len(members[name]) for name, _ in members["mmlu"]) == 57


@pytest.mark.parametrize("members", [("gsm8k", "arc_easy", "piqa"), ("gsm8k", "arc_easy")])
def test_a_mean_over_different_shots_is_refused(members: tuple[str, ...]) -> None:
    parts = parts_with(Group("both", members, average=("acc",)))
    message = r"group 'both' has no mean over different shots \(5 for gsm8k, 0 for arc_easy\): give --shots"
    with pytest.raises(UsageError, match=message):
        select(RunOptions(tasks=("both",)), parts)
    assert means(select(RunOptions(tasks=("both",), shots=(0,)), parts)) == [("both", 0)]


def test_a_task_without_examples_in_lm_eval_is_asked_without_and_says_so(parts: Parts) -> None:
    found = select(RunOptions(tasks=("survey_commonsense",), compat="lm-eval"), parts)
    (wish,) = (wish for wish in found.wishes if wish.task.name == "truthfulqa_mc2")
    assert (wish.shots, wish.note) == (0, "asked at 0 shots, not 5: lm-evaluation-harness shows none here")
    assert ("truthfulqa_mc2", 0) in found.groups[0].members
    both = select(RunOptions(tasks=("truthfulqa_mc2",), shots=(0, 5), compat="lm-eval"), parts)
    assert [(wish.shots, bool(wish.note)) for wish in both.wishes] == [(0, True)]
    assert not select(RunOptions(tasks=("truthfulqa_mc2",), shots=(5,)), parts).wishes[0].note


def test_position_bias_asks_lettered_tasks_in_every_place_too(parts: Parts) -> None:
    options = RunOptions(tasks=("mmlu", "commonsense_qa", "piqa"), shots=(0,), position_bias=True)
    found = select(options, parts)
    names = [name for name, _ in asked(found)]
    assert "commonsense_qa/rotated" in names
    assert "piqa/rotated" not in names
    notes = {wish.task.name: wish.note for wish in found.wishes}
    assert notes["piqa"] == "position bias is unavailable: no choices are shown in the prompt"
    assert not notes["commonsense_qa"]
    assert len([name for name in names if name.endswith("/rotated")]) == 58
    rotated = {cell.group.name: cell for cell in found.groups}["mmlu/rotated"]
    assert rotated.members[0] == ("mmlu_stem/rotated", 0)
    # MMLU has four choices, beside a task with five
    assert rotated.group.average[-1] == "picked_D"
    with pytest.raises(UsageError, match="--position-bias: no task shows its choices"):
        select(RunOptions(tasks=("piqa",), position_bias=True), parts)


@pytest.mark.parametrize("name", ["arc_esy", "arc?", "*nothing", "survey"])
def test_a_name_that_is_none_is_refused(name: str, parts: Parts) -> None:
    with pytest.raises(UnknownName):
        select(RunOptions(tasks=(name,)), parts)


def test_a_group_may_not_contain_itself() -> None:
    parts = parts_with(Group("one", ("two",)), Group("two", ("one",)))
    with pytest.raises(UsageError, match="group 'one' contains itself"):
        select(RunOptions(tasks=("one",)), parts)


FILE = 'rows = "rows.jsonl"\nprompt = "{q}"\nchoices = ["no", "yes"]\nanswer = "{a}"\n'


def write(path: Path, text: str = FILE) -> str:
    path.parent.mkdir(exist_ok=True)
    (path.parent / "rows.jsonl").write_text('{"q": "Is ice cold?", "a": 1}\n')
    path.write_text(text)
    return str(path)


def test_a_file_is_a_task_and_its_name_is_its_own(tmp_path: Path, parts: Parts) -> None:
    mine = write(tmp_path / "mine.toml")
    assert asked(select(RunOptions(tasks=(mine, mine, "piqa")), parts)) == [("mine", 0), ("piqa", 0)]
    taken = write(tmp_path / "piqa.toml")
    with pytest.raises(UsageError, match="there is a task, probe or group named 'piqa': choose another name"):
        select(RunOptions(tasks=(taken,)), parts)
    other = write(tmp_path / "other" / "mine.toml", FILE.replace("yes", "aye"))
    with pytest.raises(UsageError, match="two of the tasks are named 'mine'"):
        select(RunOptions(tasks=(mine, other)), parts)


@pytest.mark.parametrize(
    "group",
    [
        Group("g", "abc"),  # type: ignore[arg-type]
        Group("", ("a",)),
        Group("g", ("a",), shots=-1),
        Group("g", ("a",), shots=True),
        Group("g", ("a",), average="acc"),  # type: ignore[arg-type]
        Group("g", ("a",), over="all"),  # type: ignore[arg-type]
    ],
)
def test_a_group_that_is_none_is_refused(group: Any) -> None:
    with pytest.raises(UsageError, match=r"group .* is (not a pair|wrong)"):
        parts_with(group)


def test_a_group_with_a_mean_is_brought_by_one_plugin_alone() -> None:
    again = Group("mmlu", ("piqa",))
    with pytest.raises(UsageError, match="both bring group 'mmlu'"):
        parts_with(again)
