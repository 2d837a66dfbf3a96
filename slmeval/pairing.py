"""Which model is measured on which backend, and which pair cannot be, and why."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote

from slmeval.api import Backend
from slmeval.errors import MissingExtra, ModelError, ModelMissing, UnknownName, UsageError
from slmeval.models import FoundModel, find_model, form_of, is_there, parse_model, served_model
from slmeval.places import HERE, Place
from slmeval.types import Failure, ModelRef, RunOptions

#: the bundled model, in each form in which it is there
_DEMO = {"folder": "model", "gguf": "model.gguf"}


#: as messages call the demo model
DEMO = ModelRef("the bundled demo model")


@dataclass(frozen=True)
class Pair:
    """A model on a backend, under the name that the report gives it."""

    backend: type[Backend]
    label: str
    model: FoundModel


@dataclass(frozen=True)
class Refusal:
    """A pair that cannot be measured, and why."""

    backend: str
    model: str
    error: UsageError

    @property
    def failure(self) -> Failure:
        """As the report tells it."""
        return Failure(self.backend, self.model, str(self.error))


@dataclass(frozen=True)
class Pairing:
    """All pairs that were asked for: those that can be measured, and those that cannot."""

    pairs: tuple[Pair, ...]
    refusals: tuple[Refusal, ...]


def demo_model(form: str = "folder") -> Path:
    """The bundled demo model: a "folder", or one file in "gguf"."""
    return Path(str(files("slmeval.demo") / _DEMO[form]))


def best_backend(
    options: RunOptions, backends: Sequence[type[Backend]], place: Place = HERE
) -> type[Backend]:
    """The engine where the user names none: the best one at the place that opens all models.

    :raises UsageError: there is none, and what would add one.
    """
    forms = {form_of(parse_model(text)) for text in options.models}
    # where no model is named, the demo model is meant
    fit = [each for each in backends if forms <= set(each.forms) and (forms or set(each.forms) & set(_DEMO))]
    able = [backend for backend in fit if place.has(backend)]
    if able:
        return max(able, key=_rank)
    if fit:
        place.check(max(fit, key=_rank))
    raise UsageError(
        "no backend opens all of these models: give each its own, --backend A,B --model A=REF --model B=REF"
    )


def _rank(backend: type[Backend]) -> tuple[int, str]:
    return backend.preference, backend.name


def pair(
    options: RunOptions,
    backends: Sequence[type[Backend]],
    file_hash: Callable[[Path], str],
    place: Place = HERE,
) -> Pairing:
    """Each backend with each model meant for it; a model is found and hashed once.

    A model that is damaged, and a backend that cannot run at the place, are refused without harm to the
    other pairs.

    :raises UsageError: --model names what is not there, an unknown backend, or no model for one of them; or
        the model is of a form that the backend does not open.
    """
    search = _Search(file_hash)
    pairs, refusals = [], []
    for backend in backends:
        for text in _models_for(backend, options, backends):
            label = _label(parse_model(text)) if options.models else "demo"
            try:
                if backend.name not in options.pythons:
                    place.check(backend)
                found = search.find(text, backend)
            except ModelMissing:
                raise
            except (MissingExtra, ModelError) as error:
                refusals.append(Refusal(backend.name, label, error))
            else:
                label = _label(found.local) if found.address else label
                pairs.append(Pair(backend, label, found if options.models else _as_demo(found)))
    return Pairing(_told_apart(pairs), tuple(refusals))


def _as_demo(found: FoundModel) -> FoundModel:
    return replace(found, ref=DEMO)


class _Search:
    """Finds each model once, be it there or not."""

    def __init__(self, file_hash: Callable[[Path], str]) -> None:
        self._file_hash = file_hash
        self._known: dict[tuple[str, str], FoundModel | ModelError] = {}

    def find(self, text: str, backend: type[Backend]) -> FoundModel:
        """:raises UsageError: it is missing or damaged, or of a form that the backend does not open."""
        ref = parse_model(text)
        form = form_of(ref)
        # seen by the name alone; else a hub would be asked for what a server calls so
        if "server" not in backend.forms if form == "server" else set(backend.forms) == {"server"}:
            raise not_opened(backend, str(ref), form)
        key = (text, backend.name if form == "server" else "")
        if key not in self._known:
            try:
                self._known[key] = self._find(ref, backend)
            except ModelError as error:
                self._known[key] = error
        found = self._known[key]
        if isinstance(found, ModelError):
            raise found
        if found.form not in backend.forms:
            raise not_opened(backend, str(ref), found.form)
        return found

    def _find(self, ref: ModelRef, backend: type[Backend]) -> FoundModel:
        if form_of(ref) == "server":
            return served_model(ref, backend.look_up(ref))
        return find_model(ref, self._file_hash)


#: the forms of a model, in words
_FORMS = {"folder": "model folders", "gguf": "GGUF files", "server": "servers (http://HOST:PORT/v1#NAME)"}


def not_opened(backend: type[Backend], model: str, form: str) -> UsageError:
    """What to raise where a backend does not open models of a form."""
    opens = " and ".join(_FORMS.get(form, form) for form in backend.forms)
    told = f"backend {backend.name!r} opens {opens}, and {model} is none of these"
    if "server" in (form, *backend.forms):
        return UsageError(told)
    return UsageError(f"{told}: slmeval convert makes one form from another (slmeval list converters)")


def _told_apart(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """A model named twice is run once; two that end in the same name get a piece of their hashes."""
    places: dict[str, set[str]] = {}
    for each in pairs:
        places.setdefault(each.label, set()).add(each.model.identity)
    distinct = {(each.backend.name, each.model.identity): each for each in reversed(pairs)}
    return tuple(
        replace(each, label=f"{each.label}#{each.model.sha256[:8]}")
        if len(places[each.label]) > 1 and each.label != "demo"
        else each
        for each in reversed(distinct.values())
    )


def _label(ref: ModelRef) -> str:
    """The last part of its name, as a report's column needs it."""
    if form_of(ref) == "server":
        address, _, name = ref.location.partition("#")
        return unquote(name).rstrip("/").rpartition("/")[2] or address
    named = Path(ref.location)
    return named.resolve().name if is_there(named) else re.split("[/:]", str(ref))[-1]


def _models_for(
    backend: type[Backend], options: RunOptions, backends: Sequence[type[Backend]]
) -> tuple[str, ...]:
    """``--model REF`` goes to every backend, ``--model BACKEND=REF`` to that one."""
    if not options.models:
        return (str(demo_for(backend)),)
    names = {each.name for each in backends}
    meant = [_split_model(text, names) for text in options.models]
    mine = tuple(text for name, text in meant if name in (None, backend.name))
    if not mine:
        raise UsageError(f"no model for backend {backend.name!r}: --model {backend.name}=REF")
    return mine


def demo_for(backend: type[Backend]) -> Path:
    """The demo model in a form that the backend opens.

    :raises UsageError: the demo model is there in no form that it opens.
    """
    form = next((form for form in backend.forms if form in _DEMO), None)
    if form is None:
        opens = " and ".join(_FORMS.get(form, form) for form in backend.forms)
        raise UsageError(f"backend {backend.name!r} opens {opens}: name one with --model")
    return demo_model(form)


def _split_model(text: str, backends: set[str]) -> tuple[str | None, str]:
    name, equals, rest = text.partition("=")
    if equals and name in backends:
        return name, rest
    if equals and not is_there(text) and "/" not in name:
        raise UnknownName("backend", name, backends)
    return None, text
