"""A workload, run and timed: the plain loop of prefill and decode, without what ``generate`` adds to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from slmeval.errors import JobFailed
from slmeval.types import Timing, Workload
from slmeval_hf.batching import unless_memory_runs_out
from slmeval_hf.loading import quiet
from slmeval_hf.own_passes import OwnPasses, cut_back
from slmeval_hf.own_trial import JUMPS, STEPS, fault_of_steps


class Sequences:
    """What a workload's sequences are, on the device, and the cache that they are run with."""

    def __init__(self, passes: OwnPasses, workload: Workload) -> None:
        device = passes.model.device
        self._passes, self._depth, self._new = passes, workload.depth, workload.new_tokens
        self._prompts = torch.tensor(workload.prompts, device=device)
        self._forced = torch.tensor(workload.forced, device=device)
        self._wait = waiter(device)
        self.cache: Any = None
        #: tokens of each that are in the cache
        self.length = 0

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self._prompts)

    def time(self) -> Timing:
        """One run, from the first token behind ``depth`` to the last new one."""
        self._go_to_depth()
        self._wait()
        ids = self._prompts[:, self._depth :]
        begun = perf_counter()
        logits = self._run(ids)
        self._wait()
        prefill = perf_counter() - begun
        times: list[float] = []
        for step in range(self._new):
            if step:
                logits = self._run(ids)
            ids = self._next(logits, step)
            times.append(perf_counter() - begun)
        return Timing(prefill, tuple(times))

    def _go_to_depth(self) -> None:
        if self._depth and cut_back(self.cache, self.length, self._depth):
            self.length = self._depth
            return
        self.cache, self.length = None, 0
        self.cache = self._passes.begin()
        if self._depth:
            self._run(self._prompts[:, : self._depth])

    def _run(self, ids: Tensor) -> Tensor:
        logits, self.cache = self._passes.run(ids, self.cache)
        self.length += ids.shape[1]
        return logits

    def _next(self, logits: Tensor, step: int) -> Tensor:
        """The next token of each, [sequences, 1]: chosen and on the host, or forced."""
        if len(self._forced):
            self._wait()
            return self._forced[:, step : step + 1]
        chosen: Tensor = logits.argmax(-1, keepdim=True)
        # this waits for the device
        chosen.tolist()
        return chosen


class Timer:
    """Runs workloads on a model; ``as_opened`` lets it attend as transformers opened it.

    ``proven``: it is known that its cache can be gone on from, so that this need not be tried.
    """

    def __init__(
        self,
        passes: OwnPasses,
        vocabulary: int,
        as_opened: Callable[[], AbstractContextManager[None]],
        *,
        proven: bool,
    ) -> None:
        self._passes, self._as_opened, self._proven = passes, as_opened, proven
        #: of each workload under way, what is held
        self.under_way: list[Sequences] = []
        self._note = ""

        @cache
        def fault(rows: int, cuts: tuple[int, ...]) -> str | None:
            with self._surroundings():
                return fault_of_steps(passes, vocabulary, rows, cuts)

        self._try = fault

    def fault(self) -> str | None:
        """Why nothing can be timed with this model, or ``None``."""
        return None if self._proven else self._try(1, STEPS)

    def refuse(self, workload: Workload) -> None:
        """:raises JobFailed: this model cannot run ``workload`` rightly, though perhaps others."""
        if self._proven:
            return
        several, more = len(workload.prompts) > 1, len(workload.prompts[0]) - workload.depth
        if fault := self.fault():
            raise JobFailed(f"the model cannot be timed: {fault}")
        if several and (fault := self._try(2, STEPS)):
            raise JobFailed(f"the model cannot be timed with several sequences at once: {fault}")
        if workload.depth and more > 1 and (fault := self._try(1, JUMPS)):
            raise JobFailed(f"the model cannot be timed with several tokens behind a depth: {fault}")

    def runs(self, workload: Workload) -> Iterator[Timing]:
        """One run after the other; closing gives back the cache.

        :raises JobFailed: memory runs out.
        """
        sequences = Sequences(self._passes, workload)
        self.under_way.append(sequences)
        try:
            while True:
                yield self._timed(sequences, workload)
        finally:
            self.under_way.remove(sequences)
            del sequences
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def notes(self) -> tuple[str, ...]:
        """What the report must say, once something was timed."""
        return (self._note,) if self._note else ()

    def _timed(self, sequences: Sequences, workload: Workload) -> Timing:
        with self._surroundings():
            attention = self._passes.model.config._attn_implementation
            found = unless_memory_runs_out(lambda: [sequences.time()])
        if found is None:
            raise JobFailed(
                f"memory ran out while {len(workload.prompts)} sequences of {workload.longest} tokens were "
                "timed: take fewer at once, shorter ones, a smaller -o dtype, or a smaller model"
            )
        kind = type(sequences.cache).__name__
        self._note = (
            f"times are those of plain passes of transformers with its own attention ({attention}) and cache "
            f"({kind}), not of the way in which questions are asked"
        )
        return found[0]

    @contextmanager
    def _surroundings(self) -> Iterator[None]:
        with quiet(), self._as_opened(), torch.inference_mode():
            yield


def waiter(device: torch.device) -> Callable[[], None]:
    """What waits until ``device`` is idle; a CPU is whenever a pass has returned."""
    if device.type == "cuda":
        return partial(torch.cuda.synchronize, device)
    return torch.mps.synchronize if device.type == "mps" else lambda: None
