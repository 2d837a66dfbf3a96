"""The pages of runs: all of them, one of them while it runs and after, and those of one submission."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from slmeval.service.api_runs import cancel as cancel_run
from slmeval.service.auth import Caller, checked_form, needs
from slmeval.service.ledger import Ledger
from slmeval.service.listing import list_runs
from slmeval.service.pages.again import again
from slmeval.service.pages.batches import batch_of
from slmeval.service.pages.command_line import command_line
from slmeval.service.pages.render import page
from slmeval.service.pages.viewing import view_of
from slmeval.service.problems import Refused
from slmeval.service.schemas import RunList
from slmeval.service.service import service_of
from slmeval.store import Store

router = APIRouter(include_in_schema=False)

Reader = Annotated[Caller, Depends(needs("read"))]
Submitter = Annotated[Caller, Depends(needs("submit"))]


#: every state that a run may be in, in the order of its life
STATES = ("queued", "running", "done", "failed", "interrupted", "cancelled")
#: lines of one page
PAGE = 50


@router.get("/")
async def runs(request: Request, _: Reader, state: str = "", before: str = "") -> Response:
    """All runs, the newest first."""
    if state and state not in STATES:
        raise Refused(404, f"no run is ever {state!r}: {', '.join(STATES)}")
    after, found = await service_of(request).desk.read(lambda store: _listed(store, state, before))
    return page(
        request,
        "runs.html",
        after=after,
        lines=found.runs,
        states=[(name, _list_address(name)) for name in ("", *STATES)],
        state=state,
        newer=_list_address(state) if before else "",
        older=_list_address(state, found.next) if found.next else "",
    )


def _listed(store: Store, state: str, before: str) -> tuple[int, RunList]:
    """The newest event, and a page of runs.

    :raises Refused: there is no run ``before``.
    """
    after = Ledger(store).last_event()
    found = list_runs(store, state or None, PAGE, before or None)
    if found is None:
        raise Refused(404, f"there is no run {before!r}: the list of runs begins at /")
    return after, found


def _list_address(state: str, before: str = "") -> str:
    given = {name: value for name, value in (("state", state), ("before", before)) if value}
    return f"/?{urlencode(given)}" if given else "/"


@router.get("/runs/{run}")
async def run_page(request: Request, run: str, caller: Reader) -> Response:
    """One run: how far it is, and what came of it."""
    service = service_of(request)
    view = await service.desk.read(lambda store: view_of(store, run))
    if view is None:
        raise Refused(404, f"there is no run {run!r} here")
    backend = view.submission.backend if view.submission else ""
    return page(
        request,
        "run.html",
        view=view,
        command=command_line(view.options, backend),
        waiting=service.dispatcher.waiting(run),
        may_cancel="submit" in caller.scopes and view.is_live,
        again=again(view.submission) if view.submission and "submit" in caller.scopes else None,
    )


@router.post("/runs/{run}/cancel")
async def cancel(
    request: Request, run: str, _: Submitter, __: Annotated[FormData, Depends(checked_form)]
) -> Response:
    """Have a run end, and show it."""
    await cancel_run(service_of(request), run)
    return RedirectResponse(f"/runs/{quote(run)}", 303)


@router.get("/batches/{batch}")
async def batch_page(request: Request, batch: str, _: Reader) -> Response:
    """The runs of one submission side by side."""
    view = await service_of(request).desk.read(lambda store: batch_of(store, batch))
    if view is None:
        raise Refused(404, f"there is no batch {batch!r} here")
    return page(request, "batch.html", view=view)
