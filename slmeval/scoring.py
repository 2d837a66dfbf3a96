"""From replies to figures: filters find answers, metrics score them, totals carry their errors."""

from __future__ import annotations

import math
import reprlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real

from slmeval.api import Filter, Metric
from slmeval.document import from_plain, to_plain
from slmeval.errors import DataError, JobFailed
from slmeval.plan import Cell, Item, Scorer
from slmeval.types import Answer, Completion, Figure, Likelihood, Reply, Sample

#: told of each scored answer: the item, the answer, and its score under each figure's name
Watcher = Callable[[Item, Answer, dict[str, float | None]], None]


@dataclass(frozen=True)
class Column:
    """The scores of one figure: by the item's place in the data set, with how much each counts."""

    metric: Metric
    scores: dict[int, float]
    weights: dict[int, float]


@dataclass(frozen=True)
class Scored:
    """One cell's figures, the scores they were made of, by figure, and its counts."""

    figures: tuple[Figure, ...]
    columns: Mapping[str, Column]
    counts: Mapping[str, int]


def score_cell(cell: Cell, replies: Mapping[str, Reply], key: Callable[[str], str], watch: Watcher) -> Scored:
    """Figures and counts of one cell, from its answers in the store.

    ``replies`` are by key, and ``key`` gives the key of a digest.

    :raises JobFailed: a filter or a metric fails, or gives what is no answer, no score or no figure.
    """
    columns = _columns(cell)
    counts: Counter[str] = Counter(cell.counts)
    for item in cell.items:
        given = tuple(joined([replies[key(ask.digest)] for ask in part]) for part in item.parts)
        counts.update(_endings(given))
        for name, (score, weight) in _score_item(cell, item, given, counts, watch).items():
            if score is not None:
                columns[name].scores[item.index] = score
                columns[name].weights[item.index] = weight
    figures = tuple(_total(cell, name, column) for name, column in columns.items())
    return Scored(figures, columns, {name: count for name, count in sorted(counts.items()) if count})


def joined(windows: Sequence[Reply]) -> Reply:
    """The reply to a request, of which a long text's comes in several windows."""
    if len(windows) == 1:
        return windows[0]
    likelihoods = [window for window in windows if isinstance(window, Likelihood)]
    logprobs = tuple(logprob for window in likelihoods for logprob in window.token_logprobs)
    return Likelihood(logprobs, all(window.greedy for window in likelihoods))


def _columns(cell: Cell) -> dict[str, Column]:
    """A place for the scores of each figure."""
    columns: dict[str, Column] = {}
    for name, _, metric in _figures(cell.scorer):
        if name in columns:
            raise JobFailed(f"task {cell.task.name!r} has two figures named {name!r}: give one a label")
        columns[name] = Column(metric, {}, {})
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
) -> dict[str, tuple[float | None, float]]:
    answers = _answers(cell, item, replies)
    for label, answer in answers.items():
        if label and answer.found is None:
            counts[f"no_answer/{label}"] += 1
    scores = {
        name: _score(cell, name, metric, answers[label]) for name, label, metric in _figures(cell.scorer)
    }
    watch(item, next(iter(answers.values())), {name: score for name, (score, _) in scores.items()})
    return scores


def _answers(cell: Cell, item: Item, replies: tuple[Reply, ...]) -> dict[str, Answer]:
    """The item's answer as each filter finds it; without filters, the plain answer under ``""``."""
    if not cell.scorer.filters:
        return {"": Answer(item.sample, replies)}
    text = "".join(reply.text for reply in replies if isinstance(reply, Completion))
    return {
        label: Answer(item.sample, replies, _find(cell, label, part, text, item.sample))
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


def _find(cell: Cell, label: str, part: Filter, text: str, sample: Sample) -> str | None:
    with _blamed(cell, f"filter {label!r}"):
        found = part.find_for(text, sample)
        if found is not None and not isinstance(found, str):
            raise TypeError(f"it found {reprlib.repr(found)}, which is no text")
        return found


def _score(cell: Cell, name: str, metric: Metric, answer: Answer) -> tuple[float | None, float]:
    """The score, if there is one, and how much it counts."""
    with _blamed(cell, f"metric {name!r}"):
        score = metric.score(answer)
        if score is None:
            return None, 0.0
        weight = _number(metric.weight(answer), proportion=False)
        if weight <= 0:
            raise ValueError(f"its weight is {weight}, not more than 0")
        return _number(score, proportion=metric.proportion), weight


def _number(score: object, *, proportion: bool) -> float:
    # a scalar of numpy gives its number in Python's own type
    value = score.item() if hasattr(score, "item") else score
    if not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"its score is {reprlib.repr(score)}, not a finite number")
    number = float(value)
    if proportion and not 0 <= number <= 1:
        raise ValueError(f"its score is {number}, and a proportion's lies between 0 and 1")
    return number


def _total(cell: Cell, name: str, column: Column) -> Figure:
    with _blamed(cell, f"metric {name!r}"):
        figure = column.metric.total(name, [*column.scores.values()], [*column.weights.values()])
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
