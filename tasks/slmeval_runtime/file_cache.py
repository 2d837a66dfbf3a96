"""The system's cache of files: a model's can be dropped, so that the disk is read again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from slmeval.errors import JobFailed
from slmeval.gguf_file import shards_of

#: Linux has it, macOS has not
CAN_DROP = hasattr(os, "posix_fadvise")


def drop(place: Path) -> None:
    """Let the system forget the files of the model at ``place``; what another process has mapped stays.

    :raises JobFailed: this system cannot, or a file cannot be read.
    """
    if not CAN_DROP:
        raise JobFailed(
            "this system cannot drop files from its cache: -o file_cache=as_is times the opening of them "
            "as they are"
        )
    for file in files_of(place):
        try:
            _drop_file(file)
        except OSError as error:
            raise JobFailed(f"{file} cannot be dropped from the file cache: {error.strerror}") from None


def files_of(place: Path) -> Iterator[Path]:
    """All files of a model: of a folder, at any depth; of a GGUF file, its pieces."""
    if place.is_dir():
        yield from (file for file in sorted(place.rglob("*")) if file.is_file())
    elif place.is_file():
        yield from shards_of(place)


def _drop_file(file: Path) -> None:
    number = os.open(file, os.O_RDONLY)
    try:
        # what is not on the disk yet would stay
        os.fsync(number)
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(number)
