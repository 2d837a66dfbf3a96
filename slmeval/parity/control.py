"""The control: both sides are asked the very same token ids.

Where requests became different ids on the two sides, their answers differ by the ids and by the arithmetic
at once. So the first of these are asked again with the same ids on both: what differs then is no fault of the
ids. A text that parts is followed in the same way: both sides score what the first one wrote around where it
parts, and what the other wrote there.
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

#: requests that are asked again; tokens of a text that are followed, and how many of them before it parts
_REQUESTS, _TOKENS, _BEFORE = 32, 64, 32


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
class Fork:
    """Where two texts part: of each side the log-probabilities that it gives to the token that it wrote, and
    to the one that the other wrote."""

    place: str
    first: tuple[float, float]
    other: tuple[float, float]
    position: int


@dataclass(frozen=True)
class Control:
    """What the control found, and, where there is none, why."""

    gaps: tuple[Gap, ...] = ()
    forks: tuple[Fork, ...] = ()
    trouble: str = ""


def control(pairs: Iterable[Pair], first: Side, other: Side, asker: Asker) -> Control:
    """Ask both sides the same ids where these were different ones, or where the texts part."""
    asked = list(_asks(pairs, first, other))
    if not asked:
        return Control()
    every = list({ask.digest: ask for _, asks in asked for ask in asks}.values())
    try:
        ours, theirs = (asker.ask(side.job, side.job.cells[0], every) for side in (first, other))
    except JobFailed as error:
        return Control(trouble=f"asking both sides the same token ids failed: {error}")
    gaps, forks = [], []
    for pair, asks in asked:
        if all(ask.digest in known for ask in asks for known in (ours, theirs)):
            found = [_gap(pair, ask, ours, theirs) for ask in asks]
            gaps += found
            forks += [_fork(pair, asks[0], *found)] if len(found) > 1 else []
    return Control(tuple(gaps), tuple(forks))


def _gap(pair: Pair, ask: ScoreAsk, ours: Mapping[str, Likelihood], theirs: Mapping[str, Likelihood]) -> Gap:
    position = len(ask.context) + len(ask.continuation)
    return Gap(pair.place, ours[ask.digest], theirs[ask.digest], True, position)


def _fork(pair: Pair, ask: ScoreAsk, followed: Gap, single: Gap) -> Fork:
    """``followed`` goes along the first's text, ``single`` is the other's token where that parts."""
    position = len(pair.first.context) + pair.common
    step = position - len(ask.context)
    mine, its = (reply.token_logprobs[step] for reply in (followed.first, followed.other))
    return Fork(pair.place, (mine, single.first.logprob), (single.other.logprob, its), position)


def _asks(pairs: Iterable[Pair], first: Side, other: Side) -> Iterator[tuple[Pair, tuple[ScoreAsk, ...]]]:
    if first.by_server or other.by_server or not _can_score(first) or not _can_score(other):
        return
    left = _REQUESTS
    for pair in pairs:
        asks = _of_pair(pair) if left else ()
        if asks and all(_mean_the_same(ask, first, other) for ask in asks):
            left -= 1
            yield pair, asks


def _can_score(side: Side) -> bool:
    return side.report is not None and "score" in side.job.backend.capabilities


def _of_pair(pair: Pair) -> tuple[ScoreAsk, ...]:
    """With the shorter of both contexts, which fits both sides; none where nothing is to be asked."""
    if pair.completions:
        return _followed(pair, *pair.completions) if pair.parts else ()
    if pair.likelihoods is None or pair.equal_ids or len(pair.first.asks) != 1 or len(pair.other.asks) != 1:
        return ()
    shorter = min(pair.first, pair.other, key=lambda put: len(put.context) + len(put.continuation))
    return (ScoreAsk(shorter.context, shorter.continuation),)


def _followed(pair: Pair, ours: Completion, theirs: Completion) -> tuple[ScoreAsk, ...]:
    """Along the first's text; where both went on from one prompt, also the other's token where they part."""
    context = min(pair.first.context, pair.other.context, key=len)
    begin = max(0, pair.common - _BEFORE)
    way = ScoreAsk((*context, *ours.ids[:begin]), ours.ids[begin : begin + _TOKENS])
    if not way.continuation:
        return ()
    if not pair.equal_ids or pair.common == min(len(ours.ids), len(theirs.ids)):
        return (way,)
    return way, ScoreAsk((*context, *ours.ids[: pair.common]), theirs.ids[pair.common : pair.common + 1])


def _mean_the_same(ask: ScoreAsk, first: Side, other: Side) -> bool:
    """Whether both sides take the ids for the same tokens: ids of another vocabulary would be nonsense."""
    ours, theirs = first.job.tokenizer, other.job.tokenizer
    if len(ask.context) + len(ask.continuation) > min(first.job.model.context, other.job.model.context) + 1:
        return False
    return ours.sha256 == theirs.sha256 or all(
        ours.token(token) == theirs.token(token) for token in {*ask.context, *ask.continuation}
    )
