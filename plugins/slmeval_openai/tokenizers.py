"""The tokenizer of the run against the server's own, where a server lets it be asked."""

from __future__ import annotations

from typing import Any

from slmeval.api import Tokenizer
from slmeval.tokenizer_probes import difference, probes
from slmeval_openai.address import Address
from slmeval_openai.asking import Caller, GaveUp, Refused, answered
from slmeval_openai.documents import Garbled, field


def is_text(tokenizer: Tokenizer) -> bool:
    """Whether there is no tokenizer, and ids are the bytes of a text."""
    return tokenizer.origin.startswith("none")


async def first_difference(
    caller: Caller, address: Address, model: str, tokenizer: Tokenizer
) -> tuple[str | None, str]:
    """One sentence on the first probe that both encode differently, or ``None``; and why none was compared.

    vLLM, SGLang and llama-server have ``/tokenize`` beside OpenAI's interface.
    """
    for text, special in probes():
        asked = _asked(model, text, special)
        try:
            theirs = await caller.post(f"{address.root}/tokenize", asked, _tokens, tries=2)
        except (Refused, GaveUp) as error:
            return None, answered(error)
        if found := difference(tokenizer, text, special, theirs, "the server"):
            return found, ""
    return None, ""


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


def _tokens(document: Any) -> list[int]:
    tokens = field(document, "tokens", list)
    if any(type(token) is not int for token in tokens):
        raise Garbled("its tokens are no ids")
    return tokens
