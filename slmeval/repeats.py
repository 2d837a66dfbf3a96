"""Several texts for one question: what any of k would bring, and what most of them say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import comb
from typing import ClassVar

from slmeval.api import Metric
from slmeval.types import Answer


class Repeated(Metric):
    """A share of right answers, made of several texts for one question."""

    name: ClassVar[str] = "repeated"
    proportion = True

    def score(self, answer: Answer) -> float | None:  # noqa: ARG002
        """None: one text alone has none."""
        return None


REPEATED = Repeated()


def figures(
    name: str, scores: Sequence[float], votes: Sequence[str | None]
) -> Iterator[tuple[str, Metric, float]]:
    """By figure, what one question adds: pass@k for doubling k, and the majority of all its texts.

    ``scores`` are 0 or 1 for each text under the figure ``name``, ``votes`` what each text answers.
    """
    for k in _counts(len(scores)):
        yield _named(name, f"pass@{k}"), REPEATED, pass_at(k, len(scores), int(sum(scores)))
    yield _named(name, f"maj@{len(scores)}"), REPEATED, majority(scores, votes)


def _counts(n: int) -> list[int]:
    doubled = [1 << power for power in range(1, n.bit_length()) if 1 << power < n]
    return [*doubled, n]


def _named(name: str, kind: str) -> str:
    """``exact_match/strict`` as ``exact_match:pass@4/strict``."""
    metric, slash, label = name.partition("/")
    return f"{metric}:{kind}{slash}{label}"


def pass_at(k: int, n: int, right: int) -> float:
    """The probability that of ``k`` texts, drawn of ``n`` without replacement, at least one is right.

    The unbiased estimator 1 - C(n - c, k) / C(n, k) of Chen et al. 2021, "Evaluating Large Language Models
    Trained on Code", arXiv:2107.03374, section 2.1.
    """
    return 1.0 - comb(n - right, k) / comb(n, k)


def majority(scores: Sequence[float], votes: Sequence[str | None]) -> float:
    """Whether the answer that most texts give is right.

    Self-consistency: Wang et al. 2022, arXiv:2203.11171.
    Texts without an answer do not vote, and where none votes the question is lost. Of answers with equally
    many votes each is as good: then it is the share of right ones among them, the mean of tossing a coin.
    """
    counts = Counter(vote for vote in votes if vote is not None)
    if not counts:
        return 0.0
    most = max(counts.values())
    first = dict(zip(reversed(votes), reversed(scores), strict=True))
    leading = [vote for vote, count in counts.items() if count == most]
    return sum(first[vote] for vote in leading) / len(leading)
