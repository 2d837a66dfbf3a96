"""JSON files of a model folder, read field by field: what is missing or misspelt is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slmeval.errors import ModelError


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in the file at ``path``.

    :raises ModelError: there is no such file, or it holds something else.
    """
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{path} is damaged: it is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} is damaged: it holds no JSON object")
    return value


class Fields:
    """The fields of one JSON object, checked as they are read; ``null`` counts as absent.

    ``place`` says in messages where they stand. A field without a default must be there; every reader
    raises ModelError where a field is missing or not of its kind.
    """

    def __init__(self, place: str, values: Mapping[str, Any]) -> None:
        self.place = place
        self._values = values

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def get(self, name: str, default: Any = None) -> Any:
        """The value as it stands, unchecked."""
        value = self._values.get(name)
        return default if value is None else value

    def text(self, name: str, default: str | None = None) -> str:
        return str(self._typed(name, default, (str,), "a text"))

    def flag(self, name: str, default: bool | None = None) -> bool:
        return bool(self._typed(name, default, (bool,), "true or false"))

    def count(self, name: str, default: int | None = None) -> int:
        """A whole number above zero."""
        return int(self._positive(name, default, (int,), "a whole number above zero"))

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number above zero."""
        return float(self._positive(name, default, (int, float), "a number above zero"))

    def inner(self, name: str) -> Fields:
        """The object in field ``name``, empty where there is none."""
        return Fields(f"{self.place}, {name}", self._typed(name, {}, (dict,), "an object"))

    def names(self, name: str) -> tuple[str, ...]:
        """The list of texts in field ``name``, empty where there is none."""
        values = self._typed(name, [], (list,), "a list")
        return tuple(Fields(f"{self.place}, {name}", {"item": value}).text("item") for value in values)

    def texts(self) -> dict[str, str]:
        """All fields, each of which is a text."""
        return {name: self.text(name) for name in self._values}

    def _positive(self, name: str, default: Any, types: tuple[type, ...], what: str) -> Any:
        value = self._typed(name, default, types, what)
        # Python's JSON reads NaN and Infinity, and this order of comparison refuses both
        if not 0 < value < float("inf"):
            raise ModelError(f"{self.place}: {name!r} is {value}, not {what}")
        return value

    def _typed(self, name: str, default: Any, types: tuple[type, ...], what: str) -> Any:
        value = self.get(name, default)
        if value is None:
            raise ModelError(f"{self.place} has no {name!r}")
        # a bool is an int to Python, but not in JSON
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise ModelError(f"{self.place}: {name!r} is {json.dumps(value)}, not {what}")
        return value
