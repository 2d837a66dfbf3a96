"""The comparison as a whole: the sides of one run, each held against the first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from slmeval.errors import UsageError
from slmeval.parity.causes import explain
from slmeval.parity.control import Asker, Control, control
from slmeval.parity.differences import flips, gaps, spread, texts
from slmeval.parity.divergence import first_divergence
from slmeval.parity.report import Asked, Comparison, Failed, Gate, Parity
from slmeval.parity.sides import Side, gather, pairs
from slmeval.parity.view import FileHash, View
from slmeval.plan import Plan
from slmeval.types import RunResult


def check_sides(plan: Plan) -> None:
    """:raises UsageError: there are not two sides to be compared, or a probe is named: none is answered."""
    if probes := [cell.label for job in plan.jobs[:1] for cell in job.probes]:
        raise UsageError(f"parity compares answers, and probes have none: leave out {', '.join(probes)}")
    if len(plan.jobs) + len(plan.refused) < 2:
        raise UsageError(
            "parity compares two sides or more: name several engines with --backends A,B, "
            "or several models with --model"
        )


def compare(
    plan: Plan,
    result: RunResult,
    asker: Asker,
    file_hash: FileHash,
    tolerance: float | None = None,
    max_flips: int | None = None,
) -> Parity:
    """Hold each side of a run against the first that was measured.

    ``tolerance`` is the largest difference of a summed log-probability that is allowed, in nats, and
    ``max_flips`` is how many predictions may change.
    """
    sides = gather(plan, result, asker.store)
    comparisons = tuple(_comparisons(sides, asker, file_hash))
    return Parity(
        run=result.id,
        started=result.started,
        status=result.status,
        demo=result.demo,
        versions=result.versions,
        tasks=_tasks(plan),
        sides=tuple(side.described() for side in sides),
        comparisons=comparisons,
        gates=tuple(_gates(comparisons, tolerance, max_flips)),
        failures=tuple(Failed(each.backend, each.model, each.reason) for each in result.failures),
    )


def _tasks(plan: Plan) -> tuple[Asked, ...]:
    cells = plan.jobs[0].cells if plan.jobs else ()
    return tuple(
        Asked(cell.task.name, cell.task.version, cell.shots, len(cell.items), cell.sample, cell.data.source)
        for cell in cells
    )


def _comparisons(sides: Sequence[Side], asker: Asker, file_hash: FileHash) -> Iterator[Comparison]:
    first = next((side for side in sides if side.report is not None), sides[0] if sides else None)
    for other in sides:
        if first is not None and other is not first:
            yield _comparison(first, other, asker, file_hash)


def _comparison(first: Side, other: Side, asker: Asker, file_hash: FileHash) -> Comparison:
    found = pairs(first, other)
    answered = [pair for pair in found if pair.comparable]
    extra = control(answered, first, other, asker) if answered else Control()
    view = View(found, first, other, extra, file_hash)
    explained = explain(view)
    return Comparison(
        side=other.name,
        against=first.name,
        questions=len({(pair.cell.key, pair.row) for pair in found}),
        requests=len(found),
        equal_ids=None if view.ids_unknown else len(view.same_ids),
        scores=spread(gaps(answered)),
        same_ids=spread(gaps(view.same_ids)),
        control=spread(extra.gaps),
        flips=flips(answered),
        texts=texts(answered),
        causes=explained.causes,
        ruled_out=explained.ruled_out,
        untold=explained.untold,
        divergence=first_divergence(found, first, other),
    )


# ---- tolerances ----------------------------------------------------------------------------------------


def _gates(
    comparisons: Sequence[Comparison], tolerance: float | None, max_flips: int | None
) -> Iterator[Gate]:
    for each in comparisons:
        if tolerance is not None:
            found = None if each.scores is None else each.scores.largest
            yield _gate("tolerance", each.side, tolerance, found)
        if max_flips is not None:
            yield _gate("max_flips", each.side, max_flips, None if each.flips is None else each.flips.changed)


def _gate(name: str, side: str, allowed: float, found: float | None) -> Gate:
    if found is None:
        return Gate(name, side, allowed, None, "inconclusive")  # type: ignore[arg-type]  # one of two, above
    return Gate(name, side, allowed, found, "kept" if found <= allowed else "broken")  # type: ignore[arg-type]
