"""From a GGUF file's header to a shape: metadata under llama.cpp's keys, and the tensors themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slmeval.errors import ModelError
from slmeval.gguf_file import GGUFHeader, Tensor
from slmeval.shape import Attention, FeedForward, Layer, Shape, Weight, check_shared, looking

#: architectures whose layers all attend in the common way, and the activation that llama.cpp computes
_KNOWN = {
    **dict.fromkeys(
        (
            "llama", "qwen", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "phi3", "stablelm", "olmo", "olmo2",
            "minicpm", "minicpm3", "deepseek2", "openelm", "smollm3", "granite",
        ),
        "silu",
    ),
    **dict.fromkeys(("gptneox", "phi2", "gemma", "gemma2", "gemma3", "bloom", "gpt2", "starcoder2"), "gelu"),
}  # fmt: skip
#: architectures whose head is always the embedding, also where a file holds it twice
_ALWAYS_TIED = ("gemma", "gemma2", "gemma3", "bloom", "gpt2")
#: architectures of which llama.cpp has windows, and every which layer looks at everything if the header does
#: not say
_TURNS = {"gemma2": 2, "gemma3": 6, "olmo2": 4}
#: the window that it takes where the header has none, in tokens
_WINDOWS = {"gemma2": 4096}
_TABLES = re.compile(r"^rope_(freqs|factors_long|factors_short)\.weight$")
_MOST_LAYERS = 10_000
_MOST = 1 << 31
#: bytes of two matrices that are compared: others are not alike by chance
_COMPARED = 1 << 16


def shape_of_gguf(header: GGUFHeader, place: Path) -> Shape:
    """What the header tells; of an architecture that is not known here, its tensors and sizes alone.

    :raises ModelError: a value is not what it can be.
    """
    return _Header(header, place).shape()


def _weight(tensor: Tensor) -> Weight:
    bits = 8 * tensor.bytes / tensor.weights if tensor.weights else 0.0
    return Weight(tensor.name, tensor.shape[::-1], tensor.kind, bits)


class _Header:
    def __init__(self, header: GGUFHeader, place: Path) -> None:
        self.header, self.place = header, place
        self.tensors = {tensor.name: tensor for tensor in header.tensors}
        self.notes: list[str] = []

    def shape(self) -> Shape:
        kind = self.header.architecture
        tied = self._tied()
        stored = tuple(_weight(tensor) for tensor in self.header.tensors)
        embedding = self.tensors.get("token_embd.weight")
        layers = tuple(self._layers()) if kind in _KNOWN else ()
        if not layers:
            self.notes.append(f"the architecture {kind!r} is not known here: its layers cannot be told")
        return Shape(
            architecture=kind,
            layers=layers,
            weights=tuple(weight for weight in stored if self._is_own(weight, tied)),
            stored=stored,
            hidden=self._number("embedding_length"),
            vocabulary=embedding.shape[-1] if embedding is not None and embedding.shape else None,
            tied=tied,
            context=self._number("context_length"),
            activation=_KNOWN.get(kind),
            norm=self._norm(),
            dtype=self.header.quantization,
            dtype_bits=self.header.bits_per_weight,
            notes=tuple(self.notes),
            told_by="GGUF header",
            counted=True,
            by_architecture=frozenset(("activation",)),
        )

    def _is_own(self, weight: Weight, tied: bool | None) -> bool:
        again = tied and weight.name == "output.weight"
        return not again and not _TABLES.search(weight.name)

    def _tied(self) -> bool | None:
        head, embedding = self.tensors.get("output.weight"), self.tensors.get("token_embd.weight")
        if head is None or self.header.architecture in _ALWAYS_TIED:
            return embedding is not None or None
        if embedding is None or head.shape != embedding.shape:
            return False
        if head.kind == embedding.kind and head.path.is_file():
            return _beginning(head) == _beginning(embedding)
        self.notes.append(
            f"whether output.weight ({head.kind}) is token_embd.weight ({embedding.kind}) once more cannot "
            "be told: it counts as its own"
        )
        return None

    def _norm(self) -> str | None:
        if self.header.of_architecture("attention.layer_norm_rms_epsilon") is not None:
            return "RMSNorm"
        named = self.header.of_architecture("attention.layer_norm_epsilon")
        return None if named is None else "LayerNorm"

    # ---- metadata --------------------------------------------------------------------------------------

    def _number(self, key: str, most: int = _MOST) -> int | None:
        value = self.header.of_architecture(key)
        return None if value is None else self._whole(key, value, most)

    def _needed(self, key: str, most: int = _MOST) -> int:
        found = self._number(key, most)
        if found is None:
            raise ModelError(f"{self.place} does not give {self.header.architecture}.{key}")
        return found

    def _each(self, key: str, layers: int) -> list[int] | None:
        """A number for each layer; the header gives one for all, or an array."""
        value = self.header.of_architecture(key)
        if value is None:
            return None
        if not isinstance(value, tuple):
            return [self._whole(key, value, _MOST)] * layers
        if len(value) != layers:
            raise ModelError(f"{self.place} gives {len(value)} {key} for {layers} layers")
        return [self._whole(key, item, _MOST) for item in value]

    def _whole(self, key: str, value: Any, most: int) -> int:
        if type(value) is not int or not 1 <= value <= most:
            raise ModelError(
                f"{self.place} gives {str(value)[:40]} as {self.header.architecture}.{key}, which must be a "
                f"whole number from 1 to {most}"
            )
        return value

    # ---- layers ----------------------------------------------------------------------------------------

    def _layers(self) -> Iterator[Layer]:
        count = self._needed("block_count", _MOST_LAYERS)
        sizes = self._each("feed_forward_length", count)
        if sizes and self.header.architecture == "qwen":
            # that of gate and up together (llama.cpp, ``src/models/qwen.cpp``)
            sizes = [size // 2 for size in sizes]
        for index, look in enumerate(self._looks(count)):
            yield Layer(look, self._feed_forward(f"blk.{index}.", sizes[index] if sizes else None))

    def _looks(self, count: int) -> Iterator[Attention]:
        heads = self._each("attention.head_count", count)
        if heads is None:
            raise ModelError(f"{self.place} does not give {self.header.architecture}.attention.head_count")
        groups = self._each("attention.head_count_kv", count) or heads
        if self.header.of_architecture("attention.kv_lora_rank") is not None:
            yield from map(self._latent, heads, groups)
            return
        windows = self._windows(count)
        for query, kv, window in zip(heads, groups, windows, strict=True):
            check_shared(query, kv, str(self.place))
            keys, values = (self._head_size(key, query) for key in ("key_length", "value_length"))
            yield looking(query, kv, keys, values, window)

    def _head_size(self, key: str, heads: int) -> int:
        told = self._number(f"attention.{key}")
        return told if told is not None else max(1, self._needed("embedding_length") // heads)

    def _latent(self, heads: int, kv_heads: int) -> Attention:
        """As llama.cpp keeps it: opened where the header lacks the sizes that MLA is computed with."""
        rope, rank = self._needed("rope.dimension_count"), self._needed("attention.kv_lora_rank")
        keys, values = (self._number(f"attention.{key}_mla") for key in ("key_length", "value_length"))
        if keys is not None and values is not None:
            return Attention("latent", heads, heads, keys, values, kv_rank=rank, rope_size=rope)
        keys, values = (self._head_size(key, heads) for key in ("key_length", "value_length"))
        check_shared(heads, kv_heads, str(self.place))
        return Attention("latent", heads, kv_heads, keys, values, kv_rank=rank, rope_size=rope, opened=True)

    def _windows(self, count: int) -> list[int | None]:
        kind, window = self.header.architecture, self.header.of_architecture("attention.sliding_window")
        if window is None and kind in _WINDOWS:
            window = _WINDOWS[kind]
            self.notes.append(f"a sliding window is not given: {window} is llama.cpp's default for {kind}")
        # of the others llama.cpp has none, whatever the header says
        if not window or kind not in _TURNS:
            return [None] * count
        size = self._whole("attention.sliding_window", window, _MOST)
        return [size if slides else None for slides in self._slides(count)]

    def _slides(self, count: int) -> list[bool]:
        told = self.header.of_architecture("attention.sliding_window_pattern")
        if isinstance(told, tuple) and len(told) == count:
            return [bool(each) for each in told]
        turn = told if type(told) is int and told >= 0 else _TURNS[self.header.architecture]
        return [turn == 0 or (index + 1) % turn != 0 for index in range(count)]

    def _feed_forward(self, block: str, size: int | None) -> FeedForward | None:
        if f"{block}ffn_up_exps.weight" in self.tensors or f"{block}ffn_gate_exps.weight" in self.tensors:
            return self._experts(block, size)
        return None if size is None else FeedForward(size, self._is_gated(block, size))

    def _is_gated(self, block: str, size: int) -> bool:
        up = self.tensors.get(f"{block}ffn_up.weight")
        # Phi-3 has both in one matrix
        both = up is not None and up.shape[-1:] == (2 * size,)
        return both or f"{block}ffn_gate.weight" in self.tensors

    def _experts(self, block: str, size: int | None) -> FeedForward:
        width = self._number("expert_feed_forward_length") or size
        if width is None:
            raise ModelError(f"{self.place} does not tell how wide its experts are")
        shared = self.tensors.get(f"{block}ffn_up_shexp.weight")
        return FeedForward(
            width,
            f"{block}ffn_gate_exps.weight" in self.tensors,
            self._needed("expert_count"),
            self._needed("expert_used_count"),
            shared.shape[-1] if shared is not None and shared.shape else 0,
        )


def _beginning(tensor: Tensor) -> bytes:
    with tensor.path.open("rb") as file:
        file.seek(tensor.offset)
        return file.read(min(tensor.bytes, _COMPARED))
