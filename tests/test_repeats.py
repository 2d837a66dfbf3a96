"""Several texts for one question: pass@k, the majority's answer, and what stands beside a score."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import Any, cast

import pytest
import toys

from slmeval.api import Filter, Metric
from slmeval.endings import endings
from slmeval.errors import JobFailed, UsageError
from slmeval.plan import Scorer
from slmeval.questions import scorer_of
from slmeval.registry import load
from slmeval.repeats import figures, majority, pass_at
from slmeval.scoring import Answered, draws_of, score_cell
from slmeval.statistics import standard_error
from slmeval.testing import evaluate
from slmeval.testing.answers import answers
from slmeval.types import Answer, CellResult, Completion, Likelihood, RunOptions, RunResult, Sample, Use

SAMPLE = Sample((), "x")


@pytest.mark.parametrize("n", range(1, 8))
def test_pass_at_k_is_the_share_of_all_choices_of_k_texts_that_have_a_right_one(n: int) -> None:
    for right in range(n + 1):
        scores = [1.0] * right + [0.0] * (n - right)
        for k in range(1, n + 1):
            tried = [max(chosen) for chosen in combinations(scores, k)]
            assert pass_at(k, n, right) == pytest.approx(mean(tried), abs=1e-12)


@pytest.mark.parametrize(
    ("votes", "right", "share"),
    [
        (["a", "a", "b"], {"a"}, 1.0),
        (["a", "b", "b"], {"a"}, 0.0),
        (["a", "b"], {"a"}, 0.5),
        (["a", "b", "c", None], {"c"}, 1 / 3),
        ([None, None, None, "a"], {"a"}, 1.0),
        ([None, None], {"a"}, 0.0),
        (["a", "a", "b", "b", "c"], {"a", "b"}, 1.0),
        (["", "", "a"], {"a"}, 0.0),
    ],
)
def test_the_majority_is_right_or_shares_a_tie(
    votes: list[str | None], right: set[str], share: float
) -> None:
    scores = [float(vote in right) for vote in votes]
    assert majority(scores, votes) == pytest.approx(share)
    assert majority(scores[::-1], votes[::-1]) == pytest.approx(share)


def test_figures_are_for_doubling_numbers_of_texts() -> None:
    found = [name for name, _, _ in figures("exact_match/strict", [0.0] * 6, ["a"] * 6)]
    assert found == [f"exact_match:{kind}/strict" for kind in ("pass@2", "pass@4", "pass@6", "maj@6")]
    assert [name for name, _, _ in figures("acc", [0.0] * 2, ["a"] * 2)] == ["acc:pass@2", "acc:maj@2"]


def test_a_text_that_ended_badly_counts_as_a_share_of_its_question() -> None:
    draws = [
        (Completion("1", (1, 2), "stop"),),
        (Completion("", (1,) * 9, "length", "hm", 9),),
        (Completion("2", (1,) * 9, "length", "hm", 3),),
        (Completion("", (1, 2), "end"),),
    ]
    told = [
        {"f": Answer(SAMPLE, draw, found)} for draw, found in zip(draws, ("1", None, "2", None), strict=True)
    ]
    assert {name: value for name, _, value in endings(draws, told)} == {
        "no_answer/f": 0.5,
        "cap_hit": 0.5,
        "thought_tokens": 3.0,
        "thought_cap_hit": 0.25,
    }


def test_a_thought_of_untold_length_has_none() -> None:
    draws = [(Completion("1", (), "stop", "hm"),), (Completion("", (), "length", "hm hm"),)]
    told = [{"": Answer(SAMPLE, draw)} for draw in draws]
    assert {name: value for name, _, value in endings(draws, told)} == {
        "cap_hit": 0.5,
        "thought_tokens": None,
        "thought_cap_hit": 0.5,
    }


class Scores(Metric):
    """What is found is the score, and "none" is none; votes as it is told."""

    name = "scores"
    proportion = True

    def __init__(self, vote: Any = "a") -> None:
        self._vote = vote

    def score(self, answer: Answer) -> float | None:
        return None if answer.found == "none" else float(answer.found or 0)

    def vote(self, answer: Answer) -> str | None:
        del answer
        return cast("str | None", self._vote)


class All(Filter):
    """Finds the whole text."""

    name = "all"

    def find(self, text: str) -> str | None:
        return text


def figure_values(*rows: str, metric: Metric | None = None) -> dict[str, tuple[float | None, int]]:
    scorer = Scorer((("f", All()),), (("m", metric or Scores()),))
    asked = [
        Answered(index, SAMPLE, tuple((Completion(text, (1,), "end"),) for text in row.split()))
        for index, row in enumerate(rows)
    ]
    scored = score_cell("t", scorer, {}, asked, lambda *_: None)
    return {figure.name: (figure.value, figure.n) for figure in scored.figures}


def test_a_metric_that_is_not_right_or_wrong_everywhere_has_no_figures_of_repeats() -> None:
    assert figure_values("0 1", "1 1")["m:pass@2/f"] == (1.0, 2)
    assert {"m:pass@2/f", "m:maj@2/f"} & figure_values("0 1", "0.5 1").keys() == set()
    assert {"m:pass@2/f", "m:maj@2/f"} & figure_values("0.5 1", "0 1").keys() == set()
    # of one question alone, because one text of the other has no score, it would be of other questions
    assert {"m:pass@2/f", "m:maj@2/f"} & figure_values("0 1", "none 1").keys() == set()
    assert figure_values("0 1", "none none")["m:pass@2/f"] == (1.0, 1)


def test_a_vote_that_cannot_be_counted_is_its_metrics_failure() -> None:
    with pytest.raises(JobFailed, match=r"task 't': metric 'm/f' failed: TypeError: unhashable"):
        figure_values("0 1", metric=Scores(["a"]))


def test_a_likelihood_stands_beside_every_text_of_its_question() -> None:
    texts = [Completion(letter, (), "end") for letter in "abc"]
    windows = [Likelihood((-1.0,), True), Likelihood((-2.0,), False)]
    whole = Likelihood((-1.0, -2.0), False)
    assert draws_of([texts, windows]) == tuple((text, whole) for text in texts)
    assert draws_of([windows]) == ((whole,),)
    assert draws_of([texts[:1], texts[1:2]]) == ((texts[0], texts[1]),)


# ---- whole runs ----------------------------------------------------------------------------------------

#: writes a number that follows from the seed alone, and counts what it is asked
DRAWER = (
    toys.MODULE.replace(
        '    name = "toy"\n',
        '    name = "toy"\n    capabilities = frozenset({"score", "generate", "sample"})\n',
        1,
    )
    .replace(
        'plain = Completion(f"#### {sum(prompt.ids) % 7}", prompt.ids[:1], "length")',
        'plain = Completion(f"#### {prompt.seed % 3}", prompt.ids[:1], "length")',
    )
    .replace('context = "many" if self._trouble == "info" else 64', "context = 2048")
)


@pytest.fixture
def drawn(demo_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    plugin = tmp_path / "plugin"
    plugin.mkdir()
    toys.install(plugin, monkeypatch, DRAWER)
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))

    def run(**changes: Any) -> RunResult:
        options = RunOptions(("toy",), (str(demo_model),), ("gsm8k",), (0,), sample=True, limit=20)
        drawing = replace(options, temperature=0.8, repeats=5, max_tokens=8)
        return evaluate(replace(drawing, **changes), tmp_path / "store.db")

    return run


def values(cell: CellResult) -> dict[str, float | None]:
    return {figure.name: figure.value for figure in cell.figures}


def test_each_question_is_asked_as_often_as_it_is_repeated(drawn: Any, tmp_path: Path) -> None:
    result = drawn()
    (cell,) = result.cells
    assert (result.status, result.asked, cell.n, cell.repeats) == ("done", 100, 20, 5)
    found = answers(tmp_path / "store.db", result.id, 0)
    assert {len(replies) for replies in found.values()} == {5}
    texts = [[reply.text for reply in replies] for replies in found.values()]
    assert len({tuple(each) for each in texts}) > 10, "no two questions draw with the same seeds"
    name = "exact_match/strict-match"
    score, any_of_five, by_vote = (
        values(cell)[each]
        for each in (name, "exact_match:pass@5/strict-match", "exact_match:maj@5/strict-match")
    )
    right = [_targets(tmp_path, row) for row in found]
    shares = [
        mean(float(text == f"#### {gold}") for text in each) for each, gold in zip(texts, right, strict=True)
    ]
    assert score == pytest.approx(mean(shares))
    figure = next(each for each in cell.figures if each.name == name)
    # texts to one question are no independent questions: the error is over questions
    assert figure.stderr == pytest.approx(standard_error(shares))
    assert any_of_five == pytest.approx(mean(float(share > 0) for share in shares))
    assert by_vote is not None


def _targets(tmp_path: Path, row: int) -> str:
    from slmeval.datasets import open_sample
    from slmeval_math import GSM8K

    rows = open_sample().load(GSM8K.dataset, "test").rows
    return str(rows[row]["answer"]).rsplit("#### ", 1)[1]


def test_more_repeats_and_another_seed_ask_only_what_is_new(drawn: Any) -> None:
    assert drawn(repeats=2).asked == 40
    more = drawn()
    assert (more.asked, more.reused) == (60, 40)
    assert drawn().asked == 0
    assert drawn(seed=7).asked == 100
    assert drawn(temperature=0.9).asked == 100
    assert drawn(top_p=0.9).asked == 100
    assert drawn(temperature=0.0, repeats=1).asked == 20


def test_an_engine_that_cannot_draw_is_refused(
    drawn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    toys.install(other, monkeypatch, toys.MODULE.replace('name = "toy"', 'name = "greedy"'), "greedyplugin")
    with pytest.raises(
        UsageError, match="backend 'greedy' writes greedy texts alone: leave out --temperature"
    ):
        drawn(backends=("greedy",))


def test_choices_are_asked_once_however_often_texts_are(drawn: Any) -> None:
    result = drawn(tasks=("arc_easy", "gsm8k"), limit=3)
    assert [cell.repeats for cell in result.cells] == [1, 5]
    assert "acc" in values(result.cells[0])


@pytest.mark.parametrize(
    ("filters", "metrics", "message"),
    [
        ((Use("regex", {"pattern": "a"}, "strict-match"),), (), "has 2 filters named 'strict-match'"),
        ((), (Use("exact_match"),), "has 2 metrics named 'exact_match'"),
        (
            (),
            (Use("exact_match", {}, "no_answer"),),
            "a metric named 'no_answer', which is a name of figures of its own",
        ),
        ((), (Use("exact_match", {}, "cap_hit"),), "a metric named 'cap_hit'"),
        ((), (Use("exact_match", {}, "exact_match:pass@2"),), "a metric named 'exact_match:pass@2'"),
    ],
)
def test_two_figures_of_one_name_are_refused_before_anything_is_asked(
    filters: tuple[Use, ...], metrics: tuple[Use, ...], message: str
) -> None:
    parts = load().parts
    with pytest.raises(UsageError, match=message):
        scorer_of(parts.tasks["gsm8k"], parts, filters, metrics)


def test_the_interval_of_a_share_lies_within_it_however_a_question_scores() -> None:
    from slmeval.statistics import mean_figure, wilson

    figure = mean_figure("x", [0.5, 0.0, 0.0, 0.0], proportion=True)
    assert figure.ci95 is not None
    assert 0 <= figure.ci95[0] < 0.125 < figure.ci95[1] <= 1
    # two texts that always agree are as one
    whole = mean_figure("x", [1.0, 0.0, 0.0, 1.0], proportion=True)
    assert whole.ci95 == wilson(0.5, 4)
    assert mean_figure("x", [1.0, 1.0], proportion=True).ci95 == wilson(1.0, 2)
    assert mean_figure("x", [0.25, 0.25], proportion=True).ci95 == wilson(0.25, 2)
