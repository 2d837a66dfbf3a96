"""What an engine answered in a run, item by item."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from slmeval.store import Store
from slmeval.types import Likelihood, Reply

KeyT = TypeVar("KeyT", bound=Hashable)


def answers(store: Path, run: str, cell: int) -> dict[int, list[Reply]]:
    """For each row of a cell, the replies to its requests, in order."""
    with Store.open(store) as opened:
        items = opened.items(run, cell)
        replies = opened.replies(key for _, _, key in items)
    found: dict[int, list[Reply]] = defaultdict(list)
    for row, _, key in items:
        found[row].append(replies[key])
    return found


def predictions(found: Mapping[KeyT, Sequence[Reply]]) -> dict[KeyT, int]:
    """For each row the most likely choice, the first where several are; texts make no choice."""
    sums = {
        row: [reply.logprob for reply in replies if isinstance(reply, Likelihood)]
        for row, replies in found.items()
    }
    return {row: many.index(max(many)) for row, many in sums.items()}
