"""Examples that others wrote and published: read from where they lie, never copied into slmeval.

Some tasks always show the same few examples (the eight of ``gsm8k_cot``, say). They stand in
lm-evaluation-harness, in a YAML file or in a function that returns them. That package is looked at, never
run: its files are parsed, and a function's list is read as a literal.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from slmeval.datasets import DataSource, Rows, made_rows
from slmeval.errors import DataError
from slmeval.tasks import FreeText
from slmeval.types import DatasetSpec, Row

#: the release of lm-evaluation-harness whose examples our tasks' versions mean
RELEASE = "0.4.13"
#: the split of the fixed examples of a task
EXAMPLES = "examples"
#: reads the rows of a file
Reader = Callable[[Path], Sequence[Row]]


def published_rows(
    source: DataSource, spec: DatasetSpec, split: str, file: str, read: Reader | None = None
) -> Rows:
    """The examples of ``spec``/``split`` that ``source`` has, or else those of lm-evaluation-harness.

    ``file`` is below its folder of tasks ("gsm8k/gsm8k-cot.yaml"), and ``read`` finds the rows in it
    (:func:`samples` unless given). Whichever release is installed is read, and named in the rows' source.

    :raises slmeval.errors.DataError: neither has them, or a row lacks a field, and what to do.
    """
    # rows to be evaluated do not stand in for examples, which have other fields; nor has the hub any
    own = replace(spec, shots=None, hub=None, rows=None)
    if source.holds(own, split):
        return source.load(own, split)
    rows = tuple(
        (read or samples)(
            _place(file, f"the examples {spec.name}/{split}", ", or --shots 0 (data: --no-shots)")
        )
    )
    for at, row in enumerate(rows, 1):
        if missing := [name for name in spec.fields if name not in row]:
            raise DataError(f"example {at} of {_origin(file)} has no {' and no '.join(missing)}")
    found = made_rows(rows, _origin(file), file)
    source.offer(own, split, found)
    return found


def definition(file: str, what: str) -> Mapping[str, Any]:
    """A YAML file of lm-evaluation-harness's tasks as it stands, with the files it includes.

    ``what`` is wanted from it, for the message, and the last word says which file below ``--data`` has it
    too ("the texts bbh/cot_prompts"); ``!function`` names nothing here.

    :raises slmeval.errors.DataError: it cannot be had or read.
    """
    return _mapping(_place(file, what))


def release() -> str:
    """The installed release of lm-evaluation-harness, "?" where its own record is not there."""
    try:
        return importlib.metadata.version("lm_eval")
    except importlib.metadata.PackageNotFoundError:
        return "?"


def _origin(file: str) -> str:
    return f"lm-evaluation-harness {release()} {file}"


def _place(file: str, what: str, way_out: str = "") -> Path:
    """Where lm-evaluation-harness has ``file``; a package is looked for without running it."""
    found = importlib.util.find_spec("lm_eval")
    folders = [Path(each) for each in (found.submodule_search_locations or ())] if found else []
    for folder in folders:
        if (path := folder / "tasks" / file).is_file():
            return path
    trouble = f"lm-evaluation-harness {release()} has no {file}" if folders else "it is not installed"
    own = what.rsplit(maxsplit=1)[-1]
    raise DataError(
        f"{what} are others' texts and come from lm-evaluation-harness, but {trouble}. Ways out: pip install "
        f"lm-eval=={RELEASE} beside slmeval, or --data DIR with {own}.jsonl in it{way_out}"
    )


# ---- readers -----------------------------------------------------------------------------------------


def samples(path: Path) -> Sequence[Row]:
    """The examples in a YAML file: ``fewshot_config.samples``.

    :raises slmeval.errors.DataError: there are none.
    """
    config = _mapping(path).get("fewshot_config")
    return _rows(config.get("samples") if isinstance(config, Mapping) else None, path)


def returned_by(function: str) -> Reader:
    """Reads the list that a Python file's function returns, if it is written out there."""
    return partial(_returned, function)


def _returned(function: str, path: Path) -> Sequence[Row]:
    """
    :raises slmeval.errors.DataError: there is no such function, or its list is not written out.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = next(node for node in tree.body if _is_function(node, function))
        told = next(node for node in ast.walk(found) if isinstance(node, ast.Return))
        return _rows(ast.literal_eval(told.value or ast.Constant(None)), path)
    except (OSError, SyntaxError, ValueError, StopIteration):
        raise DataError(f"{_short(path)} has no list of examples that {function} returns") from None


def _is_function(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name == name


def _rows(found: object, path: Path) -> Sequence[Row]:
    if not isinstance(found, list) or not found or not all(isinstance(row, dict) for row in found):
        raise DataError(f"{_short(path)} has no list of examples")
    return found


def _mapping(path: Path) -> dict[str, Any]:
    """
    :raises slmeval.errors.DataError: it is no YAML mapping, or PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError:
        raise DataError(f"PyYAML, which reads {_short(path)}, is not installed: pip install pyyaml") from None

    # knows the mark of a function, and runs none
    loader: Any = type("Loader", (yaml.SafeLoader,), {})
    loader.add_constructor("!function", lambda *_: None)
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), loader)
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"{_short(path)} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise DataError(f"{_short(path)} is no mapping")
    included = found.pop("include", [])
    merged: dict[str, Any] = {}
    for each in [included] if isinstance(included, str) else included:
        merged |= _mapping(path.parent / each)
    return merged | found


def _short(path: Path) -> str:
    """A file as messages name it: never where it lies on this machine."""
    return f"{path.parent.name}/{path.name} of lm-evaluation-harness {release()}"


# ---- a task that shows them ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Examples:
    """The fixed examples of a task: a folder below ``--data`` that may have them, and lm-eval's file.

    ``fields`` are in every one. ``read`` finds them in the file (:func:`samples` unless given).
    """

    folder: str
    file: str
    fields: tuple[str, ...]
    split: str = EXAMPLES
    read: Reader | None = None

    def load(self, source: DataSource) -> Rows:
        """
        :raises slmeval.errors.DataError: they cannot be had, and what to do.
        """
        spec = DatasetSpec(self.folder, self.split, self.fields)
        return published_rows(source, spec, self.split, self.file, self.read)


@dataclass(frozen=True)
class FreeTextAfter(FreeText):
    """A task of free text that shows the same examples before every question, the first ones first.

    Its data set names the examples' split as that of its shots.
    """

    examples: Examples = field(kw_only=True)
    shot_order: Literal["drawn", "first"] = field(default="first", init=False)

    def load(self, source: DataSource, split: str) -> Rows:
        """The rows of ``source``, or the examples.

        :raises slmeval.errors.DataError: they are missing or damaged, and what to do.
        """
        return self.examples.load(source) if split == self.examples.split else super().load(source, split)
