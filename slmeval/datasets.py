"""Rows of a data set, as JSON Lines or Parquet: from a folder or the bundled sample (the hub: ``hub_rows``).

A folder holds one folder for each data set, and in it the file of each split, or its parts::

    DIR/arc_easy/test.jsonl
    DIR/arc_easy/train-00000-of-00002.parquet
    DIR/arc_easy/train-00001-of-00002.parquet
    DIR/piqa/validation.jsonl
    DIR/piqa/fewshot.jsonl

``fewshot`` holds rows to show as examples where there is no train split to take them from. A folder that
``slmeval data pull`` wrote has a manifest, which tells rows of the hub from the user's own.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from slmeval import manifests
from slmeval.errors import DataError, MissingExtra
from slmeval.types import DatasetSpec, Row

if TYPE_CHECKING:
    from importlib.abc import Traversable

# ---- rows ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RowFile:
    """A file that rows came from: its name, and how many it holds of what (lines or Parquet rows)."""

    name: str
    unit: Literal["line", "row"]
    rows: int


@dataclass(frozen=True)
class Rows:
    """The rows of one split, in their order.

    ``source`` names the files, but not where this machine keeps them. ``sha256`` is that of the rows
    themselves, one JSON object a line with sorted keys: it is the same for equal rows in any format.
    ``kept`` are the places of the rows in the files, where not all were kept.
    """

    rows: tuple[Row, ...]
    source: str
    sha256: str
    files: tuple[RowFile, ...]
    kept: tuple[int, ...] | None = None

    def place(self, index: int) -> str:
        """Where a row stands, for messages, counted from 1: ``arc_easy/test.jsonl, line 12``.

        :raises IndexError: there is no such row.
        """
        within = index if self.kept is None else self.kept[index]
        for file in self.files:
            if 0 <= within < file.rows:
                return f"{file.name}, {file.unit} {within + 1}"
            within -= file.rows
        raise IndexError(f"there is no row {index}: there are {len(self.rows)}")


class DataSource(ABC):
    """Where rows are taken from; ``description`` says it to the user. A file is read once."""

    kind: Literal["folder", "sample", "hub", "archive"]
    description: str

    def __init__(self) -> None:
        self._read: dict[tuple[str, ...], Rows] = {}

    @abstractmethod
    def load(self, spec: DatasetSpec, split: str) -> Rows:
        """All rows of one split.

        :raises DataError: rows are missing or damaged, or lack one of the fields that ``spec`` names.
        :raises MissingExtra: the library that reads or fetches them is not installed.
        """

    def holds(self, spec: DatasetSpec, split: str) -> bool:  # noqa: ARG002
        """Whether there are such rows, as far as can be told without fetching them."""
        return True

    def published(self, spec: DatasetSpec, split: str) -> str:  # noqa: ARG002
        """Where others find these very rows, blemishes and all; empty: they are the user's own."""
        return ""

    def offer(self, spec: DatasetSpec, split: str, rows: Rows, keys: Sequence[str] = ()) -> None:
        """Told of rows that were read from elsewhere, and would be read from here if it had them.

        With ``keys``, the fields by which a row is looked up, they are a part of a table; else they are all.
        """

    def _whole(self, files: Sequence[SourceFile], source: str) -> Rows:
        key = (source, *(str(file.data) for file in files))
        if key not in self._read:
            self._read[key] = _read(files, source)
        return self._read[key]


def made_rows(rows: Iterable[Row], source: str, name: str) -> Rows:
    """Rows that were made, not read: ``source`` says how, and ``name`` stands for a file in messages."""
    made = tuple(rows)
    return Rows(made, source, rows_hash(made), (RowFile(name, "row", len(made)),))


def read_file(path: Path, fields: Sequence[str]) -> Rows:
    """The rows of one file, JSON Lines or Parquet, each with the ``fields``.

    :raises DataError: it is missing, damaged or empty, or a row lacks a field.
    :raises MissingExtra: the library that reads Parquet is not installed.
    """
    found = _read([SourceFile(path.name, path)], f"file {path.name}")
    _check_fields(found, fields)
    return found


def open_folder(path: str | Path) -> DataSource:
    """The rows below a folder of the user's.

    :raises DataError: there is no such folder.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(
            f"there is no folder or archive {path}: --data takes a folder with one folder per data set in "
            "it, or an archive that slmeval data pack made"
        )
    return _Folder(root)


def open_sample() -> DataSource:
    """The few rows that come with the package, written for its demo model: not rows of the real data sets."""
    return _Sample(resources.files("slmeval") / "demo" / "rows")


# ---- a folder, the sample --------------------------------------------------------------------------


class _Folder(DataSource):
    kind = "folder"
    description = "the folder given with --data"

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def holds(self, spec: DatasetSpec, split: str) -> bool:
        return _files_below(self._root, spec, split) is not None

    def published(self, spec: DatasetSpec, split: str) -> str:
        """As the manifest beside the rows says, while they are still those that it lists."""
        path = self._root / manifests.NAME
        found = _files_below(self._root, spec, split)
        if found is None or not path.is_file():
            return ""
        try:
            listed = manifests.read(path.read_bytes(), path.name).files
        except (DataError, OSError):
            return ""  # a file of the user's that has this name, and says nothing to us
        file, *others = found[0]
        entry = listed.get(file.name)
        ours = entry is not None and not others and entry.sha256 == _sha256(file)
        return entry.published if entry and ours else ""

    def load(self, spec: DatasetSpec, split: str) -> Rows:
        found = _files_below(self._root, spec, split)
        if found is None:
            raise DataError(
                f"no rows of {spec.name}/{split} in {self._root}: there is {self._listing(spec.name)}. "
                f"Put {spec.name}/{split}.jsonl or .parquet there, or leave out --data to use the hub"
            )
        files, instead = found
        return selected(self._whole(files, f"{self.kind} {named(files)}{instead}"), spec)

    def _listing(self, name: str) -> str:
        files = [f"{name}/{file}" for file in _names(self._root / name)]
        return ", ".join(files or _names(self._root)) or "nothing"


class _Sample(DataSource):
    kind = "sample"
    description = "the sample rows bundled with slmeval"

    def __init__(self, root: Traversable) -> None:
        super().__init__()
        self._root = root

    def holds(self, spec: DatasetSpec, split: str) -> bool:
        return _files_below(self._root, spec, split) is not None

    def load(self, spec: DatasetSpec, split: str) -> Rows:
        found = _files_below(self._root, spec, split)
        if found is None:
            bundled = [f"{name}/{file}" for name in _names(self._root) for file in _names(self._root / name)]
            raise DataError(
                f"no bundled rows for {spec.name}/{split}; bundled: {', '.join(bundled) or 'none'}: "
                "give --data DIR or --model"
            )
        files, instead = found
        return selected(self._whole(files, f"{self.kind} {named(files)}{instead}"), spec)


def _files_below(root: Traversable, spec: DatasetSpec, split: str) -> tuple[list[SourceFile], str] | None:
    return files_or_stand_in(lambda each: split_files(root / spec.name, spec.name, each), spec, split)


def files_or_stand_in(
    find: Callable[[str], list[SourceFile]], spec: DatasetSpec, split: str
) -> tuple[list[SourceFile], str] | None:
    """The files of a split, or those that stand in for it and a word about that; ``None``: neither."""
    if files := find(split):
        return files, ""
    # where no train split could be had, fewshot.jsonl has rows for shots that are never evaluated
    if split == spec.shots != spec.evaluation and (files := find(FEWSHOT)):
        return files, f" in place of {split}"
    return None


def _sha256(file: SourceFile) -> str:
    return hashlib.sha256(file.data.read_bytes()).hexdigest()


def _names(folder: Traversable) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


# ---- files -----------------------------------------------------------------------------------------

#: the split that stands in for one to take examples from
FEWSHOT = "fewshot"

#: what follows the split in the name of one part of many: its number, how many there are, maybe a hash
_PART = re.compile(r"-(\d+)-of-(\d+)(?:-[0-9a-f]+)?\.parquet")


class Readable(Protocol):
    """What a file's bytes are read from."""

    def read_bytes(self) -> bytes: ...


@dataclass(frozen=True)
class SourceFile:
    """A file, and its name for messages: never where it lies on this machine."""

    name: str
    data: Readable


def split_files(folder: Traversable, label: str, split: str) -> list[SourceFile]:
    """The files of a split in their order: one, or one in several parts; none where there is no such split.

    :raises DataError: it is there twice, or a part of it is not there.
    """
    names = _names(folder)
    parts = [name for name in names if name.startswith(split) and _PART.fullmatch(name, len(split))]
    numbered = [f"{split}/{name}" for name in _names(folder / split) if name.endswith(".parquet")]
    single = [[name] for name in (f"{split}.jsonl", f"{split}.parquet") if name in names]
    ways = [*single, *(way for way in (parts, numbered) if way)]
    if len(ways) > 1:
        raise DataError(f"{label} has both {ways[0][0]} and {ways[1][0]}: leave only one of them")
    _check_parts(label, split, parts)
    return [SourceFile(f"{label}/{name}", folder.joinpath(*name.split("/"))) for way in ways for name in way]


def _check_parts(label: str, split: str, parts: Sequence[str]) -> None:
    matches = [match for name in parts if (match := _PART.fullmatch(name, len(split)))]
    total = int(matches[0][2]) if matches else 0
    if [int(match[1]) for match in matches] != list(range(total)):
        raise DataError(
            f"{label} has {', '.join(parts)}, which are not all {total} parts of {split}, each once"
        )


def named(files: Sequence[SourceFile]) -> str:
    """The files as a report names them."""
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return files[0].name + more


def _read(files: Sequence[SourceFile], source: str) -> Rows:
    """
    :raises DataError: a file is damaged, or there are no rows.
    """
    contents = [(file.name, _file_rows(file)) for file in files]
    rows = tuple(row for _, held in contents for row in held)
    if not rows:
        raise DataError(f"{named(files)} holds no rows")
    described = tuple(
        RowFile(name, "row" if name.endswith(".parquet") else "line", len(held)) for name, held in contents
    )
    return Rows(rows, source, rows_hash(rows), described)


def selected(read: Rows, spec: DatasetSpec) -> Rows:
    """Of all rows of a split, those that ``spec`` means.

    :raises DataError: there are none, or a row lacks a field.
    """
    if spec.where is None:
        _check_fields(read, spec.fields)
        return read
    name, wanted = spec.where
    _check_fields(read, [name])
    kept = tuple(index for index, row in enumerate(read.rows) if row[name] == wanted)
    rows = tuple(read.rows[index] for index in kept)
    if not rows:
        raise DataError(f"{read.files[0].name} holds no rows with {name} {wanted!r}")
    selected = Rows(rows, read.source, rows_hash(rows), read.files, kept)
    _check_fields(selected, spec.fields)
    return selected


def _check_fields(rows: Rows, fields: Iterable[str]) -> None:
    for index, row in enumerate(rows.rows):
        if missing := [field for field in fields if field not in row]:
            raise DataError(f"{rows.place(index)} has no {' and no '.join(missing)}; it has {', '.join(row)}")


def rows_hash(rows: Iterable[Row]) -> str:
    """SHA-256 of rows, whatever they were read from."""
    digest = hashlib.sha256()
    for row in rows:
        # Parquet may hold what JSON cannot, such as bytes and dates: their repr is stable
        digest.update(json.dumps(row, sort_keys=True, separators=(",", ":"), default=repr).encode() + b"\n")
    return digest.hexdigest()


def _file_rows(file: SourceFile) -> list[Row]:
    try:
        data = file.data.read_bytes()
    except OSError as error:
        raise DataError(f"{file.name} cannot be read: {error.strerror or error}") from error
    return _parquet_rows(file.name, data) if file.name.endswith(".parquet") else json_rows(file.name, data)


def json_rows(name: str, data: bytes) -> list[Row]:
    """The rows of a file of JSON Lines; ``name`` is for messages.

    :raises DataError: a line is no row.
    """
    text = data.removeprefix(codecs.BOM_UTF8).rstrip()
    # only a line feed ends a line: texts may hold U+2028 and its like, where splitlines would cut
    lines = text.split(b"\n") if text else []
    return [_json_row(f"{name}, line {number}", line) for number, line in enumerate(lines, 1)]


def _json_row(place: str, line: bytes) -> Row:
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise DataError(f"{place} is not UTF-8, from byte {error.start} on") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{place} is not JSON: {error.msg} at column {error.colno}") from error
    except ValueError:
        raise DataError(f"{place} holds a whole number of more digits than Python reads") from None
    except RecursionError:
        raise DataError(f"{place} is nested too deeply to be read") from None
    if not isinstance(row, dict):
        raise DataError(f"{place} is not a JSON object with the fields of a row")
    return row


def _parquet_rows(name: str, data: bytes) -> list[Row]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise MissingExtra(f"pyarrow, which reads {name},", "data") from None
    try:
        # threads of its own may outlive the program, and end it with an abort
        table = parquet.ParquetFile(io.BytesIO(data)).read(use_threads=False)
        rows: list[Row] = table.to_pylist()
    # text that is not UTF-8, a moment finer than Python's, a year beyond its last
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        told = str(error).strip().split("\n")[0]
        raise DataError(f"{name} is not Parquet, is damaged, or holds what Python cannot: {told}") from error
    if len(set(table.column_names)) < len(table.column_names):
        raise DataError(f"{name} has two columns of one name; it has {', '.join(table.column_names)}")
    return rows
