"""Which tensors lie in safetensors files, by their headers alone.

The layout is that of the safetensors library's README: eight bytes of length, then JSON, then the data.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path, PurePath
from typing import Any

from slmeval.errors import ModelError
from slmeval.shape import Weight

#: bits of a number by the type's name in safetensors
TYPES: Mapping[str, float] = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64.0),
    **dict.fromkeys(("F32", "I32", "U32"), 32.0),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16.0),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I8", "U8", "BOOL"), 8.0),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6.0),
    "F4": 4.0,
}
#: no file holds so many numbers
_MOST = 1 << 63
#: no tensor has more dimensions; a product of many takes forever
_MOST_DIMENSIONS = 16
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
#: the longest header in bytes that the safetensors library itself reads
MAX_HEADER = 100_000_000


def read_headers(folder: Path) -> tuple[Weight, ...]:
    """The tensors of a model's folder, as its index names the files; none where it has no safetensors.

    :raises ModelError: a file is missing, or its header is damaged.
    """
    return tuple(weight for path in _files(folder) for weight in _of_file(path))


def _files(folder: Path) -> list[Path]:
    index = folder / INDEX
    if index.is_file():
        return [folder / name for name in files_of_index(index.read_bytes(), str(index))]
    single = folder / SINGLE
    return [single] if single.is_file() else sorted(folder.glob("*.safetensors"))


def files_of_index(content: bytes, place: str) -> list[str]:
    """The names of the files that an index names.

    :raises ModelError: it is damaged, or names files elsewhere.
    """
    try:
        names = sorted(set(json.loads(content)["weight_map"].values()))
        outside = [name for name in names if PurePath(name).anchor or ".." in PurePath(name).parts]
        nameless = [name for name in names if b"\0" in os.fsencode(name)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ModelError(f"{place} is damaged: weight_map does not map names to files") from None
    if nameless:
        raise ModelError(f"{place} is damaged: {nameless[0]!r} is no name of a file")
    if outside:
        raise ModelError(f"{place} names {outside[0]}, which lies outside of the model's folder")
    return names


def _of_file(path: Path) -> Iterator[Weight]:
    if path.exists() and not path.is_file():
        raise ModelError(f"{path} is no regular file: remove it from the model's folder")
    try:
        with path.open("rb") as file:
            length = header_length(file.read(8), str(path))
            content = file.read(length)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(content) < length:
        raise ModelError(f"{path} is damaged: it ends within its header")
    return parse_header(content, str(path))


def header_length(start: bytes, place: str) -> int:
    """The header's length in bytes, from the file's first eight.

    :raises ModelError: no header is so long.
    """
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else MAX_HEADER + 1
    if length > MAX_HEADER:
        raise ModelError(f"{place} is damaged: it does not begin with the length of a header")
    return int(length)


def parse_header(content: bytes, place: str) -> Iterator[Weight]:
    """The tensors that a header names.

    :raises ModelError: it is damaged.
    """
    try:
        entries = json.loads(content)
        found = [_weight(name, entry) for name, entry in entries.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ModelError(f"{place} is damaged: its header is not that of a safetensors file") from None
    return iter(found)


def _weight(name: str, entry: Mapping[str, Any]) -> Weight:
    """:raises TypeError, KeyError, ValueError: the entry does not tell type and shape."""
    shape, kind = entry["shape"], entry["dtype"]
    if len(shape) > _MOST_DIMENSIONS:
        raise ValueError(name)
    if not isinstance(kind, str) or not all(type(size) is int and 0 <= size < _MOST for size in shape):
        raise TypeError(name)
    if prod(shape) >= _MOST:
        raise ValueError(name)
    return Weight(name, tuple(shape), kind, TYPES.get(kind))
