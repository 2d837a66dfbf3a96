"""The list that travels with rows, in an archive or a folder: which files, their hashes, and whose."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from slmeval.errors import DataError

NAME = "manifest.json"
SCHEMA = "slmeval.data/1"
#: bytes; a manifest of all data sets that we know has some twenty thousand
LARGEST = 16 * 1024 * 1024
#: said in an archive that holds rows which are not known to be free to pass on
OWN_MACHINES = "is for the machines of whoever made it, and not to be passed on"
FREE = "may be passed on, each file under its licence"

#: how the source of rows begins that others published
_PUBLISHED = ("hub ", "lm-evaluation-harness ")
#: a folder's or a file's name that no file system takes for anything else
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*(?:\.[A-Za-z0-9_+-]+)*")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """One file of rows.

    ``sha256`` is that of its bytes, ``rows_sha256`` as in a report; ``source`` says where the rows were read,
    ``origin`` whose they are, ``passing_on`` what the licence says of passing them on.
    """

    dataset: str
    split: str
    rows: int
    bytes: int
    sha256: str
    rows_sha256: str
    source: str
    origin: str
    licence: str
    passing_on: str

    @property
    def name(self) -> str:
        """Its path in the archive or folder."""
        return f"{self.dataset}/{self.split}.jsonl"

    @property
    def published(self) -> str:
        """The source, where these are rows as others published them; else empty."""
        return self.source if self.source.startswith(_PUBLISHED) else ""


@dataclass(frozen=True)
class Manifest:
    """All files of an archive or folder, by name, and whether it may be passed on."""

    files: Mapping[str, Entry]
    passing_on: str


def manifest_of(entries: Iterable[Entry], passing_on: str) -> Manifest:
    """The entries in the order of their names."""
    return Manifest({entry.name: entry for entry in sorted(entries, key=lambda each: each.name)}, passing_on)


def check_plain(name: str) -> None:
    """:raises DataError: ``name`` cannot be that of a folder or file everywhere."""
    if not _PLAIN.fullmatch(name):
        raise DataError(f"{name!r} cannot be the name of a folder of rows: letters, digits, _ and - can")


def written(manifest: Manifest) -> bytes:
    """As JSON: the same for equal manifests."""
    document = {
        "schema": SCHEMA,
        "passing_on": manifest.passing_on,
        "files": [asdict(entry) for entry in manifest.files.values()],
    }
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def read(data: bytes, place: str) -> Manifest:
    """What was written; ``place`` is for messages.

    :raises DataError: it is damaged, or of another kind.
    """
    try:
        document = json.loads(data.decode())
    except (ValueError, RecursionError):
        raise DataError(f"{place} is not JSON: it is damaged") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise DataError(f"{place} is not of the schema {SCHEMA}: a newer slmeval may have made it")
    listed = document.get("files")
    if not isinstance(listed, list) or not isinstance(document.get("passing_on"), str):
        raise DataError(f"{place} lists no files")
    entries = [_entry(each, f"{place}, file {number}") for number, each in enumerate(listed, 1)]
    manifest = manifest_of(entries, document["passing_on"])
    if len(manifest.files) != len(entries):
        raise DataError(f"{place} lists a file twice")
    return manifest


_TYPES = {"rows": int, "bytes": int}


def _entry(given: Any, place: str) -> Entry:
    names = [field.name for field in fields(Entry)]
    if not isinstance(given, dict) or sorted(given) != sorted(names):
        raise DataError(f"{place} has not the fields {', '.join(names)}")
    for name in names:
        value = given[name]
        if not isinstance(value, _TYPES.get(name, str)) or isinstance(value, bool):
            raise DataError(f"{place}: {name} is {value!r}")
    entry = Entry(**given)
    if not all(map(_PLAIN.fullmatch, (entry.dataset, entry.split))):
        raise DataError(f"{place} is named {entry.name!r}, which is not DATASET/SPLIT.jsonl")
    if entry.rows < 0 or entry.bytes < 0 or not all(map(_HASH.fullmatch, (entry.sha256, entry.rows_sha256))):
        raise DataError(f"{place} ({entry.name}) has sizes or hashes that cannot be")
    return entry
