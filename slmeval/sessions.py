"""What a probe works with, in a worker: the model, workloads, and how to time them undisturbed."""

from __future__ import annotations

import gc
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from slmeval import yardstick
from slmeval.api import Backend, Meter, Probe, Session
from slmeval.conditions import Watch
from slmeval.errors import JobFailed
from slmeval.holding import Holder
from slmeval.models import UNTOLD
from slmeval.types import Conditions, ModelRef, OptionValue, Timing, TokenIds, Workload


class WorkerSession(Session):
    """One probe's session on the model of a worker."""

    def __init__(
        self,
        holder: Holder,
        settings: Mapping[str, OptionValue],
        seed: int,
        beginning: Mapping[str, float],
        show_life: Callable[[], None],
        *,
        meters: Mapping[str, type[Meter]],
        own_process: bool,
    ) -> None:
        self.settings, self.seed, self.meters, self.own_process = settings, seed, meters, own_process
        self._holder, self._beginning, self._life = holder, dict(beginning), show_life
        self._watch = Watch()
        self.conditions: list[Conditions] = []

    @property
    def model(self) -> ModelRef:  # type: ignore[override]  # read, never set
        return self._holder.model

    @property
    def context(self) -> int:  # type: ignore[override]  # read, never set
        return self.backend.model_info().context or UNTOLD

    @property
    def beginning(self) -> Mapping[str, float]:
        return {**self._beginning, "engine": self._holder.imported_in}

    @property
    def backend(self) -> Backend:
        return self._holder.backend

    def open(self) -> float:
        self.show_life()
        return self._holder.open()

    def close(self) -> None:
        self._holder.close()

    def lacks(self, capability: str) -> str | None:
        if capability not in self._holder.backend_class.capabilities:
            return not_declared(self._holder.backend_class, capability)
        return self.backend.lacking().get(capability)

    def workload(
        self, prompt: int, new_tokens: int = 0, *, depth: int = 0, batch: int = 1, forced: bool = False
    ) -> Workload:
        longest = depth + prompt + max(new_tokens - 1, 0)
        if longest > self.context:
            raise JobFailed(
                f"{depth} tokens in the cache, a prompt of {prompt} and {new_tokens} new ones are {longest} "
                f"inputs, more than the model's context of {self.context:,} tokens"
            )
        drawn = random.Random(f"{self.seed} {prompt} {new_tokens} {depth} {batch}")
        vocabulary = self.backend.model_info().vocabulary or self._holder.tokenizer.size

        def rows(tokens: int) -> tuple[TokenIds, ...]:
            return tuple(tuple(drawn.choices(range(vocabulary), k=tokens)) for _ in range(batch))

        prompts = rows(depth + prompt)
        return Workload(prompts, new_tokens, depth, rows(new_tokens) if forced else ())

    @contextmanager
    def timed(self, workload: Workload) -> Iterator[Callable[[], Timing]]:
        for capability in ("time", *(("force",) if workload.forced else ())):
            if (reason := self.lacks(capability)) is not None:
                raise JobFailed(reason)
        backend = self.backend
        with _refusals(backend):
            runs = backend.time(workload)

        def run() -> Timing:
            self.show_life()
            timing = _next(runs, backend)
            if (wrong := untimely(workload, timing)) is not None:
                raise JobFailed(f"backend {backend.name!r} gave times that cannot be: {wrong}")
            return timing

        try:
            with _no_collection():
                yield run
        finally:
            if isinstance(runs, Iterator) and hasattr(runs, "close"):
                runs.close()

    def show_life(self) -> None:
        self._life()

    def note_conditions(self) -> Conditions:
        self.show_life()
        seen = self._watch.look()
        self.conditions.append(seen)
        return seen

    def measure_machine(self) -> None:
        """Note the conditions with what the yardstick takes now; never while something is timed."""
        seen = self.note_conditions()
        self.conditions[-1] = replace(seen, yardstick=yardstick.measure())


def not_declared(backend: type[Backend], capability: str) -> str:
    """Why a capability that a backend does not declare cannot be used."""
    return f"backend {backend.name!r} does not declare {capability!r}"


def lacking(session: Session, probe: Probe) -> str | None:
    """Why nothing of a probe can be measured in a session, or ``None``."""
    return next((reason for each in sorted(probe.needs) if (reason := session.lacks(each))), None)


def _next(runs: Iterator[Timing], backend: Backend) -> Timing:
    try:
        with _refusals(backend):
            return next(runs)
    except StopIteration:
        raise JobFailed(f"backend {backend.name!r} ended a workload that could go on") from None


@contextmanager
def _refusals(backend: Backend) -> Iterator[None]:
    """:raises JobFailed: a workload does not fit the engine: another of the same probe may."""
    try:
        yield
    except ValueError as error:
        raise JobFailed(f"backend {backend.name!r} refuses the workload: {error}") from None


@contextmanager
def _no_collection() -> Iterator[None]:
    """Garbage is collected before, and not while this lasts: a collection takes milliseconds."""
    gc.collect()
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def untimely(workload: Workload, timing: Any) -> str | None:
    """What is wrong with a timing that an engine gave, or ``None``."""
    if not isinstance(timing, Timing):
        return f"{timing!r} is no Timing"
    if len(timing.tokens) != workload.new_tokens:
        return f"{len(timing.tokens)} times for {workload.new_tokens} new tokens"
    # a server does not show when a prompt has been run
    if timing.prefill is None and not timing.tokens:
        return None
    return _unordered([*([] if timing.prefill is None else [timing.prefill]), *timing.tokens])


def _unordered(times: Sequence[float]) -> str | None:
    before = 0.0
    for time in times:
        if type(time) is not float or not math.isfinite(time) or time < before:
            return f"{time!r} seconds after {before!r}"
        before = time
    return None if before > 0 else "no time passed"
