"""How a chat template writes a question with its examples.

What becomes of a prompt is what lm-evaluation-harness makes of it (``lm_eval/api/task.py``,
``models/huggingface.py``): the task's description is the system's turn, the examples are turns before the
question or stand in one message with it, and the delimiter before a choice is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from slmeval.errors import ModelError
from slmeval.rendering import DEFAULTS, NOW, Chat, Rendered, render
from slmeval.templates import Template
from slmeval.types import Request, Rolling, Sample, Score, Turns

#: a conversation that can be looked up: pairs of role and content
Messages = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Chatted:
    """Samples as a template writes them, and what must be said of that."""

    samples: tuple[Sample, ...]
    notes: tuple[str, ...]


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
