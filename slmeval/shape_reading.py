"""From a model's folder or GGUF file to its shape, by configuration and headers: no weights are loaded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from slmeval.errors import ModelError
from slmeval.gguf_file import read_gguf
from slmeval.safetensors_header import read_headers
from slmeval.shape import Shape
from slmeval.shape_of_config import shape_of_config
from slmeval.shape_of_gguf import shape_of_gguf
from slmeval.shape_of_tensors import with_tensors


def shape_of(place: Path) -> Shape:
    """The shape of the model in a folder (``config.json``, and safetensors where they are) or GGUF file.

    :raises ModelError: there is no such model, or what tells of it is damaged, in one sentence.
    """
    try:
        return _shape_of(place)
    except OSError as error:
        raise ModelError(f"{error.filename or place} cannot be read: {error.strerror or error}") from None


def _shape_of(place: Path) -> Shape:
    if place.is_dir():
        config = read_config(place / "config.json")
        shape = shape_of_config(config, str(place / "config.json"))
        headers = read_headers(place)
        return with_tensors(shape, headers, config) if headers else without_tensors(shape)
    if not place.is_file():
        raise ModelError(f"there is no model {place}")
    return shape_of_gguf(read_gguf(place), place)


def without_tensors(shape: Shape) -> Shape:
    """``shape``, with a note that no file was read."""
    return replace(shape, notes=(*shape.notes, "it has no safetensors: what is stored is not known"))


def read_config(path: Path) -> dict[str, Any]:
    """A configuration.

    :raises ModelError: it is missing or damaged.
    :raises OSError: it cannot be read.
    """
    if not path.is_file():
        raise ModelError(f"{path.parent} has no {path.name}: it is not a model folder")
    return parse_config(path.read_bytes(), str(path))


def parse_config(content: bytes, place: str) -> dict[str, Any]:
    """The content of a configuration; ``place`` is named in errors.

    :raises ModelError: it is not one object of JSON.
    """
    try:
        values = json.loads(content)
    except RecursionError:
        raise ModelError(f"{place} is damaged: it is nested too deeply") from None
    except ValueError as error:
        raise ModelError(f"{place} is damaged: {error}") from None
    if not isinstance(values, dict):
        raise ModelError(f"{place} is damaged: it holds no object")
    return values
