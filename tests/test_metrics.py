"""Metrics and filters that come with slmeval."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmeval.builtin.filters import Regex, slmeval_register_filters
from slmeval.builtin.metrics import (
    Accuracy,
    AccuracyBytes,
    AccuracyCorrected,
    AccuracyNorm,
    BitsPerByte,
    Chance,
    ExactMatch,
    Margin,
    slmeval_register_metrics,
)
from slmeval.statistics import wilson
from slmeval.types import Answer, Completion, Generate, Likelihood, Sample, Score


def chosen(logprobs: list[float], choices: list[str], gold: int) -> Answer:
    """An answer in which each choice has two tokens."""
    requests = tuple(Score("Q:", " " + choice) for choice in choices)
    replies = tuple(Likelihood((logprob / 4, logprob * 3 / 4), False) for logprob in logprobs)
    return Answer(Sample(requests, gold, tuple(choices)), replies)


def written(found: str | None, target: str) -> Answer:
    return Answer(Sample((Generate("Q:"),), target), (Completion("...", (1,), "end"),), found)


def test_all_metrics_and_filters_are_brought_by_the_hooks_under_their_names() -> None:
    choices = ["acc", "acc_norm", "acc_bytes", "acc_corrected", "bits_per_byte", "margin", "chance"]
    rotated = ["acc_rotated", "same_choice", "picked"]
    texts = ["greedy", "perplexity", "word_perplexity", "byte_perplexity", "text_bits_per_byte"]
    names = [*choices, "probability_mass", *rotated, *texts, "exact_match"]
    assert [metric.name for metric in slmeval_register_metrics()] == names
    assert [found.name for found in slmeval_register_filters()] == ["regex"]


def test_accuracy_looks_at_the_sum_norm_at_characters_and_bytes_at_utf_8() -> None:
    # per character -2, -1.75, -1.5; per byte -2, -0.875, -1.5
    answer = chosen([-4.0, -7.0, -6.0], ["ab", "öööö", "abcd"], 0)
    assert [metric().score(answer) for metric in (Accuracy, AccuracyNorm, AccuracyBytes)] == [1, 0, 0]
    second = chosen([-4.0, -7.0, -6.0], ["ab", "öööö", "abcd"], 1)
    assert [metric().score(second) for metric in (Accuracy, AccuracyNorm, AccuracyBytes)] == [0, 0, 1]
    third = chosen([-4.0, -7.0, -6.0], ["ab", "öööö", "abcd"], 2)
    assert [metric().score(third) for metric in (Accuracy, AccuracyNorm, AccuracyBytes)] == [0, 1, 0]


@pytest.mark.parametrize("metric", [Accuracy, AccuracyNorm, AccuracyBytes])
def test_a_tie_goes_to_the_first(metric: type[Accuracy]) -> None:
    assert metric().score(chosen([-2.0, -1.0, -1.0], ["ab", "cd", "ef"], 1)) == 1
    assert metric().score(chosen([-2.0, -1.0, -1.0], ["ab", "cd", "ef"], 2)) == 0


@given(
    st.lists(
        st.tuples(st.floats(-500, 0), st.text(min_size=1).filter(lambda text: text.isprintable())),
        min_size=1,
        max_size=6,
    )
)
def test_the_three_accuracies_choose_as_numpy_does(pairs: list[tuple[float, str]]) -> None:
    np = pytest.importorskip("numpy")
    logprobs, choices = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    sums = np.array([math.fsum((value / 4, value * 3 / 4)) for value in logprobs])
    lengths = {
        Accuracy: np.ones(len(pairs)),
        AccuracyNorm: np.array([float(len(choice)) for choice in choices]),
        AccuracyBytes: np.array([float(len(choice.encode())) for choice in choices]),
    }
    for metric, length in lengths.items():
        scores = [metric().score(chosen(logprobs, choices, gold)) for gold in range(len(pairs))]
        assert scores == [float(gold == np.argmax(sums / length)) for gold in range(len(pairs))]


def test_bits_per_byte_are_those_of_the_right_choice_without_its_delimiter() -> None:
    answer = chosen([-1.0, -6 * math.log(2)], ["x", "öab"], 1)
    assert BitsPerByte().score(answer) == pytest.approx(6 / 4)
    figure = BitsPerByte().total("bits_per_byte", [1.0, 2.0], [1.0, 1.0])
    assert (figure.value, figure.unit, figure.higher_is_better) == (1.5, "bits/byte", False)


def test_the_margin_is_to_the_best_of_the_wrong_choices() -> None:
    assert Margin().score(chosen([-3.0, -1.0, -2.0], ["a", "b", "c"], 0)) == pytest.approx(-2)
    assert Margin().score(chosen([-3.0, -1.0, -2.0], ["a", "b", "c"], 1)) == pytest.approx(1)
    assert Margin().score(chosen([-3.0], ["a"], 0)) is None


def test_chance_is_one_over_the_choices_and_has_no_error() -> None:
    scores = [Chance().score(chosen([-1.0] * n, ["x"] * n, 0)) for n in (2, 4)]
    figure = Chance().total("chance", scores, [1.0, 1.0])
    assert (figure.value, figure.stderr, figure.ci95, figure.note) == (0.375, None, None, "exact")
    assert Chance().total("chance", [], []).source == "unavailable"


def test_accuracies_and_exact_match_have_the_interval_of_a_proportion() -> None:
    for metric in (Accuracy, AccuracyNorm, AccuracyBytes, ExactMatch):
        low, high = metric().total("x", [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]).ci95
        assert 0 < low < high == 1


def test_a_metric_of_choices_refuses_an_answer_without_choices() -> None:
    with pytest.raises(TypeError, match="acc_norm needs the likelihood of each choice"):
        AccuracyNorm().score(written("4", "4"))


# ---- exact match -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "found", "target", "score"),
    [
        ({}, "4", "4", 1),
        ({}, "4", "5", 0),
        ({}, "A", "a", 0),
        ({"ignore_case": True}, "ÄB", "äb", 1),
        ({}, "a.b", "ab", 0),
        ({"ignore_punctuation": True}, "a.b!", "ab", 1),
        ({"ignore_punctuation": True}, "a…b", "ab", 0),
        ({"regexes_to_ignore": [",", r"\$"]}, "$1,000", "1000", 1),
        ({"regexes_to_ignore": [r"(?s).*#### "]}, "16", "it is\n16.\n#### 16", 1),
        ({"regexes_to_ignore": [r"\.$", "x"]}, "16.x", "16.", 0),
        ({"regexes_to_ignore": ["x", r"\.$"]}, "16.x", "16.", 1),
    ],
)
def test_both_sides_are_stripped_of_what_is_to_be_ignored_in_order(
    settings: dict[str, object], found: str, target: str, score: float
) -> None:
    assert ExactMatch(**settings).score(written(found, target)) == score


def test_no_answer_found_is_a_wrong_answer_whatever_the_target() -> None:
    assert ExactMatch(regexes_to_ignore=[".*"]).score(written(None, "None")) == 0


# ---- filters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "occurrence", "text", "found"),
    [
        (r"#### (\d+)", 0, "#### 1 #### 2", "1"),
        (r"#### (\d+)", -1, "#### 1 #### 2", "2"),
        (r"#### (\d+)", 1, "#### 1", None),
        (r"#### (\d+)", 0, "no answer", None),
        (r"#### (\d+)", 0, "", None),
        (r"\d+", 0, "a 12 b", "12"),
        (r"is (.*)", 0, "it is  so \n", "so"),
        (r"(a+)|(b+)", 0, "xbb", "bb"),
        (r"(a+)|(b+)", -1, "bb aaa", "aaa"),
        (r"(a*)(b*)", 0, "x", None),
        (r"is(.*)", 0, "it is ", ""),
    ],
)
def test_a_regex_finds_the_match_that_was_asked_for(
    pattern: str, occurrence: int, text: str, found: str | None
) -> None:
    assert Regex(pattern, occurrence).find(text) == found


def test_corrected_accuracy_is_accuracy_on_a_scale_from_chance_to_one() -> None:
    metric = AccuracyCorrected()
    answers = [chosen([-1.0, -2.0, -3.0, -4.0], ["a", "b", "c", "d"], gold) for gold in (0, 0, 0, 1)]
    scores, weights = [metric.score(each) for each in answers], [metric.weight(each) for each in answers]
    assert scores == [1, 1, 1, pytest.approx(-1 / 3)]
    figure = metric.total("acc_corrected", [each or 0.0 for each in scores], weights)
    assert figure.value == pytest.approx((0.75 - 0.25) / 0.75)
    low, high = wilson(0.75, 4)
    assert figure.ci95 == pytest.approx(((low - 0.25) / 0.75, (high - 0.25) / 0.75))
    assert figure.stderr == pytest.approx(0.25 / 0.75)
    # all right, and yet not certain; guessing gives nothing to the digit
    assert metric.total("acc_corrected", [1.0] * 4, [4.0, 4.0, 5.0, 4.0]).ci95 != (1, 1)
    assert metric.total("acc_corrected", [1.0, -1 / 3, -1 / 3, -1 / 3], [4.0] * 4).value == 0
    assert metric.score(chosen([-1.0], ["a"], 0)) is None
