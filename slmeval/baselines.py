"""Baselines: what a gate needs to know of a run, small enough to be committed beside the code.

A baseline is a JSON file of schema ``slmeval.baseline/1``: the figures of each cell and, packed, what came
of each item, so that a later run can be compared item by item with nothing else at hand. The same run gives
the same bytes, and nothing in them says where files lie on a machine.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, cast

from slmeval import document as runs
from slmeval.document import cell_document, cell_from, from_plain, to_plain
from slmeval.errors import DataError, JobFailed
from slmeval.item_scores import is_value_of
from slmeval.json_file import read_document
from slmeval.sides import SETTINGS, settings_of
from slmeval.types import (
    CellResult,
    Conditions,
    Figure,
    Machine,
    ModelReport,
    Outcomes,
    RunOptions,
    RunResult,
)

_FAMILY = "slmeval.baseline/"
_VERSION = 1
SCHEMA = f"{_FAMILY}{_VERSION}"
#: as far as a value stays on its line, in characters
_WIDTH = 200
#: the folders of a path that begins at a root: a disk's, a home, a server's
_FOLDERS = re.compile(r"(?<![\w.])(?:~|[A-Za-z]:)?[/\\](?=\S)(?:[^\s/\\]*[/\\])*")
#: what a cell has and a gate does not need
_LEFT_OUT = ("counts", "notes", "series")


@dataclass(frozen=True)
class BaselineModel:
    """A model of a baseline: what tells it from another, and what ran it."""

    backend: str
    label: str
    model_hash: str
    tokenizer_hash: str
    template_hash: str = ""
    engine: str = ""
    engine_version: str = ""
    dtype: str = ""
    device: str = ""


@dataclass(frozen=True)
class Baseline:
    """What later runs are held against.

    ``run`` is the id of the run that it was made of, ``written`` when that ended (ISO 8601, UTC), ``version``
    the slmeval that measured it. ``settings`` are the run's options that change what is asked. The cells have
    no series, notes and counts; of the machine's conditions they have what the yardstick took. What notes of
    figures say is without folders.
    """

    run: str
    written: str
    version: str
    demo: bool
    settings: Mapping[str, Any]
    machine: Machine
    models: tuple[BaselineModel, ...]
    cells: tuple[CellResult, ...]


def baseline_of(run: RunResult, figures: Collection[str] | None = None) -> Baseline:
    """What a gate needs of ``run``; with ``figures``, the outcomes of items for these alone.

    :raises slmeval.errors.DataError: nothing was measured in it.
    """
    if not run.cells:
        raise DataError(f"run {run.id} has no results that a baseline could be made of")
    return Baseline(
        run=run.id,
        written=run.finished,
        version=run.versions.get("slmeval", ""),
        demo=run.demo,
        settings=_sorted(settings_of(run.options)),
        machine=run.machine,
        models=tuple(sorted(map(_model, run.models), key=_key_of_model)),
        cells=tuple(sorted((_stripped(cell, figures) for cell in run.cells), key=_key_of_cell)),
    )


def _sorted(settings: Mapping[str, Any]) -> dict[str, Any]:
    """In the same order whatever the order on the command line was."""
    return {
        name: dict(sorted(value.items())) if isinstance(value, Mapping) else value
        for name, value in settings.items()
    }


def _model(report: ModelReport) -> BaselineModel:
    """Its reference and options stay behind: they may say where files lie."""
    bare = BaselineModel(
        report.backend, report.label, report.model_hash, report.tokenizer_hash, report.template_hash
    )
    if (info := report.info) is None:
        return bare
    return replace(
        bare, engine=info.engine, engine_version=info.engine_version, dtype=info.dtype, device=info.device
    )


def _stripped(cell: CellResult, figures: Collection[str] | None) -> CellResult:
    bare = replace(cell, counts={}, notes=(), series=(), conditions=_yardsticks(cell.conditions))
    kept = tuple(replace(each, note=_without_folders(each.note), percentiles={}) for each in cell.figures)
    return replace(
        bare,
        figures=tuple(sorted(kept, key=lambda figure: figure.name)),
        outcomes=cell.outcomes and _columns(cell, cell.outcomes, figures),
    )


def _without_folders(note: str) -> str:
    """What a figure's note says, with no more of a path than its last part."""
    return _FOLDERS.sub("", note)


def _yardsticks(conditions: Iterable[Conditions]) -> tuple[Conditions, ...]:
    """Of each moment when the yardstick was measured, what it took."""
    return tuple(Conditions(each.at, yardstick=each.yardstick) for each in conditions if each.yardstick)


def _columns(cell: CellResult, outcomes: Outcomes, figures: Collection[str] | None) -> Outcomes:
    """``outcomes`` of these figures alone, in the order of their names; what is exact needs none."""
    exact = {figure.name for figure in cell.figures if figure.ci95 is None and figure.n > 1}
    names = outcomes.columns.keys() - exact
    kept = sorted(name for name in names if figures is None or name in figures)
    return replace(outcomes, columns={name: outcomes.columns[name] for name in kept})


def _key_of_model(model: BaselineModel) -> tuple[str, str]:
    return model.backend, model.label


def _key_of_cell(cell: CellResult) -> tuple[str, str, str, int, str]:
    return cell.backend, cell.model, cell.name, cell.shots, cell.chat


# ---- writing -------------------------------------------------------------------------------------------


def to_json(baseline: Baseline) -> str:
    """The baseline as ASCII text of short lines, so that a change of it is readable.

    :raises slmeval.errors.DataError: two figures of one cell have the same name.
    """
    plain = to_plain(replace(baseline, models=(), cells=()))
    plain["models"] = [_lean(BaselineModel, to_plain(model)) for model in baseline.models]
    plain["cells"] = [_plain_cell(cell) for cell in baseline.cells]
    return _laid_out({"schema": SCHEMA, **plain}) + "\n"


def write_baseline(baseline: Baseline, path: Path) -> None:
    """Write the whole file, or leave what was there: a reader sees the old one or the new one.

    A link stays one, and so does what is no file (a pipe, a device).

    :raises slmeval.errors.DataError: as :func:`to_json`.
    :raises slmeval.errors.JobFailed: it cannot be written.
    """
    text = to_json(baseline)
    try:
        _replace(path, text)
    except (OSError, RuntimeError) as error:
        told = getattr(error, "strerror", None) or error
        raise JobFailed(f"baseline {path} cannot be written: {told}") from None


def _replace(path: Path, text: str) -> None:
    target = path.resolve()
    if target.exists() and not target.is_file() and not target.is_dir():
        target.write_text(text, encoding="ascii", newline="\n")
        return
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        fresh.write_text(text, encoding="ascii", newline="\n")
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)


def _plain_cell(cell: CellResult) -> dict[str, Any]:
    plain = cell_document(cell)
    plain["figures"] = {name: _lean(Figure, figure) for name, figure in plain["figures"].items()}
    plain["conditions"] = [_lean(Conditions, each) for each in plain["conditions"]]
    return {name: value for name, value in _lean(CellResult, plain).items() if name not in _LEFT_OUT}


def _lean(kind: type, plain: Mapping[str, Any]) -> dict[str, Any]:
    """``plain`` without what a reader takes for granted."""
    granted = _granted(kind)
    return {name: value for name, value in plain.items() if name not in granted or granted[name] != value}


@cache
def _granted(kind: type) -> dict[str, Any]:
    """The default of each field that has one, in JSON's own types."""
    made = {
        each.name: each.default_factory() if each.default_factory is not MISSING else each.default
        for each in fields(kind)
    }
    return {name: to_plain(value) for name, value in made.items() if value is not MISSING}


def _laid_out(value: Any, depth: int = 0) -> str:
    """JSON of which everything that fits on a line stands on one."""
    flat = json.dumps(value, allow_nan=False)
    if len(flat) + depth <= _WIDTH or not isinstance(value, (dict, list)):
        return flat
    pad = " " * (depth + 1)
    if isinstance(value, list):
        return _bracketed("[]", [pad + _laid_out(each, depth + 1) for each in value], depth)
    lines = [f"{pad}{json.dumps(name)}: {_laid_out(each, depth + 1)}" for name, each in value.items()]
    return _bracketed("{}", lines, depth)


def _bracketed(brackets: str, lines: Sequence[str], depth: int) -> str:
    return "\n".join((brackets[0], ",\n".join(lines), " " * depth + brackets[1]))


# ---- reading -------------------------------------------------------------------------------------------


def read_baseline(path: Path) -> Baseline:
    """The baseline in a file; one made of a run where the file holds a whole run.

    :raises slmeval.errors.DataError: it cannot be read, is something else, or damaged; it is said where.
    """
    return baseline_from(read_document(path), str(path))


def baseline_from(document: Any, called: str) -> Baseline:
    """The baseline that a document holds; ``called`` is how messages call it.

    :raises slmeval.errors.DataError: it is something else, or damaged.
    """
    schema = document.get("schema") if isinstance(document, Mapping) else None
    try:
        if schema == runs.SCHEMA:
            return _checked(baseline_of(runs.from_document(document)))
        _check_schema(schema)
        return _checked(_baseline(document))
    except DataError as error:
        raise DataError(f"{called}: {error}") from None


def _check_schema(schema: Any) -> None:
    if schema == SCHEMA:
        return
    version = schema.removeprefix(_FAMILY) if isinstance(schema, str) and schema.startswith(_FAMILY) else ""
    if version.isdecimal() and int(version[:9]) > _VERSION:
        raise DataError(f"it is of schema {schema!r}, this slmeval reads {SCHEMA!r}: upgrade slmeval")
    told = f"its schema is {schema[:60]!r}" if isinstance(schema, str) else "it has no schema"
    raise DataError(
        f"no baseline: {told}, not {SCHEMA!r} (make one: slmeval export RUN FILE --format baseline)"
    )


def _baseline(document: Mapping[str, Any]) -> Baseline:
    cells = document.get("cells")
    if not isinstance(cells, list) or not cells:
        raise DataError("a damaged document: cells is no list with something in it")
    head = {name: value for name, value in document.items() if name != "schema"}
    made = from_plain(Baseline, {**head, "cells": [], "settings": {}})
    return replace(
        made,
        settings=_settings(document.get("settings", {})),
        cells=tuple(_cell(cell, f"cells[{place}]") for place, cell in enumerate(cells)),
    )


def _settings(raw: Any) -> dict[str, Any]:
    """Read as the options that they are."""
    options = from_plain(RunOptions, raw, "settings")
    if other := sorted(set(raw) - set(SETTINGS)):
        raise DataError(f"a damaged document: settings has {other[0]!r}, which is in no baseline")
    return settings_of(options)


def _cell(raw: Any, place: str) -> CellResult:
    if isinstance(raw, Mapping):
        for name in _LEFT_OUT:
            if name in raw:
                raise DataError(f"a damaged document: {place} has {name!r}, which is in no baseline")
        raw = {**raw, "counts": {}}
    return cell_from(raw, place)


def _checked(baseline: Baseline) -> Baseline:
    """``baseline``, if nothing in it is there twice and its figures are what their items come to."""
    _check_once([_key_of_model(model) for model in baseline.models], "models")
    _check_once([_key_of_cell(cell) for cell in baseline.cells], "cells")
    for place, cell in enumerate(baseline.cells):
        for figure in cell.figures:
            _check_figure(cell, figure, f"cells[{place}] ({cell.name})")
    return baseline


def _check_once(keys: Sequence[Hashable], what: str) -> None:
    seen: dict[Hashable, int] = {}
    for place, key in enumerate(keys):
        if key in seen:
            raise DataError(f"a damaged document: {what}[{place}] is {what}[{seen[key]}] once more")
        seen[key] = place


def _check_figure(cell: CellResult, figure: Figure, place: str) -> None:
    numbers = (figure.value, figure.stderr, *(figure.ci95 or ()))
    if not all(math.isfinite(number) for number in numbers if number is not None):
        raise DataError(f"a damaged document: {place}: {figure.name} is no finite number")
    column = cell.outcomes.columns.get(figure.name) if cell.outcomes else None
    if column is not None and not is_value_of(figure.value, column):
        raise DataError(
            f"a damaged document: {place}: {figure.name} is {figure.value}, and its items come to another one"
        )


def baseline_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the document."""
    text = (resources.files("slmeval.schema") / f"baseline-{_VERSION}.json").read_text(encoding="utf-8")
    return cast(dict[str, Any], json.loads(text))
