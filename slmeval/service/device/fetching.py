"""Models brought from a server into a cache: what was cut is gone on with, what is damaged is refused."""

from __future__ import annotations

import http.client
import shutil
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message as Headers
from pathlib import Path
from typing import IO, Any, cast

from slmeval.errors import ModelError
from slmeval.file_hash import sha256_of
from slmeval.models import find_model
from slmeval.service.device.address import Address
from slmeval.service.device.wanted import Wanted, WantedFile
from slmeval.types import ModelRef

#: bytes read at once
_PIECE = 1 << 20
#: seconds in which something must come
_PATIENCE = 60.0
#: seconds before each further attempt at a file of which nothing more came
_PAUSES = (0.5, 1.0, 2.0, 4.0)
#: what happens to lines, and not to disks
_CUTS = (http.client.HTTPException, urllib.error.URLError, TimeoutError, ConnectionError, ssl.SSLError)
#: bytes of a server's refusal that are read
_LONGEST_REFUSAL = 2000


class CannotFetch(Exception):
    """A model that cannot be had, and why."""


class Fetcher:
    """Brings models from one server into ``cache``; one at a time."""

    def __init__(self, address: Address, cache: Path) -> None:
        self._address, self._folder = address, cache / "models"
        self._one = threading.Lock()
        #: what was seen to be whole, and how it looked then
        self._seen: dict[str, tuple[object, Path]] = {}
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if address.is_here:
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def fetch(self, wanted: Wanted, given_up: threading.Event) -> str:
        """Where the model is in the cache, brought there if need be.

        :raises CannotFetch: it cannot be had, or ``given_up`` was set.
        """
        with self._one:
            _check_wanted(given_up)
            try:
                return str(self._kept(wanted) or self._bring(wanted, given_up))
            except OSError as error:
                raise CannotFetch(f"the cache {self._folder}: {error.strerror or error}") from None

    # ---- what is there -----------------------------------------------------------------------------

    def _kept(self, wanted: Wanted) -> Path | None:
        """The model in the cache; one that has been altered since it came is removed."""
        home = self._folder / wanted.sha256
        if not home.is_dir():
            return None
        looks = _looks(home, wanted)
        seen, place = self._seen.get(wanted.sha256, (None, None))
        if looks is None or looks != seen:
            place = _place(home, wanted, sha256_of) if looks is not None else None
        if place is None:
            shutil.rmtree(home)
        else:
            self._seen[wanted.sha256] = looks, place
        return place

    # ---- what comes --------------------------------------------------------------------------------

    def _bring(self, wanted: Wanted, given_up: threading.Event) -> Path:
        part = self._folder / f"{wanted.sha256}.part"
        part.mkdir(parents=True, exist_ok=True)
        with _alone(part.with_suffix(".lock")):
            # another process may have brought it meanwhile
            if (kept := self._kept(wanted)) is not None:
                return kept
            part.mkdir(exist_ok=True)
            self._check_room(wanted, part)
            for place, file in enumerate(wanted.files):
                _File(self._opener, self._address, wanted.sha256, place, file, part, given_up).bring()
            return self._put_in_place(wanted, part)

    def _check_room(self, wanted: Wanted, part: Path) -> None:
        missing = sum(max(0, file.size - _size(part / file.path)) for file in wanted.files)
        free = shutil.disk_usage(part).free
        if missing > free:
            raise CannotFetch(
                f"{missing:,} bytes are to come, and the disk of {self._folder} has {free:,} left"
            )

    def _put_in_place(self, wanted: Wanted, part: Path) -> Path:
        known = {part / file.path: file.sha256 for file in wanted.files}
        place = _place(part, wanted, known.__getitem__)
        if place is None:
            shutil.rmtree(part)
            raise CannotFetch("the files that came make another model than the one that is wanted")
        home = self._folder / wanted.sha256
        part.rename(home)
        place = home / place.relative_to(part)
        self._seen[wanted.sha256] = _looks(home, wanted), place
        return place


def _check_wanted(given_up: threading.Event) -> None:
    if given_up.is_set():
        raise CannotFetch("it is not wanted any more")


def _place(folder: Path, wanted: Wanted, file_hash: Callable[[Path], str]) -> Path | None:
    """What an engine is told, the folder or the first GGUF file; ``None``: neither is what is wanted."""
    shards = [folder / file.path for file in wanted.files if file.path.lower().endswith(".gguf")]
    places = [*([folder] if (folder / "config.json").is_file() else []), *shards[:1]]
    return next((place for place in places if _is(place, wanted.sha256, file_hash)), None)


def _looks(home: Path, wanted: Wanted) -> object:
    """Sizes and times of the files; ``None`` where one is missing or of another size."""
    found = []
    for file in wanted.files:
        try:
            status = (home / file.path).stat()
        except OSError:
            return None
        if status.st_size != file.size:
            return None
        found.append((file.path, status.st_size, status.st_mtime_ns))
    return tuple(found)


def _is(place: Path, sha256: str, file_hash: Callable[[Path], str]) -> bool:
    try:
        return find_model(ModelRef(str(place)), file_hash).sha256 == sha256
    except (ModelError, KeyError):
        # a file that nobody told of is part of no model that is wanted
        return False


class _File:
    """One file on its way; what of it is there stays when it is cut."""

    def __init__(
        self,
        opener: urllib.request.OpenerDirector,
        address: Address,
        sha256: str,
        place: int,
        file: WantedFile,
        part: Path,
        given_up: threading.Event,
    ) -> None:
        self._opener, self._address, self._url = opener, address, address.file(sha256, place)
        self._file, self._path, self._given_up = file, part / file.path, given_up

    def bring(self) -> None:
        """:raises CannotFetch: it cannot be had whole."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if _size(self._path) > self._file.size:
            self._path.unlink()
        pauses = iter(_PAUSES)
        while (before := _size(self._path)) < self._file.size:
            trouble = self._more(before)
            if _size(self._path) > before:
                pauses = iter(_PAUSES)
            elif (pause := next(pauses, None)) is None:
                raise CannotFetch(f"{self._file.path}: {trouble}")
            else:
                self._given_up.wait(pause)
            _check_wanted(self._given_up)
        self._path.touch()
        self._check()

    def _check(self) -> None:
        found = sha256_of(self._path)
        if found != self._file.sha256:
            self._path.unlink()
            raise CannotFetch(
                f"{self._file.path} came damaged: its SHA-256 is {found}, not {self._file.sha256}"
            )

    def _more(self, start: int) -> str:
        """Fetch what is missing, as far as it comes; why no more came."""
        headers = {**self._address.headers, **({"Range": f"bytes={start}-"} if start else {})}
        request = urllib.request.Request(self._url, headers=headers)
        try:
            with self._opener.open(request, timeout=_PATIENCE) as answer:
                self._write(answer, start)
        except urllib.error.HTTPError as error:
            return self._refused(error)
        except _CUTS as error:
            return str(getattr(error, "reason", None) or error) or type(error).__name__
        return "the server ends it early"

    def _refused(self, error: urllib.error.HTTPError) -> str:
        """
        :raises CannotFetch: asking again would not change it.
        """
        with error:
            said = error.read(_LONGEST_REFUSAL).decode(errors="replace")
        trouble = f"the server answers {error.code} ({said})"
        if error.code < http.client.INTERNAL_SERVER_ERROR:
            raise CannotFetch(f"{self._file.path}: {trouble}")
        return trouble

    def _write(self, answer: Any, start: int) -> None:
        """
        :raises CannotFetch: more comes than the file has.
        """
        goes_on = answer.status == http.client.PARTIAL_CONTENT and _start_of(answer.headers) == start
        with self._path.open("ab" if goes_on else "wb") as out:
            left = self._file.size - (start if goes_on else 0)
            for piece in _pieces(answer):
                _check_wanted(self._given_up)
                left -= len(piece)
                if left < 0:
                    out.close()
                    self._path.unlink()
                    raise CannotFetch(f"{self._file.path}: more comes than its {self._file.size:,} bytes")
                out.write(piece)


def _pieces(answer: IO[bytes]) -> Iterator[bytes]:
    # read1: what came before a cut is kept
    read = cast(Any, answer).read1
    while piece := read(_PIECE):
        yield piece


def _start_of(headers: Headers) -> int | None:
    """Where a part begins, by ``Content-Range: bytes START-END/SIZE``."""
    _, _, span = str(headers.get("Content-Range", "")).partition("bytes ")
    start = span.partition("-")[0]
    return int(start) if start.isdecimal() else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A token is for one server alone."""

    def redirect_request(self, *_: Any) -> None:
        return None


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """While no other process of this machine brings the same model."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover  Windows: nobody but one agent has this cache
        yield
        return
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
