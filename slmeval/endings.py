"""What is told beside every score of a written text: no answer found, the cap hit, how long it thought."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from slmeval.api import Metric
from slmeval.types import Answer, Completion, Reply


class Rate(Metric):
    """How often something happens that nobody wants."""

    name: ClassVar[str] = "rate"
    higher_is_better: ClassVar[bool | None] = False
    proportion = True

    def score(self, answer: Answer) -> float | None:  # noqa: ARG002
        """None: it is told by who counts."""
        return None


class Tokens(Rate):
    """How many tokens something takes."""

    name: ClassVar[str] = "tokens"
    unit = "tokens"
    higher_is_better = None
    proportion = False


RATE, TOKENS = Rate(), Tokens()
NO_ANSWER, CAP_HIT = "no_answer", "cap_hit"
#: told of models that think
THOUGHT_TOKENS, THOUGHT_CAP_HIT = "thought_tokens", "thought_cap_hit"
#: names that no metric may have
NAMES = (NO_ANSWER, CAP_HIT, THOUGHT_TOKENS, THOUGHT_CAP_HIT)


def endings(
    draws: Sequence[Sequence[Reply]], answers: Sequence[Mapping[str, Answer]]
) -> Iterator[tuple[str, Metric, float | None]]:
    """By figure, what share of one question's texts ended badly; each of its draws counts the same."""
    texts = [[reply for reply in draw if isinstance(reply, Completion)] for draw in draws]
    if not any(texts):
        return
    for label in answers[0]:
        if label:
            yield f"{NO_ANSWER}/{label}", RATE, _share([each[label].found is None for each in answers])
    yield CAP_HIT, RATE, _share([any(map(_is_cut, draw)) for draw in texts])
    replies = [reply for draw in texts for reply in draw]
    # a server may tell a thought, and not of how many tokens it was
    told = all(reply.thought_tokens for reply in replies if reply.thought)
    tokens = sum(reply.thought_tokens for reply in replies) / len(texts)
    yield THOUGHT_TOKENS, TOKENS, tokens if told else None
    cut = [any(_is_cut(reply) and reply.thought and not reply.text for reply in draw) for draw in texts]
    yield THOUGHT_CAP_HIT, RATE, _share([bool(each) for each in cut])


def _is_cut(reply: Completion) -> bool:
    return reply.reason == "length"


def _share(found: Sequence[bool]) -> float:
    return sum(found) / len(found)
