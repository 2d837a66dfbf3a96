"""One run: its jobs one after the other, their figures, and the result in the store."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

from slmeval import __version__
from slmeval.api import Executor
from slmeval.errors import JobFailed, StoreError, UsageError
from slmeval.finishing import Finisher, Measured
from slmeval.foreseen import bare
from slmeval.head_start import HeadStart
from slmeval.places import HERE
from slmeval.plan import Cell, Job, Plan
from slmeval.probing import ProbeRun, failed_together
from slmeval.registry import Registry, Seat, pick
from slmeval.runner import JobRun, Progress
from slmeval.scoring import answered
from slmeval.store import Store
from slmeval.types import Answer, CellResult, Failure, ModelReport, RunOptions, RunResult

if TYPE_CHECKING:
    from slmeval.sequential import Stopper

#: libraries of the core whose versions can matter to a number
_LIBRARIES = ("numpy", "tokenizers")

Status = Literal["done", "failed", "interrupted"]


def new_run_id() -> str:
    """A run's name: when it began (UTC), and four random digits."""
    return f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


class Watchers:
    """The plugins that watch a run. One that fails is noted, once for each hook, and the run goes on."""

    def __init__(self, seats: Sequence[Seat]) -> None:
        self._seats = seats
        self._listeners: dict[str, list[tuple[str, Any]]] = {}
        self._noted: dict[tuple[str, str], str] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """Who failed at what."""
        return tuple(self._noted.values())

    def tell(self, hook: str, **event: Any) -> None:
        """Call the hook of each plugin that fills it."""
        if hook not in self._listeners:
            callers = [(seat.name, getattr(seat.hooks, hook)) for seat in self._seats]
            self._listeners[hook] = [each for each in callers if each[1].get_hookimpls()]
        for name, caller in self._listeners[hook]:
            try:
                caller(**event)
            except (Exception, SystemExit) as error:  # noqa: BLE001  who watches must not end what is watched
                told = " ".join(f"{type(error).__name__}: {error}".split())
                note = f"plugin {name!r} failed in {hook}, and the run went on: {told}"
                self._noted.setdefault((name, hook), note)


class Run:
    """Carries out one plan. Each method is called once, by :func:`execute`."""

    def __init__(
        self,
        plan: Plan,
        registry: Registry,
        store: Store,
        progress: Progress,
        run_id: str,
        head_start: HeadStart | None,
        executor: Executor | None = None,
    ) -> None:
        self._plan = plan
        self._watchers = Watchers(registry.seats)
        self._executor = executor or executor_of(plan.options, registry)
        self._head_start = head_start
        self._store = store
        self._progress = progress
        self._id = run_id
        self._started = ""
        self._models: list[ModelReport] = []
        self._cells: list[CellResult] = []
        self._failures = [*plan.refused]
        self._asked = 0
        self._reused = 0

    def execute(self) -> RunResult:
        """Every job in turn; one that fails does not end the others; an interrupt ends them all."""
        identity = self._plan.identity
        changes = self._store.identity_changes(self._id, identity)
        if changed := [name for name, (before, _) in changes.items() if before or not _of_model(name)]:
            raise UsageError(
                f"run {self._id} cannot go on: {', '.join(sorted(changed))} changed since it began; "
                "start a new run"
            )
        self._started = self._store.begin_run(self._id, now(), self._plan.options, identity)
        self._watchers.tell("slmeval_run_started", run_id=self._id, cells=self._plan.cells)
        status: Status = "done"
        try:
            for job in self._plan.jobs:
                self._run_job(job)
        except KeyboardInterrupt:
            status = "interrupted"
        except StoreError as error:
            # what was answered before is kept: once the store can be written again, the run can go on
            raise JobFailed(f"{error}; then go on with: slmeval run --resume {self._id}") from None
        if self._failures and status == "done":
            status = "failed"
        result = self._result(status)
        self._store.finish_run(result)
        told = self._watchers.notes
        self._watchers.tell("slmeval_run_finished", run=result)
        if self._watchers.notes != told:
            result = replace(result, models=self._models_with_notes())
            self._store.finish_run(result)
        return result

    def _run_job(self, job: Job) -> None:
        if job.cells:
            self._run_tasks(job)
        if job.probes:
            self._run_probes(job)

    def _run_probes(self, job: Job) -> None:
        timeout = self._plan.options.timeout
        run = ProbeRun(job, self._executor, self._store, self._id, timeout, self._progress, self._head_start)
        try:
            run.run()
        except KeyboardInterrupt:
            # what was measured until then is told
            self._finish_probes(job, run)
            raise
        self._finish_probes(job, run)

    def _finish_probes(self, job: Job, run: ProbeRun) -> None:
        if (report := run.report()) is not None:
            self._add_model(report)
        for cell in run.cells():
            self._add_cell(cell)
        for reason in failed_together(run.failures):
            self._failures.append(Failure(job.backend.name, job.label, reason))

    def _add_model(self, report: ModelReport) -> None:
        """A model that was asked and measured is told of once."""
        same = [each for each in self._models if (each.label, each.backend) == (report.label, report.backend)]
        if not same:
            self._models.append(report)
            return
        (before,) = same
        notes = tuple(dict.fromkeys((*before.notes, *report.notes)))
        joined = replace(before, info=before.info or report.info, notes=notes)
        self._models[self._models.index(before)] = joined

    def _run_tasks(self, job: Job) -> None:
        timeout, stopper = self._plan.options.timeout, self._stopper(job)
        run = JobRun(job, self._executor, self._store, timeout, self._progress, self._head_start, stopper)
        failed = False
        try:
            run.run()
        except JobFailed as error:
            self._failures.append(Failure(job.backend.name, job.label, str(error)))
            failed = True
        finally:
            asked = stopper.cells if stopper else job.cells
            self._asked += run.asked
            self._reused += run.reused_of(asked)
        # what was answered before stands
        cells = [cell for cell in asked if run.is_answered(cell)] if failed else asked
        if failed and not cells:
            return
        self._models.append(run.report())
        self._finish_cells(job, run, self._answered(job, cells, run), stopper)

    def _stopper(self, job: Job) -> Stopper | None:
        if self._plan.stopping is None:
            return None
        from slmeval.sequential import Stopper

        return Stopper(job, self._plan.stopping, self._progress)

    def _finish_cells(self, job: Job, run: JobRun, able: Sequence[Cell], stopper: Stopper | None) -> None:
        finisher = Finisher((cell.chat, cell.key) for cell in able)
        for cell in able:
            try:
                begun = bare(job, cell)
                self._finish_cell(job, run, stopper.stopped(begun) if stopper else begun, cell, finisher)
            except JobFailed as error:
                self._failures.append(Failure(job.backend.name, job.label, str(error)))
        for group in job.groups:
            if (made := finisher.group(group, self._plan.options.seed)) is not None:
                self._add_cell(made)

    def _answered(self, job: Job, cells: Sequence[Cell], run: JobRun) -> list[Cell]:
        """The cells that were answered; of the others it is said once for each reason why not."""
        reasons: dict[str, list[str]] = {}
        able = []
        for cell in cells:
            reason = run.refusal(cell)
            if reason is None:
                able.append(cell)
            else:
                reasons.setdefault(reason, []).append(cell.label)
        for reason, labels in reasons.items():
            self._failures.append(Failure(job.backend.name, job.label, f"{', '.join(labels)}: {reason}"))
        return able

    def _finish_cell(self, job: Job, run: JobRun, begun: CellResult, cell: Cell, finisher: Finisher) -> None:
        label = f"{cell.label} on {job.backend.name}:{job.label}"
        measured = Measured(begun, cell.scorer, answered(cell, run.replies(cell), run.key))
        result = finisher.finish(measured, partial(self._announce, label))
        self._store.save_items(
            self._id,
            len(self._cells),
            [
                (item.index, place, run.key(ask.digest))
                for item in cell.items
                for place, ask in enumerate(item.asks)
            ],
            anew=True,
        )
        self._add_cell(result)

    def _add_cell(self, cell: CellResult) -> None:
        self._cells.append(cell)
        self._watchers.tell("slmeval_cell_finished", cell=cell)

    def _announce(self, label: str, index: int, answer: Answer, scores: dict[str, float | None]) -> None:
        self._watchers.tell("slmeval_answer_scored", cell=label, index=index, answer=answer, scores=scores)

    def _models_with_notes(self) -> tuple[ModelReport, ...]:
        """A run has no notes of its own: what is to be said of the whole run is said of each model."""
        return tuple(replace(each, notes=(*each.notes, *self._watchers.notes)) for each in self._models)

    def _result(self, status: Status) -> RunResult:
        return RunResult(
            id=self._id,
            started=self._started,
            finished=now(),
            status=status,
            demo=self._plan.demo,
            options=self._plan.options,
            versions=library_versions(),
            machine=next((job.place for job in self._plan.jobs), HERE).machine(),
            models=self._models_with_notes(),
            cells=tuple(self._cells),
            failures=tuple(self._failures),
            asked=self._asked,
            reused=self._reused,
        )


def executor_of(options: RunOptions, registry: Registry) -> Executor:
    """Where the workers of a run live.

    :raises UnknownName: there is no such executor.
    """
    executor: Executor = pick("executor", options.executor, registry.parts.executors)()
    return executor


def execute(
    plan: Plan,
    registry: Registry,
    store: Store,
    progress: Progress,
    run_id: str | None = None,
    head_start: HeadStart | None = None,
    executor: Executor | None = None,
) -> RunResult:
    """Carry out ``plan``; with the ``run_id`` of an unfinished run, go on with that one.

    ``head_start`` is what :func:`slmeval.planner.plan` was given, if it was. An ``executor`` goes before the
    one that the options name.
    """
    return Run(plan, registry, store, progress, run_id or new_run_id(), head_start, executor).execute()


def _of_model(name: str) -> bool:
    """Whether an entry of a run's identity is of a model: one that could not be had may be there now."""
    return name.startswith(("model ", "tokenizer of ", "template of "))


def now() -> str:
    """The time, ISO 8601, UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def library_versions() -> Mapping[str, str]:
    """slmeval's, and those of the libraries that can matter to a number."""
    found: dict[str, Any] = {"slmeval": __version__}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found
