"""Does the model find a data set's rows likelier in the order of the file than in any other?

The rows' order says nothing, so a model that never saw the file has no reason to. The rows are cut into
shards of 8 in the order of the file, 50 shards at most; of each the log-probability as it stands is compared
with the mean over 8 shuffled orders (Oren et al. 2023, "Proving Test Set Contamination in Black Box Language
Models", arXiv:2310.17623, the sharded test). It sees files that were read whole and in their order, often
enough to be remembered; a model that saw the rows in another order, or once, may show nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random

from slmeval.api import Metric, Task
from slmeval.datasets import DataSource, Rows
from slmeval.errors import DataError
from slmeval.statistics import mean_figure
from slmeval.tasks import texts
from slmeval.types import Answer, Figure, Likelihood, Rolling, Row, Sample, Use
from slmeval_contamination.student import beyond, point
from slmeval_contamination.texts import texts_of, without_shots

SHARD, SHARDS, ORDERS = 8, 50, 8


@dataclass(frozen=True)
class OrderTask(Task):
    """The rows of ``task`` in shards, each in the order of the file and in shuffled ones."""

    task: Task
    version: str = field(default="1.0", init=False)
    kind: str = field(default="likelihood", init=False)
    metrics: tuple[Use, ...] = field(default=(Use("order_gain"), Use("order_p")), init=False)

    def __post_init__(self) -> None:
        whole = self.task.dataset.rows
        shards = None if whole is None else min(SHARDS, whole // SHARD)
        object.__setattr__(self, "name", f"contamination_order_{self.task.name}")
        object.__setattr__(self, "dataset", without_shots(self.task.dataset, shards))

    def load(self, source: DataSource, split: str) -> Rows:
        """The shards; a shard stands where its first row does, and rows that fill none are left out.

        :raises slmeval.errors.DataError: there are fewer rows than fill two, or one is damaged.
        """
        found = texts_of(self.task, source, split)
        starts = range(0, min(len(found.texts) // SHARD, SHARDS) * SHARD, SHARD)
        if len(starts) < 2:
            raise DataError(
                f"{found.rows.source} has {len(found.texts)} rows: an order shows in two shards of {SHARD}"
            )
        kept = found.rows.kept or range(len(found.texts))
        shards = tuple({"texts": list(found.texts[start : start + SHARD])} for start in starts)
        return replace(found.rows, rows=shards, kept=tuple(kept[start] for start in starts))

    def sample(self, row: Row, shots: Sequence[Row]) -> Sample:
        """The shard in its own order, and in the others.

        :raises ValueError: examples, which a shard has none of.
        """
        if shots:
            raise ValueError(f"{self.name} has no questions, and so no examples: --shots 0")
        own = texts(row, "texts")
        orders = (own, *(shuffled(own, number) for number in range(ORDERS)))
        return Sample(tuple(Rolling("\n\n".join(order)) for order in orders), "\n\n".join(own))


def shuffled(items: Sequence[str], number: int) -> tuple[str, ...]:
    """One of many orders, the same wherever and whenever it is asked for."""
    # random() is the one method whose sequence Python promises to keep for ever
    draw = Random(f"{number}:{items[0]}")
    keys = [draw.random() for _ in items]
    return tuple(items[place] for place in sorted(range(len(items)), key=keys.__getitem__))


class OrderGain(Metric):
    """By how many nats a shard is likelier in the order of the file than in the mean of shuffled orders.

    The interval is Student's over the shards.
    """

    name = "order_gain"
    unit = "nats/shard"
    higher_is_better = None

    def score(self, answer: Answer) -> float:
        """
        :raises TypeError: the task does not ask for several orders.
        """
        own, *others = (reply.logprob for reply in answer.replies if isinstance(reply, Likelihood))
        if not others:
            raise TypeError(f"{self.name} needs the likelihoods of several orders")
        return own - math.fsum(others) / len(others)

    def total(self, name: str, scores: Sequence[float], weights: Sequence[float]) -> Figure:  # noqa: ARG002
        """The mean, with what it does and does not say."""
        figure = mean_figure(name, scores, unit=self.unit, higher_is_better=None)
        if figure.value is None or figure.stderr is None:
            return figure
        half = point(0.025, len(scores) - 1) * figure.stderr
        interval = (figure.value - half, figure.value + half)
        return replace(
            figure, ci95=interval, note="a signal, not a verdict: above 0 where the order is known"
        )


class OrderP(OrderGain):
    """How often a gain as large would come about if the order meant nothing: one-sided, by Student's t."""

    name = "order_p"
    unit = ""

    def total(self, name: str, scores: Sequence[float], weights: Sequence[float]) -> Figure:
        """The probability, which has no error of its own."""
        gain = super().total(name, scores, weights)
        if gain.value is None or not gain.stderr:
            return replace(gain, value=None, stderr=None, ci95=None, source="unavailable", note="no spread")
        p = beyond(gain.value / gain.stderr, len(scores) - 1)
        return replace(gain, value=p, stderr=None, ci95=None, unit="", note="p value, a signal")
