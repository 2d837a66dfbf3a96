"""Batches: the longest first, as many tokens as there is memory for, and half of that when it runs out."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import torch

from slmeval.errors import JobFailed

#: as many logits as one pass may give, over all positions and the whole vocabulary: half a GiB of float32
LOGITS = 1 << 27

T = TypeVar("T")


class Budget:
    """How many tokens a batch may hold; once halved, it stays so."""

    def __init__(self, tokens: int, vocabulary: int) -> None:
        self.tokens = tokens
        self.halved = False
        #: of so many tokens the logits fit
        self.positions = max(1, LOGITS // vocabulary)

    def rows(self, columns: int, scored: int = 1) -> int:
        """How many rows of ``columns`` tokens fit, where logits are needed at ``scored`` of them."""
        return max(1, min(self.tokens // columns, self.positions // max(1, scored)))

    def halve(self, columns: int, rows: int) -> None:
        """Memory ran out with a batch of this size: ask for less from now on.

        :raises JobFailed: it was one row, and its passes held one row each.
        """
        if rows == 1 and self.tokens < columns:
            raise JobFailed(
                f"memory ran out with a single sequence of {columns} tokens: "
                "take another device, a smaller -o dtype, or a smaller model"
            )
        self.tokens = min(self.tokens, rows * columns) // 2
        self.positions = max(1, self.positions // 2)
        self.halved = True


def within_memory(work: Callable[[], T], texts: int) -> T:
    """``work`` on ``texts`` texts, which cannot be done with fewer tokens.

    :raises JobFailed: memory runs out.
    """
    found = unless_memory_runs_out(lambda: [work()])
    if found is None:
        raise JobFailed(
            f"memory ran out while {texts} texts were written: say with -o batch_tokens how many tokens all "
            "texts may hold at once, or take a smaller -o dtype or model"
        )
    return found[0]


class PassBudget:
    """How many tokens one pass may run; once halved, it stays so."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.halved = False

    def attempt(self, work: Callable[[int], T]) -> T:
        """``work`` with as many tokens as it may run; with half of them where memory ran out.

        :raises JobFailed: there is not enough for one token.
        """
        while True:
            found = unless_memory_runs_out(lambda: [work(self.tokens)])
            if found is not None:
                return found[0]
            if self.tokens == 1:
                raise JobFailed(
                    "memory ran out with a single token: take another device, a smaller -o dtype, or a "
                    "smaller model"
                )
            self.tokens = (self.tokens + 1) // 2
            self.halved = True


def run_in_batches(
    columns: Sequence[int], budget: Budget, work: Callable[[list[int]], Sequence[T]]
) -> Iterator[T]:
    """``work`` on batches of indices into ``columns``; the results come in the order of ``columns``.

    :raises JobFailed: there is not enough memory for a single one.
    """
    waiting = sorted(range(len(columns)), key=lambda index: -columns[index])
    done: dict[int, T] = {}
    told = 0
    while waiting:
        batch = waiting[: budget.rows(columns[waiting[0]])]
        results = unless_memory_runs_out(partial(work, batch))
        if results is None:
            budget.halve(columns[batch[0]], len(batch))
            continue
        waiting = waiting[len(batch) :]
        done.update(zip(batch, results, strict=True))
        while told in done:
            yield done.pop(told)
            told += 1


def unless_memory_runs_out(work: Callable[[], Sequence[T]]) -> Sequence[T] | None:
    """What ``work`` gives, or ``None`` where the memory ran out."""
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
    # only here, for the error held on to the tensors
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def _is_out_of_memory(error: BaseException) -> bool:
    # the CPU's allocator and Metal's have no class of their own
    words = ("out of memory", "not enough memory", "can't allocate memory")
    known = isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))
    return known or any(word in str(error) for word in words)
