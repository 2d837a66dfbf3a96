"""Weights widened to float32 for as long as it takes to load them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slmeval.errors import ModelError
from slmeval.gguf_file import GGUFHeader
from slmeval_llamacpp.quantize import quantize


@contextmanager
def widened(path: Path, header: GGUFHeader) -> Iterator[Path]:
    """A file with all weights of ``path`` in float32, written by llama.cpp itself; it is removed afterwards.

    :raises ModelError: there is no room for it, or llama.cpp cannot write it.
    """
    if {tensor.kind for tensor in header.tensors} == {"F32"}:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="slmeval-", ignore_cleanup_errors=True) as folder:
        _check_room(Path(folder), path, 4 * header.weights)
        wide = Path(folder) / "float32.gguf"
        quantize(path.resolve(), wide, "F32")
        yield wide


def _check_room(folder: Path, path: Path, need: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < need:
        raise ModelError(
            f"{path} in float32 takes {need / 1e9:.1f} GB, and {folder.parent} has {free / 1e9:.1f} left: "
            "set TMPDIR to a folder with more room, or take dtype=auto"
        )
