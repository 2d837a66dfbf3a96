"""What a folder's safetensors files hold, from their headers alone: names, types and shapes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from safetensors import SafetensorError, safe_open

from slmeval.errors import ModelError

#: the files that mlx-lm reads, whatever an index says
PATTERN = "model*.safetensors"
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Stored:
    """One tensor in a file."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)


#: tensors by their names
Tensors = Mapping[str, Stored]


def read_tensors(folder: Path) -> Tensors:
    """All tensors in the files of ``folder`` that mlx-lm reads.

    :raises ModelError: there are none, a file is damaged, or there are files that the index does not name.
    """
    files = sorted(folder.glob(PATTERN))
    if not files:
        raise ModelError(f"{folder} has no {PATTERN}: mlx-lm reads no other weights")
    _check_index(folder, files)
    return {name: stored for file in files for name, stored in _header(file).items()}


def _check_index(folder: Path, files: list[Path]) -> None:
    # mlx-lm reads every file that fits its pattern, and where two hold one tensor either may win
    index = folder / INDEX
    if not index.is_file():
        return
    try:
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} is damaged: {error}") from None
    for file in files:
        if file.name not in named:
            raise ModelError(
                f"{file} is not named in {INDEX}, and mlx-lm would read it all the same: move it away"
            )


def _header(path: Path) -> dict[str, Stored]:
    try:
        with safe_open(path, framework="numpy") as tensors:
            # not a dictionary
            return {name: _stored(tensors.get_slice(name)) for name in tensors.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is damaged: {error}") from None


def _stored(tensor: object) -> Stored:
    return Stored(str(tensor.get_dtype()), tuple(tensor.get_shape()))  # type: ignore[attr-defined]
