"""Fields of a ``config.json``, under the names that families give them, each held against what it can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slmeval.errors import ModelError

#: no model has more of anything; what has is damaged, or made to hang us
_MOST = 1 << 31
_MOST_LAYERS = 10_000


class Fields:
    """A configuration; ``place`` is named in errors."""

    def __init__(self, values: Mapping[str, Any], place: str) -> None:
        self.values = values
        self.place = place

    def text(self, *names: str) -> str | None:
        """The first of ``names`` that is given and not null, as text."""
        for name in names:
            if self.values.get(name) is not None:
                if not isinstance(self.values[name], str):
                    raise self._odd(name, "text")
                return str(self.values[name])
        return None

    def flag(self, name: str, default: bool) -> bool:
        """A switch.

        :raises ModelError: it is neither true nor false.
        """
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._odd(name, "true or false")
        return value

    def number(self, *names: str, most: int = _MOST) -> int | None:
        """The first of ``names`` that is given and not null: a whole number from 1 on.

        :raises ModelError: it is none.
        """
        for name in names:
            if self.values.get(name) is not None:
                return self._whole(name, self.values[name], most)
        return None

    def layers(self, *names: str) -> int:
        """How many layers there are."""
        return self.needed(*names, most=_MOST_LAYERS)

    def needed(self, *names: str, most: int = _MOST) -> int:
        """As :meth:`number`, of a field without which nothing can be told.

        :raises ModelError: it is not given.
        """
        found = self.number(*names, most=most)
        if found is None:
            raise ModelError(f"{self.place} does not give {' or '.join(names)}")
        return found

    def each(self, name: str, layers: int) -> list[int] | None:
        """A list of whole numbers, one a layer; or one number for all; ``None`` where there is none."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, list):
            return [self._whole(name, value, _MOST)] * layers
        self._check_length(name, value, layers)
        return [self._whole(name, item, _MOST) for item in value]

    def factors(self, name: str, layers: int) -> list[float]:
        """A list of numbers above 0, one a layer.

        :raises ModelError: it is none.
        """
        value = self.values.get(name)
        if not isinstance(value, list):
            raise self._odd(name, "a list of numbers")
        self._check_length(name, value, layers)
        if not all(type(item) in (int, float) and 0 < item < _MOST for item in value):
            raise self._odd(name, "a list of numbers above 0")
        return [float(item) for item in value]

    def words(self, name: str, layers: int | None = None) -> list[str] | None:
        """A list of words, one a layer where ``layers`` are given; ``None`` where there is none."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            raise self._odd(name, "a list of words")
        if layers is not None:
            self._check_length(name, value, layers)
        return list(value)

    def several(self, name: str) -> Sequence[Any]:
        """A list of anything, empty where it is not given."""
        value = self.values.get(name)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise self._odd(name, "a list")
        return value

    def below(self, name: str) -> Fields | None:
        """A configuration within this one."""
        value = self.values.get(name)
        return Fields(value, f"{self.place} ({name})") if isinstance(value, dict) else None

    def _check_length(self, name: str, value: Sequence[Any], layers: int) -> None:
        if len(value) != layers:
            raise ModelError(f"{self.place} gives {len(value)} {name} for {layers} layers")

    def _whole(self, name: str, value: Any, most: int) -> int:
        if type(value) is not int or not 1 <= value <= most:
            raise self._odd(name, f"a whole number from 1 to {most}")
        return value

    def _odd(self, name: str, wanted: str) -> ModelError:
        told = repr(self.values.get(name))
        shown = told if len(told) < 60 else f"{told[:57]}..."
        return ModelError(f"{self.place} gives {shown} as {name}, which must be {wanted}")
