"""The tokenizer of the run against the server's own, where a server lets it be asked."""

from __future__ import annotations

from typing import Any

from slmeval.api import Tokenizer
from slmeval_openai.address import Address
from slmeval_openai.asking import Caller, GaveUp, Refused, answered
from slmeval_openai.documents import Garbled, field

#: what tokenizers differ in: spaces, line ends, digits, accents, scripts, and what needs several bytes
PROBES = (
    "The quick brown fox jumps over the lazy dog.",
    " leading space",
    "two  spaces,   three, trailing ",
    "line\nline\n\n\tline\r\n  line",
    "0 12 345 6789 3.14159 1,000,000",
    "don't we're I'LL they’ve",
    "naïve Ærø ſtraße ﬁn",
    "日本語 한국어 العربية Русский 🙂",
    "def f(x):\n    return x**2  # ~!@$%^&*",
)


def is_text(tokenizer: Tokenizer) -> bool:
    """Whether there is no tokenizer, and ids are the bytes of a text."""
    return tokenizer.origin.startswith("none")


async def first_difference(
    caller: Caller, address: Address, model: str, tokenizer: Tokenizer
) -> tuple[str | None, str]:
    """One sentence on the first probe that both encode differently, or ``None``; and why none was compared.

    vLLM, SGLang and llama-server have ``/tokenize`` beside OpenAI's interface.
    """
    for text in PROBES:
        for special in (True, False):
            ours = list(tokenizer.encode(text, special=special))
            try:
                theirs = await caller.post(
                    f"{address.root}/tokenize", _asked(model, text, special), _tokens, tries=2
                )
            except (Refused, GaveUp) as error:
                return None, answered(error)
            if ours != theirs:
                marks = "with" if special else "without"
                return f"{text!r} ({marks} special tokens) is {ours} here, and {theirs} to the server", ""
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
