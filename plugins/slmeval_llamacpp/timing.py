"""A workload on llama.cpp, run and timed as llama-bench does it.

A cache of its own for each sequence, 2,048 tokens given at once, and logits after the last token of a prompt
alone. All that a run needs is laid out before its clock starts: between two tokens stand a copy of the new
token's id, two calls of llama.cpp, and where the token is chosen the largest of its logits.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

import numpy as np
import numpy.typing as npt

from slmeval.types import Timing, Workload
from slmeval_llamacpp.context import Arrays, Context, Room
from slmeval_llamacpp.distributions import likeliest
from slmeval_llamacpp.native import library
from slmeval_llamacpp.settings import Settings

#: tokens that are given to llama.cpp at once, as llama-bench does
BATCH = 2048
#: llama.cpp gives a sequence's cache room in steps of so many tokens
_CELLS = 256

Ids = npt.NDArray[np.int32]


def check_batch(workload: Workload) -> None:
    """:raises ValueError: llama.cpp has no room for so many sequences."""
    most = library().llama_max_parallel_sequences()
    if len(workload.prompts) > most:
        raise ValueError(f"{len(workload.prompts)} sequences are more than llama.cpp's {most}")


def room_for(workload: Workload, settings: Settings) -> Room:
    """The room that ``workload`` needs."""
    sequences = len(workload.prompts)
    return Room(
        cells=sequences * -(-workload.longest // _CELLS) * _CELLS,
        sequences=sequences,
        batch=max(BATCH, settings.timed_batch_tokens),
        pass_tokens=settings.timed_batch_tokens,
        flash_attention=settings.timed_flash_attention,
        apart=True,
    )


def timed_note(context: Context, settings: Settings) -> str:
    """How the report says that ``context`` was timed."""
    chosen = any(line.endswith("Flash Attention enabled") for line in context.said)
    flash = "on" if settings.timed_flash_attention > 0 or chosen else "off"
    return (
        f"timed with threads={settings.threads}, up to {settings.timed_batch_tokens} tokens at once, "
        f"flash attention {flash}, and a cache of its own for each sequence"
    )


class Timer:
    """Runs one workload in a context of its own."""

    def __init__(self, context: Context, workload: Workload, *, rewinds: bool) -> None:
        prompts = np.asarray(workload.prompts, np.int32)
        self._context, self._rewinds, self._depth = context, rewinds, workload.depth
        self._sequences, self._length = prompts.shape
        self._new = workload.new_tokens
        self._before = list(_batches(prompts[:, : self._depth], 0, context.batch, wanted=False))
        self._prompts = list(_batches(prompts[:, self._depth :], self._depth, context.batch, wanted=True))
        self._step = next(_batches(prompts[:, -1:], self._length - 1, context.batch, wanted=True))[0]
        # a row for each step
        self._forced = np.asarray(workload.forced, np.int32).T if workload.forced else None
        self._ran = False

    def run(self) -> Timing:
        """Run it once, from a cache that holds the first ``depth`` tokens of each prompt.

        :raises JobFailed: llama.cpp cannot, or gives no numbers, and why.
        """
        self._rewind()
        self._step.positions[:] = self._length - 1
        began = perf_counter()
        chosen = self._prefill()
        prefill = perf_counter() - began
        tokens = tuple(self._tokens(began, prefill, chosen)) if self._new else ()
        # what cannot be chosen from is no model's work; the clock has stopped
        likeliest(self._context.logits(self._rows))
        return Timing(prefill, tokens)

    @property
    def _rows(self) -> int:
        """Rows of logits that the latest batch had."""
        return self._sequences if self._new > 1 else self._prompts[-1][1]

    # ---- before the clock ----------------------------------------------------------------------------

    def _rewind(self) -> None:
        if not (self._ran and self._cut()):
            self._context.clear()
            for arrays, _ in self._before:
                self._context.decode(arrays)
        self._ran = True
        self._context.synchronize()

    def _cut(self) -> bool:
        """Forget what a run put behind the first ``depth`` tokens; False: this model cannot."""
        sequences, context = range(self._sequences), self._context
        if not (self._rewinds and self._depth and all(context.is_whole(each) for each in sequences)):
            return False
        return all(context.remove(each, self._depth) for each in sequences)

    # ---- while it runs -------------------------------------------------------------------------------

    def _prefill(self) -> list[Ids]:
        """Run the prompts; what is chosen after those that end before the last batch."""
        context, chosen = self._context, []
        for arrays, rows in self._prompts[:-1]:
            context.decode(arrays)
            if rows and self._new:
                chosen.append(context.logits(rows).argmax(-1))
        context.decode(self._prompts[-1][0])
        context.synchronize()
        return chosen

    def _tokens(self, began: float, prefill: float, chosen: list[Ids]) -> Iterator[float]:
        """The time of each new token; those that are given need no choice."""
        if self._forced is not None:
            yield prefill
            yield from self._forced_steps(began, self._forced)
            return
        first = np.concatenate([*chosen, self._context.logits(self._prompts[-1][1]).argmax(-1)])
        yield perf_counter() - began
        yield from self._chosen_steps(began, first)

    def _forced_steps(self, began: float, forced: Ids) -> Iterator[float]:
        context, step, tokens, positions = self._context, self._step, self._step.tokens, self._step.positions
        for row in forced[:-1]:
            tokens[:] = row
            positions += 1
            context.decode(step)
            context.synchronize()
            yield perf_counter() - began

    def _chosen_steps(self, began: float, chosen: Ids) -> Iterator[float]:
        context, step, tokens, positions = self._context, self._step, self._step.tokens, self._step.positions
        rows = self._sequences
        for _ in range(self._new - 1):
            tokens[:] = chosen
            positions += 1
            context.decode(step)
            chosen = context.logits(rows).argmax(-1)
            yield perf_counter() - began


def _batches(ids: Ids, start: int, size: int, *, wanted: bool) -> Iterator[tuple[Arrays, int]]:
    """Batches of up to ``size`` tokens, with how many rows of logits each will have.

    ``ids``: int32[sequences, tokens], each row at positions from ``start`` on; with ``wanted``, the logits
    after a row's last token are.
    """
    sequences, tokens = ids.shape
    positions = np.tile(np.arange(start, start + tokens, dtype=np.int32), sequences)
    numbers = np.repeat(np.arange(sequences, dtype=np.int32), tokens)
    last = (positions == start + tokens - 1) & wanted
    columns = [ids.ravel(), positions, numbers, np.ones_like(numbers)]
    for at in range(0, ids.size, size):
        piece = slice(at, at + size)
        arrays = Arrays(len(numbers[piece]))
        arrays.fill([column[piece] for column in columns], last[piece], 0)
        yield arrays, int(last[piece].sum())
