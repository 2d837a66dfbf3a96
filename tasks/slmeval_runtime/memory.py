"""What a model takes of memory, part by part, measured and computed side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from slmeval.api import Demand, Probe, Session
from slmeval.types import Figure, Measurement, Series
from slmeval_runtime.amount import Amount
from slmeval_runtime.amounts import none, one
from slmeval_runtime.axes import BATCH, Axis, Settings
from slmeval_runtime.load import WORKERS
from slmeval_runtime.memory_amounts import PARTS, Amounts
from slmeval_runtime.memory_figures import figures_of
from slmeval_runtime.memory_looks import Looks, look, look_before
from slmeval_runtime.predictions import Prediction, predictor
from slmeval_runtime.process_memory import ProcessMemory
from slmeval_runtime.served import is_served

#: the survey's context, where the model has so much
USUAL = 2048
CONTEXT = Axis("context", 2, "tokens in the cache; several: 512,2048; by default 2048, or all the model's")

_MIB = 2**20
_SERVED = "the model is in the server's process, which is not seen from here"
_THREAD = "the worker is a thread: its process holds more than the model"
#: what is said once, and what is said of each context, in which unit
_OF_THE_MODEL = ("weights", "weights_predicted", "before", "peak")
_OF_A_CONTEXT = ("kv_cache", "compute", "other", "in_use", "file_pages", "device_peak")
_A_TOKEN = ("kv_per_token", "kv_predicted")


@dataclass(frozen=True)
class _Point:
    """``context`` tokens of each of ``batch`` sequences; 0 where the model decides."""

    context: int
    batch: int
    label: str


class Memory(Probe):
    """Weights, cache, compute and the rest, in MiB (2**20 bytes), while a prompt is held in the cache.

    In workers of its own, in which no other model was: what the process held at most is this model's.
    """

    name = "memory"
    version = "1.0"
    needs = frozenset[str]()
    workers = WORKERS
    options = (CONTEXT.option(""), BATCH.option("1"))

    def demand(self, settings: Settings) -> Demand | None:
        """The longest context; by default it is one that the model has."""
        points = _points(settings)
        longest = max(point.context for point in points)
        return Demand(longest, max(point.batch for point in points)) if longest else None

    def measure(self, session: Session) -> Measurement:
        """Open the model anew for each context, and look.

        :raises slmeval.errors.JobFailed: it cannot be opened, or a context is more than there is memory for.
        """
        before = look_before(session)
        points = _points(session.settings, min(USUAL, session.context))
        if is_served(session.model):
            return Measurement(tuple(_nothing(points)))
        series: dict[str, Series] = {}
        for point in points:
            looks = look(session, before, point.context, point.batch)
            # the process's peak is that of its whole life: the last look has it
            series.update({each.name: each for each in _series(session, looks, point)})
        return Measurement(tuple(series.values()))

    def figures(self, settings: Settings, series: Mapping[str, Series]) -> Sequence[Figure]:
        """Every series' median over the workers; shares of the parts; and how far predictions are off."""
        return figures_of(series, [point.label for point in _points(settings)])


def _points(settings: Settings, usual: int = 0) -> list[_Point]:
    """Every context at every batch; ``usual`` where no context is given."""
    contexts = CONTEXT.values(settings) if settings["context"] else (usual,)
    batches = BATCH.values(settings)
    return [
        _Point(context, batch, _label(context if len(contexts) > 1 else 0, batch if len(batches) > 1 else 0))
        for context, batch in product(contexts, batches)
    ]


def _series(session: Session, looks: Looks, point: _Point) -> Iterator[Series]:
    label = point.label
    device = session.backend.model_info().device
    thread = "" if session.own_process else _THREAD
    apart = "" if device.startswith("cpu") else f"the model is on {device}, not in the process's memory"
    amounts = Amounts(
        looks,
        predictor(Path(session.model.location), session.backend.model_info().dtype),
        tokens=point.context,
        batch=point.batch,
        apart=thread or apart,
        untimed=session.lacks("time") or "",
    )
    for part in PARTS:
        amount: Amount = getattr(amounts, part)
        # no series of nothing: most models have no state
        if part != "state" or amount.value:
            yield _in_mib(part if part == "weights" else f"{part}{label}", amount)
    yield _in_mib(f"in_use{label}", amounts.whole)
    yield _in_mib("weights_predicted", _computed(amounts.predicted_weights))
    yield _a_token(f"kv_per_token{label}", amounts.per_token)
    yield _a_token(f"kv_predicted{label}", _computed(amounts.predicted_per_token))
    yield from _of_the_process(looks, thread, label)
    yield _device_peak(amounts, f"device_peak{label}")


def _of_the_process(looks: Looks, thread: str, label: str) -> Iterator[Series]:
    yield _in_mib("before", _seen(looks.before.held, thread, "interpreter, slmeval and the engine's library"))
    peak = f"of the worker's process{_several(looks.after)}, by the operating system, since it was started"
    yield _in_mib("peak", _seen(_most(looks), thread, peak))
    held = looks.held.process if looks.held else looks.opened
    more = None if held.files is None else held.files - (looks.before.files or 0)
    note = "pages of files in memory since the model was opened; the system can drop them and read them again"
    yield _in_mib(f"file_pages{label}", _seen(more, thread, note))


def _most(looks: Looks) -> int | None:
    """What Linux says was held at most may fall by some pages, for it counts with a delay."""
    return max((each for each in (looks.after.peak, looks.held and looks.held.top) if each), default=None)


def _seen(size: int | None, thread: str, note: str) -> Amount:
    if thread or size is None:
        return Amount(None, "unavailable", thread or "this system does not tell what a process holds")
    return Amount(size, note=note)


def _several(memory: ProcessMemory) -> str:
    return f" and of {memory.processes - 1} below it" if memory.processes > 1 else ""


def _device_peak(amounts: Amounts, name: str) -> Series:
    told = amounts.cache.told.get("peak", amounts.looks.told.get("peak"))
    if told is None:
        return none(name, "MiB", "the engine does not tell the most that it held")
    return _in_mib(name, Amount(told, note="as the engine tells, since it was opened"))


def _nothing(points: Sequence[_Point]) -> Iterator[Series]:
    for name in _OF_THE_MODEL:
        yield none(name, "MiB", _SERVED)
    for point in points:
        yield from (none(f"{name}{point.label}", "MiB", _SERVED) for name in _OF_A_CONTEXT)
        yield from (none(f"{name}{point.label}", "bytes/token", _SERVED) for name in _A_TOKEN)


def _in_mib(name: str, amount: Amount) -> Series:
    if amount.value is None:
        return none(name, "MiB", amount.note)
    return one(name, "MiB", amount.value / _MIB, amount.source, amount.note)


def _a_token(name: str, amount: Amount) -> Series:
    if amount.value is None:
        return none(name, "bytes/token", amount.note)
    return one(name, "bytes/token", amount.value, amount.source, amount.note)


def _computed(found: Prediction) -> Amount:
    return Amount(found.value, "unavailable" if found.value is None else "estimated", found.note)


def _label(context: int, batch: int) -> str:
    """What stands behind the names of what depends on these, of which 0 has but one value."""
    named = [f"{name}={value}" for name, value in (("context", context), ("batch", batch)) if value]
    return f"@{','.join(named)}" if named else ""
