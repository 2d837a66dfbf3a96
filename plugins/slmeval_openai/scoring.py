"""Likelihoods through a server, in a way that was tried out first.

One request for each continuation, the context with it: vLLM computes such prompts whole, whatever is in its
cache. Where a server tells of several next tokens, those that may follow a context are one request, and that
one reads the context from the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from slmeval.errors import JobFailed
from slmeval.types import Likelihood, ScoreGroup, TokenIds
from slmeval_openai.address import Address
from slmeval_openai.ahead import Ahead
from slmeval_openai.asking import Caller, GaveUp, Refused, answered
from slmeval_openai.documents import Garbled, field, number
from slmeval_openai.lanes import Lanes
from slmeval_openai.likelihoods import (
    MARK,
    MOST_TAILS,
    WAYS,
    Row,
    Way,
    likelihood,
    read_tail,
    tail_request,
)
from slmeval_openai.opening import Manner
from slmeval_openai.replies import read_completion

#: nats by which a log-probability may differ between a text that is written and one that is read
_TOLERANCE = 0.05
#: seconds after which a failed request is not sent again: nobody hears of a scorer that waits, and whoever
#: hears nothing for ten minutes ends it; one more try may take as long as a request may
_PATIENCE = 250.0
#: what the known case begins with
_KNOWN = "The quick brown fox jumps over the lazy dog. The quick brown"


@dataclass(frozen=True)
class Question:
    """One request: how likely is each token of ``ids``; or, with ``tails``, each of these after them?"""

    ids: TokenIds
    tails: TokenIds = ()

    def rows_of(self, tokens: TokenIds, rows: Sequence[Row]) -> Sequence[Row]:
        """Of its answer, what is about the continuation ``tokens``."""
        return [rows[self.tails.index(tokens[0])]] if self.tails else rows[-len(tokens) :]


class Scorer:
    """One way to the log-probabilities of prompts; ``room`` is how many tokens the server takes."""

    def __init__(
        self, caller: Caller, address: Address, manner: Manner, model: str, room: int | None
    ) -> None:
        self._caller, self._url = caller, manner.url(address)
        # what penalizes repetition would change nothing here, and is not the question
        self._body = {"model": model, "temperature": 0}
        self._room = room
        self._way: Way | None = None
        #: whether it tells of several next tokens
        self._tells_tails = False
        self._ahead = Ahead()

    # ---- which way -----------------------------------------------------------------------------------

    async def choose(self, known: TokenIds, encode: Callable[[str], TokenIds]) -> str:
        """Take the first way that gives the known case rightly; why there is none, "" if there is one.

        The known case: the likeliest token after ``known``, as the server itself writes it, must come back
        as such from the log-probabilities of the two as a prompt.
        """
        reasons = []
        try:
            token, logprob = await self._written(known, encode)
        except (Refused, GaveUp) as error:
            return answered(error)
        for way in WAYS:
            try:
                rows = await self._rows(way, (*known, token), patience=None, tries=2)
            except (Refused, GaveUp) as error:
                reasons.append(f"{way.name}: {answered(error)}")
                continue
            if wrong := _wrong(rows[-1], logprob):
                reasons.append(f"{way.name}: {wrong}")
                continue
            self._way = way
            self._tells_tails = way.tail and await self._tails_are_right(known, token, logprob)
            return ""
        return "; ".join(reasons)

    async def _tails_are_right(self, known: TokenIds, token: int, logprob: float) -> bool:
        """Whether the known case comes back rightly beside another token."""
        try:
            row, other = await self._tails(Question(known, (token, known[-1])), patience=None, tries=2)
        except (Refused, GaveUp) as error:
            answered(error)
            return False
        return not _wrong(row, logprob) and (other.logprob < row.logprob or token == known[-1])

    async def _written(self, known: TokenIds, encode: Callable[[str], TokenIds]) -> tuple[int, float]:
        """The likeliest token after ``known``, and its log-probability."""
        body = {**self._body, "prompt": list(known), "max_tokens": 1, "logprobs": 1}
        asks = {**body, "return_tokens_as_token_ids": True}

        def read(document: Any) -> tuple[int, float]:
            return _first_token(document, encode)

        try:
            return await self._caller.post(self._url, asks, read, tries=2)
        except Refused:
            return await self._caller.post(self._url, body, read, tries=2)

    # ---- the work ------------------------------------------------------------------------------------

    def score(self, groups: Sequence[ScoreGroup], lanes: Lanes) -> Iterator[tuple[Likelihood, ...]]:
        """For each group, one likelihood per continuation; what is the same is asked once."""
        plans = [self._plan(group) for group in groups]
        distinct = list(dict.fromkeys(question for plan in plans for question in plan.values()))
        ahead = self._ahead.is_new([question.ids for question in distinct])
        answers = lanes.in_order([self._start(question) for question in distinct], first_alone=ahead)
        known: dict[Question, list[Row]] = {}
        try:
            for group, plan in zip(groups, plans, strict=True):
                made = []
                for tokens in group.continuations:
                    question = plan.get(tokens)
                    while question is not None and question not in known:
                        known[distinct[len(known)]] = next(answers)
                    made.append(likelihood(question.rows_of(tokens, known[question]) if question else ()))
                yield tuple(made)
        finally:
            answers.close()

    def _plan(self, group: ScoreGroup) -> dict[TokenIds, Question]:
        """The question that tells of each continuation which has any tokens."""
        plan = {tokens: Question(group.context + tokens) for tokens in group.continuations if tokens}
        tails = [tokens[0] for tokens in plan if len(tokens) == 1 and self._tells_tails]
        for at in range(0, len(tails), MOST_TAILS):
            question = Question(group.context, tuple(tails[at : at + MOST_TAILS]))
            plan.update(((token,), question) for token in question.tails)
        return plan

    def _start(self, question: Question) -> Callable[[], Coroutine[Any, Any, list[Row]]]:
        assert self._way is not None, "score before a way was chosen"
        way = self._way
        if question.tails:
            return lambda: self._tails(question, patience=_PATIENCE)
        return lambda: self._rows(way, question.ids, patience=_PATIENCE)

    async def _tails(self, question: Question, patience: float | None, tries: int | None = None) -> list[Row]:
        """A row for each of the tails."""
        body = {**self._body, "prompt": list(question.ids), **tail_request(question.tails)}
        return await self._caller.post(
            self._url,
            body,
            lambda document: read_tail(document, question.tails),
            tries=tries,
            patience=patience,
        )

    async def _rows(
        self, way: Way, ids: TokenIds, patience: float | None, tries: int | None = None
    ) -> list[Row]:
        """A row for each token but the first."""
        if way.tail and self._room is not None and len(ids) > self._room:
            return await self._with_tail(way, ids, patience)
        body = {**self._body, "prompt": list(ids), **way.asks}
        return await self._caller.post(
            self._url, body, lambda document: way.read(document, ids), tries=tries, patience=patience
        )

    async def _with_tail(self, way: Way, ids: TokenIds, patience: float | None) -> list[Row]:
        """The last token does not fit the prompt: it is asked for as what follows."""
        front, last = ids[:-1], ids[-1]
        body = {**self._body, "prompt": list(front), **way.asks, **tail_request([last])}

        def read(document: Any) -> list[Row]:
            return [*way.read(document, front), *read_tail(document, [last])]

        return await self._caller.post(self._url, body, read, patience=patience)


def known_case(encode: Callable[[str], TokenIds]) -> TokenIds:
    """A prompt whose continuation is looked at in two ways."""
    return encode(_KNOWN)


def _first_token(document: Any, encode: Callable[[str], TokenIds]) -> tuple[int, float]:
    """The one token that was written; its id is told, or found from its text where that is one token.

    :raises Garbled: it is not told in either way.
    """
    read_completion(document, 1)
    logprobs = field(document["choices"][0], "logprobs", dict)
    tokens, values = field(logprobs, "tokens", list), field(logprobs, "token_logprobs", list)
    if len(tokens) != 1 or len(values) != 1 or not isinstance(tokens[0], str):
        raise Garbled("it does not tell the one token that it wrote")
    told = tokens[0].removeprefix(MARK)
    if told != tokens[0] and told.isascii() and told.isdigit():
        return int(told), number(values[0])
    ids = encode(tokens[0])
    if len(ids) != 1:
        raise Garbled(f"it does not tell the id of the token {tokens[0]!r}")
    return ids[0], number(values[0])


def _wrong(row: Row, logprob: float) -> str:
    if not row.greedy:
        return "the token that the server writes is not the likeliest there"
    if abs(row.logprob - logprob) > _TOLERANCE:
        return f"the token that the server writes has {row.logprob:.3f} there, and {logprob:.3f} when written"
    return ""


def refused(reason: str) -> JobFailed:
    """What a request for likelihoods ends with where there is no way to them."""
    return JobFailed(f"multiple choice cannot be asked here: {reason}")
