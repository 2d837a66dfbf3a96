"""Whether two cells asked the same: what differs between them, each thing in a few words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slmeval import endings
from slmeval.sides import Side
from slmeval.types import CellResult

#: digits of a hash that are told
_DIGITS = 12
#: settings that count where texts are written, and where a chat template writes prompts
_OF_TEXTS = ("max_tokens", "temperature", "top_p", "thinking")
_OF_CHAT = ("template_options",)


def unlike(here: Side, first: CellResult, there: Side, second: CellResult) -> list[str]:
    """What keeps ``first`` of side ``here`` from being compared with ``second`` of side ``there``.

    Each difference is told as ``what: this and that``. That one of them has fewer items because a valid rule
    ended it is none.
    """
    if first.kind == "probe" or second.kind == "probe":
        return [*_of_task(first, second), *unlike_settings(first, second)]
    return [
        *_of_task(first, second),
        *_of_shots(first, second),
        *_of_template(here, first, there, second),
        *_of_settings(here, first, there, second),
        *_of_items(first, second),
    ]


def _of_task(first: CellResult, second: CellResult) -> Iterator[str]:
    if first.version != second.version:
        yield _told("task version", first.version, second.version)
    if first.kind == "group" and first.members != second.members:
        yield f"members: {len(first.members)} and {len(second.members)}, not all the same"


def unlike_settings(first: CellResult, second: CellResult) -> Iterator[str]:
    """What a probe was told otherwise on each side."""
    for name in sorted({*first.settings, *second.settings}):
        if first.settings.get(name) != second.settings.get(name):
            yield _told(f"setting {name}", first.settings.get(name), second.settings.get(name))


def _of_shots(first: CellResult, second: CellResult) -> Iterator[str]:
    if first.shots != second.shots:
        yield _told("shots", first.shots, second.shots)
    elif first.shots:
        if first.seed != second.seed:
            yield _told("seed of the shots", first.seed, second.seed)
        if first.data.shots_sha256 != second.data.shots_sha256:
            yield _hashes("rows of the shots", first.data.shots_sha256, second.data.shots_sha256)


def _of_template(here: Side, first: CellResult, there: Side, second: CellResult) -> Iterator[str]:
    if first.chat != second.chat:
        yield _told("chat template", first.chat, second.chat)
    elif first.chat == "on" and here.template_hash != there.template_hash:
        yield _hashes("text of the chat template", here.template_hash, there.template_hash)


def _of_settings(here: Side, first: CellResult, there: Side, second: CellResult) -> Iterator[str]:
    for name in _relevant(first, second):
        one, other = _plain(here.settings, name), _plain(there.settings, name)
        if one != other:
            yield _told(name.replace("_", " "), one, other)
    if first.repeats != second.repeats:
        yield _told("repeats", first.repeats, second.repeats)


def _relevant(first: CellResult, second: CellResult) -> Iterator[str]:
    """Names of the settings that can have changed something."""
    yield "compat"
    if first.chat == second.chat == "on":
        yield from _OF_CHAT
        if first.shots:
            yield "chat_shots"
    if writes(first) or writes(second):
        yield from _OF_TEXTS


def writes(cell: CellResult) -> bool:
    """Whether its answers are texts."""
    return any(figure.name.partition("/")[0] in endings.NAMES for figure in cell.figures)


def _of_items(first: CellResult, second: CellResult) -> Iterator[str]:
    here, there = first.outcomes, second.outcomes
    if here is None or there is None or here.items == there.items:
        return
    one, other = set(here.items), set(there.items)
    if one != other and not _ended_early(first, one, second, other):
        yield f"items: {len(one):,} and {len(other):,}, of which {len(one & other):,} are the same"


def _ended_early(first: CellResult, one: set[str], second: CellResult, other: set[str]) -> bool:
    """Whether items are lacking for no other reason than that a rule ended the asking."""
    if ended(first) and ended(second):
        return first.data.sha256 == second.data.sha256
    return (ended(first) and one <= other) or (ended(second) and other <= one)


def ended(cell: CellResult) -> bool:
    """Whether a rule ended it before all its items were asked."""
    return cell.stop is not None and cell.stop.asked < cell.stop.planned


def _plain(settings: Mapping[str, Any], name: str) -> Any:
    value = settings.get(name)
    return dict(value) if isinstance(value, Mapping) else value


def _told(what: str, one: object, other: object) -> str:
    return f"{what}: {_short(one)} and {_short(other)}"


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={value[key]}" for key in sorted(value)) or "none"
    return "none" if value is None or value == "" else str(value)


def _hashes(what: str, one: str, other: str) -> str:
    return _told(what, one[:_DIGITS], other[:_DIGITS])
