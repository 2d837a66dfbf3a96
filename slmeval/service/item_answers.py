"""What a model answered to one item, made ready to be read: its choices side by side, its texts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from slmeval.plan import Scorer
from slmeval.scoring import draws_of, joined
from slmeval.types import Completion, Generate, Likelihood, Reply, Rolling, Sample, Score

#: characters of a text that are kept, and in which a filter looks again for the answer
LONGEST, _SEARCHED = 20_000, 200_000


@dataclass(frozen=True)
class Choice:
    """One choice, or another text whose likelihood was asked. Log-probabilities are natural (nats).

    ``per_character`` is ``logprob`` over the characters of ``text``, as ``acc_norm`` counts. ``chosen`` is
    the likeliest of its turn, ``chosen_norm`` the likeliest per character. A question that was asked with
    its choices in every order has several turns. ``text`` is ``None`` where the rows cannot be had;
    ``question`` is the choice's own, where each has one.
    """

    text: str | None
    logprob: float
    per_character: float | None
    tokens: int
    greedy: bool
    right: bool = False
    chosen: bool = False
    chosen_norm: bool = False
    turn: int = 0
    question: str = ""


@dataclass(frozen=True)
class Written:
    """A text, cut at :data:`LONGEST` of its ``length`` characters, as is what was thought before it.

    ``found`` is what each filter finds in it, ``None`` where it finds nothing.
    """

    text: str
    length: int
    thought: str
    reason: str
    tokens: int
    thought_tokens: int
    found: Mapping[str, str | None]
    note: str = ""


@dataclass(frozen=True)
class Trimmed(Completion):
    """A text of which only the beginning is held; ``length`` is that of all."""

    length: int = 0


@dataclass(frozen=True)
class Answer:
    """The choices with their likelihoods, and the texts, one for each time that the question was asked."""

    choices: tuple[Choice, ...] = ()
    texts: tuple[Written, ...] = ()


def trimmed(reply: Reply) -> Reply:
    """The reply, of which no more is held than can be shown: a model can write ten million characters."""
    if isinstance(reply, Likelihood) or len(reply.text) + len(reply.thought) <= _SEARCHED:
        return reply
    text, thought = reply.text[:LONGEST], reply.thought[:LONGEST]
    return Trimmed(text, reply.ids, reply.reason, thought, reply.thought_tokens, len(reply.text))


def answer_of(sample: Sample | None, scorer: Scorer, repeats: int, replies: Sequence[Reply]) -> Answer:
    """What was answered; without the question, choices have no texts, and no filter looks for an answer."""
    parts = _parts(sample, repeats, replies)
    if sample is None or parts is None:
        texts = tuple(_written(None, scorer, [each]) for each in replies if isinstance(each, Completion))
        return Answer(_nameless([each for each in replies if isinstance(each, Likelihood)]), texts)
    likelihoods = [joined(part) for part in parts if isinstance(part[0], Likelihood)]
    draws = [[reply for reply in draw if isinstance(reply, Completion)] for draw in draws_of(parts)]
    return Answer(
        _choices(sample, [each for each in likelihoods if isinstance(each, Likelihood)]),
        tuple(_written(sample, scorer, draw) for draw in draws if draw),
    )


def _parts(sample: Sample | None, repeats: int, replies: Sequence[Reply]) -> list[Sequence[Reply]] | None:
    """The replies to each request; ``None`` where they are not as many as the question takes."""
    requests = len(sample.requests) if sample else 0
    each = len(replies) if requests == 1 else repeats
    if not replies or len(replies) != each * requests:
        return None
    return [replies[at : at + each] for at in range(0, len(replies), each)]


# ---- choices -----------------------------------------------------------------------------------------


def _nameless(likelihoods: Sequence[Likelihood]) -> tuple[Choice, ...]:
    return tuple(
        Choice(None, each.logprob, None, len(each.token_logprobs), each.greedy) for each in likelihoods
    )


def _choices(sample: Sample, likelihoods: Sequence[Likelihood]) -> tuple[Choice, ...]:
    each = len(sample.choices)
    if not each or len(likelihoods) % each:
        # no choices among which one could be chosen
        texts = _texts(sample)
        return tuple(_choice(text, "", one) for text, one in zip(texts, likelihoods, strict=False))
    asked = _own_questions(sample) or [""] * len(likelihoods)
    found: list[Choice] = []
    for turn, start in enumerate(range(0, len(likelihoods), each)):
        span = slice(start, start + each)
        made = list(map(_choice, sample.choices, asked[span], likelihoods[span]))
        found += _marked(made, turn, _right(sample, turn))
    return tuple(found)


def _choice(text: str, question: str, likelihood: Likelihood) -> Choice:
    logprob = likelihood.logprob
    norm = logprob / len(text) if text else None
    return Choice(text, logprob, norm, len(likelihood.token_logprobs), likelihood.greedy, question=question)


def _marked(choices: Sequence[Choice], turn: int, right: set[int]) -> Iterator[Choice]:
    """Which are right and which are chosen; of equals the first is, as in the metrics."""
    sums = [each.logprob for each in choices]
    norms = [-math.inf if each.per_character is None else each.per_character for each in choices]
    best, best_norm = sums.index(max(sums)), norms.index(max(norms))
    for at, each in enumerate(choices):
        yield replace(each, turn=turn, right=at in right, chosen=at == best, chosen_norm=at == best_norm)


def _texts(sample: Sample) -> list[str]:
    requests = [each for each in sample.requests if not isinstance(each, Generate)]
    return [each.text if isinstance(each, Rolling) else each.continuation for each in requests]


def _own_questions(sample: Sample) -> list[str]:
    """The question of each choice, where they are not all the same and each is asked once."""
    scores = [each for each in sample.requests if isinstance(each, Score)]
    found = [each.turns.question if each.turns else each.context for each in scores]
    return found if len(found) == len(sample.choices) and len(set(found)) > 1 else []


def _right(sample: Sample, turn: int) -> set[int]:
    """Where the right choices stand in a turn: in each the choices are moved on by one place more."""
    if isinstance(sample.target, str):
        return set()
    targets = sample.target if isinstance(sample.target, tuple) else (sample.target,)
    return {(target + turn) % len(sample.choices) for target in targets}


# ---- texts -------------------------------------------------------------------------------------------


def _written(sample: Sample | None, scorer: Scorer, draw: Sequence[Completion]) -> Written:
    text = "".join(each.text for each in draw)
    thought = "\n".join(each.thought for each in draw if each.thought)
    length = sum(each.length if isinstance(each, Trimmed) else len(each.text) for each in draw)
    found, note = ({}, "") if sample is None else _found(sample, scorer, text, length)
    return Written(
        text[:LONGEST],
        length,
        thought[:LONGEST],
        draw[-1].reason,
        sum(len(each.ids) for each in draw),
        sum(each.thought_tokens for each in draw),
        found,
        note,
    )


def _found(sample: Sample, scorer: Scorer, text: str, length: int) -> tuple[dict[str, str | None], str]:
    """What each filter finds, and why that is not told."""
    if length > len(text):
        return {}, f"a text of {length:,} characters is not looked through again for its answer"
    found: dict[str, str | None] = {}
    for label, part in scorer.filters:
        try:
            answer = part.find_for(text, sample)
        except Exception as error:  # noqa: BLE001  whatever a stranger's filter raises over a stranger's text
            return found, f"filter {label!r} failed: {type(error).__name__}: {error}"
        found[label] = answer if answer is None else str(answer)[:LONGEST]
    return found, ""


# ---- the question ------------------------------------------------------------------------------------


def prompt_of(sample: Sample) -> str:
    """All that was shown before the answer, examples too, as plain text; of the first request."""
    request = sample.requests[0]
    if isinstance(request, Rolling):
        return request.text
    return request.prompt if isinstance(request, Generate) else request.context


def target_of(sample: Sample) -> str:
    """The right answer, as text."""
    if isinstance(sample.target, str):
        return sample.target
    targets = sample.target if isinstance(sample.target, tuple) else (sample.target,)
    return " · ".join(sample.choices[at] if at < len(sample.choices) else str(at) for at in targets)
