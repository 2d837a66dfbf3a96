"""What a gate finds: each rule answered pass, fail or inconclusive, with the sentence that says why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from slmeval.differences import Estimate

Answer = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True)
class Judged:
    """One rule on one model.

    ``rule`` is as it was written; ``value``, ``limit`` and ``baseline`` are in ``unit``. ``excess`` is how
    far the value lies above the limit, with its interval: the rule is decided where 0 lies outside.
    """

    rule: str
    answer: Answer
    sentence: str
    task: str
    shots: int | None
    figure: str
    backend: str
    model: str
    unit: str = ""
    value: float | None = None
    limit: float | None = None
    baseline: float | None = None
    excess: Estimate | None = None
    chat: Literal["off", "on"] = "off"

    @property
    def cell(self) -> str:
        """``task@shots``, and that it was asked in chat; or the probe's name."""
        if self.shots is None:
            return self.task
        return f"{self.task}@{self.shots}{' in chat' if self.chat == 'on' else ''}"


@dataclass(frozen=True)
class GateReport:
    """A run held against its rules. ``baseline`` names what it was held against, "" where nothing."""

    run: str
    baseline: str
    judged: tuple[Judged, ...]
    notes: tuple[str, ...] = ()

    @property
    def answer(self) -> Answer:
        """The whole gate's: a rule that failed goes before one that is inconclusive."""
        given = {each.answer for each in self.judged}
        return "fail" if "fail" in given else "inconclusive" if "inconclusive" in given else "pass"

    def count(self, answer: Answer) -> int:
        """How many rules were answered so."""
        return sum(each.answer == answer for each in self.judged)
