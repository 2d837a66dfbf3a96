"""Routes of what came of runs: documents, items, comparisons, gates."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from io import StringIO
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as InPath
from pydantic import StringConstraints
from starlette.responses import Response

from slmeval.baselines import Baseline, baseline_from
from slmeval.comparison import Wanted, compare
from slmeval.confirming import Gate
from slmeval.default_rules import default_rules, forgotten
from slmeval.document import SCHEMA, from_document, to_plain
from slmeval.errors import UnknownName
from slmeval.registry import Registry
from slmeval.rules import parse_rule
from slmeval.service import item_page
from slmeval.service.api_runs import InRun, no_run
from slmeval.service.auth import needs
from slmeval.service.documents import JsonText, described
from slmeval.service.explorer import explore
from slmeval.service.item_page import Only
from slmeval.service.listing import find_run
from slmeval.service.problems import Refused
from slmeval.service.schemas import PROBLEMS, RUN_ID, GateRequest, Items, Name, Problem
from slmeval.service.service import service_of
from slmeval.service.strict import StrictRoute
from slmeval.sides import Side, chosen, opposite, sides_of
from slmeval.store import Store
from slmeval.types import RunResult
from slmeval.verdicts import GateReport

router = APIRouter(prefix="/api", tags=["results"], responses=PROBLEMS, route_class=StrictRoute)

#: RUN, RUN#BACKEND or RUN#BACKEND:MODEL
_SIDE = RUN_ID.removesuffix("$") + "(#.{1,1000})?$"
_InSide = Annotated[str, Query(pattern=_SIDE, description="RUN, RUN#BACKEND or RUN#BACKEND:MODEL.")]
_Names = Annotated[list[Name], Query(max_length=100)]

#: sums over items: one at a time, so that they leave the processor to others
_SUMS = ThreadPoolExecutor(1, thread_name_prefix="slmeval-sums")

_LOG = logging.getLogger("slmeval.service")

T = TypeVar("T")


async def _summed(work: Callable[[], T]) -> T:
    """What ``work`` makes of results, which whoever brought them may have made up.

    :raises slmeval.service.problems.Refused: nothing can be made of their numbers.
    """
    try:
        return await asyncio.get_running_loop().run_in_executor(_SUMS, work)
    except (ArithmeticError, ValueError) as error:
        _LOG.warning("results that cannot be computed with", exc_info=error)
        raise Refused(422, f"the numbers of these results cannot be computed with: {error}") from None


@router.get(
    "/runs/{run}/result",
    operation_id="result",
    dependencies=[Depends(needs("read"))],
    response_class=JsonText,
    responses={
        200: described("run", "The document, as of `slmeval export`; of a run that goes on it is partial."),
        409: {"model": Problem, "description": "The run has no results yet."},
    },
)
async def result(request: Request, run: InRun) -> Response:
    """The results of a run: a document of schema slmeval.run/1."""
    return JsonText(await service_of(request).desk.read(lambda store: _document(store, run)))


def _document(store: Store, run: str) -> str:
    found = store.select("SELECT document FROM runs WHERE id = ?", run)
    if found and found[0][0] is not None:
        return str(found[0][0])
    if not found and find_run(store, run) is None:
        raise no_run(run)
    raise Refused(409, f"run {run} has no results yet: ask again when it has ended")


@router.get(
    "/runs/{run}/cells/{cell}/items",
    operation_id="items",
    dependencies=[Depends(needs("read"))],
    response_class=JsonText,
    responses={200: {"model": Items}},
)
async def items(
    request: Request,
    run: InRun,
    cell: Annotated[int, InPath(ge=0, le=10**6, description="Place of the cell in the run, from 0.")],
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=1, le=item_page.LARGEST_PAGE)] = item_page.PAGE,
    only: Only = "all",
    against: Annotated[
        list[Annotated[str, StringConstraints(pattern=_SIDE)]] | None,
        Query(max_length=item_page.MOST_SIDES, description="RUN, RUN#BACKEND or RUN#BACKEND:MODEL."),
    ] = None,
    figure: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
) -> Response:
    """What was asked and answered, item by item, and what other sides made of it."""
    others = None if against is None else tuple(against)
    page = await explore(request, item_page.Wanted(run, cell, offset, limit, only, others, figure))
    return JsonText(await asyncio.to_thread(_items, page))


def _items(page: item_page.Page) -> str:
    plain = {name: to_plain(getattr(page, name)) for name in Items.model_fields}
    return json.dumps(plain, allow_nan=False)


# ---- comparisons -----------------------------------------------------------------------------------------


@router.get(
    "/compare",
    operation_id="compare",
    dependencies=[Depends(needs("read"))],
    response_class=JsonText,
    responses={200: described("comparison", "What differs, and whether chance explains it.")},
)
async def compare_runs(
    request: Request,
    first: _InSide,
    second: _InSide,
    shared: Annotated[bool, Query(description="Compare what was not asked alike on what both have.")] = False,
    tasks: _Names = [],  # noqa: B006  FastAPI copies it
    figures: _Names = [],  # noqa: B006
) -> Response:
    """Hold the second run against the first, item by item: a document of schema slmeval.comparison/1."""
    service = service_of(request)
    sides = [await service.desk.read(partial(_sides, reference=side)) for side in (first, second)]
    wanted = Wanted(tuple(tasks), tuple(figures), shared)
    return JsonText(await _summed(partial(_comparison, service.registry, sides, wanted)))


def _sides(store: Store, reference: str) -> tuple[Side, ...]:
    run, _, wanted = reference.partition("#")
    return chosen(sides_of(_run(store, run), run), wanted)


def _run(store: Store, run: str) -> RunResult:
    """The results of the run of that whole id.

    :raises UnknownName: there is none.
    :raises UsageError: it has no results yet.
    """
    if not store.select("SELECT 1 FROM runs WHERE id = ?", run):
        if find_run(store, run) is not None:
            raise Refused(422, f"run {run} has no results yet: ask again when it has ended")
        newest = store.select("SELECT id FROM runs ORDER BY started DESC LIMIT 10")
        raise UnknownName("run", run, [each for (each,) in newest])
    return store.run(run)


def _comparison(registry: Registry, sides: list[tuple[Side, ...]], wanted: Wanted) -> str:
    pairs, alone = opposite(sides)
    out = StringIO()
    registry.parts.reporters["json"]().write_comparisons(compare(pairs, wanted, alone), out)
    return out.getvalue()


# ---- gates -----------------------------------------------------------------------------------------------


@router.post(
    "/gate",
    operation_id="gate",
    dependencies=[Depends(needs("read"))],
    response_class=JsonText,
    responses={200: described("gate", "Each rule answered pass, fail or inconclusive, and why.")},
)
async def gate(request: Request, body: GateRequest) -> Response:
    """Hold a run to rules, as `slmeval gate` does; nothing is measured again."""
    service = service_of(request)
    run = await service.desk.read(partial(_run, run=body.run))
    named = body.baseline
    baseline: RunResult | Baseline | None = None
    if isinstance(named, str):
        baseline = await service.desk.read(partial(_run, run=named))
    return JsonText(await _summed(partial(_judged, service.registry, body, run, baseline)))


def _judged(
    registry: Registry, body: GateRequest, run: RunResult, baseline: RunResult | Baseline | None
) -> str:
    if isinstance(body.baseline, dict):
        baseline = _given(body.baseline)
    rules = tuple({rule.text: rule for rule in map(parse_rule, body.rules)}.values())
    notes: tuple[str, ...] = ()
    if not rules:
        rules = tuple(default_rules(run, baseline, body.recovery_of))
        usual = "no rules were given: no main figure may be worse than the baseline's"
        notes = (usual, *forgotten(run, baseline, body.recovery_of))
    report = Gate(rules, baseline, body.shared, body.recovery_of).judge(run)
    return _told(registry, report, notes)


def _given(document: dict[str, Any]) -> RunResult | Baseline:
    """What a document holds; a run stays one, in its own order, as where `slmeval gate` reads a file of it.

    :raises slmeval.errors.DataError: it is neither, or its figures are not what its items come to.
    """
    baseline = baseline_from(document, "the baseline")
    return from_document(document) if document["schema"] == SCHEMA else baseline


def _told(registry: Registry, report: GateReport, notes: tuple[str, ...]) -> str:
    out = StringIO()
    registry.parts.reporters["json"]().write_gate(replace(report, notes=(*notes, *report.notes)), out)
    return out.getvalue()
