"""Mathematics: numbers in any writing, answers compared in a process that can be ended, and the tasks."""

from __future__ import annotations

import gc
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hard_answers import HANGING, NUMBERS, SOLUTIONS
from hypothesis import given, settings
from hypothesis import strategies as st
from quickness import takes_less

from slmeval.averages import group_figures
from slmeval.datasets import open_folder
from slmeval.errors import DataError, MissingExtra
from slmeval.plan import GroupCell
from slmeval.questions import draft
from slmeval.registry import load
from slmeval.selection import select
from slmeval.stopping import cut_at_stop
from slmeval.types import (
    Answer,
    CellResult,
    Completion,
    DataOrigin,
    Figure,
    Generate,
    Group,
    RunOptions,
    Sample,
)
from slmeval_math import installed, symbolic
from slmeval_math import judge as judging
from slmeval_math.boxed import boxed
from slmeval_math.final_answer import final_answer, robust_answer
from slmeval_math.gsm8k import GSM8K
from slmeval_math.judge import Judge, Question, Verdict
from slmeval_math.mawps import MAWPS
from slmeval_math.minerva import MINERVA_MATH
from slmeval_math.same_number import SameNumber, same
from slmeval_math.stated_number import StatedNumber, numbers, read_number, stated, written
from slmeval_math.svamp import SVAMP
from slmeval_math.symbolic_metrics import FinalAnswerMatch, MathVerify, RobustAnswerMatch

PARTS = load().parts
needs_math_verify = pytest.mark.skipif(
    installed.find_spec("math_verify") is None, reason="slmeval[math] is not installed"
)


def answered(target: str, text: str, found: str | None = None) -> Answer:
    return Answer(Sample((Generate(""),), target), (Completion(text, (), "end"),), found)


# ---- numbers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "number"), NUMBERS.items(), ids=ascii)
def test_the_number_is_found_however_it_is_written(text: str, number: str | None) -> None:
    assert StatedNumber().find(text) == number


@given(st.fractions(min_value=-(10**9), max_value=10**9, max_denominator=10**4))
def test_a_number_that_is_written_is_read_again(value: Fraction) -> None:
    assert stated(f"The answer is {written(value)}.") == value
    assert numbers(f"{written(value)} apples") == [value]


@given(st.integers(min_value=1000, max_value=10**12), st.sampled_from([",", "{,}", ",\\!", "\\,", "\u202f"]))
def test_thousands_may_be_separated(value: int, mark: str) -> None:
    assert stated(f"{value:,}".replace(",", mark)) == value


@settings(max_examples=300)
@given(st.text(alphabet="0123456789-−.,/%$\\{}frac boxed=#eE answeris\n", max_size=60))
def test_no_text_breaks_the_filter(text: str) -> None:
    found = StatedNumber().find(text)
    assert found is None or read_number(found) is not None or Fraction(found) == stated(text)


#: what a model may write again and again; each was once the beginning of many ways to fail
AGAIN = (
    *("7", "1 ", "1,", "1/", "-", "$", "x", " ", "{", "#### ", "\\frac", "\\boxed{", "\\text{", "\\(", "\\["),
    *("answer is ", "the answer is the ", "Final Answer: The final answer is", ". ", "\\text{}"),
)


@pytest.mark.parametrize("piece", AGAIN)
def test_long_texts_and_numbers_take_no_time(piece: str) -> None:
    text = (piece * 20_000)[:20_000]

    def find() -> None:
        StatedNumber().find(text)
        for behind in ("", "The answer is ", "Final Answer: The final answer is "):
            final_answer(behind + text)
            robust_answer(behind + text)
        robust_answer(f"The answer is 5{text}y")

    assert takes_less(find, 4)


@pytest.mark.parametrize(
    ("value", "text"),
    [("5", "5"), ("24.0", "24"), ("1.36329e+06", "1363290"), ("0.50", "0.5"), ("-3", "-3"), ("1e3", "1000")],
)
def test_numbers_of_data_sets_are_written_as_one_would(value: str, text: str) -> None:
    found = read_number(value)
    assert found is not None
    assert written(found) == text


@pytest.mark.parametrize("value", ["", "five", "1,000", "inf", "nan", "1e999999"])
def test_what_is_no_number_is_none(value: str) -> None:
    assert read_number(value) is None


def test_numbers_are_equal_within_what_is_told() -> None:
    one = Fraction(1)
    assert same(5 * one, 5 * one)
    assert not same(99_998 * one, 99_999 * one)
    # SVAMP keeps six digits
    assert same(1_363_293 * one, 1_363_290 * one)
    assert same(Fraction("1.8333"), Fraction("1.8333333333"))
    assert not same(Fraction("1.83"), Fraction("1.8333333333"))
    assert not same(-5 * one, 5 * one)
    assert not same(Fraction("1e-9"), 0 * one)
    metric = SameNumber()
    assert metric.score(answered("0.5", "", "1/2")) == 1
    assert metric.score(answered("12", "", None)) == 0
    with pytest.raises(TypeError, match="needs a right answer that is a number"):
        metric.score(answered("twelve", "", "12"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("#### 12\n\nQuestion: What is 3 + 4?\nAnswer: #### 7", {"12"}),
        ("That is 12.\nQuestion: 7", {"12"}),
        ("Question: 7\n#### 7", {None}),
        # it never ends, and goes on with problems of its own in another form
        ("#### 12\n" + "\nQ: 3 + 4?\nA: The answer is 7.\n#### 7" * 20, {"12", "7"}),
    ],
)
def test_what_stands_behind_a_stop_string_is_no_answer(text: str, found: set[str | None]) -> None:
    cut, _ = cut_at_stop(text, GSM8K.stop)
    filters = {use.label: PARTS.filters[use.name](**use.settings) for use in GSM8K.filters}
    assert StatedNumber().find(cut) in found
    assert {filters["flexible-extract"].find(cut), filters["robust"].find(cut)} - {"12."} <= found


# ---- where a solution says its answer --------------------------------------------------------------------


@pytest.mark.parametrize(("text", "answers"), SOLUTIONS.items(), ids=range(len(SOLUTIONS)))
def test_the_final_answer_is_found(text: str, answers: tuple[str | None, str | None]) -> None:
    assert (final_answer(text), robust_answer(text)) == answers


def test_boxes_hold_what_their_braces_hold() -> None:
    assert boxed("\\boxed{\\frac{1}{2}} or \\boxed{a{b}c}") == "a{b}c"
    assert boxed("\\boxed{1") is None
    assert boxed("none") is None
    assert boxed("\\boxed 12$ and") == "12"


# ---- the judge -----------------------------------------------------------------------------------------


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends is waited for, also on a machine where a second's work takes ten."""
    for how in judging.LIMITS:
        monkeypatch.setitem(judging.LIMITS, how, 120.0)


@pytest.fixture
def judge(patience: None) -> Iterator[Judge]:
    found = Judge()
    yield found
    found.close()
    gc.collect()


def child(judge: Judge) -> subprocess.Popen[bytes]:
    assert judge._child is not None
    return judge._child


@needs_math_verify
def test_the_process_is_kept_and_closed(judge: Judge) -> None:
    assert judge.ask(Question("equal", "\\frac{1}{2}", "0.5")) == Verdict(True)
    first = child(judge)
    assert judge.ask(Question("verify", "It is $\\boxed{2}$.", "So $x=2$.")) == Verdict(True)
    assert judge.ask(Question("equal", "2", "3")) == Verdict(False)
    assert child(judge) is first
    judge.close()
    assert first.returncode is not None


@needs_math_verify
@pytest.mark.parametrize("hanging", HANGING)
def test_what_hangs_is_ended_and_wrong_and_the_next_is_judged(
    hanging: str, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert judge.ask(Question("equal", "1", "1.0")) == Verdict(True)
    first = child(judge)
    with monkeypatch.context() as patch:
        patch.setitem(judging.LIMITS, "equal", 1.0)
        assert judge.ask(Question("equal", "5", hanging)) == Verdict(False, late=True)
    # its limit has ended it: what the system ends has another signal
    assert first.returncode == -signal.SIGKILL
    # it is known now: no process is asked again
    assert judge.ask(Question("equal", "5", hanging)) == Verdict(False, late=True)
    assert judge._child is None
    assert judge.ask(Question("equal", "2", "4/2")) == Verdict(True)


@needs_math_verify
def test_the_process_waits_for_the_next_figure_and_no_longer(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge.ask(Question("equal", "1", "1.0"))
    first = child(judge)
    judge.rest()
    assert judge.ask(Question("equal", "1", "1.0")) == Verdict(True)
    assert child(judge) is first
    monkeypatch.setattr(judging, "_IDLE", 0.01)
    judge.rest()
    first.wait(120)


@needs_math_verify
def test_a_process_that_reads_no_question_is_ended_too(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    judge.ask(Question("equal", "1", "1.0"))
    os.kill(child(judge).pid, signal.SIGSTOP)
    monkeypatch.setitem(judging.LIMITS, "equal", 1.0)
    assert judge.ask(Question("equal", "1", "x+" * 500_000)) == Verdict(False, late=True)


@needs_math_verify
def test_a_process_that_others_ended_is_started_again(judge: Judge) -> None:
    judge.ask(Question("equal", "1", "1.0"))
    os.kill(child(judge).pid, signal.SIGKILL)
    assert judge.ask(Question("equal", "2", "4/2")) == Verdict(True)


@needs_math_verify
def test_it_is_asked_from_any_thread(judge: Judge) -> None:
    told: dict[int, Verdict] = {}

    def ask(number: int) -> None:
        told[number] = judge.ask(Question("equal", str(number % 4), f"{2 * number}/2"))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert told == {number: Verdict(number < 4) for number in range(8)}


@needs_math_verify
def test_it_ends_with_the_process_that_asked(tmp_path: Path) -> None:
    program = (
        "import os, signal; from slmeval_math.judge import *; LIMITS['equal'] = 120.0; "
        "JUDGE.ask(Question('equal', '1', '1.0')); print(JUDGE._child.pid, flush=True); {}"
    )
    for end in ("", "os.kill(os.getpid(), signal.SIGKILL)"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program.format(end)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.stderr
        pid = int(done.stdout)
        deadline = time.monotonic() + 120
        while alive(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # a zombie that nobody has waited for has ended
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:  # it ended meanwhile
        return False
    except FileNotFoundError:  # it ended meanwhile, or there is no /proc
        return not Path("/proc/self/stat").exists()


@needs_math_verify
def test_a_process_that_nobody_waits_for_ends_by_itself() -> None:
    program = (
        "from slmeval_math import symbolic; symbolic._PROCESSOR = 0.5; symbolic._imported(); "
        "symbolic._answer({'how': 'equal', 'right': '1', 'given': '99999999!'}, None)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=300)
    assert done.returncode == -signal.SIGVTALRM


def test_where_the_memory_is_not_enough_it_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    def ways(right: str, given: str) -> Iterator[bool]:
        yield right == given
        raise MemoryError

    monkeypatch.setitem(symbolic._WAYS, "equal", ways)
    monkeypatch.setattr(symbolic, "_rest", lambda: None)
    told = io.StringIO()
    assert symbolic._answer({"how": "equal", "right": "1", "given": "2"}, told) == "late"
    assert told.getvalue() == "on\n"


@needs_math_verify
def test_memory_is_bounded(judge: Judge) -> None:
    resource = pytest.importorskip("resource")
    judge.ask(Question("equal", "1", "1.0"))
    if hasattr(resource, "prlimit"):
        assert resource.prlimit(child(judge).pid, resource.RLIMIT_AS)[0] == 4 << 30


# ---- metrics -------------------------------------------------------------------------------------------

SAYS = "Final Answer: The final answer is ${}$. I hope it is correct."


@needs_math_verify
def test_the_three_figures_find_and_compare_each_in_its_way(patience: None) -> None:
    gold = "So it is $\\boxed{\\frac{1}{2}}$."
    metrics = (FinalAnswerMatch, MathVerify, RobustAnswerMatch)
    scores = {
        text: [metric().score(answered(gold, text)) for metric in metrics]
        for text in (SAYS.format("0.5"), "so $\\boxed{0.5}$", "Answer: 1/2", "It is 0.5", "", "5")
    }
    assert scores == {
        SAYS.format("0.5"): [1, 1, 1],
        "so $\\boxed{0.5}$": [0, 1, 1],
        "Answer: 1/2": [0, 1, 1],
        "It is 0.5": [0, 1, 1],
        "": [0, 0, 0],
        "5": [0, 0, 0],
    }
    judging.JUDGE.close()


@needs_math_verify
def test_the_note_tells_what_was_late_and_what_was_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    metric, gold, scores = FinalAnswerMatch(), "$\\boxed{5}$", []
    for text in (SAYS.format("5"), "no", "none", SAYS.format("6"), SAYS.format(HANGING[0])):
        # the last one is the one that is late, and its limit the one that is told
        monkeypatch.setitem(judging.LIMITS, "equal", 1.0 if HANGING[0] in text else 120.0)
        scores.append(metric.score(answered(gold, text)))
    figure = metric.total("exact_match", scores, [1.0] * 5)
    assert (figure.value, figure.note) == (
        0.2,
        "answers not compared within 1 s: 1, texts without an answer: 2",
    )
    assert not metric.total("exact_match", scores, [1.0] * 5).note
    judging.JUDGE.close()


def test_a_group_does_not_tell_the_counts_of_a_member() -> None:
    figure = Figure("exact_match", 0.5, 0.1, (0.3, 0.7), 4, "", note="texts without an answer: 2")
    cells = {
        (name, 4): CellResult(
            *("task", name, "1", "b", "m", 4, 1, 4, False), (figure,), {}, DataOrigin("made", "00", 4)
        )
        for name in ("a", "b")
    }
    group = GroupCell(Group("both", ("a", "b"), average=("exact_match",), over="rows"), 4, tuple(cells))
    assert not group_figures(group, cells, {"exact_match"})[0].note


@needs_math_verify
def test_votes_are_answers_in_their_normal_form() -> None:
    assert FinalAnswerMatch().vote(answered("", SAYS.format("\\frac12"))) == "\\frac{1}{2}"
    assert FinalAnswerMatch().vote(answered("", "no")) is None
    assert RobustAnswerMatch().vote(answered("", "The answer is 1,234.")) == "1234"
    assert MathVerify().vote(answered("", "so $\\boxed{2}$")) == "2"


@pytest.mark.parametrize("missing", ["sympy", "math_verify"])
def test_without_the_extra_it_fails_before_a_model_is_asked(
    missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(installed, "find_spec", lambda name: None if name == missing else object())
    (tmp_path / "minerva_math_algebra").mkdir()
    row = '{"problem": "1+1?", "solution": "$\\\\boxed{2}$"}'
    (tmp_path / "minerva_math_algebra" / "test.jsonl").write_text(row)
    with pytest.raises(MissingExtra, match=rf"{missing}, which .* pip install 'slmeval\[math\]'"):
        draft(RunOptions(), MINERVA_MATH[0], 0, PARTS, open_folder(tmp_path))


@needs_math_verify
def test_another_version_of_antlr_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "version", lambda _: "4.13.2")
    with pytest.raises(MissingExtra, match=r"is version 4\.13\.2, and must be 4\.11"):
        FinalAnswerMatch()


def test_a_solution_without_a_box_is_no_row(tmp_path: Path) -> None:
    (tmp_path / "minerva_math_algebra").mkdir()
    (tmp_path / "minerva_math_algebra" / "test.jsonl").write_text('{"problem": "1+1?", "solution": "2"}')
    with pytest.raises(DataError, match=r"line 1: not a row .*no answer in \\boxed"):
        draft(RunOptions(), MINERVA_MATH[0], 0, PARTS, open_folder(tmp_path))


# ---- tasks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "rows"), [(SVAMP, 300), (MAWPS, 300)])
def test_real_rows_are_asked_and_their_answers_are_right(task: Any, rows: int, shared_data: Path) -> None:
    made = draft(RunOptions(), task, 2, PARTS, open_folder(shared_data)).samples
    assert len(made) == rows
    metric, (find,) = SameNumber(), (StatedNumber(),)
    for sample in made:
        assert metric.score(answered(str(sample.target), "", find.find(f"so it is {sample.target}."))) == 1
        (request,) = sample.requests
        assert isinstance(request, Generate)
        assert request.prompt.count("Question: ") == 3
        assert request.prompt.endswith("\nAnswer:")


def test_svamp_has_its_story_and_its_question_as_sentences() -> None:
    row = {"Body": "If she has 4 eggs ", "Question": "how many are left?", "Answer": "1.5e+06"}
    (request,) = SVAMP.sample(row, ()).requests
    assert isinstance(request, Generate)
    assert request.prompt == "Question: If she has 4 eggs. how many are left?\nAnswer:"
    assert SVAMP.sample(row, ()).target == "1500000"
    with pytest.raises(ValueError, match="Answer must be a number, not 'four'"):
        SVAMP.sample({**row, "Answer": "four"}, ())


def test_the_answers_of_gsm8k_are_found_in_its_own_solutions(shared_data: Path) -> None:
    rows = GSM8K.load(open_folder(shared_data), "test").rows
    metric, find = PARTS.metrics["exact_match"](**GSM8K.metrics[0].settings), StatedNumber()
    for row in rows:
        for text in (row["answer"], row["answer"].replace("#### ", "The answer is ")):
            assert metric.score(answered(row["answer"], text, find.find(text))) == 1, row["answer"]


def test_the_surveys_mean_has_one_number_of_shots() -> None:
    found = select(RunOptions(tasks=("survey_math",)), PARTS)
    assert {wish.shots for wish in found.wishes} == {4}
    assert [cell.group.name for cell in found.groups] == ["minerva_math", "survey_math"]
    assert found.groups[1].members == (("gsm8k", 4), ("minerva_math", 4))
    figures = {f"{PARTS.tasks['gsm8k'].metrics[0].name}/{use.label}" for use in GSM8K.filters}
    assert set(found.groups[1].group.average) <= figures


def test_of_a_group_the_task_with_too_few_examples_is_named(tmp_path: Path) -> None:
    (tmp_path / "gsm8k").mkdir()
    row = '{"question": "1+1?", "answer": "#### 2"}\n'
    for split, count in (("test", 1), ("train", 4)):
        (tmp_path / "gsm8k" / f"{split}.jsonl").write_text(row.replace("1+1", split) * count)
    told = "task 'gsm8k': drawing the shots takes 5 rows, and there are 4 .*--shots, or leave the task out"
    with pytest.raises(DataError, match=told):
        draft(RunOptions(), GSM8K, 5, PARTS, open_folder(tmp_path))


def test_the_group_has_all() -> None:
    names = {wish.task.name for wish in select(RunOptions(tasks=("math",)), PARTS).wishes}
    assert {"gsm8k", "gsm8k_cot", "svamp", "asdiv", "mawps", "minerva_math500"} <= names
    assert sum(name.startswith("minerva_math_") for name in names) == 7
