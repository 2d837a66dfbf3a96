"""Many texts at once: those that end leave, and others take their seats.

A step is one batch: a token of each text that is being written, and of the prompts that are being read as
many as there is room for, so that a long prompt holds no other text up for longer than a batch takes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from slmeval.sampling import Sampler
from slmeval.stopping import Stopper
from slmeval.token_tree import common_length
from slmeval.types import Completion, TokenIds
from slmeval_llamacpp.context import Context
from slmeval_llamacpp.distributions import likeliest
from slmeval_llamacpp.packing import Limits, Pack

#: a prompt waits for another to be read where it can then take so many more tokens from it
_WORTH_WAITING = 32


@dataclass(frozen=True)
class Work:
    """A prompt, and what is written after it.

    ``stopper`` says when the text ends, after ``room`` tokens at most; ``sampler`` draws its tokens
    (``None``: the likeliest are taken).
    """

    prompt: TokenIds
    room: int
    stopper: Stopper
    sampler: Sampler | None


@dataclass
class _Seat:
    """A text on its own sequence; ``read`` tokens of its prompt and of what was written are in the cache."""

    sequence: int
    work: Work
    cells: int
    read: int
    written: list[int] = field(default_factory=list)

    def next(self, most: int) -> Sequence[int]:
        """The tokens to be run next."""
        if self.written:
            return self.written[-1:]
        return self.work.prompt[self.read : self.read + most]

    @property
    def known(self) -> bool:
        """Whether all there is of it is in the cache, so that its next token can be told."""
        return self.read == len(self.work.prompt) + len(self.written)

    def write(self, likeliest: int, logits: npt.NDArray[np.float32]) -> None:
        """Take the next token, by ``logits``, float32[vocabulary]."""
        sampler = self.work.sampler
        token = likeliest if sampler is None else sampler.draw(logits)
        self.written.append(token)
        self.work.stopper.push(token)


class Writer:
    """Writes the texts of ``works``, each until its stopper has a verdict.

    ``trunk``: how many tokens of sequence 0 all begin with; ``None`` for models that share nothing, which
    have one sequence, 0.
    """

    def __init__(self, context: Context, works: Sequence[Work], limits: Limits, trunk: int | None) -> None:
        self._context, self._works, self._limits = context, works, limits
        self._trunk, self._shares = trunk or 0, trunk is not None
        self._free = list(range(self._shares, limits.sequences + self._shares))
        self._seats: list[_Seat] = []
        #: those that may write nothing have ended before they begin
        self._waiting = deque(work for work in works if work.stopper.reason is None)

    def completions(self) -> Iterator[Completion]:
        """The texts in the order of the prompts, each as soon as it and all before it are known."""
        for work in self._works:
            while work.stopper.reason is None:
                self._step()
            yield work.stopper.completion()

    def _step(self) -> None:
        while self._admit():
            pass
        pack, ends = self._packed()
        for found, logits in self._context.run(pack):
            best = likeliest(logits).tolist()
            for place, token, row in zip(found.tolist(), best, logits, strict=True):
                ends[place].write(token, row)
        for seat in [seat for seat in self._seats if seat.work.stopper.reason is not None]:
            self._leave(seat)

    def _packed(self) -> tuple[Pack, dict[int, _Seat]]:
        """The next batch, and whose next token each of its wanted places tells."""
        pack, ends = Pack(), dict[int, _Seat]()
        for seat in sorted(self._seats, key=lambda seat: not seat.written):
            tokens = seat.next(self._limits.tokens - len(pack.tokens))
            pack.tokens += tokens
            pack.positions += range(seat.read, seat.read + len(tokens))
            pack.first += [seat.sequence] * len(tokens)
            pack.counts += [1] * len(tokens)
            pack.wanted += [False] * len(tokens)
            seat.read += len(tokens)
            if seat.known and tokens:
                pack.wanted[-1] = True
                ends[len(pack.tokens) - 1] = seat
        return pack, ends

    # ---- seats ---------------------------------------------------------------------------------------

    def _admit(self) -> bool:
        """Give the next prompt a seat; False: none waits, or it must go on waiting."""
        if not (self._waiting and self._free):
            return False
        work = self._waiting[0]
        prompt = work.prompt
        cells = len(prompt) - self._trunk + work.room
        if self._seats and self._held + cells > self._limits.cells:
            return False
        source, shared = self._nearest(prompt)
        if any(self._common(prompt, seat) - shared >= _WORTH_WAITING for seat in self._seats):
            return False
        seat = _Seat(self._free.pop(0), work, cells, shared)
        self._context.copy(source, seat.sequence, 0, shared)
        self._seats.append(seat)
        self._waiting.popleft()
        return True

    @property
    def _held(self) -> int:
        return self._trunk + sum(seat.cells for seat in self._seats)

    def _nearest(self, prompt: TokenIds) -> tuple[int, int]:
        """The sequence with most of ``prompt`` in it, and how many of its tokens those are."""
        near = [(min(self._common(prompt, seat), seat.read), -seat.sequence) for seat in self._seats]
        shared, sequence = max(near, default=(0, 0))
        return (-sequence, shared) if shared > self._trunk else (0, self._trunk)

    def _common(self, prompt: TokenIds, seat: _Seat) -> int:
        """The last token of a prompt is always run, for what follows it is asked."""
        return min(common_length(prompt, seat.work.prompt), len(prompt) - 1) if self._shares else 0

    def _leave(self, seat: _Seat) -> None:
        self._context.remove(seat.sequence)
        self._seats.remove(seat)
        self._free = sorted([*self._free, seat.sequence])
