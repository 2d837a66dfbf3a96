"""Passes as whoever uses transformers writes them: no mask, no positions, and the cache that the model makes.

Sequences have one length, so that nothing is padded.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from slmeval_hf.passes import Passes

#: what models call their cache; "state" is RWKV's
CACHE_NAMES = ("cache", "past_key_values", "cache_params", "state")
#: layers of a cache that keep every token, and those that use another's
WHOLE = {"DynamicLayer", "DummyLayer"}


class OwnPasses:
    """A model's forward pass over token ids, [sequences, tokens], behind what its cache holds."""

    def __init__(self, passes: Passes) -> None:
        self.model = passes.model
        self.cache_name = next((name for name in CACHE_NAMES if name in passes.accepted), passes.cache_name)
        # the head is most of the work in a small model, and only the last token is gone on from
        self._keep = {"logits_to_keep": 1} if "logits_to_keep" in passes.accepted else {}

    def begin(self) -> Any:
        """An empty cache; ``None`` where the model makes it in its first pass."""
        return None if self._tells_of_its_cache else DynamicCache(config=self.model.config.get_text_config())

    def run(self, ids: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """Logits after the last token, [sequences, vocabulary], and the cache to go on with."""
        out = self.model(
            input_ids=ids, use_cache=True, return_dict=True, **self._keep, **{self.cache_name: cache}
        )
        told = getattr(out, self.cache_name, None)
        return out.logits[:, -1], cache if told is None else told

    @cached_property
    def _tells_of_its_cache(self) -> bool:
        # RecurrentGemma fills one that it is given, and gives back none
        ids = torch.tensor([[0, 1]], device=self.model.device)
        return self.run(ids, None)[1] is not None


def cut_back(cache: Any, held: int, wanted: int) -> bool:
    """Leave the first ``wanted`` of ``held`` tokens in ``cache``; whether it could be done."""
    layers = getattr(cache, "layers", None)
    if not layers or not all(_can_be_cut(layer, held) for layer in layers):
        return False
    cache.crop(wanted - held)
    return bool(cache.get_seq_length() == wanted)


def _can_be_cut(layer: Any, held: int) -> bool:
    if type(layer).__name__ == "DynamicSlidingWindowLayer":
        # beyond the window, tokens that would be seen again are gone
        return bool(held < layer.sliding_window)
    return type(layer).__name__ in WHOLE
