"""Two sides timed in turn: who is slower fails, who is not passes, and what cannot be known is not said."""

from __future__ import annotations

import itertools
import math
import random
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import toys
from scripted_session import Scripted, steady

from slmeval import against, interleaving
from slmeval.api import Probe, Session, Stream
from slmeval.differences import Estimate
from slmeval.errors import JobFailed, UnknownName, UsageError
from slmeval.interleaving import TimedRule
from slmeval.ranks import signed_rank
from slmeval.registry import load
from slmeval.rules import parse_rule
from slmeval.store import Store
from slmeval.testing import Silent
from slmeval.turns import Turns
from slmeval.types import Figure, Measurement, RunOptions, Series
from slmeval.verdicts import Judged
from slmeval_runtime import PROBES
from slmeval_runtime.decode import Decode

MODULE = '''
"""An engine that says how long it took: by the name of its model's folder, and with noise."""
import random
from pathlib import Path
from slmeval import hookimpl
from slmeval.api import Backend, Option, Probe
from slmeval.medians import median_figure
from slmeval.types import Measurement, ModelInfo, Series, Timing

#: milliseconds of a token
STEPS = {"first": 1.0, "equal": 1.0, "slow": 1.15, "fast": 0.8, "slightly": 1.05}
#: the folders that were timed, one after the other
TIMED = []


class Telling(Backend):
    name = "telling"
    capabilities = frozenset({"time"})
    options = (Option("noise", str, "none", "none, some or much"), Option("trouble", str, "none", "what"))

    def __init__(self, model, options):
        self._name, self._options = Path(model.location).name, options
        self._chance = random.Random(self._name)

    def model_info(self):
        return ModelInfo("Toy", 1, 1, "float64", "cpu", 1024, 8, "toy", "1")

    def score(self, groups):
        yield from ()

    def generate(self, prompts, settings, decode):
        yield from ()

    def time(self, workload):
        turn = 0
        while True:
            turn += 1
            TIMED.append(self._name)
            if self._options["trouble"] == "ends" and turn > 20:
                return
            at, times = 0.0, []
            for _ in range(workload.new_tokens):
                times.append(at)
                at += self._step()
            yield Timing(0.0, tuple(times))

    def _step(self):
        step = STEPS[self._name] / 1000
        held_up = self._options["noise"] == "much" and self._chance.random() < 0.4
        noise = 0.0 if self._options["noise"] == "none" else 0.05
        return step * (1 + noise * self._chance.random()) * (1 + 9 * self._chance.random() if held_up else 1)


class Whole(Probe):
    """Has no stream."""

    version = "1"

    def __init__(self, name, workers=0):
        self.name, self.workers = name, workers

    def measure(self, session):
        with session.timed(session.workload(1, 3)) as run:
            return Measurement((Series("seconds", "s", tuple(run().tokens[-1] for _ in range(6))),))

    def figures(self, settings, series):
        return [median_figure("span", series["seconds"].values, unit="s")]


@hookimpl
def slmeval_register_backends():
    return [Telling]


@hookimpl
def slmeval_register_probes():
    return [Whole("whole"), Whole("afresh", 3)]
'''

RATE = "decode/tok_s >= 0.95 * baseline"
Judge = Callable[..., tuple[Judged, ...]]


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demo_model: Path) -> Iterator[Judge]:
    """Judges rules of the model "first" against another, or against an environment."""
    folder = tmp_path / "site"
    folder.mkdir()
    toys.install(folder, monkeypatch, MODULE, "tellingplugin")
    for name in ("first", "equal", "slow", "fast", "slightly"):
        shutil.copytree(demo_model, tmp_path / name)
    monkeypatch.setattr(interleaving, "TURN", 0.0)
    monkeypatch.chdir(tmp_path)

    def judged(other: str, *rules: str, noise: str = "some", **more: Any) -> tuple[Judged, ...]:
        pairs = more.pop("pairs", interleaving.PAIRS)
        options = RunOptions(
            backends=("telling",),
            models=("./first",),
            tasks=("arc_easy", "decode"),
            executor=more.pop("executor", "local"),
            engine_options={"noise": noise, "stability.runs": "30", **more},
        )
        with Store.open(tmp_path / "store.db") as store:
            found = [parse_rule(rule) for rule in rules]
            return against.against(options, other, found, load(), store, Silent(), pairs=pairs)

    yield judged
    del sys.modules["tellingplugin"]


@pytest.mark.parametrize("noise", ["none", "some", "much"])
@pytest.mark.parametrize(("other", "answer"), [("equal", "pass"), ("slow", "pass"), ("fast", "fail")])
def test_who_is_slower_fails_and_who_is_not_passes(held: Judge, noise: str, other: str, answer: str) -> None:
    (found,) = held(f"./{other}", RATE, noise=noise)
    assert found.answer == answer, found.sentence
    assert (found.task, found.figure, found.shots) == ("decode", "tokens_per_s", None)
    assert (found.backend, found.model, found.unit) == ("telling", "first", "tokens/s")
    assert found.limit == pytest.approx(0.95 * (found.baseline or 0))
    assert found.excess is not None
    assert found.excess.method == "signed ranks"
    # of what is plain no more is measured than that takes
    assert found.excess.n < interleaving.PAIRS


def test_the_sentence_says_what_was_seen_and_why(held: Judge) -> None:
    (found,) = held("./fast", RATE, noise="none")
    before, _, after = found.sentence.partition(", p = ")
    assert before == (
        "1000 tokens/s against 1250 tokens/s of ./fast: 80% of it (99.99% interval 80% to 80%; 40 pairs in "
        "turn"
    )
    p, _, after = after.partition(")")
    # of 40 pairs one version of scipy computes it exactly, another by the normal distribution
    assert float(p) < 1e-9
    assert after == ": all of it is below the limit of 95%"


def test_other_limits_and_figures(held: Judge) -> None:
    rules = (
        "decode/latency <= baseline + 0.1 ms/token",
        "decode/latency <= baseline + 0.3 ms/token",
        "decode/between_tokens <= 1.1 * baseline",
        "decode/tokens_per_s_forced >= 90% * baseline",
    )
    with pytest.raises(UsageError, match="tokens/s"):
        held("./fast", "decode/tokens_per_s >= baseline - 1 ms", noise="none")
    found = held("./fast", *rules, noise="none")
    # 'force' is nothing that this engine declares
    assert [each.answer for each in found] == ["fail", "pass", "fail", "inconclusive"]
    assert "does not declare 'force'" in found[3].sentence
    assert [each.rule for each in found] == list(rules)
    assert found[0].excess is not None
    assert found[0].excess.value == pytest.approx(0.1)


def test_what_lies_at_the_limit_is_not_decided(held: Judge) -> None:
    (found,) = held("./slightly", "decode/latency <= 0.9523809523809523 * baseline", pairs=20)
    assert found.answer == "inconclusive", found.sentence
    assert found.sentence.endswith("more pairs may decide it (--pairs 40)")


@pytest.mark.parametrize(
    ("probe", "other", "answer"), [("whole", "./fast", "fail"), ("afresh", "./slow", "pass")]
)
def test_a_probe_without_a_stream_is_measured_whole(held: Judge, probe: str, other: str, answer: str) -> None:
    (found,) = held(other, f"{probe}/span <= 1.05 * baseline", noise="none", pairs=8)
    assert (found.answer, found.unit) == (answer, "s")
    # two workers of three are enough for one of many values
    assert sys.modules["tellingplugin"].TIMED.count("first") == 8 * 6 * (2 if probe == "afresh" else 1)


def test_sides_come_in_turn_each_before_and_after_the_other(held: Judge) -> None:
    held("./equal", RATE, noise="none", pairs=8)
    timed = sys.modules["tellingplugin"].TIMED
    # one turn of each goes before those that count; before these the warm-up
    last = timed[-8 * 4 :]
    assert last == ["first", "equal", "equal", "first", "equal", "first", "first", "equal"] * 4


def test_another_environment_is_the_other_side(held: Judge, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (found,) = held(str(python), RATE, noise="none", executor="process", pairs=8)
    assert (found.answer, found.model) == ("pass", "first")
    python.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(UsageError, match="slmeval is not installed there"):
        held(str(python), RATE)


def test_what_cannot_be_asked_is_said(held: Judge) -> None:
    for rule, error, told in (
        ("decod/tok_s >= baseline", UnknownName, "'decode'"),
        ("whole/spam <= baseline", UnknownName, "'span'"),
        ("decode/tok_s >= 100", UsageError, "needs no other side"),
        ("decode/latency <= baseline - 5 ms/token", UsageError, "no time is below 0"),
    ):
        with pytest.raises(error, match=told):
            held("./equal", rule)
    with pytest.raises(UsageError, match="--pairs 3: 8 pairs or more"):
        held("./equal", RATE, pairs=3)
    with pytest.raises(UsageError):
        held("./nowhere", RATE)


def test_a_side_that_fails_fails_the_gate(held: Judge) -> None:
    with pytest.raises(JobFailed, match="telling:first: backend 'telling' ended a workload"):
        held("./equal", RATE, trouble="ends")


# ---- how often it errs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", [20, 40])
def test_at_the_limit_it_decides_in_few_cases_however_often_it_looks(pairs: int) -> None:
    tries, wrong = 300, 0
    schedule = interleaving._schedule(pairs, 0.05)
    for seed in range(tries):
        chance = random.Random(seed)
        logs = [chance.gauss(0, 0.1) * chance.choice([1, 1, 5]) for _ in range(pairs)]
        found = (signed_rank(logs[:look], level) for look, level in schedule)
        wrong += any(each.low > 0 or each.high < 0 for each in found)
    assert wrong / tries <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / tries)


def test_several_rules_are_surer_each() -> None:
    one, many = (interleaving._schedule(100, alpha)[-1][1] for alpha in (0.05, 0.01))
    assert 0.95 < one < 0.97
    assert many > 0.99


def test_what_has_no_interval_yet_has_no_excess() -> None:
    bare = Estimate(0.0, -math.inf, math.inf, math.inf, 8, "signed ranks", level=0.999)
    contest = TimedRule(parse_rule(RATE), "tokens/s", (100.0,), (100.0,), bare, 0.5)
    assert contest.answer == "inconclusive"
    told = against._Told(contest, "x")
    assert told.excess is None
    assert "too few pairs for an interval of 99.9%" in told.sentence(8)


# ---- streams -----------------------------------------------------------------------------------------------


STREAMS = {
    "decode": ("new_tokens", "40", {"tokens_per_s": 50.0, "latency": 20.0, "between_tokens": 20.0}),
    "prefill": ("prompt", "100", {"tokens_per_s": 1000.0, "latency": 100.0}),
    "ttft": ("prompt", "100", {"ttft_warm": 100.0}),
    "batch": ("batch", "2", {"tokens_per_s@batch=2": 100.0, "step_latency@batch=2": 20.0}),
    "context": ("depth", "64", {"latency@depth=64": 20.0}),
    "stability": ("runs", "20", {"latency": 20.0}),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_has_the_values_and_the_unit_of_its_figure(name: str) -> None:
    probe = next(each for each in PROBES if each.name == name)
    option, value, wanted = STREAMS[name]
    session = Scripted(
        probe, steady(step=0.02), {option: value, **({"interval": "0"} if name == "stability" else {})}
    )
    done = probe.measure(session)
    figures = {each.name: each for each in probe.figures(session.settings, {s.name: s for s in done.series})}
    for figure, expected in wanted.items():
        stream = probe.stream(session, figure)
        assert stream is not None
        assert next(stream.values) == pytest.approx([expected] * len(next(stream.values)))
        stream.values.close()
        assert figures[figure].value == pytest.approx(expected)
        assert (stream.unit, stream.higher_is_better) == (
            figures[figure].unit,
            figures[figure].higher_is_better,
        )
    assert probe.stream(session, "nothing") is None


def test_a_stream_is_of_brief_runs_and_closing_it_ends_them() -> None:
    probe = Decode()
    session = Scripted(probe, steady(step=0.02), {"new_tokens": "400"})
    stream = probe.stream(session, "latency")
    assert stream is not None
    assert len(next(stream.values)) == 15
    assert session.timing
    stream.values.close()
    assert not session.timing


def runs_of(*runs: Sequence[Any]) -> Any:
    yield from runs


@pytest.mark.parametrize("runs", [[[1]], [[math.nan]], [[0.0]], [[]], []])
def test_a_turn_takes_numbers_alone(runs: list[Any]) -> None:
    class Odd(Probe):
        name, version, needs = "odd", "1", frozenset[str]()

        def measure(self, session: Session) -> Measurement:
            raise AssertionError

        def figures(self, settings: Any, series: Any) -> list[Figure]:
            raise AssertionError

        def stream(self, session: Session, figure: str) -> Stream:
            return Stream("s", False, runs_of(*runs))

    turns = Turns()
    session: Any = SimpleNamespace(lacks=lambda _: None)
    assert turns.begin(Odd(), session, "x")["streams"]
    with pytest.raises(JobFailed, match="probe 'odd' has"):
        turns.take(0.0)


def test_a_turn_has_whole_runs_for_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Probe):
        name, version, needs = "slow", "1", frozenset[str]()

        def measure(self, session: Session) -> Measurement:
            return Measurement((Series("s", "s", (1.0,)),))

        def figures(self, settings: Any, series: Any) -> list[Figure]:
            return []

        def stream(self, session: Session, figure: str) -> Stream:
            return Stream("s", False, runs_of(*[[1.0, 2.0]] * 100_000))

    turns = Turns()
    session: Any = SimpleNamespace(lacks=lambda _: None)
    turns.begin(Slow(), session, "x")
    # each look at the clock is a second after the one before
    seconds = itertools.count()
    monkeypatch.setattr("slmeval.turns.time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    assert turns.take(0.0) == [1.0, 2.0]
    assert turns.take(5.0) == [1.0, 2.0] * 5
