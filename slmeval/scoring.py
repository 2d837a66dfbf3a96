"""From replies to figures: filters find answers, metrics score them, totals carry their errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from slmeval.api import Metric
from slmeval.plan import Cell, Item, Scorer
from slmeval.types import Answer, Completion, Figure, Reply

#: told of each scored answer: the item, the answer, and its score under each figure's name
Watcher = Callable[[Item, Answer, dict[str, float | None]], None]


def score_cell(
    cell: Cell, replies: Mapping[str, Reply], key: Callable[[str], str], watch: Watcher
) -> tuple[tuple[Figure, ...], dict[str, int]]:
    """Figures and counts of one cell, from its answers in the store.

    ``replies`` are by key, and ``key`` gives the key of a digest.
    """
    columns: dict[str, list[float]] = {name: [] for name, _, _ in _figures(cell.scorer)}
    counts: Counter[str] = Counter(cell.counts)
    for item in cell.items:
        given = tuple(replies[key(ask.digest)] for ask in item.asks)
        counts.update(_endings(given))
        for name, score in _score_item(cell.scorer, item, given, counts, watch).items():
            if score is not None:
                columns[name].append(score)
    figures = tuple(metric.total(name, columns[name]) for name, _, metric in _figures(cell.scorer))
    return figures, {name: count for name, count in sorted(counts.items()) if count}


def _figures(scorer: Scorer) -> Iterable[tuple[str, str, Metric]]:
    """Each figure's name, the label of the filter before it, and its metric."""
    for metric_label, metric in scorer.metrics:
        if not scorer.filters:
            yield metric_label, "", metric
        for filter_label, _ in scorer.filters:
            yield f"{metric_label}/{filter_label}", filter_label, metric


def _score_item(
    scorer: Scorer, item: Item, replies: tuple[Reply, ...], counts: Counter[str], watch: Watcher
) -> dict[str, float | None]:
    answers = _answers(scorer, item, replies)
    for label, answer in answers.items():
        if label and answer.found is None:
            counts[f"no_answer/{label}"] += 1
    scores = {name: metric.score(answers[label]) for name, label, metric in _figures(scorer)}
    watch(item, next(iter(answers.values())), scores)
    return scores


def _answers(scorer: Scorer, item: Item, replies: tuple[Reply, ...]) -> dict[str, Answer]:
    """The item's answer as each filter finds it; without filters, the plain answer under ``""``."""
    if not scorer.filters:
        return {"": Answer(item.sample, replies)}
    text = "".join(reply.text for reply in replies if isinstance(reply, Completion))
    return {label: Answer(item.sample, replies, part.find(text)) for label, part in scorer.filters}


def _endings(replies: tuple[Reply, ...]) -> Iterable[str]:
    return ("cap_hit" for reply in replies if isinstance(reply, Completion) and reply.reason == "length")
