"""From scored answers to the cells of a report: those of tasks, and then those of the groups around them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from slmeval.averages import group_figures, group_origin
from slmeval.curves import Curves
from slmeval.plan import CellKey, Chat, GroupCell, Scorer
from slmeval.scoring import Answered, Watcher, score_cell
from slmeval.types import CellResult, Stop


@dataclass(frozen=True)
class Measured:
    """A cell whose questions were answered: ``result`` is as it will be reported, but for figures."""

    result: CellResult
    scorer: Scorer
    rows: Iterable[Answered]

    @property
    def key(self) -> CellKey:
        """Under what it is found among those of one model and manner."""
        return self.result.name, self.result.shots


class Finisher:
    """Makes the cells of one model on one backend, one after the other; those of each manner are a curve."""

    def __init__(self, keys: Iterable[tuple[Chat, CellKey]]) -> None:
        """``keys``: of all cells that will be finished, each task's with the fewest shots first."""
        by_manner: dict[Chat, list[CellKey]] = {}
        for chat, key in keys:
            by_manner.setdefault(chat, []).append(key)
        self._curves = {chat: Curves(found) for chat, found in by_manner.items()}
        self._done: dict[Chat, dict[CellKey, CellResult]] = {chat: {} for chat in by_manner}

    def finish(self, measured: Measured, watch: Watcher) -> CellResult:
        """The cell with its figures.

        :raises JobFailed: a filter or a metric fails.
        """
        bare = measured.result
        scored = score_cell(bare.name, measured.scorer, bare.counts, measured.rows, watch)
        figures = (*scored.figures, *self._curves[bare.chat].add(measured.key, scored.columns))
        made = replace(bare, figures=figures, counts=scored.counts, outcomes=scored.outcomes)
        self._done[bare.chat][measured.key] = made
        return made

    def group(self, planned: GroupCell, seed: int) -> CellResult | None:
        """The cell of a group; ``None`` where none of its members was finished."""
        done = self._done.get(planned.chat, {})
        members = [done[key] for key in planned.members if key in done]
        if not members:
            return None
        done[planned.group.name, planned.shots] = made = replace(
            members[0],
            kind="group",
            name=planned.group.name,
            version=planned.group.version,
            shots=planned.shots,
            seed=seed,
            n=sum(member.n for member in members),
            sample=any(member.sample for member in members),
            figures=group_figures(planned, done, self._curves[planned.chat].shares),
            counts=_sum(members),
            data=group_origin(members),
            notes=(),
            outcomes=None,
            over=planned.group.over,
            stop=_stop(members),
            members=tuple(name for name, _ in planned.members),
        )
        return made


def _stop(members: Sequence[CellResult]) -> Stop | None:
    """How far the members came together; an interval must be as wide as any of theirs."""
    stops = [member.stop for member in members if member.stop is not None]
    if not stops:
        return None
    widest = max(stops, key=lambda stop: stop.level)
    whole = [member.stop or Stop(member.n, member.n, 1, 1, 0.95) for member in members]
    return replace(
        widest, asked=sum(each.asked for each in whole), planned=sum(each.planned for each in whole)
    )


def _sum(members: Sequence[CellResult]) -> dict[str, int]:
    return dict(sum((Counter(member.counts) for member in members), Counter()))
