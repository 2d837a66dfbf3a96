"""Drives the workers in which probes measure: one that they share, and fresh ones for those that ask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from slmeval.api import Executor
from slmeval.conversation import Conversation, Opened
from slmeval.errors import JobFailed
from slmeval.head_start import HeadStart
from slmeval.plan import Job, ProbeCell
from slmeval.probe_figures import measured_cell, unavailable_cell, unpacked
from slmeval.runner import Progress, model_report
from slmeval.sessions import not_declared
from slmeval.store import Store
from slmeval.types import CellResult, Measurement, ModelReport, OptionValue


class ProbeRun:
    """The probes of one job: what each worker measures is in the store as soon as it is measured."""

    def __init__(
        self,
        job: Job,
        executor: Executor,
        store: Store,
        run_id: str,
        timeout: float,
        progress: Progress,
        head_start: HeadStart | None = None,
    ) -> None:
        self._job, self._executor, self._store, self._run_id = job, executor, store, run_id
        self._timeout, self._progress, self._head_start = timeout, progress, head_start
        self._resolved: Mapping[str, OptionValue] | None = None
        self._fingerprint = ""
        self._measured: dict[str, dict[int, Measurement]] = {}
        self._reasons: dict[str, str] = {}
        #: why a probe could not be measured that should have been, by its name
        self.failures: dict[str, str] = {}

    def run(self) -> None:
        """Measure what is not yet in the store."""
        able = [cell for cell in self._job.probes if self._is_able(cell)]
        fresh = [cell for cell in able if cell.probe.workers]
        self._progress.begin(self._label, sum(map(_workers, able)), "probe")
        try:
            self._measure_all([cell for cell in able if not cell.probe.workers], 0, self._head_start)
            if fresh and self._head_start is not None:
                # one that no job took must not import its engine beside what is timed
                self._head_start.close()
            for cell in fresh:
                for place in range(cell.probe.workers):
                    # a fresh worker is one probe's alone
                    self._measure_all([cell], place)
        finally:
            self._progress.end()

    @property
    def _label(self) -> str:
        return f"{self._job.backend.name}:{self._job.label}"

    def _is_able(self, cell: ProbeCell) -> bool:
        backend = self._job.backend
        if missing := sorted(cell.probe.needs - backend.capabilities):
            self._reasons[cell.probe.name] = not_declared(backend, missing[0])
        return not missing

    # ---- in one worker -----------------------------------------------------------------------------

    def _measure_all(
        self, cells: Sequence[ProbeCell], place: int, head_start: HeadStart | None = None
    ) -> None:
        """Measure with each probe in one worker; where that ends, with those that follow in another.

        Fresh ones get no ``head_start``: such a worker does not tell how long its own start took.
        """
        left = [cell for cell in cells if self._is_wanted(cell)]
        while left:
            try:
                with self._worker(head_start) as talk:
                    while left := [cell for cell in left if self._is_due(cell, place)]:
                        self._measure(talk, left[0], place)
            except JobFailed as error:
                self._fail(left[0], str(error))
            left = [cell for cell in left if self._is_wanted(cell)]

    def _is_wanted(self, cell: ProbeCell) -> bool:
        return cell.probe.name not in self.failures and cell.probe.name not in self._reasons

    def _is_due(self, cell: ProbeCell, place: int) -> bool:
        if not self._is_wanted(cell) or place in self._measured.get(cell.probe.name, {}):
            return False
        kept = self._store.measurement(self._run_id, self._key(cell), place)
        if kept is not None:
            self._keep(cell, place, kept)
        return kept is None

    def _key(self, cell: ProbeCell) -> str:
        return f"{cell.label} on {self._label} {self._fingerprint}"

    @property
    def _key_in_run(self) -> str:
        return f"{self._run_id} {self._fingerprint}"

    @contextmanager
    def _worker(self, head_start: HeadStart | None) -> Iterator[Conversation]:
        talk = Conversation(self._job, self._executor, self._timeout, head_start)
        try:
            self._resolved, self._fingerprint = talk.resolved, talk.fingerprint
            talk.name_model()
            yield talk
        except BaseException:
            talk.close(kill=True)
            raise
        talk.close()

    def _measure(self, talk: Conversation, cell: ProbeCell, place: int) -> None:
        beginning = {} if talk.started is None else {"start": talk.started}
        talk.send(
            "probe",
            number=place,
            probe=cell.probe.name,
            settings=dict(cell.settings),
            seed=cell.seed,
            beginning=beginning,
            yardstick=True,
        )
        message = talk.expect("measured", "unmeasured")
        if message["kind"] == "unmeasured":
            self._fail(cell, str(message["message"]))
            return
        self._take_opened(talk.opened(message))
        if message["lacks"] is not None:
            self._reasons[cell.probe.name] = str(message["lacks"])
            self._progress.advance(_workers(cell))
            return
        measurement = unpacked(cell, message)
        self._store.save_measurement(self._run_id, self._key(cell), place, measurement)
        self._keep(cell, place, measurement)

    def _take_opened(self, opened: Opened) -> None:
        self._store.remember_model(self._fingerprint, opened.info)
        # of how this run measured: a later one that finds its answers in the store timed nothing
        self._store.remember_model(self._key_in_run, opened.info, opened.notes)

    def _keep(self, cell: ProbeCell, place: int, measurement: Measurement) -> None:
        self._measured.setdefault(cell.probe.name, {})[place] = measurement
        self._progress.advance(1)

    def _fail(self, cell: ProbeCell, reason: str) -> None:
        self.failures[cell.probe.name] = reason
        self._progress.advance(_workers(cell) - len(self._measured.get(cell.probe.name, {})))

    # ---- what came of it -----------------------------------------------------------------------------

    def cells(self) -> Iterator[CellResult]:
        """The cells of all probes that were measured; of one that makes no figures it is a failure."""
        for cell in self._job.probes:
            name = cell.probe.name
            if name in self._reasons:
                yield unavailable_cell(self._job, cell, self._reasons[name])
            elif name not in self.failures and len(self._measured.get(name, {})) == _workers(cell):
                places = self._measured[name]
                try:
                    yield measured_cell(self._job, cell, [places[place] for place in sorted(places)])
                except JobFailed as error:
                    self.failures[name] = str(error)

    def report(self) -> ModelReport | None:
        """What the model and its engine are; ``None`` where no worker was needed, or none said it."""
        if self._resolved is None:
            return None
        # those of all workers, of which each knows its own alone, and of what was measured before a resume
        notes = self._store.model_notes(self._key_in_run)
        info = self._store.model_info(self._fingerprint)
        return model_report(self._job, self._resolved, info, notes)


def _workers(cell: ProbeCell) -> int:
    return cell.probe.workers or 1


def failed_together(failures: Mapping[str, str]) -> Iterable[str]:
    """Each reason once, behind the names of the probes that it is of."""
    named: dict[str, list[str]] = {}
    for name, reason in failures.items():
        named.setdefault(reason, []).append(name)
    return [f"{', '.join(names)}: {reason}" for reason, names in named.items()]
