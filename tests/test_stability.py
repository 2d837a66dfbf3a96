"""The stability probe on a scripted engine: what drifts, what is steady, and what the machine says to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType

import pytest
from scripted_session import Script, Scripted, settings_of

from slmeval.api import Demand
from slmeval.probe_figures import misfit, unfit
from slmeval.types import Conditions, Figure, Measurement, Series, Timing, Workload
from slmeval_runtime import pace
from slmeval_runtime.stability import Stability

PROBE = Stability()
#: runs that the warm-up takes where nothing gets faster
WARM = 3
#: when six runs began
BEGUN = Series("begun", "s", tuple(map(float, range(6))))
#: what a machine that tells of nothing leaves out
SILENT = Conditions(0.0)

Look = Callable[[int], Conditions]


class Clock:
    """A clock that moves when somebody sleeps or works."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(pace, "time", made)
    return made


class Watched(Scripted):
    """A scripted session on a machine whose conditions are scripted, and whose runs take their time."""

    def __init__(self, script: Script, clock: Clock, given: Mapping[str, str], look: Look) -> None:
        super().__init__(PROBE, script, given)
        self._clock, self._look = clock, look
        self.looks = self.signs = 0
        self.looked_after: list[int] = []

    def timed(self, workload: Workload):  # type: ignore[no-untyped-def]
        plain = self._script

        def taking(workload: Workload, run: int) -> Timing:
            timing = plain(workload, run)
            self._clock.now += timing.tokens[-1]
            return timing

        self._script = taking
        return super().timed(workload)

    def note_conditions(self) -> Conditions:
        self.looked_after.append(len(self.asked))
        self.looks += 1
        return self._look(self.looks - 1)

    def show_life(self) -> None:
        self.signs += 1


def speeds(step: Callable[[int], float]) -> Script:
    """Each token of the n-th run (counted from 0, after the warm-up) takes ``step`` seconds."""

    def script(workload: Workload, run: int) -> Timing:
        each = step(max(run - 1 - WARM, 0))
        return Timing(0.005, tuple(0.005 + each * token for token in range(workload.new_tokens)))

    return script


def measured(
    clock: Clock,
    step: Callable[[int], float],
    given: Mapping[str, str] = MappingProxyType({}),
    look: Look = lambda _: SILENT,
) -> tuple[Watched, Measurement, dict[str, Figure]]:
    session = Watched(speeds(step), clock, {"new_tokens": "64", **given}, look)
    done = PROBE.measure(session)
    series = {each.name: each for each in done.series}
    figures = PROBE.figures(session.settings, series)
    assert misfit(done) is None
    assert unfit(figures) is None
    return session, done, {figure.name: figure for figure in figures}


@pytest.mark.parametrize(("each", "tokens"), [(0.1, 64), (0.001, 500), (0.0001, 1024)])
def test_where_no_number_is_given_a_run_takes_half_the_interval(
    clock: Clock, each: float, tokens: int
) -> None:
    session = Watched(speeds(lambda _: each), clock, {}, lambda _: SILENT)
    series = {made.name: made for made in PROBE.measure(session).series}
    begun = series["begun"].values
    assert len(series["tokens"].values) == tokens * len(begun)
    assert PROBE.figures(session.settings, series)[0].value == pytest.approx(1000 * each)


def noisy(size: float = 0.01) -> Callable[[int], float]:
    random = Random(3)
    return lambda _: 0.01 * (1 + size * random.gauss(0, 1))


def slower_from(half: int, by: float = 0.5) -> Callable[[int], float]:
    plain = noisy()
    return lambda turn: plain(turn) * (1 + by * (turn >= half))


# ---- what is measured --------------------------------------------------------------------------------


def test_runs_begin_at_a_fixed_interval(clock: Clock) -> None:
    session, done, _ = measured(clock, noisy())
    series = {each.name: each for each in done.series}
    assert series["begun"].values == pytest.approx(range(20))
    assert {len(each.prompts[0]) for each in session.asked} == {1}
    assert len(series["tokens"].values) == 20 * 64
    assert len(series["warm-up of tokens"].values) == WARM * 64
    assert done.notes == ()


def test_every_token_is_kept(clock: Clock) -> None:
    _, done, _ = measured(clock, lambda turn: 0.01 * (turn + 1), {"runs": "6", "new_tokens": "3"})
    tokens = done.series[0]
    assert (tokens.name, tokens.unit) == ("tokens", "s")
    assert tokens.values[:6] == pytest.approx((0.005, 0.015, 0.025, 0.005, 0.025, 0.045))


def test_while_it_waits_it_shows_that_it_lives(clock: Clock) -> None:
    session, _, _ = measured(clock, noisy(), {"interval": "10", "runs": "6"})
    assert max(clock.slept) <= pace.NAP
    assert session.signs >= 5 * 9


def test_without_an_interval_there_is_no_pause(clock: Clock) -> None:
    _, done, _ = measured(clock, noisy(), {"interval": "0"})
    assert clock.slept == []
    assert done.notes == ()


def test_runs_that_take_longer_than_the_interval_are_told_of(clock: Clock) -> None:
    _, done, _ = measured(clock, noisy(), {"interval": "0.5"})
    assert done.notes == ("runs take longer than 0.5 s: 18 of 20 began late, without a pause",)


def test_slow_runs_end_when_their_time_is_over(clock: Clock) -> None:
    _, done, figures = measured(clock, lambda _: 0.1)
    # 64 tokens in 6.3 s: ten runs take a minute
    assert figures["drift"].n == 10
    assert done.notes[0] == "10 runs of 20 took the 60 s that they may"


def test_very_slow_runs_are_as_many_as_a_trend_needs(clock: Clock) -> None:
    _, _, figures = measured(clock, lambda _: 100.0)
    assert (figures["drift"].n, figures["drift"].verdict) == (6, "stable")


def test_pauses_are_no_part_of_the_budget(clock: Clock) -> None:
    _, _, figures = measured(clock, lambda _: 0.01, {"interval": "60"})
    assert figures["drift"].n == 20


def test_the_machine_is_looked_at_after_each_run(clock: Clock) -> None:
    session, done, _ = measured(
        clock, noisy(), look=lambda turn: Conditions(0.0, clock=3000.0 - turn, load=1.0, busy=0.25)
    )
    series = {each.name: each for each in done.series}
    assert session.looked_after == list(range(WARM + 1, WARM + 21))
    assert series["clock"] == Series("clock", "MHz", tuple(3000.0 - turn for turn in range(20)))
    assert series["busy"].values == (0.25,) * 20
    assert series["temperature"].source == "unavailable"
    assert series["temperature"].note


def test_a_machine_that_tells_only_now_and_then_tells_nothing(clock: Clock) -> None:
    look: Look = lambda turn: Conditions(0.0, busy=0.5 if turn % 2 else None)  # noqa: E731
    _, done, _ = measured(clock, noisy(), look=look)
    assert next(each for each in done.series if each.name == "busy").source == "unavailable"


def test_by_default_it_takes_less_than_25_seconds_of_a_fast_model(clock: Clock) -> None:
    began = clock.now
    measured(clock, lambda _: 0.002)
    assert clock.now - began < 25


# ---- figures -----------------------------------------------------------------------------------------


def test_the_latency_is_the_time_between_tokens_over_one_less_than_there_are(clock: Clock) -> None:
    _, _, figures = measured(clock, lambda turn: 0.01 + 0.001 * (turn % 3 == 0), {"runs": "9"})
    latency = figures["latency"]
    assert (latency.value, latency.unit, latency.n) == (pytest.approx(10), "ms/token", 9)
    assert latency.ci95 == pytest.approx((10, 11))
    assert latency.percentiles["p95"] == pytest.approx(11)


def test_what_stays_as_it_was_is_stable(clock: Clock) -> None:
    _, _, figures = measured(clock, noisy())
    drift = figures["drift"]
    assert (drift.verdict, figures["latency"].verdict) == ("stable", "stable")
    assert drift.value == pytest.approx(0, abs=2)
    assert drift.ci95 is not None
    assert drift.ci95[0] < 0 < drift.ci95[1]
    assert (drift.unit, drift.n) == ("%", 20)
    assert drift.note.startswith("chance alone does as much in ")


def test_what_is_slowed_half_way_is_drifting(clock: Clock) -> None:
    _, _, figures = measured(clock, slower_from(10))
    drift = figures["drift"]
    assert (drift.verdict, figures["latency"].verdict) == ("drifting", "drifting")
    assert drift.value == pytest.approx(50, abs=3)
    assert drift.note.startswith("slower from value 11 of 20 on; chance alone")


def test_what_slows_down_as_the_clock_falls_is_throttled(clock: Clock) -> None:
    look: Look = lambda turn: Conditions(0.0, clock=3000.0 if turn < 10 else 2000.0)  # noqa: E731
    _, _, figures = measured(clock, slower_from(10), look=look)
    assert figures["drift"].verdict == figures["latency"].verdict == "throttled"


def test_what_slows_down_as_another_process_comes_is_not(clock: Clock) -> None:
    def look(turn: int) -> Conditions:
        late = turn >= 10
        return Conditions(0.0, clock=2000.0 if late else 3000.0, busy=0.5 if late else 0.0)

    _, _, figures = measured(clock, slower_from(10), look=look)
    assert figures["drift"].verdict == "drifting"


def test_one_run_that_is_disturbed_makes_no_drift_and_much_variation(clock: Clock) -> None:
    plain = noisy()
    _, _, figures = measured(clock, lambda turn: plain(turn) * (4 if turn == 15 else 1))
    assert figures["drift"].verdict == "stable"
    # one of twenty three times above the others: 0.671 over 1.15
    assert figures["variation"].value == pytest.approx(58.3, rel=0.05)


def test_the_variation_is_the_deviation_over_the_mean(clock: Clock) -> None:
    steps = [0.01, 0.011, 0.012, 0.013, 0.012, 0.011, 0.01, 0.009]
    _, _, figures = measured(clock, lambda turn: steps[turn], {"runs": "8"})
    variation = figures["variation"]
    # deviation 1.309 and mean 11, in ms
    assert (variation.value, variation.unit, variation.n) == (pytest.approx(11.902, abs=0.01), "%", 8)
    assert variation.ci95 is not None
    assert variation.ci95[0] < 11.902 < variation.ci95[1]


def test_runs_that_are_all_alike_do_not_vary(clock: Clock) -> None:
    session = settings_of(PROBE, {"runs": "6", "new_tokens": "3"})
    series = {
        "tokens": Series("tokens", "s", (0.25, 0.5, 0.75) * 6),
        "begun": Series("begun", "s", tuple(map(float, range(6)))),
        **{name: Series(name, unit, (), "unavailable", "no") for name, unit in pace.MACHINE.items()},
    }
    figures = {figure.name: figure for figure in PROBE.figures(session, series)}
    assert (figures["variation"].value, figures["variation"].ci95) == (0, (0, 0))
    assert (figures["drift"].value, figures["drift"].verdict) == (0, "stable")
    assert unfit(figures.values()) is None


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        (Series("tokens", "s", (), "unavailable", "it broke"), "it broke"),
        (Series("tokens", "s", (0.5, 0.5, 0.5) * 6), "the tokens come faster than the clock tells"),
    ],
)
def test_where_no_time_passed_there_is_no_figure(tokens: Series, reason: str) -> None:
    figures = PROBE.figures(
        settings_of(PROBE, {"runs": "6", "new_tokens": "3"}), {"tokens": tokens, "begun": BEGUN}
    )
    assert [figure.note for figure in figures] == [reason] * 3
    assert {figure.source for figure in figures} == {"unavailable"}
    assert unfit(figures) is None


# ---- options -----------------------------------------------------------------------------------------


def test_it_asks_for_no_more_of_a_model_than_it_decodes() -> None:
    assert PROBE.demand(settings_of(PROBE, {"new_tokens": "100"})) == Demand(100)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("runs", "5", "5 runs show no drift: 6 or more"),
        ("runs", "-1", "-1 is negative"),
        ("interval", "-1", "-1 is no time in seconds"),
        ("interval", "inf", "inf is no time in seconds"),
        ("interval", "soon", "could not convert"),
        ("new_tokens", "1", "1"),
        ("new_tokens", "8,16", "one value only"),
    ],
)
def test_options_that_make_no_sense_are_refused(name: str, text: str, told: str) -> None:
    option = next(option for option in PROBE.options if option.name == name)
    with pytest.raises(ValueError, match=told):
        option.kind(text)
