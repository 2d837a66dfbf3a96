"""Whether two models write a conversation in the same way."""

from __future__ import annotations

from dataclasses import dataclass

from slmeval.errors import ModelError
from slmeval.parity.sides import Side
from slmeval.rendering import Chat, Rendered, can_render, render
from slmeval.templates import find_template, marks_of
from slmeval.token_tree import common_length

#: conversations that show most of what a template does: a first turn, a system prompt, turns, odd white space
PROBES: tuple[Chat, ...] = (
    ({"role": "user", "content": "Name a colour."},),
    (
        {"role": "system", "content": "Answer in one word."},
        {"role": "user", "content": "Name a colour."},
        {"role": "assistant", "content": "Blue."},
        {"role": "user", "content": "  Another one, please.\n"},
    ),
)
#: characters that are shown around the first difference
_AROUND = 40


@dataclass(frozen=True)
class Verdict:
    """The first difference, or why there is none, or why that cannot be told: one of them, in a sentence."""

    difference: str = ""
    alike: str = ""
    untold: str = ""


def compare_templates(first: Side, other: Side) -> Verdict | None:
    """The templates of two models; ``None`` where neither has one, or a server keeps its own.

    :raises ModelError: a file cannot be read.
    """
    if "server" in (first.job.model.form, other.job.model.form):
        return None
    ours, theirs = find_template(first.job.model), find_template(other.job.model)
    if ours is None and theirs is None:
        return None
    if ours is None or theirs is None:
        named = (first if ours is None else other).name
        return Verdict(f"{named} has no chat template, the other has one")
    if ours == theirs:
        return Verdict(alike="the chat templates are the same text")
    if not can_render():
        return Verdict(
            f"the texts of the chat templates differ: {_parted(ours, theirs)} "
            "(not rendered: pip install 'slmeval[chat]')"
        )
    return _rendered(ours, theirs, first, other)


def _rendered(ours: str, theirs: str, first: Side, other: Side) -> Verdict:
    both = zip(
        render(ours, PROBES, marks_of(first.job.tokenizer)),
        render(theirs, PROBES, marks_of(other.job.tokenizer)),
        strict=True,
    )
    alike, troubles = 0, []
    for number, (one, two) in enumerate(both, 1):
        if one.text != two.text:
            return Verdict(f"of probing conversation {number} they make {_told(one, two)}")
        alike += one.text is not None
        troubles += [one.trouble] if one.text is None else []
    if not alike:
        return Verdict(
            untold=f"whether the chat templates, which are written otherwise, render alike: {troubles[0]}"
        )
    told = (
        f"the chat templates are written otherwise, and render {alike} of {len(PROBES)} probing conversations"
    )
    return Verdict(alike=f"{told} alike{f' (the rest not: {troubles[0]})' if troubles else ''}")


def _told(one: Rendered, two: Rendered) -> str:
    if one.text is not None and two.text is not None:
        return _parted(one.text, two.text)
    told = ["a text" if each.text is not None else f"none ({each.trouble})" for each in (one, two)]
    return " against ".join(told)


def _parted(one: str, two: str) -> str:
    """Both around the first difference, as Python writes texts."""
    place = common_length(one, two)
    begin = max(0, place - _AROUND // 2)
    shown = [f"{'...' if begin else ''}{text[begin : begin + _AROUND]!r}" for text in (one, two)]
    return f"{shown[0]} against {shown[1]}"


def template_verdict(first: Side, other: Side) -> Verdict | None:
    """:func:`compare_templates`; a file that cannot be read is said to be that."""
    try:
        return compare_templates(first, other)
    except ModelError as error:
        return Verdict(untold=f"the chat templates cannot be compared: {error}")
