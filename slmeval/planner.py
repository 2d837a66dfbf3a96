"""From options to a plan: every mistake is found here, before any weights load."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from slmeval.api import Backend, Option, Probe, Task
from slmeval.asking import Asker, cut_units
from slmeval.bos import bos_notes
from slmeval.conversions import origin_of
from slmeval.datasets import DataSource
from slmeval.errors import DataError, ModelError, UnknownName, UsageError
from slmeval.head_start import HeadStart
from slmeval.manners import Manner, check_manners, manners_of, template_for
from slmeval.models import UNTOLD, FoundModel
from slmeval.pairing import Pair, Refusal, best_backend, pair
from slmeval.places import HERE, Place
from slmeval.plan import Cell, Chat, Item, Job, Plan, ProbeCell, Unit
from slmeval.questions import Draft, check_shots, draft, open_source
from slmeval.registry import Parts, pick
from slmeval.room import check_room
from slmeval.selection import Selection, Wish, select
from slmeval.templates import Template
from slmeval.tokenizing import TEXT_ORIGIN, FastTokenizer, read_tokenizer
from slmeval.types import OptionValue, RunOptions

if TYPE_CHECKING:
    from slmeval.sequential import Stopping

#: what a task's kind asks of an engine
_CAPABILITY = {"multiple_choice": "score", "likelihood": "score", "generation": "generate"}
_COMPAT = ("lm-eval",)


def plan(
    options: RunOptions,
    parts: Parts,
    file_hash: Callable[[Path], str],
    head_start: HeadStart | None = None,
    place: Place = HERE,
) -> Plan:
    """Check everything that can be checked without an engine, and lay out the work.

    ``place`` is where the workers will be. With a ``head_start`` the first backend's worker is started as
    soon as its options are known. Where one of several engines or models cannot be had, the others are
    measured, and the plan says why.

    :raises UsageError: the first mistake found, in one sentence.
    """
    selection, backends = check(options, parts, place)
    stopping = _stopping(options, file_hash)
    drafts = _drafts(options, selection, parts)
    if head_start is not None:
        _begin(head_start, options, backends[0], selection.probes, place)
    pairing = pair(options, backends, file_hash, place)
    laid = _LaidOut(options, drafts)
    refusals = list(pairing.refusals)
    jobs = []
    for each in pairing.pairs:
        try:
            probes, unfit = _probe_cells(options, each, selection, place)
            jobs.append(_job(options, each, laid.asked(each.model), selection, probes, place))
            refusals += unfit
        except (ModelError, DataError) as error:
            # of the data all is well: this model has no room for what they ask
            refusals.append(Refusal(each.backend.name, each.label, error))
    if not jobs:
        raise refusals[0].error
    failures = tuple(each.failure for each in refusals)
    if stopping is None:
        return Plan(options, not options.models, tuple(jobs), failures)
    from slmeval.sequential import looked_at

    stopping, jobs = looked_at(stopping, jobs, [probe.name for probe in selection.probes])
    return Plan(options, not options.models, tuple(jobs), failures, stopping)


def check(
    options: RunOptions, parts: Parts, place: Place = HERE
) -> tuple[Selection, tuple[type[Backend], ...]]:
    """What is asked and on which engines, as far as can be told without a row, a model or a file of it.

    :raises UsageError: the first mistake that shows already here, in one sentence.
    """
    _check_options(options)
    selection = select(options, parts)
    backends = _choose_backends(options, parts, place)
    _check_pythons(options, backends)
    configured: tuple[Configurable, ...] = (*backends, *selection.probes)
    _check_engine_options(options, configured)
    for part in configured:
        resolve_options(part, options)
    for wish in selection.wishes:
        check_shots(wish.task, wish.shots)
        for backend in backends:
            _check_capability(backend, wish.task, options)
    return selection, backends


def _stopping(options: RunOptions, file_hash: Callable[[Path], str]) -> Stopping | None:
    """When tasks end; that is imported where it is asked for, since every start would pay for it."""
    if not (options.target_ci or options.until_decided or options.rules or options.baseline is not None):
        return None
    from slmeval.sequential import read_stopping

    return read_stopping(options, file_hash)


# ---- backends -----------------------------------------------------------------------------------------


def _choose_backends(options: RunOptions, parts: Parts, place: Place) -> tuple[type[Backend], ...]:
    if options.backends:
        return tuple(pick("backend", name, parts.backends) for name in dict.fromkeys(options.backends))
    return (best_backend(options, tuple(parts.backends.values()), place),)


def _check_pythons(options: RunOptions, backends: Sequence[type[Backend]]) -> None:
    for name, python in options.pythons.items():
        if name not in {backend.name for backend in backends}:
            raise UnknownName("backend of this run", name, [backend.name for backend in backends])
        if shutil.which(python) is None:
            raise UsageError(f"--python {name}={python}: there is no such program")


def _check_options(options: RunOptions) -> None:
    if options.compat is not None and options.compat not in _COMPAT:
        raise UnknownName("compat", options.compat, _COMPAT)
    if options.limit is not None and options.limit < 1:
        raise UsageError(f"--limit {options.limit}: at least 1 row must be asked")
    if any(shots < 0 for shots in options.shots or ()):
        raise UsageError(f"--shots {','.join(map(str, options.shots or ()))}: shots cannot be negative")
    if not 0 < options.timeout < math.inf:
        raise UsageError(f"--timeout {options.timeout:g}: seconds, more than 0")
    check_manners(options)
    if options.data is not None and options.sample:
        raise UsageError("--data and --sample name two sources of rows: give one")


def _begin(
    head_start: HeadStart,
    options: RunOptions,
    backend: type[Backend],
    probes: Sequence[Probe],
    place: Place,
) -> None:
    python = _python(options, backend, place)
    # a worker that cannot open its engine would be started for nothing
    if python != sys.executable or place.has(backend):
        known = {probe.name: probe for probe in probes}
        head_start.begin(backend, resolve_options(backend, options), python, options.blocked_plugins, known)


# ---- options of engines -------------------------------------------------------------------------------


class Configurable(Protocol):
    """What takes options: a backend, or a probe."""

    @property
    def name(self) -> str: ...

    @property
    def options(self) -> tuple[Option, ...]: ...


def resolve_options(part: Configurable, options: RunOptions) -> dict[str, OptionValue]:
    """Every option that a backend or probe declares, with the value given or its default.

    :raises UsageError: a value that the option does not take, or that cannot be kept.
    """
    given = _given(part, options)
    found = {
        option.name: _value(part, option, given[option.name]) if option.name in given else option.default
        for option in part.options
    }
    for name, value in found.items():
        if not isinstance(value, OptionValue):
            raise UsageError(
                f"option {name!r} of {_kind(part)} {part.name!r} is {value!r}, which is neither a text nor a "
                "number: its plugin cannot be used so"
            )
    return found


def _check_engine_options(options: RunOptions, parts: Iterable[Configurable]) -> None:
    own = {part.name: {option.name for option in part.options} for part in parts}
    known = {name for names in own.values() for name in names}
    for name in options.engine_options:
        meant, dot, option = name.partition(".")
        if not dot and name not in known:
            raise UnknownName("option", name, known)
        if dot and meant not in own:
            raise UnknownName("backend or probe of this run", meant, own)
        if dot and option not in own[meant]:
            raise UnknownName(f"option of {meant!r}", option, own[meant])
    if options.dtype is not None and "dtype" not in known:
        raise UnknownName("option", "dtype", known)


def _given(part: Configurable, options: RunOptions) -> dict[str, str]:
    """What was given for a part: for all of them, and, which goes before that, for it alone."""
    dtype = {} if options.dtype is None else {"dtype": options.dtype}
    shared = {name: text for name, text in options.engine_options.items() if "." not in name}
    own = {
        name.partition(".")[2]: text
        for name, text in options.engine_options.items()
        if name.startswith(f"{part.name}.")
    }
    return {**shared, **dtype, **own}


def _value(part: Configurable, option: Option, text: str) -> OptionValue:
    where = f"-o {option.name}={text} ({_kind(part)} {part.name!r})"
    if option.choices and text not in option.choices:
        raise UsageError(f"{where}: choose from {', '.join(option.choices)}")
    try:
        return option.kind(text)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None


def _kind(part: Configurable) -> str:
    return "probe" if isinstance(part, Probe) else "backend"


# ---- jobs ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Asked:
    """All that is asked of one model."""

    tokenizer: FastTokenizer
    cells: tuple[Cell, ...]
    units: tuple[Unit, ...]
    template: str
    notes: tuple[str, ...]


class _LaidOut:
    """What each model is asked: made once for all of one tokenizer, length of context and template."""

    def __init__(self, options: RunOptions, drafts: Sequence[Draft]) -> None:
        self._options = options
        self._drafts = drafts
        self._known: dict[object, _Asked] = {}

    def asked(self, model: FoundModel) -> _Asked:
        """:raises ModelError: the model's tokenizer cannot be read, or lacks what the questions need."""
        named = self._options.tokenizer
        tokenizer = model.tokenizer() if named is None else read_tokenizer(Path(named), "--tokenizer")
        # bytes of a text are no tokens: the server itself says what does not fit
        context = UNTOLD if tokenizer.origin == TEXT_ORIGIN else model.context
        template = template_for(self._options, model, tokenizer)
        written = template and (template.sha256, *sorted(template.marks.items()))
        kind = (tokenizer.sha256, tokenizer.bos_id, tokenizer.end_ids, context, written)
        if kind not in self._known:
            self._known[kind] = self._lay_out(tokenizer, context, template)
        return self._known[kind]

    def _lay_out(self, tokenizer: FastTokenizer, context: int, template: Template | None) -> _Asked:
        manners = manners_of(self._options, template)
        cells = tuple(
            _cell(manner, manner.apply(each), tokenizer, context, self._options)
            for each in self._drafts
            for manner in manners
            if manner.suits(each, alone=len(manners) == 1)
        )
        notes = bos_notes(tokenizer, cells)
        return _Asked(tokenizer, cells, tuple(cut_units(cells)), template.sha256 if template else "", notes)


def _drafts(options: RunOptions, selection: Selection, parts: Parts) -> tuple[Draft, ...]:
    if not selection.wishes:
        return ()
    source = open_source(options, demo=not options.models)
    return tuple(_draft(options, wish, parts, source) for wish in selection.wishes)


def _draft(options: RunOptions, wish: Wish, parts: Parts, source: DataSource) -> Draft:
    made = draft(options, wish.task, wish.shots, parts, source)
    return replace(made, notes=(*made.notes, wish.note)) if wish.note else made


def _cell(manner: Manner, draft: Draft, tokenizer: FastTokenizer, context: int, options: RunOptions) -> Cell:
    chat = manner.chat_of(draft)
    asker = Asker(tokenizer, context, draft.task.name, manner.writing, in_chat=chat == "on")
    asks, counts = asker.ask(draft.samples)
    told = enumerate(zip(draft.samples, asks, asker.counted, strict=True))
    items = tuple(Item(index, sample, parts, counted) for index, (sample, parts, counted) in told)
    return Cell(
        draft.task,
        draft.shots,
        options.seed,
        draft.scorer,
        items,
        draft.data,
        {**counts, **draft.counts},
        draft.sample,
        draft.notes,
        chat,
        options.repeats if draft.task.kind == "generation" else 1,
    )


def _job(
    options: RunOptions,
    pair: Pair,
    asked: _Asked,
    selection: Selection,
    probes: tuple[ProbeCell, ...],
    place: Place,
) -> Job:
    backend = pair.backend
    chats: tuple[Chat, ...] = tuple(dict.fromkeys(cell.chat for cell in asked.cells))
    return Job(
        backend,
        pair.model,
        pair.label,
        asked.tokenizer,
        resolve_options(backend, options),
        _python(options, backend, place),
        asked.cells,
        asked.units,
        tuple(replace(group, chat=chat) for chat in chats for group in selection.groups),
        (*_origin(pair.model), *_ignored_options(backend, options, selection.probes), *asked.notes),
        options.blocked_plugins,
        asked.template,
        probes,
        place=place,
    )


def _probe_cells(
    options: RunOptions, pair: Pair, selection: Selection, place: Place
) -> tuple[tuple[ProbeCell, ...], list[Refusal]]:
    """The probes that fit a model, and why others do not.

    :raises ModelError: none does, and nothing else is asked of it.
    """
    cells, refusals = [], []
    for probe in selection.probes:
        try:
            cells.append(_probe_cell(options, probe, pair, place))
        except ModelError as error:
            refusals.append(Refusal(pair.backend.name, pair.label, error))
    if refusals and not cells and not selection.wishes:
        raise refusals[0].error
    return tuple(cells), refusals


def _probe_cell(options: RunOptions, probe: Probe, pair: Pair, place: Place) -> ProbeCell:
    """:raises ModelError: what it asks does not fit the model or the machine."""
    settings = resolve_options(probe, options)
    engine = resolve_options(pair.backend, options)
    bits, dtype = pair.backend.cache_bits(engine), engine.get("dtype")
    check_room(probe, settings, pair.model, bits, dtype, place.memory())
    return ProbeCell(probe, settings, options.seed)


def _python(options: RunOptions, backend: type[Backend], place: Place) -> str:
    """The interpreter that is named, else the place's for the backend."""
    named = options.pythons.get(backend.name)
    return named if named is not None else place.python(backend)


def _origin(model: FoundModel) -> tuple[str, ...]:
    if model.address:
        return ("the model's hash is of its address and what the server tells: its weights are not seen",)
    origin = origin_of(model)
    return (origin.sentence(),) if origin is not None else ()


def _check_capability(backend: type[Backend], task: Task, options: RunOptions) -> None:
    needed = _CAPABILITY.get(task.kind)
    if needed is not None and needed not in backend.capabilities:
        raise UsageError(f"backend {backend.name!r} cannot {needed}, which task {task.name!r} needs")
    if needed == "generate" and options.temperature and "sample" not in backend.capabilities:
        raise UsageError(f"backend {backend.name!r} writes greedy texts alone: leave out --temperature")


def _ignored_options(backend: type[Backend], options: RunOptions, probes: Sequence[Probe]) -> tuple[str, ...]:
    parts: tuple[Configurable, ...] = (backend, *probes)
    own = {option.name for part in parts for option in part.options}
    ignored = [name for name in _given(backend, options) if name not in own]
    return tuple(f"{backend.name} has no option {name!r}, which was given" for name in ignored)
