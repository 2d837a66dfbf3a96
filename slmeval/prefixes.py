"""What prompts have in common: prefix order, shared lengths, and units of work cut from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from slmeval.types import Prompt, ScoreGroup, TokenIds

ItemT = TypeVar("ItemT")


def common_length(left: Sequence[object], right: Sequence[object]) -> int:
    """How many leading tokens, or characters, the two have in common."""
    limit = min(len(left), len(right))
    if left[:limit] == right[:limit]:
        return limit
    return next(place for place in range(limit) if left[place] != right[place])


def in_prefix_order(groups: Iterable[ScoreGroup]) -> tuple[ScoreGroup, ...]:
    """The groups sorted by context, so that neighbours share the most; ``shared`` filled in."""
    ordered = sorted(groups, key=lambda group: group.context)
    before: TokenIds = ()
    made = []
    for group in ordered:
        made.append(ScoreGroup(group.context, group.continuations, common_length(before, group.context)))
        before = group.context
    return tuple(made)


def prompts_in_prefix_order(prompts: Iterable[TokenIds]) -> tuple[Prompt, ...]:
    """The prompts sorted, so that neighbours share the most; ``shared`` filled in."""
    before: TokenIds = ()
    made = []
    for ids in sorted(prompts):
        made.append(Prompt(ids, common_length(before, ids)))
        before = ids
    return tuple(made)


def cut(items: Sequence[tuple[ItemT, int]], budget: int, most: int) -> Iterator[tuple[ItemT, ...]]:
    """Cut ``(item, cost)`` in order into parts of at most ``budget`` cost and ``most`` items.

    An item that costs more than the budget makes a part of its own. The cut depends only on the items
    before it, so a run over more rows begins with the same parts.
    """
    part: list[ItemT] = []
    spent = 0
    for item, cost in items:
        if part and (spent + cost > budget or len(part) >= most):
            yield tuple(part)
            part, spent = [], 0
        part.append(item)
        spent += cost
    if part:
        yield tuple(part)
