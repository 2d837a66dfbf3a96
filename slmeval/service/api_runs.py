"""Routes of runs: submit, list, look at one, cancel."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as InPath

from slmeval.service.auth import Caller, needs
from slmeval.service.ledger import ENDED, Event, Ledger, State
from slmeval.service.listing import describe_run, find_run, list_runs
from slmeval.service.problems import Refused
from slmeval.service.schemas import (
    PROBLEMS,
    RUN_ID,
    Cancelled,
    Problem,
    RunDetail,
    RunList,
    RunRequest,
    RunState,
    Submitted,
)
from slmeval.service.service import Service, service_of
from slmeval.service.strict import StrictRoute
from slmeval.service.submitting import submit
from slmeval.store import Store

router = APIRouter(prefix="/api/runs", tags=["runs"], responses=PROBLEMS, route_class=StrictRoute)

#: the id of a run in a path
InRun = Annotated[str, InPath(pattern=RUN_ID, description="The whole id of a run.")]
#: a run that was just given to a device is known to the dispatcher a moment (seconds) later
_MOMENTS, _MOMENT = 50, 0.1

_TOO_MANY: dict[int | str, dict[str, Any]] = {
    429: {
        "model": Problem,
        "description": "Too many runs wait.",
        "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
    }
}
_CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "The run has ended, or was not submitted here."}
}


@router.post("", status_code=201, responses=_TOO_MANY, operation_id="submit")
async def submit_runs(
    request: Request, body: RunRequest, caller: Annotated[Caller, Depends(needs("submit"))]
) -> Submitted:
    """Submit runs: one for each backend, and on each device that is named."""
    return await submit(service_of(request), body, caller)


@router.get("", operation_id="list_runs", dependencies=[Depends(needs("read"))])
async def runs(
    request: Request,
    state: RunState | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[str | None, Query(pattern=RUN_ID, description="`next` of an earlier answer.")] = None,
) -> RunList:
    """All runs, newest first: submitted ones, uploads, and those of the store's own command line."""
    found = await service_of(request).desk.read(lambda store: list_runs(store, state, limit, before))
    if found is None:
        raise Refused(422, f"before: there is no run {before!r} (take `next` of an earlier answer)")
    return found


@router.get("/{run}", operation_id="run", dependencies=[Depends(needs("read"))])
async def one_run(request: Request, run: InRun) -> RunDetail:
    """One run: its state, what was asked for, and how far it is."""
    found = await service_of(request).desk.read(lambda store: describe_run(store, run))
    if found is None:
        raise no_run(run)
    return found


@router.post(
    "/{run}/cancel", operation_id="cancel", responses=_CONFLICT, dependencies=[Depends(needs("submit"))]
)
async def cancel_run(request: Request, run: InRun) -> Cancelled:
    """End a run that waits or is being carried out; what was answered is kept."""
    return Cancelled(id=run, state=await cancel(service_of(request), run))


async def cancel(service: Service, run: str) -> State:
    """The run's state then: "running" where it ends as soon as its device has heard of it.

    :raises slmeval.service.problems.Refused: there is no such run, or nothing to cancel.
    """
    for _ in range(_MOMENTS):
        if await service.dispatcher.cancel(run):
            return "running"
        state, event = await service.desk.write(lambda store: _cancel_queued(store, run))
        if event is not None:
            await service.hub.spread([event])
        if state != "running":
            return state
        await asyncio.sleep(_MOMENT)
    raise Refused(503, f"run {run} is between two devices: cancel it again in a moment")


def _cancel_queued(store: Store, run: str) -> tuple[State, Event | None]:
    ledger = Ledger(store)
    submission = ledger.submission(run)
    if submission is None:
        if find_run(store, run) is None:
            raise no_run(run)
        raise Refused(409, f"run {run} was not submitted here: end it where it is carried out")
    if submission.state == "queued":
        return "cancelled", ledger.finish(run, "cancelled", "cancelled while it waited")
    if submission.state in ENDED and submission.state != "cancelled":
        raise Refused(409, f"run {run} is {submission.state}: there is nothing to cancel")
    return submission.state, None


def no_run(run: str) -> Refused:
    """What to raise where a path names a run that is not there."""
    return Refused(404, f"there is no run {run!r} (GET /api/runs lists all)")
