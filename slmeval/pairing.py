"""Which model is measured on which backend, and which pair cannot be, and why."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from slmeval.api import Backend
from slmeval.errors import MissingExtra, ModelError, ModelMissing, UnknownName, UsageError
from slmeval.models import FoundModel, find_model, form_of, is_there, parse_model
from slmeval.types import Failure, ModelRef, RunOptions

#: the bundled model, in each form in which it is there
_DEMO = {"folder": "model", "gguf": "model.gguf"}


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


def best_backend(options: RunOptions, backends: Sequence[type[Backend]]) -> type[Backend]:
    """The engine where the user names none: the best one here that opens all models.

    :raises UsageError: there is none, and what would add one.
    """
    forms = {form_of(parse_model(text)) for text in options.models}
    fit = [backend for backend in backends if forms <= set(backend.forms)]
    able = [backend for backend in fit if backend.missing() is None]
    if able:
        return max(able, key=_rank)
    if fit:
        _check_present(max(fit, key=_rank))
    raise UsageError(
        "no backend opens all of these models: give each its own, --backend A,B --model A=REF --model B=REF"
    )


def _rank(backend: type[Backend]) -> tuple[int, str]:
    return backend.preference, backend.name


def pair(options: RunOptions, backends: Sequence[type[Backend]], file_hash: Callable[[Path], str]) -> Pairing:
    """Each backend with each model meant for it; a model is found and hashed once.

    A model that is damaged, and a backend that cannot run here, are refused without harm to the other pairs.

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
                    _check_present(backend)
                found = _opened_by(backend, search.find(text))
            except ModelMissing:
                raise
            except (MissingExtra, ModelError) as error:
                refusals.append(Refusal(backend.name, label, error))
            else:
                pairs.append(Pair(backend, label, found if options.models else _as_demo(found)))
    return Pairing(_told_apart(pairs), tuple(refusals))


def _as_demo(found: FoundModel) -> FoundModel:
    return replace(found, ref=ModelRef("the bundled demo model"))


class _Search:
    """Finds each model once, be it there or not."""

    def __init__(self, file_hash: Callable[[Path], str]) -> None:
        self._file_hash = file_hash
        self._known: dict[str, FoundModel | ModelError] = {}

    def find(self, text: str) -> FoundModel:
        """:raises ModelError: it is missing or damaged."""
        if text not in self._known:
            try:
                self._known[text] = find_model(parse_model(text), self._file_hash)
            except ModelError as error:
                self._known[text] = error
        found = self._known[text]
        if isinstance(found, ModelError):
            raise found
        return found


def _check_present(backend: type[Backend]) -> None:
    reason = backend.missing()
    if reason is None:
        return
    if backend.extra is not None:
        raise MissingExtra(f"backend {backend.name!r}", backend.extra, f"cannot run here ({reason})")
    raise ModelError(f"backend {backend.name!r} cannot run here ({reason})")


#: the forms of a model, in words
_FORMS = {"folder": "model folders", "gguf": "GGUF files"}


def _opened_by(backend: type[Backend], model: FoundModel) -> FoundModel:
    """:raises UsageError: the model is of a form that the backend does not open."""
    if model.form not in backend.forms:
        opens = " and ".join(_FORMS.get(form, form) for form in backend.forms)
        raise UsageError(
            f"backend {backend.name!r} opens {opens}, and {model.ref} is none of these: "
            "slmeval convert makes one form from another (slmeval list converters)"
        )
    return model


def _told_apart(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """A model named twice is run once; two that end in the same name get a piece of their hashes."""
    places: dict[str, set[Path]] = {}
    for each in pairs:
        places.setdefault(each.label, set()).add(each.model.place.resolve())
    distinct = {(each.backend.name, each.model.place.resolve()): each for each in reversed(pairs)}
    return tuple(
        replace(each, label=f"{each.label}#{each.model.sha256[:8]}")
        if len(places[each.label]) > 1 and each.label != "demo"
        else each
        for each in reversed(distinct.values())
    )


def _label(ref: ModelRef) -> str:
    """The last part of its name, as a report's column needs it."""
    named = Path(ref.location)
    return named.resolve().name if is_there(named) else re.split("[/:]", str(ref))[-1]


def _models_for(
    backend: type[Backend], options: RunOptions, backends: Sequence[type[Backend]]
) -> tuple[str, ...]:
    """``--model REF`` goes to every backend, ``--model BACKEND=REF`` to that one."""
    if not options.models:
        return (str(_demo_for(backend)),)
    names = {each.name for each in backends}
    meant = [_split_model(text, names) for text in options.models]
    mine = tuple(text for name, text in meant if name in (None, backend.name))
    if not mine:
        raise UsageError(f"no model for backend {backend.name!r}: --model {backend.name}=REF")
    return mine


def _demo_for(backend: type[Backend]) -> Path:
    return demo_model(next((form for form in backend.forms if form in _DEMO), "folder"))


def _split_model(text: str, backends: set[str]) -> tuple[str | None, str]:
    name, equals, rest = text.partition("=")
    if equals and name in backends:
        return name, rest
    if equals and not is_there(text) and "/" not in name:
        raise UnknownName("backend", name, backends)
    return None, text
