"""What a GGUF file says of itself: metadata and tensors, read from its header alone.

The layout is that of ``ggml/include/gguf.h`` in llama.cpp. The ``gguf`` library reads it too, but makes an
array of each word of a vocabulary (seconds for a large one), trusts every length, and would be a dependency
of the core.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path, PurePath
from typing import Any, TypeVar

from slmeval.errors import ModelError

#: numbers by their type in GGUF: what struct calls them
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9
#: arrays of arrays deeper than this do not exist
_DEEPEST = 4
#: no header has more: in bytes, in items of all its arrays together, in tensors
_LONGEST, _MOST_ITEMS, _MOST_TENSORS = 1 << 27, 1 << 24, 1 << 20
#: types of tensors: name, weights in a block, bytes of a block (``ggml/src/ggml-common.h``)
TENSOR_TYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
    42: ("Q2_0", 64, 18),
}
#: ``general.file_type`` as llama.cpp names it (``include/llama.h``)
FILE_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
    39: "NVFP4",
    40: "Q1_0",
    41: "Q2_0",
}
PathT = TypeVar("PathT", bound=PurePath)

#: what else belongs to a model, where its tokenizer lies beside its GGUF file
NEIGHBOURS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "config.json",
)
_SHARD = re.compile(r"-\d{5}-of-(\d{5})\.gguf$")


@dataclass(frozen=True)
class Tensor:
    """One tensor: its shape as GGUF writes it (the fastest dimension first), and where its data lies.

    ``offset`` counts bytes from the beginning of the file ``path``.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    path: Path
    offset: int
    bytes: int

    @property
    def weights(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)


@dataclass(frozen=True)
class GGUFHeader:
    """Metadata and tensors of one file, or of all its shards."""

    metadata: Mapping[str, Any]
    tensors: tuple[Tensor, ...]

    @property
    def architecture(self) -> str:
        """What llama.cpp calls the model's family; empty where the file does not say."""
        return str(self.metadata.get("general.architecture", ""))

    def of_architecture(self, key: str) -> Any:
        """The metadata under ``ARCHITECTURE.key``, or ``None``."""
        return self.metadata.get(f"{self.architecture}.{key}")

    @property
    def quantization(self) -> str:
        """The file's type as llama.cpp names it, else the type of most of its weights."""
        named = FILE_TYPES.get(self.metadata.get("general.file_type", -1))
        return named or max(self._weights_by_kind, key=self._weights_by_kind.__getitem__, default="unknown")

    @cached_property
    def _weights_by_kind(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for tensor in self.tensors:
            found[tensor.kind] = found.get(tensor.kind, 0) + tensor.weights
        return found

    @property
    def weights(self) -> int:
        """How many numbers all tensors hold; an output matrix that is the embedding is not stored twice."""
        return sum(tensor.weights for tensor in self.tensors)

    @property
    def bits_per_weight(self) -> float:
        """Over all tensors, scales and norms included."""
        return 8 * sum(tensor.bytes for tensor in self.tensors) / max(1, self.weights)


def shard_names(path: PathT) -> tuple[PathT, ...]:
    """All files of a model whose first is ``path``: llama.cpp's ``NAME-00001-of-0000N.gguf``.

    :raises ModelError: ``path`` is not the first.
    """
    found = _SHARD.search(path.name)
    if not found:
        return (path,)
    count, stem = int(found[1]), path.name[: found.start()]
    names = [f"{stem}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]
    if path.name not in names[:1]:
        raise ModelError(f"{path} is a piece of a model: name the first one, {stem}-00001-of-{found[1]}.gguf")
    return tuple(path.with_name(name) for name in names)


def shards_of(path: Path) -> tuple[Path, ...]:
    """All files of the model whose first is ``path``, seen to be there.

    :raises ModelError: one is missing, or ``path`` is not the first.
    """
    for shard in shard_names(path):
        if not shard.is_file():
            raise ModelError(f"{path.parent} lacks {shard.name}, a piece of {path.name}")
    return shard_names(path)


def neighbours_of(path: Path) -> tuple[Path, ...]:
    """The files beside a GGUF file that belong to its model, if a ``tokenizer.json`` is among them."""
    if not path.with_name(NEIGHBOURS[0]).is_file():
        return ()
    return tuple(file for name in NEIGHBOURS if (file := path.with_name(name)).is_file())


def read_gguf(path: Path) -> GGUFHeader:
    """The header of a model's file, its other shards included; sizes are held against the file's.

    :raises ModelError: it is not GGUF, damaged, or cut short, in one sentence.
    """
    headers = [_read_one(shard) for shard in shards_of(path)]
    tensors = tuple(tensor for header in headers for tensor in header.tensors)
    if not tensors:
        raise ModelError(f"{path} holds no weights: it is a vocabulary or a piece of something else")
    return GGUFHeader(headers[0].metadata, tensors)


def read_beginning(content: bytes, path: Path, size: int) -> GGUFHeader | None:
    """The header of a file of ``size`` bytes that begins with ``content``; ``None``: it goes on beyond that.

    ``path`` is named in errors and in the tensors; nothing is read from there.

    :raises ModelError: it is not GGUF, damaged, or cut short, in one sentence.
    """
    try:
        return _Reader(path, content, size).header()
    except (struct.error, _EndError):
        if len(content) >= size:
            raise ModelError(f"{path} is damaged or cut short: its header ends in the middle") from None
        return None
    except UnicodeDecodeError:
        raise ModelError(f"{path} is damaged: a name in its header is no text") from None


def _read_one(path: Path) -> GGUFHeader:
    try:
        with path.open("rb") as file:
            if not file.seek(0, 2):
                raise ModelError(f"{path} is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _Reader(path, content, len(content)).header()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from None
    except (struct.error, UnicodeDecodeError, _EndError):
        raise ModelError(f"{path} is damaged or cut short: its header ends in the middle") from None


class _EndError(Exception):
    """The file ends before what it promises."""


class _Reader:
    """Reads values one after the other; every length is held against what is left of ``content``.

    ``size`` is the whole file's, in bytes.
    """

    def __init__(self, path: Path, content: mmap.mmap | bytes, size: int) -> None:
        self._path = path
        self._content = content
        self._size = size
        self._at = 0
        self._items = 0

    def header(self) -> GGUFHeader:
        if self._content[:4] != b"GGUF":
            raise ModelError(f"{self._path} is not a GGUF file: it begins with {bytes(self._content[:4])!r}")
        self._at = 4
        version = self._number("I")
        if version not in (2, 3):
            big = int.from_bytes(int(version).to_bytes(4, "little"), "big")
            told = (
                "of big-endian numbers" if big in (2, 3) else f"of version {version}; 2 and 3 are read here"
            )
            raise ModelError(f"{self._path} is a GGUF file {told}")
        tensors, entries = self._number("Q"), self._number("Q")
        if tensors > _MOST_TENSORS:
            raise ModelError(f"{self._path} is damaged: it has {tensors} tensors")
        # an entry has no fewer bytes than its lengths and types
        self._check_left(12 * entries + 24 * tensors)
        metadata = {self._text(): self._value(self._number("I")) for _ in range(entries)}
        places = [self._tensor() for _ in range(tensors)]
        return GGUFHeader(metadata, tuple(self._checked(places, metadata.get("general.alignment", 32))))

    def _number(self, kind: str) -> Any:
        (value,) = struct.unpack_from(f"<{kind}", self._content, self._at)
        self._at += struct.calcsize(f"<{kind}")
        return value

    def _check_left(self, size: int) -> None:
        if size > len(self._content) - self._at:
            raise _EndError
        if self._at + size > _LONGEST:
            raise ModelError(f"{self._path} is damaged: its header has more than {_LONGEST} bytes")

    def _bytes(self) -> bytes:
        size = self._number("Q")
        self._check_left(size)
        self._at += size
        return self._content[self._at - size : self._at]

    def _text(self) -> str:
        return self._bytes().decode()

    def _value(self, kind: int, depth: int = 0) -> Any:
        if kind in _NUMBERS:
            return self._number(_NUMBERS[kind])
        if kind == _TEXT:
            # single tokens need not be whole characters
            return self._bytes().decode(errors="replace")
        if kind == _ARRAY and depth < _DEEPEST:
            return self._array(depth)
        raise ModelError(f"{self._path} is damaged: a value of type {kind} at byte {self._at}")

    def _array(self, depth: int) -> tuple[Any, ...]:
        kind, length = self._number("I"), self._number("Q")
        self._items += length
        if self._items > _MOST_ITEMS:
            raise ModelError(f"{self._path} is damaged: its arrays hold more than {_MOST_ITEMS} items")
        if kind in _NUMBERS:
            form = f"<{length}{_NUMBERS[kind]}"
            self._check_left(struct.calcsize(form))
            self._at += struct.calcsize(form)
            return struct.unpack_from(form, self._content, self._at - struct.calcsize(form))
        # no text and no array takes fewer bytes than its length
        self._check_left(8 * length)
        return tuple(self._value(kind, depth + 1) for _ in range(length))

    def _tensor(self) -> Tensor:
        name, dimensions = self._text(), self._number("I")
        if dimensions > 4:
            raise ModelError(f"{self._path} is damaged: tensor {name!r} has {dimensions} dimensions")
        shape = tuple(self._number("Q") for _ in range(dimensions))
        kind, offset = self._number("I"), self._number("Q")
        if kind not in TENSOR_TYPES:
            raise ModelError(f"{self._path}: tensor {name!r} is of type {kind}, which is not known here")
        called, block, size = TENSOR_TYPES[kind]
        return Tensor(name, shape, called, self._path, offset, prod(shape) // block * size)

    def _checked(self, tensors: list[Tensor], alignment: Any) -> list[Tensor]:
        """The tensors where they lie, all of whose data lies within the file."""
        if not isinstance(alignment, int) or alignment < 1:
            raise ModelError(f"{self._path} is damaged: an alignment of {alignment!r}")
        start = -(-self._at // alignment) * alignment
        placed = [replace(tensor, offset=start + tensor.offset) for tensor in tensors]
        end = max((tensor.offset + tensor.bytes for tensor in placed), default=0)
        if end > self._size:
            raise ModelError(f"{self._path} is cut short: {self._size} bytes of {end}; fetch it again")
        return placed
