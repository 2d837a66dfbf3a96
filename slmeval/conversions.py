"""One form of a model from another: made once, kept by what it was made of, with a record of its origin."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import platformdirs

from slmeval.api import Converter
from slmeval.errors import ModelError, UnknownName, UsageError
from slmeval.models import RECORD, FoundModel, find_model
from slmeval.presence import check_present
from slmeval.registry import pick
from slmeval.tokenizing import read_json
from slmeval.types import ModelRef

#: the names of folders in which a conversion is at work, and the age in seconds at which none is
_UNFINISHED, _DAY = "unfinished-", 86_400.0

FileHash = Callable[[Path], str]


@dataclass(frozen=True)
class Origin:
    """Of what, by what and when an artefact was made. ``artefact`` and ``source_sha256`` are model hashes."""

    converter: str
    form: str
    version: str
    source: str
    source_sha256: str
    artefact: str
    made: str

    def sentence(self) -> str:
        """As a report tells it."""
        return (
            f"made by slmeval convert as {self.converter}:{self.form} ({self.version}) from {self.source}, "
            f"hash {self.source_sha256[:12]}"
        )


@dataclass(frozen=True)
class Artefact:
    """A converted model in its folder of the cache, and whether it was made just now."""

    home: Path
    place: Path
    origin: Origin
    fresh: bool


def default_cache() -> Path:
    """Where artefacts are kept: ``SLMEVAL_CACHE``, or the user's cache folder."""
    if named := os.environ.get("SLMEVAL_CACHE"):
        return Path(named).expanduser()
    return platformdirs.user_cache_path("slmeval", appauthor=False)


def choose(wish: str, known: Mapping[str, type[Converter]]) -> tuple[type[Converter], str]:
    """The converter and the form that ``NAME:FORM`` names.

    :raises UsageError: there is no such converter or form, or it cannot run here.
    """
    name, colon, form = wish.partition(":")
    converter = pick("converter", name, known)
    if not colon or form not in converter.forms:
        raise UnknownName(f"form of converter {name!r}", form, converter.forms)
    check_present(converter)
    return converter, form


def convert(
    model: FoundModel, converter: type[Converter], form: str, file_hash: FileHash, cache: Path
) -> Artefact:
    """``model`` in another form, from the cache where the same was made of the same before.

    :raises ModelError: the model cannot be converted, and why.
    """
    if model.form not in converter.sources:
        raise ModelError(
            f"converter {converter.name!r} reads no model of the form {model.form!r}: {model.ref}"
        )
    home = cache / "converted" / _key(model, converter, form)
    kept = _kept(home, file_hash)
    if kept is not None:
        return kept
    _make(model, converter, form, file_hash, home)
    made = _kept(home, file_hash)
    if made is None:
        raise ModelError(f"what converter {converter.name!r} wrote to {home} is not there as it was written")
    return replace(made, fresh=True)


def _key(model: FoundModel, converter: type[Converter], form: str) -> str:
    parts = (model.sha256, converter.name, converter.version(), form)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _make(model: FoundModel, converter: type[Converter], form: str, file_hash: FileHash, home: Path) -> None:
    """Into a folder beside ``home``, which it becomes when it is whole."""
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        _sweep(home.parent)
        with tempfile.TemporaryDirectory(dir=home.parent, prefix=_UNFINISHED) as work:
            made = Path(converter().convert(model.local, form, work).location)
            _check_unchanged(model, file_hash)
            origin = Origin(
                converter.name,
                form,
                converter.version(),
                str(model.ref),
                model.sha256,
                find_model(ModelRef(str(made)), file_hash).sha256,
                datetime.now(timezone.utc).isoformat(timespec="seconds"),
            )
            place = made.relative_to(work).as_posix()
            record = {"schema": "slmeval.origin/1", "place": place, **asdict(origin)}
            (Path(work) / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            _settle(Path(work), home, file_hash)
    except OSError as error:
        raise ModelError(f"{error.filename or home} cannot be written: {error.strerror or error}") from None


def _sweep(cache: Path) -> None:
    """Remove what conversions left behind that were killed; none of them takes a day."""
    for left in cache.glob(f"{_UNFINISHED}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _DAY:
                shutil.rmtree(left, ignore_errors=True)


def _check_unchanged(model: FoundModel, file_hash: FileHash) -> None:
    """:raises ModelError: the source is another one than when its conversion began."""
    if find_model(model.local, file_hash).sha256 != model.sha256:
        raise ModelError(f"{model.ref} changed while it was converted: convert it again")


def _settle(work: Path, home: Path, file_hash: FileHash) -> None:
    work.chmod(0o755)
    if home.exists() and _kept(home, file_hash) is None:
        # what is there is damaged
        shutil.rmtree(home)
    try:
        work.rename(home)
    except OSError:
        # another process was quicker: what it made is the same
        if not (home / RECORD).is_file():
            raise
    else:
        # what cleans up the temporary folder wants to find it
        work.mkdir()


def _kept(home: Path, file_hash: FileHash) -> Artefact | None:
    """What lies in the cache, if it is what its record says."""
    found = _recorded(home)
    if found is None:
        return None
    place, origin = found
    if not place.resolve().is_relative_to(home.resolve()):
        return None
    try:
        whole = find_model(ModelRef(str(place)), file_hash).sha256 == origin.artefact
    except ModelError:
        return None
    return Artefact(home, place, origin, fresh=False) if whole else None


def _recorded(home: Path) -> tuple[Path, Origin] | None:
    """Place and origin by the record in ``home``; ``None`` where there is none, or a damaged one."""
    try:
        record = read_json(home / RECORD)
        origin = Origin(**{name: str(record[name]) for name in Origin.__dataclass_fields__})
        return home / str(record["place"]), origin
    except (KeyError, ModelError):
        return None


def origin_of(model: FoundModel) -> Origin | None:
    """The record of a model that was made by a converter, if it is still what was made."""
    if model.address:
        return None
    homes = (model.place, model.place.parent) if model.form == "folder" else (model.place.parent,)
    found = (recorded for home in homes if (recorded := _recorded(home)) is not None)
    return next((origin for _, origin in found if origin.artefact == model.sha256), None)


def copied(artefact: Artefact, folder: Path) -> Path:
    """A copy of the artefact, record included, at ``folder``; where the model lies in there.

    :raises UsageError: something is there already, or it cannot be written.
    """
    if folder.exists():
        raise UsageError(f"{folder} is there already: name a new folder")
    try:
        shutil.copytree(artefact.home, folder)
    except (OSError, shutil.Error) as error:
        raise UsageError(f"{folder} cannot be written: {error}") from None
    return folder / artefact.place.relative_to(artefact.home)
