"""A model that is to be brought here, as a server tells of it: nothing of it may lead out of its folder."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slmeval.service.wire import Message

_SHA256 = re.compile(r"[0-9a-f]{64}")
#: files of one model, and characters of a path
_MOST, _LONGEST = 10_000, 1024
#: what no part of a path may have: it means something to one system or another
_ODD = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')


class Unwanted(Exception):
    """What a server asks for cannot be meant so."""


@dataclass(frozen=True)
class WantedFile:
    """A file: its path in the model's folder, with slashes, its size in bytes, and its hash."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Wanted:
    """A model: the hash of all that defines it, and its files; ``hint``: where it lies on the server."""

    sha256: str
    files: tuple[WantedFile, ...]
    hint: str | None


def read_wanted(message: Message) -> Wanted:
    """:raises Unwanted: it is no list of files that could make a model."""
    sha256, files, hint = message.get("sha256"), message.get("files"), message.get("hint")
    if not isinstance(files, list) or not 0 < len(files) <= _MOST:
        raise Unwanted(f"its files are no list of 1 to {_MOST:,}")
    read = tuple(map(_file, files))
    if len({file.path.casefold() for file in read}) < len(read):
        raise Unwanted("two of its files have the same path")
    return Wanted(_hash(sha256), read, hint if isinstance(hint, str) else None)


def _file(told: Any) -> WantedFile:
    if not isinstance(told, Mapping):
        raise Unwanted(f"a file of it is {_short(told)}")
    size = told.get("size")
    if type(size) is not int or not 0 <= size < 2**62:
        raise Unwanted(f"a file of it has {_short(size)} bytes")
    return WantedFile(_path(told.get("path")), size, _hash(told.get("sha256")))


def _path(path: Any) -> str:
    if not isinstance(path, str) or len(path) > _LONGEST or _ODD.search(path):
        raise Unwanted(f"the path {_short(path)} is none for a file of a model")
    # an absolute path begins with an empty part
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise Unwanted(f"the path {_short(path)} leads out of the model's folder")
    return path


def _hash(value: Any) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise Unwanted(f"{_short(value)} is no SHA-256")
    return value


def _short(value: object) -> str:
    return reprlib.repr(value)
