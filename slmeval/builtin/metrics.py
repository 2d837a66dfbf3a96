"""What tasks are scored with: choices by their likelihood, free text by an exact match."""

from __future__ import annotations

import math
import re
import string
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from slmeval.api import Metric
from slmeval.hookspecs import hookimpl
from slmeval.types import Answer, Figure, Likelihood

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)

# ---- choices ---------------------------------------------------------------------------------------


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
        logprobs = tuple(reply.logprob for reply in answer.replies if isinstance(reply, Likelihood))
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


class Chance(ChoiceMetric):
    """What guessing would score: one over the number of choices."""

    name = "chance"
    higher_is_better = None

    def weigh(self, choices: Weighed) -> float:
        return 1 / len(choices.texts)

    def total(self, name: str, scores: Sequence[float]) -> Figure:
        """The mean, without an error: it is known from the questions, not sampled."""
        figure = super().total(name, scores)
        return replace(figure, stderr=None, ci95=None, note="exact") if scores else figure


def _first_largest(values: Sequence[float]) -> int:
    """The index of the largest; the first of equals, as numpy's argmax."""
    return max(range(len(values)), key=values.__getitem__)


def _per(choices: Weighed, length: Callable[[str], int]) -> list[float]:
    return [logprob / length(text) for logprob, text in zip(choices.logprobs, choices.texts, strict=True)]


def _bytes(text: str) -> int:
    return len(text.encode())


# ---- free text -------------------------------------------------------------------------------------


class ExactMatch(Metric):
    """Is the answer that was found the right one? No answer found is a wrong answer.

    Both sides lose what ``regexes_to_ignore`` match, in their order, and then what ``ignore_case`` and
    ``ignore_punctuation`` (ASCII) take away, as in lm-evaluation-harness.
    """

    name: ClassVar[str] = "exact_match"
    proportion = True

    def __init__(
        self,
        ignore_case: bool = False,
        ignore_punctuation: bool = False,
        regexes_to_ignore: Sequence[str] = (),
    ) -> None:
        self._ignore_case = ignore_case
        self._ignore_punctuation = ignore_punctuation
        self._ignored = [re.compile(regex) for regex in regexes_to_ignore]

    def score(self, answer: Answer) -> float:
        if answer.found is None:
            return 0.0
        return float(self._bare(answer.found) == self._bare(str(answer.sample.target)))

    def _bare(self, text: str) -> str:
        for regex in self._ignored:
            text = regex.sub("", text)
        if self._ignore_case:
            text = text.lower()
        return text.translate(_NO_PUNCTUATION) if self._ignore_punctuation else text


@hookimpl
def slmeval_register_metrics() -> Iterable[type[Metric]]:
    return [Accuracy, AccuracyNorm, AccuracyBytes, BitsPerByte, Margin, Chance, ExactMatch]
