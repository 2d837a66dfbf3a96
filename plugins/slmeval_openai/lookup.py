"""What a server tells of its models before anything is asked of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from slmeval.errors import ModelError, ModelMissing
from slmeval.types import Served
from slmeval_openai import documents
from slmeval_openai.address import Address, parse
from slmeval_openai.asking import Caller, GaveUp, Refused
from slmeval_openai.documents import Garbled
from slmeval_openai.secret import Key, key_from_environment
from slmeval_openai.words import clean, listed

#: seconds that a list of models may take
_TIMEOUT = 15.0
#: fields of a model's entry that stay the same while it does: vLLM's and llama-server's
_LASTING = ("owned_by", "root", "parent")
_LASTING_META = ("n_params", "size", "ftype", "n_embd")


@dataclass(frozen=True)
class Facts:
    """What a server tells of one model; ``context`` is in tokens, and holds what is written too."""

    name: str
    context: int | None = None
    version: str = ""
    marks: Mapping[str, str] = field(default_factory=dict)
    parameters: int = 0
    vocabulary: int = 0

    @property
    def room(self) -> int | None:
        """Tokens that can be asked: a server writes one token at least, which needs its place too."""
        return None if self.context is None else self.context - 1

    @property
    def make(self) -> str:
        """The server's own name and version, "" where it tells neither."""
        return " ".join(part for part in (self.marks.get("owned_by", ""), self.version) if part)

    @property
    def edition(self) -> str:
        """What tells the model from another under the same name, and from itself on another version."""
        return "; ".join(f"{name} {value}" for name, value in self.marks.items() if value)


def look_up(location: str) -> Served:
    """The model at ``location``, as its server tells of it.

    :raises ModelMissing: nothing answers there, or it serves no such model.
    :raises ModelError: the address cannot be used, or the server refuses or makes no sense; the key would
        stand in reports.
    """
    address, key = address_and_key(location)
    # a thread of its own, for whoever calls may have an event loop under way
    with ThreadPoolExecutor(1) as thread:
        facts = thread.submit(asyncio.run, _asked(address, key)).result()
    return Served(address.named(key.check_address(facts.name)), facts.room, facts.edition)


def address_and_key(location: str) -> tuple[Address, Key]:
    """Where the server is, and what it is shown.

    :raises ModelError: either cannot be used, or the key stands in the address.
    """
    key = key_from_environment()
    # before anything of the address is quoted
    return parse(key.check_address(location)), key


async def _asked(address: Address, key: Key) -> Facts:
    caller = Caller(address, key, _TIMEOUT, retries=2)
    try:
        return await facts_of(caller, address)
    finally:
        await caller.close()


async def facts_of(caller: Caller, address: Address) -> Facts:
    """The facts of the model that ``address`` names, or of the server's only one.

    :raises ModelError, ModelMissing: as :func:`look_up`.
    """
    try:
        entries = await caller.get(f"{address.base}/models", _entries)
    except Refused as refused:
        if refused.status in (404, 405) and address.name:
            return Facts(address.name)  # no list of models: the name is taken as it is
        raise ModelError(str(refused)) from None
    except GaveUp as gave_up:
        kind = ModelError if gave_up.answered else ModelMissing
        raise kind(f"{gave_up}: is a server running there?") from None
    entry = _pick(address, entries, caller)
    return await _told(caller, address, entry)


def _entries(document: Any) -> dict[str, dict[str, Any]]:
    """Entries of a list of models by their names.

    :raises Garbled: it is none.
    """
    entries = documents.field(document, "data", list)
    return {documents.field(entry, "id", str): entry for entry in entries}


def _pick(address: Address, entries: Mapping[str, dict[str, Any]], caller: Caller) -> dict[str, Any]:
    where = f"the server at {address.base}"
    names = [caller.shown(name) for name in entries]
    if address.name in entries:
        return entries[address.name]
    if not entries:
        raise ModelMissing(f"{where} serves no model")
    if address.name:
        near = get_close_matches(address.name, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {listed(names)}"
        raise ModelMissing(f"{where} serves no model {address.name!r}: {hint}")
    if len(entries) > 1:
        raise ModelMissing(
            f"{where} serves several models: write {address.base}#NAME; it has {listed(names)}"
        )
    return next(iter(entries.values()))


async def _told(caller: Caller, address: Address, entry: dict[str, Any]) -> Facts:
    """The entry, and what the server tells in places of its own."""
    name, meta = entry["id"], _part(entry, "meta")
    marks = {key: _text(entry.get(key)) for key in _LASTING}
    marks.update({key: _text(meta.get(key)) for key in _LASTING_META})
    context = (
        _count(entry.get("max_model_len")) or _count(meta.get("n_ctx")) or _count(meta.get("n_ctx_train"))
    )
    version = ""
    if "max_model_len" in entry:
        version = _text((await _extra(caller, f"{address.root}/version")).get("version"))
    elif marks["owned_by"] == "llamacpp":
        props = await _extra(caller, f"{address.root}/props")
        version = _text(props.get("build_info"))
        marks["model_path"] = _text(props.get("model_path"))
        context = _count(_part(props, "default_generation_settings").get("n_ctx")) or context
    else:
        marks["digest"] = _digest(name, await _extra(caller, f"{address.root}/api/tags"))
    shown = {key: caller.shown(value) for key, value in {**marks, "version": version}.items()}
    return Facts(
        name,
        context or None,
        shown["version"],
        shown,
        _count(meta.get("n_params")),
        _count(meta.get("n_vocab")),
    )


async def _extra(caller: Caller, url: str) -> dict[str, Any]:
    """What a server tells where OpenAI has nothing; an empty object where there is no such place.

    Trouble is no answer: an edition that came and went with it would ask everything twice.
    """
    try:
        return await caller.get(url, _object, tries=2)
    except Refused:
        return {}
    except GaveUp as gave_up:
        if gave_up.answered:
            return {}
        raise ModelError(str(gave_up)) from None


def _object(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise Garbled("it is no JSON object")
    return document


def _digest(name: str, tags: Mapping[str, Any]) -> str:
    """Ollama's hash of a model."""
    models = tags.get("models")
    for model in models if isinstance(models, list) else []:
        if isinstance(model, dict) and name in (model.get("name"), model.get("model")):
            return _text(model.get("digest"))
    return ""


def _part(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = document.get(name)
    return part if isinstance(part, dict) else {}


def _text(value: Any) -> str:
    return clean(str(value)) if isinstance(value, str | int) else ""


def _count(value: Any) -> int:
    return value if type(value) is int and 0 < value < 2**40 else 0
