"""A workload, run and timed: in each step one sequence after the other, for nothing is batched here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter

from slmeval.api import Reading
from slmeval.types import Timing, Workload
from slmeval_reference.layers import Weights
from slmeval_reference.model import Model
from slmeval_reference.trunk import Trunk

#: every number here is a float64
BYTES = 8


class Timer:
    """Runs workloads, and knows what its latest run holds."""

    def __init__(self, model: Model, weights: Weights) -> None:
        self._model, self._weights = model, weights
        self._trunks: list[Trunk] = []

    def runs(self, workload: Workload) -> Iterator[Timing]:
        """One run after the other, each from an empty cache; closing gives back the cache."""
        try:
            while True:
                yield self._run(workload)
        finally:
            self._trunks = []

    def _run(self, workload: Workload) -> Timing:
        self._trunks = [Trunk(self._model) for _ in workload.prompts]
        for trunk, ids in zip(self._trunks, workload.prompts, strict=True):
            trunk.reserve(workload.longest)
            if workload.depth:
                trunk.move_to(ids[: workload.depth], 0)
        begun = perf_counter()
        for trunk, ids in zip(self._trunks, workload.prompts, strict=True):
            trunk.move_to(ids, workload.depth)
        chosen = self._choose()
        prefill = perf_counter() - begun
        times = []
        for step in range(workload.new_tokens):
            if step:
                self._append([row[step - 1] for row in workload.forced] or chosen)
                chosen = self._choose()
            times.append(perf_counter() - begun)
        return Timing(prefill, tuple(times))

    def _choose(self) -> list[int]:
        """The likeliest token after each sequence; what is forced is told the same logits."""
        return [int(self._model.logits(trunk.state)[0].argmax()) for trunk in self._trunks]

    def _append(self, tokens: Sequence[int]) -> None:
        for trunk, token in zip(self._trunks, tokens, strict=True):
            trunk.append(token)

    def readings(self) -> tuple[Reading, ...]:
        """Bytes of the weights, and of the cache of the workload under way."""
        weights = _reading(self._weights.unique * BYTES, "weights")
        if not self._trunks:
            return (weights,)
        held, room = (sum(sizes) for sizes in zip(*(trunk.room for trunk in self._trunks), strict=True))
        return (weights, _reading(held, "kv cache"), _reading(room, "kv cache room", "tokens"))


def _reading(value: int, scope: str, unit: str = "bytes") -> Reading:
    return Reading(float(value), unit, 0.0, scope, "numpy's arrays")
