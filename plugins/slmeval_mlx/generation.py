"""Texts: many at once behind a trunk, or one at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import mlx.core as mx
import numpy as np

from slmeval.errors import JobFailed
from slmeval.sampling import Sampler
from slmeval.stopping import Stopper
from slmeval.token_tree import common_length
from slmeval.types import Completion, TokenIds
from slmeval_mlx.packed import Mask, Packed
from slmeval_mlx.trunk import Trunk

#: texts written at once: each attends to the others' tokens too, so that more cost more on a CPU, whose
#: rate no longer grows; a GPU has arithmetic to spare
WRITTEN_AT_ONCE = {"cpu": 8, "gpu": 32}
#: columns of ended texts that are worth a move of the others
DEAD = 64


@dataclass(frozen=True)
class Work:
    """A prompt, what says when its text ends, and what draws its tokens.

    Without a sampler the likeliest token is taken each time.
    """

    ids: TokenIds
    stopper: Stopper
    sampler: Sampler | None = None


@dataclass(frozen=True)
class Limits:
    """``texts`` at once, ``tokens`` in a pass, ``columns`` in the cache."""

    texts: int
    tokens: int
    columns: int


# ---- many at once ------------------------------------------------------------------------------------


@dataclass
class _Text:
    """A text being written: its columns in the cache, and the tokens that are not there yet."""

    stopper: Stopper
    sampler: Sampler | None
    waiting: deque[int]
    columns: list[int]


def write_together(packed: Packed, works: Sequence[Work], limits: Limits) -> Iterator[Completion]:
    """What the model writes after each prompt, in order.

    Each pass adds a token to every text, and fills itself with prompts. A text that ends makes room at once.

    :raises JobFailed: the model gives no numbers.
    """
    desk = _Desk(packed, works, limits)
    for work in works:
        while work.stopper.reason is None:
            desk.turn()
        yield work.stopper.completion()


@dataclass(frozen=True)
class _Chunk:
    """Tokens that a pass adds to a text, the first at ``depth``, the last just before ``end`` of the pass."""

    text: _Text
    tokens: list[int]
    depth: int
    end: int


def _mask(chunks: Sequence[_Chunk], width: int) -> Mask:
    """What each token of a pass sees: its own text, [tokens, columns before + tokens]."""
    size = chunks[-1].end
    mask = np.zeros((size, width + size), np.bool_)
    for chunk in chunks:
        start = chunk.end - len(chunk.tokens)
        mask[start : chunk.end, chunk.text.columns[: chunk.depth]] = True
        for row in range(start, chunk.end):
            mask[row, width + start : width + row + 1] = True
    return mask


class _Desk:
    def __init__(self, packed: Packed, works: Sequence[Work], limits: Limits) -> None:
        self._packed, self._limits = packed, limits
        self._coming = deque(work for work in works if work.stopper.reason is None)
        self._texts: list[_Text] = []
        #: the prompt that came last, behind the trunk, and where it lies
        self._before: tuple[TokenIds, list[int]] = ((), [])

    def turn(self) -> None:
        """One pass."""
        chunks = list(self._chunks())
        tokens = [token for chunk in chunks for token in chunk.tokens]
        depths = [chunk.depth + at for chunk in chunks for at in range(len(chunk.tokens))]
        asked = [chunk for chunk in chunks if not chunk.text.waiting]
        mask = _mask(chunks, self._packed.width)
        logits = self._packed.run(tokens, depths, mask, [chunk.end - 1 for chunk in asked])
        if asked:
            samplers = [chunk.text.sampler for chunk in asked]
            for chunk, token in zip(asked, next_tokens(self._packed, logits, samplers), strict=True):
                chunk.text.stopper.push(token)
                chunk.text.waiting.append(token)
        else:
            self._packed.settle()
        going = [text for text in self._texts if text.stopper.reason is None]
        if len(going) < len(self._texts):
            self._texts = going
            self._tidy()

    def _chunks(self) -> Iterator[_Chunk]:
        """What a pass holds: a token of each text that is being written, then prompts."""
        used = 0
        for text in self._in_turn():
            count = min(len(text.waiting), self._limits.tokens - used)
            tokens = [text.waiting.popleft() for _ in range(count)]
            depth = len(text.columns)
            text.columns.extend(range(self._packed.width + used, self._packed.width + used + count))
            used += count
            yield _Chunk(text, tokens, depth, used)
            if used == self._limits.tokens:
                break

    def _in_turn(self) -> Iterator[_Text]:
        yield from self._texts
        while self._coming and self._has_room():
            text = self._begun(self._coming.popleft())
            self._texts.append(text)
            yield text

    def _has_room(self) -> bool:
        new = len(self._coming[0].ids)
        return not self._texts or (
            len(self._texts) < self._limits.texts and new + self._packed.width <= self._limits.columns
        )

    def _begun(self, work: Work) -> _Text:
        ids = work.ids[self._packed.start :]
        shared = self._shared(ids)
        text = _Text(work.stopper, work.sampler, deque(ids[shared:]), self._before[1][:shared])
        self._before = (ids, text.columns)
        return text

    def _shared(self, ids: TokenIds) -> int:
        """How much of ``ids`` the last prompt has brought; the last token is always run."""
        before, columns = self._before
        return min(common_length(before, ids), len(columns), len(ids) - 1)

    def _tidy(self) -> None:
        """Drop the columns that no text will look at again, once they are many."""
        if not self._texts and not self._coming:
            return
        before, columns = self._before
        coming = self._shared(self._coming[0].ids[self._packed.start :]) if self._coming else 0
        live = sorted({*columns[:coming], *(column for text in self._texts for column in text.columns)})
        if self._packed.width - len(live) < DEAD:
            return
        self._packed.keep(live)
        moved = {column: place for place, column in enumerate(live)}
        stem = [moved[column] for column in columns[:coming]]
        for text in self._texts:
            text.columns[:] = [moved[column] for column in text.columns]
        self._before = (before[:coming], stem)


def next_tokens(packed: Packed, logits: Any, samplers: Sequence[Sampler | None]) -> list[int]:
    """The next token by each row of ``logits``, drawn by its sampler if it has one.

    :raises JobFailed: they are no numbers.
    """
    best = likeliest(packed, logits)
    if all(sampler is None for sampler in samplers):
        return best
    rows = zip(best, samplers, _in_numpy(logits), strict=True)
    return [token if sampler is None else sampler.draw(row) for token, sampler, row in rows]


def _in_numpy(logits: Any) -> Any:
    """As float32, for numpy has no bfloat16."""
    return np.array(logits.astype(mx.float32))


def likeliest(packed: Packed, logits: Any) -> list[int]:
    """The likeliest token by each row of ``logits``, of equally likely ones the lowest.

    :raises JobFailed: they are no numbers; the likeliest of these would be some token all the same.
    """
    best: Any = mx.argmax(logits, axis=-1)
    values: Any = mx.take_along_axis(logits, best[:, None], axis=-1)
    # together, so that the device is waited for once
    packed.settle(best, values)
    _check(values.flatten().tolist())
    return [int(token) for token in best.tolist()]


def _check(values: Sequence[float]) -> None:
    if not all(map(isfinite, values)):
        raise JobFailed(
            "the model's logits are not numbers: its weights are damaged, or its numbers overflow "
            "(another --dtype may help)"
        )


# ---- one at a time -----------------------------------------------------------------------------------


def write_alone(trunk: Trunk, work: Work) -> Completion:
    """What the model writes after one prompt; what it begins with as the one before is not run again.

    :raises JobFailed: the model gives no numbers.
    """
    if work.stopper.reason is None:
        trunk.move_to(work.ids[:-1])
        token = work.ids[-1]
        while work.stopper.reason is None:
            logits = trunk.step(token)
            best: Any = mx.argmax(logits)
            value: Any = logits[best]
            mx.eval(best, value)
            _check([value.item()])
            token = int(best.item()) if work.sampler is None else work.sampler.draw(_in_numpy(logits))
            work.stopper.push(token)
    return work.stopper.completion()
