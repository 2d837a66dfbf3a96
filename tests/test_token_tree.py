"""The tree of what sequences begin with: every token once, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slmeval.token_tree import common_length, common_to_all, in_order, tree

Ids = tuple[int, ...]

ids = st.lists(st.integers(0, 3), max_size=7).map(tuple)
rows = st.lists(ids, max_size=14)


def beginnings(sequences: list[Ids]) -> set[Ids]:
    return {row[:end] for row in sequences for end in range(1, len(row) + 1)}


@given(ids, ids)
def test_the_common_length_is_the_longest_common_prefix(left: Ids, right: Ids) -> None:
    length = common_length(left, right)
    assert left[:length] == right[:length]
    assert left[: length + 1] != right[: length + 1] or length == min(len(left), len(right))


@given(rows)
def test_each_beginning_is_in_one_node_and_each_sequence_ends_in_one(sequences: list[Ids]) -> None:
    nodes = tree(sequences)
    assert sum(node.end - node.start for node in nodes) == len(beginnings(sequences))
    assert sorted(row for node in nodes for row in node.ends) == list(range(len(sequences)))
    for node in nodes:
        for row in node.ends:
            assert sequences[row] == sequences[node.row][: node.end]


@given(rows)
def test_the_nodes_below_a_node_are_those_that_begin_with_it(sequences: list[Ids]) -> None:
    nodes = tree(sequences)
    for number, node in enumerate(nodes):
        beginning = sequences[node.row][: node.end] if sequences else ()
        below = {row for each in nodes[number : node.last + 1] for row in each.ends}
        assert below == {row for row, held in enumerate(sequences) if held[: len(beginning)] == beginning}
        if number:
            assert nodes[node.parent].end == node.start
            assert node.parent < number <= nodes[node.parent].last
            assert node.branching == (len(node.ends) > 1 or node.last > number)


@given(rows)
def test_the_order_runs_each_token_once_where_the_latest_sequence_is_kept(sequences: list[Ids]) -> None:
    order = list(in_order(tree(sequences)))
    before: Ids = ()
    run = 0
    for row in order:
        run += len(sequences[row]) - common_length(before, sequences[row])
        before = sequences[row]
    assert run == len(beginnings(sequences))


def test_branches_come_in_the_order_in_which_they_were_met() -> None:
    sequences = [(5, 1), (2, 9), (5, 0), (2, 3), (5, 1, 7)]
    assert list(in_order(tree(sequences))) == [0, 4, 2, 1, 3]


def test_a_chain_of_sequences_each_one_token_longer_needs_no_deep_call() -> None:
    chain = [tuple(range(length)) for length in range(1, 3000)]
    assert len(tree(chain)) == 3000


@given(rows)
def test_what_all_have_in_common_leaves_each_a_token_of_its_own(sequences: list[Ids]) -> None:
    length = common_to_all(sequences)
    if len(sequences) < 2 or not all(sequences):
        assert length == 0
        return
    assert len({row[:length] for row in sequences}) == 1
    assert all(len(row) > length for row in sequences)
    longer = {row[: length + 1] for row in sequences}
    assert len(longer) > 1 or length == min(map(len, sequences)) - 1
