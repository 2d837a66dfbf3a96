"""The likeliest next tokens at every place of a text."""

from __future__ import annotations

from collections.abc import Iterator

import mlx.core as mx
import numpy as np

from slmeval.types import TokenIds, TopLogprobs
from slmeval_mlx.packed import LOGITS
from slmeval_mlx.trunk import Passes


def top_logprobs(passes: Passes, ids: TokenIds, k: int) -> Iterator[list[TopLogprobs]]:
    """After each token of ``ids`` the ``k`` likeliest, a piece of the text at a time.

    Equally likely ones come by their ids.
    """
    cache = passes.new_cache()
    step = min(passes.step, max(1, LOGITS // passes.vocabulary))
    for at in range(0, len(ids), step):
        logits = passes.run(cache, [ids[at : at + step]])[0].astype(mx.float32)
        logprobs = np.array(logits - mx.logsumexp(logits, axis=-1, keepdims=True))
        yield [_top(row, k) for row in logprobs]


def _top(logprobs: np.ndarray, k: int) -> TopLogprobs:
    # of those on the border some would be left out by chance; a stable sort of all takes the lowest ids
    least = np.partition(logprobs, -k)[-k]
    candidates = np.flatnonzero(logprobs >= least)
    order = candidates[np.argsort(-logprobs[candidates], kind="stable")][:k]
    return TopLogprobs(tuple(order.tolist()), tuple(np.minimum(logprobs[order], 0.0).tolist()))
