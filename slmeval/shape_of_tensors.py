"""The weights that lie in safetensors files in place of those that the configuration plans."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from slmeval.shape import Shape, Weight, bytes_of

#: masks, tables and counters that some files hold beside the weights
_NOT_LEARNED = re.compile(
    r"(\.attn\.(bias|masked_bias)|\.attention\.(bias|masked_bias)|inv_freq|position_ids|(cos|sin)_cached"
    r"|e_score_correction_bias)$"
)
#: what stands beside the numbers of a matrix that MLX packed
_OF_PACKED = ("scales", "biases")


def with_tensors(shape: Shape, stored: Sequence[Weight], config: Mapping[str, Any]) -> Shape:
    """``shape`` with the weights that lie in the files; where the two disagree, a note says so."""
    packed = _packed_otherwise(config)
    if packed is not None:
        return _of_plan(shape, stored, packed)
    weights = tuple(_own(shape, _unpacked(stored, config)))
    return replace(
        shape, stored=tuple(stored), weights=weights, notes=(*shape.notes, *_notes(shape, weights))
    )


def _packed_otherwise(config: Mapping[str, Any]) -> str | None:
    """How the weights are packed, where the files do not tell how many there are."""
    told = config.get("quantization_config")
    # MLX writes the same table under both names
    if not isinstance(told, dict) or isinstance(config.get("quantization"), dict):
        return None
    return str(told.get("quant_method") or "an unknown way")


def _of_plan(shape: Shape, stored: Sequence[Weight], packed: str) -> Shape:
    note = f"the weights are packed ({packed}): how many there are is computed from the configuration"
    if not shape.weights:
        return replace(shape, stored=tuple(stored), notes=(*shape.notes, note))
    bits = 8 * bytes_of(stored) / shape.parameters
    weights = tuple(replace(weight, bits=bits, dtype=packed) for weight in shape.weights)
    notes = (*shape.notes, *_notes(shape, weights))
    return replace(shape, stored=tuple(stored), weights=weights, counted=True, notes=notes)


def _packed_otherwise(config: Mapping[str, Any]) -> str | None:
    """How the weights are packed, where the files do not tell how many there are."""
    told = config.get("quantization_config")
    # MLX writes the same table under both names
    if not isinstance(told, dict) or isinstance(config.get("quantization"), dict):
        return None
    return str(told.get("quant_method") or "an unknown way")


def _of_plan(shape: Shape, stored: Sequence[Weight], packed: str) -> Shape:
    note = f"the weights are packed ({packed}): how many there are is computed from the configuration"
    if not shape.weights:
        return replace(shape, stored=tuple(stored), notes=(*shape.notes, note))
    bits = 8 * bytes_of(stored) / shape.parameters
    weights = tuple(replace(weight, bits=bits, dtype=packed) for weight in shape.weights)
    return replace(shape, stored=tuple(stored), weights=weights, notes=(*shape.notes, note))


def _unpacked(stored: Sequence[Weight], config: Mapping[str, Any]) -> Iterator[Weight]:
    """Each matrix that MLX packed as what it means: as many columns as it has groups of numbers."""
    told = config.get("quantization")
    group = told.get("group_size") if isinstance(told, dict) else None
    scales = {weight.name: weight for weight in stored if weight.name.endswith(".scales")}
    for weight in stored:
        owner, _, part = weight.name.rpartition(".")
        of_packed = scales.get(f"{owner}.scales")
        if of_packed is None or type(group) is not int:
            yield weight
        elif part == "weight":
            beside = [each for each in stored if each.name in {f"{owner}.{name}" for name in _OF_PACKED}]
            yield _meant(weight, of_packed, group, beside)
        elif part not in _OF_PACKED:
            yield weight


def _meant(weight: Weight, scales: Weight, group: int, beside: Sequence[Weight]) -> Weight:
    shape = (*weight.shape[:-1], scales.shape[-1] * group)
    meant = replace(weight, shape=shape)
    return replace(meant, bits=8 * bytes_of((weight, *beside)) / max(1, meant.size))


def _own(shape: Shape, stored: Iterator[Weight]) -> Iterator[Weight]:
    for weight in stored:
        again = shape.tied and weight.role == "head" and weight.name.endswith(".weight")
        if not again and not _NOT_LEARNED.search(weight.name):
            yield weight


def _notes(shape: Shape, weights: Sequence[Weight]) -> Iterator[str]:
    found = sum(weight.size for weight in weights)
    if shape.weights and found != shape.parameters:
        yield (
            f"the files hold {found:,} parameters, and a model of this configuration has {shape.parameters:,}"
        )
