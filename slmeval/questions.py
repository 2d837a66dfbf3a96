"""From a task to its questions as text: rows, the shots shown before each, filters and metrics."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmeval import endings
from slmeval.api import Task
from slmeval.archives import open_archive
from slmeval.datasets import DataSource, Rows, open_folder, open_sample
from slmeval.errors import DataError, SlmevalError, UnknownName, UsageError
from slmeval.hub_rows import PinRules, open_hub
from slmeval.identities import identified
from slmeval.pins import Pins, default_path
from slmeval.plan import Scorer
from slmeval.registry import Parts, pick
from slmeval.shots import fixed_shots, lm_eval_shots
from slmeval.types import DataOrigin, Generate, Request, Row, RunOptions, Sample, Score, Use


@dataclass(frozen=True)
class Draft:
    """A cell as text: before any tokenizer."""

    task: Task
    shots: int
    samples: tuple[Sample, ...]
    scorer: Scorer
    data: DataOrigin
    sample: bool
    counts: Mapping[str, int]
    notes: tuple[str, ...]


def open_source(options: RunOptions, demo: bool) -> DataSource:
    """Where the run takes its rows from.

    :raises DataError: there is no such folder or archive.
    """
    if options.data is not None:
        place = Path(options.data).expanduser()
        return open_archive(place) if place.is_file() else open_folder(place)
    return open_sample() if options.sample or demo else open_hub(rules=PinRules(Pins(default_path())))


def draft(options: RunOptions, task: Task, shots: int, parts: Parts, source: DataSource) -> Draft:
    """One task's questions at one number of shots.

    :raises UsageError: rows are missing or damaged, or the task misuses a filter or metric.
    """
    rows, asked, pool, drawn = drawn_rows(options, task, shots, source)
    # the bundled rows are not of the data set that a task is named after: they have no larger whole
    whole = 0 if source.kind == "sample" else task.dataset.rows or 0
    # a folder may hold more rows than the data set is known to have
    in_all = max(len(rows.rows), whole)
    samples = tuple(identified(task, asked, _samples(task, asked, rows, drawn)))
    flawed = _flaws(options, source, task, samples, rows)
    return Draft(
        task,
        shots,
        samples,
        scorer_of(task, parts),
        _origin(rows, pool, in_all),
        sample=rows.source.startswith("sample ") or len(asked) < in_all,
        counts={"flawed": len(flawed)} if flawed else {},
        notes=_told_flaws(flawed),
    )


def drawn_rows(
    options: RunOptions, task: Task, shots: int, source: DataSource
) -> tuple[Rows, Sequence[Row], Rows | None, Iterator[tuple[Row, ...]]]:
    """What questions are made of: a task's rows, those that are asked, where examples come from if there are
    some, and each row's examples.

    :raises UsageError: rows are missing or damaged, or too few.
    """
    check_shots(task, shots)
    rows = task.load(source, task.dataset.evaluation)
    asked = rows.rows[: options.limit]
    pool = _pool(source, task, rows) if shots else None
    return rows, asked, pool, _named(task, _draw(options, task, asked, pool, shots))


def check_shots(task: Task, shots: int) -> None:
    """:raises DataError: a task that has no rows for shots is to show some."""
    if shots and task.dataset.shots is None:
        raise DataError(f"task {task.name!r} has no rows for shots: --shots 0")


def _pool(source: DataSource, task: Task, rows: Rows) -> Rows:
    assert task.dataset.shots is not None, "shots are checked before rows are read"
    same = task.dataset.shots == task.dataset.evaluation
    return rows if same else task.load(source, task.dataset.shots)


def _draw(
    options: RunOptions, task: Task, asked: Sequence[Row], pool: Rows | None, shots: int
) -> Iterator[tuple[Row, ...]]:
    if pool is None:
        return iter([()] * len(asked))
    if options.compat == "lm-eval" and task.shot_order == "drawn" and not task.shots_alike:
        return lm_eval_shots(pool.rows, asked, shots, options.seed, same_split=task.lm_eval_same_split)
    name = task.shots_as or task.name
    return fixed_shots(
        pool.rows, asked, shots, options.seed, name, order=task.shot_order, alike=task.shots_alike
    )


def _named(task: Task, drawn: Iterator[tuple[Row, ...]]) -> Iterator[tuple[Row, ...]]:
    """Says whose examples are too few, for a group has many."""
    try:
        yield from drawn
    except DataError as error:
        raise DataError(f"task {task.name!r}: {error}") from None


# ---- rows that are not what they should be -----------------------------------------------------------


def _flaws(
    options: RunOptions, source: DataSource, task: Task, samples: Sequence[Sample], rows: Rows
) -> list[str]:
    """What is wrong with rows that can be asked all the same, and where.

    A published data set keeps its blemishes, or its number would not be the published one; in a folder of
    the user's a right choice that is there twice is a mistake.

    :raises DataError: it is such a mistake.
    """
    found = [f"{rows.place(at)}: {sample.flaw}" for at, sample in enumerate(samples) if sample.flaw]
    brought = not source.published(task.dataset, task.dataset.evaluation)
    if found and brought and options.compat != "lm-eval" and not task.repeats_allowed:
        raise DataError(
            f"{found[0]}: not a row of {task.name} (--compat lm-eval scores such rows, and {len(found)} in "
            "all, as lm-evaluation-harness does: the first of equals is taken)"
        )
    return found


def _told_flaws(flawed: Sequence[str]) -> tuple[str, ...]:
    if not flawed:
        return ()
    more = f", and {len(flawed) - 1} more such rows" if len(flawed) > 1 else ""
    return (f"{flawed[0]}{more}; scored as they are",)


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
        _text(request).encode()


def _text(request: Request) -> str:
    if isinstance(request, Score):
        return request.context + request.continuation
    return request.prompt if isinstance(request, Generate) else request.text


def _is_bad(task: Task, row: Row) -> bool:
    try:
        _check_text(task.sample(row, ()))
    except _ROW_ERRORS:
        return True
    return False


def _origin(rows: Rows, pool: Rows | None, in_all: int) -> DataOrigin:
    shots = (pool.source, pool.sha256) if pool is not None else ("", "")
    return DataOrigin(rows.source, rows.sha256, in_all, *shots)


def scorer_of(task: Task, parts: Parts, filters: Sequence[Use] = (), metrics: Sequence[Use] = ()) -> Scorer:
    """The filters and metrics of a task, and those that are given beside.

    :raises UsageError: one of them is not there, or does not take its settings, or has another's name.
    """
    made = Scorer(
        tuple(_labelled(task, "filter", use, parts.filters) for use in (*task.filters, *filters)),
        tuple(_labelled(task, "metric", use, parts.metrics) for use in (*task.metrics, *metrics)),
    )
    _check_labels(task, "filter", [label for label, _ in made.filters])
    _check_labels(task, "metric", [label for label, _ in made.metrics], endings.NAMES)
    return made


#: what figures of several texts for one question have in their names
_OF_REPEATS = re.compile(":(pass|maj)@")


def _check_labels(task: Task, kind: str, labels: Sequence[str], taken: Sequence[str] = ()) -> None:
    """:raises UsageError: two figures would have one name."""
    for label, count in Counter(labels).items():
        if count > 1:
            raise UsageError(
                f"task {task.name!r} has {count} {kind}s named {label!r}: give each a label of its own"
            )
        if label in taken or (taken and _OF_REPEATS.search(label)):
            raise UsageError(
                f"task {task.name!r} has a {kind} named {label!r}, which is a name of figures of its own: "
                "label it otherwise"
            )


def _labelled(task: Task, kind: str, use: Use, known: Mapping[str, Any]) -> tuple[str, Any]:
    return use.label or use.name, make_part(task, kind, use, known)


def make_part(task: Task, kind: str, use: Use, known: Mapping[str, Any]) -> Any:
    try:
        return pick(kind, use.name, known)(**use.settings)
    except UnknownName as error:
        raise UsageError(f"task {task.name!r}: {error}") from None
    except (TypeError, ValueError, re.error) as error:
        raise UsageError(f"task {task.name!r} misuses {kind} {use.name!r}: {error}") from None
    except SlmevalError:
        raise  # it is a sentence already: an extra that is not installed
    except Exception as error:
        # whatever a stranger's part raises over its settings
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(f"task {task.name!r}: {kind} {use.name!r} cannot be made: {told}") from error
