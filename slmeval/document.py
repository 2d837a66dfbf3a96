"""A run as one JSON document of schema ``slmeval.run/1``, and back without loss.

The document is strict JSON: no NaN, no Infinity. Records are written field by field from the frozen
dataclasses of :mod:`slmeval.types` and read back by their annotations, so the two cannot drift apart.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter, abc
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from functools import cache
from importlib import resources
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from slmeval.errors import DataError
from slmeval.packed_outcomes import from_packed, to_packed
from slmeval.types import CellResult, Figure, RunResult

_FAMILY = "slmeval.run/"
_VERSION = 1
SCHEMA = f"{_FAMILY}{_VERSION}"

#: these parts of a run stand beside ``run`` in the document, all others in it
_SECTIONS = ("machine", "models", "cells", "failures")
#: JSON has no number for these
_INFINITIES = {"Infinity": math.inf, "-Infinity": -math.inf}
_LARGEST = sys.float_info.max
_NAMES = {str: "text", int: "a whole number", bool: "true or false"}

T = TypeVar("T")

# ---- writing ---------------------------------------------------------------------------------------


def to_document(run: RunResult) -> dict[str, Any]:
    """The whole run as plain JSON values.

    A figure whose value is not a finite number becomes ``null``, unavailable, with a note.

    :raises slmeval.errors.DataError: two figures of one cell have the same name.
    """
    plain = to_plain(replace(run, cells=()))
    head = {name: value for name, value in plain.items() if name not in _SECTIONS}
    sections = {name: plain[name] for name in _SECTIONS}
    return {"schema": SCHEMA, "run": head, **sections, "cells": [cell_document(cell) for cell in run.cells]}


def to_json(run: RunResult, *, indent: int | None = None) -> str:
    """The document as ASCII text, so that it passes through any stream unharmed."""
    return json.dumps(to_document(run), indent=indent, allow_nan=False)


def to_plain(value: Any) -> Any:
    """``value`` in JSON's own types; an infinite number becomes the text ``Infinity``.

    :raises TypeError: a value that has no place in a document.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if value is None or isinstance(value, (bool, str)):
        return value
    return _plain_number(value)


def _plain_number(value: Any) -> int | float | str:
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return number if math.isfinite(number) else json.dumps(number)
    raise TypeError(f"{value!r} of {type(value)} cannot be written into a run document")


def cell_document(cell: CellResult) -> dict[str, Any]:
    """One cell, its figures by name and its outcomes packed.

    :raises slmeval.errors.DataError: two of its figures have the same name.
    """
    figures = {figure.name: to_plain(_finite(figure)) for figure in cell.figures}
    if len(figures) < len(cell.figures):
        ((twice, _),) = Counter(figure.name for figure in cell.figures).most_common(1)
        raise DataError(f"{cell.name} has two figures named {twice!r}: give one of them a label of its own")
    for figure in figures.values():
        del figure["name"]
    outcomes = None if cell.outcomes is None else to_packed(cell.outcomes)
    return {**to_plain(replace(cell, figures=(), outcomes=None)), "figures": figures, "outcomes": outcomes}


def _finite(figure: Figure) -> Figure:
    """``figure`` without numbers that JSON cannot say; what is lost is said in the note."""
    if figure.value is None or not math.isfinite(figure.value):
        note = figure.note if figure.value is None else _join(figure.note, f"the value was {figure.value}")
        return replace(figure, value=None, stderr=None, ci95=None, source="unavailable", note=note)
    errors = (figure.stderr, *(figure.ci95 or ()))
    if all(error is None or math.isfinite(error) for error in errors):
        return figure
    return replace(figure, stderr=None, ci95=None, note=_join(figure.note, "the error was not finite"))


def _join(note: str, more: str) -> str:
    return f"{note}; {more}" if note else more


# ---- reading ---------------------------------------------------------------------------------------


def from_document(document: Any) -> RunResult:
    """The run that was written.

    :raises slmeval.errors.DataError: it is another kind of document, a newer one, or damaged.
    """
    _check_schema(document)
    _check_keys(document, {"schema", "run", *_SECTIONS}, {"schema", "run", *_SECTIONS}, "the document")
    cells = [cell_from(cell, f"cells[{place}]") for place, cell in enumerate(_list(document, "cells"))]
    sections = {name: document[name] for name in _SECTIONS}
    made = from_plain(RunResult, {**_mapping(document["run"], "run"), **sections, "cells": []})
    return replace(made, cells=tuple(cells))


def from_plain(kind: type[T], raw: Any, place: str = "") -> T:
    """The record that :func:`to_plain` wrote; a field that has a default may be missing.

    :raises slmeval.errors.DataError: ``raw`` is not such a record; ``place`` says where it stands.
    """
    return cast(T, _value(kind, raw, place))


def _check_schema(document: Any) -> None:
    schema = document.get("schema") if isinstance(document, Mapping) else None
    if schema == SCHEMA:
        return
    version = schema.removeprefix(_FAMILY) if isinstance(schema, str) and schema.startswith(_FAMILY) else ""
    if version.isdecimal() and int(version) > _VERSION:
        raise DataError(f"the run is of schema {schema!r}, this slmeval reads {SCHEMA!r}: upgrade slmeval")
    raise DataError(f"not an slmeval run: its schema is {_short(schema)}, not {SCHEMA!r}")


def cell_from(raw: Any, place: str) -> CellResult:
    """The cell that :func:`cell_document` wrote; errors as of :func:`from_plain`."""
    cell = _mapping(raw, place)
    figures = _mapping(cell.get("figures"), f"{place}.figures")
    named = [
        {**_mapping(figure, f"{place}.figures.{name}"), "name": name} for name, figure in figures.items()
    ]
    made = from_plain(CellResult, {**cell, "figures": named, "outcomes": None}, place)
    packed = cell.get("outcomes")
    if packed is None:
        return made
    try:
        return replace(made, outcomes=from_packed(packed))
    except ValueError as error:
        raise DataError(f"a damaged document: {place}.outcomes: {error}") from None


def _value(hint: Any, raw: Any, place: str) -> Any:
    """``raw`` as the annotation ``hint`` wants it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return _record(hint, raw, place)
    if origin in (Union, UnionType):
        return _optional(arguments, raw, place)
    if origin is tuple:
        return _tuple(arguments, raw, place)
    if origin is abc.Mapping:
        return {
            key: _value(arguments[1], item, f"{place}.{key}") for key, item in _mapping(raw, place).items()
        }
    if origin is Literal:
        return _one_of(arguments, raw, place)
    return _scalar(hint, raw, place)


def _record(kind: Any, raw: Any, place: str) -> Any:
    record = _mapping(raw, place or "the document")
    hints = _hints(kind)
    required = {field.name for field in fields(kind) if field.default is field.default_factory is MISSING}
    _check_keys(record, required, hints, place or "the document")
    prefix = f"{place}." if place else ""
    return kind(**{name: _value(hints[name], item, prefix + name) for name, item in record.items()})


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _optional(kinds: tuple[Any, ...], raw: Any, place: str) -> Any:
    if type(raw) in kinds:
        return raw if not isinstance(raw, float) else _scalar(float, raw, place)
    return _value(next(kind for kind in kinds if kind is not NoneType), raw, place)


def _tuple(kinds: tuple[Any, ...], raw: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(raw, list):
        raise _damaged(place, raw, "a list")
    if kinds[-1] is ...:
        kinds = (kinds[0],) * len(raw)
    if len(raw) != len(kinds):
        raise _damaged(place, raw, f"a list of {len(kinds)}")
    pairs = zip(kinds, raw, strict=True)
    return tuple(_value(kind, item, f"{place}[{index}]") for index, (kind, item) in enumerate(pairs))


def _one_of(known: tuple[Any, ...], raw: Any, place: str) -> Any:
    if raw not in known:
        raise _damaged(place, raw, "one of " + ", ".join(known))
    return raw


def _scalar(kind: Any, raw: Any, place: str) -> Any:
    if kind is float:
        return _float(raw, place)
    if type(raw) is not kind:
        raise _damaged(place, raw, _NAMES[kind])
    return raw


def _float(raw: Any, place: str) -> float:
    if isinstance(raw, str) and raw in _INFINITIES:
        return _INFINITIES[raw]
    # compared, because no function takes an integer of any size
    if type(raw) not in (int, float) or not -_LARGEST <= raw <= _LARGEST:
        raise _damaged(place, raw, "a finite number")
    return float(raw)


def _mapping(raw: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise _damaged(place, raw, "an object")
    return raw


def _list(document: Mapping[str, Any], name: str) -> list[Any]:
    raw = document[name]
    if not isinstance(raw, list):
        raise _damaged(name, raw, "a list")
    return raw


def _check_keys(
    record: Mapping[str, Any], required: abc.Iterable[str], known: abc.Iterable[str], place: str
) -> None:
    if missing := sorted(set(required) - set(record)):
        raise DataError(f"a damaged document: {place} lacks {missing[0]!r}")
    if unknown := sorted(set(record) - set(known)):
        raise DataError(f"a document that this slmeval cannot read: {place} has an unknown {unknown[0]!r}")


def _damaged(place: str, raw: Any, wanted: str) -> DataError:
    return DataError(f"a damaged document: {place} is {_short(raw)}, not {wanted}")


def _short(raw: Any) -> str:
    text = repr(raw)
    return text if len(text) <= 60 else f"{text[:57]}..."


def document_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the document."""
    text = (resources.files("slmeval.schema") / f"run-{_VERSION}.json").read_text(encoding="utf-8")
    return cast(dict[str, Any], json.loads(text))
