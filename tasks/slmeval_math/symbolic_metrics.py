"""Metrics that compare answers as mathematics. What takes longer than its limit is wrong, and is counted."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from slmeval.api import Metric
from slmeval.types import Answer, Completion, Figure
from slmeval_math.final_answer import final_answer, gold_answer, robust_answer
from slmeval_math.installed import check_installed
from slmeval_math.judge import JUDGE, LIMITS, Question


class SymbolicMetric(Metric):
    """Asks the judge. Its figure's note says how many answers took too long, and how many were not found."""

    proportion = True

    def __init__(self) -> None:
        """
        :raises MissingExtra: what compares answers is not installed; so no model is asked in vain.
        """
        check_installed()
        self._told: Counter[str] = Counter()

    @abstractmethod
    def question(self, answer: Answer) -> Question | None:
        """What to ask; ``None`` where no answer was found."""

    def score(self, answer: Answer) -> float:
        """
        :raises TypeError: the task does not ask for a text.
        """
        asked = self.question(answer)
        if asked is None:
            self._told["texts without an answer"] += 1
            return 0.0
        if asked.how == "equal" and asked.given and asked.given == asked.right:
            return 1.0
        verdict = JUDGE.ask(asked)
        self._told[f"answers not compared within {LIMITS[asked.how]:g} s"] += verdict.late
        return float(verdict.equal)

    def total(self, name: str, scores: Sequence[float], weights: Sequence[float]) -> Figure:
        """The share of right answers, with what was counted since the last total."""
        figure = super().total(name, scores, weights)
        told = [f"{what}: {count}" for what, count in sorted(self._told.items()) if count]
        self._told.clear()
        JUDGE.rest()
        return replace(figure, note=", ".join((*filter(None, (figure.note,)), *told)))


class FinalAnswerMatch(SymbolicMetric):
    """Is the answer in "Final Answer: The final answer is ..." equal to the right one?

    lm-evaluation-harness's ``exact_match`` of minerva_math 3.1: both in their normal form, then equal as
    texts or with a difference that sympy simplifies to zero.
    """

    name = "final_answer_match"

    def question(self, answer: Answer) -> Question | None:
        found = self.vote(answer)
        return None if found is None else Question("equal", gold_answer(str(answer.sample.target)), found)

    def vote(self, answer: Answer) -> str | None:
        """The answer in its normal form."""
        return self.find(reply_text(answer))

    def find(self, text: str) -> str | None:
        """The answer in a text, in its normal form."""
        return final_answer(text)


class RobustAnswerMatch(FinalAnswerMatch):
    """As :class:`FinalAnswerMatch`, the answer being found in any of several ways."""

    name = "robust_answer_match"

    def find(self, text: str) -> str | None:
        return robust_answer(text)


class MathVerify(SymbolicMetric):
    """Does the library math_verify find the solution's answer in the text?

    As lm-evaluation-harness uses it in minerva_math 3.1: the whole solution against the whole text.
    """

    name = "math_verify"

    def question(self, answer: Answer) -> Question:
        return Question("verify", str(answer.sample.target), reply_text(answer))

    def vote(self, answer: Answer) -> str | None:
        """The answer that a reader would find, in its normal form: math_verify has none."""
        return robust_answer(reply_text(answer))


def reply_text(answer: Answer) -> str:
    """
    :raises TypeError: the task does not ask for a text.
    """
    found = [reply.text for reply in answer.replies if isinstance(reply, Completion)]
    if not found:
        raise TypeError("answers are compared as mathematics where a task asks for a text")
    return "".join(found)
