"""The items of one cell: each question with what was answered, what it scored, and who answered otherwise."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse

from slmeval.service.auth import Caller, needs
from slmeval.service.explorer import explore
from slmeval.service.figures import recent_sides
from slmeval.service.item_answers import Answer
from slmeval.service.item_page import MOST_SIDES, PAGE, Item, Only, Opposite, Page, Wanted
from slmeval.service.pages.addresses import address, cell_address, filled, reference, run_address
from slmeval.service.pages.render import page
from slmeval.service.service import service_of

router = APIRouter(include_in_schema=False)

#: what each kind of items is called
_CALLED: dict[Only, str] = {"all": "All", "wrong": "Wrong", "flipped": "Flipped", "no_answer": "No answer"}
#: why a text ended
_ENDED = {"stop": "at a stop string", "end": "at an end token", "length": "at the token cap"}

#: another side, as it is named in an address
Reference = Annotated[str, Query(max_length=400)]


@router.get("/runs/{run}/cells/{cell}", response_class=HTMLResponse)
async def items(
    request: Request,
    run: str,
    cell: int,
    caller: Annotated[Caller, Depends(needs("read"))],  # noqa: ARG001
    offset: Annotated[int, Query(ge=0)] = 0,
    only: Only = "all",
    against: Annotated[list[Reference] | None, Query(max_length=2 * MOST_SIDES)] = None,
    figure: Annotated[str | None, Query(max_length=200)] = None,
    item: Annotated[str | None, Query(max_length=40)] = None,
) -> HTMLResponse:
    """The page."""
    others = filled(against or ()) or None
    wanted = Wanted(run, cell, offset, PAGE, only, others, figure or None, item or None)
    found = await explore(request, wanted)
    known = await service_of(request).desk.read(recent_sides)
    return await asyncio.to_thread(
        page,
        request,
        "items.html",
        found=found,
        cell=found.result,
        figure=next((each for each in found.result.figures if each.name == found.figure), None),
        figures=tuple(found.result.outcomes.columns) if found.result.outcomes else (),
        tabs=[(_CALLED[kind], _address(found, wanted, only=kind), kind == only) for kind in found.offers],
        newer=_beside(found, wanted, -1),
        older=_beside(found, wanted, +1),
        rows=[_row(found, each) for each in found.items],
        run_address=run_address(found.run),
        whole=_address(found, wanted, item=None),
        sides=[_side(found, wanted, number) for number in range(len(found.sides))],
        wanted=wanted,
        known=[reference(*each) for each in known],
        ended=_ENDED,
    )


def _address(found: Page, wanted: Wanted, **changes: Any) -> str:
    """This page with something else asked for."""
    names = ("only", "figure", "against", "item")
    asked = {name: getattr(wanted, name) for name in names} | changes
    if asked["only"] == "all":
        del asked["only"]
    return cell_address(found.run, found.cell, **asked)


def _beside(found: Page, wanted: Wanted, step: int) -> str | None:
    """The page before or after this one, if there is one."""
    offset = found.offset + step * found.limit
    if step < 0 and found.offset > 0:
        return _address(found, wanted, offset=max(0, offset) or None)
    return _address(found, wanted, offset=offset) if step > 0 and offset < found.count else None


def _side(found: Page, wanted: Wanted, number: int) -> dict[str, Any]:
    side = found.sides[number]
    mine = reference(found.run, found.result.backend, found.result.model)
    theirs = reference(side.run, side.backend, side.model)
    return {
        "told": side,
        "elsewhere": side.run != found.run,
        "there": cell_address(side.run, side.cell),
        "compared": address("/compare", first=mine, second=theirs, tasks=found.result.label),
        "flips": _address(found, wanted, only="flipped", against=[theirs], item=None),
    }


# ---- one item ----------------------------------------------------------------------------------------


def _row(found: Page, item: Item) -> dict[str, Any]:
    """An item as the template needs it: its choices beside those of the other sides."""
    answers = [item.answer, *(_of(item.others, number) for number in range(len(found.sides)))]
    score = item.scores.get(found.figure or "")
    return {
        "item": item,
        "score": score,
        "verdict": _verdict(found, score),
        "own": cell_address(found.run, found.cell, item=item.item) if item.item else None,
        "choices": _choices(answers),
        "turns": max((each.turn for each in (item.answer or Answer()).choices), default=0),
        "margin": item.scores.get("margin"),
        "opposites": {each.side: each for each in item.others},
        "flipped": any(each.flipped for each in item.others),
        "shots": item.prompt is not None and item.prompt != item.question,
    }


def _of(others: tuple[Opposite, ...], number: int) -> Answer | None:
    return next((each.answer for each in others if each.side == number), None)


def _verdict(found: Page, score: float | None) -> str:
    """Right or wrong, where the figure says that."""
    if "wrong" not in found.offers or score not in (0.0, 1.0):
        return ""
    return "right" if score == 1 else "wrong"


def _choices(answers: list[Answer | None]) -> list[list[Any]]:
    """Each choice with what every side makes of it, ``None`` where a side does not tell."""
    most = max((len(answer.choices) for answer in answers if answer), default=0)
    return [
        [answer.choices[at] if answer and at < len(answer.choices) else None for answer in answers]
        for at in range(most)
    ]
