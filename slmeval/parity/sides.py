"""The sides of a comparison: what each was asked, and what it answered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from slmeval.parity.noise import Arithmetic, arithmetic_of
from slmeval.parity.report import SideReport
from slmeval.plan import Ask, Cell, GenerateAsk, Job, Plan
from slmeval.scoring import joined
from slmeval.store import Store
from slmeval.token_tree import common_length
from slmeval.tokenizing import TEXT_ORIGIN, Encoder
from slmeval.types import (
    Completion,
    Generate,
    Likelihood,
    ModelReport,
    Reply,
    Request,
    Rolling,
    RunResult,
    Score,
    TokenIds,
)

#: under what a reply is found: task, shots, row, place among all that is asked for the row
Place = tuple[str, int, int, int]
#: what an engine's notes say of a server that makes ids, or puts a template around a text, by itself
_BY_SERVER = ("server-tokenized", "server-templated")


@dataclass(frozen=True)
class Side:
    """One model on one engine, with its replies; ``report`` is ``None`` where nothing was measured."""

    name: str
    job: Job
    report: ModelReport | None
    failures: tuple[str, ...]
    replies: Mapping[Place, Reply]

    @property
    def by_server(self) -> bool:
        """Whether a server makes the token ids, which are then not known here."""
        return self.job.tokenizer.origin == TEXT_ORIGIN or bool(self.of_server)

    @property
    def of_server(self) -> tuple[str, ...]:
        """What the engine says of a server that makes more of a text than is known here."""
        notes = self.report.notes if self.report else ()
        return tuple(note for note in notes if any(mark in note.lower() for mark in _BY_SERVER))

    @property
    def program(self) -> tuple[str, str, str] | None:
        """The engine with its version; ``None`` where it was not opened, or runs on a server."""
        info = self.report.info if self.report else None
        if info is None or self.job.model.form == "server":
            return None
        return self.job.backend.name, info.engine, info.engine_version

    @property
    def arithmetic(self) -> Arithmetic:
        """What the engine declares."""
        info = self.report.info if self.report else None
        return arithmetic_of(info.dtype if info else "unknown", self.report.options if self.report else {})

    def described(self) -> SideReport:
        """As the report tells it."""
        job, info = self.job, self.report.info if self.report else None
        return SideReport(
            name=self.name,
            backend=job.backend.name,
            model=job.label,
            reference=str(job.model.ref),
            model_hash=job.model.sha256,
            tokenizer=job.tokenizer.origin,
            tokenizer_hash=job.tokenizer.sha256,
            context=job.model.context,
            engine=f"{info.engine} {info.engine_version}" if info else None,
            dtype=info.dtype if info else None,
            parameters=info.parameters if info else None,
            options=dict(self.report.options if self.report else job.options),
            notes=self.report.notes if self.report else job.notes,
            failures=self.failures,
        )


def gather(plan: Plan, result: RunResult, store: Store) -> tuple[Side, ...]:
    """Every job of the plan as a side, in the order of the plan."""
    replies = _replies(result, store)
    reports = {(each.backend, each.label): each for each in result.models}
    sides = []
    for job in plan.jobs:
        key = (job.backend.name, job.label)
        failures = tuple(each.reason for each in result.failures if (each.backend, each.model) == key)
        sides.append(Side(f"{job.label} · {job.backend.name}", job, reports.get(key), failures, replies[key]))
    return tuple(_told_apart(sides))


def _told_apart(sides: Sequence[Side]) -> Iterator[Side]:
    """Copies of one model have one name: the later ones get a number."""
    seen: dict[str, int] = defaultdict(int)
    for side in sides:
        seen[side.name] += 1
        yield replace(side, name=f"{side.name} ({seen[side.name]})") if seen[side.name] > 1 else side


def _replies(result: RunResult, store: Store) -> Mapping[tuple[str, str], dict[Place, Reply]]:
    found: dict[tuple[str, str], dict[Place, Reply]] = defaultdict(dict)
    for number, cell in enumerate(result.cells):
        items = store.items(result.id, number)
        known = store.replies(key for _, _, key in items)
        mine = found[cell.backend, cell.model]
        mine.update(
            {(cell.name, cell.shots, row, place): known[key] for row, place, key in items if key in known}
        )
    return found


# ---- requests, side by side ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Put:
    """One request as it was put to one side.

    ``whole`` is its context, or prompt, before it was cut to the model's context; ``asks`` are several where
    a long text is asked in windows.
    """

    request: Request
    asks: tuple[Ask, ...]
    whole: TokenIds
    reply: Reply | None

    @property
    def context(self) -> TokenIds:
        """What stands before the first token that is asked for, as it was asked."""
        first = self.asks[0]
        return first.prompt if isinstance(first, GenerateAsk) else first.context

    @property
    def continuation(self) -> TokenIds:
        """The tokens asked for; none where a text is generated."""
        return tuple(
            token for ask in self.asks if not isinstance(ask, GenerateAsk) for token in ask.continuation
        )

    @property
    def cut(self) -> int:
        """Tokens that the model's context had no room for; windows count as cuts."""
        return len(self.whole) - len(self.context) + len(self.asks) - 1

    @property
    def ids(self) -> tuple[tuple[TokenIds, TokenIds], ...]:
        """All that was asked, as token ids."""
        return tuple(
            (ask.prompt, ()) if isinstance(ask, GenerateAsk) else (ask.context, ask.continuation)
            for ask in self.asks
        )


@dataclass(frozen=True)
class Pair:
    """One request on both sides. ``row`` and ``request`` count from 0.

    ``one_vocabulary``: the same token ids are the same tokens on both.
    """

    cell: Cell
    row: int
    request: int
    first: Put
    other: Put
    one_vocabulary: bool

    @property
    def place(self) -> str:
        """Where it stands, in words."""
        return f"{self.cell.label}, row {self.row + 1}, request {self.request + 1}"

    @property
    def equal_ids(self) -> bool:
        """Whether both sides were asked the same token ids."""
        return self.first.ids == self.other.ids

    @property
    def likelihoods(self) -> tuple[Likelihood, Likelihood] | None:
        """Both log-probabilities, where both are there."""
        one, two = self.first.reply, self.other.reply
        return (one, two) if isinstance(one, Likelihood) and isinstance(two, Likelihood) else None

    @property
    def completions(self) -> tuple[Completion, Completion] | None:
        """Both generated texts, where both are there."""
        one, two = self.first.reply, self.other.reply
        return (one, two) if isinstance(one, Completion) and isinstance(two, Completion) else None

    @property
    def parts(self) -> bool:
        """Whether two texts were generated that are not the same, to the last token where these can be held
        against each other: a server tells none."""
        if (both := self.completions) is None:
            return False
        known = self.one_vocabulary and both[0].ids and both[1].ids
        return both[0].text != both[1].text or bool(known and both[0].ids != both[1].ids)

    @property
    def common(self) -> int:
        """How many tokens two generated texts begin with alike."""
        both = self.completions
        return common_length(both[0].ids, both[1].ids) if both else 0

    @property
    def ends(self) -> bool:
        """Whether one of two texts is the beginning of the other, or all of it, by their tokens."""
        both = self.completions
        return both is not None and 0 < self.common == min(len(each.ids) for each in both)

    @property
    def comparable(self) -> bool:
        """Whether both sides have answered."""
        return self.likelihoods is not None or self.completions is not None


def pairs(first: Side, other: Side) -> tuple[Pair, ...]:
    """Every request that was put to both, in the order of the first."""
    theirs = {cell.key: cell for cell in other.job.cells}
    return tuple(
        pair
        for cell in first.job.cells
        if cell.key in theirs
        for pair in _pairs(first, cell, other, theirs[cell.key])
    )


def _pairs(first: Side, cell: Cell, other: Side, theirs: Cell) -> Iterator[Pair]:
    ours = _puts(first, cell)
    one_vocabulary = first.job.tokenizer.sha256 == other.job.tokenizer.sha256
    for place, put in _puts(other, theirs).items():
        if place in ours:
            yield Pair(cell, *place, ours[place], put, one_vocabulary)


def _puts(side: Side, cell: Cell) -> dict[tuple[int, int], Put]:
    """By row and request."""
    wholes = _wholes(side, [request for item in cell.items for request in item.sample.requests])
    found = {}
    for item in cell.items:
        place = 0
        for number, (request, asks) in enumerate(zip(item.sample.requests, item.parts, strict=True)):
            keys = [(*cell.key, item.index, place + step) for step in range(len(asks))]
            place += len(asks)
            replies = [side.replies[key] for key in keys if key in side.replies]
            reply = joined(replies) if len(replies) == len(asks) else None
            found[item.index, number] = Put(request, asks, wholes[request], reply)
    return found


def _wholes(side: Side, requests: Sequence[Request]) -> dict[Request, TokenIds]:
    """Of each request the context's token ids, as long as they are."""
    encoder = Encoder(side.job.tokenizer)
    scores = [request for request in dict.fromkeys(requests) if isinstance(request, Score)]
    prompts = [request.prompt for request in requests if isinstance(request, Generate)]
    texts = encoder.texts(prompts)
    splits = dict(zip(scores, encoder.splits(scores), strict=True))
    return {
        request: splits[request].context
        if isinstance(request, Score)
        else (encoder.first,)
        if isinstance(request, Rolling)
        else texts[request.prompt]
        for request in requests
    }
