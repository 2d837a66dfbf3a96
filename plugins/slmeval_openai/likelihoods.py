"""Log-probabilities of a prompt's own tokens, in the forms in which servers give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slmeval.types import Likelihood, TokenIds
from slmeval_openai.documents import Garbled, field, number
from slmeval_openai.replies import read_completion

#: what vLLM writes for minus infinity, which JSON has not
_VLLM_LOWEST = -9999.0
#: next tokens that vLLM tells of in one answer
MOST_TAILS = 128
#: how tokens are written where ``return_tokens_as_token_ids`` asks for ids
MARK = "token_id:"


@dataclass(frozen=True)
class Row:
    """One token after those before it: its natural-log probability, and whether none is likelier."""

    logprob: float
    greedy: bool


@dataclass(frozen=True)
class Way:
    """One way to ask for the log-probabilities of a prompt: ``name`` for people, ``asks`` in the request.

    ``tail``: the server can also be asked for a given token's log-probability after a prompt, so that the
    last token need not be part of it.
    """

    name: str
    asks: Mapping[str, Any]
    echo: bool
    tail: bool = False

    @property
    def most(self) -> int:
        """Tokens that the server writes on the way."""
        return int(self.asks["max_tokens"])

    def read(self, document: Any, ids: TokenIds) -> list[Row]:
        """A row for each token of ``ids`` but the first.

        :raises Garbled: they are not all there, or are those of other tokens.
        """
        counted = read_completion(document, max(self.most, 1)).prompt_tokens
        if counted is not None and counted != len(ids):
            raise Garbled(f"the server made {counted} tokens of the {len(ids)} that it was given")
        choice = document["choices"][0]
        return _echoed(choice, ids, self.most) if self.echo else _told(choice, ids)


_AS_IDS = {"return_tokens_as_token_ids": True}
#: tried in this order: vLLM's own; OpenAI's old way, with ids in place of texts, and without
WAYS = (
    Way("prompt_logprobs", {"prompt_logprobs": 1, "max_tokens": 1}, echo=False, tail=True),
    Way("echo with token ids", {"echo": True, "logprobs": 1, "max_tokens": 0, **_AS_IDS}, echo=True),
    Way("echo", {"echo": True, "logprobs": 1, "max_tokens": 0}, echo=True),
    Way("echo and one token more", {"echo": True, "logprobs": 1, "max_tokens": 1}, echo=True),
)


def tail_request(tokens: Sequence[int]) -> dict[str, Any]:
    """What asks vLLM for the log-probability of each of ``tokens`` as the next one."""
    return {"max_tokens": 1, "logprobs": 1, "logprob_token_ids": list(tokens), **_AS_IDS}


def read_tail(document: Any, tokens: Sequence[int]) -> list[Row]:
    """The answer to :func:`tail_request`.

    :raises Garbled: it is none.
    """
    read_completion(document, 1)
    told = field(field(document["choices"][0], "logprobs", dict), "top_logprobs", list)
    if len(told) != 1:
        raise Garbled(f"it has log-probabilities at {len(told)} places in place of one")
    return [_row(told[0], f"{MARK}{token}") for token in tokens]


def likelihood(rows: Sequence[Row]) -> Likelihood:
    """What the port asks for."""
    return Likelihood(tuple(row.logprob for row in rows), all(row.greedy for row in rows))


def _told(choice: Any, ids: TokenIds) -> list[Row]:
    """vLLM's ``prompt_logprobs``: ``{id: {"logprob": ...}}`` for each token, null for the first."""
    told = field(choice, "prompt_logprobs", list)
    if len(told) != len(ids) or told[0] is not None:
        raise Garbled(f"it has log-probabilities of {len(told)} tokens in place of {len(ids)}")
    return [
        _row({name: _logprob(entry) for name, entry in _entries(one)}, str(token))
        for one, token in zip(told[1:], ids[1:], strict=True)
    ]


def _entries(one: Any) -> Any:
    if not isinstance(one, dict):
        raise Garbled("a token of the prompt has no log-probability")
    return one.items()


def _logprob(entry: Any) -> Any:
    return entry.get("logprob") if isinstance(entry, dict) else None


def _row(told: Any, name: str) -> Row:
    """The token ``name`` among the likeliest ones that ``told`` names with it."""
    if not isinstance(told, dict) or name not in told:
        raise Garbled("the log-probability of the token asked for is not there")
    values = {other: number(value) for other, value in told.items()}
    own = values[name]
    # of equally likely tokens any may be called the likeliest
    return Row(float("-inf") if own == _VLLM_LOWEST else own, own >= max(values.values()))


def _echoed(choice: Any, ids: TokenIds, more: int) -> list[Row]:
    """OpenAI's old form: texts of tokens, their log-probabilities, and the likeliest at each place."""
    logprobs = field(choice, "logprobs", dict)
    columns = [field(logprobs, name, list) for name in ("tokens", "token_logprobs", "top_logprobs")]
    tokens, own, top = columns
    if not all(len(ids) <= len(column) <= len(ids) + more for column in columns):
        raise Garbled(f"it has log-probabilities of {len(tokens)} tokens in place of {len(ids)}")
    _check_ids(tokens, ids)
    places = range(1, len(ids))
    return [_echoed_row(own[place], top[place], more_than_text=tokens[place]) for place in places]


def _check_ids(tokens: Sequence[Any], ids: TokenIds) -> None:
    for token, wanted in zip(tokens, ids, strict=False):
        if not isinstance(token, str):
            raise Garbled("a token is no text")
        if token.startswith(MARK) and token != f"{MARK}{wanted}":
            raise Garbled(f"it is about {token[:40]!r}, and token {wanted} was asked for")


def _echoed_row(own: Any, top: Any, more_than_text: str) -> Row:
    if not isinstance(top, dict) or not top:
        raise Garbled("the likeliest tokens are not there")
    # the token itself may be left out where it is not among the likeliest
    return _row({**top, more_than_text: number(own)}, more_than_text)
