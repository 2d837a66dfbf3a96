"""The form that submits runs: what is on offer, and what was typed, with what is wrong beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from slmeval.builtin.reporters.text import plural
from slmeval.datasets import open_sample
from slmeval.errors import SlmevalError, StoreError
from slmeval.registry import Parts
from slmeval.service.auth import Caller, checked_form, needs
from slmeval.service.bench import EVERY
from slmeval.service.pages.form_fields import RARE, USUAL, Field, Mistakes, request_of, typed_in
from slmeval.service.pages.form_mistakes import by_field, label_of, place_of
from slmeval.service.pages.render import page
from slmeval.service.problems import Refused
from slmeval.service.service import Service, service_of
from slmeval.service.submitting import submit

router = APIRouter(include_in_schema=False)

Submitter = Annotated[Caller, Depends(needs("submit"))]


@dataclass(frozen=True)
class Section:
    """A group with the names of all that is in it, groups first; ``holds`` says how many of what."""

    name: str
    members: tuple[str, ...]
    holds: str


@router.get("/submit")
async def form(request: Request, _: Submitter) -> Response:
    """The empty form; what the address names is ticked and typed already."""
    typed = {name: request.query_params.getlist(name) for name in request.query_params}
    return await _page(request, typed, {})


@router.post("/submit")
async def send(
    request: Request, caller: Submitter, form: Annotated[FormData, Depends(checked_form)]
) -> Response:
    """Submit; or the form once more, with what is wrong."""
    try:
        made = await submit(service_of(request), request_of(form), caller)
    except Mistakes as error:
        return await _page(request, typed_in(form), error.told)
    except StoreError:
        raise
    except SlmevalError as error:
        status = error.status if isinstance(error, Refused) else 422
        return await _page(request, typed_in(form), by_field(str(error)), status)
    only = made.runs[0].id if len(made.runs) == 1 else None
    return RedirectResponse(f"/runs/{only}" if only else f"/batches/{made.batch}", 303)


async def _page(
    request: Request, typed: Mapping[str, Sequence[str]], wrong: Mapping[str, str], status: int = 422
) -> Response:
    service = service_of(request)
    models = await asyncio.to_thread(service.allowed.listed)
    connected = [device.name for device in service.roster.devices()]
    engines = _engines(service)
    # what was ticked and has gone meanwhile stays ticked
    known = {*service.registry.parts.backends, *typed.get("backends", ())}
    devices = list(dict.fromkeys((*connected, *typed.get("devices", ()))))
    return page(
        request,
        "submit.html",
        status=status if wrong else 200,
        typed=typed,
        wrong=[(name, label_of(name), place_of(name), told) for name, told in wrong.items()],
        told=wrong,
        sections=sections(service.registry.parts),
        engines=engines,
        absent=sorted(known - set(engines)),
        models=models,
        patterns=[*service.settings.hubs, *service.settings.servers],
        connected=connected,
        devices=[name for name in devices if name != EVERY],
        every=EVERY,
        usual=USUAL,
        rare=RARE,
        opened=any(field.name in wrong or _is_given(field, typed) for field in RARE),
        sampled=await asyncio.to_thread(_sampled, service.registry.parts),
    )


def _is_given(field: Field, typed: Mapping[str, Sequence[str]]) -> bool:
    return any(text.strip() not in ("", field.default) for text in typed.get(field.name, ()))


def _sampled(parts: Parts) -> list[str]:
    """The data sets of which there are bundled rows: the demo model has no others."""
    sample = open_sample()
    specs = [task.dataset for task in parts.tasks.values()]
    return sorted({spec.name for spec in specs if sample.holds(spec, spec.evaluation)})


def _engines(service: Service) -> dict[str, list[str]]:
    """Each engine that a connected device has, with these devices."""
    found: dict[str, list[str]] = {}
    for device in service.roster.devices():
        for engine in device.engines:
            found.setdefault(engine, []).append(device.name)
    return dict(sorted(found.items()))


def sections(parts: Parts) -> list[Section]:
    """The groups that are in no other, by name, and last what is in none."""
    inner = {member for group in parts.groups.values() for member in group.members}
    outer = sorted(set(parts.groups) - inner)
    made = [_section(name, _below(name, parts), parts) for name in outer]
    alone = sorted({*parts.tasks, *parts.probes} - inner)
    return [*made, *([_section("", alone, parts)] if alone else [])]


def _section(name: str, members: Iterable[str], parts: Parts) -> Section:
    found = tuple(dict.fromkeys(members))
    groups = tuple(each for each in found if each in parts.groups)
    leaves = tuple(each for each in found if each not in parts.groups)
    probes = sum(each in parts.probes for each in leaves)
    counts = [(len(leaves) - probes, "task"), (probes, "measurement")]
    holds = ", ".join(plural(count, noun) for count, noun in counts if count)
    return Section(name, (*groups, *leaves), holds)


def _below(name: str, parts: Parts) -> Iterator[str]:
    for member in parts.groups[name].members:
        yield member
        if member in parts.groups:
            yield from _below(member, parts)
