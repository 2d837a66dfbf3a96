"""From replies to figures: filters find answers, metrics score them, totals carry their errors."""

from __future__ import annotations

import math
import reprlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real

from slmeval import repeats
from slmeval.api import Filter, Metric
from slmeval.document import from_plain, to_plain
from slmeval.endings import THOUGHT_CAP_HIT, THOUGHT_TOKENS, endings
from slmeval.errors import DataError, JobFailed
from slmeval.item_scores import Column, outcomes_of
from slmeval.plan import Cell, Scorer
from slmeval.types import Answer, Completion, Figure, Likelihood, Outcomes, Reply, Sample

#: told of each scored answer: the row's place, the answer, and its score under each figure's name
Watcher = Callable[[int, Answer, dict[str, float | None]], None]
_THOUGHTS = (THOUGHT_TOKENS, THOUGHT_CAP_HIT)
#: a score, if there is one, and how much it counts
Found = tuple[float | None, float]


@dataclass(frozen=True)
class Answered:
    """A row's question with its replies: one to each request, or as many as the question was repeated."""

    index: int
    sample: Sample
    draws: tuple[tuple[Reply, ...], ...]


@dataclass(frozen=True)
class Scored:
    """One cell's figures, the scores they were made of, by figure, its counts, and what came of each item."""

    figures: tuple[Figure, ...]
    columns: Mapping[str, Column]
    counts: Mapping[str, int]
    outcomes: Outcomes | None


def answered(cell: Cell, replies: Mapping[str, Reply], key: Callable[[str], str]) -> Iterator[Answered]:
    """Each item with its replies from the store; ``replies`` are by key, ``key`` gives that of a digest."""
    for item in cell.items:
        parts = [[replies[key(ask.digest)] for ask in part] for part in item.parts]
        yield Answered(item.index, item.sample, draws_of(parts))


def draws_of(parts: Sequence[Sequence[Reply]]) -> tuple[tuple[Reply, ...], ...]:
    """The replies of each draw, one to each request; ``parts`` are the replies to each request.

    A request has several replies where it was asked in windows, or where it was repeated.
    """
    written = [len(part) for part in parts if isinstance(part[0], Completion)]
    draws = max(written, default=1)
    # what is no text is asked once, and stands beside every draw
    each = [part if isinstance(part[0], Completion) else [joined(part)] * draws for part in parts]
    return tuple(zip(*each, strict=True))


def joined(windows: Sequence[Reply]) -> Reply:
    """The reply to a request, of which a long text's comes in several windows."""
    if len(windows) == 1:
        return windows[0]
    likelihoods = [window for window in windows if isinstance(window, Likelihood)]
    logprobs = tuple(logprob for window in likelihoods for logprob in window.token_logprobs)
    return Likelihood(logprobs, all(window.greedy for window in likelihoods))


def score_cell(
    task: str, scorer: Scorer, counts: Mapping[str, int], rows: Iterable[Answered], watch: Watcher
) -> Scored:
    """Figures and counts of one cell of ``task``, from its answers.

    ``counts`` are those that were made when it was asked.

    :raises JobFailed: a filter or a metric fails, or gives what is no answer, no score or no figure.
    """
    book = _Book(task, scorer, counts)
    for row in rows:
        book.enter(row, watch)
    return book.scored()


class _Book:
    """Gathers the scores of a cell, row by row."""

    def __init__(self, task: str, scorer: Scorer, counts: Mapping[str, int]) -> None:
        self._task, self._scorer = task, scorer
        self._counts: Counter[str] = Counter(counts)
        self._columns = _columns(task, scorer)
        self._beside: dict[str, Column] = {}
        self._repeats: dict[str, dict[str, Column]] = {name: {} for name in self._columns}
        self._thinks = False
        self._asked: dict[int, Sample] = {}

    def enter(self, row: Answered, watch: Watcher) -> None:
        """Score a row: the mean of its draws counts, and what is told of repeats and endings beside it."""
        self._asked[row.index] = row.sample
        answers = [_answers(self._task, self._scorer, row.sample, draw) for draw in row.draws]
        scored = [_scores(self._task, self._scorer, each) for each in answers]
        for name, column in self._columns.items():
            found = [each[name] for each in scored if each[name][0] is not None]
            if found:
                column.scores[row.index] = math.fsum(score or 0.0 for score, _ in found) / len(found)
                column.weights[row.index] = found[0][1]
        self._count(row, answers)
        _enter(self._beside, row.index, endings(row.draws, answers))
        self._repeat(row.index, answers, scored)
        for answer, scores in zip(answers, scored, strict=True):
            told = {name: score for name, (score, _) in scores.items()}
            watch(row.index, next(iter(answer.values())), told)

    def _count(self, row: Answered, answers: Sequence[Mapping[str, Answer]]) -> None:
        texts = [reply for draw in row.draws for reply in draw if isinstance(reply, Completion)]
        self._thinks = self._thinks or any(text.thought for text in texts)
        self._counts["cap_hit"] += sum(text.reason == "length" for text in texts)
        for label, answer in (pair for each in answers for pair in each.items()):
            if label and answer.found is None:
                self._counts[f"no_answer/{label}"] += 1

    def _repeat(
        self, index: int, answers: Sequence[Mapping[str, Answer]], scored: Sequence[Mapping[str, Found]]
    ) -> None:
        """Of several draws: what any of so many would bring, and what most of them say."""
        for name, label, metric in _figures(self._scorer) if len(answers) > 1 else ():
            scores = [each[name][0] for each in scored]
            if set(scores) == {None} or name not in self._repeats:
                continue
            if not metric.proportion or not metric.higher_is_better or not set(scores) <= {0.0, 1.0}:
                # a text is right or wrong in all questions, or the figure would be of a part of them
                del self._repeats[name]
                continue
            with _blamed(self._task, f"metric {name!r}"):
                votes = [metric.vote(each[label]) for each in answers]
                found = repeats.figures(name, [float(score or 0.0) for score in scores], votes)
                _enter(self._repeats[name], index, found)

    def scored(self) -> Scored:
        """What came of all rows."""
        beside = {name: each for name, each in self._beside.items() if self._thinks or name not in _THOUGHTS}
        repeated = {name: column for each in self._repeats.values() for name, column in each.items()}
        whole = _beside_each_other({**self._columns, **beside, **repeated})
        totals = tuple(_total(self._task, name, column) for name, column in whole.items())
        counts = {name: count for name, count in sorted(self._counts.items()) if count}
        return Scored(totals, self._columns, counts, outcomes_of(self._asked, totals, whole))


def _enter(columns: dict[str, Column], index: int, told: Iterable[tuple[str, Metric, float | None]]) -> None:
    for name, metric, value in told:
        column = columns.setdefault(name, Column(metric, {}, {}))
        if value is not None:
            column.scores[index], column.weights[index] = value, 1.0


def _beside_each_other(columns: Mapping[str, Column]) -> dict[str, Column]:
    """What is told of one filter's answers together: a score is read with the answers that were not found."""
    labels = list(dict.fromkeys(name.partition("/")[2] for name in columns))
    # figures of no filter come last, unless there are no others
    labels.sort(key=lambda label: not label)
    by_label = sorted(columns, key=lambda name: labels.index(name.partition("/")[2]))
    return {name: columns[name] for name in by_label}


def _columns(task: str, scorer: Scorer) -> dict[str, Column]:
    """A place for the scores of each figure."""
    columns: dict[str, Column] = {}
    for name, _, metric in _figures(scorer):
        if name in columns:
            raise JobFailed(f"task {task!r} has two figures named {name!r}: give one a label")
        columns[name] = Column(metric, {}, {})
    return columns


def _figures(scorer: Scorer) -> Iterable[tuple[str, str, Metric]]:
    """Each figure's name, the label of the filter before it, and its metric."""
    for metric_label, metric in scorer.metrics:
        if not scorer.filters:
            yield metric_label, "", metric
        for filter_label, _ in scorer.filters:
            yield f"{metric_label}/{filter_label}", filter_label, metric


def _scores(task: str, scorer: Scorer, answers: Mapping[str, Answer]) -> dict[str, Found]:
    return {name: _score(task, name, metric, answers[label]) for name, label, metric in _figures(scorer)}


def _answers(task: str, scorer: Scorer, sample: Sample, replies: tuple[Reply, ...]) -> dict[str, Answer]:
    """The answer as each filter finds it; without filters, the plain answer under ``""``."""
    if not scorer.filters:
        return {"": Answer(sample, replies)}
    text = "".join(reply.text for reply in replies if isinstance(reply, Completion))
    return {
        label: Answer(sample, replies, _find(task, label, part, text, sample))
        for label, part in scorer.filters
    }


# ---- what filters and metrics of strangers say, checked ------------------------------------------------


@contextmanager
def _blamed(task: str, part: str) -> Iterator[None]:
    """Turns whatever is raised into one sentence that names the task and the part."""
    try:
        yield
    except (Exception, SystemExit) as error:
        # whatever a stranger's part raises, it must not take the other cells with it
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise JobFailed(f"task {task!r}: {part} failed: {told}") from error


def _find(task: str, label: str, part: Filter, text: str, sample: Sample) -> str | None:
    with _blamed(task, f"filter {label!r}"):
        found = part.find_for(text, sample)
        if found is not None and not isinstance(found, str):
            raise TypeError(f"it found {reprlib.repr(found)}, which is no text")
        return found


def _score(task: str, name: str, metric: Metric, answer: Answer) -> Found:
    """The score, if there is one, and how much it counts."""
    with _blamed(task, f"metric {name!r}"):
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


def _total(task: str, name: str, column: Column) -> Figure:
    with _blamed(task, f"metric {name!r}"):
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
