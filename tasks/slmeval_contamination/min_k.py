"""Are a question's least likely tokens less unlikely than those of the same question in other words?

A model that never saw a text finds some of its tokens very unlikely; one that remembers it finds few. The
mean log-probability of the 20% least likely tokens is min-k% (Shi et al. 2023, "Detecting Pretraining Data
from Large Language Models", arXiv:2310.16789); it is compared here with that of the same question rewritten
by rule. The rules go both ways, but other words may be rarer by themselves: a gain says something beside that
of another model or another data set, not by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from slmeval.api import Metric, Task
from slmeval.datasets import DataSource, Rows
from slmeval.tasks import text
from slmeval.types import Answer, Figure, Likelihood, Rolling, Row, Sample, Use
from slmeval_contamination.rewriting import rewritten
from slmeval_contamination.texts import texts_of, without_shots

#: of a text's tokens, the share that is least likely
SHARE = 0.2


@dataclass(frozen=True)
class MinKTask(Task):
    """Each row of ``task`` as one text, and as it is rewritten, if a rule applies."""

    task: Task
    version: str = field(default="1.0", init=False)
    kind: str = field(default="likelihood", init=False)
    metrics: tuple[Use, ...] = field(default=(Use("min_k"), Use("min_k_gain")), init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"contamination_min_k_{self.task.name}")
        object.__setattr__(self, "dataset", without_shots(self.task.dataset, self.task.dataset.rows))

    def load(self, source: DataSource, split: str) -> Rows:
        """The rows' texts.

        :raises slmeval.errors.DataError: rows are missing or damaged.
        """
        found = texts_of(self.task, source, split)
        return replace(found.rows, rows=tuple({"text": each} for each in found.texts))

    def sample(self, row: Row, shots: Sequence[Row]) -> Sample:
        """The text, and the rewritten one where that is another.

        :raises ValueError: examples, of which there are none.
        """
        if shots:
            raise ValueError(f"{self.name} takes no examples: --shots 0")
        own = text(row, "text")
        return Sample(tuple(map(Rolling, dict.fromkeys((own, rewritten(own))))), own)


def least_likely(likelihood: Likelihood) -> float:
    """The mean log-probability of the least likely tokens, nats per token."""
    ranked = sorted(likelihood.token_logprobs)
    k = max(1, int(SHARE * len(ranked)))
    return math.fsum(ranked[:k]) / k


class MinK(Metric):
    """The mean log-probability of a text's 20% least likely tokens."""

    name = "min_k"
    unit = "nats/token"
    higher_is_better = None

    def score(self, answer: Answer) -> float | None:
        """
        :raises TypeError: the task does not ask for the likelihood of a text.
        """
        return self.of([reply for reply in answer.replies if isinstance(reply, Likelihood)])

    def of(self, likelihoods: Sequence[Likelihood]) -> float | None:
        """The score of one text and of what was made of it."""
        if not likelihoods:
            raise TypeError(f"{self.name} needs the likelihood of a text")
        return least_likely(likelihoods[0])


class MinKGain(MinK):
    """By how much the least likely tokens of a text are likelier than those of the same text rewritten.

    Texts that no rule changes do not count.
    """

    name = "min_k_gain"

    def of(self, likelihoods: Sequence[Likelihood]) -> float | None:
        if len(likelihoods) < 2:
            return None
        return least_likely(likelihoods[0]) - least_likely(likelihoods[1])

    def total(self, name: str, scores: Sequence[float], weights: Sequence[float]) -> Figure:
        """The mean, with what it does and does not say."""
        figure = super().total(name, scores, weights)
        note = "a signal, not a verdict: compare it between models and data sets"
        return (
            replace(figure, note=note) if scores else replace(figure, note="no rule changes any of the texts")
        )
