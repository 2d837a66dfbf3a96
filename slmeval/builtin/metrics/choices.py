"""Choices, scored by their likelihoods."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from slmeval.api import Metric
from slmeval.statistics import mean_figure
from slmeval.types import Answer, Figure, Likelihood


@dataclass(frozen=True)
class Weighed:
    """The choices of one question: summed log-probabilities (nats), texts without delimiter, and the gold."""

    logprobs: tuple[float, ...]
    texts: tuple[str, ...]
    gold: int


class ChoiceMetric(Metric):
    """Scores the likelihoods of the choices."""

    @abstractmethod
    def weigh(self, choices: Weighed) -> float | None:
        """The score of one question."""

    def score(self, answer: Answer) -> float | None:
        """
        :raises TypeError: the task does not ask for the likelihood of each choice.
        """
        logprobs = _logprobs(answer)
        texts, gold = answer.sample.choices, answer.sample.target
        if not isinstance(gold, int) or not texts or len(logprobs) != len(texts):
            raise TypeError(f"{self.name} needs the likelihood of each choice and the index of the right one")
        return self.weigh(Weighed(logprobs, texts, gold))


class Accuracy(ChoiceMetric):
    """Is the right choice the likeliest?"""

    name = "acc"
    proportion = True

    def weigh(self, choices: Weighed) -> float:
        return float(_first_largest(choices.logprobs) == choices.gold)


class AccuracyNorm(ChoiceMetric):
    """Is the right choice the likeliest per character (code point)? As lm-evaluation-harness counts."""

    name = "acc_norm"
    proportion = True

    def weigh(self, choices: Weighed) -> float:
        return float(_first_largest(_per(choices, len)) == choices.gold)


class AccuracyBytes(ChoiceMetric):
    """Is the right choice the likeliest per byte of UTF-8?"""

    name = "acc_bytes"
    proportion = True

    def weigh(self, choices: Weighed) -> float:
        return float(_first_largest(_per(choices, _bytes)) == choices.gold)


class BitsPerByte(ChoiceMetric):
    """How many bits the right choice costs per byte of its text.

    The bytes are those of the choice in UTF-8 without the delimiter; the log-probability covers the
    delimiter too, because the tokens do.
    """

    name = "bits_per_byte"
    unit = "bits/byte"
    higher_is_better = False

    def weigh(self, choices: Weighed) -> float:
        return -choices.logprobs[choices.gold] / (math.log(2) * _bytes(choices.texts[choices.gold]))


class Margin(ChoiceMetric):
    """By how much the right choice is likelier than the best of the wrong ones."""

    name = "margin"
    unit = "nats"

    def weigh(self, choices: Weighed) -> float | None:
        wrong = [logprob for place, logprob in enumerate(choices.logprobs) if place != choices.gold]
        return choices.logprobs[choices.gold] - max(wrong) if wrong else None


class AccuracyCorrected(ChoiceMetric):
    """``acc`` on a scale on which guessing scores 0 and a perfect model 1: (acc - chance) / (1 - chance).

    The correction for guessing of formula scoring (Frary, Educational Measurement 7(2), 1988), for a question
    of k choices (right - 1/k) / (1 - 1/k); over questions of different k with the mean of 1/k.
    """

    name = "acc_corrected"

    def weigh(self, choices: Weighed) -> float | None:
        chance = 1 / len(choices.texts)
        right = float(_first_largest(choices.logprobs) == choices.gold)
        return None if chance == 1 else (right - chance) / (1 - chance)

    def weight(self, answer: Answer) -> float:
        """The number of choices: all answers count the same, but the interval needs to know it."""
        return float(len(answer.sample.choices))

    def total(self, name: str, scores: Sequence[float], weights: Sequence[float]) -> Figure:
        """The figure, its error and interval being those of ``acc``, rescaled."""
        acc = mean_figure(name, [float(score > 0) for score in scores], proportion=True)
        if acc.value is None or acc.ci95 is None:
            return acc
        chance = math.fsum(1 / k for k in weights) / len(weights)
        value, low, high = ((each - chance) / (1 - chance) for each in (acc.value, *acc.ci95))
        stderr = None if acc.stderr is None else acc.stderr / (1 - chance)
        return replace(acc, value=value, stderr=stderr, ci95=(low, high))


class ProbabilityMass(Metric):
    """How much of the choices' probability lies on those that are right (TruthfulQA's MC2).

    The sum of the right choices' probabilities over the sum of all (Lin et al. 2021, arXiv:2109.07958).
    """

    name = "probability_mass"
    proportion = True

    def score(self, answer: Answer) -> float:
        """
        :raises TypeError: the task does not ask for the likelihood of each choice.
        """
        logprobs, right = _logprobs(answer), _right(answer, self.name)
        if len(logprobs) != len(answer.sample.choices):
            raise TypeError(f"{self.name} needs the likelihood of each choice")
        best = max(logprobs)
        weights = [math.exp(logprob - best) for logprob in logprobs]
        return min(1.0, math.fsum(weights[place] for place in right) / math.fsum(weights))


class Chance(Metric):
    """What guessing would score: the share of the choices that is right."""

    name = "chance"
    higher_is_better = None

    def score(self, answer: Answer) -> float:
        """
        :raises TypeError: the task has no choices.
        """
        if not answer.sample.choices:
            raise TypeError(f"{self.name} needs choices")
        return len(_right(answer, self.name)) / len(answer.sample.choices)

    def total(self, name: str, scores: Sequence[float], weights: Sequence[float]) -> Figure:
        """The mean, without an error: it is known from the questions, not sampled."""
        figure = super().total(name, scores, weights)
        return replace(figure, stderr=None, ci95=None, note="exact") if scores else figure


def _logprobs(answer: Answer) -> tuple[float, ...]:
    return tuple(reply.logprob for reply in answer.replies if isinstance(reply, Likelihood))


def _right(answer: Answer, name: str) -> tuple[int, ...]:
    target = answer.sample.target
    if isinstance(target, str):
        raise TypeError(f"{name} needs the index of the right choice")
    return target if isinstance(target, tuple) else (target,)


def _first_largest(values: Sequence[float]) -> int:
    """The index of the largest; the first of equals, as numpy's argmax."""
    return max(range(len(values)), key=values.__getitem__)


def _per(choices: Weighed, length: Callable[[str], int]) -> list[float]:
    return [logprob / length(text) for logprob, text in zip(choices.logprobs, choices.texts, strict=True)]


def _bytes(text: str) -> int:
    return len(text.encode())
