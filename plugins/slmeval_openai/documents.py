"""JSON from a server that is not trusted, and the fields of it that must be there."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn, TypeVar

ValueT = TypeVar("ValueT")


class Garbled(Exception):
    """What came is no right answer, and why."""


def parse(body: bytes) -> Any:
    """The one JSON document in ``body``, in which no name stands twice.

    :raises Garbled: there is none.
    """
    try:
        return json.loads(body, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Garbled(f"it is no JSON ({why})") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return made


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def field(document: Any, name: str, kind: type[ValueT]) -> ValueT:
    """``document[name]``, of this very type.

    :raises Garbled: it is not there, or of another type.
    """
    if not isinstance(document, dict) or name not in document:
        raise Garbled(f"it has no {name!r}")
    value = document[name]
    if type(value) is not kind:
        raise Garbled(f"its {name!r} is of type {type(value).__name__}, not {kind.__name__}")
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise Garbled(f"its {name!r} holds half a character")
    return value


def message_of(document: Any) -> str:
    """The words in an error document of the servers that we know, "" where there are none."""
    if not isinstance(document, dict):
        return ""
    found = document.get("error", document)
    if isinstance(found, dict):
        found = found.get("message") or found.get("detail") or ""
    return found if isinstance(found, str) else str(found)


def number(value: Any) -> float:
    """A finite number.

    :raises Garbled: it is none.
    """
    if type(value) not in (int, float) or not math.isfinite(value):
        raise Garbled("a log-probability is no number")
    return float(value)
