"""The shape of a model (layers, heads, sizes, weights) and what it takes of memory, by arithmetic alone.

Definitions are those of `docs/inspect.md`. A shape is made by :func:`slmeval.shape_reading.shape_of`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Literal

from slmeval.errors import ModelError

#: states of recurrent layers are kept in float32, whatever the weights are in
STATE_BITS = 32.0
#: llama.cpp's default of tokens in a pass (``--ubatch-size``)
_PASS = 512
#: no context is looked for beyond this one
_LONGEST = 1 << 50
_INPUT = re.compile(
    r"(^|[._])(embed_tokens|wte|word_embeddings|embed_in|token_embd|token_embeddings)\.weight$"
)
_POSITIONS = re.compile(r"(^|[._])(wpe|embed_positions|position_embd)\.weight$")
_HEAD = re.compile(r"(^|\.)(lm_head|embed_out)\.(weight|bias)$|^output\.(weight|bias)$")
#: these are not multiplied with, also where there is a row of them for each head
_ADDED = re.compile(r"norm|bias$")
_EXPERT = re.compile(r"(?<!shared_)experts\.|_exps\.|switch_mlp\.")


@dataclass(frozen=True)
class Weight:
    """One tensor of the model. ``bits`` is per number, ``None`` where its type is not known.

    ``shape`` is in PyTorch's order, and of what the numbers mean where they are packed.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = ""
    bits: float | None = None

    @cached_property
    def size(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)

    @cached_property
    def role(self) -> Literal["embedding", "positions", "head", "expert", "matrix", "vector"]:
        """What it is there for, told by its name and by how many dimensions it has."""
        if _INPUT.search(self.name):
            return "embedding"
        if _POSITIONS.search(self.name):
            return "positions"
        if _HEAD.search(self.name):
            return "head"
        if _EXPERT.search(self.name):
            return "expert"
        return "matrix" if len(self.shape) > 1 and not _ADDED.search(self.name) else "vector"


@dataclass(frozen=True)
class Attention:
    """How a layer looks back. ``key_size`` and ``value_size`` are a head's, in numbers; ``window`` in tokens.

    A latent layer keeps ``kv_rank + rope_size`` numbers of each token in place of keys and values, unless
    these are kept ``opened``, for each head; a recurrent one keeps ``state`` numbers, however many tokens
    there were.
    """

    kind: Literal["full", "sliding", "latent", "recurrent"]
    heads: int = 0
    kv_heads: int = 0
    key_size: int = 0
    value_size: int = 0
    window: int | None = None
    kv_rank: int = 0
    rope_size: int = 0
    state: int = 0
    opened: bool = False

    @property
    def keys(self) -> int:
        """Numbers kept of a token as keys; all that is kept of it, where it is kept latent."""
        if self.kind == "latent" and not self.opened:
            return self.kv_rank + self.rope_size
        return 0 if self.kind == "recurrent" else self.kv_heads * self.key_size

    @property
    def values(self) -> int:
        """Numbers kept of a token as values."""
        return self.kv_heads * self.value_size if self.kind in ("full", "sliding") or self.opened else 0

    def reach(self, tokens: int) -> int:
        """How many of ``tokens`` are kept and looked at."""
        if self.kind == "recurrent":
            return 0
        return tokens if self.window is None else min(tokens, self.window)


def looking(heads: int, kv_heads: int, key_size: int, value_size: int, window: int | None) -> Attention:
    """Attention over keys and values, with a window or without."""
    return Attention("full" if window is None else "sliding", heads, kv_heads, key_size, value_size, window)


def check_shared(heads: int, kv_heads: int, place: str) -> None:
    """:raises ModelError: so many heads cannot share those of keys and values evenly; names ``place``."""
    if heads % kv_heads:
        raise ModelError(
            f"{place} is damaged: {heads} heads cannot share {kv_heads} of keys and values evenly"
        )


@dataclass(frozen=True)
class FeedForward:
    """A layer's FFN; ``size`` is its inner width, that of one expert where there are ``experts``."""

    size: int
    gated: bool
    experts: int = 0
    used: int = 0
    shared: int = 0


@dataclass(frozen=True)
class Layer:
    """One layer; ``ffn`` is ``None`` where it cannot be told."""

    attention: Attention
    ffn: FeedForward | None


@dataclass(frozen=True)
class Shape:
    """What is known of a model; what is not is ``None``, or empty, and ``notes`` say why.

    ``layers`` are empty where the architecture is not known here. ``weights`` are the model's own, each once
    (a tied head is not among them), ``counted`` in files or else planned by the configuration; ``stored`` is
    how they lie in files, ``None`` where no file was read. ``told_by`` names where everything else is from,
    but for ``by_architecture``: of "norm", "activation" and "gate" those that only the architecture tells
    and ``by_default``: "tied" where the configuration is silent.
    """

    architecture: str
    layers: tuple[Layer, ...]
    weights: tuple[Weight, ...]
    stored: tuple[Weight, ...] | None
    hidden: int | None
    vocabulary: int | None
    tied: bool | None
    context: int | None
    activation: str | None
    norm: str | None
    dtype: str | None = None
    dtype_bits: float | None = None
    notes: tuple[str, ...] = ()
    told_by: str = "config.json"
    counted: bool = False
    by_architecture: frozenset[str] = frozenset()
    by_default: frozenset[str] = frozenset()

    # ---- parameters ------------------------------------------------------------------------------------

    @property
    def parameters(self) -> int:
        """Numbers that the model learned, those that are used twice counted once.

        :raises ModelError: they are not known: no weights were read, and the architecture is not known here.
        """
        if not self.weights:
            raise ModelError(f"the parameters of a model of type {self.architecture!r} cannot be told here")
        return sum(weight.size for weight in self.weights)

    @property
    def parameters_stored(self) -> int | None:
        """Numbers in the files: a tied head that lies there counts again, and so do masks and tables.

        ``None``: there are no files, or they hold numbers packed so that they cannot be counted.
        """
        if self.stored is None or not self.counted:
            return None
        return sum(weight.size for weight in self.stored)

    @property
    def parameters_untied(self) -> int:
        """As a program counts that keeps a tied head as a matrix of its own."""
        return self.parameters + (self._of("embedding") if self.tied else 0)

    @property
    def embedding_share(self) -> float:
        """Of all parameters, the part that lies in the embedding, and in the head if it is not tied."""
        # a file may hold tensors without numbers
        return (self._of("embedding") + self._of("head")) / max(1, self.parameters)

    def _of(self, role: str) -> int:
        return sum(weight.size for weight in self.weights if weight.role == role)

    # ---- memory ----------------------------------------------------------------------------------------

    def weight_bytes(self, bits: float | None = None) -> float:
        """Bytes of all weights: with ``bits`` for each parameter, else as they are stored.

        :raises ModelError: they are not known.
        """
        if bits is not None:
            return self.parameters * bits / 8
        if self.stored is not None:
            return bytes_of(self.stored)
        if self.dtype_bits is None:
            raise ModelError("the type of the weights is not told: name one")
        return self.parameters * self.dtype_bits / 8

    def kv_bytes(self, tokens: int, bits: float = 16.0, value_bits: float | None = None) -> float:
        """Bytes of keys and values of ``tokens`` tokens, of ``bits`` each (values of ``value_bits``).

        2 · Σ kv_heads · head_size · bits/8 · tokens; a sliding window keeps no more tokens than it is long,
        a latent layer keeps kv_rank + rope_size numbers of a token where it does not open them, a recurrent
        layer none.

        :raises ModelError: the architecture is not known here.
        """
        of_values = bits if value_bits is None else value_bits
        looks = [layer.attention for layer in self.known_layers()]
        return sum(look.reach(tokens) * (look.keys * bits + look.values * of_values) for look in looks) / 8

    def state_bytes(self) -> float:
        """Bytes that recurrent layers keep of a sequence, however long it is."""
        return sum(layer.attention.state for layer in self.known_layers()) * STATE_BITS / 8

    def known_layers(self) -> tuple[Layer, ...]:
        """The layers.

        :raises ModelError: the architecture is not known here.
        """
        if not self.layers:
            raise ModelError(f"the layers of a model of type {self.architecture!r} cannot be told here")
        return self.layers

    def context_at_share(
        self, share: float, weight_bits: float | None, bits: float = 16.0, value_bits: float | None = None
    ) -> int | None:
        """The least tokens at which keys and values take ``share`` of what they and the weights take.

        ``None``: they never do, for windows and states do not grow.
        """
        # what 1 - share loses in the last place is not to cost a token
        wanted = self.weight_bytes(weight_bits) * share / (1 - share) * (1 - 1e-12)
        if self.kv_bytes(_LONGEST, bits, value_bits) < wanted:
            return None
        low, high = 0, _LONGEST
        while low < high:
            middle = (low + high) // 2
            enough = self.kv_bytes(middle, bits, value_bits) >= wanted
            low, high = (low, middle) if enough else (middle + 1, high)
        return low

    def compute_bytes(self, tokens: int, in_a_pass: int = _PASS) -> float | None:
        """An *estimate* of llama.cpp's compute buffer without flash attention, in bytes.

        max(u·(V + d)·4, heads·context·u·4 + 5·d·u·4) for u tokens in a pass: found within 3 MiB of what
        llama.cpp allocated for 15 of 16 models (arXiv 2409.15790, its data for figure 7).
        """
        if not (self.layers and self.vocabulary and self.hidden):
            return None
        heads = max(layer.attention.heads for layer in self.layers)
        logits = in_a_pass * (self.vocabulary + self.hidden) * 4
        return float(max(logits, heads * tokens * in_a_pass * 4 + 5 * self.hidden * in_a_pass * 4))


def bytes_of(weights: Iterable[Weight]) -> float:
    """Bytes of tensors as they are stored.

    :raises ModelError: a type is not known.
    """
    total = 0.0
    for weight in weights:
        if weight.bits is None:
            raise ModelError(f"tensor {weight.name} is of type {weight.dtype!r}, whose size is not known")
        total += weight.size * weight.bits / 8
    return total
