"""Many ways side by side: as many as there is room for, their results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

from slmeval.types import TokenIds
from slmeval_vllm.requests import Desk, Turn

T = TypeVar("T")
ReplyT = TypeVar("ReplyT")
Reply_co = TypeVar("Reply_co", covariant=True)


class Question(Protocol[Reply_co]):
    """One request, and what its output says."""

    @property
    def ids(self) -> TokenIds:
        """The prompt."""

    def params(self) -> Any:
        """vLLM's SamplingParams."""

    def reply(self, output: Any) -> Reply_co:
        """What the output says."""


#: yields the questions that can be asked at once, is sent their replies, and returns its result
Work = Generator[Sequence[Question[ReplyT]], list[ReplyT], T]


def run(
    desk: Desk,
    works: Iterable[tuple[int, Work[ReplyT, T]]],
    room: int,
    prompts: Collection[TokenIds] = (),
) -> Iterator[T]:
    """The results of ``works``, each with the tokens that it takes; ``room`` tokens are under way at once.

    ``prompts`` are what the questions begin with: what all have in common is computed first, and kept.
    """
    waiting = deque(works)
    order: deque[_Running[ReplyT, T]] = deque()
    with desk.turn(prompts) as turn:
        owners: dict[str, tuple[_Running[ReplyT, T], int]] = {}
        while waiting or order:
            taken = sum(each.tokens for each in order)
            while waiting and (not order or taken + waiting[0][0] <= room):
                tokens, work = waiting.popleft()
                order.append(_Running(tokens, work, turn, owners))
                taken += tokens
            while order and order[0].finished:
                yield order.popleft().result
            if owners:
                for output in turn.step():
                    if output.finished:
                        running, place = owners.pop(output.request_id)
                        running.take(place, output)


class _Running(Generic[ReplyT, T]):
    """One work under way: the questions that it waits for, or its result."""

    def __init__(
        self,
        tokens: int,
        work: Work[ReplyT, T],
        turn: Turn,
        owners: dict[str, tuple[_Running[ReplyT, T], int]],
    ) -> None:
        self.tokens = tokens
        self.finished = False
        self.result: T
        self._work, self._turn, self._owners = work, turn, owners
        self._asks: Sequence[Question[ReplyT]] = []
        self._replies: dict[int, ReplyT] = {}
        self._advance(None)

    def take(self, place: int, output: object) -> None:
        """The answer to one of its questions; with the last of them it goes on."""
        self._replies[place] = self._asks[place].reply(output)
        if len(self._replies) == len(self._asks):
            self._advance([self._replies[at] for at in range(len(self._asks))])

    def _advance(self, replies: list[ReplyT] | None) -> None:
        try:
            # a generator that has not begun takes None alone
            self._asks = self._work.send(replies)  # type: ignore[arg-type]
        except StopIteration as end:
            self.finished, self.result = True, end.value
            return
        self._replies = {}
        for place, ask in enumerate(self._asks):
            self._owners[self._turn.add(ask.ids, ask.params())] = (self, place)
