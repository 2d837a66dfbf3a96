"""From a request to runs in the queue: one for each engine on each device, or a sentence why not."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import ClassVar

from slmeval.api import Backend, Option
from slmeval.errors import UnknownName, UsageError
from slmeval.foreseen import foreseen_job
from slmeval.manners import template_text
from slmeval.models import FoundModel, form_of, parse_model
from slmeval.pairing import DEMO, demo_for, not_opened
from slmeval.planner import Configurable, check
from slmeval.registry import Parts, pick
from slmeval.rules import parse_rule
from slmeval.selection import Selection
from slmeval.sequential import checked, read_stopping
from slmeval.service.auth import Caller
from slmeval.service.bench import EVERY, Bench
from slmeval.service.ledger import Event, Ledger, Submission, now
from slmeval.service.problems import Refused
from slmeval.service.schemas import RunRequest, Submitted, SubmittedRun
from slmeval.service.service import Service
from slmeval.store import Store
from slmeval.task_files import SUFFIX
from slmeval.types import RunOptions

#: forms in which the demo model is there
_DEMO_FORMS = frozenset({"folder", "gguf"})


class TooMany(Refused):
    """The queue is full; ``headers`` say after how many seconds it is worth another try."""

    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "10"}


async def submit(service: Service, request: RunRequest, caller: Caller) -> Submitted:
    """Put what is asked for into the queue, all of it or nothing.

    :raises slmeval.errors.UsageError: a mistake that can be seen without a row or a model.
    :raises slmeval.service.problems.Refused: too much waits already.
    """
    known = await service.desk.read(_known_devices)
    here = {device.name: device.engines for device in service.roster.devices()}
    # names are matched and files looked at: not on the loop
    runs = await asyncio.to_thread(_runs, service, request, Bench({**known, **here}, here))
    batch, at = new_id(), now()
    submissions = [
        Submission(
            new_id(), batch, at, caller.name, "queued", run.options, run.backend, run.bytes, run.device
        )
        for run in runs
    ]
    most = service.settings.limits.queued
    await service.hub.spread(await service.desk.write(lambda store: _enter(store, submissions, most)))
    return Submitted(
        batch=batch,
        runs=[SubmittedRun(id=each.run, backend=each.backend, device=each.wanted) for each in submissions],
    )


def new_id() -> str:
    """As :func:`slmeval.run.new_run_id` names runs, with more random digits: a second may bring many."""
    return f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"


def _enter(store: Store, submissions: Sequence[Submission], most: int) -> list[Event]:
    ledger = Ledger(store)
    waiting = ledger.count("queued")
    if waiting + len(submissions) > most:
        raise TooMany(429, f"{waiting} runs wait, and no more than {most} may: submit again when fewer do")
    return ledger.submit(submissions)


def _known_devices(store: Store) -> dict[str, tuple[str, ...]]:
    """The engines of each device that ever worked."""
    return {each.name: tuple(each.told.get("engines", ())) for each in Ledger(store).devices()}


@dataclass(frozen=True)
class _Run:
    """One run that is to be: what it asks, where, and the bytes of its largest model."""

    options: RunOptions
    backend: str
    bytes: int
    device: str | None


def _runs(service: Service, request: RunRequest, bench: Bench) -> list[_Run]:
    """
    :raises UsageError: the first mistake found.
    """
    parts = service.registry.parts
    _refuse_files(request.tasks)
    _check_limit(request, service.settings.limits.items)
    models = [(name, service.allowed.check(text)) for name, text in _split_models(request, parts)]
    backends = _backends(request, parts, bench, models)
    whole = _options(request, backends)
    selection = _check(whole, backends, parts)
    runs = []
    for backend in backends:
        mine = _models_for(backend, models)
        options = _of_one(whole, backend, selection)
        data = service.settings.data if mine and not request.sample else None
        options = replace(options, models=mine, data=data)
        for model in _seen(backend, mine):
            template_text(options, model)
        size = max(map(service.allowed.bytes_of, mine), default=0)
        runs += [
            _Run(options, backend.name, size, device)
            for device in bench.targets(request.devices, backend.name)
        ]
    return runs


def _refuse_files(tasks: Iterable[str]) -> None:
    for name in tasks:
        if name.lower().endswith(SUFFIX):
            raise UsageError(f"task {name!r} is a file: the service runs tasks that its server has, by name")


def _check_limit(request: RunRequest, most: int | None) -> None:
    if most is not None and (request.limit is None or request.limit > most):
        given = "without a limit every row is asked" if request.limit is None else f"limit {request.limit}"
        raise UsageError(
            f"{given}: this server asks {most} rows of a task at the most, so give a limit of {most}"
        )


# ---- engines and models ----------------------------------------------------------------------------------


def _split_models(request: RunRequest, parts: Parts) -> list[tuple[str | None, str]]:
    """Each model with the engine that it is for; ``None``: all of them."""
    return [_split(text, request.backends, parts) for text in request.models]


def _split(text: str, backends: Sequence[str], parts: Parts) -> tuple[str | None, str]:
    name, equals, rest = text.partition("=")
    if not equals or name not in parts.backends:
        return None, text
    if backends and name not in backends:
        raise UnknownName("backend of this submission", name, backends)
    return name, rest


def _backends(
    request: RunRequest, parts: Parts, bench: Bench, models: Sequence[tuple[str | None, str]]
) -> list[type[Backend]]:
    """Those that are named, those that models are for, or the best one that a device has."""
    named = request.backends or [name for name, _ in models if name is not None]
    if named:
        return [pick("backend", name, parts.backends) for name in dict.fromkeys(named)]
    return [_best(request, parts, bench, [text for _, text in models])]


def _best(request: RunRequest, parts: Parts, bench: Bench, models: Sequence[str]) -> type[Backend]:
    """:raises UsageError: no device can; the sentence says what would help."""
    forms = {form_of(parse_model(text)) for text in models}
    fit = [
        each
        for each in parts.backends.values()
        if (forms <= set(each.forms) if forms else _DEMO_FORMS & set(each.forms))
    ]
    if not fit:
        raise UsageError(
            "no backend opens all of these models: give each backend its own model as BACKEND=MODEL"
        )
    devices = bench.named(request.devices)
    # a run is made for each device that is named, and for those of all others that can
    some = all if _are_named(request) else any
    able = [each for each in fit if some(each.name in engines for engines in devices.values())]
    if not able:
        wanted = ", ".join(sorted(each.name for each in fit))
        raise UsageError(
            f"no {'device named' if _are_named(request) else 'connected device'} has a backend that opens "
            f"this ({wanted}): connect one that has (slmeval worker --server URL), or name a backend, and "
            "the run waits for such a device"
        )
    return max(able, key=lambda each: (each.preference, each.name))


def _are_named(request: RunRequest) -> bool:
    return bool(request.devices) and EVERY not in request.devices


def _models_for(backend: type[Backend], models: Sequence[tuple[str | None, str]]) -> tuple[str, ...]:
    """
    :raises UsageError: there is none for it, or one that it does not open.
    """
    if not models:
        demo_for(backend)
        return ()
    mine = tuple(dict.fromkeys(text for name, text in models if name in (None, backend.name)))
    if not mine:
        raise UsageError(f"no model for backend {backend.name!r}: give it one as {backend.name}=MODEL")
    for text in mine:
        form = form_of(parse_model(text))
        if form not in backend.forms:
            raise not_opened(backend, text, form)
    return mine


def _seen(backend: type[Backend], models: Sequence[str]) -> Iterator[FoundModel]:
    """The models whose form and place are known here; those of a hub may have to be fetched first."""
    if not models:
        place = demo_for(backend)
        yield FoundModel(DEMO, place, "", 0, "folder" if place.is_dir() else "gguf")
    for ref in map(parse_model, models):
        place, form = Path(ref.location), form_of(ref)
        if form == "server" or place.is_absolute():
            yield FoundModel(ref, place, "", 0, form)


# ---- options ---------------------------------------------------------------------------------------------


def _options(request: RunRequest, backends: Sequence[type[Backend]]) -> RunOptions:
    """What all runs of a submission have in common; which models each has comes later."""
    return RunOptions(
        backends=tuple(backend.name for backend in backends),
        tasks=tuple(request.tasks),
        shots=None if request.shots is None else tuple(request.shots),
        limit=request.limit,
        sample=request.sample,
        dtype=request.dtype,
        seed=request.seed,
        compat=request.compat,
        position_bias=request.position_bias,
        engine_options={name: _text(value) for name, value in request.options.items()},
        timeout=request.timeout,
        chat_template=request.chat_template,
        chat_shots=request.chat_shots,
        template_options={name: _text(value) for name, value in request.template_options.items()},
        thinking=request.thinking,
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        repeats=request.repeats,
        target_ci=tuple(request.target_ci),
        until_decided=request.until_decided,
        rules=tuple(request.rules),
    )


def _text(value: str | float) -> str:
    """As it would stand on a command line."""
    return value if isinstance(value, str) else json.dumps(value)


def _of_one(whole: RunOptions, backend: type[Backend], selection: Selection) -> RunOptions:
    """The options of one engine's run: those that are others' alone are left out."""
    parts: tuple[Configurable, ...] = (backend, *selection.probes)
    own = {option.name for part in parts for option in part.options}
    names = {part.name for part in parts}
    given = {
        name: text
        for name, text in whole.engine_options.items()
        if (name.partition(".")[0] in names if "." in name else name in own)
    }
    dtype = whole.dtype if "dtype" in own else None
    return replace(whole, backends=(backend.name,), engine_options=given, dtype=dtype)


def _check(options: RunOptions, backends: Sequence[type[Backend]], parts: Parts) -> Selection:
    """What is asked.

    :raises UsageError: a mistake that shows without rows and models, or an option for this machine alone.
    """
    configured: tuple[Configurable, ...] = (*backends, *parts.probes.values())
    _refuse_local(options, [option for part in configured for option in part.options])
    selection, _ = check(options, parts)
    for rule in map(parse_rule, options.rules):
        if rule.needs_baseline:
            raise UsageError(
                f"rule {rule.text!r} needs a baseline, which no run of the service has: hold the finished "
                "run against one with POST /api/gate"
            )
    stopping = read_stopping(options, _no_file)
    if stopping is not None:
        # every engine is asked the same
        job = foreseen_job(backends[0], selection, parts)
        checked(stopping, [job], [probe.name for probe in selection.probes])
    return selection


def _refuse_local(options: RunOptions, known: Iterable[Option]) -> None:
    local = {option.name for option in known if option.local}
    for name in options.engine_options:
        if name.rpartition(".")[2] in local:
            raise UsageError(
                f"option {name!r} runs code or opens files of whoever gives it: a service does not take it, "
                "slmeval run at the machine itself does"
            )


def _no_file(path: Path) -> str:
    raise UsageError(f"{path} is a file, and the service reads none that a request names")
