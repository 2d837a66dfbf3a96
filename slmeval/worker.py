"""One job in its own interpreter, speaking frames on its pipes.

The worker opens one model on one backend and answers units until its input ends. It never touches the
store. What an engine prints goes to stderr, so that it cannot damage the frames.
"""

from __future__ import annotations

import os
import platform
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, TypeVar

from slmeval import __version__
from slmeval.api import Backend, Probe
from slmeval.document import to_plain
from slmeval.errors import SlmevalError, Unanswerable, UsageError
from slmeval.frames import read_frame, write_frame
from slmeval.holding import Holder
from slmeval.plan import GenerateUnit, ScoreUnit, Unit
from slmeval.probe_figures import misfit
from slmeval.protocol import PROTOCOL, Message, decode, encode, pack_replies, unpack_unit
from slmeval.registry import load, pick
from slmeval.sessions import WorkerSession, lacking
from slmeval.tokenizing import FastTokenizer
from slmeval.turns import Turns
from slmeval.types import ModelRef, OptionValue, Reply

ItemT = TypeVar("ItemT")

#: seconds between two signs of life while a unit is worked on
_PULSE = 0.5
#: seconds that the work under way is given to end once the parent is gone
_GRACE = 3.0


class _CancelledError(Exception):
    """The parent does not want the rest."""


@dataclass(frozen=True)
class Known:
    """What a worker in the parent's own process need not look up among the installed plugins."""

    backend: type[Backend]
    probes: Mapping[str, Probe]


class Worker:
    """Serves one job: messages in through ``inbox``, messages out through ``out``."""

    def __init__(self, inbox: queue.Queue[Message | None], out: BinaryIO, known: Known | None) -> None:
        self._inbox = inbox
        self._out = out
        self._known = known
        self._blocked: list[str] = []
        self._described_in = 0.0
        self._cancelled = threading.Event()
        self._class: type[Backend] | None = None
        self._options: dict[str, OptionValue] = {}
        self._holder: Holder | None = None
        self._turns = Turns()
        self._last_sign = time.monotonic()

    def cancel(self) -> None:
        """Stop the unit under way at its next answer."""
        self._cancelled.set()

    def serve(self) -> None:
        """Answer messages until there are no more."""
        self._say("hello", protocol=PROTOCOL, version=__version__, python=platform.python_version())
        try:
            while (message := self._inbox.get()) is not None:
                self._handle(message)
        except _CancelledError:
            self._say("cancelled")
        except SlmevalError as error:
            self._say("failed", error=type(error).__name__, message=str(error))
        except Exception as error:  # noqa: BLE001  an engine may raise anything; the parent must hear of it
            traceback.print_exc()
            self._say("failed", error=type(error).__name__, message=_one_line(error))
        finally:
            self._turns.end()
            if self._holder is not None:
                self._holder.close()

    def _handle(self, message: Message) -> None:
        if message["kind"] == "describe":
            self._describe(message)
        elif message["kind"] == "model":
            self._name_model(message)
        elif message["kind"] == "open":
            self._say("opened", **self._model.told())
        elif message["kind"] in ("probe", "stream", "turn"):
            self._measure(message)
        elif message["kind"] == "unit":
            try:
                self._answer(message["number"], unpack_unit(message["unit"]))
            except Unanswerable as error:
                self._say("unanswerable", number=message["number"], message=str(error))

    def _describe(self, message: Message) -> None:
        self._blocked, self._options = message["blocked"], message["options"]
        self._class = self._known.backend if self._known else _installed(message["backend"], self._blocked)
        began = time.perf_counter()
        fingerprint = self._class.fingerprint(self._options)
        self._described_in = time.perf_counter() - began
        self._say("described", fingerprint=fingerprint)

    def _name_model(self, message: Message) -> None:
        assert self._class is not None, "a model before an engine"
        ref = ModelRef(message["location"], message["revision"])
        tokenizer = FastTokenizer(**message["tokenizer"])
        self._holder = Holder(self._class, self._options, ref, tokenizer, self._described_in)

    @property
    def _model(self) -> Holder:
        assert self._holder is not None, "work before a model"
        return self._holder

    def _answer(self, number: int, unit: Unit) -> None:
        backend = self._model.backend
        replies = list(self._pulsing(self._replies(unit)))
        wanted = len(unit.groups) if isinstance(unit, ScoreUnit) else len(unit.prompts)
        if len(replies) != wanted:
            raise SlmevalError(f"backend {backend.name!r} gave {len(replies)} answers to {wanted} requests")
        self._say("answers", number=number, replies=pack_replies(replies), notes=backend.notes())

    def _measure(self, message: Message) -> None:
        """Measure for one probe; whatever it raises is of this probe alone, and its model is closed."""
        work = {"probe": self._measured, "stream": self._streaming, "turn": self._turned}[message["kind"]]
        try:
            said = work(message)
        except _CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  a probe or its engine may raise anything
            if not isinstance(error, SlmevalError):
                traceback.print_exc()
            told = str(error) if isinstance(error, SlmevalError) else _one_line(error)
            said = {"kind": "unmeasured", "message": told}
        if said["kind"] == "unmeasured":
            # closed first: where that brings the worker down, it is not the next probe's failure; and closed
            # here, where nothing of what was raised holds the model any more
            self._turns.end()
            self._model.close()
        self._say(number=message["number"], **said)

    def _measured(self, message: Message) -> dict[str, Any]:
        self._turns.end()
        probe, session = self._probe(message), self._session(message)
        if (reason := lacking(session, probe)) is not None:
            return {"kind": "measured", "lacks": reason, **self._model.told()}
        # what a fresh worker does first is what is measured
        early, late = message["yardstick"] and not probe.workers, message["yardstick"]
        session.measure_machine() if early else session.note_conditions()
        measurement = probe.measure(session)
        session.measure_machine() if late else session.note_conditions()
        if (wrong := misfit(measurement)) is not None:
            raise SlmevalError(f"probe {probe.name!r} gave {wrong}")
        kept = replace(measurement, conditions=tuple(session.conditions))
        return {"kind": "measured", "lacks": None, "measurement": to_plain(kept), **self._model.told()}

    def _streaming(self, message: Message) -> dict[str, Any]:
        probe, session = self._probe(message), self._session(message)
        told = self._turns.begin(probe, session, message["figure"])
        return {"kind": "streaming", **told}

    def _turned(self, message: Message) -> dict[str, Any]:
        return {"kind": "turned", "values": self._turns.take(message["seconds"])}

    def _probe(self, message: Message) -> Probe:
        probes = self._known.probes if self._known else load(self._blocked).parts.probes
        return pick("probe", message["probe"], probes)

    def _session(self, message: Message) -> WorkerSession:
        return WorkerSession(
            self._model,
            message["settings"],
            message["seed"],
            message.get("beginning", {}),
            self._show_life,
            meters=load(self._blocked).parts.meters,
            own_process=self._known is None,
        )

    def _replies(self, unit: Unit) -> Iterator[tuple[Reply, ...]]:
        backend = self._model.backend
        if isinstance(unit, GenerateUnit):
            for completion in backend.generate(unit.prompts, unit.settings, self._decode):
                yield (completion,)
        else:
            yield from backend.score(unit.groups)

    def _decode(self, ids: Sequence[int]) -> str:
        # an engine that looks for stop strings lives, though no text of its batch has ended for long
        self._show_life()
        return self._model.tokenizer.decode(ids)

    def _pulsing(self, items: Iterator[ItemT]) -> Iterator[ItemT]:
        """Pass the items on, each one a sign of life."""
        for item in items:
            yield item
            self._show_life()

    def _show_life(self) -> None:
        """Tell the parent now and then that work goes on; stop when it has cancelled."""
        if self._cancelled.is_set():
            raise _CancelledError
        if time.monotonic() - self._last_sign > _PULSE:
            self._say("progress")
            self._last_sign = time.monotonic()

    def _say(self, kind: str, **fields: object) -> None:
        write_frame(self._out, encode(kind, **fields))


def _installed(name: str, blocked: list[str]) -> type[Backend]:
    backend = pick("backend", name, load(blocked).parts.backends)
    reason = backend.missing()
    if reason is not None:
        raise UsageError(f"backend {name!r} cannot run in {sys.executable}: {reason}")
    return backend


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


def serve(
    reader: BinaryIO,
    writer: BinaryIO,
    known: Known | None = None,
    at_end: Callable[[], None] = lambda: None,
) -> None:
    """Serve one job on two streams; ``at_end`` is called when the parent's end is gone.

    In the parent's own process backend and probes are ``known``; elsewhere they are looked up among the
    installed plugins. A thread reads, so that a cancel is heard while a unit is worked on.
    """
    inbox: queue.Queue[Message | None] = queue.Queue()
    worker = Worker(inbox, writer, known)

    def listen() -> None:
        while (payload := read_frame(reader)) is not None:
            message = decode(payload)
            if message["kind"] == "cancel":
                worker.cancel()
            else:
                inbox.put(message)
        worker.cancel()
        inbox.put(None)
        at_end()

    threading.Thread(target=listen, daemon=True, name="slmeval-worker-reader").start()
    # a broken pipe: the parent is gone, and nobody is left to tell
    with suppress(BrokenPipeError):
        worker.serve()


def main() -> None:
    """Serve on this process's stdin and stdout, which no engine gets to see."""
    # an interrupt at the keyboard reaches the whole process group; the parent decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reader = os.fdopen(os.dup(0), "rb")
    writer = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    serve(reader, writer, at_end=_end_soon)
    # an engine's threads must not keep a worker alive that has nothing left to do
    os._exit(0)


def _end_soon() -> None:
    # a parent that was killed cannot cancel us: the end of its pipe does, and a hung engine gets no longer
    time.sleep(_GRACE)
    os._exit(0)
