"""The tokenizer of the run against the one in the model's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from slmeval.api import Tokenizer
from slmeval.errors import ModelError
from slmeval_mlx.loading import UNREADABLE, reason

#: what tokenizers differ in: spaces, line ends, digits, accents, scripts, and what needs several bytes
PROBES = (
    "Once upon a time",
    " a space before",
    "one,  two,   and one after ",
    "a line\nanother\n\n\tand a third",
    "7 42 1984 65536 2.71828",
    "it's we'll I'D",
    "Straße, façade, œuvre, ﬂow",
    "中文 ไทย עברית 🦙",
    "while x != 0:\n    x -= 1",
)


def own_tokenizer(folder: Path) -> Any:
    """The tokenizer that mlx-lm takes, transformers' of ``folder``; ``None`` where there is none in it.

    :raises ModelError: there is one, and it cannot be opened.
    """
    if not any(folder.glob("tokenizer*")) and not (folder / "vocab.json").is_file():
        return None
    try:
        return AutoTokenizer.from_pretrained(str(folder))
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
            return f"{text!r} ({marks} special tokens) is {ours} here, and {theirs} to mlx-lm"
    return None
