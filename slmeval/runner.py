"""Drives workers: units out, answers in, into the store; then figures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Protocol

from slmeval import __version__
from slmeval.api import Channel, Executor, Launch
from slmeval.errors import JobFailed, UsageError
from slmeval.plan import Ask, Cell, GenerateAsk, GenerateUnit, Job, ScoreUnit, Unit
from slmeval.prefixes import in_prefix_order, prompts_in_prefix_order
from slmeval.protocol import PROTOCOL, Message, ProtocolError, decode, encode, pack_unit, unpack_replies
from slmeval.store import Store
from slmeval.types import Completion, Likelihood, ModelInfo, ModelReport, Reply, ScoreGroup
from slmeval.worker import serve

#: a log-probability may lie above zero by rounding (half precision), not by more
_ABOVE_ZERO = 1e-2
#: units sent ahead, so that a worker need not wait for the parent
_AHEAD = 2


class Progress(Protocol):
    """Who is told how far a run is. Counts are requests: one continuation, or one generated text."""

    def begin(self, label: str, total: int) -> None: ...

    def advance(self, done: int) -> None: ...

    def end(self) -> None: ...


class JobRun:
    """One job, from the first frame to its answers in the store."""

    def __init__(
        self, job: Job, executor: Executor, store: Store, timeout: float, progress: Progress
    ) -> None:
        self._job = job
        self._executor = executor
        self._store = store
        self._timeout = timeout
        self._progress = progress
        self._fingerprint = ""
        self._resolved: Mapping[str, Any] = {}
        self._info: ModelInfo | None = None
        self._notes: tuple[str, ...] = ()
        #: requests put to the engine, and requests whose answers were in the store already
        self.asked = 0
        self.reused = 0

    def run(self) -> None:
        """Ask what is not yet in the store.

        :raises JobFailed: the worker died, hung, failed, or is of another version.
        """
        channel = self._start()
        try:
            self._greet(channel)
            self._describe(channel)
            units = self._open_units()
            self._info = self._store.model_info(self._fingerprint)
            if units or self._info is None:
                self._open(channel)
            self._ask(channel, units)
        except BaseException:
            channel.close(kill=True)
            raise
        channel.close()

    def key(self, digest: str) -> str:
        """The key of what was asked, on this very model, tokenizer, engine and options."""
        return hashlib.sha256(f"{self._fingerprint}\0{digest}".encode()).hexdigest()

    def replies(self, cell: Cell) -> dict[str, Reply]:
        """The cell's replies, by key."""
        return self._store.replies(self.key(ask.digest) for item in cell.items for ask in item.asks)

    def report(self) -> ModelReport:
        """What the model and its engine are."""
        return ModelReport(
            label=self._job.label,
            backend=self._job.backend.name,
            reference=str(self._job.model.ref),
            model_hash=self._job.model.sha256,
            tokenizer=self._job.tokenizer.origin,
            tokenizer_hash=self._job.tokenizer.sha256,
            options=dict(self._resolved),
            info=self._info,
            notes=tuple(dict.fromkeys((*self._job.notes, *self._notes))),
        )

    # ---- the conversation --------------------------------------------------------------------------

    def _start(self) -> Channel:
        command = (self._job.python, "-m", "slmeval.worker")
        try:
            return self._executor.start(Launch(command, partial(serve, known=self._job.backend)))
        except UsageError as error:
            raise JobFailed(str(error)) from None

    def _greet(self, channel: Channel) -> None:
        hello = self._expect(channel, "hello")
        if (hello.get("protocol"), hello.get("version")) != (PROTOCOL, __version__):
            raise JobFailed(
                f"the worker of {self._job.python} is slmeval {hello.get('version')} (protocol "
                f"{hello.get('protocol')}), this is {__version__} (protocol {PROTOCOL}): use the same"
            )

    def _describe(self, channel: Channel) -> None:
        job = self._job
        self._send(
            channel,
            "describe",
            backend=job.backend.name,
            options=dict(job.options),
            blocked=list(job.blocked),
        )
        self._resolved = self._expect(channel, "described")["fingerprint"]
        whole = [job.model.sha256, job.tokenizer.sha256, job.backend.name, self._resolved]
        self._fingerprint = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()

    def _open(self, channel: Channel) -> None:
        model, tokenizer = self._job.model.local, self._job.tokenizer
        definition = {
            "definition": tokenizer.definition,
            "origin": tokenizer.origin,
            "bos_id": tokenizer.bos_id,
            "eos_id": tokenizer.eos_id,
        }
        self._send(channel, "open", location=model.location, revision=model.revision, tokenizer=definition)
        opened = self._expect(channel, "opened")
        if opened["difference"] is not None:
            raise JobFailed(
                f"the tokenizer of {self._job.backend.name} differs from {tokenizer.origin}: "
                f"{opened['difference']}"
            )
        self._info = ModelInfo(**opened["info"])
        self._notes = tuple(opened["notes"])
        self._store.remember_model(self._fingerprint, self._info)

    def _open_units(self) -> list[Unit]:
        """The units, less what the store knows."""
        asks = [ask for unit in self._job.units for group in unit.asks() for ask in group]
        keys = {ask.digest: self.key(ask.digest) for ask in asks}
        known = self._store.known(keys.values())
        self.reused = sum(keys[ask.digest] in known for ask in asks)
        units = (
            without(unit, {digest for digest, key in keys.items() if key in known})
            for unit in self._job.units
        )
        return [unit for unit in units if unit is not None]

    def _ask(self, channel: Channel, units: list[Unit]) -> None:
        sizes = [sum(map(len, unit.asks())) for unit in units]
        self._progress.begin(f"{self._job.backend.name}:{self._job.label}", sum(sizes))
        try:
            for number in range(min(_AHEAD, len(units))):
                self._send_unit(channel, units, number)
            for number, unit in enumerate(units):
                self._take_answers(channel, number, unit)
                self._progress.advance(sizes[number])
                self._send_unit(channel, units, number + _AHEAD)
        finally:
            self._progress.end()

    def _send_unit(self, channel: Channel, units: list[Unit], number: int) -> None:
        if number < len(units):
            self._send(channel, "unit", number=number, unit=pack_unit(units[number]))

    def _take_answers(self, channel: Channel, number: int, unit: Unit) -> None:
        message = self._expect(channel, "answers")
        if message["number"] != number:
            raise JobFailed(f"the worker answered unit {message['number']} when {number} was due")
        self._notes = tuple(message["notes"])
        replies = unpack_replies(message["replies"])
        pairs = list(self._pairs(unit, replies))
        # one transaction: a unit is in the store whole, or not at all
        self._store.save_replies(pairs)
        self.asked += len(pairs)

    def _pairs(self, unit: Unit, replies: tuple[tuple[Reply, ...], ...]) -> Iterator[tuple[str, Reply]]:
        for asks, given in zip(unit.asks(), replies, strict=True):
            if len(asks) != len(given):
                raise JobFailed(
                    f"backend {self._job.backend.name!r} gave {len(given)} answers to a group of {len(asks)}"
                )
            for ask, reply in zip(asks, given, strict=True):
                self._check(ask, reply)
                yield self.key(ask.digest), reply

    def _check(self, ask: Ask, reply: Reply) -> None:
        """:raises JobFailed: the reply cannot be true; better no figure than a wrong one."""
        if isinstance(ask, GenerateAsk):
            fits = isinstance(reply, Completion)
        else:
            fits = isinstance(reply, Likelihood) and len(reply.token_logprobs) == len(ask.continuation)
        if not fits:
            raise JobFailed(
                f"backend {self._job.backend.name!r} gave an answer that does not fit its request"
            )
        if isinstance(reply, Likelihood):
            for logprob in reply.token_logprobs:
                if not logprob <= _ABOVE_ZERO:
                    raise JobFailed(
                        f"backend {self._job.backend.name!r} gave a log-probability of {logprob}: the "
                        "model's numbers overflow, or the engine is broken (another --dtype may help)"
                    )

    def _send(self, channel: Channel, kind: str, **fields: Any) -> None:
        try:
            channel.send(encode(kind, **fields))
        except OSError:
            raise JobFailed(self._epitaph(channel)) from None

    def _expect(self, channel: Channel, kind: str) -> Message:
        """The next message of that kind; signs of life are passed over."""
        while True:
            message = self._receive(channel)
            if message["kind"] == kind:
                return message
            if message["kind"] == "failed":
                raise JobFailed(message["message"])
            if message["kind"] != "progress":
                raise JobFailed(f"the worker said {message['kind']!r} when {kind!r} was due")

    def _receive(self, channel: Channel) -> Message:
        try:
            frame = channel.receive(self._timeout)
        except TimeoutError:
            raise JobFailed(
                f"the worker gave no sign of life for {self._timeout:g} seconds (--timeout)"
            ) from None
        if frame is None:
            raise JobFailed(self._epitaph(channel))
        try:
            return decode(frame)
        except ProtocolError as error:
            raise JobFailed(f"the worker does not speak the protocol: {error}") from None

    def _epitaph(self, channel: Channel) -> str:
        """Why a worker is gone: what it said itself, if it got to say it, else what the system says."""
        try:
            while (frame := channel.receive(0.1)) is not None:
                message = decode(frame)
                if message["kind"] == "failed":
                    return str(message["message"])
        except (TimeoutError, ProtocolError):
            pass
        return channel.last_words()


def without(unit: Unit, known: set[str]) -> Unit | None:
    """The unit less what is known, by digest; ``None`` when nothing is left.

    A unit of which nothing is known stays as it was planned, so that it gives the same bits.
    """
    asks = unit.asks()
    left = [tuple(ask for ask in group if ask.digest not in known) for group in asks]
    if not any(left):
        return None
    if all(len(kept) == len(group) for kept, group in zip(left, asks, strict=True)):
        return unit
    if isinstance(unit, GenerateUnit):
        prompts = [prompt.ids for prompt, kept in zip(unit.prompts, left, strict=True) if kept]
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
