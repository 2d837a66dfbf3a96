"""The shape of a model on the Hugging Face hub: its configuration, and the headers of its files alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from slmeval.errors import ModelError, ModelMissing
from slmeval.gguf_file import GGUFHeader, read_beginning, shard_names
from slmeval.hub_library import TIMEOUT, headers, library, understood, without_password
from slmeval.safetensors_header import (
    INDEX,
    SINGLE,
    files_of_index,
    header_length,
    parse_header,
)
from slmeval.shape import Shape, Weight
from slmeval.shape_of_config import shape_of_config
from slmeval.shape_of_gguf import shape_of_gguf
from slmeval.shape_of_tensors import with_tensors
from slmeval.shape_reading import parse_config, without_tensors
from slmeval.types import ModelRef

#: bytes that are asked for at first: they hold most headers
_FIRST = 1 << 18
#: a vocabulary in a GGUF header takes some 10 MB; none takes more than this
_LONGEST = 1 << 27


def shape_from_hub(ref: ModelRef) -> Shape:
    """The shape of ``OWNER/NAME[@REVISION]``, or of the GGUF file in ``OWNER/NAME:FILE.gguf``.

    :raises ModelMissing: the hub does not have it, or cannot be asked.
    :raises ModelError: what it has is damaged, in one sentence.
    """
    repository, colon, file = ref.location.partition(":")
    hub = library()
    try:
        return understood(
            lambda: (
                _of_gguf(repository, file, ref.revision) if colon else _of_folder(repository, ref.revision)
            )
        )
    except (OSError, hub.errors.HTTPError) as error:
        raise ModelMissing(
            f"there is no folder {ref.location}, and the hub's model of that name cannot be had: "
            f"{_reason(error, file, ref.revision)}"
        ) from None


def _reason(error: Exception, file: str, revision: str | None) -> str:
    """Why a model cannot be had, in a few words that show no secret."""
    errors = library().errors
    if isinstance(error.__cause__, errors.HFValidationError):
        return "it is no hub id either"
    if isinstance(error, errors.GatedRepoError):
        return "its owner wants to be asked for access first (then HF_TOKEN: a token of that account)"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "there is none, or it is private (HF_TOKEN: a token that may read it)"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"it has no revision {revision}"
    if isinstance(error, errors.EntryNotFoundError):
        return f"it has no file {file}" if file else "it lacks a file that its index names"
    return without_password(str(error).strip().split("\n")[0] or type(error).__name__)


def _of_folder(repository: str, revision: str | None) -> Shape:
    content = _small_file(repository, "config.json", revision)
    if content is None:
        raise ModelError(f"{repository} has no config.json: name one of its files, {repository}:FILE.gguf")
    config = parse_config(content, f"{repository}/config.json")
    shape = shape_of_config(config, f"{repository}/config.json")
    stored = tuple(_stored(repository, revision))
    return with_tensors(shape, stored, config) if stored else without_tensors(shape)


def _small_file(repository: str, name: str, revision: str | None) -> bytes | None:
    """A whole file; ``None``: the repository has none of this name."""
    try:
        return _Beginning(repository, name, revision).read(_LONGEST)
    except library().errors.EntryNotFoundError:
        return None


def _stored(repository: str, revision: str | None) -> Iterator[Weight]:
    index = _index(repository, revision)
    names = [SINGLE] if index is None else files_of_index(index, f"{repository}/{INDEX}")
    for name in names:
        place = f"{repository}/{name}"
        beginning = _Beginning(repository, name, revision)
        if index is None and not beginning.exists():
            return
        length = header_length(beginning.read(8), place)
        yield from parse_header(beginning.read(8 + length)[8:], place)


def _index(repository: str, revision: str | None) -> bytes | None:
    """The index of several files; ``None`` where there is one file, also of a model that was kept so."""
    try:
        return _small_file(repository, INDEX, revision)
    except (OSError, library().errors.HTTPError):
        if _kept(repository, SINGLE, revision) is None:
            raise
        return None


def _kept(repository: str, name: str, revision: str | None) -> Path | None:
    """Where an earlier run left a file in the cache."""
    found = library().try_to_load_from_cache(repository, name, revision=revision)
    return Path(found) if isinstance(found, str) else None


def _of_gguf(repository: str, file: str, revision: str | None) -> Shape:
    found = [_header(repository, shard.as_posix(), revision) for shard in shard_names(PurePath(file))]
    tensors = tuple(tensor for header in found for tensor in header.tensors)
    if not tensors:
        raise ModelError(f"{repository}/{file} holds no weights")
    return shape_of_gguf(GGUFHeader(found[0].metadata, tensors), Path(repository, file))


def _header(repository: str, name: str, revision: str | None) -> GGUFHeader:
    beginning = _Beginning(repository, name, revision)
    length = _FIRST
    while True:
        content = beginning.read(length)
        header = read_beginning(content, Path(repository, name), beginning.size)
        if header is not None:
            return header
        if length >= _LONGEST:
            raise ModelError(f"{repository}/{name} has a header of more than {_LONGEST} bytes: it is damaged")
        length *= 4


class _Beginning:
    """The first bytes of a file on the hub, of which more are asked for as they are needed.

    Where the hub is away, the file that an earlier run left in the cache is read.
    """

    def __init__(self, repository: str, name: str, revision: str | None) -> None:
        self._repository, self._name, self._revision = repository, name, revision
        self._url: str = library().hf_hub_url(repository, name, revision=revision)
        self._content = b""
        #: of the whole file, in bytes; known after the first read
        self.size = 0

    def exists(self) -> bool:
        """Whether the repository has the file."""
        try:
            self.read(_FIRST)
        except library().errors.EntryNotFoundError:
            return False
        return True

    def read(self, length: int) -> bytes:
        """Its first ``length`` bytes, or all where it has no more.

        :raises OSError, HTTPError: they cannot be had.
        """
        known = len(self._content)
        if known < length and (not self.size or known < self.size):
            self._go_on(max(length, _FIRST))
        return self._content[:length]

    def _go_on(self, length: int) -> None:
        hub = library()
        try:
            self._ask(length)
        except (OSError, hub.errors.HTTPError) as error:
            if isinstance(error, hub.errors.HfHubHTTPError) or not self._take_kept(length):
                raise

    def _take_kept(self, length: int) -> bool:
        kept = _kept(self._repository, self._name, self._revision)
        if kept is None:
            return False
        self.size = kept.stat().st_size
        with kept.open("rb") as file:
            self._content = file.read(length)
        return True

    def _ask(self, length: int) -> None:
        hub, start = library(), len(self._content)
        # as the file lies there, or sizes are those of something else
        wanted = {**headers(), "Range": f"bytes={start}-{length - 1}", "Accept-Encoding": "identity"}
        with hub.get_session().stream(
            "GET", self._url, headers=wanted, timeout=TIMEOUT, follow_redirects=True
        ) as answer:
            hub.hf_raise_for_status(answer)
            self.size = self._told_size(answer)
            if answer.status_code != 206:
                # a server that knows no ranges sends the whole file, of which no more is taken
                self._content, start = b"", 0
            self._content += _taken(answer, length - start)

    def _told_size(self, answer: Any) -> int:
        told = answer.headers.get("Content-Range", "").rpartition("/")[2]
        told = told or answer.headers.get("Content-Length", "")
        if not told.isdigit():
            raise OSError(f"{self._repository}/{self._name} comes without its size")
        return int(told)


def _taken(answer: Any, most: int) -> bytes:
    content = bytearray()
    for piece in answer.iter_bytes():
        content += piece
        if len(content) >= most:
            break
    return bytes(content[:most])
