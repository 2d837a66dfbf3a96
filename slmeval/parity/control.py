"""The control: both sides are asked the very same token ids.

Where requests became different ids on the two sides, their answers differ by the ids and by the arithmetic
at once. So the first of these are asked again with the same ids on both: what differs then is no fault of the
ids. A text that parts is followed in the same way: both sides score what the first one wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from slmeval.api import Executor
from slmeval.asking import cut_units
from slmeval.errors import JobFailed
from slmeval.parity.differences import Gap
from slmeval.parity.sides import Pair, Side
from slmeval.plan import Cell, Item, Job, ScoreAsk
from slmeval.runner import JobRun, Progress
from slmeval.store import Store
from slmeval.types import Completion, Likelihood

#: requests that are asked again, and tokens of a text that are followed
_REQUESTS, _TOKENS = 32, 64


@dataclass(frozen=True)
class Asker:
    """What it takes to ask an engine."""

    executor: Executor
    store: Store
    timeout: float
    progress: Progress

    def ask(self, job: Job, cell: Cell, asks: Sequence[ScoreAsk]) -> dict[str, Likelihood]:
        """The answers by the digest of what was asked; what the store knows is not asked again.

        :raises JobFailed: the engine fails.
        """
        items = tuple(Item(number, cell.items[0].sample, ((ask,),)) for number, ask in enumerate(asks))
        probe = replace(cell, items=items)
        run = JobRun(
            replace(job, cells=(probe,), units=tuple(cut_units([probe])), groups=()),
            self.executor,
            self.store,
            self.timeout,
            self.progress,
        )
        run.run()
        replies = run.replies(probe)
        found = {ask.digest: replies.get(run.key(ask.digest)) for ask in asks}
        return {digest: reply for digest, reply in found.items() if isinstance(reply, Likelihood)}


@dataclass(frozen=True)
class Control:
    """What the control found, and, where there is none, why."""

    gaps: tuple[Gap, ...] = ()
    trouble: str = ""


def control(pairs: Iterable[Pair], first: Side, other: Side, asker: Asker) -> Control:
    """Ask both sides the same ids where these were different ones, or where the texts part."""
    asked = dict(_asks(pairs, first, other))
    if not asked:
        return Control()
    try:
        ours, theirs = (
            asker.ask(side.job, side.job.cells[0], list(asked.values())) for side in (first, other)
        )
    except JobFailed as error:
        return Control(trouble=f"asking both sides the same token ids failed: {error}")
    return Control(tuple(_gaps(asked, ours, theirs)))


def _gaps(
    asked: Mapping[str, ScoreAsk], ours: Mapping[str, Likelihood], theirs: Mapping[str, Likelihood]
) -> Iterator[Gap]:
    for place, ask in asked.items():
        if ask.digest in ours and ask.digest in theirs:
            position = len(ask.context) + len(ask.continuation)
            yield Gap(place, ours[ask.digest], theirs[ask.digest], True, position)


def _asks(pairs: Iterable[Pair], first: Side, other: Side) -> Iterator[tuple[str, ScoreAsk]]:
    if first.by_server or other.by_server or not _can_score(first) or not _can_score(other):
        return
    left = _REQUESTS
    for pair in pairs:
        ask = _ask(pair) if left else None
        if ask is not None and _mean_the_same(ask, first, other):
            left -= 1
            yield pair.place, ask


def _can_score(side: Side) -> bool:
    return side.report is not None and "score" in side.job.backend.capabilities


def _ask(pair: Pair) -> ScoreAsk | None:
    """The shorter of both contexts, which fits both sides; ``None`` where nothing is to be asked."""
    if pair.completions:
        return _followed(pair, pair.completions[0]) if pair.parts else None
    if pair.likelihoods is None or pair.equal_ids or len(pair.first.asks) != 1 or len(pair.other.asks) != 1:
        return None
    shorter = min(pair.first, pair.other, key=lambda put: len(put.context) + len(put.continuation))
    return ScoreAsk(shorter.context, shorter.continuation)


def _followed(pair: Pair, written: Completion) -> ScoreAsk | None:
    context = min(pair.first.context, pair.other.context, key=len)
    return ScoreAsk(context, written.ids[:_TOKENS]) if written.ids else None


def _mean_the_same(ask: ScoreAsk, first: Side, other: Side) -> bool:
    """Whether both sides take the ids for the same tokens: ids of another vocabulary would be nonsense."""
    ours, theirs = first.job.tokenizer, other.job.tokenizer
    if len(ask.context) + len(ask.continuation) > min(first.job.model.context, other.job.model.context) + 1:
        return False
    return ours.sha256 == theirs.sha256 or all(
        ours.token(token) == theirs.token(token) for token in {*ask.context, *ask.continuation}
    )
