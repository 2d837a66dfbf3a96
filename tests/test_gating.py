"""A run held against rules: what is decided, what is not, and what the sentence says of it."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from example_runs import accuracy, cell, model
from gate_runs import of, peak, probe, scored, scores, weights

from slmeval.baselines import baseline_of
from slmeval.default_rules import default_rules, forgotten
from slmeval.errors import UnknownName, UsageError
from slmeval.gating import judge
from slmeval.medians import median_figure
from slmeval.rules import parse_rule
from slmeval.sequences import look_levels
from slmeval.types import Conditions, Failure, Figure, RunOptions, RunResult, Stop
from slmeval.verdicts import GateReport, Judged

BASE = of(scored("arc_easy", scores(2000, 0.5)), id="base")


def gate(run: RunResult, *rules: str, baseline: RunResult | None = BASE, **options: object) -> GateReport:
    return judge(run, [parse_rule(rule) for rule in rules], baseline, **options)  # type: ignore[arg-type]


def one(run: RunResult, rule: str, baseline: RunResult | None = BASE, **options: object) -> Judged:
    (judged,) = gate(run, rule, baseline=baseline, **options).judged
    return judged


def changed(lost: int, gained: int = 0, **changes: object) -> RunResult:
    return of(scored("arc_easy", scores(2000, 0.5, lost=lost, gained=gained), **changes), id="now")


# ---- against a baseline, item by item --------------------------------------------------------------------


def test_the_same_scores_keep_the_baseline_and_every_tolerance() -> None:
    for rule in ("acc >= baseline", "acc >= baseline - 1pt", "acc >= 98% * baseline", "acc <= baseline"):
        judged = one(changed(0), f"arc_easy/{rule}")
        assert judged.answer == "pass"
        assert "all 2,000 items have the same score as in the baseline" in judged.sentence
    assert one(changed(0), "arc_easy/acc > baseline").answer == "fail"


def test_a_drop_that_chance_cannot_explain_fails() -> None:
    judged = one(changed(100, 40), "arc_easy/acc >= baseline")
    assert judged.answer == "fail"
    assert judged.excess is not None
    assert judged.excess.high < 0
    assert "-3.00 points (95% interval" in judged.sentence
    assert "2,000 items, 140 of them with another score" in judged.sentence
    assert judged.sentence.endswith("all of it is below the limit of 0")
    assert judged.value == pytest.approx(judged.baseline - 0.03)  # type: ignore[operator]


def test_a_tolerance_that_is_wide_enough_passes() -> None:
    judged = one(changed(20, 10), "arc_easy/acc >= baseline - 3pt")
    assert judged.answer == "pass"
    assert judged.sentence.endswith("none of it is below the limit of -3.00 points")
    assert judged.limit == pytest.approx(judged.baseline - 0.03)  # type: ignore[operator]


def test_what_is_not_decided_says_what_would_decide_it() -> None:
    judged = one(changed(22, 18), "arc_easy/acc >= baseline - 0.5pt")
    assert judged.answer == "inconclusive"
    assert "the limit of -0.50 points lies in it" in judged.sentence
    assert "items would decide it, if the difference stays as it is" in judged.sentence
    told = judged.sentence.partition("it would pass with >= ")[2].partition(";")[0]
    assert one(changed(22, 18), f"arc_easy/acc >= {told}").answer == "pass"


def test_a_lower_limit_of_a_factor_is_told_as_a_share_of_the_baseline() -> None:
    judged = one(changed(100, 40), "arc_easy/acc >= 98% * baseline")
    assert judged.answer == "fail"
    assert "93.86% of it (95% interval" in judged.sentence
    doubtful = one(changed(30, 10), "arc_easy/acc >= 0.98 * baseline")
    assert doubtful.answer == "inconclusive"
    told = doubtful.sentence.partition("it would pass with >= ")[2].partition(";")[0]
    assert told.endswith(" * baseline")
    assert one(changed(30, 10), f"arc_easy/acc >= {told}").answer == "pass"


def test_a_factor_and_an_offset_make_one_limit() -> None:
    judged = one(changed(100, 40), "arc_easy/acc >= 0.9 * baseline - 1pt")
    assert judged.answer == "pass"
    assert judged.limit == pytest.approx(0.9 * judged.baseline - 0.01)  # type: ignore[operator]


def test_an_upper_limit_is_broken_from_above() -> None:
    assert one(changed(40, 100), "arc_easy/acc <= baseline + 1pt").answer == "fail"
    assert one(changed(100, 40), "arc_easy/acc <= baseline + 1pt").answer == "pass"


def test_scores_that_are_no_shares_are_paired_too() -> None:
    drawn = random.Random(3)
    nats = [drawn.gauss(2.0, 0.5) for _ in range(300)]
    column = scored("wikitext", nats, "bits_per_byte")
    worse = scored("wikitext", [each + 0.05 for each in nats], "bits_per_byte")
    judged = one(of(worse), "wikitext/bits_per_byte <= baseline + 0.01", of(column))
    assert judged.answer == "fail"
    assert judged.excess is not None
    # each item is worse by the same: what both have in common is no error of their difference
    assert judged.excess.high - judged.excess.low < 1e-6


def test_a_baseline_file_is_as_good_as_its_run() -> None:
    rules = [parse_rule("arc_easy/acc >= baseline")]
    for base in (BASE, baseline_of(BASE)):
        assert judge(changed(100, 40), rules, base).judged == judge(changed(100, 40), rules, BASE).judged


def test_groups_are_paired_through_their_members() -> None:
    def run(lost: int) -> RunResult:
        members = [scored(name, scores(400, 0.5, lost=lost, seed=n)) for n, name in enumerate(("a", "b"))]
        mean = sum(each.figures[0].value or 0 for each in members) / 2
        whole = cell("both", kind="group", members=("a", "b"), n=800, figures=(accuracy("acc", mean, 800),))
        return of(*members, whole)

    judged = one(run(24), "both/acc >= baseline", run(0))
    assert judged.answer == "fail"
    assert "800 items, 48 of them with another score" in judged.sentence


def test_what_was_asked_in_chat_is_told_apart() -> None:
    def run(lost: int) -> RunResult:
        in_chat = scored("arc_easy", scores(2000, 0.5, lost=lost), chat="on")
        return of(scored("arc_easy", scores(2000, 0.5)), in_chat)

    plain, chat = gate(run(60), "arc_easy/acc >= baseline", baseline=run(0)).judged
    assert (plain.answer, chat.answer) == ("pass", "fail")
    assert chat.sentence.startswith("in chat: ")
    assert (plain.cell, chat.cell) == ("arc_easy@0", "arc_easy@0 in chat")


# ---- limits that are numbers -----------------------------------------------------------------------------


def test_a_number_is_held_against_the_figures_own_interval() -> None:
    assert one(changed(0), "arc_easy/acc >= 0.30", None).answer == "pass"
    assert one(changed(0), "arc_easy/acc >= 60%", None).answer == "fail"
    doubtful = one(changed(0), "arc_easy/acc >= 0.5", None)
    assert doubtful.answer == "inconclusive"
    assert "it would pass with >= 46.6%" in doubtful.sentence
    assert one(changed(0), "arc_easy/acc >= 46.6%", None).answer == "pass"


def test_rules_that_need_a_baseline_do_not_go_without() -> None:
    with pytest.raises(UsageError, match="needs a baseline: name one with --baseline FILE"):
        gate(changed(0), "arc_easy/acc >= baseline", baseline=None)


# ---- what is exact, and what is measured with a spread ---------------------------------------------------


def test_what_is_the_same_each_time_is_decided_exactly() -> None:
    base = of(probe(weights(28.0)))
    for now, answer in ((28.0, "pass"), (28.1, "fail"), (27.9, "pass")):
        judged = one(of(probe(weights(now))), "memory/weights <= baseline", base)
        assert judged.answer == answer
        assert "the same each time" in judged.sentence
    assert one(of(probe(weights(29.4))), "memory/weights <= 1.05 * baseline", base).answer == "pass"
    assert one(of(probe(weights(28.0))), "memory/weights <= 28 MiB", None).answer == "pass"
    assert one(of(probe(weights(28.0))), "memory/weights <= 0.02 GiB", None).answer == "fail"


def test_amounts_with_a_spread_are_held_against_each_other_with_both_errors() -> None:
    base = of(probe(peak(180.0, 180.4, 180.1, 180.3, 180.2, 180.2)))
    near = one(
        of(probe(peak(181.0, 181.5, 181.2, 181.1, 181.4, 181.3))), "memory/peak <= 1.05 * baseline", base
    )
    assert near.answer == "pass"
    assert "6 values on each side" in near.sentence
    assert "below" not in near.sentence
    more = of(probe(peak(199.0, 201.0, 200.0, 200.5, 199.5, 200.2)))
    assert one(more, "memory/peak <= 1.05 * baseline", base).answer == "fail"
    wide = one(of(probe(peak(180, 200, 190, 185, 195, 188))), "memory/peak <= 1.05 * baseline", base)
    assert wide.answer == "inconclusive"
    told = wide.sentence.partition("it would pass with <= ")[2]
    assert one(of(probe(peak(180, 200, 190, 185, 195, 188))), f"memory/peak <= {told}", base).answer == "pass"


def test_few_values_are_less_sure_than_from_the_smallest_to_the_largest() -> None:
    few = one(of(probe(peak(180.0, 184.0))), "memory/peak <= 186 MiB", None)
    assert few.answer == "inconclusive"
    assert few.excess is not None
    assert few.excess.high > 0


def test_probes_that_were_told_otherwise_are_not_comparable_even_on_what_is_shared() -> None:
    here, there = (of(probe(weights(), settings={"context": size})) for size in (512, 2048))
    for shared in (False, True):
        with pytest.raises(UsageError, match="memory: setting context: 2048 and 512"):
            gate(here, "memory/weights <= baseline", baseline=there, shared=shared)


def rate(*values: float, seconds: float | None = 0.01) -> RunResult:
    """A run that measured how fast the model writes; ``seconds`` is what the yardstick took beside it."""
    figure = median_figure("tokens_per_s", values, unit="tokens/s", higher_is_better=True)
    yard = {} if seconds is None else {"arithmetic": tuple(seconds * (1 + n / 1000) for n in range(24))}
    return of(probe(figure, name="decode", conditions=(Conditions(0.0, yardstick=yard),)), models=(model(),))


def test_a_time_is_held_against_a_stored_one_only_where_the_machine_is_unchanged() -> None:
    before = rate(50.0, 50.5, 51.0, 50.2, 50.3, 50.8)
    slower = (40.0, 40.5, 41.0, 40.2, 40.3, 40.8)
    assert one(rate(*slower), "decode/tok_s >= 0.95 * baseline", before).answer == "fail"
    for seconds, reason in ((0.012, "has changed"), (None, "the run has no yardstick of its machine")):
        judged = one(rate(*slower, seconds=seconds), "decode/tok_s >= 0.95 * baseline", before)
        assert judged.answer == "inconclusive"
        assert "40.40 tokens/s against 50.40 tokens/s in the baseline, not decided: " in judged.sentence
        assert reason in judged.sentence
        assert (judged.value, judged.baseline) == (40.4, 50.4)


def test_a_limit_of_time_alone_says_that_it_is_of_this_machine() -> None:
    judged = one(rate(50.0, 50.5, 51.0, 50.2, 50.3, 50.8), "decode/tok_s >= 20", None)
    assert judged.answer == "pass"
    assert "6 values, on this machine" in judged.sentence


# ---- what has no value, and what failed ------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_figure_without_a_value_never_passes(value: float | None) -> None:
    figure = Figure("acc", value, None, None, 0, "", "measured" if value else "unavailable", "no text")
    run = of(scored("arc_easy", scores(2000, 0.5), figures=(figure,)))
    for rule, base in (("acc >= baseline", BASE), ("acc >= 0", None), ("acc <= 1", None)):
        judged = one(run, f"arc_easy/{rule}", base)
        assert judged.answer == "inconclusive"
        assert judged.value is None
        assert "no value" in judged.sentence


def test_a_baseline_without_a_value_decides_nothing() -> None:
    figure = Figure("acc", None, None, None, 0, "", "unavailable", "all answers were cut")
    base = of(scored("arc_easy", scores(2000, 0.5), figures=(figure,)))
    judged = one(changed(0), "arc_easy/acc >= baseline", base)
    assert judged.answer == "inconclusive"
    assert "the baseline has no value: all answers were cut" in judged.sentence


def test_a_figure_with_no_interval_decides_nothing() -> None:
    figure = Figure("acc", 0.5, None, None, 1, "", note="one item has no error")
    judged = one(of(cell(figures=(figure,))), "arc_easy/acc >= 0.1", None)
    assert judged.answer == "inconclusive"
    assert "it has no interval (one item has no error)" in judged.sentence


def test_what_a_failed_job_did_not_measure_is_inconclusive_with_its_reason() -> None:
    run = of(status="failed", failures=(Failure("reference", "tiny", "the worker was ended by SIGKILL"),))
    judged = one(run, "arc_easy/acc >= baseline")
    assert (judged.answer, judged.model) == ("inconclusive", "tiny")
    assert "it was not measured: the worker was ended by SIGKILL" in judged.sentence
    # with nothing to tell what the task's cell would have been
    assert one(run, "arc_easy/acc >= 0.3", None).answer == "inconclusive"
    assert one(run, "new/acc >= 0.3").answer == "inconclusive"
    with pytest.raises(UnknownName, match="did you mean 'arc_easy/acc'"):
        gate(run, "arc_esy/acc >= baseline")


def test_of_a_pattern_the_part_that_failed_is_not_forgotten() -> None:
    base = of(scored("a", scores(200, 0.5)), scored("b", scores(200, 0.5)))
    run = of(base.cells[0], status="failed", failures=(Failure("reference", "tiny", "b@0: too long"),))
    report = gate(run, "*/acc >= baseline", baseline=base)
    assert [(each.task, each.answer) for each in report.judged] == [("a", "pass"), ("b", "inconclusive")]
    assert report.answer == "inconclusive"


def test_of_a_pattern_against_a_number_what_failed_is_not_forgotten() -> None:
    failures = (Failure("reference", "tiny", "b@0: too long"),)
    run = of(scored("a", scores(200, 0.5)), status="failed", failures=failures)
    assert gate(run, "*/acc >= 0.2", baseline=None).answer == "inconclusive"
    assert gate(run, "a/acc >= 0.2", baseline=None).answer == "pass"


def test_a_gate_without_rules_does_not_forget_what_failed() -> None:
    base = of(scored("a", scores(200, 0.5)), scored("b", scores(200, 0.5)))
    run = of(base.cells[0], status="failed", failures=(Failure("reference", "tiny", "b@0: too long"),))
    report = judge(run, default_rules(run, base), base)
    assert [(each.task, each.answer) for each in report.judged] == [("a", "pass"), ("b", "inconclusive")]


def test_models_that_an_interrupted_run_did_not_come_to_are_not_forgotten() -> None:
    options = RunOptions(backends=("reference",), models=("tiny", "other"))
    run = changed(0)
    report = gate(replace(run, status="interrupted", options=options), "arc_easy/acc >= baseline")
    assert [each.answer for each in report.judged] == ["pass", "inconclusive"]
    assert report.judged[1].sentence.endswith(f"slmeval run --resume {run.id}")
    whole = replace(run, status="interrupted", options=replace(options, models=("tiny",)))
    assert gate(whole, "arc_easy/acc >= baseline").answer == "pass"


def test_that_no_item_differs_decides_nothing_where_more_were_to_be_asked() -> None:
    stop = Stop(100, 2000, 1, 10, 0.95, "acc is known to ±10 points")
    run = of(scored("arc_easy", scores(2000, 0.5)[:100], stop=stop))
    judged = one(run, "arc_easy/acc >= baseline")
    assert judged.answer == "inconclusive"
    assert "100 items, 0 of them with another score" in judged.sentence
    assert one(run, "arc_easy/acc >= baseline - 5pt").answer == "pass"


def test_of_a_pattern_what_the_run_did_not_ask_is_noted() -> None:
    base = of(scored("a", scores(200, 0.5)), scored("b", scores(200, 0.5)))
    report = gate(of(base.cells[0]), "*/acc >= baseline", baseline=base)
    assert report.answer == "pass"
    assert "the baseline also has b@0" in report.notes[0]


def test_a_rule_on_what_nobody_measured_tells_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match="did you mean 'arc_easy/acc'"):
        gate(changed(0), "arc_esy/acc >= baseline")
    with pytest.raises(UnknownName, match="figure of the baseline"):
        gate(of(scored("new", scores(99, 0.5))), "new/acc >= baseline")


# ---- comparable or not -----------------------------------------------------------------------------------


def test_runs_that_were_asked_otherwise_are_refused_with_all_that_differs() -> None:
    other = changed(0, version="2.0")
    with pytest.raises(UsageError, match=r"arc_easy@0: task version: 1\.0 and 2\.0"):
        gate(other, "arc_easy/acc >= baseline")
    fewer = of(scored("arc_easy", scores(2000, 0.5)[:500]))
    with pytest.raises(UsageError, match="items: 2,000 and 500, of which 500 are the same"):
        gate(fewer, "arc_easy/acc >= baseline")


def test_what_the_baseline_has_and_the_run_was_not_asked_is_not_forgotten() -> None:
    asked = scored("arc_easy", scores(2000, 0.5))
    both = of(asked, scored("piqa", scores(100, 0.5)), id="then")
    assert forgotten(of(asked), both) == ["reference:tiny was not asked what the baseline was: piqa@0"]
    assert forgotten(both, both) == []
    other = of(asked, scored("arc_easy", scores(2000, 0.5), model="other"), id="then")
    assert forgotten(of(asked), other) == [
        "nothing of this run is held against reference:other of the baseline"
    ]


def test_what_is_shared_is_compared_when_asked() -> None:
    fewer = of(scored("arc_easy", scores(2000, 0.5)[:500]))
    report = gate(fewer, "arc_easy/acc >= baseline", shared=True)
    # that none of these differs does not say that none of the others would
    assert report.answer == "inconclusive"
    report = gate(fewer, "arc_easy/acc >= baseline - 2pt", shared=True)
    assert report.answer == "pass"
    assert "500 items" in report.judged[0].sentence
    assert "held against the baseline on what both have (items: 2,000 and 500" in report.notes[0]


def test_a_run_that_was_stopped_early_has_the_interval_of_its_look() -> None:
    level = look_levels(10)[3]
    half = scores(2000, 0.5, lost=60, gained=30)[:800]
    run = of(scored("arc_easy", half, stop=Stop(800, 2000, 4, 10, level, "its rule is decided")))
    judged = one(run, "arc_easy/acc >= baseline")
    assert judged.excess is not None
    assert judged.excess.level == level
    assert judged.excess.n == 800
    assert f"{100 * level:.2f}".rstrip("0") in judged.sentence
    absolute = one(run, "arc_easy/acc >= 0.3", None)
    assert absolute.excess is not None
    assert absolute.excess.level == level


def test_figures_without_scores_by_item_are_compared_unpaired_and_it_is_said() -> None:
    base, now = (of(cell(figures=(accuracy("acc", value, 2000),))) for value in (0.5, 0.44))
    judged = one(now, "arc_easy/acc >= baseline", base)
    assert judged.answer == "fail"
    assert "unpaired: arc_easy@0 has no scores by item" in judged.sentence


# ---- several models --------------------------------------------------------------------------------------


def two(lost: int = 0, lost_there: int = 0, **changes: object) -> RunResult:
    here = scored("arc_easy", scores(2000, 0.5, lost=lost))
    there = scored("arc_easy", scores(2000, 0.5, lost=lost_there, seed=2), backend="hf")
    return of(here, there, models=(model(), model(backend="hf")), **changes)


def test_several_models_are_held_against_those_of_their_name() -> None:
    report = gate(two(60), "arc_easy/acc >= baseline", baseline=two())
    assert [(each.backend, each.answer) for each in report.judged] == [("reference", "fail"), ("hf", "pass")]


def test_one_model_is_held_against_one_whatever_they_are_called() -> None:
    assert one(changed(60, model="tiny-q2", backend="llamacpp"), "arc_easy/acc >= baseline").answer == "fail"


def test_a_model_that_the_baseline_lacks_is_refused() -> None:
    with pytest.raises(UsageError, match="hf:other of run now is none of those that base has"):
        gate(
            changed(0, model="other", backend="hf"),
            "arc_easy/acc >= baseline",
            baseline=replace(two(), id="base"),
        )


def test_recovery_is_told_in_percent_of_the_base_model() -> None:
    q8, base = scores(2000, 0.5, lost=10, gained=8), scores(2000, 0.5)
    run = of(scored("arc_easy", base), scored("arc_easy", q8, model="tiny-q8", backend="llamacpp"))
    (judged,) = gate(
        run, "arc_easy/acc >= 98% * baseline", baseline=None, recovery_of="reference:tiny"
    ).judged
    assert (judged.model, judged.answer) == ("tiny-q8", "pass")
    assert "in the base model: 99.8% of it (95% interval" in judged.sentence
    (plain,) = gate(run, "arc_easy/acc >= baseline - 2pt", baseline=None, recovery_of="tiny").judged
    assert "99.8% of it" in plain.sentence


def test_a_recovery_needs_a_base_and_another_model() -> None:
    with pytest.raises(UnknownName, match="base model of this run"):
        gate(two(), "arc_easy/acc >= baseline", baseline=None, recovery_of="tny")
    with pytest.raises(UsageError, match="may mean reference:tiny, hf:tiny"):
        gate(two(), "arc_easy/acc >= baseline", baseline=None, recovery_of="tiny")
    with pytest.raises(UsageError, match="has no other model"):
        gate(changed(0), "arc_easy/acc >= baseline", baseline=None, recovery_of="tiny")


# ---- several rules ---------------------------------------------------------------------------------------


def many(tasks: int, lost: int, gained: int, worse: int = 1) -> tuple[RunResult, RunResult]:
    """So many tasks, of which ``worse`` changed."""
    names = [f"t{number}" for number in range(tasks)]
    base = of(*(scored(name, scores(1000, 0.5, seed=n)) for n, name in enumerate(names)))
    quiet = 20
    now = of(
        *(
            scored(
                name,
                scores(
                    1000,
                    0.5,
                    seed=n,
                    lost=lost if n < worse else quiet,
                    gained=gained if n < worse else quiet,
                ),
            )
            for n, name in enumerate(names)
        )
    )
    return base, now


def test_of_many_rules_one_must_be_surer_to_fail() -> None:
    base, now = many(20, 32, 16)
    assert one(now, "t0/acc >= baseline", base).answer == "fail"
    report = gate(now, "*/acc >= baseline", baseline=base)
    assert report.answer == "inconclusive"
    assert "alone it would fail, but of 20 rules chance breaks one more often" in report.judged[0].sentence


def test_of_many_rules_a_large_drop_fails_and_several_help_each_other() -> None:
    base, now = many(20, 60, 10)
    assert gate(now, "*/acc >= baseline", baseline=base).judged[0].answer == "fail"
    base, now = many(20, 36, 14, worse=20)
    assert gate(now, "*/acc >= baseline", baseline=base).count("fail") == 20


def test_a_gate_without_a_true_difference_fails_seldom_however_many_rules_it_has() -> None:
    drawn = random.Random(11)
    gates, failed = 150, 0
    for _ in range(gates):
        base, now = [], []
        for task in range(8):
            first = [float(drawn.random() < 0.5) for _ in range(200)]
            # one in five items is answered anew, as likely right as before
            second = [float(drawn.random() < 0.5) if drawn.random() < 0.2 else each for each in first]
            base.append(scored(f"t{task}", first))
            now.append(scored(f"t{task}", second))
        failed += gate(of(*now), "*/acc >= baseline", baseline=of(*base)).answer == "fail"
    # without the correction it would be near 1 - 0.975**8 = 18%, that is 27
    assert failed <= 0.05 * gates + 5
