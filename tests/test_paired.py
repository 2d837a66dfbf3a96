"""Paired differences: their intervals against scipy's and simulation, and what is made of them."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from quickness import takes_less
from scipy import stats

from slmeval.differences import Estimate
from slmeval.paired import Pairs, contrast, detectable, holm, mcnemar, one_sample
from slmeval.resampling import Urn, sums
from slmeval.statistics import bonett_price, wilson

Drawing = Callable[[np.random.Generator], Pairs]


def flips(n: int, gained: int, lost: int, right: int = 0) -> Pairs:
    """``n`` items, so many of which differ, and so many of which both sides have right."""
    first = [0.0] * gained + [1.0] * lost + [1.0] * right
    second = [1.0] * gained + [0.0] * lost + [1.0] * right
    rest = [0.0] * (n - len(first))
    return Pairs([*first, *rest], [*second, *rest])


def ends(found: Estimate) -> tuple[float, float]:
    return found.low, found.high


# ---- the bootstrap's distribution --------------------------------------------------------------------


def test_the_bootstrap_is_the_one_that_draws() -> None:
    random = np.random.default_rng(1)
    values = random.gamma(1, 1, 40) - 1
    shares = np.full(40, 1 / 40)
    found = sums([Urn(values / 40, shares, 40, 39)]).tails(0.025)
    # its seed has another name in each scipy; so many draws are the same without
    drawn = stats.bootstrap((values,), np.mean, n_resamples=100_000, method="percentile")
    interval = drawn.confidence_interval
    assert found == pytest.approx((interval.low, interval.high), abs=0.008)


@pytest.mark.parametrize(("n", "gained", "lost"), [(50, 3, 5), (500, 30, 60), (5000, 400, 500)])
def test_of_flips_it_is_multinomial(n: int, gained: int, lost: int) -> None:
    shares = np.array([gained, lost, n - gained - lost]) / n
    drawn = np.random.default_rng(2).multinomial(n, shares, 400_000)
    low, high = np.quantile(drawn[:, 0] - drawn[:, 1], [0.025, 0.975])
    found = sums([Urn(np.array([1.0, -1.0, 0.0]), shares, n, n - 1)], 1.0).tails(0.025)
    # a count is spread over half an item on either side
    assert found == pytest.approx((low, high), abs=0.75)


def test_far_tails_are_those_of_the_normal_distribution_with_many_draws() -> None:
    values = np.array([-1.0, 1.0])
    urn = Urn(values, np.array([0.5, 0.5]), 1_000_000, 999_999)
    for tail in (1e-3, 1e-6, 1e-10):
        assert sums([urn], 2.0).tails(tail)[0] / 1000 == pytest.approx(stats.norm.ppf(tail), rel=0.002)


def test_several_urns_are_drawn_from_each_for_itself() -> None:
    few = Urn(np.array([0.0, 3.0]), np.array([0.9, 0.1]), 5, 4)
    many = Urn(np.array([-1.0, 1.0]), np.array([0.4, 0.6]), 60, 59)
    random = np.random.default_rng(3)
    drawn = 3 * random.binomial(5, 0.1, 400_000) + 2 * random.binomial(60, 0.6, 400_000) - 60
    both = sums([few, many], 1.0)
    assert both.tails(0.025) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.6)
    assert few.mean + many.mean == pytest.approx(drawn.mean(), abs=0.05)
    assert few.variance + many.variance == pytest.approx(drawn.var(), rel=0.01)


# ---- differences -------------------------------------------------------------------------------------


def test_a_difference_of_shares() -> None:
    found = contrast(flips(1000, 30, 60, 500))
    assert found.value == pytest.approx(-0.03)
    assert (found.n, found.clusters, found.level) == (1000, 0, 0.95)
    assert found.stderr == pytest.approx(math.sqrt((90 / 1000 - 0.03**2) / 1000), rel=0.01)
    assert ends(found) == pytest.approx(bonett_price(30, 60, 1000), abs=0.001)


def test_factor_and_offset_move_the_limit() -> None:
    pairs = flips(400, 10, 30, 200)
    plain, moved = contrast(pairs), contrast(pairs, offset=-0.01)
    assert moved.value == pytest.approx(plain.value + 0.01)
    assert ends(moved) == pytest.approx((plain.low + 0.01, plain.high + 0.01))
    # 210 right of 400 against 98% of 230 of 400
    assert contrast(pairs, factor=0.98).value == pytest.approx(210 / 400 - 0.98 * 230 / 400)
    near = contrast(pairs, factor=1 + 1e-9)
    assert ends(near) == pytest.approx(ends(plain), abs=1e-4)


def test_a_higher_level_is_wider() -> None:
    pairs = flips(300, 20, 25, 100)
    found = [contrast(pairs, level=level) for level in (0.5, 0.95, 0.999, 0.999999, 1.0)]
    assert all(wide.low < narrow.low and wide.high > narrow.high for narrow, wide in pairwise(found))
    assert found[-1].low > -1


def test_where_nothing_differs_there_is_a_width() -> None:
    same = contrast(flips(1000, 0, 0, 400))
    assert same.value == 0
    # as wide as about two items that nobody saw
    assert -same.low == pytest.approx(same.high)
    assert 0.0015 < same.high < 0.0035


def test_where_other_scores_do_not_differ_there_is_none() -> None:
    scores = [0.25, 1.5, 0.75]
    found = contrast(Pairs(scores, scores))
    assert ends(found) == (0, 0)
    assert found.method == "no item differs"


def test_of_one_item_nothing_is_known() -> None:
    assert ends(contrast(Pairs([1.0], [1.0]))) == (-1, 1)
    assert ends(contrast(Pairs([0.3], [0.7]))) == (-math.inf, math.inf)
    assert contrast(Pairs([0.3], [0.7])).stderr == math.inf


def test_of_one_cluster_nothing_is_known() -> None:
    first, second = flips(20, 3, 4, 6).first, flips(20, 3, 4, 6).second
    found = contrast(Pairs(first, second, clusters=[7] * 20), offset=-0.5)
    assert ends(found) == (-0.5, 1.5)
    assert found.clusters == 1


def test_clusters_of_one_item_are_items() -> None:
    pairs = flips(200, 10, 20, 100)
    alone = Pairs(pairs.first, pairs.second, clusters=range(200))
    assert ends(contrast(alone)) == pytest.approx(ends(contrast(pairs)))
    assert contrast(alone).clusters == 0


def test_items_asked_twice_in_clusters_are_worth_half() -> None:
    pairs = flips(400, 40, 60, 100)
    twice = Pairs([*pairs.first] * 2, [*pairs.second] * 2, clusters=[*range(400)] * 2)
    once, both = contrast(pairs), contrast(twice)
    assert both.clusters == 400
    assert ends(both) == pytest.approx(ends(once), abs=0.001)


def test_the_order_of_items_does_not_matter() -> None:
    random = np.random.default_rng(4)
    first, second, weights = random.random((3, 60))
    clusters, strata = random.integers(0, 12, 60), random.integers(0, 2, 60)
    given = [first, second, weights, clusters, strata]
    order = random.permutation(60)
    found, mixed = (contrast(Pairs(*each)) for each in (given, [values[order] for values in given]))
    assert ends(found) == pytest.approx(ends(mixed))
    assert found.clusters == mixed.clusters > 12


def test_a_group_averages_its_members_each_for_itself() -> None:
    small, large = flips(10, 2, 0, 3), flips(90, 0, 9, 30)
    strata = [0] * 10 + [1] * 90
    pairs = Pairs([*small.first, *large.first], [*small.second, *large.second], strata=strata)
    assert contrast(pairs).value == pytest.approx(-0.07)
    halves = Pairs(pairs.first, pairs.second, [1 / 10] * 10 + [1 / 90] * 90, strata=strata)
    found = contrast(halves)
    assert found.value == pytest.approx((0.2 - 0.1) / 2)
    # two independent means
    by_hand = math.sqrt(0.2 * 0.8 / 9 + 0.1 * 0.9 / 89) / 2
    assert found.stderr == pytest.approx(by_hand, rel=0.15)


def test_members_of_one_cluster_are_taken_together() -> None:
    random = np.random.default_rng(5)
    pairs = Pairs(*random.random((2, 30)), clusters=[0] * 10 + [1] * 20, strata=[0] * 10 + [1] * 20)
    found = contrast(pairs)
    assert math.isfinite(found.low)
    assert found.low < found.value < found.high


def test_a_perplexity_is_compared_as_perplexity() -> None:
    random = np.random.default_rng(6)
    first = random.normal(2, 0.3, 400)
    second = first + random.normal(0.02, 0.05, 400)
    found = contrast(Pairs(first, second, scale="exp"))
    assert found.value == pytest.approx(math.exp(second.mean()) - math.exp(first.mean()))
    drawn = random.integers(0, 400, (4000, 400))
    values = np.exp(second[drawn].mean(axis=1)) - np.exp(first[drawn].mean(axis=1))
    assert ends(found) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), rel=0.05)


def test_bits_per_byte_weigh_long_texts_more() -> None:
    random = np.random.default_rng(7)
    first, second = random.gamma(2, 0.5, (2, 300))
    weights = random.integers(10, 500, 300)
    found = contrast(Pairs(first, second, weights, scale="bits"))
    by_hand = np.average(second - first, weights=weights) / math.log(2)
    assert found.value == pytest.approx(by_hand)
    drawn = random.integers(0, 300, (4000, 300))
    values = (weights * (second - first))[drawn].sum(axis=1) / weights[drawn].sum(axis=1) / math.log(2)
    assert ends(found) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), rel=0.05, abs=0.005)


def test_what_weighs_nothing_does_not_count() -> None:
    pairs = flips(100, 5, 9, 40)
    more = Pairs([*pairs.first, 1.0, 1.0], [*pairs.second, 0.0, 0.0], [1.0] * 100 + [0.0, 0.0])
    assert contrast(more).n == 100
    assert ends(contrast(more)) == pytest.approx(ends(contrast(pairs)))


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (Pairs([], []), "there are no items"),
        (Pairs([1.0], []), "the first side has 1 scores and the second 0"),
        (Pairs([1.0, math.nan], [1.0, 1.0]), "first score 1 is nan, and no finite number"),
        (Pairs([1.0, 1.0], [math.inf, 1.0]), "second score 0 is inf, and no finite number"),
        (Pairs([1.0, 1.0], [0.0, 1.0], [0.0, 0.0]), "no item weighs anything"),
        (Pairs([1.0, 1.0], [0.0, 1.0], [1.0, -2.0]), "weight 1 is -2, and weights are not below 0"),
        (Pairs([1.0, 1.0], [0.0, 1.0], [1.0, math.nan]), "weight 1 is nan"),
        (Pairs([1.0, 1.0], [0.0, 1.0], clusters=[1]), "there are 2 scores and 1 clusters"),
        (Pairs([1.0, 1.0], [0.0, 1.0], strata=[1]), "there are 2 scores and 1 strata"),
    ],
)
def test_what_cannot_be_compared_is_said(pairs: Pairs, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        contrast(pairs)


def test_a_level_is_a_share() -> None:
    with pytest.raises(ValueError, match="level is between 0 and 1, and 95 is not"):
        contrast(flips(10, 1, 1), level=95)


def test_ten_thousand_items_take_milliseconds() -> None:
    random = np.random.default_rng(8)
    first, second = (tuple(each) for each in random.integers(0, 2, (2, 10_000)).astype(float))
    contrast(Pairs(first, second))
    clustered = Pairs(first, second, clusters=[each // 5 for each in range(10_000)])
    assert takes_less(lambda: contrast(clustered), 0.1)


# ---- simulation --------------------------------------------------------------------------------------


def share_covered(draw: Drawing, truth: float = 0.0, trials: int = 300, **given: float) -> float:
    random = np.random.default_rng(9)
    found = [contrast(draw(random), **given) for _ in range(trials)]
    return sum(each.low <= truth <= each.high for each in found) / trials


def alike(n: int, accuracy: float, changed: float) -> Drawing:
    def draw(random: np.random.Generator) -> Pairs:
        first = random.random(n) < accuracy
        second = np.where(random.random(n) < changed, random.random(n) < accuracy, first)
        return Pairs(first * 1.0, second * 1.0)

    return draw


def in_clusters(sizes: Sequence[int]) -> Drawing:
    def draw(random: np.random.Generator) -> Pairs:
        clusters = np.repeat(range(len(sizes)), sizes)
        own = random.beta(1, 1, (2, len(sizes)))[:, clusters]
        first, second = (random.random(own.shape) < own) * 1.0
        return Pairs(first, second, clusters=clusters)

    return draw


def normal(random: np.random.Generator) -> Pairs:
    first, change = random.normal(0, [[1], [0.1]], (2, 30))
    return Pairs(first, first + change, random.lognormal(0, 0.5, 30))


CASES = {
    "50 items": alike(50, 0.5, 0.6),
    "400 items": alike(400, 0.9, 0.5),
    "10 clusters": in_clusters([8] * 10),
    "uneven clusters": in_clusters([3] * 12 + [12] * 6),
    "weights": normal,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_interval_covers_95_of_100(name: str) -> None:
    # three standard errors of 300 trials are 3.8 points
    assert 0.91 < share_covered(CASES[name]) < 0.985


@pytest.mark.slow
def test_clusters_matter() -> None:
    draw = in_clusters([20] * 20)

    def ignored(random: np.random.Generator) -> Pairs:
        pairs = draw(random)
        return Pairs(pairs.first, pairs.second)

    assert share_covered(draw, trials=200) > 0.9
    assert share_covered(ignored, trials=200) < 0.8


# ---- one side ----------------------------------------------------------------------------------------


def test_one_side_has_wilsons_interval() -> None:
    found = one_sample([1.0] * 30 + [0.0] * 70)
    exact = stats.binomtest(30, 100).proportion_ci(method="wilson")
    assert ends(found) == pytest.approx((exact.low, exact.high))
    wider = stats.binomtest(30, 100).proportion_ci(0.999, method="wilson")
    assert ends(one_sample([1.0] * 30 + [0.0] * 70, level=0.999)) == pytest.approx((wider.low, wider.high))


def test_in_clusters_it_is_wider() -> None:
    scores = ([1.0] * 10 + [0.0] * 10) * 10
    found = one_sample(scores, clusters=[each // 10 for each in range(200)])
    assert found.clusters == 20
    plain = one_sample(scores)
    assert found.high - found.low > 2.5 * (plain.high - plain.low)


def test_all_right_is_not_certain() -> None:
    found = one_sample([1.0] * 50)
    assert ends(found) == pytest.approx(wilson(1.0, 50))
    clustered = one_sample([1.0] * 50, clusters=[each // 10 for each in range(50)])
    assert clustered.low < found.low
    assert ends(one_sample([1.0] * 5, clusters=[0] * 5)) == (0, 1)


def test_other_scores_have_the_bootstraps() -> None:
    random = np.random.default_rng(10)
    scores = random.normal(3, 1, 25)
    exact = stats.ttest_1samp(scores, 0).confidence_interval()
    assert ends(one_sample(scores)) == pytest.approx((exact.low, exact.high), abs=0.05)
    with pytest.raises(ValueError, match="score 1 is nan"):
        one_sample([1.0, math.nan])


# ---- tests and what they could see -------------------------------------------------------------------


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (3, 9), (9, 3), (5, 5), (40, 80), (0, 30)])
def test_mcnemar_is_the_binomial_test(gained: int, lost: int) -> None:
    exact = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(exact)


def test_holm_corrects_for_those_that_are_known() -> None:
    # by hand: 3 · 0.01, 2 · 0.03, and no less than that
    assert holm([0.01, None, 0.04, 0.03]) == [
        pytest.approx(0.03),
        None,
        pytest.approx(0.06),
        pytest.approx(0.06),
    ]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([None]) == [None]
    assert holm([]) == []


@pytest.mark.slow
@pytest.mark.parametrize("differ", [0.0, 0.05, 0.2])
def test_what_is_detectable_is_seen_in_80_of_100_cases(differ: float) -> None:
    n = 1500
    smallest = detectable(flips(n, round(n * differ / 2), round(n * differ / 2), 500))
    assert smallest is not None
    gained = max(differ - smallest, 0) / 2
    shares = [gained, gained + smallest, 1 - 2 * gained - smallest]
    drawn = np.random.default_rng(11).multinomial(n, shares, 200)
    seen = [contrast(flips(n, int(g), int(k))).high < 0 for g, k, _ in drawn]
    assert 0.68 < np.mean(seen) < 0.93


def test_fewer_clusters_see_less() -> None:
    pairs = in_clusters([20] * 10)(np.random.default_rng(12))
    plain = detectable(Pairs(pairs.first, pairs.second))
    clustered = detectable(pairs)
    assert plain is not None
    assert clustered is not None
    assert clustered > 1.5 * plain


def test_of_what_does_not_differ_nothing_is_known() -> None:
    assert detectable(Pairs([0.5, 0.7], [0.5, 0.7])) is None
    assert detectable(Pairs([1.0], [0.0])) is None


# ---- what it costs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["slmeval.paired", "slmeval.sequences", "slmeval.influences"])
def test_neither_numpy_nor_scipy_is_imported_early(module: str) -> None:
    code = f"import sys, {module}; assert not {{'numpy', 'scipy'}} & set(sys.modules), 'early'"
    subprocess.run([sys.executable, "-c", code], check=True)
