"""The files of models that runs under way bring to devices: those that were named, and no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any


@dataclass
class _Entry:
    paths: tuple[Path, ...]
    users: int = 0


class ModelFiles:
    """By the model's hash, and the place of a file in the list that its device was given."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def register(self, sha256: str, root: str | Path, files: Sequence[Mapping[str, Any]]) -> None:
        """From now on the files of a model are had: ``path`` of each is below ``root``.

        :raises ValueError: one is not.
        """
        entry = self._entries.setdefault(sha256, _Entry(()))
        # another run may have found the same model elsewhere; the order is the same, for the hash is
        entry.paths = tuple(Path(root) / _below(str(file["path"])) for file in files)
        entry.users += 1

    def release(self, sha256: str) -> None:
        """A run that registered them is over."""
        if (entry := self._entries.get(sha256)) is not None:
            entry.users -= 1
            if entry.users < 1:
                del self._entries[sha256]

    def find(self, sha256: str, place: int) -> Path | None:
        """The file at a place, if a run that brings it is under way."""
        entry = self._entries.get(sha256)
        return entry.paths[place] if entry is not None and 0 <= place < len(entry.paths) else None


def _below(path: str) -> PurePosixPath:
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts or "\0" in path:
        raise ValueError(f"{path!r} is not below the folder of its model")
    return relative
