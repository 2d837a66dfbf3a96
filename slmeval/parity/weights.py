"""Whether two models hold the same numbers, tensor by tensor, read block by block."""

from __future__ import annotations

import json
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from slmeval.errors import ModelError
from slmeval.gguf_file import read_gguf

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
#: what a checkpoint of the bare model leaves out before its names
_PREFIX = re.compile(r"^(?:model|transformer)\.")
#: what older libraries stored beside the weights, and every engine computes by itself
_BUFFERS = re.compile(r"(?:^|\.)(?:inv_freq|masked_bias|attn\.bias)$")
#: an output matrix, which is the embedding where it is not stored; without prefixes
_HEADS = ("lm_head.weight", "output.weight")
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "token_embd.weight")


@dataclass(frozen=True)
class Stored:
    """Where one tensor lies: from byte ``begin`` to ``end`` of a file."""

    name: str
    path: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Comparison:
    """``differing`` of ``tensors`` hold other numbers; ``first`` says which and how, in words.

    ``reshaped``: some are missing, or of another shape. ``rounded`` names the stored types of tensors that
    are equal but for rounding to the coarser of them. ``unknown`` are of types whose numbers are not read
    here, and not the same type on both sides.
    """

    tensors: int
    differing: int
    first: str
    reshaped: bool
    rounded: tuple[str, str] | None
    unknown: int


@dataclass(frozen=True)
class _Verdict:
    kind: Literal["same", "rounded", "differs", "unknown"]
    told: str = ""


_SAME = _Verdict("same")


def same_bytes(first: Path, other: Path, file_hash: Callable[[Path], str]) -> bool:
    """Whether both folders have the same weight files, by their hashes.

    :raises OSError: one cannot be read.
    """
    hashes = [Counter(file_hash(file) for file in _files(folder)) for folder in (first, other)]
    return bool(hashes[0]) and hashes[0] == hashes[1]


def compare(first: Path, other: Path) -> Comparison | None:
    """The tensors of two folders, or of two GGUF files, by their names; ``None`` where a folder has none.

    Values are compared widened: a difference in the stored type alone is none in values, where these agree
    within the rounding to the coarser type.

    :raises ModelError: a file is damaged.
    :raises OSError: a file cannot be read.
    """
    ours, theirs = _tensors(first), _tensors(other)
    if not ours or not theirs:
        return None
    for one, two in ((ours, theirs), (theirs, ours)):
        one.update(_tied(one, two))
    pairs = [(ours.get(name), theirs.get(name)) for name in {**ours, **theirs}]
    verdicts = [(_name(one, two), _verdict(one, two)) for one, two in pairs]
    differing = [f"{name}: {verdict.told}" for name, verdict in verdicts if verdict.kind == "differs"]
    return Comparison(
        len(pairs),
        len(differing),
        differing[0] if differing else "",
        any(one is None or two is None or one.shape != two.shape for one, two in pairs),
        _rounded(pairs, [verdict for _, verdict in verdicts]),
        sum(verdict.kind == "unknown" for _, verdict in verdicts),
    )


def _tied(tensors: dict[str, Stored], other: dict[str, Stored]) -> dict[str, Stored]:
    """The output matrix that the other alone has stored: here it is the embedding."""
    embedding = next((tensors[name] for name in _EMBEDDINGS if name in tensors), None)
    lacking = [head for head in _HEADS if head in other and head not in tensors]
    return {head: embedding for head in lacking if embedding is not None}


def _name(one: Stored | None, two: Stored | None) -> str:
    """As it is stored; of an output matrix that is held against an embedding, the matrix's."""
    names = [each.name for each in (one, two) if each is not None]
    return next((name for name in names if name in _HEADS), names[0])


def _rounded(
    pairs: list[tuple[Stored | None, Stored | None]], verdicts: list[_Verdict]
) -> tuple[str, str] | None:
    for (one, two), verdict in zip(pairs, verdicts, strict=True):
        if verdict.kind == "rounded" and one is not None and two is not None:
            return one.dtype, two.dtype
    return None


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


def _tensors(place: Path) -> dict[str, Stored]:
    """By names without prefixes."""
    stored = (
        _of_gguf(place) if place.is_file() else (each for file in _files(place) for each in _header(file))
    )
    return {_PREFIX.sub("", each.name): each for each in stored if not _BUFFERS.search(each.name)}


def _of_gguf(path: Path) -> Iterator[Stored]:
    for tensor in read_gguf(path).tensors:
        end = tensor.offset + tensor.bytes
        yield Stored(tensor.name, tensor.path, tensor.kind, tensor.shape[::-1], tensor.offset, end)


def _header(path: Path) -> Iterator[Stored]:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            entries = json.loads(file.read(length))
        for name, entry in entries.items():
            if name != "__metadata__":
                begin, end = (8 + length + place for place in entry["data_offsets"])
                yield Stored(name, path, entry["dtype"], tuple(entry["shape"]), begin, end)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(f"{path} is damaged: its header is not that of a safetensors file") from None


# ---- one tensor --------------------------------------------------------------------------------------


def _verdict(ours: Stored | None, theirs: Stored | None) -> _Verdict:
    if ours is None or theirs is None:
        return _Verdict("differs", f"missing in the {'first' if ours is None else 'other'}")
    if ours.shape != theirs.shape:
        return _Verdict("differs", f"shape {list(ours.shape)} against {list(theirs.shape)}")
    if ours.dtype == theirs.dtype and _equal_bytes(ours, theirs):
        return _SAME
    if ours.dtype in _FLOATS and theirs.dtype in _FLOATS:
        return _values(ours, theirs)
    if ours.dtype != theirs.dtype:
        return _Verdict("unknown")
    return _Verdict("differs", f"other bytes ({ours.dtype}){_order(ours, theirs)}")


def _equal_bytes(ours: Stored, theirs: Stored) -> bool:
    import numpy as np

    return all(
        np.array_equal(one, two)
        for one, two in zip(_blocks(ours, "u1", 1), _blocks(theirs, "u1", 1), strict=True)
    )


def _values(ours: Stored, theirs: Stored) -> _Verdict:
    import numpy as np

    rounding = max(_FLOATS[ours.dtype][1], _FLOATS[theirs.dtype][1]) if ours.dtype != theirs.dtype else 0.0
    count, largest, rounded, odd = 0, 0.0, False, 0
    for one, two in zip(_widened(ours), _widened(theirs), strict=True):
        same = (one == two) | (np.isnan(one) & np.isnan(two))
        with np.errstate(invalid="ignore"):  # infinity less infinity
            apart = np.abs(one - two)
            allowed = rounding * np.maximum(np.abs(one), np.abs(two)) + (_LEAST if rounding else 0.0)
        near = np.isfinite(apart) & (apart <= allowed)
        wrong = ~same & ~near
        count += int(wrong.sum())
        odd += int((wrong & ~np.isfinite(apart)).sum())
        largest = max(largest, float(np.max(apart[wrong & np.isfinite(apart)], initial=0.0)))
        rounded = rounded or bool((near & ~same).any())
    if not count:
        return _Verdict("rounded") if rounded else _SAME
    told = f"{count:,} of {prod(ours.shape):,} numbers differ"
    told += f", by up to {largest:.2g}" if count > odd else ""
    told += f", {odd:,} are infinite or no number on one side" if odd else ""
    return _Verdict("differs", told + _order(ours, theirs))


def _order(ours: Stored, theirs: Stored) -> str:
    return "; its rows are the other's in another order" if _same_rows(ours, theirs) else ""


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
