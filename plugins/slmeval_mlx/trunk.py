"""A model's forward pass, and one sequence in its cache from which others branch off."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import mlx.core as mx
from mlx.utils import tree_map
from mlx_lm.models.cache import KVCache, QuantizedKVCache, make_prompt_cache, trim_prompt_cache

from slmeval.token_tree import common_length
from slmeval.types import TokenIds

#: caches of keys and values token by token: they can be cut off, and copied to the rows of a batch
PLAIN = (KVCache, QuantizedKVCache)
#: bytes of freed buffers that are kept for the next pass
SPARE_BYTES = 1 << 30
#: what all contexts of a call begin with is run in steps of this many tokens, so that its part of the cache
#: has the same bits whatever follows, and can be kept for the next call
STEP = 128


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
        return self.logits(cache, mx.array(list(rows)))

    def logits(self, cache: list[Any], ids: Any) -> Any:
        """The same of ``ids`` that are on the device, [rows, columns]; not computed yet."""
        return self.model(ids, cache=cache)

    def fill(self, cache: list[Any], ids: TokenIds, step: int | None = None) -> None:
        """Put ``ids`` into the cache of a single sequence; no logits are computed."""
        step = step or self.step
        for at in range(0, len(ids), step):
            self.run(cache, [ids[at : at + step]])
            settle(cache)


def settle(cache: list[Any], *results: Any) -> None:
    """Compute what was asked, ``results`` with it, and give back what is not used any more."""
    mx.eval(*results, [layer.state for layer in cache])
    if mx.get_cache_memory() > SPARE_BYTES:
        mx.clear_cache()


class Trunk:
    """A sequence in the cache, moved from one to the next with what they have in common kept.

    What the contexts of a call begin with, in whole steps of ``step`` tokens, is kept for the next call.
    """

    def __init__(self, passes: Passes, step: int = STEP) -> None:
        self.passes = passes
        self._step_tokens = step
        self.cache = passes.new_cache()
        self._ids: TokenIds = ()
        #: what was run in whole steps, and by itself
        self._kept: TokenIds = ()

    @property
    def length(self) -> int:
        """How many tokens the sequence has."""
        return len(self._ids)

    def begin(self, contexts: Sequence[TokenIds]) -> None:
        """Make the sequence what ``contexts`` begin with: whole steps, and not the last token of any.

        Where nothing can be cut off, it is empty.
        """
        kept, self._kept, self._ids = self._kept, (), ()
        if not self.passes.plain:
            self.cache = self.passes.new_cache()
            return
        # the first and the last in order have in common what all have
        wanted = common_length(min(contexts), max(contexts)) if contexts else 0
        wanted = min(wanted, min(map(len, contexts), default=1) - 1) // self._step_tokens * self._step_tokens
        ids = contexts[0][:wanted] if wanted else ()
        sound = common_length(kept, ids) // self._step_tokens * self._step_tokens
        self.cut(sound)
        self.passes.fill(self.cache, ids[sound:], self._step_tokens)
        self._ids = self._kept = ids

    def cut(self, length: int) -> None:
        """Leave the first ``length`` tokens in a plain cache, whatever it holds behind them."""
        trim_prompt_cache(self.cache, self.cache[0].offset - length)

    def move_to(self, ids: TokenIds) -> None:
        """Make ``ids`` the sequence."""
        kept = common_length(self._ids, ids)
        if kept < len(self._ids):
            kept = self._shortened(kept)
        # until it is through, the cache holds nothing that could be relied upon
        self._ids, self._kept = (), self._kept[: kept // self._step_tokens * self._step_tokens]
        self.passes.fill(self.cache, ids[kept:])
        self._ids = ids

    def _shortened(self, length: int) -> int:
        """Keep the first ``length`` tokens, where that is possible; how many are kept."""
        if self.passes.plain:
            self.cut(length)
            return length
        self.cache = self.passes.new_cache()
        return 0

    def step(self, token: int) -> Any:
        """Add one token; the logits after it, [vocabulary]."""
        logits = self.passes.run(self.cache, [(token,)])[0, -1]
        self._ids += (token,)
        return logits

    def branches(self, rows: int) -> list[Any]:
        """A cache that holds the sequence ``rows`` times, to be gone on from; this one stays as it is.

        Only one row can be had where the cache is not plain.
        """
        if not self.passes.plain:
            return copy.deepcopy(self.cache)
        return [_spread(layer, rows) for layer in self.cache]


def _spread(layer: Any, rows: int) -> Any:
    new, length = copy.copy(layer), layer.offset
    if layer.keys is None or not length:
        new.keys, new.values = None, None
        return new

    def held(array: Any) -> Any:
        return mx.broadcast_to(array[..., :length, :], (rows, array.shape[1], length, array.shape[3]))

    new.keys, new.values = tree_map(held, layer.keys), tree_map(held, layer.values)
    return new
