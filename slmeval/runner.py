"""Drives workers: units out, answers in, into the store; then figures."""

from __future__ import annotations

import hashlib
import reprlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, get_args

from slmeval.agenda import Agenda, Question, Step, halves, requests, without
from slmeval.api import Executor
from slmeval.conversation import Conversation
from slmeval.errors import JobFailed
from slmeval.head_start import HeadStart
from slmeval.plan import Ask, Cell, GenerateAsk, GenerateUnit, Job
from slmeval.protocol import ProtocolError, pack_unit, unpack_replies
from slmeval.sights import Sight
from slmeval.store import Store
from slmeval.types import (
    Completion,
    EndReason,
    Likelihood,
    ModelInfo,
    ModelReport,
    OptionValue,
    Reply,
)

#: a log-probability may lie above zero by rounding (half precision), not by more
_ABOVE_ZERO = 1e-2
#: lower than any engine's numbers go, and high enough that a sum of them stays finite
_LOWEST = -1e300
#: token ids are kept as 32-bit numbers
_LARGEST_ID = 2**31 - 1
#: units sent ahead, so that a worker need not wait for the parent
_AHEAD = 2


class Progress(Protocol):
    """Who is told how far a run is, in requests (a continuation, a generated text) or in probes.

    Where cells may end early, it is told what is known of them, and that so many requests are left out.
    """

    def begin(self, label: str, total: int, unit: str = "req") -> None: ...

    def advance(self, done: int) -> None: ...

    def end(self) -> None: ...

    def see(self, sights: Sequence[Sight]) -> None: ...

    def leave_out(self, requests: int) -> None: ...


class Watch(Protocol):
    """Who looks at what was answered so far, and ends cells early."""

    def whole(self, block: int, run: JobRun) -> Sequence[int]:
        """All of a block is answered; which blocks are not to be asked any more."""
        ...


class _NoWatch:
    """Nobody looks: all is asked."""

    def whole(self, block: int, run: JobRun) -> Sequence[int]:  # noqa: ARG002
        return ()


class JobRun:
    """One job, from the first frame to its answers in the store."""

    def __init__(
        self,
        job: Job,
        executor: Executor,
        store: Store,
        timeout: float,
        progress: Progress,
        head_start: HeadStart | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._job = job
        self._executor = executor
        self._store = store
        self._timeout = timeout
        self._progress = progress
        self._head_start = head_start
        self._watch = watch or _NoWatch()
        self._fingerprint = ""
        self._resolved: Mapping[str, Any] = {}
        self._info: ModelInfo | None = None
        self._notes: tuple[str, ...] = ()
        self._kept_notes: tuple[str, ...] = ()
        self._lacking: Mapping[str, str] = {}
        self._unasked: dict[str, str] = {}
        #: questions whose answers were in the store already, by digest
        self._known: frozenset[str] = frozenset()
        #: requests put to the engine
        self.asked = 0

    @property
    def described(self) -> bool:
        """Whether the engine has said what it is, without which no answer can be told from another's."""
        return bool(self._fingerprint)

    def run(self) -> None:
        """Ask what is not yet in the store.

        :raises JobFailed: the worker died, hung, failed, or is of another version.
        """
        talk = Conversation(self._job, self._executor, self._timeout, self._head_start)
        try:
            self._resolved, self._fingerprint = talk.resolved, talk.fingerprint
            blocks = self._open_blocks()
            self._info = self._store.model_info(self._fingerprint)
            if self._known:
                # they are of the answers that were there as much as of those to come
                self._kept_notes = self._store.model_notes(self._fingerprint)
            if any(blocks) or self._info is None:
                self._open(talk)
            self._ask(talk, Agenda([self._without_lacking(block) for block in blocks]))
        except BaseException:
            talk.close(kill=True)
            raise
        talk.close()

    def key(self, digest: str) -> str:
        """The key of what was asked, on this very model, tokenizer, engine and options."""
        return hashlib.sha256(f"{self._fingerprint}\0{digest}".encode()).hexdigest()

    def replies(self, cell: Cell) -> dict[str, Reply]:
        """The cell's replies, by key."""
        return self._store.replies(self.key(ask.digest) for item in cell.items for ask in item.asks)

    def reused_of(self, cells: Iterable[Cell]) -> int:
        """To how many requests of these cells the answers were in the store already."""
        asked = {ask.digest for cell in cells for item in cell.items for ask in item.asks}
        return len(asked & self._known)

    def refusal(self, cell: Cell) -> str | None:
        """Why this model did not answer a part of the cell, or ``None``."""
        reasons = (self._unasked.get(ask.digest) for item in cell.items for ask in item.asks)
        return next((reason for reason in reasons if reason is not None), None)

    def is_answered(self, cell: Cell) -> bool:
        """Whether every answer to the cell is in the store."""
        keys = {self.key(ask.digest) for item in cell.items for ask in item.asks}
        return self.described and self._store.known(keys) >= keys

    def report(self) -> ModelReport:
        """What the model and its engine are."""
        return model_report(self._job, self._resolved, self._info, (*self._kept_notes, *self._notes))

    # ---- the conversation --------------------------------------------------------------------------

    def _open(self, talk: Conversation) -> None:
        opened = talk.open()
        self._info, self._notes, self._lacking = opened.info, opened.notes, opened.lacking
        self._remember()

    def _remember(self) -> None:
        assert self._info is not None
        self._store.remember_model(self._fingerprint, self._info, self._notes)

    def _open_blocks(self) -> list[list[Question]]:
        """The units of each block, less what the store knows; without blocks all are one."""
        planned = [block.units for block in self._job.blocks] or [self._job.units]
        blocks = [[(unit, unit.asks()) for unit in units] for units in planned]
        keys = {
            ask.digest: self.key(ask.digest)
            for questions in blocks
            for _, asks in questions
            for group in asks
            for ask in group
        }
        in_store = self._store.known(keys.values())
        known = {digest for digest, key in keys.items() if key in in_store}
        self._known = frozenset(known)
        return [
            [left for unit, asks in questions if (left := without(unit, asks, known)) is not None]
            for questions in blocks
        ]

    def _without_lacking(self, units: Sequence[Question]) -> list[Question]:
        """The units that this very model can answer; why it cannot answer the others is kept."""
        able = []
        for unit, asks in units:
            reason = self._lacking.get("generate" if isinstance(unit, GenerateUnit) else "score")
            if reason is None:
                able.append((unit, asks))
            else:
                self._leave_out(asks, reason)
        return able

    def _leave_out(self, asks: tuple[tuple[Ask, ...], ...], reason: str) -> None:
        self._unasked.update((ask.digest, reason) for group in asks for ask in group)

    def _ask(self, talk: Conversation, agenda: Agenda) -> None:
        self._progress.begin(f"{self._job.backend.name}:{self._job.label}", agenda.left)
        try:
            flying: deque[Step] = deque()
            number = 0
            while self._send_ahead(talk, agenda, flying, number):
                step = flying.popleft()
                if step.question is None:
                    self._look(agenda, step.block)
                    continue
                # a unit that is refused is asked again in parts, which come last in its block
                parts = self._take_answers(talk, number, step.question)
                agenda.back(step, parts)
                number += 1
                self._progress.advance(requests(step.question) - sum(map(requests, parts)))
        finally:
            self._progress.end()

    def _send_ahead(self, talk: Conversation, agenda: Agenda, flying: deque[Step], number: int) -> bool:
        """Send what the worker is to have before it; ``number`` is that of the first unit on its way.

        What is due at once comes first: a look may leave out what would be sent.
        """
        on_the_way = sum(step.question is not None for step in flying)
        while on_the_way < _AHEAD and not (flying and flying[0].question is None):
            step = agenda.next()
            if step is None:
                break
            if step.question is not None:
                talk.send("unit", number=number + on_the_way, unit=pack_unit(step.question[0]))
                on_the_way += 1
            flying.append(step)
        return bool(flying)

    def _look(self, agenda: Agenda, block: int) -> None:
        if not agenda.is_whole(block):
            return
        before = agenda.left
        agenda.leave_out(self._watch.whole(block, self))
        self._progress.leave_out(before - agenda.left)

    def _take_answers(self, talk: Conversation, number: int, unit: Question) -> tuple[Question, ...]:
        """Put the answers to a unit into the store; the parts in which it is to be asked again, if any."""
        _, asks = unit
        message = talk.expect("answers", "unanswerable")
        if message["number"] != number:
            raise JobFailed(f"the worker answered unit {message['number']} when {number} was due")
        if message["kind"] == "unanswerable":
            parts = halves(unit)
            if not parts:
                self._leave_out(asks, str(message["message"]))
            return parts
        if message["notes"] != list(self._notes):
            self._notes = talk.notes(message)
            self._remember()
        try:
            replies = unpack_replies(message["replies"])
        except ProtocolError as error:
            raise talk.untrue(f"an answer that does not fit its request: {error}") from None
        pairs = list(self._pairs(talk, asks, replies))
        # one transaction: a unit is in the store whole, or not at all
        self._store.save_replies(pairs)
        self.asked += len(pairs)
        return ()

    def _pairs(
        self, talk: Conversation, groups: tuple[tuple[Ask, ...], ...], replies: tuple[tuple[Reply, ...], ...]
    ) -> Iterator[tuple[str, Reply]]:
        if len(groups) != len(replies):
            raise talk.untrue(f"answers to {len(replies)} groups of {len(groups)}")
        for asks, given in zip(groups, replies, strict=True):
            if len(asks) != len(given):
                raise talk.untrue(f"{len(given)} answers to a group of {len(asks)}")
            for ask, reply in zip(asks, given, strict=True):
                # better no figure than a wrong one, and better no answer than one that the store cannot keep
                if reason := _misfit(ask, reply):
                    raise talk.untrue(reason)
                yield self.key(ask.digest), reply


def model_report(
    job: Job, resolved: Mapping[str, OptionValue], info: ModelInfo | None, notes: Iterable[str]
) -> ModelReport:
    """What a job's model and its engine are, with what the engine resolved its options to."""
    return ModelReport(
        label=job.label,
        backend=job.backend.name,
        reference=str(job.model.ref),
        model_hash=job.model.sha256,
        tokenizer=job.tokenizer.origin,
        tokenizer_hash=job.tokenizer.sha256,
        options=dict(resolved),
        info=info,
        notes=tuple(dict.fromkeys((*job.notes, *notes))),
        template_hash=job.template,
    )


# ---- what a stranger's engine says, checked -----------------------------------------------------------


def _misfit(ask: Ask, reply: Reply) -> str | None:
    """What is wrong with a reply, if it cannot be true or cannot be kept."""
    if isinstance(ask, GenerateAsk):
        wrong = _wrong_in(reply) if isinstance(reply, Completion) else "it is no text"
    elif not isinstance(reply, Likelihood):
        wrong = "it is no likelihood"
    elif len(reply.token_logprobs) != len(ask.continuation):
        wrong = f"{len(reply.token_logprobs)} log-probabilities for {len(ask.continuation)} tokens"
    elif not isinstance(reply.greedy, bool):
        wrong = f"greedy is {reprlib.repr(reply.greedy)}"
    else:
        return _impossible(reply.token_logprobs)
    return wrong and f"an answer that does not fit its request: {wrong}"


def _wrong_in(completion: Completion) -> str | None:
    for text in (completion.text, completion.thought):
        if not isinstance(text, str):
            return f"its text is {reprlib.repr(text)}"
    tokens = completion.thought_tokens
    if type(tokens) is not int or not 0 <= tokens <= len(completion.ids):
        return f"{reprlib.repr(tokens)} of its {len(completion.ids)} tokens are said to be thought"
    if completion.reason not in get_args(EndReason):
        return f"its end is {reprlib.repr(completion.reason)}, not one of {', '.join(get_args(EndReason))}"
    for token in completion.ids:
        if type(token) is not int or not 0 <= token <= _LARGEST_ID:
            return f"{reprlib.repr(token)} is no token id"
    return None


def _impossible(logprobs: tuple[float, ...]) -> str | None:
    for logprob in logprobs:
        # compared, because no function takes an integer of any size; NaN compares false
        if type(logprob) not in (int, float) or not _LOWEST <= logprob <= _ABOVE_ZERO:
            return (
                f"a log-probability of {reprlib.repr(logprob)}: the model's numbers overflow, or the "
                "engine is broken (another --dtype may help)"
            )
    return None
