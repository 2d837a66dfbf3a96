"""Many texts at once: those that end leave, and others take their seats.

A step is one batch: a token of each text that is being written, and of the prompts that are being read as
many as there is room for, so that a long prompt holds no other text up for longer than a batch takes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from slmeval.stopping import Stopper
from slmeval.token_tree import common_length
from slmeval.types import Completion, TokenIds
from slmeval_llamacpp.context import Context
from slmeval_llamacpp.distributions import likeliest
from slmeval_llamacpp.packing import Limits, Pack

#: a prompt waits for another to be read where it can then take so many more tokens from it
_WORTH_WAITING = 32


@dataclass
class _Seat:
    """A text on its own sequence; ``read`` tokens of its prompt and of what was written are in the cache."""

    sequence: int
    prompt: TokenIds
    stopper: Stopper
    cells: int
    read: int
    written: list[int] = field(default_factory=list)

    def next(self, most: int) -> Sequence[int]:
        """The tokens to be run next."""
        if self.written:
            return self.written[-1:]
        return self.prompt[self.read : self.read + most]

    @property
    def known(self) -> bool:
        """Whether all there is of it is in the cache, so that its next token can be told."""
        return self.read == len(self.prompt) + len(self.written)


class Writer:
    """Writes the texts after ``prompts``, each until its stopper has a verdict.

    ``rooms``: the most tokens that each may have. ``trunk``: how many tokens of sequence 0 all begin with;
    ``None`` for models that share nothing, which have one sequence, 0.
    """

    def __init__(
        self,
        context: Context,
        prompts: Sequence[TokenIds],
        stoppers: Sequence[Stopper],
        rooms: Sequence[int],
        limits: Limits,
        trunk: int | None,
    ) -> None:
        self._context, self._limits = context, limits
        self._prompts, self._stoppers, self._rooms = prompts, stoppers, rooms
        self._trunk, self._shares = trunk or 0, trunk is not None
        self._free = list(range(self._shares, limits.sequences + self._shares))
        self._seats: list[_Seat] = []
        #: those that may write nothing have ended before they begin
        self._waiting = deque(place for place, stopper in enumerate(stoppers) if stopper.reason is None)

    def completions(self) -> Iterator[Completion]:
        """The texts in the order of the prompts, each as soon as it and all before it are known."""
        for stopper in self._stoppers:
            while stopper.reason is None:
                self._step()
            yield stopper.completion()

    def _step(self) -> None:
        while self._admit():
            pass
        pack, ends = self._packed()
        for found, logits in self._context.run(pack):
            for place, token in zip(found.tolist(), likeliest(logits).tolist(), strict=True):
                ends[place].written.append(token)
                ends[place].stopper.push(token)
        for seat in [seat for seat in self._seats if seat.stopper.reason is not None]:
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
        place = self._waiting[0]
        prompt = self._prompts[place]
        cells = len(prompt) - self._trunk + self._rooms[place]
        if self._seats and self._held + cells > self._limits.cells:
            return False
        source, shared = self._nearest(prompt)
        if any(self._common(prompt, seat) - shared >= _WORTH_WAITING for seat in self._seats):
            return False
        seat = _Seat(self._free.pop(0), prompt, self._stoppers[place], cells, shared)
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
        return min(common_length(prompt, seat.prompt), len(prompt) - 1) if self._shares else 0

    def _leave(self, seat: _Seat) -> None:
        self._context.remove(seat.sequence)
        self._seats.remove(seat)
        self._free = sorted([*self._free, seat.sequence])
