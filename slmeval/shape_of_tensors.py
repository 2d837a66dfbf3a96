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
#: where the text model of one that sees or hears lies, as most name it; its head may lie outside
_OF_TEXT = re.compile(r"(^|\.)(language_model|text_model)\.")
#: what such a model has besides, where its text model has no name
_BESIDE_TEXT = re.compile(
    r"(^|\.)(vision_tower|vision_model|visual|audio_tower|connector|(multi_modal|mm)_projector)\."
)
#: what stands beside the numbers of a matrix that MLX packed
_OF_PACKED = ("scales", "biases")
#: matrices that many ways of packing leave as they are
_WHOLE = ("embedding", "positions", "head")
#: no group is so large
_MOST = 1 << 31


def with_tensors(shape: Shape, stored: Sequence[Weight], config: Mapping[str, Any]) -> Shape:
    """``shape`` with the weights that lie in the files; where the two disagree, a note says so.

    :raises ModelError: a tensor is of a type that is not known.
    """
    if isinstance(config.get("text_config"), dict):
        stored = tuple(_of_text(stored))
    packed = _packed_otherwise(config)
    if packed is not None:
        return _of_plan(shape, stored, packed)
    meant = tuple(_unpacked(stored, config))
    weights = tuple(_own(shape, meant))
    notes = (*shape.notes, *_notes(shape, weights))
    return replace(shape, stored=meant, weights=weights, counted=True, notes=notes)


def _of_text(stored: Sequence[Weight]) -> Iterator[Weight]:
    """The tensors of the text model."""
    named = any(_OF_TEXT.search(weight.name) for weight in stored)
    for weight in stored:
        own = not named or weight.name.startswith("lm_head.") or _OF_TEXT.search(weight.name)
        if own and not _BESIDE_TEXT.search(weight.name):
            yield weight


def _packed_otherwise(config: Mapping[str, Any]) -> str | None:
    """How the weights are packed, where the files do not tell how many there are."""
    told = config.get("quantization_config")
    # MLX writes the same table under both names
    if not isinstance(told, dict) or isinstance(config.get("quantization"), dict):
        return None
    return str(told.get("quant_method") or "an unknown way")


def _of_plan(shape: Shape, stored: Sequence[Weight], packed: str) -> Shape:
    note = f"the weights are packed ({packed}): how many there are is computed from the configuration"
    notes = (*shape.notes, note)
    if not shape.weights:
        return replace(shape, stored=tuple(stored), notes=notes)
    weights = tuple(_with_bits(shape, stored, packed))
    return replace(shape, stored=tuple(stored), weights=weights, notes=notes)


def _with_bits(shape: Shape, stored: Sequence[Weight], packed: str) -> Iterator[Weight]:
    """The planned weights: what lies there whole in its own bits, the rest in what it has on average.

    :raises ModelError: a tensor is of a type that is not known.
    """
    planned = {_key(weight): weight for weight in shape.weights}
    whole = {_key(weight): weight for weight in stored if weight.role in _WHOLE}
    # a tied head that is stored is not planned
    apart = [weight for key, weight in whole.items() if key in planned or (shape.tied and key[0] == "head")]
    rest = sum(weight.size for weight in shape.weights if _key(weight) not in whole)
    average = 8 * (bytes_of(stored) - bytes_of(apart)) / max(1, rest)
    for weight in shape.weights:
        own = whole.get(_key(weight))
        bits, dtype = (average, packed) if own is None else (own.bits, own.dtype)
        yield replace(weight, bits=bits, dtype=dtype)


def _key(weight: Weight) -> tuple[str, bool, int]:
    """What a planned weight and a stored one have in common that are the same, whatever their names."""
    return weight.role, weight.name.endswith("bias"), weight.size


def _unpacked(stored: Sequence[Weight], config: Mapping[str, Any]) -> Iterator[Weight]:
    """Each matrix that MLX packed as what it means, with the bits of all that belongs to it."""
    by_name = {weight.name: weight for weight in stored}
    told = config.get("quantization")
    for weight in stored:
        owner, _, part = weight.name.rpartition(".")
        scales, group = by_name.get(f"{owner}.scales"), _group(told, owner)
        if scales is None or group is None:
            yield weight
        elif part == "weight":
            beside = [by_name[name] for part in _OF_PACKED if (name := f"{owner}.{part}") in by_name]
            yield _meant(weight, scales, group, beside)
        elif part not in _OF_PACKED:
            yield weight


def _group(told: Any, owner: str) -> int | None:
    """How many numbers of a matrix share a scale."""
    if not isinstance(told, dict):
        return None
    own = told.get(owner)
    size = own.get("group_size") if isinstance(own, dict) else told.get("group_size")
    return size if type(size) is int and 0 < size < _MOST else None


def _meant(weight: Weight, scales: Weight, group: int, beside: Sequence[Weight]) -> Weight:
    """As many columns as there are groups of numbers, whatever they are packed in."""
    meant = replace(weight, shape=(*weight.shape[:-1], *(size * group for size in scales.shape[-1:])))
    return replace(meant, bits=8 * bytes_of((weight, *beside)) / max(1, meant.size))


def _own(shape: Shape, stored: Sequence[Weight]) -> Iterator[Weight]:
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
