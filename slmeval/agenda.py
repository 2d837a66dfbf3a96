"""What is still to be asked of a model, in order, block after block; parts of it can be left out."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass

from slmeval.plan import Ask, GenerateUnit, ScoreUnit, Unit
from slmeval.prefixes import in_prefix_order, prompts_in_prefix_order
from slmeval.types import ScoreGroup

#: a unit, and what it asks: made once, since each question's digest is kept with it
Question = tuple[Unit, tuple[tuple[Ask, ...], ...]]


@dataclass(frozen=True)
class Step:
    """The next thing to do: ask a question of a block, or, without one, see that the block is whole."""

    block: int
    question: Question | None = None


class Agenda:
    """Hands out the steps of all blocks; what was handed out comes back, answered or refused::

    agenda = Agenda([questions of a block, questions of the next])
    while (step := agenda.next()) is not None:
        ...
        agenda.back(step, parts)
    """

    def __init__(self, blocks: Sequence[Sequence[Question]]) -> None:
        self._waiting = {number: deque(questions) for number, questions in enumerate(blocks)}
        self._taken: set[str] = set()
        self._out: Counter[int] = Counter()

    def next(self) -> Step | None:
        """A question of the first block that has any left; once after its last one, the block itself.

        What another block has asked is not asked again.
        """
        for number, waiting in self._waiting.items():
            question = self._first_of(waiting)
            if question is None:
                # told once, and looked at no more
                del self._waiting[number]
            else:
                self._out[number] += 1
            return Step(number, question)
        return None

    def _first_of(self, waiting: deque[Question]) -> Question | None:
        while waiting:
            question = without(*waiting.popleft(), self._taken)
            if question is not None:
                self._taken.update(_digests(question))
                return question
        return None

    def back(self, step: Step, parts: Iterable[Question] = ()) -> None:
        """A question is done with, or was refused and is asked in ``parts``, last in its block."""
        self._out[step.block] -= 1
        for part in parts:
            self._taken.difference_update(_digests(part))
            self._waiting.setdefault(step.block, deque()).append(part)
        # the block may have been handed out as whole before, and then stands last
        self._waiting = dict(sorted(self._waiting.items()))

    def is_whole(self, block: int) -> bool:
        """Whether all of the block came back."""
        return block not in self._waiting and not self._out[block]

    def leave_out(self, blocks: Iterable[int]) -> None:
        """Ask no more of these blocks than what was handed out."""
        for number in blocks:
            self._waiting.pop(number, None)

    @property
    def left(self) -> int:
        """Requests that wait."""
        left: set[str] = set()
        for waiting in self._waiting.values():
            left.update(digest for question in waiting for digest in _digests(question))
        return len(left - self._taken)


def _digests(question: Question) -> Iterator[str]:
    return (ask.digest for group in question[1] for ask in group)


def requests(question: Question) -> int:
    """How many requests a question has."""
    return sum(map(len, question[1]))


def halves(unit: Question) -> tuple[Question, ...]:
    """Both halves of a unit; none where it is one context or prompt, of which no half can be asked.

    One question that an engine refuses must not take others with it, which may be of another task.
    """
    whole, asks = unit
    middle = len(asks) // 2
    if not middle:
        return ()
    parts: tuple[Unit, ...]
    if isinstance(whole, GenerateUnit):
        parts = tuple(
            GenerateUnit(prompts_in_prefix_order(half), whole.settings)
            for half in (whole.prompts[:middle], whole.prompts[middle:])
        )
    else:
        parts = tuple(
            ScoreUnit(in_prefix_order(half)) for half in (whole.groups[:middle], whole.groups[middle:])
        )
    return tuple((part, part.asks()) for part in parts)


def without(unit: Unit, asks: tuple[tuple[Ask, ...], ...], known: Set[str]) -> Question | None:
    """The unit with what it asks, less what is known, by digest; ``None`` when nothing is left.

    A unit of which nothing is known stays as it was planned, so that it gives the same bits.
    """
    left = [tuple(ask for ask in group if ask.digest not in known) for group in asks]
    if not any(left):
        return None
    if all(len(kept) == len(group) for kept, group in zip(left, asks, strict=True)):
        return unit, asks
    rest = _rest(unit, asks, known)
    return rest, rest.asks()


def _rest(unit: Unit, asks: Sequence[Sequence[Ask]], known: Set[str]) -> Unit:
    if isinstance(unit, GenerateUnit):
        pairs = zip(unit.prompts, asks, strict=True)
        prompts = [prompt for prompt, (ask,) in pairs if ask.digest not in known]
        return GenerateUnit(prompts_in_prefix_order(prompts), unit.settings)
    groups = [
        ScoreGroup(
            group.context,
            tuple(
                continuation
                for continuation, ask in zip(group.continuations, whole, strict=True)
                if ask.digest not in known
            ),
        )
        for group, whole in zip(unit.groups, asks, strict=True)
    ]
    return ScoreUnit(in_prefix_order(group for group in groups if group.continuations))
