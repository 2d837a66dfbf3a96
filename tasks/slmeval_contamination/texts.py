"""A row of any task as one text: its question and the right answer, as the task would ask it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from slmeval.api import Task
from slmeval.datasets import DataSource, Rows
from slmeval.errors import DataError
from slmeval.types import DatasetSpec, Generate, Rolling, Row


def written(task: Task, row: Row) -> str:
    """The question, and the first right answer after it.

    :raises ValueError, KeyError, TypeError, IndexError: the row is not what the task needs.
    """
    sample = task.sample(row, ())
    if isinstance(sample.target, str):
        request = sample.requests[0]
        return f"{request.prompt} {sample.target}" if isinstance(request, Generate) else sample.target
    right = sample.requests[sample.target[0] if isinstance(sample.target, tuple) else sample.target]
    assert not isinstance(right, (Generate, Rolling))
    return right.context + right.continuation


@dataclass(frozen=True)
class Texts:
    """The texts of a split, and the rows that they are of."""

    rows: Rows
    texts: tuple[str, ...]


def texts_of(task: Task, source: DataSource, split: str) -> Texts:
    """
    :raises slmeval.errors.DataError: rows are missing, or one is not what the task needs, and where it is.
    """
    rows = task.load(source, split)
    texts = []
    for place, row in enumerate(rows.rows):
        try:
            texts.append(written(task, row))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            reason = f"no field {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(f"{rows.place(place)}: not a row of {task.name}: {reason}") from None
    return Texts(rows, tuple(texts))


def without_shots(dataset: DatasetSpec, rows: int | None) -> DatasetSpec:
    """The same data, of which so many rows are asked and none shown."""
    return replace(dataset, shots=None, rows=rows)
