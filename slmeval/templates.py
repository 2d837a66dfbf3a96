"""Chat templates: where a model keeps its own, and what it is told of the model's special tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmeval.errors import ModelError
from slmeval.gguf_file import read_gguf
from slmeval.models import FoundModel
from slmeval.tokenizing import FastTokenizer, read_json, special_texts
from slmeval.types import OptionValue, Thought

#: how families of models mark what they think (each by the templates of its models)
_THOUGHTS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<thinking>", "</thinking>"),
    ("<seed:think>", "</seed:think>"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
)
#: special tokens that few templates ask for
_OTHERS = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True)
class Template:
    """A model's chat template, with the texts of the special tokens and what else it is told."""

    text: str
    marks: Mapping[str, str]
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    as_turns: bool = True

    @property
    def sha256(self) -> str:
        """Hash of its text."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def thought(self) -> Thought | None:
        """The marks of a thought that stand in it, if it is of a model that thinks."""
        known = (Thought(opens, closes) for opens, closes in _THOUGHTS if closes in self.text)
        return next(known, None)


def find_template(model: FoundModel) -> str | None:
    """The model's own template, the one named "default" of several; ``None`` where it has none.

    In a folder ``chat_template.jinja`` goes before ``tokenizer_config.json``, as in transformers; in a GGUF
    file it is ``tokenizer.chat_template``.

    :raises ModelError: a file cannot be read, or none of several is the default.
    """
    if model.form == "gguf":
        found = read_gguf(model.place).metadata.get("tokenizer.chat_template")
        return found if isinstance(found, str) else None
    if model.form != "folder":
        return None
    own = model.place / "chat_template.jinja"
    if own.is_file():
        try:
            return own.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"{own} cannot be read: {error}") from None
    config = model.place / "tokenizer_config.json"
    return _default(read_json(config).get("chat_template"), config)


def _default(found: Any, place: Path) -> str | None:
    if found is None or isinstance(found, str):
        return found
    several = found if isinstance(found, list) else []
    named = [(each.get("name"), each.get("template")) for each in several if isinstance(each, dict)]
    texts = [text for name, text in named if name == "default" and isinstance(text, str)]
    if not texts:
        told = ", ".join(repr(name) for name, _ in named) or "none at all"
        raise ModelError(f"{place} names several chat templates ({told}), and none of them 'default'")
    return texts[-1]


def marks_of(tokenizer: FastTokenizer) -> dict[str, str]:
    """The names by which templates know special tokens, with their texts."""
    ids = {"bos_token": tokenizer.bos_id, "eos_token": tokenizer.eos_id}
    texts = {name: None if token is None else tokenizer.token(token) for name, token in ids.items()}
    return {name: text for name, text in texts.items() if text is not None}


def other_marks(place: Path) -> dict[str, str]:
    """The special tokens beside BOS and EOS that a tokenizer's files name, for the few templates that ask."""
    return {name: text for name, text in special_texts(place).items() if name in _OTHERS}
