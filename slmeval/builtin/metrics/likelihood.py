"""Texts, scored by their likelihood."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Sequence

from slmeval.api import Metric
from slmeval.statistics import normal_interval, weighted_mean
from slmeval.types import Answer, Figure, Likelihood

_SPACE = re.compile(r"\s+")


def _whole(answer: Answer, name: str) -> Likelihood:
    """
    :raises TypeError: the task does not ask for one likelihood.
    """
    if len(answer.replies) != 1 or not isinstance(answer.replies[0], Likelihood):
        raise TypeError(f"{name} needs the likelihood of one text")
    return answer.replies[0]


class Greedy(Metric):
    """Is each token of the text the most likely one, so that greedy decoding would write it?"""

    name = "greedy"
    proportion = True

    def score(self, answer: Answer) -> float:
        return float(_whole(answer, self.name).greedy)


class Rate(Metric):
    """Nats per unit of a text, totalled over all texts as if they were one.

    The error is that of a ratio of two totals, texts drawn and not tokens.
    """

    higher_is_better = False

    @abstractmethod
    def weight(self, answer: Answer) -> float:
        """How many units the text has."""

    def score(self, answer: Answer) -> float:
        return -_whole(answer, self.name).logprob / self.weight(answer)

    def total(self, name: str, scores: Sequence[float], weights: Sequence[float]) -> Figure:
        if not scores:
            return super().total(name, scores, weights)
        mean, stderr = weighted_mean(scores, weights)
        return self.scaled(name, mean, stderr, len(scores))

    @abstractmethod
    def scaled(self, name: str, mean: float, stderr: float | None, n: int) -> Figure:
        """The figure, from nats per unit."""

    def figure(
        self, name: str, value: float, stderr: float | None, ci95: tuple[float, float] | None, n: int
    ) -> Figure:
        return Figure(name, value, stderr, ci95, n, self.unit, higher_is_better=self.higher_is_better)


class Perplexity(Rate):
    """exp(nats per text): of the whole ending that is asked for, as lm-evaluation-harness counts lambada.

    The error is carried over from the mean (delta method), the interval is the exponential of the mean's.
    """

    name = "perplexity"
    scale = "exp"

    def weight(self, answer: Answer) -> float:  # noqa: ARG002
        return 1.0

    def scaled(self, name: str, mean: float, stderr: float | None, n: int) -> Figure:
        value = _exp(mean)
        interval = normal_interval(mean, stderr)
        ends = None if interval is None else (_exp(interval[0]), _exp(interval[1]))
        return self.figure(name, value, None if stderr is None else value * stderr, ends, n)


class WordPerplexity(Perplexity):
    """exp(nats per word): words are what white space separates in the original text."""

    name = "word_perplexity"

    def weight(self, answer: Answer) -> float:
        return float(len(_SPACE.split(str(answer.sample.target))))


class BytePerplexity(Perplexity):
    """exp(nats per byte of the original text in UTF-8)."""

    name = "byte_perplexity"

    def weight(self, answer: Answer) -> float:
        return float(len(str(answer.sample.target).encode()))


class TextBitsPerByte(Rate):
    """Bits per byte of the original text in UTF-8."""

    name = "text_bits_per_byte"
    unit = "bits/byte"
    scale = "bits"

    def weight(self, answer: Answer) -> float:
        return float(len(str(answer.sample.target).encode()))

    def scaled(self, name: str, mean: float, stderr: float | None, n: int) -> Figure:
        value, error = mean / math.log(2), None if stderr is None else stderr / math.log(2)
        return self.figure(name, value, error, normal_interval(value, error), n)


def _exp(nats: float) -> float:
    # a hopeless model's perplexity is beyond all numbers; the report says that it was infinite
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf
