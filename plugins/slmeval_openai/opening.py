"""How a server wants to be asked: tried out when a model is opened, and never guessed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from slmeval.errors import ModelError
from slmeval_openai.address import Address
from slmeval_openai.asking import Caller, GaveUp, Refused, answered
from slmeval_openai.documents import Garbled
from slmeval_openai.replies import Written, read_chat, read_completion
from slmeval_openai.words import short

_STANDARD = {"top_p": 1, "presence_penalty": 0, "frequency_penalty": 0}
#: greedy decoding as the model has it. Some servers penalize repetition unless told otherwise:
#: llama-cpp-python's (``repeat_penalty`` 1.1), vLLM's by a model's generation_config
_PLAINLY: tuple[Mapping[str, Any], ...] = (
    {**_STANDARD, "repetition_penalty": 1, "repeat_penalty": 1},
    _STANDARD,
    {},
)
_CAPS = ("max_tokens", "max_completion_tokens")
#: a question whose answer is longer than its cap; models that think refuse caps of a few tokens
_QUESTION, _QUESTION_TOKENS = "Count from one to one hundred.", 16
#: ids that every vocabulary has; their number is unlikely to be that of any text made of them
SOME_IDS = (1, 2, 3, 1, 2, 3, 1, 1, 1, 2)
#: what makes vLLM tell the ids that it writes, and end texts at our end tokens alone
_VLLM = {"return_token_ids": True, "ignore_eos": True, "stop_token_ids": []}


@dataclass(frozen=True)
class Manner:
    """How to ask: through which interface, with which fields, with ids or with text.

    ``stops``: the server ends a text at a stop string. ``tells_ids``: it tells the ids that it writes, and
    heeds ``stop_token_ids``. ``no_ids`` says why prompts are sent as text, "" where they are not.
    """

    chat: bool
    plainly: Mapping[str, Any]
    cap: str = "max_tokens"
    stops: bool = False
    tells_ids: bool = False
    no_ids: str = ""

    def with_text(self, why: str) -> Manner:
        """The same with prompts as text, if they are not text already."""
        return self if self.no_ids else replace(self, tells_ids=False, no_ids=why)

    def body(self, model: str, prompt: str | list[int], most: int) -> dict[str, Any]:
        """A request for the greedy text after ``prompt`` of at most ``most`` tokens."""
        asked = {"messages": [{"role": "user", "content": prompt}]} if self.chat else {"prompt": prompt}
        return {"model": model, **asked, self.cap: most, "temperature": 0, **self.plainly}

    def url(self, address: Address) -> str:
        """Where requests go."""
        return f"{address.base}/chat/completions" if self.chat else f"{address.base}/completions"

    def read(self, document: Any, most: int) -> Written:
        """An answer.

        :raises Garbled: it is none.
        """
        return read_chat(document, most) if self.chat else read_completion(document, most)


class Opening:
    """Tries out one server."""

    def __init__(self, caller: Caller, address: Address, model: str) -> None:
        self._caller, self._address, self._model = caller, address, model

    async def manner(self, api: str) -> Manner:
        """How to ask; ``api`` is "auto", "completions" or "chat".

        :raises ModelError: it cannot be asked in any way, or not in that one.
        :raises JobFailed: it is in trouble.
        """
        if api == "chat":
            return await self._first(_chats())
        try:
            texts = await self._first(_completions())
        except _NoneWorks as none:
            if api == "completions" or none.status in (401, 403):
                raise
            return await self._chat_after(none)
        return await self._with_ids(texts)

    async def _chat_after(self, none: _NoneWorks) -> Manner:
        try:
            return await self._first(_chats())
        except _NoneWorks as neither:
            raise ModelError(f"{none}; and for chat: {neither}") from None

    async def _first(self, manners: Iterator[Manner]) -> Manner:
        """The first of ``manners`` in which the server can be asked.

        :raises _NoneWorks: there is none.
        """
        refusal: Refused | GaveUp | None = None
        for manner in manners:
            try:
                # what can be left out is not waited for; bare questions are tried as often as the user allows
                written = await self._written(manner, (), 2 if manner.plainly else None)
            except (Refused, GaveUp) as error:
                answered(error)
                refusal = error
                if isinstance(error, Refused) and error.status not in (400, 422):
                    break  # other fields would change nothing
                continue
            return replace(manner, stops=await self._stops(manner, written.text))
        assert refusal is not None, "no manner to try"
        raise _NoneWorks(refusal)

    async def _stops(self, manner: Manner, text: str) -> bool:
        """Whether a stop string ends the text that the server writes without one where it first stands.

        mlx_lm.server 0.32.2 takes it out of the text and goes on, unless it is made of whole tokens.
        """
        words = re.findall(r"[^\W\d_]{4,}", text)
        if not words:
            return False
        stop = max(words, key=len)[1:3]
        try:
            written = await self._written(manner, (stop,), 2)
        except (Refused, GaveUp) as error:
            answered(error)
            return False
        return written.text.rstrip() == text[: text.index(stop)].rstrip()

    async def _written(self, manner: Manner, stops: Sequence[str], tries: int | None) -> Written:
        """What the server writes after the question.

        :raises Refused, GaveUp: it does not want this, or is in trouble.
        """
        body = manner.body(self._model, _QUESTION, _QUESTION_TOKENS)
        if stops:
            body["stop"] = list(stops)

        def read(document: Any) -> Written:
            return manner.read(document, _QUESTION_TOKENS)

        return await self._caller.post(manner.url(self._address), body, read, tries=tries)

    async def _with_ids(self, texts: Manner) -> Manner:
        """``texts`` itself, or a manner of asking with ids where the server takes them."""
        said = ""
        for extra in (_VLLM, {}):
            body = {**texts.body(self._model, list(SOME_IDS), 1), **extra}
            try:
                written = await self._caller.post(texts.url(self._address), body, _with_count, tries=2)
            except (Refused, GaveUp) as error:
                said = short(answered(error), 120)
                continue
            return replace(texts, tells_ids=written.ids is not None)
        return replace(texts, no_ids=said)


class _NoneWorks(ModelError):
    def __init__(self, refusal: Refused | GaveUp) -> None:
        super().__init__(str(refusal))
        self.status = refusal.status if isinstance(refusal, Refused) else refusal.last.status


def _completions() -> Iterator[Manner]:
    return (Manner(False, plainly) for plainly in _PLAINLY)


def _chats() -> Iterator[Manner]:
    no_ids = "the chat interface takes text"
    return (Manner(True, plainly, cap, no_ids=no_ids) for cap in _CAPS for plainly in _PLAINLY)


def _with_count(document: Any) -> Written:
    written = read_completion(document, 1)
    check_count(written, len(SOME_IDS))
    return written


def check_count(written: Written, given: int) -> None:
    """Whether the server read as many tokens as it was given: one that adds BOS to ids is found out so.

    :raises Garbled: it did not, or does not tell.
    """
    if written.prompt_tokens != given:
        counted = "it does not say how many" if written.prompt_tokens is None else written.prompt_tokens
        raise Garbled(f"the server made {counted} tokens of the {given} that it was given")
