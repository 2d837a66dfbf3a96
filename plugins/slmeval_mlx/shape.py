"""What a model is: how many weights, in how many bits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from mlx.utils import tree_flatten

from slmeval_mlx.loading import Checkpoint

#: what belongs to a quantized matrix and is no weight
_SCALES = ("scales", "biases", "global_scale")


def parameters_of(model: Any) -> int:
    """Weights, those of a quantized matrix and not its words; tied ones are there once."""
    return sum(_weights(module) for _, module in model.named_modules())


def _weights(module: Any) -> int:
    # tables with an underscore are computed, not learned
    own = {name: held for name, held in module.items() if hasattr(held, "nbytes") and name[0] != "_"}
    if not _is_quantized(module):
        return sum(int(value.size) for value in own.values())
    rest = sum(int(value.size) for name, value in own.items() if name not in ("weight", *_SCALES))
    return rest + int(own["weight"].size) * 32 // int(module.bits)


def _is_quantized(module: Any) -> bool:
    return hasattr(module, "bits") and "scales" in module


def stored_parameters(checkpoint: Checkpoint) -> int:
    """Weights in the files, those that lie there twice counted twice."""
    packed = {f"{name}.weight": module.bits for name, module in _quantized(checkpoint.model)}
    total = 0
    for name, stored in checkpoint.tensors.items():
        owner, _, part = name.rpartition(".")
        if part in _SCALES and f"{owner}.scales" in checkpoint.tensors:
            continue
        bits = packed.get(name) if f"{owner}.scales" in checkpoint.tensors else None
        total += stored.size * 32 // bits if bits else stored.size
    return total


def _quantized(model: Any) -> Iterator[tuple[str, Any]]:
    return ((name, module) for name, module in model.named_modules() if _is_quantized(module))


def is_quantized(model: Any) -> bool:
    """Whether any of its matrices is."""
    return any(True for _ in _quantized(model))


def dtype_of(model: Any) -> str:
    """As the report names it: "float16", or "4-bit (group 64), float16" where matrices are quantized."""
    forms = Counter(_form(module) for _, module in _quantized(model))
    floats: Counter[str] = Counter()
    for _, value in tree_flatten(model.parameters()):
        if "float" in str(value.dtype):
            floats[str(value.dtype).removeprefix("mlx.core.")] += value.size
    return ", ".join(name for counted in (forms, floats) for name, _ in counted.most_common())


def _form(module: Any) -> str:
    mode = getattr(module, "mode", "affine")
    kind = f"{module.bits}-bit" if mode == "affine" else mode
    return f"{kind} (group {module.group_size})"


def bits_per_weight(model: Any) -> float:
    """All bytes in memory over all weights: scales, and what is not quantized, count."""
    return 8 * held_by(model) / parameters_of(model)


def held_by(model: Any) -> int:
    """Bytes in memory: weights, and the scales of those that are quantized."""
    return sum(int(value.nbytes) for _, value in tree_flatten(model.parameters()))


def unquantized_matrices(model: Any) -> int:
    """Matrices that could be quantized and are not."""
    return sum(1 for _, module in model.named_modules() if hasattr(module, "to_quantized"))
