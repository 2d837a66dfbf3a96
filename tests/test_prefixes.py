"""Prefix order and the cutting of units."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slmeval.prefixes import common_length, cut, in_prefix_order
from slmeval.types import ScoreGroup

ids = st.lists(st.integers(0, 3), max_size=6).map(tuple)


@given(ids, ids)
def test_the_common_length_is_the_longest_common_prefix(
    left: tuple[int, ...], right: tuple[int, ...]
) -> None:
    length = common_length(left, right)
    assert left[:length] == right[:length]
    assert left[: length + 1] != right[: length + 1] or length == min(len(left), len(right))


@given(st.lists(ids, max_size=12))
def test_prefix_order_loses_nothing_and_its_hint_is_true(contexts: list[tuple[int, ...]]) -> None:
    groups = in_prefix_order(ScoreGroup(context, ((1,),)) for context in contexts)
    assert sorted(group.context for group in groups) == sorted(contexts)
    before: tuple[int, ...] = ()
    for group in groups:
        assert group.shared == common_length(before, group.context)
        before = group.context


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 20), st.integers(1, 5))
def test_a_cut_keeps_order_and_budget(costs: list[int], budget: int, most: int) -> None:
    items = list(enumerate(costs))
    parts = list(cut(items, budget, most))
    assert [item for part in parts for item in part] == [item for item, _ in items]
    for part in parts:
        assert len(part) <= most
        assert sum(costs[item] for item in part) <= budget or len(part) == 1


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(0, 40))
def test_more_rows_begin_with_the_same_units(costs: list[int], fewer: int) -> None:
    items = list(enumerate(costs))
    whole, beginning = list(cut(items, 12, 4)), list(cut(items[:fewer], 12, 4))
    assert whole[: max(0, len(beginning) - 1)] == beginning[:-1]
