"""Whether two model folders hold the same numbers, tensor by tensor, read block by block."""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmeval.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
#: numbers that are compared at once
_BLOCK = 1 << 20
#: floating types: how numpy reads them (bfloat16 as its bits), and the relative error of rounding to them
_FLOATS = {
    "F64": ("<f8", 2.0**-53),
    "F32": ("<f4", 2.0**-24),
    "F16": ("<f2", 2.0**-11),
    "BF16": ("<u2", 2.0**-8),
}
#: half of the least number that float16 holds: what it rounds away beside the relative error
_LEAST = 2.0**-25
#: bytes of a tensor whose rows are compared in any order
_ROWS_UP_TO = 1 << 28


@dataclass(frozen=True)
class Stored:
    """Where one tensor lies: from byte ``begin`` to ``end`` of a file."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Comparison:
    """``differing`` of ``tensors`` hold other numbers; ``first`` says which and how, in words.

    ``reshaped``: some are missing, or of another shape. ``rounded`` names the stored types of tensors that
    are equal but for rounding to the coarser of them.
    """

    tensors: int
    differing: int
    first: str
    reshaped: bool
    rounded: tuple[str, str] | None


def same_bytes(first: Path, other: Path, file_hash: Callable[[Path], str]) -> bool:
    """Whether both folders have the same weight files, by their hashes.

    :raises OSError: one cannot be read.
    """
    hashes = [Counter(file_hash(file) for file in _files(folder)) for folder in (first, other)]
    return bool(hashes[0]) and hashes[0] == hashes[1]


def compare(first: Path, other: Path) -> Comparison | None:
    """The tensors of two folders by their names; ``None`` where one of them has no safetensors.

    Values are compared widened: a difference in the stored type alone is none in values, where these agree
    within the rounding to the coarser type.

    :raises ModelError: a file is damaged.
    :raises OSError: a file cannot be read.
    """
    ours, theirs = _tensors(first), _tensors(other)
    if not ours or not theirs:
        return None
    names = _names(first, other, ours, theirs)
    verdicts = {name: _verdict(ours.get(name), theirs.get(name)) for name in names}
    differing = [f"{name}: {told}" for name, told in verdicts.items() if told]
    rounded = [
        (ours[name].dtype, theirs[name].dtype)
        for name, told in verdicts.items()
        if not told and ours[name].dtype != theirs[name].dtype
    ]
    shapes = [[tensors[name].shape for name in names if name in tensors] for tensors in (ours, theirs)]
    return Comparison(
        len(names),
        len(differing),
        differing[0] if differing else "",
        shapes[0] != shapes[1],
        rounded[0] if rounded else None,
    )


def _names(first: Path, other: Path, ours: dict[str, Stored], theirs: dict[str, Stored]) -> list[str]:
    """All names, but for an output matrix that is stored on one side only and is the embedding."""
    tied = {
        "lm_head.weight"
        for folder in (first, other)
        if _object(folder / "config.json").get("tie_word_embeddings")
    }
    return [name for name in {**ours, **theirs} if (name in ours and name in theirs) or name not in tied]


def _files(folder: Path) -> list[Path]:
    index = folder / _INDEX
    if (folder / _SINGLE).is_file() or not index.is_file():
        return [file for file in [folder / _SINGLE] if file.is_file()] or sorted(folder.glob("*.safetensors"))
    shards = _object(index).get("weight_map", {})
    return sorted({folder / str(shard) for shard in shards.values()})


def _object(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    except (ValueError, TypeError):
        raise ModelError(f"{path} is damaged: it holds no JSON object") from None


def _tensors(folder: Path) -> dict[str, Stored]:
    return {name: stored for file in _files(folder) for name, stored in _header(file)}


def _header(path: Path) -> Iterator[tuple[str, Stored]]:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            entries = json.loads(file.read(length))
        for name, entry in entries.items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                yield (
                    name,
                    Stored(path, entry["dtype"], tuple(entry["shape"]), 8 + length + begin, 8 + length + end),
                )
    except (struct.error, ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(f"{path} is damaged: its header is not that of a safetensors file") from None


# ---- one tensor --------------------------------------------------------------------------------------


def _verdict(ours: Stored | None, theirs: Stored | None) -> str:
    """How the two differ, in words; "" where they do not."""
    if ours is None or theirs is None:
        return f"missing in the {'first' if ours is None else 'other'}"
    if ours.shape != theirs.shape:
        return f"shape {list(ours.shape)} against {list(theirs.shape)}"
    if ours.dtype == theirs.dtype and _equal_bytes(ours, theirs):
        return ""
    if ours.dtype not in _FLOATS or theirs.dtype not in _FLOATS:
        return f"other bytes ({ours.dtype} against {theirs.dtype})"
    return _values(ours, theirs)


def _equal_bytes(ours: Stored, theirs: Stored) -> bool:
    import numpy as np

    return all(
        np.array_equal(one, two)
        for one, two in zip(_blocks(ours, "u1", 1), _blocks(theirs, "u1", 1), strict=True)
    )


def _values(ours: Stored, theirs: Stored) -> str:
    import numpy as np

    rounding = max(_FLOATS[ours.dtype][1], _FLOATS[theirs.dtype][1]) if ours.dtype != theirs.dtype else 0.0
    count, largest = 0, 0.0
    for one, two in zip(_widened(ours), _widened(theirs), strict=True):
        with np.errstate(invalid="ignore"):  # infinity less infinity
            apart = np.abs(one - two)
        allowed = rounding * np.maximum(np.abs(one), np.abs(two)) + (_LEAST if rounding else 0.0)
        # what is no number is the same as itself
        wrong = ~(apart <= allowed) & ~(np.isnan(one) & np.isnan(two))
        count += int(wrong.sum())
        largest = max(largest, float(np.max(apart[wrong], initial=0.0)))
    if not count:
        return ""
    told = f"{count:,} of {prod(ours.shape):,} numbers differ, by up to {largest:.2g}"
    return f"{told}; its rows are the other's in another order" if _same_rows(ours, theirs) else told


def _same_rows(ours: Stored, theirs: Stored) -> bool:
    if len(ours.shape) < 2 or ours.dtype != theirs.dtype or ours.end - ours.begin > _ROWS_UP_TO:
        return False
    size = (ours.end - ours.begin) // ours.shape[0]
    rows = [
        Counter(hash(block.tobytes()) for block in _blocks(each, "u1", 1, size)) for each in (ours, theirs)
    ]
    return rows[0] == rows[1]


def _blocks(stored: Stored, kind: str, size: int, block: int = _BLOCK) -> Iterator[NDArray[Any]]:
    import numpy as np

    with stored.path.open("rb") as file:
        file.seek(stored.begin)
        left = (stored.end - stored.begin) // size
        while left > 0:
            numbers = np.frombuffer(file.read(min(block, left) * size), np.dtype(kind))
            if not len(numbers):
                raise ModelError(f"{stored.path} is cut short: fetch it again")
            left -= len(numbers)
            yield numbers


def _widened(stored: Stored) -> Iterator[NDArray[np.float64]]:
    import numpy as np

    kind = np.dtype(_FLOATS[stored.dtype][0])
    for numbers in _blocks(stored, kind.str, kind.itemsize):
        if stored.dtype == "BF16":
            # a bfloat16 is the upper half of a float32
            yield (numbers.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        else:
            yield numbers.astype(np.float64)
