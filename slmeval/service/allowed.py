"""Which models may be named: the demo model, and those of allowed folders, hubs and servers.

Whoever names a model could otherwise read any file that the server can, and make it ask any address. What is
outside of the allow-list is refused in the same words whether it is there or not.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit

from slmeval.errors import UsageError
from slmeval.gguf_file import NEIGHBOURS, shard_names, shards_of
from slmeval.models import is_there, parse_model
from slmeval.service.settings import Settings

_GGUF = ".gguf"
#: of a hub's names, as the hub itself takes them
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,95})"
_HUB = re.compile(
    rf"({_PART}/{_PART})(?::([^@:\\]+{re.escape(_GGUF)}))?(?:@([A-Za-z0-9][A-Za-z0-9._-]{{0,99}}))?"
)
_SHARD = re.compile(r"-(?!00001-of-)\d{5}-of-\d{5}\.gguf$")
#: longest name, in characters
_LONGEST = 500
#: files and folders of a model that are looked at; no model has as many
_MOST = 10_000
#: how deep below an allowed folder models are looked for, to be listed
_DEPTH = 2


def check_patterns(settings: Settings) -> None:
    """:raises slmeval.errors.UsageError: no name could fit one, so that nothing would be allowed by it."""
    for hub in settings.hubs:
        owner, _, name = hub.partition("/")
        if not owner or "/" in name or hub.endswith("/"):
            raise UsageError(f"--hub {hub}: OWNER or OWNER/NAME, in which * stands for any letters")
    for server in settings.servers:
        if _split(server) is None:
            raise UsageError(
                f"--model-server {server}: the beginning of an address, without a user name and a query, as "
                "in http://127.0.0.1:8000/v1"
            )


class Allowed:
    """The allow-list of a server."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folders = [Path(os.path.realpath(folder.expanduser())) for folder in settings.folders]

    def check(self, text: str) -> str:
        """The model that is meant, as the core takes it: the whole path where it lies in an allowed folder.

        :raises slmeval.errors.UsageError: it is none that may be named here; the sentence says which are.
        """
        if not text or len(text) > _LONGEST or not all(map(_is_plain, text)):
            raise self._refusal(text)
        if "://" in text:
            return self._checked_address(text)
        if (place := self._in_folders(text)) is not None:
            return str(place)
        return self._checked_hub_id(text)

    def bytes_of(self, reference: str) -> int:
        """The size of a model's files, for a reference that was checked; 0 where it is not known here."""
        place = Path(reference)
        if not place.is_absolute() or not self._is_inside(place):
            return 0
        with suppress(OSError, UsageError):
            files = (
                shards_of(place) if place.is_file() else (file for file in _below(place) if file.is_file())
            )
            return sum(file.stat().st_size for file in files)
        return 0

    def listed(self) -> list[str]:
        """Names that may be given, in their order; hubs and servers by pattern may have more."""
        found: dict[str, None] = {}
        for root in self._folders:
            for place in (root, *_models_below(root, _DEPTH)):
                found.update(dict.fromkeys(self._names_of(root, place)))
        whole = [hub for hub in self._settings.hubs if not set(hub) & set("*?[") and "/" in hub]
        return [*sorted(found), *whole]

    def _names_of(self, root: Path, place: Path) -> list[str]:
        short = root.name if place == root else place.relative_to(root).as_posix()
        with suppress(UsageError):
            # of two folders' models of one name the first has it
            return [short if self.check(short) == str(place) else self.check(str(place))]
        return []

    # ---- folders -----------------------------------------------------------------------------------

    def _in_folders(self, text: str) -> Path | None:
        path = PurePosixPath(text)
        if "\\" in text or ".." in path.parts or text.startswith("~"):
            return None
        for place in self._places(path):
            if self._is_inside(place) and _is_model(place):
                self._refuse_ways_out(text, place)
                return place
        return None

    def _places(self, path: PurePosixPath) -> Iterator[Path]:
        """Where a name may lead; a whole path only below a folder itself, not by links from elsewhere."""
        for given, root in zip(self._settings.folders, self._folders, strict=True):
            if not path.is_absolute():
                yield root / path
                if str(path) == root.name:
                    yield root
            elif path.is_relative_to(root):
                yield Path(path)
            elif path.is_relative_to(given):
                yield root / path.relative_to(given)

    def _is_inside(self, path: Path) -> bool:
        """Whether it really is in an allowed folder."""
        try:
            real = Path(os.path.realpath(path))
        except (OSError, ValueError):
            return False
        return any(real.is_relative_to(root) for root in self._folders)

    def _refuse_ways_out(self, text: str, place: Path) -> None:
        """A link among a model's files could make any file part of it."""
        files = _of_file(place) if place.is_file() else _below(place)
        try:
            out = any(not self._is_inside(file) for file in files if file.is_symlink())
        except OSError:
            out = True
        if out:
            raise UsageError(
                f"{text!r} has links out of the server's folders among its files: copy what they lead to"
            )

    # ---- hubs and servers --------------------------------------------------------------------------

    def _checked_hub_id(self, text: str) -> str:
        match = _HUB.fullmatch(text)
        if match is None or ".." in text:
            raise self._refusal(text)
        repository, file, _ = match.groups()
        if not any(_fits(repository, pattern) for pattern in self._settings.hubs):
            raise self._refusal(text)
        if file is not None and (file.startswith("/") or "//" in file):
            raise self._refusal(text)
        # the core takes what exists before it asks the hub
        if any(is_there(name) for name in {text, parse_model(text).location}):
            raise UsageError(f"{text!r} is also a folder where the server was started: start it elsewhere")
        return text

    def _checked_address(self, text: str) -> str:
        asked = _split(text)
        if asked is None or not any(_begins(asked, server) for server in self._settings.servers):
            raise self._refusal(text)
        return text

    def _refusal(self, text: str) -> UsageError:
        shown = "".join(each if _is_plain(each) else "?" for each in text[:80])
        return UsageError(f"the model {shown!r} may not be named here: {self._known()}")

    def _known(self) -> str:
        """What may be, without telling where it lies."""
        ways = []
        if self._folders:
            ways.append("models by their names in the server's folders (GET /api/models lists them)")
        if self._settings.hubs:
            ways.append(f"hub ids like {', '.join(self._settings.hubs)}")
        if self._settings.servers:
            ways.append(f"addresses that begin with {', '.join(self._settings.servers)}")
        return "; ".join(ways) or "this server has the demo model alone (leave models out)"


def _is_plain(character: str) -> bool:
    """Neither a control character nor one that is not seen, nor half of one."""
    return unicodedata.category(character)[0] not in "C"


def _is_model(place: Path) -> bool:
    try:
        if place.is_file():
            return place.suffix.lower() == _GGUF
        return (place / "config.json").is_file()
    except OSError:
        # no file system has it (the name is too long, say), or it may not be looked at
        return False


def _of_file(place: Path) -> Iterator[Path]:
    """All of a GGUF file's model, whether they are there or not."""
    yield from map(Path, shard_names(place))
    yield from (place.with_name(name) for name in NEIGHBOURS)


def _below(folder: Path) -> Iterator[Path]:
    """All that a folder holds; links are told of and not followed."""
    seen = 0
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            seen += 1
            if seen > _MOST:
                raise UsageError(f"{folder.name!r} holds more than {_MOST} files: it is no model's folder")
            yield Path(where, name)


def _models_below(root: Path, depth: int) -> Iterator[Path]:
    """Folders of models and first GGUF files; links are not followed."""
    try:
        found = sorted(root.iterdir())
    except OSError:
        return
    for place in found:
        if place.is_symlink() or place.name.startswith("."):
            continue
        if _is_model(place) and not _SHARD.search(place.name):
            yield place
        elif place.is_dir() and depth > 1:
            yield from _models_below(place, depth - 1)


def _fits(repository: str, pattern: str) -> bool:
    """As a shell does: ``*`` stands for no slash."""
    owner, name = repository.split("/")
    wanted_owner, _, wanted_name = pattern.partition("/")
    return fnmatchcase(owner, wanted_owner) and fnmatchcase(name, wanted_name or "*")


def _split(text: str) -> SplitResult | None:
    """An address without a secret, a query or a way up; ``None``: it is none."""
    try:
        parts = urlsplit(text)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return None
    odd = "\\" in text or "@" in parts.netloc or "?" in text or any(each.isspace() for each in text)
    steps = unquote(unquote(parts.path)).split("/")
    return parts if whole and not odd and not {".", ".."} & set(steps) else None


def _begins(asked: SplitResult, server: str) -> bool:
    """Whether an address is of a server: the same scheme, host and port, and a path at or below its own."""
    allowed = urlsplit(server)
    if _origin(asked) != _origin(allowed):
        return False
    path = allowed.path.rstrip("/")
    if allowed.fragment and asked.fragment != allowed.fragment:
        return False
    return asked.path.rstrip("/") == path or asked.path.startswith(path + "/")


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
