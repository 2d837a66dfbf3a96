"""The manners in which a run asks the same questions: plainly, or by the model's chat template."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from slmeval.asking import Writing
from slmeval.chat import chatted
from slmeval.errors import ModelError, UnknownName, UsageError
from slmeval.models import FoundModel
from slmeval.plan import Chat
from slmeval.questions import Draft
from slmeval.templates import Template, find_template, marks_of, other_marks
from slmeval.tokenizing import FastTokenizer
from slmeval.types import OptionValue, Rolling, RunOptions, Sample, Score, Thought

_TEMPLATES: dict[str, tuple[Chat, ...]] = {"off": ("off",), "on": ("on",), "both": ("off", "on")}
_SHOTS = ("turns", "message")


@dataclass(frozen=True)
class Manner:
    """One of them."""

    chat: Chat
    writing: Writing
    template: Template | None = None

    def chat_of(self, draft: Draft) -> Chat:
        """Whether the template writes the draft's prompts."""
        return "off" if _is_whole_text(draft) else self.chat

    def suits(self, draft: Draft, *, alone: bool) -> bool:
        """Whether the draft is asked so: a whole text is no conversation, and is not asked twice."""
        return self.template is None or alone or not _is_whole_text(draft)

    def apply(self, draft: Draft) -> Draft:
        """The draft as it is asked.

        :raises ModelError: the chat template fails, or leaves out what it should write.
        """
        if self.template is None:
            return draft
        if _is_whole_text(draft):
            note = "asked without the chat template: a whole text is no conversation"
            return replace(draft, notes=(*draft.notes, note))
        made = chatted(draft.samples, self.template)
        notes = (*draft.notes, *made.notes, *_within_thought(self.template, made.samples))
        return replace(draft, samples=made.samples, notes=notes)


def _is_whole_text(draft: Draft) -> bool:
    return any(isinstance(request, Rolling) for sample in draft.samples[:1] for request in sample.requests)


def _within_thought(template: Template, samples: Iterable[Sample]) -> tuple[str, ...]:
    """Choices have no room to think: what they are scored within is said."""
    thought = template.thought
    contexts = (part.context for each in samples for part in each.requests if isinstance(part, Score))
    if thought is None or not any(text.rstrip().endswith(thought.opens) for text in contexts):
        return ()
    return (
        f"the template begins a thought ({thought.opens}), and choices are scored within it: a template may "
        "have an option against that (--template-option enable_thinking=false)",
    )


def manners_of(options: RunOptions, template: Template | None) -> tuple[Manner, ...]:
    """The manners that a run asks for, the plain one first."""
    named = _named_thought(options.thinking)
    return tuple(
        Manner(
            chat,
            _writing(options, named or _own_thought(options, template if chat == "on" else None)),
            template if chat == "on" else None,
        )
        for chat in _TEMPLATES[options.chat_template]
    )


def _own_thought(options: RunOptions, template: Template | None) -> Thought | None:
    return template.thought if template is not None and options.thinking == "auto" else None


def _writing(options: RunOptions, thought: Thought | None) -> Writing:
    return Writing(
        options.max_tokens, options.temperature, options.top_p, options.repeats, options.seed, thought
    )


def template_for(options: RunOptions, model: FoundModel, tokenizer: FastTokenizer) -> Template | None:
    """The model's template, where the run asks by it.

    :raises ModelError: it has none that could be read.
    """
    found = template_text(options, model)
    if found is None:
        return None
    told = {name: _value(text) for name, text in options.template_options.items()}
    place = model.place if options.tokenizer is None else Path(options.tokenizer)
    others = {} if options.tokenizer is None and model.form != "folder" else other_marks(place)
    return Template(found, {**others, **marks_of(tokenizer)}, told, options.chat_shots == "turns")


def template_text(options: RunOptions, model: FoundModel) -> str | None:
    """The model's template as it is written; ``None`` where the run asks without one.

    Nothing of the model but its form and place is looked at.

    :raises ModelError: it has none that could be read.
    """
    if options.chat_template == "off":
        return None
    if model.form == "server":
        raise ModelError(
            f"{model.ref} is behind a server, which keeps its chat template to itself: leave out "
            "--chat-template, and let the server write chats by it (-o api=chat)"
        )
    found = find_template(model)
    if found is None:
        raise ModelError(f"{model.ref} has no chat template: --chat-template off asks it plainly")
    return found


#: as Python writes them; the text "False" would be true to a template
_WORDS: dict[str, OptionValue] = {"True": True, "False": False, "None": None}


def _value(text: str) -> OptionValue:
    """``false`` and ``3`` as JSON has them, ``False`` too; anything else is the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, OptionValue) else text


def check_manners(options: RunOptions) -> None:
    """
    :raises UsageError: an option has a value that it cannot have, or makes no difference.
    """
    if options.chat_template not in _TEMPLATES:
        raise UnknownName("--chat-template", options.chat_template, _TEMPLATES)
    if options.chat_shots not in _SHOTS:
        raise UnknownName("--chat-shots", options.chat_shots, _SHOTS)
    if options.template_options and options.chat_template == "off":
        raise UsageError("--template-option is for a chat template: add --chat-template on")
    if options.max_tokens is not None and options.max_tokens < 1:
        raise UsageError(f"--max-tokens {options.max_tokens}: at least 1 token must be written")
    _named_thought(options.thinking)
    _check_drawing(options)


def _check_drawing(options: RunOptions) -> None:
    if not 0 <= options.temperature < math.inf:
        raise UsageError(f"--temperature {options.temperature:g}: 0 (the likeliest token) or more")
    if not 0 < options.top_p <= 1:
        raise UsageError(f"--top-p {options.top_p:g}: more than 0, and at most 1")
    if options.repeats < 1:
        raise UsageError(f"--repeats {options.repeats}: each question is answered at least once")
    for flag, given in (("--repeats", options.repeats > 1), ("--top-p", options.top_p < 1)):
        if given and not options.temperature:
            raise UsageError(f"{flag} makes no difference at a temperature of 0: add --temperature 0.7, say")


def _named_thought(thinking: str) -> Thought | None:
    if thinking in ("auto", "off"):
        return None
    opens, comma, closes = thinking.partition(",")
    if not comma or not opens.strip() or not closes.strip():
        raise UsageError(f"--thinking {thinking}: auto, off, or two marks, as in '<think>,</think>'")
    return Thought(opens.strip(), closes.strip())
