"""Which rows are shown as examples before a question."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from random import Random
from typing import Any, Literal

from slmeval.errors import DataError
from slmeval.types import Row


def fixed_shots(
    pool: Sequence[Row],
    rows: Iterable[Row],
    k: int,
    seed: int,
    task_name: str,
    *,
    order: Literal["drawn", "first"] = "drawn",
    alike: str = "",
) -> Iterator[tuple[Row, ...]]:
    """For each of ``rows`` its ``k`` examples: the same for every row, but never the row itself.

    The order of the pool depends on the seed and the task alone (with ``first`` it stays as it is), so more
    shots begin with the fewer. A row counts as itself when it is equal, wherever it stands. ``alike`` names
    a field in which the examples must equal the row asked.

    :raises DataError: the pool is too small.
    """
    _check_enough(len(pool), k)
    ranked = pool if order == "first" else _shuffled(pool, f"{task_name}:{seed}")
    by_field = _by_field(ranked, alike)
    for asked in rows:
        mine = by_field.get(asked[alike], []) if alike else ranked
        shots = tuple(islice((row for row in mine if row != asked), k))
        _check_enough(len(shots), k)
        yield shots


def _shuffled(pool: Sequence[Row], seed: str) -> list[Row]:
    ranks = Random(seed)
    # random() is the one method whose sequence Python promises to keep for ever
    keys = [ranks.random() for _ in pool]
    return [pool[place] for place in sorted(range(len(pool)), key=keys.__getitem__)]


def _by_field(rows: Sequence[Row], name: str) -> dict[Any, list[Row]]:
    found: dict[Any, list[Row]] = {}
    for row in rows if name else ():
        found.setdefault(row[name], []).append(row)
    return found


def lm_eval_shots(
    pool: Sequence[Row], rows: Iterable[Row], k: int, seed: int, same_split: bool
) -> Iterator[tuple[Row, ...]]:
    """For each of ``rows`` the ``k`` examples that lm-evaluation-harness 0.4.13 would show.

    One stream of random numbers runs through all rows, so ``rows`` must be those that are evaluated, in
    their order. With ``same_split`` (its configuration names neither a few-shot nor a test split) one
    row more is drawn, and rows equal to the one asked are taken out; where copies of it leave too few,
    it draws again from the others (lm_eval/api/samplers.py).

    :raises DataError: the pool is too small.
    """
    drawn = k + 1 if same_split and k else k
    _check_enough(len(pool), drawn)
    stream = Random(seed)
    for asked in rows:
        shots = stream.sample(pool, drawn)
        if same_split:
            shots = [row for row in shots if row != asked][:k]
        if len(shots) < k:
            others = [row for row in pool if row != asked]
            _check_enough(len(others), k)
            shots = stream.sample(others, k)
        yield tuple(shots)


def _check_enough(rows: int, needed: int) -> None:
    if rows < needed:
        raise DataError(
            f"drawing the shots takes {needed} rows, and there are {rows} beside the question: "
            "ask for fewer with --shots, or leave the task out"
        )
