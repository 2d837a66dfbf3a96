"""Tasks that end when enough is known: looked at block by block, in an order by the seed.

By an interval that is narrow enough, after Chow and Robbins (Annals of Mathematical Statistics 36, 1965),
whose stopping costs no coverage; or by rules that are decided, with intervals that are valid at all looks
together (Jennison and Turnbull, J. R. Statist. Soc. B 51, 1989; Lan and DeMets, Biometrika 70, 1983). What is
shown in between are confidence sequences (Waudby-Smith and others, Annals of Statistics 52, 2024).
docs/stopping.md has all of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from slmeval.api import Metric
from slmeval.baselines import read_baseline
from slmeval.deciding import Decision, trials_of
from slmeval.errors import JobFailed, UsageError
from slmeval.finishing import Finisher, Measured
from slmeval.foreseen import bare
from slmeval.looks import asked_until, cut_blocks
from slmeval.plan import Block, Cell, Job
from slmeval.rules import EXAMPLE, parse_rule
from slmeval.runner import JobRun, Progress
from slmeval.scoring import answered
from slmeval.sequences import always_valid, look_levels
from slmeval.sights import Sight
from slmeval.targets import Target, check_targets, reached, read_targets, targets_of
from slmeval.types import Answer, CellResult, Figure, RunOptions, Stop

#: larger logarithms are those of no number
_LARGEST = 700.0
#: the level of an interval that is looked at only when it is narrow enough, or when all is asked
_PLAIN = 0.95


@dataclass(frozen=True)
class Stopping:
    """When tasks end: ``targets`` for their intervals, or a ``gate``; ``identity`` is what both stand on."""

    targets: tuple[Target, ...] = ()
    gate: Decision | None = None
    identity: Mapping[str, str] = field(default_factory=dict)


def read_stopping(options: RunOptions, file_hash: Callable[[Path], str]) -> Stopping | None:
    """What ``options`` say of it; ``None`` where all is asked.

    :raises UsageError: a half width or a rule is wrong or missing, or the baseline cannot be read.
    """
    if not options.until_decided and (options.rules or options.baseline is not None):
        given = "--rules" if options.rules else "--baseline"
        raise UsageError(f"{given} is for --until-decided here: slmeval gate holds a finished run against it")
    targets = read_targets(options.target_ci)
    if not options.until_decided:
        return Stopping(targets) if targets else None
    if not options.rules:
        raise UsageError(f'--until-decided needs what is to be decided: --rules FILE, or --rule "{EXAMPLE}"')
    rules = tuple(dict.fromkeys(parse_rule(text) for text in options.rules))
    if options.baseline is None:
        return Stopping(targets, Decision(rules, None, options))
    path = Path(options.baseline)
    baseline = read_baseline(path)
    return Stopping(targets, Decision(rules, baseline, options), {"baseline": file_hash(path)})


def looked_at(stopping: Stopping, jobs: Sequence[Job], probes: Sequence[str]) -> tuple[Stopping, list[Job]]:
    """The jobs cut into blocks; ``probes`` are the names of those that measure beside.

    :raises UsageError: as of :func:`checked`.
    """
    stopping = checked(stopping, jobs, probes)
    return stopping, [_cut(stopping.gate, job) for job in jobs]


def checked(stopping: Stopping, jobs: Sequence[Job], probes: Sequence[str]) -> Stopping:
    """``stopping`` for these jobs, of which the figures' names are enough.

    :raises UsageError: a figure is not there, or a rule cannot be judged.
    """
    for job in jobs:
        check_targets(job.cells, stopping.targets)
    gate = stopping.gate
    if gate is not None:
        # a rule that fails by chance may be any of them
        gate = replace(gate, probes=tuple(probes))
        gate = replace(gate, tries=sum(gate.check(job) for job in jobs))
    return replace(stopping, gate=gate)


def _cut(gate: Decision | None, job: Job) -> Job:
    about = [places for _, places in gate.about(job)] if gate else []
    blocks = cut_blocks(job.cells, trials_of(len(job.cells), about))
    return replace(job, blocks=blocks, units=tuple(unit for block in blocks for unit in block.units))


class _Trial:
    """Cells that end together, and how far they are."""

    def __init__(self, places: Sequence[int], looks: int) -> None:
        self.places = places
        self.looks = looks
        #: the look that was taken last; before the first, they are only shown
        self.look = -1
        self.ended = ""
        self.whole: dict[int, set[int]] = {look: set() for look in range(looks + 1)}

    @property
    def is_due(self) -> bool:
        """Whether the next look can be taken."""
        return not self.ended and self.look < self.looks and self.whole[self.look + 1] == set(self.places)


class Stopper:
    """Looks at the cells of a job as their blocks are answered, and ends those of which enough is known."""

    def __init__(self, job: Job, stopping: Stopping, progress: Progress) -> None:
        self._job = job
        self._stopping = stopping
        self._progress = progress
        self._targets = [targets_of(cell, stopping.targets) for cell in job.cells]
        about = stopping.gate.about(job) if stopping.gate else ()
        self._ruled = {at for _, places in about for at in places}
        self._trials = _trials(job.blocks)

    def whole(self, block: int, run: JobRun) -> Sequence[int]:
        """All of a block is answered; which blocks are not to be asked any more."""
        done = self._job.blocks[block]
        trial = self._trials[done.trial]
        trial.whole[done.look].add(done.cell)
        while trial.is_due:
            trial.look += 1
            self._look(trial, run)
        if not trial.ended:
            return ()
        return [
            number
            for number, each in enumerate(self._job.blocks)
            if each.trial == done.trial and each.look > trial.look
        ]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The job's cells with what was asked of them; those that did not end are as they were planned."""
        found = list(self._job.cells)
        for trial in self._trials.values():
            for at in trial.places if trial.ended else ():
                found[at] = self._asked(at, trial.look)
        return tuple(found)

    def stopped(self, begun: CellResult) -> CellResult:
        """A cell's result with how far it came, in words too where that is not to its end."""
        stop = self._stop_of(begun)
        if stop is None or stop.asked == stop.planned:
            return replace(begun, stop=stop)
        note = (
            f"ended after {stop.asked:,} of {stop.planned:,} rows, drawn in an order by seed {begun.seed}: "
            f"{stop.decided}"
        )
        return replace(begun, stop=stop, notes=(*begun.notes, note))

    def _stop_of(self, begun: CellResult) -> Stop | None:
        """``None`` where the cell could not end early."""
        for trial in self._trials.values():
            for at in trial.places:
                cell = self._job.cells[at]
                if (cell.chat, *cell.key) == (begun.chat, begun.name, begun.shots):
                    return self._stop(trial, at, trial.look if trial.ended else trial.looks)
        return None

    # ---- one look ----------------------------------------------------------------------------------

    def _look(self, trial: _Trial, run: JobRun) -> None:
        finisher = Finisher((cell.chat, cell.key) for cell in map(self._job.cells.__getitem__, trial.places))
        found = {at: self._result(trial, at, run, finisher) for at in trial.places}
        known = {at: result for at, result in found.items() if result is not None}
        if 0 < trial.look < trial.looks:
            trial.ended = self._reason(trial, known, finisher)
        self._progress.see([self._sight(trial, at, result) for at, result in known.items()])

    def _asked(self, at: int, look: int) -> Cell:
        blocks = [each for each in self._job.blocks if each.cell == at and each.look <= look]
        return asked_until(self._job.cells[at], blocks)

    def _stop(self, trial: _Trial, at: int, look: int) -> Stop | None:
        if at not in self._ruled and not self._targets[at]:
            return None
        asked = sum(len(each.items) for each in self._job.blocks if each.cell == at and each.look <= look)
        # a look that nothing is decided at has no level of its own
        level = look_levels(trial.looks)[look - 1] if at in self._ruled and look else _PLAIN
        return Stop(asked, len(self._job.cells[at].items), look, trial.looks, level, trial.ended)

    def _result(self, trial: _Trial, at: int, run: JobRun, finisher: Finisher) -> CellResult | None:
        """The cell as it is now; ``None`` where it was not answered, or its answers cannot be scored."""
        cell = self._asked(at, trial.look)
        if not cell.items or run.refusal(cell) is not None:
            return None
        rows = answered(cell, run.replies(cell), run.key)
        begun = replace(bare(self._job, cell), stop=self._stop(trial, at, trial.look))
        try:
            return finisher.finish(Measured(begun, cell.scorer, rows), _unwatched)
        except JobFailed:
            # told when the cell is finished
            return None

    def _reason(self, trial: _Trial, known: Mapping[int, CellResult], finisher: Finisher) -> str:
        """Why no more need be asked, or ""."""
        if not known:
            return "nothing can be said of its answers"
        if len(known) < len(trial.places):
            return ""
        if all(reached(result, self._targets[at]) for at, result in known.items()):
            return "; ".join(_widths(result, self._targets[at]) for at, result in known.items())
        gate = self._stopping.gate
        if gate is None or not self._ruled.intersection(trial.places):
            return ""
        cells = [*known.values(), *self._groups(trial, finisher)]
        decided = gate.decided(self._job, cells, look_levels(trial.looks)[trial.look - 1])
        return f"{decided} rules are decided" if decided > 1 else "its rule is decided" if decided else ""

    def _groups(self, trial: _Trial, finisher: Finisher) -> Iterator[CellResult]:
        """The groups all of whose members are in the trial."""
        known = {(self._job.cells[at].chat, self._job.cells[at].key) for at in trial.places}
        for planned in self._job.groups:
            if {(planned.chat, key) for key in planned.members} <= known:
                known.add((planned.chat, (planned.group.name, planned.shots)))
                if (made := finisher.group(planned, 0)) is not None:
                    yield made

    def _sight(self, trial: _Trial, at: int, result: CellResult) -> Sight:
        cell, figures = self._job.cells[at], {figure.name: figure for figure in result.figures}
        name = next(iter((*self._targets[at], *cell.scorer.figures)))
        figure = figures[name]
        low, high = _always_valid(figure, result, cell.scorer.figures[name])
        ended = trial.ended or ("all are asked" if trial.look == trial.looks else "")
        label = f"{cell.label} on {self._job.backend.name}:{self._job.label}"
        return Sight(label, name, figure.unit, figure.value, low, high, result.n, len(cell.items), ended)


def _unwatched(index: int, answer: Answer, scores: dict[str, float | None]) -> None:
    """What is scored at a look is told once the cell is finished."""


def _trials(blocks: Sequence[Block]) -> dict[int, _Trial]:
    places: dict[int, dict[int, None]] = {}
    for block in blocks:
        places.setdefault(block.trial, {})[block.cell] = None
    looks = {block.trial: block.looks for block in blocks}
    return {number: _Trial(tuple(cells), looks[number]) for number, cells in places.items()}


def _widths(result: CellResult, targets: Mapping[str, Target]) -> str:
    """In words how well each figure is known that was to be."""
    figures = {figure.name: figure for figure in result.figures}
    return ", ".join(f"{name} is known to {_half(figures[name], each)}" for name, each in targets.items())


def _half(figure: Figure, target: Target) -> str:
    low, high = figure.ci95 or (math.nan, math.nan)
    half = (high - low) / 2
    if target.points:
        return f"±{100 * half:.2g} points"
    return f"±{half:.2g}{f' {figure.unit}' if figure.unit else ''}"


def _always_valid(
    figure: Figure, result: CellResult, metric: Metric
) -> tuple[float, float] | tuple[None, None]:
    """The interval that holds at every sight together; none where there is no error to make it of."""
    if figure.value is None or figure.stderr is None or not math.isfinite(figure.value):
        return None, None
    column = result.outcomes.columns.get(figure.name) if result.outcomes else None
    if column is not None and column.scale == "exp":
        # of a perplexity the scores' mean is the logarithm
        spread = figure.stderr / figure.value * math.sqrt(figure.n)
        low, high = always_valid(figure.n, math.log(figure.value), spread)
        return math.exp(low), math.exp(min(high, _LARGEST))
    low, high = always_valid(figure.n, figure.value, figure.stderr * math.sqrt(figure.n))
    return (max(low, 0.0), min(high, 1.0)) if metric.proportion else (low, high)
