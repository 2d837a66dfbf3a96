"""Rows in one file for a machine without a network: written, checked, read; or in a folder with a manifest.

An archive is a zip file with DATASET/SPLIT.jsonl and a manifest. Its bytes follow from the rows: entries in
the order in which they come, one fixed date, and nothing compressed, since what a compressor writes differs
from one of its versions to the next. Entries that are stored as they are cannot be more than the file is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slmeval import manifests
from slmeval.datasets import DataSource, Rows, SourceFile, files_or_stand_in, json_rows, rows_hash, selected
from slmeval.errors import DataError
from slmeval.file_hash import sha256_of
from slmeval.licences import passing_on
from slmeval.manifests import Entry, Manifest
from slmeval.types import DatasetSpec, Row

#: the earliest that a zip file can say
_DATE = (1980, 1, 1, 0, 0, 0)
#: a plain file that all may read
_MODE = 0o100644 << 16
#: what a damaged zip file makes the library raise
_DAMAGE = (
    zipfile.BadZipFile,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    KeyError,
)

# ---- writing ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Content:
    """One file to be written, and what the manifest says of it."""

    entry: Entry
    data: bytes


def content(spec: DatasetSpec, split: str, rows: Rows, published: str) -> Content:
    """The rows of a split as a file of JSON Lines, from which exactly they are read again.

    ``published`` is where they were at first (:meth:`~slmeval.datasets.DataSource.published`), if known.

    :raises DataError: a row holds what JSON cannot say (bytes, dates, numbers that are none), or the name of
        the data set or split cannot be that of a file.
    """
    for name in (spec.name, split):
        manifests.check_plain(name)
    data = b"".join(_line(row, rows.place(index)) for index, row in enumerate(rows.rows))
    entry = Entry(
        dataset=spec.name,
        split=split,
        rows=len(rows.rows),
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        rows_sha256=rows.sha256,
        source=published or rows.source,
        origin=spec.source or spec.hub or "",
        licence=spec.licence,
        passing_on=passing_on(spec.licence).told,
    )
    return Content(entry, data)


def _line(row: Row, place: str) -> bytes:
    try:
        text = json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))
        if json.loads(text) != row:
            raise TypeError("what is read again is not equal to it")
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{place} cannot be written as JSON: {error}") from None
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair: JSON can say it, UTF-8 cannot
        return json.dumps(row).encode() + b"\n"


def write_archive(path: Path, contents: Iterable[Content], told: str) -> Manifest:
    """Write an archive, whole or not at all; ``told`` says whether it may be passed on.

    :raises DataError: it cannot be written, or there is nothing to write.
    """
    try:
        with _instead_of(path) as fresh, zipfile.ZipFile(fresh, "w", zipfile.ZIP_STORED) as archive:
            entries = []
            for each in contents:
                _store(archive, each.entry.name, each.data)
                entries.append(each.entry)
            manifest = manifests.manifest_of(entries, told)
            _store(archive, manifests.NAME, manifests.written(manifest))
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from None
    return manifest


def _store(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, _DATE)
    # else it would say on which system it was made
    info.create_system = 3
    info.external_attr = _MODE
    archive.writestr(info, data)


@contextmanager
def _instead_of(path: Path) -> Iterator[Path]:
    """A new file that takes the place of ``path`` when all went well, and is gone when it did not.

    :raises DataError: a device, a pipe or a folder is there, whose place nothing may take.
    """
    # a link stays, and leads to what is new
    place = path.resolve()
    if place.exists() and not place.is_file():
        raise DataError(f"{path} is there, and is no file: name another")
    fresh = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        yield fresh
        fresh.replace(place)
    finally:
        fresh.unlink(missing_ok=True)


def write_folder(root: Path, contents: Iterable[Content]) -> Manifest:
    """Write files below a folder, and list them in its manifest beside what that lists already.

    :raises DataError: a file is there that is not listed and is another, or nothing can be written.
    """
    before, ours = _listed_in(root), {}
    try:
        for each in contents:
            path = root / each.entry.name
            path.parent.mkdir(parents=True, exist_ok=True)
            _check_ours(path, each, before.get(each.entry.name))
            _write(path, each.data)
            ours[each.entry.name] = each.entry
        # another may have written here in the meantime
        listed = {**_listed_in(root), **ours}
        free = all(passing_on(entry.licence).free for entry in listed.values())
        told = manifests.FREE if free else manifests.OWN_MACHINES
        manifest = manifests.manifest_of(listed.values(), told)
        _write(root / manifests.NAME, manifests.written(manifest))
    except OSError as error:
        raise DataError(f"{root} cannot be written to: {error.strerror or error}") from None
    return manifest


def _listed_in(root: Path) -> Mapping[str, Entry]:
    return _manifest_in(root).files if (root / manifests.NAME).is_file() else {}


def _write(path: Path, data: bytes) -> None:
    with _instead_of(path) as fresh:
        fresh.write_bytes(data)


def _check_ours(path: Path, new: Content, known: Entry | None) -> None:
    if path.exists() and sha256_of(path) not in {new.entry.sha256, known.sha256 if known else ""}:
        raise DataError(
            f"{path} is there, and slmeval did not write it: move it away, or name another folder"
        )


# ---- reading ---------------------------------------------------------------------------------------


def open_archive(path: Path) -> DataSource:
    """The rows in an archive that :func:`write_archive` made.

    :raises DataError: it is no such archive, or is damaged.
    """
    return _Archive(path, _listing(path))


@dataclass(frozen=True)
class _Stored:
    """An entry of an archive; its bytes are held against their hash whenever they are read."""

    archive: Path
    entry: Entry

    def read_bytes(self) -> bytes:
        place = f"{self.entry.name} in {self.archive}"
        with _opened(self.archive, place) as archive:
            data = archive.read(self.entry.name)
        _check_bytes(place, self.entry, len(data), hashlib.sha256(data).hexdigest())
        return data


class _Archive(DataSource):
    kind = "archive"
    description = "the archive given with --data"

    def __init__(self, path: Path, manifest: Manifest) -> None:
        super().__init__()
        self._path = path
        self._files = manifest.files

    def holds(self, spec: DatasetSpec, split: str) -> bool:
        return self._find(spec, split) is not None

    def published(self, spec: DatasetSpec, split: str) -> str:
        found = self._find(spec, split)
        return self._files[found[0][0].name].published if found else ""

    def load(self, spec: DatasetSpec, split: str) -> Rows:
        found = self._find(spec, split)
        if found is None:
            raise DataError(
                f"no rows of {spec.name}/{split} in {self._path}, which holds "
                f"{', '.join(self._files) or 'none'}: slmeval data pack makes an archive with them"
            )
        (file,), instead = found
        entry = self._files[file.name]
        article = "the " if entry.published.startswith("hub ") else ""
        first = f", from {article}{entry.source}" if entry.published else ""
        return selected(self._whole([file], f"archive {file.name}{instead}{first}"), spec)

    def _find(self, spec: DatasetSpec, split: str) -> tuple[list[SourceFile], str] | None:
        return files_or_stand_in(lambda each: self._named(f"{spec.name}/{each}.jsonl"), spec, split)

    def _named(self, name: str) -> list[SourceFile]:
        entry = self._files.get(name)
        return [SourceFile(name, _Stored(self._path, entry))] if entry else []


@contextmanager
def _opened(path: Path, place: str) -> Iterator[zipfile.ZipFile]:
    """:raises DataError: it is no zip file, or what is read from it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except _DAMAGE as error:
        raise DataError(
            f"{place} is damaged, or is no archive that slmeval data pack made: {error}".rstrip(".")
        ) from None
    except OSError as error:
        raise DataError(f"{place} cannot be read: {error.strerror or error}") from None


def _listing(path: Path) -> Manifest:
    """The manifest of an archive that holds exactly what is listed, as far as its directory tells."""
    with _opened(path, str(path)) as archive:
        infos = archive.infolist()
        _check_stored(path, infos)
        if manifests.NAME not in {info.filename for info in infos}:
            raise DataError(f"{path} has no {manifests.NAME}: it is no archive that slmeval data pack made")
        if archive.getinfo(manifests.NAME).file_size > manifests.LARGEST:
            raise DataError(f"{manifests.NAME} in {path} has more than {manifests.LARGEST} bytes")
        manifest = manifests.read(archive.read(manifests.NAME), f"{manifests.NAME} in {path}")
    sizes = {info.filename: info.file_size for info in infos if info.filename != manifests.NAME}
    _check_names(str(path), sizes, manifest)
    for name, entry in manifest.files.items():
        if sizes[name] != entry.bytes:
            raise DataError(f"{name} in {path} has {sizes[name]} bytes; its manifest says {entry.bytes}")
    return manifest


def _check_stored(path: Path, infos: Sequence[zipfile.ZipInfo]) -> None:
    """:raises DataError: an entry is there twice, or could be more than the bytes that are here."""
    seen: set[str] = set()
    for info in sorted(infos, key=lambda each: each.filename):
        if info.filename in seen:
            raise DataError(f"{path} has {info.filename} twice")
        seen.add(info.filename)
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise DataError(f"{info.filename} in {path} is compressed; slmeval data pack compresses nothing")
    if sum(info.file_size for info in infos) > path.stat().st_size:
        raise DataError(f"{path} claims to hold more bytes than it has")


def _check_names(place: str, there: Iterable[str], manifest: Manifest) -> None:
    """:raises DataError: something is there that is not listed, or the other way round."""
    for name in sorted(there):
        if name not in manifest.files:
            raise DataError(
                f"{name} in {place} is not in its manifest: it was added, or a killed pull left it"
            )
    for name in manifest.files:
        if name not in there:
            raise DataError(f"{name} is not in {place}, though its manifest lists it")


def _check_bytes(place: str, entry: Entry, size: int, sha256: str) -> None:
    if size != entry.bytes:
        raise DataError(f"{place} has {size} bytes; its manifest says {entry.bytes}")
    if sha256 != entry.sha256:
        raise DataError(f"{place} was changed: its sha256 is {sha256}, and its manifest says {entry.sha256}")


# ---- checking --------------------------------------------------------------------------------------


def verify(path: Path, sha256: str | None = None) -> Manifest:
    """Check an archive, or a folder that ``data pull --output`` wrote, against its manifest: every byte.

    ``sha256`` is what the whole archive must have.

    :raises DataError: something is not as listed; the first of it, by name.
    """
    if path.is_dir():
        return _verified_folder(path, sha256)
    if not path.is_file():
        raise DataError(f"there is no archive or folder {path}")
    if sha256 is not None:
        _check_whole(path, sha256.strip().lower())
    manifest = _listing(path)
    _check_room(path)
    for entry in manifest.files.values():
        _check_rows(f"{entry.name} in {path}", entry, _Stored(path, entry).read_bytes())
    return manifest


def _check_whole(path: Path, sha256: str) -> None:
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise DataError(
            f"{sha256!r} is no SHA-256, which has 64 digits from 0 to f: data pack prints it whole"
        )
    if (found := archive_hash(path)) != sha256:
        raise DataError(f"{path} is another: its sha256 is {found}, not {sha256}")


#: the sizes of what stands before an entry and at the end, without names and extra fields; where the two
#: lengths of these stand: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.7 and 4.3.16
_BEFORE, _LENGTHS, _END = 30, 26, 22


def _check_room(path: Path) -> None:
    """:raises DataError: bytes stand before, between or after the entries."""
    with _opened(path, str(path)) as archive, path.open("rb") as file:
        at = 0
        for info in sorted(archive.infolist(), key=lambda each: each.header_offset):
            file.seek(info.header_offset + _LENGTHS)
            name, more = struct.unpack("<HH", file.read(4))
            if info.header_offset != at:
                raise DataError(
                    f"{path} has bytes before {info.filename} that belong to no file of its manifest"
                )
            at += _BEFORE + name + more + info.compress_size
        file.seek(-_END, os.SEEK_END)
        if at != archive.start_dir or archive.comment or file.read(4) != b"PK\5\6":
            raise DataError(f"{path} has bytes after its files that belong to none of them")


def _verified_folder(root: Path, sha256: str | None) -> Manifest:
    if sha256 is not None:
        raise DataError(f"{root} is a folder: --sha256 is that of an archive")
    manifest = _manifest_in(root)
    there = {each.relative_to(root).as_posix() for each in root.rglob("*") if not each.is_dir()}
    _check_names(str(root), there - {manifests.NAME}, manifest)
    for name, entry in manifest.files.items():
        place = f"{name} in {root}"
        try:
            data = (root / name).read_bytes()
        except OSError as error:
            raise DataError(f"{place} cannot be read: {error.strerror or error}") from None
        _check_bytes(place, entry, len(data), hashlib.sha256(data).hexdigest())
        _check_rows(place, entry, data)
    return manifest


def _check_rows(place: str, entry: Entry, data: bytes) -> None:
    rows = json_rows(place, data)
    if len(rows) != entry.rows:
        raise DataError(f"{place} has {len(rows)} rows; its manifest says {entry.rows}")
    if (found := rows_hash(rows)) != entry.rows_sha256:
        raise DataError(f"the rows of {place} have sha256 {found}; its manifest says {entry.rows_sha256}")


def _manifest_in(root: Path) -> Manifest:
    path = root / manifests.NAME
    try:
        return manifests.read(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise DataError(f"{root} has no {manifests.NAME}: slmeval data pull --output writes one") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def archive_hash(path: Path) -> str:
    """SHA-256 of a whole archive, to be carried beside it and given to ``data verify --sha256``.

    :raises DataError: it cannot be read.
    """
    try:
        return sha256_of(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
