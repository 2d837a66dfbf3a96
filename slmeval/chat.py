"""Chat templates: where a model keeps its own, and how it writes a question with its examples.

What becomes of a prompt is what lm-evaluation-harness makes of it (``lm_eval/api/task.py``,
``models/huggingface.py``): the task's description is the system's turn, the examples are turns before the
question or stand in one message with it, and the delimiter before a choice is left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slmeval.errors import ModelError
from slmeval.gguf_file import read_gguf
from slmeval.models import FoundModel
from slmeval.rendering import DEFAULTS, NOW, Chat, Rendered, render
from slmeval.tokenizing import FastTokenizer, read_json, special_texts
from slmeval.types import OptionValue, Request, Rolling, Sample, Score, Thought, Turns

#: a conversation that can be looked up: pairs of role and content
Messages = tuple[tuple[str, str], ...]

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


@dataclass(frozen=True)
class Chatted:
    """Samples as a template writes them, and what must be said of that."""

    samples: tuple[Sample, ...]
    notes: tuple[str, ...]


# ---- where it is -------------------------------------------------------------------------------------


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


# ---- how it writes -----------------------------------------------------------------------------------


def chatted(samples: Sequence[Sample], template: Template) -> Chatted:
    """The samples with every prompt as ``template`` writes it; a whole text stays as it is.

    :raises ModelError: the template fails, takes too long, or leaves out the question.
    :raises MissingExtra: jinja2 is not installed.
    """
    wanted = [_turns(request) for sample in samples for request in sample.requests if _is_said(request)]
    written = _written(template, dict.fromkeys(messages(turns, template.as_turns) for turns in wanted))
    made = tuple(
        replace(each, requests=tuple(_said(part, template, written.texts) for part in each.requests))
        for each in samples
    )
    delimiters = {part.delimiter for each in samples for part in each.requests if isinstance(part, Score)}
    notes = (*written.notes, *_of_what_is_told(template), *_of_delimiters(delimiters - {""}))
    return Chatted(made, notes)


def messages(turns: Turns, as_turns: bool) -> Messages:
    """The conversation that a prompt's parts make; not ``as_turns``, examples and question are one."""
    system = (("system", turns.description),) if turns.description else ()
    if not as_turns:
        return (*system, ("user", turns.shown + turns.question))
    examples = (((("user", asked), ("assistant", told))) for asked, told in turns.examples)
    return (*system, *(turn for pair in examples for turn in pair), ("user", turns.question))


def _is_said(request: Request) -> bool:
    return not isinstance(request, Rolling)


def _turns(request: Any) -> Turns:
    whole = request.context if isinstance(request, Score) else request.prompt
    return request.turns or Turns("", (), whole)


def _said(request: Request, template: Template, texts: Mapping[Messages, str]) -> Request:
    if isinstance(request, Rolling):
        return request
    text = texts[messages(_turns(request), template.as_turns)]
    if isinstance(request, Score):
        return Score(text, request.continuation.removeprefix(request.delimiter))
    return replace(request, prompt=text, turns=None)


def _of_what_is_told(template: Template) -> Iterator[str]:
    for name in template.options:
        if name not in template.text and name not in DEFAULTS:
            yield f"the template asks for no {name!r} (--template-option), which makes no difference then"
    if "strftime_now" in template.text:
        yield f"the template asks for the date, and is told {NOW:%Y-%m-%d}"


def _of_delimiters(delimiters: Iterable[str]) -> Iterator[str]:
    for delimiter in sorted(delimiters):
        yield f"the template stands in place of the delimiter {delimiter!r} before each choice"


@dataclass(frozen=True)
class _Written:
    texts: Mapping[Messages, str]
    notes: tuple[str, ...]


def _written(template: Template, wanted: Iterable[Messages]) -> _Written:
    asked = list(wanted)
    found = dict(zip(asked, _rendered(template, asked), strict=True))
    refused = [each for each in asked if _is_refused(each, found[each])]
    # as lm-evaluation-harness: a template that takes no system's turn is asked without it
    bare = [each[1:] for each in refused]
    found.update(zip(refused, _rendered(template, bare), strict=True))
    texts = {each: _checked(found[each]) for each in asked}
    _check_told_apart(texts)
    dropped = [each for each in asked if each not in refused and _lacks_system(each, texts[each])]
    notes = (*_of_system(len(asked), refused, dropped), *_of_questions(texts))
    return _Written(texts, notes)


def _rendered(template: Template, wanted: Sequence[Messages]) -> Sequence[Rendered]:
    chats: list[Chat] = [[{"role": role, "content": text} for role, text in each] for each in wanted]
    return render(template.text, chats, template.marks, template.options) if chats else ()


def _is_refused(asked: Messages, found: Rendered) -> bool:
    return asked[0][0] == "system" and found.text is None and found.trouble.startswith("TemplateError")


def _checked(found: Rendered) -> str:
    if found.text is None:
        raise ModelError(f"the chat template fails: {found.trouble} (--chat-template off asks without it)")
    try:
        found.text.encode()
    except UnicodeEncodeError as error:
        raise ModelError(f"the chat template writes what is no text: {error}") from None
    return found.text


def _check_told_apart(texts: Mapping[Messages, str]) -> None:
    # many templates leave out the white space around what is said
    by_question = {asked[-1][1].strip(): text for asked, text in texts.items()}
    if len(set(by_question.values())) < len(by_question):
        raise ModelError(
            "the chat template leaves out the question: it writes the same for different ones "
            "(--chat-template off asks without it)"
        )


def _of_questions(texts: Mapping[Messages, str]) -> Iterator[str]:
    changed = sum(asked[-1][1].strip() not in text for asked, text in texts.items())
    if changed:
        yield f"the template does not write the question as it is in {changed} of {len(texts)} prompts"
    shown = [asked for asked in texts if len(_examples(asked)) > 0]
    lost = sum(any(told.strip() not in texts[asked] for _, told in _examples(asked)) for asked in shown)
    if lost:
        yield f"the template does not write the examples as they are in {lost} of {len(shown)} prompts"


def _examples(asked: Messages) -> Messages:
    return tuple(turn for turn in asked[:-1] if turn[0] != "system")


def _lacks_system(asked: Messages, text: str) -> bool:
    return asked[0][0] == "system" and asked[0][1].strip() not in text


def _of_system(asked: int, refused: Sequence[Messages], dropped: Sequence[Messages]) -> Iterator[str]:
    if refused:
        yield (
            f"the template takes no system's turn: {len(refused)} of {asked} prompts were made without the "
            "task's description, as lm-evaluation-harness makes them"
        )
    if dropped:
        yield (
            f"the template drops the system's turn without a word: {len(dropped)} of {asked} prompts do not "
            "show the task's description"
        )
