"""Looks at what is held: before a model is opened, after, and while a prompt is in the cache."""

from __future__ import annotations

from dataclasses import dataclass

from slmeval.api import Backend, Session
from slmeval_runtime.enough import refuse_too_much
from slmeval_runtime.held import Held, Parts
from slmeval_runtime.process_memory import ProcessMemory, Watch, process_memory, settle
from slmeval_runtime.readings import parts_of


@dataclass(frozen=True)
class Looks:
    """One context's: nothing open, the model open, and tokens in the cache; ``less`` is with half as many.

    ``held`` and ``less`` are ``None`` where the engine cannot hold them still (it lacks "time").
    """

    before: ProcessMemory
    opened: ProcessMemory
    told: Parts
    held: Held | None
    less: Held | None
    after: ProcessMemory


def look_before(session: Session) -> ProcessMemory:
    """With nothing open, though something was: engines load parts of themselves with a first model."""
    session.open()
    session.close()
    settle()
    return process_memory()


def look(session: Session, before: ProcessMemory, tokens: int, batch: int) -> Looks:
    """Open the model anew, and run prompts of ``tokens`` and of half as many tokens.

    :raises slmeval.errors.JobFailed: it cannot be opened, or the prompts are too long for it or this machine.
    """
    session.open()
    can = session.lacks("time") is None
    if can:
        refuse_too_much(session, tokens, batch, hold)
    settle()
    opened, told = process_memory(), told_by(session)
    # the longer one first: what is measured of it then lies beside nothing that another has left
    held = hold(session, tokens, batch) if can else None
    less = hold(session, tokens // 2, batch) if can else None
    return Looks(before, opened, told, held, less, process_memory())


def hold(session: Session, tokens: int, batch: int) -> Held:
    """Run prompts, and look while their keys and values are still there."""
    with session.timed(session.workload(tokens, batch=batch)) as run:
        with Watch() as watch:
            run()
        return Held(tokens, batch, watch.top, process_memory(), told_by(session))


def told_by(session: Session) -> Parts:
    """What the engine tells now; nothing where it tells nothing."""
    backend: Backend = session.backend
    return {} if session.lacks("memory") else parts_of(backend.memory())
