"""The talk with one worker: what it is told, what it may answer, and why it is gone when it is."""

from __future__ import annotations

import hashlib
import json
import reprlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from slmeval import __version__
from slmeval.api import Channel, Executor
from slmeval.errors import JobFailed
from slmeval.head_start import HeadStart, describe, start
from slmeval.plan import Job
from slmeval.protocol import PROTOCOL, Message, ProtocolError, decode, encode
from slmeval.types import ModelInfo, OptionValue


@dataclass(frozen=True)
class Opened:
    """What an engine says of the model that it opened."""

    info: ModelInfo
    notes: tuple[str, ...]
    lacking: Mapping[str, str]


class Conversation:
    """With one worker, started for ``job`` or taken from a ``head_start``; ended by :meth:`close`.

    :raises JobFailed: none can be started, or it is of another version; as of every method, where the worker
        died, hung, failed, or says what cannot be true.
    """

    def __init__(
        self, job: Job, executor: Executor, timeout: float, head_start: HeadStart | None = None
    ) -> None:
        self._job, self._timeout = job, timeout
        began = time.perf_counter()
        taken = head_start.take(job) if head_start else None
        probes = {cell.probe.name: cell.probe for cell in job.probes}
        self._channel: Channel = taken or start(executor, job.backend, job.python, probes)
        try:
            self._greet()
            #: seconds from its start until it answered; ``None`` where it was started before
            self.started = None if taken else time.perf_counter() - began
            if taken is None:
                self._send_frame(describe(job.backend, job.options, job.blocked))
            #: everything but model and tokenizer that can change the numbers, as the engine says
            self.resolved = self._description()
        except BaseException:
            self.close(kill=True)
            raise

    @property
    def fingerprint(self) -> str:
        """Hash of model, tokenizer, engine and options: whatever an answer hangs on but the question."""
        job = self._job
        whole = [job.model.sha256, job.tokenizer.sha256, job.backend.name, self.resolved]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()

    def _greet(self) -> None:
        hello = self.expect("hello")
        if (hello.get("protocol"), hello.get("version")) != (PROTOCOL, __version__):
            raise JobFailed(
                f"the worker of {self._job.python} is slmeval {hello.get('version')} (protocol "
                f"{hello.get('protocol')}), this is {__version__} (protocol {PROTOCOL}): use the same"
            )

    def _description(self) -> Mapping[str, OptionValue]:
        resolved: Mapping[str, OptionValue] = self.expect("described")["fingerprint"]
        if not _is_plain(resolved):
            raise self.untrue(f"a fingerprint that is no table of plain values: {reprlib.repr(resolved)}")
        return resolved

    def name_model(self) -> None:
        """Say which model is meant; it is opened when it is first needed."""
        tokenizer = self._job.tokenizer
        model = self._channel.locate(self._job.model.local, self._job.model.sha256)
        definition = {
            "definition": tokenizer.definition,
            "origin": tokenizer.origin,
            "bos_id": tokenizer.bos_id,
            "eos_id": tokenizer.eos_id,
        }
        self.send("model", location=model.location, revision=model.revision, tokenizer=definition)

    def open(self) -> Opened:
        """Have the model opened now."""
        self.name_model()
        self.send("open")
        return self.opened(self.expect("opened"))

    def opened(self, message: Message) -> Opened:
        """What a message says of the model that was opened, checked."""
        if reason := _misdescribed(message["info"]):
            raise self.untrue(f"a description of its model that cannot be kept: {reason}")
        lacking = message["lacking"]
        if not _is_plain(lacking) or not all(isinstance(each, str) for each in lacking.values()):
            raise self.untrue(f"no table of what it lacks: {reprlib.repr(lacking)}")
        return Opened(ModelInfo(**message["info"]), self.notes(message), lacking)

    def notes(self, message: Message) -> tuple[str, ...]:
        """The engine's notes in a message."""
        notes = message["notes"]
        if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
            raise self.untrue(f"notes that are no list of texts: {reprlib.repr(notes)}")
        return tuple(notes)

    def untrue(self, what: str) -> JobFailed:
        """The error of an engine that says what cannot be."""
        return JobFailed(f"backend {self._job.backend.name!r} gave {what}")

    def close(self, *, kill: bool = False) -> None:
        """End the worker; with ``kill`` at once."""
        self._channel.close(kill=kill)

    # ---- frames ------------------------------------------------------------------------------------

    def send(self, kind: str, **fields: Any) -> None:
        """Say something."""
        self._send_frame(encode(kind, **fields))

    def _send_frame(self, frame: bytes) -> None:
        try:
            self._channel.send(frame)
        except OSError:
            raise JobFailed(self._epitaph()) from None

    def expect(self, *kinds: str) -> Message:
        """The next message of one of these kinds; signs of life are passed over."""
        while True:
            message = self._receive()
            if message["kind"] in kinds:
                return message
            if message["kind"] == "failed":
                raise JobFailed(message["message"])
            if message["kind"] != "progress":
                raise JobFailed(f"the worker said {message['kind']!r} when {kinds[0]!r} was due")

    def _receive(self) -> Message:
        try:
            frame = self._channel.receive(self._timeout)
        except TimeoutError:
            raise JobFailed(
                f"the worker gave no sign of life for {self._timeout:g} seconds (--timeout)"
            ) from None
        if frame is None:
            raise JobFailed(self._epitaph())
        try:
            return decode(frame)
        except ProtocolError as error:
            raise JobFailed(f"the worker does not speak the protocol: {error}") from None

    def _epitaph(self) -> str:
        """Why a worker is gone: what it said itself, if it got to say it, else what the system says."""
        try:
            while (frame := self._channel.receive(0.1)) is not None:
                message = decode(frame)
                if message["kind"] == "failed":
                    return str(message["message"])
        except (TimeoutError, ProtocolError):
            pass
        return self._channel.last_words()


def _misdescribed(info: Any) -> str | None:
    """The first field of a model's description that is missing or of another type."""
    kinds = get_type_hints(ModelInfo)
    if not isinstance(info, dict) or info.keys() != kinds.keys():
        return f"its fields are not those of ModelInfo: {', '.join(kinds)}"
    wrong = (name for name, kind in kinds.items() if type(info[name]) is not kind)
    return next((f"{name} is {reprlib.repr(info[name])}, not {kinds[name].__name__}" for name in wrong), None)


def _is_plain(options: Any) -> bool:
    return isinstance(options, dict) and all(isinstance(each, OptionValue) for each in options.values())
