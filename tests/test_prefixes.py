"""Prefix order, and the cutting of units out of the tree of all that is asked."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmeval.prefixes import SHORTEST_TRUNK, TRUNK_SHARE, Budget, cut, in_prefix_order
from slmeval.token_tree import common_length
from slmeval.types import ScoreGroup

Ids = tuple[int, ...]

ids = st.lists(st.integers(0, 3), max_size=6).map(tuple)


@given(st.lists(ids, max_size=12))
def test_prefix_order_loses_nothing_and_its_hint_is_true(contexts: list[Ids]) -> None:
    groups = in_prefix_order(ScoreGroup(context, ((1,),)) for context in contexts)
    assert sorted(group.context for group in groups) == sorted(contexts)
    before: Ids = ()
    for group in groups:
        assert group.shared == common_length(before, group.context)
        before = group.context


def new_tokens(part: tuple[int, ...], rows: list[Ids], more: list[int], trunk: int) -> int:
    """What a unit brings beside its trunk, where an engine keeps the sequence before."""
    spent, before = 0, rows[part[0]][:trunk]
    for at in part:
        spent += len(rows[at]) - max(trunk, common_length(before, rows[at])) + more[at]
        before = rows[at]
    return spent


#: blocks of examples, some of which begin with another, and what follows them
blocks = st.lists(st.lists(st.integers(0, 2), max_size=300).map(tuple), min_size=1, max_size=4)
asked = st.lists(st.tuples(st.integers(0, 3), ids, st.integers(0, 9)), max_size=40)


@given(blocks, asked, st.integers(1, 60), st.integers(1, 9))
def test_units_hold_every_row_once_and_no_more_than_they_may(
    blocks: list[Ids], asked: list[tuple[int, Ids, int]], tokens: int, sequences: int
) -> None:
    rows = [blocks[block % len(blocks)] + tail for block, tail, _ in asked]
    more = [extra for _, _, extra in asked]
    parts = list(cut(rows, more, Budget(tokens, sequences)))
    assert sorted(at for part in parts for at in part) == list(range(len(rows)))
    deepest = max(map(len, blocks))
    for part in parts:
        assert 1 <= len(part) <= sequences
        # a unit may hold more only where it has a trunk, by whose length it then goes
        least = min(new_tokens(part, rows, more, trunk) for trunk in (0, common(part, rows)))
        assert len(part) == 1 or least <= max(tokens, TRUNK_SHARE * deepest)


def common(part: tuple[int, ...], rows: list[Ids]) -> int:
    return min(common_length(rows[part[0]], rows[at]) for at in part)


BLOCK = tuple(range(1000, 1000 + 2 * SHORTEST_TRUNK))


def questions(block: Ids, count: int, first: int = 0) -> list[Ids]:
    return [(*block, 7, first + at, *range(20)) for at in range(count)]


def test_what_follows_a_block_of_examples_is_in_units_of_its_own() -> None:
    rows = [*questions((), 30), *questions(BLOCK, 100), *questions((), 30, first=500)]
    parts = list(cut(rows, [0] * len(rows), Budget(400, 64)))
    with_block = [part for part in parts if any(30 <= at < 130 for at in part)]
    assert all(30 <= at < 130 for part in with_block for at in part)
    # four times the block, at 21 tokens a question
    assert {len(part) for part in with_block[:-1]} == {TRUNK_SHARE * len(BLOCK) // 21}
    # one after the other, so that an engine that keeps the block runs it once
    first = parts.index(with_block[0])
    assert parts[first : first + len(with_block)] == with_block


def test_shots_that_go_on_from_fewer_shots_follow_them() -> None:
    longer = BLOCK + tuple(range(5000, 5000 + 2 * SHORTEST_TRUNK))
    rows = [*questions(longer, 150), *questions(BLOCK, 150)]
    parts = list(cut(rows, [0] * len(rows), Budget(400, 64)))
    kinds = [{at < 150 for at in part} for part in parts]
    assert all(len(kind) == 1 for kind in kinds)
    # once from one to the other
    assert sum(one != other for one, other in pairwise(kinds)) == 1


def test_questions_that_begin_alike_stay_together_where_they_fit() -> None:
    rows = [(row, *range(40), turn) for turn in range(4) for row in range(10)]
    parts = list(cut(rows, [0] * len(rows), Budget(200, 64)))
    homes = {at: number for number, part in enumerate(parts) for at in part}
    for row in range(10):
        assert len({homes[turn * 10 + row] for turn in range(4)}) == 1


@pytest.mark.parametrize("more", [0, 10**6])
def test_a_sequence_that_is_longer_than_a_unit_is_one_of_its_own(more: int) -> None:
    rows = [tuple(range(90)), tuple(range(100, 103)), tuple(range(200, 300))]
    assert list(cut(rows, [more, 0, 0], Budget(50, 8))) == [(0,), (1,), (2,)]


def test_of_nothing_no_unit_is_cut() -> None:
    assert list(cut([], [], Budget(10, 10))) == []
