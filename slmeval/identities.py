"""Which item a question is of, and with which others it belongs together: told from the row's content alone.

So the same question has the same hash with other examples before it, in another template, in a part of the
data set, or read from another file.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from slmeval.api import Task
from slmeval.types import Row, Sample

#: hexadecimal digits of an item's hash: of a million items two are alike once in 600 times
DIGITS = 12


def identified(task: Task, rows: Sequence[Row], samples: Iterable[Sample]) -> Iterator[Sample]:
    """The questions of ``rows``, each with its item's hash and, where the task has some, its cluster.

    The hash is of the fields that the task needs. Of rows that are alike the second has another than the
    first, as has each one after it.
    """
    seen: Counter[str] = Counter()
    clusters: dict[str, int] = {}
    for row, sample in zip(rows, samples, strict=True):
        told = _told(_content(task, row))
        seen[told] += 1
        item = _hash(told if seen[told] == 1 else f"{told} {seen[told]}")
        yield replace(sample, item=item, cluster=_cluster(task, row, clusters))


def _content(task: Task, row: Row) -> Any:
    """The values of the fields that the task needs; of a row of a task's own that has none, all of it."""
    fields = task.dataset.fields
    return [row.get(field) for field in fields] if any(field in row for field in fields) else dict(row)


def _cluster(task: Task, row: Row, known: dict[str, int]) -> int | None:
    if not task.cluster or task.cluster not in row:
        return None
    shared = row[task.cluster]
    # rows without a passage have none in common; the number 0 is one like any other
    none = shared is None or (isinstance(shared, (str, Sequence)) and not shared)
    return known.setdefault(f"of its own {len(known)}" if none else _told(shared), len(known))


def _told(value: Any) -> str:
    try:
        return json.dumps(value, sort_keys=True, default=_plain)
    except (TypeError, ValueError):
        # keys that JSON has not, or that have no order, and what holds itself
        return repr(value)


def _plain(value: Any) -> Any:
    """What JSON does not know, told alike in every process: sets have no order, long arrays a short text."""
    if isinstance(value, (set, frozenset)):
        return sorted(map(_told, value))
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
