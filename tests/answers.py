"""What a run's store holds, item by item."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from slmeval.store import Store
from slmeval.types import Reply


def answers(store: Path, run: str, cell: int) -> dict[int, list[Reply]]:
    """For each row of a cell, the replies to its requests, in order."""
    with Store.open(store) as opened:
        items = opened.items(run, cell)
        replies = opened.replies(key for _, _, key in items)
    found: dict[int, list[Reply]] = defaultdict(list)
    for row, _, key in items:
        found[row].append(replies[key])
    return found


def predictions(found: dict[int, list[Reply]]) -> dict[int, int]:
    """For each row the most likely choice, the first where several are."""
    sums = {row: [reply.logprob for reply in replies] for row, replies in found.items()}
    return {row: many.index(max(many)) for row, many in sums.items()}
