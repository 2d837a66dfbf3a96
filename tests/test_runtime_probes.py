"""Probes of what a model costs: known times in, known figures out, and never a figure without its error."""

from __future__ import annotations

import itertools
import math
import random
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_session import Script, Scripted, settings_of, steady

from slmeval.api import Demand, Probe
from slmeval.errors import JobFailed, ModelError, UsageError
from slmeval.medians import LEAST
from slmeval.probe_figures import misfit, unfit
from slmeval.testing import evaluate
from slmeval.types import Figure, Measurement, RunOptions, Series, Timing, Workload
from slmeval_runtime import PROBES, RUNTIME, SURVEY, SURVEYED
from slmeval_runtime.batch import Batch
from slmeval_runtime.context import Context
from slmeval_runtime.decode import Decode
from slmeval_runtime.lines import slope
from slmeval_runtime.prefill import Prefill
from slmeval_runtime.timed import gathered
from slmeval_runtime.ttft import TimeToFirstToken

TIMED = tuple(
    probe
    for probe in (*PROBES, *SURVEYED)
    if isinstance(probe, (Prefill, Decode, TimeToFirstToken, Batch, Context))
)


def measured(session: Scripted, probe: Probe) -> tuple[Measurement, dict[str, Figure]]:
    """What was measured, and the figures that the series alone come to."""
    done = probe.measure(session)
    series = {each.name: each for each in done.series}
    assert len(series) == len(done.series)
    figures = probe.figures(session.settings, series)
    assert len({figure.name for figure in figures}) == len(figures)
    return done, {figure.name: figure for figure in figures}


def figures_of(probe: Probe, script: Script, given: Mapping[str, str] | None = None) -> dict[str, Figure]:
    return measured(Scripted(probe, script, given or {}), probe)[1]


def value(figures: Mapping[str, Figure], name: str) -> float:
    found = figures[name].value
    assert found is not None, figures[name].note
    return found


# ---- definitions -------------------------------------------------------------------------------------


def test_a_prefill_is_all_tokens_of_the_batch_over_the_time_until_the_logits() -> None:
    def script(workload: Workload, run: int) -> Timing:
        return Timing(0.25)

    probe = Prefill()
    session = Scripted(probe, script, {"prompt": "300", "depth": "100", "batch": "2"})
    done, figures = measured(session, probe)
    assert value(figures, "tokens_per_s") == 2 * 300 / 0.25
    assert value(figures, "latency") == 250.0
    assert figures["latency"].unit == "ms"
    assert figures["tokens_per_s"].unit == "tokens/s"
    assert {
        (len(each.prompts), len(each.prompts[0]), each.depth, each.new_tokens) for each in session.asked
    } == {(2, 400, 100, 0)}
    assert {each.name: set(each.values) for each in done.series} == {
        "prefill": {0.25},
        "warm-up of prefill": {0.25},
    }


def test_a_decode_of_n_tokens_has_n_minus_1_steps_and_never_n() -> None:
    """Times that no division by n, and none from the start of the clock, comes to."""
    times = (0.5, 0.6, 0.7, 0.8, 1.0)

    def script(workload: Workload, run: int) -> Timing:
        return Timing(0.45, times)

    figures = figures_of(Decode(), script, {"new_tokens": "5", "batch": "3"})
    for ending in ("", "_forced"):
        assert value(figures, f"latency{ending}") == pytest.approx(1000 * 0.5 / 4)
        assert value(figures, f"tokens_per_s{ending}") == pytest.approx(3 * 4 / 0.5)
    assert value(figures, "between_tokens") == pytest.approx(100.0)
    assert figures["between_tokens"].percentiles["p99"] == pytest.approx(200 - 0.03 * 100, abs=4)
    assert figures["latency"].unit == "ms/token"


@given(st.lists(st.lists(st.floats(1e-6, 10), min_size=4, max_size=4), min_size=LEAST, max_size=9))
def test_the_latency_of_decoding_is_the_median_of_what_the_series_says(runs: list[list[float]]) -> None:
    times = [list(itertools.accumulate(run)) for run in runs]
    probe = Decode()
    settings = settings_of(probe, {"new_tokens": "4"})
    series = Series("sampled", "s", tuple(itertools.chain(*times)))
    figures = {each.name: each for each in probe.figures(settings, {"sampled": series})}
    steps = [(run[-1] - run[0]) / 3 for run in times]
    assert value(figures, "latency") == pytest.approx(1000 * median(steps))
    assert value(figures, "tokens_per_s") == pytest.approx(median([1 / each for each in steps]))
    assert figures["latency"].n == len(runs)
    assert figures["latency_forced"].value is None


def test_decoding_starts_with_its_depth_in_the_cache_and_one_token() -> None:
    probe = Decode()
    session = Scripted(probe, steady(), {"depth": "64", "new_tokens": "8"})
    measured(session, probe)
    assert {(len(each.prompts[0]), each.depth, each.new_tokens) for each in session.asked} == {(65, 64, 8)}
    assert {bool(each.forced) for each in session.asked} == {True, False}


def test_the_series_of_decoding_are_all_tokens_run_after_run() -> None:
    def script(workload: Workload, run: int) -> Timing:
        return Timing(0.0, (float(run), run + 0.1, run + 0.2))

    probe = Decode()
    done, _ = measured(Scripted(probe, script, {"new_tokens": "3"}), probe)
    warm, kept = done.series[1].values, done.series[0].values
    assert [each.name for each in done.series[:2]] == ["sampled", "warm-up of sampled"]
    assert len(kept) >= 3 * LEAST
    assert (*warm, *kept) == tuple(
        run + tenths for run in range(1, (len(warm) + len(kept)) // 3 + 1) for tenths in (0.0, 0.1, 0.2)
    )


def test_the_first_token_counts_from_when_the_prompt_is_submitted_with_its_choice() -> None:
    def script(workload: Workload, run: int) -> Timing:
        assert workload.new_tokens == 1
        return Timing(0.2, (0.75 if run == 1 else 0.25,))

    probe = TimeToFirstToken()
    session = Scripted(probe, script, {"prompt": "32"})
    done, figures = measured(session, probe)
    assert value(figures, "ttft_warm") == 250.0
    assert value(figures, "ttft_cold") == 750.0
    assert session.opened == LEAST
    assert next(each for each in done.series if each.name == "ttft_cold").values == (0.75,) * LEAST


def test_throughput_of_a_batch_is_that_of_all_its_sequences() -> None:
    figures = figures_of(Batch(), steady(step=0.01), {"batch": "1,4"})
    assert value(figures, "step_latency@batch=4") == pytest.approx(10.0)
    assert value(figures, "tokens_per_s@batch=1") == pytest.approx(100.0)
    assert value(figures, "tokens_per_s@batch=4") == pytest.approx(400.0)


def test_the_slope_of_latency_is_what_a_thousand_tokens_of_depth_add() -> None:
    figures = figures_of(Context(), steady(step=0.01, depth=2e-6), {"depth": "0,100,1000"})
    assert value(figures, "latency@depth=0") == pytest.approx(10.0)
    assert value(figures, "latency@depth=1000") == pytest.approx(12.0)
    assert value(figures, "latency_slope") == pytest.approx(2.0)
    assert figures["latency_slope"].unit == "ms/token per 1,000 tokens"
    assert figures["latency_slope"].n == sum(figures[f"latency@depth={deep}"].n for deep in (0, 100, 1000))


# ---- where throughput stops growing --------------------------------------------------------------------


def noisy(steps: Mapping[int, float], spread: float) -> Script:
    """A step's seconds by the size of the batch, each run up to ``spread`` more or less of it."""
    draw = random.Random(7)

    def script(workload: Workload, run: int) -> Timing:
        step = steps[len(workload.prompts)] * draw.uniform(1 - spread, 1 + spread)
        return Timing(0.0, tuple(step * done for done in range(workload.new_tokens)))

    return script


def test_a_batch_is_large_enough_where_the_next_gains_less_than_a_twentieth() -> None:
    steps = {1: 0.010, 2: 0.010, 4: 0.0192, 8: 0.0384}
    figure = figures_of(Batch(), noisy(steps, 0.0))["saturating_batch"]
    assert (figure.value, figure.ci95, figure.note) == (2.0, (2.0, 2.0), "")


def test_noise_widens_what_is_said_of_the_batch_that_is_large_enough() -> None:
    steps = {1: 0.010, 2: 0.010, 4: 0.0192, 8: 0.0384}
    figure = figures_of(Batch(), noisy(steps, 0.3))["saturating_batch"]
    assert figure.ci95 is not None
    assert figure.value is not None
    assert figure.ci95[0] <= figure.value <= figure.ci95[1] == 8.0
    assert "may still grow" in figure.note


def test_throughput_that_grows_to_the_end_is_said_to() -> None:
    figure = figures_of(Batch(), steady())["saturating_batch"]
    assert figure.value == 8.0
    assert "may still grow" in figure.note


def test_one_size_tells_of_no_growth() -> None:
    figure = figures_of(Batch(), steady(), {"batch": "4"})["saturating_batch"]
    assert figure.source == "unavailable"
    assert "two sizes" in figure.note


# ---- what cannot be had --------------------------------------------------------------------------------


def unseen(workload: Workload, run: int) -> Timing:
    """As a server's times are."""
    return Timing(None, steady()(workload, run).tokens)


def instant(workload: Workload, run: int) -> Timing:
    """Too quick for the clock."""
    return Timing(0.0, (0.0,) * workload.new_tokens)


def in_bursts(workload: Workload, run: int) -> Timing:
    """Two tokens at a time, and each run longer than the one before."""
    return Timing(
        0.1 * run, tuple(0.1 * run + 0.01 * run * (done // 2) for done in range(workload.new_tokens))
    )


CIRCUMSTANCES: dict[str, tuple[Script, dict[str, object]]] = {
    "all is told": (steady(depth=1e-6), {}),
    "a server": (
        unseen,
        {"location": "http://127.0.0.1:8080/v1#model", "lacking": {"force": "no such thing"}},
    ),
    "nothing is forced": (steady(), {"lacking": {"force": "the engine chooses"}}),
    "no time passes": (instant, {}),
    "tokens in bursts": (in_bursts, {}),
    "a context without end": (steady(), {"context": 1 << 40}),
    "opening takes long": (steady(), {"opening": 50.0}),
}


@pytest.mark.parametrize("circumstance", CIRCUMSTANCES)
@pytest.mark.parametrize("probe", TIMED, ids=lambda probe: probe.name)
def test_each_figure_has_unit_n_interval_and_source_or_says_why_not(probe: Probe, circumstance: str) -> None:
    script, odd = CIRCUMSTANCES[circumstance]
    done, figures = measured(Scripted(probe, script, **odd), probe)  # type: ignore[arg-type]
    assert misfit(done) is None
    assert unfit(figures.values()) is None


@given(st.data())
@pytest.mark.parametrize("probe", TIMED, ids=lambda probe: probe.name)
def test_no_series_whatever_makes_a_figure_without_its_error(probe: Probe, data: st.DataObject) -> None:
    few = {"new_tokens": "3"} if any(option.name == "new_tokens" for option in probe.options) else {}
    session = Scripted(probe, steady(), few)
    names = [each.name for each in probe.measure(session).series if not each.name.startswith("warm-up")]
    numbers = st.one_of(st.floats(-1, 1e9), st.sampled_from([0.0, math.inf, math.nan]))
    series = {
        name: Series(name, "s", tuple(data.draw(st.lists(numbers, max_size=21))), note="cut")
        for name in data.draw(st.sets(st.sampled_from(names)))
    }
    assert unfit(probe.figures(session.settings, series)) is None


def test_a_server_shows_no_prefill_and_has_no_first_request_but_the_rest_is_measured() -> None:
    script, odd = CIRCUMSTANCES["a server"]
    for probe, missing in (
        (Prefill(), {"tokens_per_s", "latency"}),
        (Decode(), {"tokens_per_s_forced", "latency_forced"}),
        (TimeToFirstToken(), {"ttft_cold"}),
        (Batch(), set()),
        (Context(), set()),
    ):
        session = Scripted(probe, script, **odd)  # type: ignore[arg-type]
        _, figures = measured(session, probe)
        assert {name for name, each in figures.items() if each.source == "unavailable"} == missing
        assert {each.new_tokens for each in session.asked} != {0}
    assert "ttft" in figures_of(Prefill(), unseen)["latency"].note


def test_what_an_engine_cannot_force_says_why() -> None:
    probe = Decode()
    session = Scripted(probe, steady(), lacking={"force": "the engine chooses"})
    _, figures = measured(session, probe)
    assert figures["latency_forced"].note == "the engine chooses"
    assert not any(each.forced for each in session.asked)


def failing(most: int) -> Script:
    def script(workload: Workload, run: int) -> Timing:
        if len(workload.prompts) > most:
            raise JobFailed(f"no room for {len(workload.prompts)} sequences")
        return steady()(workload, run)

    return script


def test_a_batch_that_fails_is_unavailable_and_the_smaller_ones_are_measured() -> None:
    figures = figures_of(Batch(), failing(most=2))
    assert figures["tokens_per_s@batch=8"].note == "no room for 8 sequences"
    assert value(figures, "tokens_per_s@batch=2") == pytest.approx(200.0)
    assert value(figures, "saturating_batch") == 2.0


def refusing(error: BaseException) -> Script:
    """Of two sequences and more."""

    def script(workload: Workload, run: int) -> Timing:
        if len(workload.prompts) > 1:
            raise error
        return steady()(workload, run)

    return script


def test_what_no_model_can_be_opened_for_is_unavailable_and_the_rest_is_measured() -> None:
    figures = figures_of(Batch(), refusing(ModelError("m cannot be opened: out of memory")))
    assert figures["tokens_per_s@batch=2"].note == "m cannot be opened: out of memory"
    assert value(figures, "tokens_per_s@batch=1") == pytest.approx(100.0)


@pytest.mark.parametrize("error", [ZeroDivisionError("a defect"), KeyboardInterrupt()], ids=repr)
def test_what_is_no_refusal_goes_through(error: BaseException) -> None:
    with pytest.raises(type(error)):
        Batch().measure(Scripted(Batch(), refusing(error)))


def test_what_a_point_held_that_failed_is_given_back_before_the_next_is_measured() -> None:
    left = []

    def fails() -> Sequence[Series]:
        cache = {"keys and values"}
        left.append(weakref.ref(cache))
        raise JobFailed("no room")

    def measures() -> Sequence[Series]:
        return [Series("other", "s", (float(left[0]() is not None),))]

    one, other = gathered([("one", fails), ("other", measures)]).series
    assert (one.note, other.values) == ("no room", (0.0,))


@pytest.mark.parametrize("probe", TIMED, ids=lambda probe: probe.name)
def test_a_probe_of_which_nothing_can_be_measured_fails_with_the_first_reason(probe: Probe) -> None:
    with pytest.raises(JobFailed, match="no room for 1 sequences"):
        probe.measure(Scripted(probe, failing(most=0)))


def test_a_model_that_opens_slowly_is_not_opened_six_times() -> None:
    probe = TimeToFirstToken()
    session = Scripted(probe, steady(), opening=40.0)
    _, figures = measured(session, probe)
    assert session.opened == 2
    assert figures["ttft_cold"].note == (
        "opening the model and asking it 2 times took 81 s, and the 6 that are needed take about 243 s: "
        "give more than cold_budget=60"
    )
    assert value(figures, "ttft_warm") == pytest.approx(512.0)
    patient = Scripted(probe, steady(), {"cold_budget": "300"}, opening=40.0)
    assert value(measured(patient, probe)[1], "ttft_cold") == pytest.approx(512.0)


def test_a_model_that_slows_down_is_said_to_drift() -> None:
    def script(workload: Workload, run: int) -> Timing:
        slower = 0.01 * 1.1**run
        return Timing(slower, tuple(slower * done for done in range(workload.new_tokens)))

    for probe in (Prefill(), Decode()):
        figures = figures_of(probe, script)
        assert figures["latency"].verdict == "drifting"
        assert figures["tokens_per_s"].verdict == "drifting"
    assert figures_of(Prefill(), steady())["latency"].verdict == "stable"


def test_a_warm_up_that_did_not_settle_is_said() -> None:
    def script(workload: Workload, run: int) -> Timing:
        return Timing(0.1 * 0.9**run)

    assert "still getting faster after" in figures_of(Prefill(), script)["latency"].note


# ---- axes ----------------------------------------------------------------------------------------------


def test_axes_with_several_values_are_in_the_names_and_each_value_meets_each_other() -> None:
    figures = figures_of(Prefill(), steady(), {"prompt": "16,32", "batch": "1-4*2", "depth": "8"})
    assert {name for name in figures if name.startswith("latency")} == {
        f"latency@prompt={prompt},batch={batch}" for prompt in (16, 32) for batch in (1, 2, 4)
    }
    assert value(figures, "latency@prompt=32,batch=4") == pytest.approx(1000 * 0.001 * 32 * 4)


@pytest.mark.parametrize(
    ("probe", "given", "demand"),
    [
        (Prefill(), {}, Demand(512, 1)),
        (Prefill(), {"prompt": "8,4096", "depth": "0,100", "batch": "3"}, Demand(4196, 3)),
        (Decode(), {}, Demand(128, 1)),
        (Decode(), {"depth": "2048", "new_tokens": "50"}, Demand(2098, 1)),
        (TimeToFirstToken(), {"prompt": "512"}, Demand(512, 1)),
        (Batch(), {}, Demand(32, 8)),
        (Batch(), {"batch": "1-64*2", "depth": "100"}, Demand(132, 64)),
        (Context(), {}, None),
        (Context(), {"depth": "0,4096"}, Demand(4096 + 32, 1)),
    ],
)
def test_what_is_asked_of_a_model_at_the_most_is_known_beforehand(
    probe: Probe, given: dict[str, str], demand: Demand | None
) -> None:
    session = Scripted(probe, steady(), given, context=1 << 20)
    assert probe.demand(session.settings) == demand
    if demand:
        probe.measure(session)
        assert max(each.longest for each in session.asked) == demand.tokens
        assert max(len(each.prompts) for each in session.asked) == demand.sequences


@pytest.mark.parametrize(
    ("probe", "name", "text", "said"),
    [
        (Prefill(), "prompt", "0", "at least 1"),
        (Prefill(), "prompt", "many", "neither a whole number nor a range"),
        (Decode(), "new_tokens", "1", "1 is too small: at least 2"),
        (Decode(), "depth", "-1", "neither"),
        (Batch(), "batch", "1,1", "1 is given twice"),
        (Batch(), "depth", "0,512", "one value only"),
        (Context(), "depth", "", "neither"),
        (Context(), "batch", "1-2", "one value only"),
        (TimeToFirstToken(), "cold_budget", "0", "no time"),
        (Prefill(), "budget", "inf", "no time"),
    ],
)
def test_what_no_probe_can_vary_is_refused(probe: Probe, name: str, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        settings_of(probe, {name: text})


@pytest.mark.parametrize(
    ("context", "depths"),
    [(4096, "0 512 1024 2048"), (2048, "0 512 1024"), (600, "0 512"), (256, "0"), (16, "")],
)
def test_depths_that_nobody_gave_are_those_that_fit(context: int, depths: str) -> None:
    probe = Context()
    done, figures = measured(Scripted(probe, steady(depth=1e-6), context=context), probe)
    fit = depths.split()
    assert [name for name in figures if name != "latency_slope"] == [f"latency@depth={deep}" for deep in fit]
    assert bool(done.notes) == (len(fit) < 4)
    assert all(f"the model's context of {context}" in note for note in done.notes)
    if len(fit) > 1:
        assert value(figures, "latency_slope") == pytest.approx(1.0)
    else:
        had = "only the depth 0" if fit else "no depth"
        assert figures["latency_slope"].note.startswith(f"{had} could be measured, and a slope needs two")


def test_a_depth_that_was_given_and_does_not_fit_is_not_left_out_in_silence() -> None:
    probe = Context()
    session = Scripted(probe, steady(), {"depth": "0,64,512"}, context=256)
    assert probe.demand(session.settings) == Demand(544, 1)
    _, figures = measured(session, probe)
    assert figures["latency@depth=512"].note == "544 tokens are more than the model's context of 256"
    assert value(figures, "latency_slope") == pytest.approx(0.0, abs=1e-9)


# ---- the slope of a line -------------------------------------------------------------------------------


def test_a_line_is_found_exactly_and_one_wild_run_does_not_move_it() -> None:
    points = [(place, 3 * place + 1) for place in (0.0, 1.0, 2.0) for _ in range(6)]
    assert slope(points) == (3.0, 3.0, 3.0)
    assert slope([*points, (2.0, 1000.0)])[0] == pytest.approx(3.0)


def test_one_place_has_no_slope() -> None:
    with pytest.raises(ValueError, match="no slope"):
        slope([(1.0, 2.0), (1.0, 3.0)])


@pytest.mark.parametrize("places", [(0.0, 1.0), (0.0, 0.5, 1.0, 2.0)], ids=str)
def test_the_interval_of_a_slope_covers_the_truth_as_often_as_it_says(places: Sequence[float]) -> None:
    draw = random.Random(5)

    def covers() -> bool:
        noise = (draw.gauss(0, 1) + 5 * (draw.random() < 0.05) for _ in itertools.count())
        _, low, high = slope([(place, 2 * place + next(noise)) for place in places for _ in range(8)])
        return low <= 2 <= high

    covered = sum(covers() for _ in range(400)) / 400
    assert 0.92 <= covered <= 0.99


# ---- in a run ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_measures_them_on_a_real_engine_beside_each_other(tmp_path: Path) -> None:
    quick = {
        "prompt": "16,24",
        "new_tokens": "4",
        "budget": "0.2",
        "batch.batch": "1,2",
        "context.depth": "0,32",
    }
    options = RunOptions(
        backends=("reference",),
        tasks=("prefill", "decode", "ttft", "batch", "context"),
        engine_options=quick,
        executor="local",
    )
    run = evaluate(options, tmp_path / "store.db")
    assert not run.failures
    found = {cell.name: {figure.name: figure for figure in cell.figures} for cell in run.cells}
    assert {name: len(figures) for name, figures in found.items()} == {
        "prefill": 4,
        "decode": 5,
        "ttft": 4,
        "batch": 5,
        "context": 3,
    }
    for figure in (figure for figures in found.values() for figure in figures.values()):
        assert figure.source == "measured", figure
        assert figure.n >= LEAST
    # the same four tokens, forced and not: the reference backend chooses in either case. Both are brief, and
    # the machine may be held up in one of them
    again = replace(options, tasks=("decode",))
    decoded = itertools.chain(
        [found["decode"]],
        (
            {figure.name: figure for figure in evaluate(again, tmp_path / "store.db").cells[0].figures}
            for _ in range(9)
        ),
    )
    ratios = (value(each, "latency_forced") / value(each, "latency") for each in decoded)
    assert any(1 / 5 < ratio < 5 for ratio in ratios)


def test_what_does_not_fit_the_model_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    options = RunOptions(
        backends=("reference",), tasks=("prefill",), engine_options={"prompt": "4096"}, executor="local"
    )
    with pytest.raises(UsageError, match=r"4,?096.*2,?048"):
        evaluate(options, tmp_path / "store.db")


def test_the_groups_name_probes_that_there_are() -> None:
    names = {probe.name for probe in (*PROBES, *SURVEYED)}
    assert len(names) == len(PROBES) + len(SURVEYED)
    assert {"prefill", "decode", "ttft", "batch", "context", "stability"} <= set(RUNTIME.members) <= names
    assert {"prefill_survey", "decode_survey", "ttft_survey"} <= set(SURVEY.members) <= names
    assert "memory" in SURVEY.members


@pytest.mark.slow
def test_of_a_server_what_a_client_sees_is_measured_and_the_rest_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("httpx2", reason="httpx2 is not installed")
    from streaming_server import StreamingServer

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with StreamingServer(pace=0.01) as server:
        options = RunOptions(
            backends=("openai",),
            models=(server.url,),
            tasks=("prefill", "decode", "ttft", "batch", "context"),
            engine_options={"prompt": "16", "new_tokens": "8", "budget": "0.5", "context.depth": "0,32"},
            executor="local",
        )
        run = evaluate(options, tmp_path / "store.db")
    assert not run.failures
    found = {f"{cell.name} {figure.name}": figure for cell in run.cells for figure in cell.figures}
    assert {name for name, figure in found.items() if figure.source == "unavailable"} == {
        "prefill tokens_per_s",
        "prefill latency",
        "decode tokens_per_s_forced",
        "decode latency_forced",
        "ttft ttft_cold",
    }
    # each token comes in an event of its own, one each 10 ms, unless its reader was late for the first
    for name in (
        "decode latency",
        "decode between_tokens",
        "batch step_latency@batch=2",
        "context latency@depth=32",
    ):
        assert value(found, name) >= 1.0, name
