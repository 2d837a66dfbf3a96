"""Likelihoods through a server: one request for each continuation, in a way that was tried out first."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from slmeval.errors import JobFailed
from slmeval.types import Likelihood, ScoreGroup, TokenIds
from slmeval_openai.address import Address
from slmeval_openai.asking import Caller, GaveUp, Refused, answered
from slmeval_openai.documents import Garbled, field, number
from slmeval_openai.lanes import Lanes
from slmeval_openai.likelihoods import MARK, WAYS, Row, Way, likelihood, read_tail, tail_request
from slmeval_openai.opening import Manner
from slmeval_openai.replies import read_completion

#: nats by which a log-probability may differ between a text that is written and one that is read
_TOLERANCE = 0.05
#: seconds after which a failed request is not sent again: nobody hears of a scorer that waits, and whoever
#: hears nothing for ten minutes ends it; one more try may take as long as a request may
_PATIENCE = 250.0
#: what the known case begins with
_KNOWN = "The quick brown fox jumps over the lazy dog. The quick brown"


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
            return ""
        return "; ".join(reasons)

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
        texts = [group.context + tokens for group in groups for tokens in group.continuations if tokens]
        distinct = list(dict.fromkeys(texts))
        answers = lanes.in_order([self._start(ids) for ids in distinct])
        known: dict[TokenIds, list[Row]] = {}
        try:
            for group in groups:
                made = []
                for tokens in group.continuations:
                    whole = group.context + tokens
                    while tokens and whole not in known:
                        known[distinct[len(known)]] = next(answers)
                    made.append(likelihood(known[whole][-len(tokens) :] if tokens else ()))
                yield tuple(made)
        finally:
            answers.close()

    def _start(self, ids: TokenIds) -> Callable[[], Coroutine[Any, Any, list[Row]]]:
        assert self._way is not None, "score before a way was chosen"
        way = self._way
        return lambda: self._rows(way, ids, patience=_PATIENCE)

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
        body = {**self._body, "prompt": list(front), **way.asks, **tail_request(last)}

        def read(document: Any) -> list[Row]:
            return [*way.read(document, front), read_tail(document, last)]

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
