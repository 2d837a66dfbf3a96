"""The route of runs that were made elsewhere."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from slmeval.service.auth import Caller, needs
from slmeval.service.documents import schema_of
from slmeval.service.schemas import PROBLEMS, Problem, Uploaded
from slmeval.service.service import service_of
from slmeval.service.strict import StrictRoute
from slmeval.service.uploading import keep, read_upload

router = APIRouter(prefix="/api/uploads", tags=["results"], responses=PROBLEMS, route_class=StrictRoute)


@router.post(
    "",
    status_code=201,
    operation_id="upload",
    responses={
        200: {"model": Uploaded, "description": "The same content was here already."},
        409: {"model": Problem, "description": "Another run has this id."},
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema_of("run")}}}
    },
)
async def upload(
    request: Request, response: Response, caller: Annotated[Caller, Depends(needs("submit"))]
) -> Uploaded:
    """Bring a run that was made elsewhere: its document, as `slmeval export` writes it."""
    service = service_of(request)
    # the guard has set how long a body may be
    read = await asyncio.to_thread(read_upload, await request.body())
    kept = await service.desk.write(lambda store: keep(store, read, caller.name))
    if kept.event is not None:
        await service.hub.spread([kept.event])
    response.status_code = 201 if kept.is_new else 200
    return Uploaded(id=kept.id, sha256=read.sha256)
