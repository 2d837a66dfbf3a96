"""The rules of a gate: what each text means, and what is said to one that means nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from example_runs import cell
from hypothesis import given
from hypothesis import strategies as st
from quickness import takes_less

from slmeval.cli.output import complain
from slmeval.errors import UnknownName, UsageError
from slmeval.rules import EXAMPLE, Rule, figure_of, matching, parse_rule, read_rules
from slmeval.types import Figure

PEAK = Figure("peak", 812.5, 1.0, (810.0, 815.0), 6, "MiB", higher_is_better=False)
SPEED = Figure("tokens_per_s@depth=512", 41.0, 1.0, (40.0, 42.0), 6, "tokens/s", higher_is_better=True)
MATCH = Figure("exact_match:pass@4/robust", 0.5, 0.1, (0.3, 0.7), 20, "", higher_is_better=True)
NOTHING = Figure("decode", None, None, None, 0, "", "unavailable", "a server tells no times")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("arc_easy/acc_norm >= baseline - 1pt", ("arc_easy", None, "acc_norm", ">=", 1.0, -1.0, "pt")),
        ("arc_easy/acc_norm>=baseline-1pt", ("arc_easy", None, "acc_norm", ">=", 1.0, -1.0, "pt")),
        ("arc_easy@5/acc >= 30%", ("arc_easy", 5, "acc", ">=", None, 30.0, "%")),
        ("arc_easy/acc_norm > 0.30", ("arc_easy", None, "acc_norm", ">", None, 0.3, "")),
        ("decode/tok_s >= 0.95 * baseline", ("decode", None, "tokens_per_s", ">=", 0.95, 0.0, "")),
        ("decode/tok_s@depth=512 >= 95% * baseline", ("decode", None, SPEED.name, ">=", 0.95, 0.0, "")),
        (
            "decode/tokens_per_s@depth=512 >= baseline * 95%",
            ("decode", None, SPEED.name, ">=", 0.95, 0.0, ""),
        ),
        ("decode/tok_s_forced >= 9", ("decode", None, "tokens_per_s_forced", ">=", None, 9.0, "")),
        ("mine/tok_score >= 9", ("mine", None, "tok_score", ">=", None, 9.0, "")),
        ("memory/peak <= 1.05 * baseline + 2 MiB", ("memory", None, "peak", "<=", 1.05, 2.0, "MiB")),
        ("memory/peak < 900MiB", ("memory", None, "peak", "<", None, 900.0, "MiB")),
        ("*/margin >= -1.5e-1 nats", ("*", None, "margin", ">=", None, -0.15, "nats")),
        ("gsm8k/exact_match:pass@4/robust >= .5", ("gsm8k", None, MATCH.name, ">=", None, 0.5, "")),
        ("t/acc_slope >= 0.01 per shot", ("t", None, "acc_slope", ">=", None, 0.01, "per shot")),
        ("t/latency <= 20 ms/token", ("t", None, "latency", "<=", None, 20.0, "ms/token")),
    ],
)
def test_a_rule_is_read_as_it_is_meant(text: str, rule: tuple[object, ...]) -> None:
    task, shots, figure, op, factor, amount, unit = rule
    assert parse_rule(text) == Rule(text, task, shots, figure, op, factor, amount, unit)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no >=, <=, > or < in it"),
        ("arc/acc = 0.3", "there is no >=, <=, > or < in it"),
        ("arc/acc == 0.3", "== is none of >=, <=, > and <"),
        ("arc/acc => 0.3", "=> is none of >=, <=, > and <"),
        ("arc/acc ≥ 0.3", "≥ is none of >=, <=, > and <"),
        ("acc >= 0.3", "'acc' is not TASK/FIGURE or TASK@SHOTS/FIGURE"),
        ("/acc >= 0.3", "'/acc' is not TASK/FIGURE"),
        ("arc/ >= 0.3", "'arc/' is not TASK/FIGURE"),
        ("0.2 <= arc/acc <= 0.3", "'0.2' is not TASK/FIGURE"),
        ("arc@few/acc >= 0.3", "'few' is no number of shots"),
        ("arc@²/acc >= 0.3", "'²' is no number of shots"),
        ("arc@/acc >= 0.3", "'' is no number of shots"),
        ("arc/acc >=", "'' is no limit"),
        ("arc/acc >= nan", "'nan' is no limit"),
        ("arc/acc >= -inf", "'-inf' is no limit"),
        ("arc/acc >= 1e999", "'1e999' is no finite number"),
        ("arc/acc >= 0.3 >= 0.2", "'0.3 >= 0.2' is no limit"),
        ("arc/acc >= 1,000", "'1,000' is no limit"),
        ("arc/acc >= ٣", "'٣' is no limit"),
        ("arc/acc >= basline - 1pt", "'basline - 1pt' is no limit"),
        ("arc/acc >= 0.98 baseline", "'0.98 baseline' is no limit"),
        ("arc/acc >= baseline / 2", "'baseline / 2' is no limit"),
        ("arc/acc >= baseline - -1pt", "'baseline - -1pt' is no limit"),
        ("arc/acc >= __import__('os')", "is no limit"),
        ("arc/acc >= 2 * baseline * 2", "baseline has a factor on each side"),
        ("arc/acc >= 0 * baseline", "0 times the baseline is no limit"),
        (
            "arc/acc >= baseline - 2%",
            "2% of what? write 98% * baseline, or baseline - 2pt for percentage points",
        ),
        ("arc/acc <= baseline + 5%", "5% of what? write 105% * baseline, or baseline + 5pt for percentage"),
        (f"arc/acc >= {'1' * 30}", "has more digits than any figure"),
        (f"{'a' * 400}/acc >= 1", "it has 409 characters, and 300 are enough for a rule"),
    ],
)
def test_what_is_no_rule_is_told_in_one_sentence_with_a_right_one(text: str, reason: str) -> None:
    with pytest.raises(UsageError) as told:
        parse_rule(text)
    assert reason in str(told.value)
    assert EXAMPLE in str(told.value)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400


def test_a_right_rule_is_shown_and_is_right() -> None:
    assert parse_rule(EXAMPLE).needs_baseline


@given(st.text(max_size=400))
def test_any_text_is_a_rule_or_a_sentence_at_once(text: str) -> None:
    assert told_of(text).isprintable()
    assert takes_less(lambda: told_of(text), 0.5)


def told_of(text: str) -> str:
    try:
        return parse_rule(text).text
    except UsageError as error:
        return str(error)


@pytest.mark.parametrize(
    "text", ["9" * 299, "a/b >= " + "9 " * 140, "*" * 290 + "/b >= 1", "a/b >=" + " " * 290]
)
def test_no_text_takes_long(text: str) -> None:
    def refused() -> None:
        with pytest.raises(UsageError):
            matching(parse_rule(text), [cell("a" * 200)])

    assert takes_less(refused, 0.5)


def test_what_a_terminal_would_obey_is_not_said_again(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError) as told:
        parse_rule("arc/acc\x1b]0;owned\x07 >= \x9b31mred\nor\u202eblue")
    complain(str(told.value))
    shown = capsys.readouterr().err
    assert not set(shown) & set("\x1b\x9b\x07\u202e")


# ---- limits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "unit", "baseline", "value"),
    [
        ("baseline - 1pt", "", 0.5, 0.49),
        ("baseline - 1pt", "%", 50.0, 49.0),
        ("baseline - 0.01", "", 0.5, 0.49),
        ("98% * baseline", "", 0.5, 0.49),
        ("baseline * 1.05 + 2 MiB", "MiB", 100.0, 107.0),
        ("baseline + 1 GiB", "MiB", 100.0, 1124.0),
        ("baseline + 512", "bytes", 100.0, 612.0),
        ("baseline + 1 KiB", "bytes", 100.0, 1124.0),
        ("2 KiB/token", "bytes/token", None, 2048.0),
        ("0.02 s/token", "ms/token", None, 20.0),
        ("250 us", "ms", None, 0.25),
        ("40 tok/s", "tokens/s", None, 40.0),
        ("30%", "", None, 0.3),
        ("30%", "%", None, 30.0),
        ("30pt", "", None, 0.3),
        ("0.3", "", None, 0.3),
        ("1.1 bits/byte", "bits/byte", None, 1.1),
    ],
)
def test_a_limit_is_in_the_unit_of_its_figure(
    limit: str, unit: str, baseline: float | None, value: float
) -> None:
    assert parse_rule(f"t/f <= {limit}").limit(baseline, unit) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("limit", "unit", "reason"),
    [
        ("baseline - 1pt", "bits/byte", "'pt' is no unit for f, which is in bits/byte"),
        ("30%", "MiB", "'%' is no unit for f, which is in MiB"),
        ("5 ms", "MiB", "'ms' is no unit for f, which is in MiB"),
        ("5 ms", "ms/token", "'ms' is no unit for f, which is in ms/token"),
        ("5 MB", "MiB", "'MB' is no unit for f, which is in MiB"),
        ("baseline - 2 se", "", "'se' is no unit for f, which has none: 0.01, 1pt and 1% are the same there"),
    ],
)
def test_a_unit_of_another_kind_is_refused(limit: str, unit: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        parse_rule(f"t/f <= {limit}").limit(1.0, unit)


def test_without_a_baseline_only_a_number_is_a_limit() -> None:
    with pytest.raises(UsageError, match="it needs a baseline, and there is none"):
        parse_rule("t/f >= baseline").limit(None, "")
    assert parse_rule("t/f >= 0.5").limit(None, "") == 0.5


def test_a_share_of_a_baseline_below_0_is_no_limit() -> None:
    with pytest.raises(UsageError, match=r"the baseline is -1\.5, below 0: give an amount in place of"):
        parse_rule("t/margin >= 0.95 * baseline").limit(-1.5, "nats")
    assert parse_rule("t/margin >= baseline - 0.1 nats").limit(-1.5, "nats") == -1.6
    assert parse_rule("t/margin >= 0.5 * baseline").limit(0.0, "nats") == 0.0


@pytest.mark.parametrize(
    ("op", "low", "high", "answer"),
    [
        (">=", 0.1, 0.2, "pass"),
        (">=", -0.1, 0.2, "inconclusive"),
        (">=", -0.2, -0.1, "fail"),
        (">=", 0.0, 0.0, "pass"),
        (">=", 0.0, 0.2, "pass"),
        (">=", -0.2, 0.0, "inconclusive"),
        (">", 0.0, 0.0, "fail"),
        (">", 0.0, 0.2, "inconclusive"),
        (">", -0.2, 0.0, "fail"),
        ("<=", -0.2, -0.1, "pass"),
        ("<=", 0.1, 0.2, "fail"),
        ("<=", 0.0, 0.0, "pass"),
        ("<=", -0.2, 0.0, "pass"),
        ("<", 0.0, 0.0, "fail"),
        ("<", -0.2, 0.0, "inconclusive"),
        ("<", -0.2, -0.1, "pass"),
        (">=", float("nan"), 1.0, "inconclusive"),
        ("<", -1.0, float("nan"), "inconclusive"),
    ],
)
def test_an_interval_beside_the_limit_decides(op: str, low: float, high: float, answer: str) -> None:
    assert parse_rule(f"t/f {op} 1").decide(low, high) == answer


@given(st.sampled_from([(">=", "<="), (">", "<")]), st.floats(-1, 1), st.floats(-1, 1))
def test_both_directions_are_mirror_images(ops: tuple[str, str], one: float, other: float) -> None:
    low, high = sorted((one, other))
    up, down = (parse_rule(f"t/f {op} 1") for op in ops)
    assert up.decide(low, high) == down.decide(-high, -low)


# ---- what it is about ------------------------------------------------------------------------------------


def test_a_rule_is_about_all_cells_with_its_figure() -> None:
    cells = [
        cell(),
        cell(shots=5),
        cell("hellaswag"),
        cell(chat="on"),
        cell(model="other"),
        cell("memory", figures=(PEAK,)),
    ]
    assert matching(parse_rule("arc_easy/acc >= 0"), cells) == (cells[0], cells[1], cells[3], cells[4])
    assert matching(parse_rule("arc_easy@5/acc >= 0"), cells) == (cells[1],)
    assert matching(parse_rule("*/acc >= 0"), cells) == tuple(cells[:5])
    assert matching(parse_rule("[a-h]*/acc >= 0"), cells) == tuple(cells[:5])
    assert matching(parse_rule("memory/peak >= 0"), cells) == (cells[5],)
    assert matching(parse_rule("hell*/acc >= 0"), cells) == (cells[2],)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("arc_easy/acc_nrom >= 0", "unknown figure 'arc_easy/acc_nrom': did you mean 'arc_easy/acc_norm'?"),
        ("arc_esay/acc_norm >= 0", "did you mean 'arc_easy/acc_norm'?"),
        ("arc_easy@2/acc >= 0", "did you mean 'arc_easy@0/acc'?"),
        (
            "decode/tok_s >= 0",
            "unknown figure 'decode/tokens_per_s': did you mean 'decode/tokens_per_s@depth=512'?",
        ),
        ("decode/zzz >= 0", "known: decode/tokens_per_s@depth=512."),
        ("*/nothing_like >= 0", "known: "),
        ("ARC_easy/acc >= 0", "did you mean 'arc_easy/acc'?"),
    ],
)
def test_a_rule_about_nothing_is_told_the_nearest_name(text: str, hint: str) -> None:
    with pytest.raises(UnknownName) as told:
        matching(parse_rule(text), [cell(), cell("decode", figures=(SPEED,))])
    assert hint in str(told.value)


def test_where_nothing_was_measured_there_is_nothing_to_name() -> None:
    with pytest.raises(UnknownName, match="known: none"):
        matching(parse_rule("a/b >= 0"), [])


def test_a_probe_that_could_not_be_measured_stands_for_all_its_figures() -> None:
    unmeasured = cell("decode", kind="probe", figures=(NOTHING,))
    rule = parse_rule("decode/tok_s >= 5")
    assert matching(rule, [unmeasured]) == (unmeasured,)
    assert figure_of(rule, unmeasured) == NOTHING
    assert figure_of(parse_rule("x/acc >= 0"), cell()) == cell().figures[0]
    assert figure_of(parse_rule("x/peak >= 0"), cell()) is None


# ---- files -----------------------------------------------------------------------------------------------


def written(folder: Path, text: str) -> Path:
    path = folder / "gates.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_holds_rules_and_settings(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        f'rules = ["{EXAMPLE}", "memory/peak <= 1.05 * baseline"]\n[gate]\nconfirm = 2\nshared = true\n',
    )
    found = read_rules(path)
    assert [rule.text for rule in found.rules] == [EXAMPLE, "memory/peak <= 1.05 * baseline"]
    assert (found.confirm, found.shared) == (2, True)


def test_what_a_file_does_not_say_is_left_open(tmp_path: Path) -> None:
    found = read_rules(written(tmp_path, f'rules = ["{EXAMPLE}"]'))
    assert (found.confirm, found.shared) == (None, None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "rules must be a list of one text or more"),
        ("rules = []", "rules must be a list of one text or more"),
        ('rules = "a/b >= 1"', "rules must be a list of one text or more"),
        ("rules = [1]", "rules must be a list of one text or more"),
        ('rules = ["a/b >= 1", "a/b"]', "gates.toml, rule 2: rule 'a/b': there is no"),
        ('rules = ["a/b >= 1", "a/b  >= 1"]', "rule 2: 'a/b >= 1' is there twice"),
        ('rule = ["a/b >= 1"]', "unknown key 'rule': did you mean 'rules'?"),
        (
            'rules = ["a/b >= 1"]\n[gate]\nconfrim = 2',
            "unknown setting of [gate] 'confrim': did you mean 'confirm'?",
        ),
        ('rules = ["a/b >= 1"]\ngate = 2', "gate must be a table"),
        (
            'rules = ["a/b >= 1"]\n[gate]\nconfirm = true',
            "confirm must be a whole number, 0 or more, not 'True'",
        ),
        ('rules = ["a/b >= 1"]\n[gate]\nconfirm = -1', "confirm must be a whole number, 0 or more, not '-1'"),
        ('rules = ["a/b >= 1"]\n[gate]\nshared = 1', "shared must be true or false, not '1'"),
        ("rules = [", "is not TOML"),
        ("a" * (2**20 + 1), "is it a file of rules?"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_place(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(UsageError) as told:
        read_rules(written(tmp_path, text))
    assert reason in str(told.value)
    assert "gates.toml" in str(told.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"file of rules .*none\.toml cannot be read"):
        read_rules(tmp_path / "none.toml")
    bad = tmp_path / "bad.toml"
    bad.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="is not UTF-8, from byte 0 on"):
        read_rules(bad)


@pytest.mark.parametrize("limit", ["1e308 GiB", "1e308 * baseline", "baseline + 1e308 GiB"])
def test_a_limit_that_is_no_finite_number_is_refused(limit: str) -> None:
    with pytest.raises(UsageError, match="its limit is larger than any number"):
        parse_rule(f"memory/peak <= {limit}").limit(800.0, "MiB")


def test_a_number_of_thousands_of_digits_is_told_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "gates.toml"
    file.write_text('rules = ["*/acc >= 0.1"]\n[gate]\nconfirm = ' + "9" * 5000)
    with pytest.raises(UsageError, match=r"gates\.toml cannot be read: "):
        read_rules(file)
