"""The tokenizer of the run against the one that transformers, and so vLLM, makes of the model's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from slmeval import tokenizer_probes
from slmeval.api import Tokenizer
from slmeval.errors import ModelError
from slmeval_vllm.errors import UNREADABLE, reason


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

    def encode(text: str, special: bool) -> list[int]:
        return list(own.encode(text, add_special_tokens=special))

    return tokenizer_probes.first_difference(tokenizer, encode, "transformers")
