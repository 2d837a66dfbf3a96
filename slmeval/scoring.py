"""From replies to figures: filters find answers, metrics score them, totals carry their errors."""

from __future__ import annotations

import math
import reprlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real

from slmeval.api import Filter, Metric
from slmeval.document import from_plain, to_plain
from slmeval.errors import DataError, JobFailed
from slmeval.plan import Cell, Item, Scorer
from slmeval.types import Answer, Completion, Figure, Reply

#: told of each scored answer: the item, the answer, and its score under each figure's name
Watcher = Callable[[Item, Answer, dict[str, float | None]], None]


def score_cell(
    cell: Cell, replies: Mapping[str, Reply], key: Callable[[str], str], watch: Watcher
) -> tuple[tuple[Figure, ...], dict[str, int]]:
    """Figures and counts of one cell, from its answers in the store.

    ``replies`` are by key, and ``key`` gives the key of a digest.

    :raises JobFailed: a filter or a metric fails, or gives what is no answer, no score or no figure.
    """
    columns = _columns(cell)
    counts: Counter[str] = Counter(cell.counts)
    for item in cell.items:
        given = tuple(replies[key(ask.digest)] for ask in item.asks)
        counts.update(_endings(given))
        for name, score in _score_item(cell, item, given, counts, watch).items():
            if score is not None:
                columns[name].append(score)
    figures = tuple(_total(cell, name, metric, columns[name]) for name, _, metric in _figures(cell.scorer))
    return figures, {name: count for name, count in sorted(counts.items()) if count}


def _columns(cell: Cell) -> dict[str, list[float]]:
    """A place for the scores of each figure."""
    columns: dict[str, list[float]] = {}
    for name, _, _ in _figures(cell.scorer):
        if name in columns:
            raise JobFailed(f"task {cell.task.name!r} has two figures named {name!r}: give one a label")
        columns[name] = []
    return columns


def _figures(scorer: Scorer) -> Iterable[tuple[str, str, Metric]]:
    """Each figure's name, the label of the filter before it, and its metric."""
    for metric_label, metric in scorer.metrics:
        if not scorer.filters:
            yield metric_label, "", metric
        for filter_label, _ in scorer.filters:
            yield f"{metric_label}/{filter_label}", filter_label, metric


def _score_item(
    cell: Cell, item: Item, replies: tuple[Reply, ...], counts: Counter[str], watch: Watcher
) -> dict[str, float | None]:
    answers = _answers(cell, item, replies)
    for label, answer in answers.items():
        if label and answer.found is None:
            counts[f"no_answer/{label}"] += 1
    scores = {
        name: _score(cell, name, metric, answers[label]) for name, label, metric in _figures(cell.scorer)
    }
    # a copy: whoever watches may not change what is counted
    watch(item, next(iter(answers.values())), dict(scores))
    return scores


def _answers(cell: Cell, item: Item, replies: tuple[Reply, ...]) -> dict[str, Answer]:
    """The item's answer as each filter finds it; without filters, the plain answer under ``""``."""
    if not cell.scorer.filters:
        return {"": Answer(item.sample, replies)}
    text = "".join(reply.text for reply in replies if isinstance(reply, Completion))
    return {
        label: Answer(item.sample, replies, _find(cell, label, part, text))
        for label, part in cell.scorer.filters
    }


def _endings(replies: tuple[Reply, ...]) -> Iterable[str]:
    return ("cap_hit" for reply in replies if isinstance(reply, Completion) and reply.reason == "length")


# ---- what filters and metrics of strangers say, checked ------------------------------------------------


@contextmanager
def _blamed(cell: Cell, part: str) -> Iterator[None]:
    """Turns whatever is raised into one sentence that names the task and the part."""
    try:
        yield
    except (Exception, SystemExit) as error:
        # whatever a stranger's part raises, it must not take the other cells with it
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise JobFailed(f"task {cell.task.name!r}: {part} failed: {told}") from error


def _find(cell: Cell, label: str, part: Filter, text: str) -> str | None:
    with _blamed(cell, f"filter {label!r}"):
        found = part.find(text)
        if found is not None and not isinstance(found, str):
            raise TypeError(f"it found {reprlib.repr(found)}, which is no text")
        return found


def _score(cell: Cell, name: str, metric: Metric, answer: Answer) -> float | None:
    with _blamed(cell, f"metric {name!r}"):
        score = metric.score(answer)
        return None if score is None else _number(score, proportion=metric.proportion)


def _number(score: object, *, proportion: bool) -> float:
    # a scalar of numpy gives its number in Python's own type
    value = score.item() if hasattr(score, "item") else score
    if not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"its score is {reprlib.repr(score)}, not a finite number")
    number = float(value)
    if proportion and not 0 <= number <= 1:
        raise ValueError(f"its score is {number}, and a proportion's lies between 0 and 1")
    return number


def _total(cell: Cell, name: str, metric: Metric, scores: Sequence[float]) -> Figure:
    with _blamed(cell, f"metric {name!r}"):
        figure = metric.total(name, scores)
        if not isinstance(figure, Figure) or figure.name != name:
            raise TypeError(f"its total is {reprlib.repr(figure)}, not a figure of that name")
        _check_fields(figure)
        return figure


def _check_fields(figure: Figure) -> None:
    """
    :raises ValueError: a field is of another type, which would make the whole run unreadable.
    """
    # NaN is no number of a document, but a figure may have it: it is then written as unavailable
    plain = {name: None if value == "NaN" else value for name, value in to_plain(figure).items()}
    if plain["ci95"] and "NaN" in plain["ci95"]:
        plain["ci95"] = None
    try:
        from_plain(Figure, plain, "its total")
    except DataError as error:
        raise ValueError(str(error)) from None
