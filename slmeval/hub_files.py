"""Files of data sets from the Hugging Face hub into its cache: tried again, gone on with, and kept.

huggingface_hub lists, names and keeps the files. The bytes are fetched here, for what an interrupted process
had is lost to some versions of it (2.4 removes it; 1.3 goes on, and gives up where a server hangs up): a part
stays in the cache beside the whole files, and the next attempt asks for the rest only.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from slmeval.file_hash import sha256_of
from slmeval.hub_library import TIMEOUT, headers, library, silent, understood, without_password

ValueT = TypeVar("ValueT")

#: seconds; longer is not waited because a server asks for it
_LONGEST_ASKED = 30.0
#: an ETag that can be the name of a file
_ETAG = re.compile(r"[\w+-][\w.+-]*")
#: an ETag that is the SHA-256 of the file: so the hub names what it keeps in large storage
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _say_nothing(_: str) -> None:
    pass


@dataclass(frozen=True)
class Patience:
    """How long is waited, in seconds, before each further attempt at a list of files, and at a file.

    ``tell`` hears why an attempt failed; ``begin`` of a file and its size in bytes, where it is known;
    ``advance`` of bytes that came.
    """

    asking: Sequence[float] = ()
    fetching: Sequence[float] = (1.0, 2.0, 4.0)
    tell: Callable[[str], None] = _say_nothing
    begin: Callable[[str, int | None], None] = lambda _, __: None
    advance: Callable[[int], None] = lambda _: None


class HubFiles:
    """What the hub has, by way of the cache; ``kept`` says why a data set was not looked at on the hub."""

    def __init__(self, endpoint: str | None, cache: str | Path | None, patience: Patience) -> None:
        self._endpoint = endpoint
        self._cache = cache
        self._patience = patience
        self._away: Exception | None = None
        self.kept: dict[str, str] = {}

    def fetch(self, repository: str, revision: str, patterns: Sequence[str]) -> Path:
        """The folder in the cache, named for the commit, with the files that match; fetches what is missing.

        :raises OSError: they cannot be had; most errors of huggingface_hub are of this class.
        :raises MissingExtra: huggingface_hub is not installed.
        """
        hub = library()
        self.kept.pop(repository, None)

        def snapshot(**more: object) -> Any:
            return understood(
                lambda: hub.snapshot_download(
                    repository,
                    repo_type="dataset",
                    revision=revision,
                    allow_patterns=list(patterns),
                    endpoint=self._endpoint,
                    cache_dir=self._cache,
                    tqdm_class=silent(),
                    **more,
                )
            )

        try:
            listed = self._listed(repository, snapshot)
            if self._threw_away(repository, listed):
                listed = self._listed(repository, snapshot)
        except hub.errors.RevisionNotFoundError:
            raise
        except (OSError, hub.errors.HTTPError) as error:
            return self._kept(repository, snapshot, error)
        if (folder := _at_hand(listed, revision)) is not None:
            return folder
        for file in listed:
            if file.will_download:
                self._download(repository, file)
        # only now, when all are there, does the cache say that it has this commit
        return Path(snapshot())

    def _listed(self, repository: str, snapshot: Callable[..., Any]) -> Sequence[Any]:
        """What the hub has that is wanted; a hub that could not be reached is not waited for again.

        :raises OSError, HTTPError: it cannot be asked.
        """
        if self._away is not None:
            raise self._away
        try:
            found: Sequence[Any] = self._patiently(
                lambda: snapshot(dry_run=True), repository, self._patience.asking
            )
        except Exception as error:
            if _no_answer(library(), error):
                self._away = error
            raise
        return found

    def _threw_away(self, repository: str, listed: Sequence[Any]) -> bool:
        """Whether kept files were not what they are named for; they are gone then, to be fetched anew."""
        places = {Path(file.local_path).resolve(): file.filename for file in listed}
        damaged = [place for place in places if place.is_file() and not _as_named(place)]
        for place in damaged:
            self._patience.tell(
                f"{repository}/{places[place]} was damaged where it is kept: it is fetched anew"
            )
            place.unlink()
        return bool(damaged)

    def _kept(self, repository: str, snapshot: Callable[..., Any], error: Exception) -> Path:
        """What the cache has, where the hub cannot be asked.

        :raises Exception: ``error``, where it has nothing.
        """
        try:
            folder = Path(snapshot(local_files_only=True))
        except FileNotFoundError:
            raise error from None
        self.kept[repository] = self.reason(error, repository)
        return folder

    def reason(self, error: Exception, repository: str, revision: str | None = None) -> str:
        """Why something could not be had from the hub, in a few words that show no secret."""
        return _reason(library(), error, f"{self._endpoint or _endpoint()}/datasets/{repository}", revision)

    # ---- one file --------------------------------------------------------------------------------------

    def _download(self, repository: str, file: Any) -> None:
        """Put a file's bytes where the cache keeps them under their ETag: blobs/ETAG."""
        from filelock import FileLock

        hub = library()
        url = hub.hf_hub_url(
            repository, file.filename, repo_type="dataset", revision=file.commit_hash, endpoint=self._endpoint
        )
        what = f"{repository}/{file.filename}"
        known = self._patiently(
            lambda: hub.get_hf_file_metadata(url, endpoint=self._endpoint), what, self._patience.fetching
        )
        if not _ETAG.fullmatch(known.etag or ""):
            raise OSError(f"{what} has an ETag under which nothing can be kept: {known.etag!r}")
        home = _snapshot_of(file).parents[1]
        blob = home / "blobs" / known.etag
        lock = home.parent / ".locks" / home.name / f"{known.etag}.lock"
        for folder in (blob.parent, lock.parent):
            folder.mkdir(parents=True, exist_ok=True)
        # the lock of huggingface_hub itself, freed when its process ends
        with FileLock(lock):
            if not blob.exists():
                self._fill(blob, url, known.size, what)

    def _fill(self, blob: Path, url: str, size: int | None, what: str) -> None:
        part = blob.with_name(f"{blob.name}.slmeval-part")
        part.touch()
        self._patience.begin(what, size)
        self._patience.advance(part.stat().st_size)
        self._patiently(lambda: self._go_on(part, url, size), what, self._patience.fetching)
        _check_hash(part, blob.name, what)
        part.replace(blob)

    def _go_on(self, part: Path, url: str, size: int | None) -> None:
        """Ask for what is not in ``part`` yet.

        :raises OSError, HTTPError: the rest did not come; what did is kept.
        """
        have = part.stat().st_size
        if size is not None and have == size > 0:
            return
        wanted = {**headers(), "Accept-Encoding": "identity"}
        if have:
            wanted["Range"] = f"bytes={have}-"
        hub = library()
        with (
            # each piece is in the file as soon as it is here, whatever ends this process
            part.open("r+b", buffering=0) as out,
            hub.get_session().stream("GET", url, headers=wanted, timeout=TIMEOUT) as answer,
        ):
            start = _start(answer, have)
            if start is None:
                out.truncate(0)
                raise OSError(f"the rest from byte {have} on cannot be had")
            hub.hf_raise_for_status(answer)
            self._take(answer, out, start, have, size)
        if size is not None and (came := part.stat().st_size) != size:
            raise OSError(f"{came} of {size} bytes came")

    def _take(self, answer: Any, out: FileIO, start: int, had: int, size: int | None) -> None:
        """
        :raises OSError: more comes than the file has; then nothing of it is kept, or it could fill the disk.
        """
        self._patience.advance(start - had)
        out.seek(start)
        out.truncate()
        for chunk in answer.iter_bytes():
            if size is not None and out.tell() + len(chunk) > size:
                out.truncate(0)
                raise OSError(f"it comes as more than its {size} bytes")
            _write_all(out, chunk)
            self._patience.advance(len(chunk))

    # ---- again and again -------------------------------------------------------------------------------

    def _patiently(self, attempt: Callable[[], ValueT], what: str, waits: Sequence[float]) -> ValueT:
        """What ``attempt`` gives, after as many as ``waits`` failures that may pass.

        :raises Exception: the last failure, or the first that will not pass.
        """
        hub = library()
        for planned in waits:
            try:
                return attempt()
            except (OSError, hub.errors.HTTPError) as error:
                if not _may_pass(hub, error):
                    raise
                wait = max(planned, _asked_wait(error))
                self._patience.tell(f"{what}: {self.reason(error, what)}; trying again in {wait:g} s")
                time.sleep(wait)
        return attempt()


def _snapshot_of(file: Any) -> Path:
    """The folder of a commit: the cache has a file at datasets--OWNER--NAME/snapshots/COMMIT/FILENAME."""
    place, below = Path(file.local_path), str(file.filename)
    return place.parents[below.count("/")]


def _at_hand(listed: Sequence[Any], revision: str) -> Path | None:
    """The folder of a commit that is here whole, and that the cache knows under this name."""
    if not listed or not all(Path(file.local_path).exists() for file in listed):
        return None
    folder = _snapshot_of(listed[0])
    name = folder.parents[1] / "refs" / revision
    known = name.read_text(encoding="utf-8") if name.is_file() else ""
    return folder if folder.name in (revision, known) else None


def _write_all(out: FileIO, data: bytes) -> None:
    """What has no buffer may write a part, on a disk that is nearly full."""
    left = memoryview(data)
    while left:
        left = left[out.write(left) :]


def _start(answer: Any, asked: int) -> int | None:
    """At which byte of the file an answer begins, where the rest from ``asked`` on was asked for."""
    if answer.status_code == 206:
        said = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
        return asked if said and int(said[1]) == asked else None
    # a server that knows no ranges sends the whole; one that has no such part sends nothing
    return None if answer.status_code == 416 else 0


def _asked_wait(error: Exception) -> float:
    """For how many seconds a server asks not to be asked again, as far as we wait for it."""
    said = getattr(getattr(error, "response", None), "headers", {}).get("Retry-After", "")
    return min(float(said), _LONGEST_ASKED) if re.fullmatch(r"[0-9]{1,9}", said) else 0.0


def _no_answer(hub: ModuleType, error: Exception) -> bool:
    """Whether there is no hub to talk to, for now or because the user wants none."""
    if isinstance(error, hub.errors.OfflineModeIsEnabled):
        return True
    return isinstance(error, hub.errors.HTTPError) and not isinstance(error, hub.errors.HfHubHTTPError)


def _may_pass(hub: ModuleType, error: Exception) -> bool:
    if isinstance(error, hub.errors.HfHubHTTPError):
        status = getattr(getattr(error, "response", None), "status_code", 0)
        return status in (408, 429) or status >= 500
    # of ours: bytes that did not come; the rest is of the HTTP library below
    return isinstance(error, hub.errors.HTTPError) or (type(error) is OSError and error.errno is None)


def _as_named(kept: Path) -> bool:
    """Whether a file of the cache has the hash that its name is, if that is one."""
    return not _SHA256.fullmatch(kept.name) or sha256_of(kept) == kept.name


def _check_hash(part: Path, etag: str, what: str) -> None:
    """:raises OSError: the file is not the one that the hub names; what came is thrown away."""
    if _SHA256.fullmatch(etag) and (found := sha256_of(part)) != etag:
        part.unlink()
        raise OSError(f"{what} came damaged (sha256 {found[:12]}, not {etag[:12]}) and was thrown away")


# ---- in words ------------------------------------------------------------------------------------------


def _reason(hub: ModuleType, error: Exception, page: str, revision: str | None) -> str:
    if isinstance(error, hub.errors.GatedRepoError):
        return _gated(_without_secrets(page))
    if isinstance(error, hub.errors.RepositoryNotFoundError):
        return "there is no such data set, or it is private (HF_TOKEN: a token that may read it)"
    if isinstance(error, hub.errors.RevisionNotFoundError):
        if revision is not None:
            return f"it has no revision {revision}"
        return "it has no file of that split in a known place, and no Parquet conversion"
    if getattr(getattr(error, "response", None), "status_code", 0) == 401:
        return "it does not accept the token in HF_TOKEN, or wants one"
    return _told(error)


def _told(error: Exception) -> str:
    if (
        isinstance(error, OSError)
        and error.strerror
        and not isinstance(error, (ConnectionError, TimeoutError))
    ):
        place = f" {error.filename}" if error.filename else ""
        return f"what comes cannot be kept ({error.strerror}{place}); HF_HOME names another place"
    told = str(error).strip().split("\n")[0].removeprefix("Got: ").rstrip(".") or type(error).__name__
    return _without_secrets(told)


def _gated(page: str) -> str:
    if library().get_token() is None:
        return (
            f"its owner wants to be asked for access first: ask at {page}, then set HF_TOKEN to a token of "
            "that account"
        )
    return f"its owner has not let in the account of the token in HF_TOKEN: ask for access at {page}"


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _without_secrets(text: str) -> str:
    shown = without_password(text)
    token = library().get_token()
    return shown.replace(token, "...") if token else shown
