"""From options to a plan: every mistake is found here, before any weights load."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from slmeval.api import Backend, Option, Task
from slmeval.asking import Asker, cut_units
from slmeval.datasets import DataSource
from slmeval.errors import MissingExtra, UnknownName, UsageError
from slmeval.models import FoundModel, find_model, is_there, parse_model
from slmeval.plan import Cell, GroupCell, Item, Job, Plan, Unit
from slmeval.questions import Draft, draft, open_source
from slmeval.registry import Parts, pick
from slmeval.selection import Wish, select
from slmeval.tokenizing import FastTokenizer, read_tokenizer
from slmeval.types import ModelRef, OptionValue, RunOptions

#: what a task's kind asks of an engine
_CAPABILITY = {"multiple_choice": "score", "likelihood": "score", "generation": "generate"}
_COMPAT = ("lm-eval",)


def plan(options: RunOptions, parts: Parts, file_hash: Callable[[Path], str]) -> Plan:
    """Check everything that can be checked without an engine, and lay out the work.

    :raises UsageError: the first mistake found, in one sentence.
    """
    _check_options(options)
    selection = select(options, parts)
    backends = _choose_backends(options, parts)
    _check_pythons(options, backends)
    demo = not options.models
    source = open_source(options, demo)
    drafts = tuple(_draft(options, wish, parts, source) for wish in selection.wishes)
    _check_engine_options(options, backends)
    asked: dict[str, _Asked] = {}
    jobs = []
    for backend, label, found in _told_apart(list(_pairs(options, backends, file_hash))):
        # every engine is asked the very same: the ids are made once for a model
        if found.sha256 not in asked:
            asked[found.sha256] = _ask(options, found, drafts)
        jobs.append(_job(options, backend, label, found, asked[found.sha256], selection.groups))
    return Plan(options, demo, tuple(jobs))


# ---- backends -----------------------------------------------------------------------------------------


def _choose_backends(options: RunOptions, parts: Parts) -> tuple[type[Backend], ...]:
    if options.backends:
        chosen = [pick("backend", name, parts.backends) for name in dict.fromkeys(options.backends)]
        for backend in chosen:
            if backend.name not in options.pythons:
                _check_present(backend)
        return tuple(chosen)
    able = [backend for backend in parts.backends.values() if backend.missing() is None]
    if not able:
        raise UsageError("no backend can run here: slmeval doctor says what each one lacks")
    return (max(able, key=lambda backend: (backend.preference, backend.name)),)


def _check_present(backend: type[Backend]) -> None:
    reason = backend.missing()
    if reason is None:
        return
    if backend.extra is not None:
        raise MissingExtra(f"backend {backend.name!r}", backend.extra, f"cannot run here ({reason})")
    raise UsageError(f"backend {backend.name!r} cannot run here ({reason})")


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
    if options.data is not None and options.sample:
        raise UsageError("--data and --sample name two sources of rows: give one")


# ---- models and their options ----------------------------------------------------------------------


def demo_model() -> Path:
    """The folder of the bundled demo model."""
    return Path(str(files("slmeval.demo") / "model"))


def _pairs(
    options: RunOptions, backends: Sequence[type[Backend]], file_hash: Callable[[Path], str]
) -> Iterator[tuple[type[Backend], str, FoundModel]]:
    """Each backend with each model meant for it; a model is found and hashed once."""
    found: dict[str, FoundModel] = {}
    for backend in backends:
        for text in _models_for(backend, options, backends):
            if text not in found:
                found[text] = find_model(parse_model(text), file_hash)
            if options.models:
                yield backend, _label(found[text]), found[text]
            else:
                yield backend, "demo", replace(found[text], ref=ModelRef("the bundled demo model"))


def _told_apart(
    pairs: Sequence[tuple[type[Backend], str, FoundModel]],
) -> Iterator[tuple[type[Backend], str, FoundModel]]:
    """A model named twice is run once; two that end in the same name get a piece of their hashes."""
    folders: dict[str, set[Path]] = {}
    for _, label, found in pairs:
        folders.setdefault(label, set()).add(found.folder.resolve())
    seen: set[tuple[str, Path]] = set()
    for backend, label, found in pairs:
        place = (backend.name, found.folder.resolve())
        if place not in seen:
            seen.add(place)
            told = f"{label}#{found.sha256[:8]}" if len(folders[label]) > 1 else label
            yield backend, told, found


def _label(model: FoundModel) -> str:
    """The last part of its name, as a report's column needs it."""
    named = Path(model.ref.location)
    return named.resolve().name if is_there(named) else str(model.ref).rpartition("/")[2]


def _models_for(
    backend: type[Backend], options: RunOptions, backends: Sequence[type[Backend]]
) -> tuple[str, ...]:
    """``--model REF`` goes to every backend, ``--model BACKEND=REF`` to that one."""
    if not options.models:
        return (str(demo_model()),)
    names = {each.name for each in backends}
    meant = [_split_model(text, names) for text in options.models]
    mine = tuple(text for name, text in meant if name in (None, backend.name))
    if not mine:
        raise UsageError(f"no model for backend {backend.name!r}: --model {backend.name}=REF")
    return mine


def _split_model(text: str, backends: set[str]) -> tuple[str | None, str]:
    name, equals, rest = text.partition("=")
    if equals and name in backends:
        return name, rest
    if equals and not is_there(text) and "/" not in name:
        raise UnknownName("backend", name, backends)
    return None, text


def resolve_options(backend: type[Backend], options: RunOptions) -> dict[str, OptionValue]:
    """Every option that the backend declares, with the value given or its default.

    :raises UsageError: a value that the option does not take.
    """
    given = _given(options)
    return {
        option.name: _value(backend, option, given[option.name]) if option.name in given else option.default
        for option in backend.options
    }


def _check_engine_options(options: RunOptions, backends: Iterable[type[Backend]]) -> None:
    known = {option.name for backend in backends for option in backend.options}
    for name in _given(options):
        if name not in known:
            raise UnknownName("option", name, known)


def _given(options: RunOptions) -> dict[str, str]:
    dtype = {} if options.dtype is None else {"dtype": options.dtype}
    return {**options.engine_options, **dtype}


def _value(backend: type[Backend], option: Option, text: str) -> OptionValue:
    where = f"-o {option.name}={text} (backend {backend.name!r})"
    if option.choices and text not in option.choices:
        raise UsageError(f"{where}: choose from {', '.join(option.choices)}")
    try:
        return option.kind(text)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None


# ---- jobs ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Asked:
    """All that is asked of one model."""

    tokenizer: FastTokenizer
    cells: tuple[Cell, ...]
    units: tuple[Unit, ...]


def _ask(options: RunOptions, model: FoundModel, drafts: Sequence[Draft]) -> _Asked:
    tokenizer = _tokenizer(options, model)
    cells = tuple(_cell(draft, tokenizer, model.context, options.seed) for draft in drafts)
    return _Asked(tokenizer, cells, tuple(cut_units(cells)))


def _tokenizer(options: RunOptions, model: FoundModel) -> FastTokenizer:
    if options.tokenizer is not None:
        return read_tokenizer(Path(options.tokenizer), "--tokenizer")
    return read_tokenizer(model.folder, "the model's tokenizer.json")


def _draft(options: RunOptions, wish: Wish, parts: Parts, source: DataSource) -> Draft:
    made = draft(options, wish.task, wish.shots, parts, source)
    return replace(made, notes=(*made.notes, wish.note)) if wish.note else made


def _cell(draft: Draft, tokenizer: FastTokenizer, context: int, seed: int) -> Cell:
    asks, counts = Asker(tokenizer, context, draft.task.name).ask(draft.samples)
    pairs = zip(draft.samples, asks, strict=True)
    items = tuple(Item(index, sample, parts) for index, (sample, parts) in enumerate(pairs))
    return Cell(
        draft.task,
        draft.shots,
        seed,
        draft.scorer,
        items,
        draft.data,
        {**counts, **draft.counts},
        draft.sample,
        draft.notes,
    )


def _job(
    options: RunOptions,
    backend: type[Backend],
    label: str,
    model: FoundModel,
    asked: _Asked,
    groups: tuple[GroupCell, ...],
) -> Job:
    for cell in asked.cells:
        _check_capability(backend, cell.task)
    return Job(
        backend,
        model,
        label,
        asked.tokenizer,
        resolve_options(backend, options),
        options.pythons.get(backend.name, sys.executable),
        asked.cells,
        asked.units,
        groups,
        _ignored_options(backend, options),
        options.blocked_plugins,
    )


def _check_capability(backend: type[Backend], task: Task) -> None:
    needed = _CAPABILITY.get(task.kind)
    if needed is not None and needed not in backend.capabilities:
        raise UsageError(f"backend {backend.name!r} cannot {needed}, which task {task.name!r} needs")


def _ignored_options(backend: type[Backend], options: RunOptions) -> tuple[str, ...]:
    own = {option.name for option in backend.options}
    ignored = [name for name in _given(options) if name not in own]
    return tuple(f"{backend.name} has no option {name!r}, which was given" for name in ignored)
