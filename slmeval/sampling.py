"""Drawing the next token: one rule for every engine that shows its logits.

The random numbers come from the text's seed alone, one for each token, so that engines with the same logits
write the same text.
"""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slmeval.types import GenerationSettings


class Sampler:
    """Draws the tokens of one text::

    sampler = Sampler(settings, prompt.seed)
    token = sampler.draw(logits)
    """

    def __init__(self, settings: GenerationSettings, seed: int, drawn: int = 0) -> None:
        """``drawn`` tokens of the text are drawn already."""
        self._temperature = settings.temperature
        self._top_p = settings.top_p
        # random() is the one method whose sequence Python promises to keep for ever
        self._stream = Random(seed)
        for _ in range(drawn):
            self._stream.random()

    def draw(self, logits: NDArray[Any]) -> int:
        """The next token after ``logits``, float[vocabulary].

        :raises ValueError: they are no numbers.
        """
        weights = self._weights(np.asarray(logits, np.float64))
        if self._top_p >= 1:
            return self._one_of(weights)
        tokens = _nucleus(weights, self._top_p)
        return int(tokens[self._one_of(weights[tokens])])

    def _one_of(self, weights: NDArray[np.float64]) -> int:
        """A place in ``weights``, each as often as it weighs."""
        ends = np.cumsum(weights)
        at = int(np.searchsorted(ends, self._stream.random() * ends[-1], side="right"))
        # rounding may lead past the last that has any weight
        return at if at < len(ends) else int(np.flatnonzero(weights)[-1])

    def _weights(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        largest = logits.max()
        if not np.isfinite(largest):
            raise ValueError("the model's logits are not numbers")
        weights: NDArray[np.float64] = np.exp((logits - largest) / self._temperature)
        return weights


def sampler_of(settings: GenerationSettings, seed: int) -> Sampler | None:
    """What draws the tokens of a text; ``None`` where the likeliest is taken each time."""
    return Sampler(settings, seed) if settings.temperature > 0 else None


def _nucleus(weights: NDArray[np.float64], top_p: float) -> NDArray[np.int64]:
    """The likeliest tokens that together have at least ``top_p`` of the weight; at least one, in order.

    Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", arXiv:1904.09751.
    """
    total = weights.sum()
    # tokens of less than this are no part of it, and few of a large vocabulary have more: those are sorted
    likely = np.flatnonzero(weights >= (1 - top_p) * total / len(weights))
    order = likely[np.argsort(-weights[likely], kind="stable")]
    before = np.cumsum(weights[order]) - weights[order]
    found: NDArray[np.int64] = np.sort(order[before < top_p * total])
    return found
