"""A model's forward pass, and one sequence in its cache from which others branch off."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import mlx.core as mx
from mlx.utils import tree_map
from mlx_lm.models.cache import KVCache, QuantizedKVCache, make_prompt_cache, trim_prompt_cache

from slmeval.types import TokenIds

#: caches of keys and values token by token: they can be cut off, and copied to the rows of a batch
PLAIN = (KVCache, QuantizedKVCache)
#: bytes of freed buffers that are kept for the next pass
SPARE_BYTES = 1 << 30


class Passes:
    """A model's forward pass over new tokens, [rows, columns], behind what a cache holds.

    ``kv_bits`` (0: none) and ``kv_group`` say how keys and values are quantized: from the first token on,
    so that an answer does not depend on what happened to be in the cache. ``step`` is how many tokens of
    a context are run at once.

    :raises ValueError: this model's cache cannot be quantized.
    """

    def __init__(self, model: Any, vocabulary: int, *, kv_bits: int, kv_group: int, step: int) -> None:
        self.model = model
        self.vocabulary = vocabulary
        self.step = step
        self._kv_bits, self._kv_group = kv_bits, kv_group
        kinds = {type(layer).__name__ for layer in self.new_cache() if type(layer) not in PLAIN}
        #: what the cache holds beside keys and values token by token
        self.odd = ", ".join(sorted(kinds))
        #: whether sequences can be cut off and stand side by side in a batch
        self.plain = not kinds

    def new_cache(self) -> list[Any]:
        """A cache that holds no tokens."""
        layers = make_prompt_cache(self.model)
        return [self._quantized(layer) for layer in layers] if self._kv_bits else list(layers)

    def _quantized(self, layer: Any) -> Any:
        if type(layer) is not KVCache:
            raise ValueError(f"mlx-lm cannot quantize a {type(layer).__name__}: leave kv_bits at 0")
        return layer.to_quantized(group_size=self._kv_group, bits=self._kv_bits)

    def run(self, cache: list[Any], rows: Sequence[TokenIds]) -> Any:
        """Logits after each token of ``rows``, which are equally long: [rows, columns, vocabulary]."""
        return self.model(mx.array(list(rows)), cache=cache)

    def fill(self, cache: list[Any], ids: TokenIds) -> None:
        """Put ``ids`` into the cache of a single sequence; no logits are computed."""
        for at in range(0, len(ids), self.step):
            self.run(cache, [ids[at : at + self.step]])
            mx.eval([layer.state for layer in cache])
            if mx.get_cache_memory() > SPARE_BYTES:
                mx.clear_cache()


class Trunk:
    """A sequence in the cache, moved from one to the next with what they have in common kept."""

    def __init__(self, passes: Passes) -> None:
        self.passes = passes
        self._cache = passes.new_cache()
        self._ids: TokenIds = ()

    @property
    def length(self) -> int:
        """How many tokens the sequence has."""
        return len(self._ids)

    def move_to(self, ids: TokenIds) -> None:
        """Make ``ids`` the sequence."""
        kept = _common_length(self._ids, ids)
        if kept < len(self._ids):
            kept = self._cut(kept)
        # until it is through, the cache holds nothing that could be relied upon
        self._ids = ()
        self.passes.fill(self._cache, ids[kept:])
        self._ids = ids

    def _cut(self, length: int) -> int:
        """Keep the first ``length`` tokens, where that is possible; how many are kept."""
        if self.passes.plain:
            trim_prompt_cache(self._cache, len(self._ids) - length)
            return length
        self._cache = self.passes.new_cache()
        return 0

    def step(self, token: int) -> Any:
        """Add one token; the logits after it, [vocabulary]."""
        logits = self.passes.run(self._cache, [(token,)])[0, -1]
        self._ids += (token,)
        return logits

    def branches(self, rows: int) -> list[Any]:
        """A cache that holds the sequence ``rows`` times, to be gone on from; this one stays as it is.

        Only one row can be had where the cache is not plain.
        """
        if not self.passes.plain:
            return copy.deepcopy(self._cache)
        return [_spread(layer, rows) for layer in self._cache]


def _spread(layer: Any, rows: int) -> Any:
    new, length = copy.copy(layer), layer.offset
    if layer.keys is None or not length:
        new.keys, new.values = None, None
        return new

    def held(array: Any) -> Any:
        return mx.broadcast_to(array[..., :length, :], (rows, array.shape[1], length, array.shape[3]))

    new.keys, new.values = tree_map(held, layer.keys), tree_map(held, layer.values)
    return new


def _common_length(one: TokenIds, other: TokenIds) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))
