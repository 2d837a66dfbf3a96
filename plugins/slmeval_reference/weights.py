"""The tensors of a model folder: safetensors, whole or in shards, as float64.

A safetensors file is eight bytes with the length of its header (little-endian), the header (JSON: of
each tensor the dtype, the shape, and where in the rest its bytes begin and end), and the bytes.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slmeval.errors import ModelError
from slmeval_reference.fields import Fields, read_object

FloatArray = NDArray[np.float64]

#: how stored numbers are read; numpy has no bfloat16, so its bits are read as they lie
STORED_AS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


@dataclass(frozen=True)
class StoredTensor:
    """Where one tensor lies: the bytes ``start`` to ``end`` of a file."""

    name: str
    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    def read(self) -> FloatArray:
        """The numbers, exactly as stored.

        :raises ModelError: the dtype is unknown, or the bytes are not those of the shape.
        """
        if self.dtype not in STORED_AS:
            raise ModelError(f"{self.path}: {self.name} is {self.dtype}, not one of {', '.join(STORED_AS)}")
        kind = np.dtype(STORED_AS[self.dtype])
        if self.end - self.start != self.size * kind.itemsize:
            raise ModelError(f"{self.path} is damaged: {self.name} has not the bytes of its shape")
        numbers = np.fromfile(self.path, kind, self.size, offset=self.start).reshape(self.shape)
        return _from_bfloat16(numbers) if self.dtype == "BF16" else numbers.astype(np.float64)


def _from_bfloat16(bits: NDArray[Any]) -> FloatArray:
    # a bfloat16 is the upper half of a float32
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


class Checkpoint:
    """The tensors of a model folder, read by name; it remembers which ones the model had a place for."""

    def __init__(self, folder: Path) -> None:
        """Read what lies where.

        :raises ModelError: a file is missing or damaged.
        """
        self._folder = folder
        self._tensors = _find_tensors(folder)
        self._placed: set[str] = set()
        #: how many numbers lie in the files, and how many of them :meth:`read` gave out
        self.stored = sum(tensor.size for tensor in self._tensors.values())
        self.unique = 0

    def read(self, name: str, *shape: int) -> FloatArray:
        """The tensor ``name``, float64[shape].

        :raises ModelError: it is missing, damaged, or not of this shape.
        """
        tensor = self._place(name, shape)
        self.unique += tensor.size
        return tensor.read()

    def confirm_copy(self, name: str, original: FloatArray) -> None:
        """See that the tensor ``name``, if it is stored at all, equals ``original``.

        :raises ModelError: it does not.
        """
        if name in self._tensors and not np.array_equal(self._place(name, original.shape).read(), original):
            raise ModelError(
                f"{self._tensors[name].path}: {name} is not the embedding, though config.json ties them"
            )

    def refuse_leftovers(self, ignored: str) -> None:
        """See that the model had a place for each tensor, but for names that end in ``ignored``.

        :raises ModelError: one is left: the model is more than its config.json says.
        """
        for name in sorted(self._tensors.keys() - self._placed):
            if not name.endswith(ignored):
                raise ModelError(f"{self._tensors[name].path}: config.json gives no place to tensor {name}")

    def _place(self, name: str, shape: tuple[int, ...]) -> StoredTensor:
        if name not in self._tensors:
            raise ModelError(f"{self._folder} has no tensor {name}, which its config.json asks for")
        tensor = self._tensors[name]
        if tensor.shape != shape:
            raise ModelError(
                f"{tensor.path}: {name} has the shape {list(tensor.shape)}, "
                f"but config.json asks for {list(shape)}"
            )
        self._placed.add(name)
        return tensor


def _find_tensors(folder: Path) -> dict[str, StoredTensor]:
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.exists():
        return _read_header(whole)
    if index.exists():
        return _read_shards(folder, Fields(str(index), read_object(index)))
    raise ModelError(f"{folder} holds neither {whole.name} nor {index.name}")


def _read_shards(folder: Path, index: Fields) -> dict[str, StoredTensor]:
    places = index.inner("weight_map").texts()
    shards = {shard: _read_header(folder / shard) for shard in sorted(set(places.values()))}
    for name, shard in places.items():
        if name not in shards[shard]:
            raise ModelError(f"{folder / shard} has no tensor {name}, which {index.place} says it has")
    return {name: shards[shard][name] for name, shard in places.items()}


def _read_header(path: Path) -> dict[str, StoredTensor]:
    raw, size = _header_bytes(path)
    try:
        header = dict(json.loads(raw))
    except (ValueError, TypeError) as error:
        raise ModelError(f"{path} is damaged: its header is not that of a safetensors file") from error
    header.pop("__metadata__", None)
    return {name: _locate(path, name, entry, 8 + len(raw), size) for name, entry in header.items()}


def _header_bytes(path: Path) -> tuple[bytes, int]:
    """The header of a safetensors file, and the size of the whole file in bytes."""
    try:
        with path.open("rb") as file:
            length, size = int.from_bytes(file.read(8), "little"), path.stat().st_size
            if 8 + length > size:
                raise ModelError(f"{path} is truncated: its header ends at {8 + length}, the file at {size}")
            return file.read(length), size
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error


def _locate(path: Path, name: str, entry: Any, begin: int, size: int) -> StoredTensor:
    try:
        start, end = (int(offset) for offset in entry["data_offsets"])
        shape = tuple(int(length) for length in entry["shape"])
        tensor = StoredTensor(name, path, str(entry["dtype"]), shape, begin + start, begin + end)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} is damaged: its header does not describe {name}") from error
    if start < 0:
        raise ModelError(f"{path} is damaged: its header lets {name} begin at byte {start}")
    if tensor.end > size:
        raise ModelError(f"{path} is truncated: {name} ends at byte {tensor.end}, the file at {size}")
    return tensor
