"""The tokenizer of the run against the server's own, where a server lets it be asked."""

from __future__ import annotations

from typing import Any

from slmeval.api import Tokenizer
from slmeval.tokenizer_probes import PROBES, difference, probes
from slmeval_openai.address import Address
from slmeval_openai.asking import Caller, GaveUp, Refused, answered
from slmeval_openai.documents import Garbled, field
from slmeval_openai.opening import Manner
from slmeval_openai.replies import read_completion


def is_text(tokenizer: Tokenizer) -> bool:
    """Whether there is no tokenizer, and ids are the bytes of a text."""
    return tokenizer.origin.startswith("none")


class Comparison:
    """``note`` is what the report must say of it, "" where all could be compared."""

    def __init__(
        self, caller: Caller, address: Address, manner: Manner, model: str, tokenizer: Tokenizer
    ) -> None:
        self._caller, self._address, self._manner = caller, address, manner
        self._model, self._tokenizer = model, tokenizer
        self.note = ""

    async def first_difference(self) -> str | None:
        """One sentence on the first probe that both encode differently, or ``None``.

        vLLM, SGLang and llama-server have ``/tokenize`` beside OpenAI's interface. Gateways before them
        often pass on nothing but that: there the probes are sent as prompts.
        """
        try:
            return await self._in_ids()
        except (Refused, GaveUp) as error:
            answered(error)
        try:
            return await self._in_prompts()
        except (Refused, GaveUp) as error:
            self.note = f"the tokenizer was not compared with the server's own: {answered(error)}"
            return None

    async def _in_ids(self) -> str | None:
        for text, special in probes():
            asked = _asked(self._model, text, special)
            theirs = await self._caller.post(f"{self._address.root}/tokenize", asked, _tokens, tries=2)
            if found := difference(self._tokenizer, text, special, theirs, "the server"):
                return found
        return None

    async def _in_prompts(self) -> str | None:
        """With the marks alone (BOS) that the server sets before a prompt."""
        url = self._manner.url(self._address)
        for text in PROBES:
            body = self._manner.body(self._model, text, 1)
            if self._manner.tells_ids:
                body["return_token_ids"] = True
            theirs = await self._caller.post(url, body, _read, tries=2)
            if found := self._difference(text, theirs):
                return found
        return None

    def _difference(self, text: str, theirs: list[int] | int) -> str | None:
        if not isinstance(theirs, int):
            return difference(self._tokenizer, text, True, theirs, "the server")
        self.note = "of the server's own tokenizer nothing but counts of tokens could be compared"
        ours = len(self._tokenizer.encode(text))
        return None if ours == theirs else f"{text!r} is {ours} tokens here, and {theirs} to the server"


def _asked(model: str, text: str, special: bool) -> dict[str, Any]:
    """vLLM's and SGLang's names, and llama-server's, of the same things."""
    return {
        "model": model,
        "prompt": text,
        "add_special_tokens": special,
        "content": text,
        "add_special": special,
        "parse_special": True,
    }


def _read(document: Any) -> list[int] | int:
    """The ids of a prompt, which vLLM tells, else their number.

    :raises Garbled: neither is told.
    """
    count = read_completion(document, 1).prompt_tokens
    if document["choices"][0].get("prompt_token_ids") is not None:
        return _tokens(document["choices"][0], "prompt_token_ids")
    if count is None:
        raise Garbled("it does not say how many tokens it read")
    return count


def _tokens(document: Any, name: str = "tokens") -> list[int]:
    tokens = field(document, name, list)
    if any(type(token) is not int for token in tokens):
        raise Garbled("its tokens are no ids")
    return tokens
