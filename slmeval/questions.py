"""From a task to its questions as text: rows, the shots shown before each, filters and metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmeval.api import Task
from slmeval.datasets import DataSource, Rows, open_folder, open_hub, open_sample
from slmeval.errors import DataError, UnknownName, UsageError
from slmeval.plan import Scorer
from slmeval.registry import Parts, pick
from slmeval.tasks import fixed_shots, lm_eval_shots
from slmeval.types import DataOrigin, Generate, Row, RunOptions, Sample, Use


@dataclass(frozen=True)
class Draft:
    """A cell as text: before any tokenizer."""

    task: Task
    shots: int
    samples: tuple[Sample, ...]
    scorer: Scorer
    data: DataOrigin
    sample: bool


def _source(options: RunOptions, demo: bool) -> DataSource:
    if options.data is not None:
        return open_folder(Path(options.data))
    return open_sample() if options.sample or demo else open_hub()


def draft(options: RunOptions, task: Task, shots: int, parts: Parts, demo: bool) -> Draft:
    source = _source(options, demo)
    rows = source.load(task.dataset, task.dataset.evaluation)
    asked = rows.rows[: options.limit]
    pool = _pool(source, task, rows) if shots else None
    drawn = _draw(options, task, asked, pool, shots)
    # the bundled rows are not of the data set that a task is named after: they have no larger whole
    whole = 0 if source.kind == "sample" else task.dataset.rows or 0
    # a folder may hold more rows than the data set is known to have
    in_all = max(len(rows.rows), whole)
    return Draft(
        task,
        shots,
        tuple(_samples(task, asked, rows, drawn)),
        _scorer(task, parts),
        _origin(rows, pool, in_all),
        sample=source.kind == "sample" or len(asked) < in_all,
    )


def _pool(source: DataSource, task: Task, rows: Rows) -> Rows:
    if task.dataset.shots is None:
        raise DataError(f"task {task.name!r} has no rows for shots: --shots 0")
    same = task.dataset.shots == task.dataset.evaluation
    return rows if same else source.load(task.dataset, task.dataset.shots)


def _draw(
    options: RunOptions, task: Task, asked: Sequence[Row], pool: Rows | None, shots: int
) -> Iterator[tuple[Row, ...]]:
    if pool is None:
        return iter([()] * len(asked))
    if options.compat == "lm-eval":
        return lm_eval_shots(pool.rows, asked, shots, options.seed, same_split=task.lm_eval_same_split)
    return fixed_shots(pool.rows, asked, shots, options.seed, task.name)


#: what a task raises over a row that is not what it needs
_ROW_ERRORS = (ValueError, KeyError, TypeError, IndexError, AttributeError, ArithmeticError)


def _samples(
    task: Task, asked: Sequence[Row], rows: Rows, drawn: Iterator[tuple[Row, ...]]
) -> Iterator[Sample]:
    for index, (row, shots) in enumerate(zip(asked, drawn, strict=True)):
        try:
            sample = task.sample(row, shots)
            _check_text(sample)
        except _ROW_ERRORS as error:
            reason = f"no field {error}" if isinstance(error, KeyError) else str(error)
            place = (
                rows.place(index) if _is_bad(task, row) else f"an example shown before {rows.place(index)}"
            )
            raise DataError(f"{place}: not a row of {task.name}: {reason}") from None
        yield sample


def _check_text(sample: Sample) -> None:
    """:raises UnicodeEncodeError: half a surrogate pair, which JSON can write and no tokenizer can read."""
    for request in sample.requests:
        text = request.prompt if isinstance(request, Generate) else request.context + request.continuation
        text.encode()


def _is_bad(task: Task, row: Row) -> bool:
    try:
        _check_text(task.sample(row, ()))
    except _ROW_ERRORS:
        return True
    return False


def _origin(rows: Rows, pool: Rows | None, in_all: int) -> DataOrigin:
    shots = (pool.source, pool.sha256) if pool is not None else ("", "")
    return DataOrigin(rows.source, rows.sha256, in_all, *shots)


def _scorer(task: Task, parts: Parts) -> Scorer:
    return Scorer(
        tuple((use.label or use.name, make_part(task, "filter", use, parts.filters)) for use in task.filters),
        tuple((use.label or use.name, make_part(task, "metric", use, parts.metrics)) for use in task.metrics),
    )


def make_part(task: Task, kind: str, use: Use, known: Mapping[str, Any]) -> Any:
    try:
        return pick(kind, use.name, known)(**use.settings)
    except UnknownName as error:
        raise UsageError(f"task {task.name!r}: {error}") from None
    except (TypeError, ValueError, re.error) as error:
        raise UsageError(f"task {task.name!r} misuses {kind} {use.name!r}: {error}") from None
