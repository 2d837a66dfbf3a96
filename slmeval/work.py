"""What a model has to compute and to read for a prompt and for a new token, by arithmetic.

A product of a matrix with a vector is two operations for each of its numbers (a multiplication and an
addition); what a query does with one key and one value, two for each number of a head's key and value. Norms,
activations, softmax and rotations are left out, as in Kaplan et al. (arXiv 2001.08361, table 1: 2N +
2·layers·context·width for a token of a context, with attention over half of it on average) and LLM-Viewer
(arXiv 2402.16363). Bytes are those that must come from memory once: weights that take part, keys and values
that are looked at, those that are written. What a layer hands to the next stays in caches and is left out.
All are lower bounds but for experts in a prompt, of which the most count that its tokens can go through.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from slmeval.errors import ModelError
from slmeval.shape import Attention, Shape, Weight


@dataclass(frozen=True)
class Numbers:
    """In how many bits numbers are: ``weights`` (``None``: as they are stored), ``keys`` and ``values``."""

    weights: float | None = None
    keys: float = 16.0
    values: float = 16.0


@dataclass(frozen=True)
class Work:
    """Operations, and bytes of weights and of keys and values (with states) that are read or written."""

    operations: float
    weight_bytes: float
    cache_bytes: float

    @property
    def bytes(self) -> float:
        """All of them."""
        return self.weight_bytes + self.cache_bytes

    def per(self, tokens: int) -> Work:
        """Its share for one of ``tokens``."""
        return Work(self.operations / tokens, self.weight_bytes / tokens, self.cache_bytes / tokens)


def decode(shape: Shape, depth: int, numbers: Numbers) -> Work:
    """One new token of one sequence, with ``depth`` tokens before it; it looks at these and at itself.

    :raises ModelError: the architecture or the weights are not known.
    """
    looks = [layer.attention for layer in shape.known_layers()]
    attention = sum(_pair(look, absorbed=True) * look.reach(depth + 1) for look in looks)
    kept = shape.kv_bytes(depth + 1, numbers.keys, numbers.values)
    # its own keys and values are written, and the states are read and written
    cache = kept + 2 * shape.state_bytes()
    return Work(_products(shape, 1, heads=1) + attention, _weights_read(shape, 1, numbers), cache)


def prefill(shape: Shape, tokens: int, numbers: Numbers) -> Work:
    """A prompt of ``tokens`` in one pass, each looking at those before it and itself; one head, at its end.

    :raises ModelError: the architecture or the weights are not known.
    """
    looks = [layer.attention for layer in shape.known_layers()]
    attention = sum(_pair(look, absorbed=False) * _pairs(look, tokens) for look in looks)
    written = shape.kv_bytes(tokens, numbers.keys, numbers.values) + shape.state_bytes()
    operations = _products(shape, tokens, heads=1) + attention
    return Work(operations, _weights_read(shape, tokens, numbers), written)


def decode_ceiling(shape: Shape, depth: int, numbers: Numbers, bandwidth: float) -> float:
    """Tokens a second that memory of ``bandwidth`` (in 10^9 bytes a second) cannot let one sequence exceed.

    :raises ModelError: the architecture or the weights are not known.
    """
    return bandwidth * 1e9 / decode(shape, depth, numbers).bytes


def _pair(look: Attention, *, absorbed: bool) -> int:
    """Operations of a query, all its heads, with one token before it.

    A latent layer may look at what it keeps as it is (``absorbed``, cheaper for one query), or open it first;
    where it keeps it opened, it is.
    """
    if look.kind == "latent" and absorbed and not look.opened:
        return 2 * look.heads * (2 * look.kv_rank + look.rope_size)
    return 2 * look.heads * (look.key_size + look.value_size)


def _pairs(look: Attention, tokens: int) -> int:
    """How many tokens the tokens of a prompt look at, all together."""
    reach = look.reach(tokens)
    return reach * (reach + 1) // 2 + (tokens - reach) * reach


def _products(shape: Shape, tokens: int, heads: int) -> float:
    """Operations of the products with matrices for ``tokens``, of which ``heads`` go through the head."""
    total = 0.0
    for weight, count in _matrices(shape, tokens, heads):
        total += 2.0 * weight.size * count
    return total


def _matrices(shape: Shape, tokens: int, heads: int) -> Iterator[tuple[Weight, float]]:
    """Each matrix, and how many tokens it is multiplied with."""
    used = _used_experts(shape)
    for weight in _some(shape):
        if weight.role == "matrix":
            yield weight, tokens
        elif weight.role == "expert":
            yield weight, tokens * used
        elif len(weight.shape) > 1 and _is_head(shape, weight):
            yield weight, heads


def _is_head(shape: Shape, weight: Weight) -> bool:
    return weight.role == "head" or (weight.role == "embedding" and shape.tied is True)


def _some(shape: Shape) -> tuple[Weight, ...]:
    """:raises ModelError: there are no weights of which anything is known."""
    if not shape.weights:
        raise ModelError(f"the weights of a model of type {shape.architecture!r} cannot be told here")
    return shape.weights


def _used_experts(shape: Shape) -> float:
    """The part of the experts that one token goes through."""
    parts = [
        layer.ffn.used / layer.ffn.experts
        for layer in shape.known_layers()
        if layer.ffn is not None and layer.ffn.experts
    ]
    return parts[0] if parts else 1.0


def _weights_read(shape: Shape, tokens: int, numbers: Numbers) -> float:
    """Bytes of weights that ``tokens`` of a pass need: rows of an embedding, the experts they can use."""
    experts = min(1.0, _used_experts(shape) * tokens)
    total = 0.0
    for weight in _some(shape):
        part = 1.0
        if weight.role == "expert":
            part = experts
        elif weight.role in ("embedding", "positions") and not _is_head(shape, weight):
            rows = weight.shape[0] if weight.shape else 1
            part = min(1.0, tokens / max(1, rows))
        total += part * _bytes(weight, numbers)
    return total


def _bytes(weight: Weight, numbers: Numbers) -> float:
    bits = weight.bits if numbers.weights is None else numbers.weights
    if bits is None:
        raise ModelError("the type of the weights is not told: name one")
    return weight.size * bits / 8
