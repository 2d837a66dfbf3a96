"""Does it matter in which place a choice stands? Scores of questions asked in every rotation.

A question of k choices has k·k likelihoods: those of the letters as the choices stand, then with the choices
moved on by one place, and so on. In each rotation the choice that was in place p stands in (p + turn) mod k
(after Zheng et al. 2023, "Large Language Models Are Not Robust Multiple Choice Selectors", arXiv:2309.03882).
"""

from __future__ import annotations

from abc import abstractmethod

from slmeval.api import Metric
from slmeval.types import Answer, Likelihood


class RotatedMetric(Metric):
    """Scores which place was taken in each rotation."""

    @abstractmethod
    def judge(self, taken: tuple[int, ...], gold: int) -> float | None:
        """The score, from the place taken in each rotation and the first place of the right choice."""

    def score(self, answer: Answer) -> float | None:
        """
        :raises TypeError: the question was not asked in every rotation.
        """
        k, gold = len(answer.sample.choices), answer.sample.target
        logprobs = [reply.logprob for reply in answer.replies if isinstance(reply, Likelihood)]
        if not isinstance(gold, int) or not k or len(logprobs) != k * k:
            raise TypeError(f"{self.name} needs a question in every rotation of its choices")
        turns = [logprobs[turn * k : (turn + 1) * k] for turn in range(k)]
        return self.judge(tuple(turn.index(max(turn)) for turn in turns), gold)


class AccuracyRotated(RotatedMetric):
    """The share of a question's rotations that are answered right."""

    name = "acc_rotated"
    proportion = True

    def judge(self, taken: tuple[int, ...], gold: int) -> float:
        k = len(taken)
        return sum(place == (gold + turn) % k for turn, place in enumerate(taken)) / k


class SameChoice(RotatedMetric):
    """Is the same choice taken in every rotation, right or wrong?"""

    name = "same_choice"
    proportion = True

    def judge(self, taken: tuple[int, ...], gold: int) -> float:  # noqa: ARG002
        k = len(taken)
        return float(len({(place - turn) % k for turn, place in enumerate(taken)}) == 1)


class Picked(RotatedMetric):
    """The share of a question's rotations in which one place is taken: 1/k where places do not matter."""

    name = "picked"
    proportion = True
    higher_is_better = None

    def __init__(self, place: int) -> None:
        self._place = place

    def judge(self, taken: tuple[int, ...], gold: int) -> float | None:  # noqa: ARG002
        return None if self._place >= len(taken) else taken.count(self._place) / len(taken)
