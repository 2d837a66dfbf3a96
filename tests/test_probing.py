"""Probes in a run: what they measure is kept, their figures lack nothing, and what fails fails alone."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import toys

from slmeval.api import Demand, Option, Probe, Session
from slmeval.errors import JobFailed, ModelError, UsageError
from slmeval.head_start import HeadStart
from slmeval.medians import median_figure
from slmeval.option_kinds import positive
from slmeval.plan import Job
from slmeval.planner import plan
from slmeval.probe_figures import measured_cell, merged, misfit, unfit
from slmeval.registry import load
from slmeval.run import execute, executor_of
from slmeval.sessions import WorkerSession, untimely
from slmeval.store import Store
from slmeval.testing import Silent, evaluate
from slmeval.types import (
    CellResult,
    Conditions,
    Figure,
    Measurement,
    OptionValue,
    RunOptions,
    RunResult,
    Series,
    Timing,
    Workload,
)

GOOD = Figure("latency", 2.0, 0.1, (1.5, 2.5), 6, "ms")
UNAVAILABLE = {"source": "unavailable", "note": "why", "value": None, "stderr": None, "ci95": None, "n": 0}
LACKING: dict[str, Any] = {
    "no unit": {"unit": ""},
    "a unit that is no text": {"unit": None},
    "no n": {"n": 0},
    "half an n": {"n": 1.5},
    "no interval": {"ci95": None},
    "half an interval": {"ci95": (1.0,)},
    "an interval beside its value": {"ci95": (3.0, 4.0)},
    "an interval of no numbers": {"ci95": (-math.inf, math.inf)},
    "no source": {"source": ""},
    "a source of its own": {"source": "guessed"},
    "no value": {"value": None},
    "a value that is no number": {"value": math.nan},
    "a value that is the truth": {"value": True},
    "an error below zero": {"stderr": -1.0},
    "an error that is no number": {"stderr": math.inf},
    "no name": {"name": ""},
    "unavailable with a value": {"source": "unavailable", "note": "it is not"},
    "unavailable for no reason": {"source": "unavailable", "value": None},
    "percentiles of no numbers": {"percentiles": {"p5": math.nan}},
    "a verdict of its own": {"verdict": "fine"},
    "a note that is no text": {"note": None},
    "a value beyond every float": {"value": 10**400, "ci95": (1, 10**401)},
    "an n beyond counting": {"n": 2**63},
    "unavailable with no n": {**UNAVAILABLE, "n": None},
    "unavailable with an error": {**UNAVAILABLE, "stderr": 0.1},
    "unavailable with an interval": {**UNAVAILABLE, "ci95": "abc"},
    "unavailable with no percentiles": {**UNAVAILABLE, "percentiles": None},
    "a better side that is no truth": {"higher_is_better": "yes"},
}


def test_a_whole_figure_is_taken() -> None:
    unavailable = Figure("peak", None, None, None, 0, "", "unavailable", "not told here")
    assert unfit([GOOD, replace(GOOD, name="x", stderr=None, source="estimated"), unavailable]) is None


@pytest.mark.parametrize("change", LACKING.values(), ids=LACKING.keys())
def test_no_probe_can_emit_a_figure_that_lacks_something(change: dict[str, Any]) -> None:
    wrong = replace(GOOD, **change)
    assert unfit([wrong])
    assert unfit([replace(GOOD, name="before"), wrong])


def test_nor_none_at_all_nor_two_of_one_name() -> None:
    assert unfit([]) == "no figures"
    assert unfit([GOOD, GOOD]) == "two figures named 'latency'"
    assert unfit([None]) == "None in place of a figure with a name"  # type: ignore[list-item]


# ---- a toy engine and toy probes ---------------------------------------------------------------------------

MODULE = '''
"""An engine that takes the time it is told to, and probes that misbehave."""
import os, signal, time
from slmeval import hookimpl
from slmeval.api import Backend, Option, Probe
from slmeval.medians import median_figure
from slmeval.types import Figure, Likelihood, Measurement, ModelInfo, Series, Timing


class Ticking(Backend):
    name = "ticking"
    capabilities = frozenset({"time", "score"})
    options = (Option("trouble", str, "none", "what goes wrong"),)

    def __init__(self, model, options):
        self._trouble, self._timed = options["trouble"], 0

    def model_info(self):
        return ModelInfo("Toy", 1, 1, "float64", "cpu", 64, 8, "toy", "1")

    def notes(self):
        return ("a toy engine", *([f"timed {self._timed} tokens at once"] if self._timed else ()))

    def score(self, groups):
        for group in groups:
            yield tuple(Likelihood((-1.0,) * len(ids), False) for ids in group.continuations)

    def generate(self, prompts, settings, decode):
        yield from ()

    def lacking(self):
        return {"time": "this very model cannot"} if self._trouble == "lacking" else {}

    def time(self, workload):
        if len(workload.prompts[0]) > 60:
            raise ValueError("more than 60 tokens")
        self._timed = workload.new_tokens
        while True:
            time.sleep(0.001)
            if self._trouble == "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            if self._trouble == "memory":
                raise MemoryError
            tokens = tuple(0.001 * (at + 2) for at in range(workload.new_tokens))
            if self._trouble == "ends":
                return
            if self._trouble == "backwards":
                tokens = tokens[::-1]
            yield Timing(0.001, tokens[1:] if self._trouble == "few" else tokens)


class Toy(Probe):
    """A toy."""

    version = "1"

    def __init__(self, name, workers=0, trouble="none"):
        self.name, self.workers, self._trouble = name, workers, trouble
        self.needs = frozenset({"memory"}) if trouble == "needy" else frozenset({"time"})

    def measure(self, session):
        if "TOY_LOG" in os.environ:
            with open(os.environ["TOY_LOG"], "a") as log:
                log.write(f"{self.name} {os.getpid()}\\\\n")
        if self._trouble == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self._trouble == "raise":
            raise ValueError("one line\\\\nanother")
        if self._trouble == "nan":
            return Measurement((Series("seconds", "s", (float("nan"),)),))
        if self._trouble == "reopen":
            session.open()
        if self._trouble in ("idle", "reopen"):
            return Measurement((Series("seconds", "s", (1.0,) * 6),))
        if self._trouble == "long":
            session.workload(60, 8)
        with session.timed(session.workload(4, 3)) as run:
            values = tuple(run().tokens[-1] for _ in range(6))
        return Measurement((Series("seconds", "s", values),), notes=("a toy",))

    def figures(self, settings, series):
        if self._trouble == "leave":
            raise SystemExit(3)
        if self._trouble == "count":
            return [Figure("latency", 1.0, 0.1, (0.5, 1.5), 10**5000, "s")]
        figure = median_figure("latency", series["seconds"].values, unit="s")
        return [Figure("latency", 1.0, None, None, 6, "s") if self._trouble == "bare" else figure]


PROBES = [Toy("toy"), Toy("toy_fresh", 2), Toy("toy_other", 2), Toy("toy_idle", 1, "idle")] + [
    Toy(f"toy_{trouble}", trouble=trouble)
    for trouble in ("crash", "raise", "nan", "long", "bare", "leave", "count", "needy", "reopen")
]


@hookimpl
def slmeval_register_backends():
    return [Ticking]


@hookimpl
def slmeval_register_probes():
    return PROBES
'''.replace("\\\\", "\\")

Runner = Callable[..., RunResult]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demo_model: Path) -> Runner:
    folder = tmp_path / "site"
    folder.mkdir()
    toys.install(folder, monkeypatch, MODULE, "tickingplugin")
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))

    def measured(tasks: str, trouble: str = "none", **more: Any) -> RunResult:
        options = RunOptions(
            backends=("ticking",),
            models=(str(demo_model),),
            tasks=tuple(tasks.split(",")),
            engine_options={"trouble": trouble},
            **more,
        )
        return evaluate(options, tmp_path / "store.db")

    return measured


def log(tmp_path: Path) -> list[list[str]]:
    return [line.split() for line in (tmp_path / "log").read_text().splitlines()]


def cells(result: RunResult) -> dict[str, CellResult]:
    return {cell.name: cell for cell in result.cells}


@pytest.mark.parametrize("executor", ["process", "local"])
def test_figures_come_of_what_was_measured_and_both_are_kept(run: Runner, executor: str) -> None:
    result = run("toy", executor=executor)
    (cell,) = result.cells
    assert (result.status, cell.kind, cell.n, cell.sample) == ("done", "probe", 6, False)
    (figure,) = cell.figures
    assert (figure.value, figure.ci95, figure.unit, figure.source) == (0.004, (0.004, 0.004), "s", "measured")
    assert cell.series == (Series("seconds", "s", (0.004,) * 6),)
    # before and after
    assert len(cell.conditions) >= 2
    assert "a toy" in cell.notes
    assert result.models[0].info is not None


def test_fresh_workers_are_processes_of_their_own_and_others_share_one(run: Runner, tmp_path: Path) -> None:
    result = run("toy,toy_fresh,toy_raise")
    assert result.status == "failed"
    by_probe: dict[str, list[str]] = {}
    for name, pid in log(tmp_path):
        by_probe.setdefault(name, []).append(pid)
    assert by_probe["toy"] == by_probe["toy_raise"]
    assert len({*by_probe["toy_fresh"], *by_probe["toy"]}) == 3
    assert cells(result)["toy_fresh"].series[0].values == (0.004,) * 12


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ("crash", "the worker was ended by SIGSEGV"),
        ("raise", "ValueError: one line"),
        ("nan", "a series 'seconds' that has no name or is not of numbers"),
        ("long", "0 tokens in the cache, a prompt of 60 and 8 new ones are 67 inputs, more than"),
        ("bare", "probe 'toy_bare' gave figure 'latency' without a 95% interval"),
        ("leave", "probe 'toy_leave' makes no figures of what it measured: SystemExit: 3"),
        ("count", "probe 'toy_count' makes no figures of what it measured: ValueError: "),
    ],
)
def test_a_probe_that_fails_fails_alone(run: Runner, trouble: str, told: str) -> None:
    result = run(f"toy_{trouble},toy")
    assert set(cells(result)) == {"toy"}
    (failure,) = result.failures
    assert failure.reason.startswith(f"toy_{trouble}: ")
    assert told in failure.reason
    assert "\n" not in failure.reason


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ("crash", "SIGSEGV"),
        ("memory", "MemoryError"),
        ("ends", "ended a workload that could go on"),
        ("few", "2 times for 3 new tokens"),
        ("backwards", "0.003 seconds after 0.004"),
    ],
)
def test_an_engine_that_fails_while_it_is_timed_fails_what_was_measured(
    run: Runner, trouble: str, told: str
) -> None:
    result = run("toy,toy_fresh", trouble)
    assert result.cells == ()
    named = ", ".join(failure.reason.partition(":")[0] for failure in result.failures)
    assert sorted(named.split(", ")) == ["toy", "toy_fresh"]
    assert all(told in failure.reason for failure in result.failures)


def test_what_an_engine_does_not_declare_is_unavailable_and_no_failure(run: Runner) -> None:
    result = run("toy_needy,toy")
    assert result.status == "done"
    (figure,) = cells(result)["toy_needy"].figures
    assert (figure.value, figure.source) == (None, "unavailable")
    assert figure.note == "backend 'ticking' does not declare 'memory'"


def test_so_is_what_this_very_model_lacks(run: Runner) -> None:
    result = run("toy", "lacking")
    (figure,) = cells(result)["toy"].figures
    assert (result.status, figure.source, figure.note) == ("done", "unavailable", "this very model cannot")


def test_what_was_measured_is_not_measured_again(
    run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run("toy,toy_crash,toy_fresh")
    assert first.status == "failed"
    registry = load()
    with Store.open(tmp_path / "store.db") as store:
        planned = plan(first.options, registry.parts, store.file_hash)
        second = execute(planned, registry, store, Silent(), first.id)
    measured = [name for name, _ in log(tmp_path)]
    assert measured.count("toy") == 1
    assert measured.count("toy_fresh") == measured.count("toy_crash") == 2
    assert second.cells == first.cells
    with sqlite3.connect(tmp_path / "store.db") as db:
        assert db.execute("SELECT count(*) FROM measurements").fetchone() == (3,)
    db.close()
    # another run measures anew
    run("toy")
    assert [name for name, _ in log(tmp_path)].count("toy") == 2


TIMED = "timed 3 tokens at once"


@pytest.mark.parametrize("last", ["toy_idle", "toy_reopen"])
def test_what_an_engine_said_of_its_times_is_told_whatever_worker_or_opening_follows(
    run: Runner, last: str
) -> None:
    result = run(f"toy,{last}")
    assert (result.status, set(cells(result))) == ("done", {"toy", last})
    assert result.models[0].notes == ("a toy engine", TIMED)


def test_a_run_that_times_nothing_is_told_nothing_of_anothers_times(run: Runner) -> None:
    asked = run("piqa", sample=True, limit=2)
    assert TIMED in run("toy").models[0].notes
    again = run("piqa", sample=True, limit=2)
    assert (asked.asked, again.asked, again.reused) == (asked.asked, 0, asked.asked)
    assert again.models == asked.models
    assert run("toy_idle").models[0].notes == ("a toy engine",)


def test_of_a_run_that_goes_on_what_was_said_before_is_told(run: Runner, tmp_path: Path) -> None:
    first = run("toy,toy_raise,toy_idle")
    registry = load()
    with Store.open(tmp_path / "store.db") as store:
        planned = plan(first.options, registry.parts, store.file_hash)
        second = execute(planned, registry, store, Silent(), first.id)
    # in which nothing was measured any more
    assert [name for name, _ in log(tmp_path)].count("toy") == 1
    assert second.models == first.models
    assert TIMED in second.models[0].notes


def test_a_task_and_probes_are_told_of_one_model(run: Runner, tmp_path: Path, demo_model: Path) -> None:
    options = RunOptions(
        backends=("reference",), models=(str(demo_model),), tasks=("piqa", "toy"), sample=True, limit=2
    )
    result = evaluate(options, tmp_path / "store.db")
    assert [cell.kind for cell in result.cells] == ["task", "probe"]
    assert len(result.models) == 1


class Impatient(Silent):
    """Who interrupts when the second probe is measured."""

    def __init__(self) -> None:
        self._measured = 0

    def advance(self, done: int) -> None:
        self._measured += done
        if self._measured == 2:
            raise KeyboardInterrupt


def test_an_interrupted_run_has_the_figures_of_what_was_measured(run: Runner, tmp_path: Path) -> None:
    first = run("toy_crash,toy")
    options = replace(first.options, tasks=("toy", "toy_fresh"))
    registry = load()
    with Store.open(tmp_path / "store.db") as store:
        planned = plan(options, registry.parts, store.file_hash)
        result = execute(planned, registry, store, Impatient())
    assert result.status == "interrupted"
    assert set(cells(result)) == {"toy"}
    assert len(result.models) == 1


def test_a_worker_that_was_started_ahead_in_this_process_knows_the_probes(
    run: Runner, tmp_path: Path
) -> None:
    options = replace(run("toy").options, executor="local")
    registry = load()
    with Store.open(tmp_path / "store.db") as store, HeadStart(executor_of(options, registry)) as head_start:
        planned = plan(options, registry.parts, store.file_hash, head_start)
        result = execute(planned, registry, store, Silent(), head_start=head_start)
    assert (result.status, set(cells(result))) == ("done", {"toy"})


def test_two_fresh_probes_do_not_share_a_worker(run: Runner, tmp_path: Path) -> None:
    assert run("toy_fresh,toy_other").status == "done"
    pids = [pid for _, pid in log(tmp_path)]
    assert len(pids) == len(set(pids)) == 4


# ---- before anything is opened -----------------------------------------------------------------------------


class Asking(Probe):
    """Asks sequences of a length and a number that its options name."""

    name = "asking"
    version = "1"
    options: tuple[Option, ...] = (
        Option("length", positive, 8, "tokens"),
        Option("many", positive, 1, "sequences"),
    )

    def demand(self, settings: Mapping[str, OptionValue]) -> Demand:
        return Demand(int(settings["length"] or 0), int(settings["many"] or 0))

    def measure(self, session: Session) -> Measurement:
        return Measurement((Series("length", "tokens", (float(str(session.settings["length"])),) * 2),))

    def figures(self, settings: Mapping[str, OptionValue], series: Mapping[str, Series]) -> Sequence[Figure]:
        return [median_figure("length", series["length"].values, unit="tokens")]


def planned(options: Mapping[str, str], model: Path) -> Job:
    from slmeval import hookimpl

    plugin = type("Plugin", (), {"slmeval_register_probes": staticmethod(hookimpl(lambda: [Asking()]))})
    wanted = RunOptions(
        backends=("reference",), models=(str(model),), tasks=("asking",), engine_options=options
    )
    registry = load(extra={"asking": plugin})
    return plan(wanted, registry.parts, lambda _: "hash").jobs[0]


def test_options_reach_the_probe_and_not_the_engine(demo_model: Path) -> None:
    job = planned({"length": "16", "asking.many": "2", "threads": "1"}, demo_model)
    (cell,) = job.probes
    assert cell.settings == {"length": 16, "many": 2}
    assert job.options == {"threads": 1}
    assert not any("no option" in note for note in job.notes)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"length": "4096"}, ModelError, "asks sequences of 4,096 tokens, and the context of .* has 2,048"),
        ({"many": "100000000"}, ModelError, r"100,000,000 × 8 tokens in 64 bits\) are .* GiB are free"),
        ({"length": "0"}, UsageError, r"-o length=0 \(probe 'asking'\): 0 is too small"),
        ({"asking.lenth": "1"}, UsageError, "unknown option of 'asking' 'lenth': did you mean 'length'"),
        ({"lenth": "1"}, UsageError, "did you mean 'length'"),
        ({"askin.length": "1"}, UsageError, "unknown backend or probe of this run 'askin'.*'asking'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_opened(
    options: dict[str, str], error: type[Exception], told: str, demo_model: Path
) -> None:
    with pytest.raises(error, match=told):
        planned(options, demo_model)


class _Refusing:
    """An engine that looks at a workload as soon as it is given."""

    name, capabilities = "refusing", frozenset({"time"})

    def lacking(self) -> dict[str, str]:
        return {}

    def time(self, workload: Workload) -> Iterator[Timing]:
        raise ValueError(f"no room for {len(workload.prompts)}")


def test_what_an_engine_refuses_at_once_is_this_workload_and_not_the_probe() -> None:
    holder: Any = SimpleNamespace(backend=_Refusing(), backend_class=_Refusing)
    session = WorkerSession(holder, {}, 0, {}, lambda: None, meters={}, own_process=False)
    asked = session.timed(Workload(((1, 2),), 1))
    with pytest.raises(JobFailed, match=r"backend 'refusing' refuses the workload: no room for 1"), asked:
        pass


class Odd(Asking):
    """One whose plugin is at fault, as its options ask."""

    options: tuple[Option, ...] = (
        *Asking.options,
        Option("pair", lambda text: (text, text), None, "no value of an option"),  # type: ignore[arg-type,return-value]
    )

    def demand(self, settings: Mapping[str, OptionValue]) -> Any:
        if settings["length"] == 1:
            raise KeyError("length")
        return (1, 2)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"length": "1"}, "probe 'asking' fails at what it asks of a model: KeyError: 'length'"),
        ({"length": "2"}, r"probe 'asking' asks \(1, 2\) of a model, which is no Demand"),
        (
            {"pair": "a"},
            r"option 'pair' of probe 'asking' is \('a', 'a'\), which is neither a text nor a number",
        ),
    ],
)
def test_the_fault_of_a_probes_plugin_is_told_in_a_sentence(
    options: dict[str, str], told: str, demo_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "Asking", Odd)
    with pytest.raises(UsageError, match=told):
        planned(options, demo_model)


@pytest.mark.parametrize(
    "fault", [{"needs": ("time",)}, {"workers": "2"}, {"workers": -1}, {"workers": None}]
)
def test_a_probe_that_asks_for_what_cannot_be_is_not_taken(fault: dict[str, Any]) -> None:
    from slmeval import hookimpl

    probe = type("Faulty", (Asking,), fault)()
    plugin = type("Plugin", (), {"slmeval_register_probes": staticmethod(hookimpl(lambda: [probe]))})
    with pytest.raises(UsageError, match=f"probe 'asking' has {next(iter(fault))} "):
        load(extra={"faulty": plugin})


def test_what_does_not_fit_a_model_takes_nothing_else_with_it(demo_model: Path, tmp_path: Path) -> None:
    options = RunOptions(
        backends=("reference",),
        models=(str(demo_model),),
        tasks=("piqa", "prefill", "stability"),
        sample=True,
        limit=2,
        engine_options={"prefill.prompt": "4096"},
    )
    with Store.open(tmp_path / "store.db") as store:
        planned = plan(options, load().parts, store.file_hash)
    (job,) = planned.jobs
    assert [cell.task.name for cell in job.cells] == ["piqa"]
    assert [cell.probe.name for cell in job.probes] == ["stability"]
    (failure,) = planned.refused
    assert "probe 'prefill' asks sequences of 4,096 tokens" in failure.reason


# ---- small parts -------------------------------------------------------------------------------------------


def test_of_a_served_model_the_server_may_be_what_took_the_cores(demo_model: Path) -> None:
    job = planned({}, demo_model)
    lengths = Series("length", "tokens", (8.0,) * 6)
    measured = Measurement((lengths,), (Conditions(0.0), Conditions(5.0, busy=0.5)))
    served = replace(job, model=replace(job.model, form="server"))
    (plain,), (told,) = (measured_cell(each, each.probes[0], [measured]).notes for each in (job, served))
    assert plain.startswith("other processes took 50% of the ")
    assert told.startswith("other processes, the server's among them if ")


def test_series_of_several_workers_stand_one_after_the_other() -> None:
    one = Measurement((Series("a", "s", (1.0,)), Series("b", "s", (), "unavailable", "not told")))
    other = Measurement((Series("b", "s", (2.0,)), Series("a", "s", (3.0, 4.0))))
    assert merged([one, other]) == (
        Series("a", "s", (1.0, 3.0, 4.0)),
        Series("b", "s", (2.0,), "measured", "not told"),
    )
    with pytest.raises(ValueError, match="in 's' and in 'ms'"):
        merged([one, Measurement((Series("a", "ms", (1.0,)),))])


@pytest.mark.parametrize(
    "series",
    [
        (Series("a", "s", (1.0,)), Series("a", "s", (1.0,))),
        (Series("", "s", (1.0,)),),
        (Series("a", "s", ()),),
        (Series("a", "s", (), "unavailable"),),
        (Series("a", "s", (1.0,), "unavailable", "why"),),
    ],
)
def test_a_measurement_that_makes_no_sense_is_refused(series: tuple[Series, ...]) -> None:
    assert misfit(Measurement(series))


@pytest.mark.parametrize(
    "timing",
    [
        None,
        Timing(1.0, ()),
        Timing(None, ()),
        Timing(1.0, (2.0,)),
        Timing(1.0, (2.0, 1.5)),
        Timing(2.0, (1.0, 3.0)),
        Timing(math.nan, (1.0, 2.0)),
        Timing(-1.0, (1.0, 2.0)),
        Timing(0.0, (0.0, 0.0)),
        Timing(1, (2.0, 3.0)),
        Timing(None, (math.inf, math.inf)),
    ],
)
def test_times_that_cannot_be_are_seen(timing: Any) -> None:
    assert untimely(Workload(((1, 2),), 2), timing)
    assert untimely(Workload(((1, 2),), 2), Timing(1.0, (1.0, 2.0))) is None
