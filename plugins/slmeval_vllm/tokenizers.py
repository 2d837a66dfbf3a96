"""The tokenizer of the run against the one that transformers, and so vLLM, makes of the model's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from slmeval.api import Tokenizer
from slmeval.errors import ModelError
from slmeval_vllm.errors import UNREADABLE, reason

#: what tokenizers differ in: spaces, line ends, digits, accents, scripts, and what needs several bytes
PROBES = (
    "The quick brown fox",
    " leading space",
    "two  spaces,   three, trailing ",
    "line\nline\n\n\tline",
    "0 12 345 6789 3.14159",
    "don't we're I'LL",
    "naïve Ærø ſtraße ﬁn",
    "日本語 한국어 العربية 🙂",
    "def f(x):\n    return x**2",
)


def own_tokenizer(folder: Path, *, trust_remote_code: bool) -> Any:
    """The tokenizer that transformers makes of ``folder``, or ``None`` where there is none in it.

    :raises ModelError: there is one, and it cannot be opened.
    """
    if not any(folder.glob("tokenizer*")) and not (folder / "vocab.json").is_file():
        return None
    try:
        return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=trust_remote_code)
    except UNREADABLE as error:
        raise ModelError(f"transformers cannot open the tokenizer in {folder}: {reason(error)}") from error


def first_difference(tokenizer: Tokenizer, own: Any) -> str | None:
    """One sentence on the first probe that both encode differently, or ``None``."""
    return next((found for text in PROBES if (found := _difference(tokenizer, own, text))), None)


def _difference(tokenizer: Tokenizer, own: Any, text: str) -> str | None:
    for special in (True, False):
        ours = list(tokenizer.encode(text, special=special))
        theirs = list(own.encode(text, add_special_tokens=special))
        if ours != theirs:
            marks = "with" if special else "without"
            return f"{text!r} ({marks} special tokens) is {ours} here, and {theirs} to transformers"
    return None
