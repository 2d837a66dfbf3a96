"""Rows of a data set, as JSON Lines or Parquet: from a folder, the bundled sample, or the hub.

A folder holds one folder for each data set, and in it the file of each split, or its parts::

    DIR/arc_easy/test.jsonl
    DIR/arc_easy/train-00000-of-00002.parquet
    DIR/arc_easy/train-00001-of-00002.parquet
    DIR/piqa/validation.jsonl
    DIR/piqa/fewshot.jsonl

``fewshot`` holds rows to show as examples where there is no train split to take them from.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar, Literal

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

    kind: ClassVar[Literal["folder", "sample", "hub"]]
    description: ClassVar[str]

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

    def _rows(self, files: Sequence[_File], spec: DatasetSpec, source: str) -> Rows:
        key = (source, *(str(file.data) for file in files))
        if key not in self._read:
            self._read[key] = _read(files, source)
        return _selected(self._read[key], spec)


def made_rows(rows: Iterable[Row], source: str, name: str) -> Rows:
    """Rows that were made, not read: ``source`` says how, and ``name`` stands for a file in messages."""
    made = tuple(rows)
    return Rows(made, source, _hash(made), (RowFile(name, "row", len(made)),))


def read_file(path: Path, fields: Sequence[str]) -> Rows:
    """The rows of one file, JSON Lines or Parquet, each with the ``fields``.

    :raises DataError: it is missing, damaged or empty, or a row lacks a field.
    :raises MissingExtra: the library that reads Parquet is not installed.
    """
    found = _read([_File(path.name, path)], f"file {path.name}")
    _check_fields(found, fields)
    return found


def open_folder(path: str | Path) -> DataSource:
    """The rows below a folder of the user's.

    :raises DataError: there is no such folder.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(
            f"there is no folder {path}: --data takes a folder with one folder per data set in it"
        )
    return _Folder(root)


def open_sample() -> DataSource:
    """The few rows that come with the package, written for its demo model: not rows of the real data sets."""
    return _Sample(resources.files("slmeval") / "demo" / "rows")


def open_hub(endpoint: str | None = None, cache: str | Path | None = None) -> DataSource:
    """The Hugging Face hub, or what this machine has kept of it when the hub cannot be reached.

    ``endpoint`` and ``cache`` are those of huggingface_hub unless given (``HF_ENDPOINT``, ``HF_HOME``).
    """
    return _Hub(endpoint, cache)


# ---- a folder, the sample --------------------------------------------------------------------------


class _Folder(DataSource):
    kind = "folder"
    description = "the folder given with --data"

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def holds(self, spec: DatasetSpec, split: str) -> bool:
        return _files_below(self._root, spec, split) is not None

    def load(self, spec: DatasetSpec, split: str) -> Rows:
        found = _files_below(self._root, spec, split)
        if found is None:
            raise DataError(
                f"no rows of {spec.name}/{split} in {self._root}: there is {self._listing(spec.name)}. "
                f"Put {spec.name}/{split}.jsonl or .parquet there, or leave out --data to use the hub"
            )
        files, instead = found
        return self._rows(files, spec, f"{self.kind} {_named(files)}{instead}")

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
        return self._rows(files, spec, f"{self.kind} {_named(files)}{instead}")


def _files_below(root: Traversable, spec: DatasetSpec, split: str) -> tuple[list[_File], str] | None:
    """The files of a split, or those that stand in for it and a word about that; ``None``: neither."""
    folder = root / spec.name
    if files := _split_files(folder, spec.name, split):
        return files, ""
    # where no train split could be had, fewshot.jsonl has rows for shots that are never evaluated
    if split == spec.shots != spec.evaluation and (files := _split_files(folder, spec.name, "fewshot")):
        return files, f" in place of {split}"
    return None


def _names(folder: Traversable) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


# ---- the hub ---------------------------------------------------------------------------------------


class _Hub(DataSource):
    kind = "hub"
    description = "the Hugging Face hub"

    def __init__(self, endpoint: str | None, cache: str | Path | None) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._cache = cache
        self._found: dict[tuple[str, str | None, str], tuple[list[_File], str]] = {}

    def holds(self, spec: DatasetSpec, split: str) -> bool:  # noqa: ARG002
        return spec.hub is not None

    def load(self, spec: DatasetSpec, split: str) -> Rows:
        if spec.hub is None:
            raise DataError(f"{spec.name} is not on the hub: give its rows with --data DIR")
        wanted = (spec.hub, spec.config, split)
        if wanted not in self._found:
            self._found[wanted] = self._files(spec, spec.hub, split)
        files, commit = self._found[wanted]
        return self._rows(files, spec, f"hub {_named(files)} at {commit[:12]}")

    def _files(self, spec: DatasetSpec, repository: str, split: str) -> tuple[list[_File], str]:
        hub = _huggingface_hub()
        try:
            own = self._own(repository, spec.config, split)
            return own or self._converted(repository, spec.config, split)
        # HTTPError is that of the HTTP library below, which differs from version to version
        except (OSError, hub.errors.HTTPError) as error:
            raise DataError(
                f"{spec.name}/{split} could not be had from the hub ({repository}): {_reason(hub, error)}. "
                f"Ways out: --data DIR with {spec.name}/{split}.jsonl in it, "
                "one run where the hub is in reach (what it fetches is kept), or --sample"
            ) from error

    def _own(self, repository: str, config: str | None, split: str) -> tuple[list[_File], str] | None:
        """The files that the owner put there, if in a known place and format, and their commit."""
        folders = [config, f"data/{config}"] if config else ["data", "default", "."]
        snapshot = self._fetch(repository, "main", [*_patterns(folders, split), "README.md"])
        for folder in folders:
            if files := _split_files(snapshot / folder, f"{repository}/{folder}".removesuffix("/."), split):
                return files, snapshot.name
        return None

    def _converted(self, repository: str, config: str | None, split: str) -> tuple[list[_File], str]:
        """The Parquet files that the hub makes of every data set, and their commit."""
        snapshot = self._fetch(repository, "refs/convert/parquet", [f"{config or '*'}/{split}/*.parquet"])
        configs = [config] if config else _names(snapshot)
        found = [
            files
            for name in configs
            if (files := _split_files(snapshot / name, f"{repository}/{name}", split))
        ]
        if len(found) != 1:
            raise FileNotFoundError(
                f"it has {len(found)} configurations with that split, where one is needed"
            )
        return found[0], snapshot.name

    def _fetch(self, repository: str, revision: str, patterns: list[str]) -> Path:
        """The folder in the cache, named for the commit; downloads what is not there yet."""
        folder = _huggingface_hub().snapshot_download(
            repository,
            repo_type="dataset",
            revision=revision,
            allow_patterns=patterns,
            endpoint=self._endpoint,
            cache_dir=self._cache,
        )
        return Path(folder)


def _huggingface_hub() -> ModuleType:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError:
        raise MissingExtra("huggingface_hub, which fetches data sets,", "data") from None
    return huggingface_hub


def _patterns(folders: Iterable[str], split: str) -> list[str]:
    bases = [f"{folder}/{split}".removeprefix("./") for folder in folders]
    return [base + ending for base in bases for ending in (".jsonl", ".parquet", "-*.parquet", "/*.parquet")]


def _reason(hub: ModuleType, error: Exception) -> str:
    if isinstance(error, hub.errors.GatedRepoError):
        return "its owner wants to be asked for access first"
    if isinstance(error, hub.errors.RepositoryNotFoundError):
        return "there is no such data set, or it is private"
    if isinstance(error, hub.errors.RevisionNotFoundError):
        return "it has no file of that split in a known place, and no Parquet conversion"
    return str(error).strip().split("\n")[0].removeprefix("Got: ").rstrip(".") or type(error).__name__


# ---- files -----------------------------------------------------------------------------------------

#: what follows the split in the name of one part of many: its number, how many there are, maybe a hash
_PART = re.compile(r"-(\d+)-of-(\d+)(?:-[0-9a-f]+)?\.parquet")


@dataclass(frozen=True)
class _File:
    """A file, and its name for messages: never where it lies on this machine."""

    name: str
    data: Traversable


def _split_files(folder: Traversable, label: str, split: str) -> list[_File]:
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
    return [_File(f"{label}/{name}", folder.joinpath(*name.split("/"))) for way in ways for name in way]


def _check_parts(label: str, split: str, parts: Sequence[str]) -> None:
    matches = [match for name in parts if (match := _PART.fullmatch(name, len(split)))]
    total = int(matches[0][2]) if matches else 0
    if [int(match[1]) for match in matches] != list(range(total)):
        raise DataError(
            f"{label} has {', '.join(parts)}, which are not all {total} parts of {split}, each once"
        )


def _named(files: Sequence[_File]) -> str:
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return files[0].name + more


def _read(files: Sequence[_File], source: str) -> Rows:
    """
    :raises DataError: a file is damaged, or there are no rows.
    """
    contents = [(file.name, _file_rows(file)) for file in files]
    rows = tuple(row for _, held in contents for row in held)
    if not rows:
        raise DataError(f"{_named(files)} holds no rows")
    described = tuple(
        RowFile(name, "row" if name.endswith(".parquet") else "line", len(held)) for name, held in contents
    )
    return Rows(rows, source, _hash(rows), described)


def _selected(read: Rows, spec: DatasetSpec) -> Rows:
    """The rows that ``spec`` means.

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
    selected = Rows(rows, read.source, _hash(rows), read.files, kept)
    _check_fields(selected, spec.fields)
    return selected


def _check_fields(rows: Rows, fields: Iterable[str]) -> None:
    for index, row in enumerate(rows.rows):
        if missing := [field for field in fields if field not in row]:
            raise DataError(f"{rows.place(index)} has no {' and no '.join(missing)}; it has {', '.join(row)}")


def _hash(rows: Iterable[Row]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        # Parquet may hold what JSON cannot, such as bytes and dates: their repr is stable
        digest.update(json.dumps(row, sort_keys=True, separators=(",", ":"), default=repr).encode() + b"\n")
    return digest.hexdigest()


def _file_rows(file: _File) -> list[Row]:
    try:
        data = file.data.read_bytes()
    except OSError as error:
        raise DataError(f"{file.name} cannot be read: {error.strerror or error}") from error
    return _parquet_rows(file.name, data) if file.name.endswith(".parquet") else _json_rows(file.name, data)


def _json_rows(name: str, data: bytes) -> list[Row]:
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
        rows: list[Row] = parquet.read_table(io.BytesIO(data)).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{name} is not Parquet, or is damaged: {error}") from error
    return rows
