"""The prefix tree of all that a job asks, cut into units of work.

A block of examples that more questions follow than one unit holds is a *trunk*: what follows it is cut
into units of their own, one after the other, each of which begins with it. An engine that keeps the trunk
from one call to the next then runs each token once. What follows smaller branches stays together in a unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from slmeval.token_tree import Node, common_length, in_order, tree
from slmeval.types import Prompt, ScoreGroup, TokenIds

__all__ = ["Budget", "cut", "in_prefix_order", "prompts_in_prefix_order"]

#: fewer tokens are no trunk: they are run again with each unit
SHORTEST_TRUNK = 128
#: a unit holds at least so many times its trunk, for engines that run the trunk with each unit
TRUNK_SHARE = 4


@dataclass(frozen=True)
class Budget:
    """What a unit may hold: tokens that are new in it, and sequences. One sequence always fits."""

    tokens: int
    sequences: int


def in_prefix_order(groups: Iterable[ScoreGroup]) -> tuple[ScoreGroup, ...]:
    """The groups so that neighbours share the most, else as they came; ``shared`` filled in."""
    given = list(groups)
    ordered = [given[number] for number in in_order(tree([group.context for group in given]))]
    return tuple(
        ScoreGroup(group.context, group.continuations, shared)
        for group, shared in zip(ordered, _shared([each.context for each in ordered]), strict=True)
    )


def prompts_in_prefix_order(prompts: Iterable[Prompt]) -> tuple[Prompt, ...]:
    """The prompts so that neighbours share the most, else as they came; ``shared`` filled in."""
    given = list(prompts)
    ordered = [given[number] for number in in_order(tree([prompt.ids for prompt in given]))]
    return tuple(
        Prompt(prompt.ids, shared, prompt.seed)
        for prompt, shared in zip(ordered, _shared([each.ids for each in ordered]), strict=True)
    )


def _shared(rows: Sequence[TokenIds]) -> list[int]:
    """How many leading tokens each one has in common with the one before."""
    return [common_length(before, ids) for before, ids in zip(((), *rows), rows, strict=False)]


def cut(rows: Sequence[TokenIds], more: Sequence[int], budget: Budget) -> Iterator[tuple[int, ...]]:
    """The numbers of ``rows``, each once, in units: what begins alike comes one after the other.

    ``more`` are the tokens that each row brings beside its own.
    """
    nodes = tree(rows)
    streams = _streams(nodes, _costs(nodes, more), budget.tokens)
    for trunk, numbers in streams:
        depth = nodes[trunk].end
        fits = Budget(max(budget.tokens, TRUNK_SHARE * depth), budget.sequences)
        yield from _cut_stream([rows[number] for number in numbers], numbers, more, depth, fits)


def _costs(nodes: Sequence[Node], more: Sequence[int]) -> list[int]:
    """Of each node, the tokens that are at it and below it."""
    costs = [node.end - node.start + sum(more[number] for number in node.ends) for node in nodes]
    for number in range(len(nodes) - 1, 0, -1):
        costs[nodes[number].parent] += costs[number]
    return costs


def _streams(nodes: Sequence[Node], costs: Sequence[int], budget: int) -> list[tuple[int, list[int]]]:
    """Each trunk (the root is one) with the rows that follow it and no longer one."""
    homes = [0]
    streams: dict[int, list[int]] = {0: [*nodes[0].ends]}
    for number, node in enumerate(nodes[1:], 1):
        home = homes[node.parent]
        if costs[number] > budget and node.branching and node.end - nodes[home].end >= SHORTEST_TRUNK:
            home = number
        homes.append(home)
        streams.setdefault(home, []).extend(node.ends)
    return [(trunk, numbers) for trunk, numbers in streams.items() if numbers]


def _cut_stream(
    rows: Sequence[TokenIds], numbers: Sequence[int], more: Sequence[int], trunk: int, budget: Budget
) -> Iterator[tuple[int, ...]]:
    shared = [max(trunk, each) for each in _shared(rows)]
    own = [len(ids) + more[number] for ids, number in zip(rows, numbers, strict=True)]
    start, spent, at = 0, 0, 0
    while at < len(rows):
        cost = own[at] - (trunk if at == start else shared[at])
        if at > start and (spent + cost > budget.tokens or at - start >= budget.sequences):
            end = _parting(shared, start, at)
            yield tuple(numbers[start:end])
            start = at = end
            spent = 0
            continue
        spent += cost
        at += 1
    if numbers[start:]:
        yield tuple(numbers[start:])


def _parting(shared: Sequence[int], start: int, full: int) -> int:
    """Where to cut a unit that is full: in its last quarter, where the least is run again."""
    first = full - (full - start) // 4
    return min(range(full, first - 1, -1), key=lambda at: shared[at])
