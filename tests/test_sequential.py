"""Tasks that end when enough is known: their order, their looks, what ends them, what is asked once."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import toys
from random_models import TINY_LLAMA, write_model

from slmeval.agenda import Agenda, Question
from slmeval.baselines import baseline_of, read_baseline, write_baseline
from slmeval.cli import run as slmeval
from slmeval.cli.sights import Lines, Table
from slmeval.deciding import trials_of
from slmeval.errors import DataError, UnknownName, UsageError
from slmeval.gating import judge
from slmeval.looks import FEWEST, FIRST_SIGHT, LOOKS, asked_until, cut_blocks, draw, looks_at
from slmeval.plan import Cell, Item, Plan, ScoreAsk, ScoreUnit
from slmeval.planner import plan
from slmeval.registry import load
from slmeval.rescoring import Extra, rescore
from slmeval.rules import parse_rule
from slmeval.run import execute
from slmeval.sights import Sight
from slmeval.store import Store
from slmeval.targets import read_target
from slmeval.testing import Silent
from slmeval.types import CellResult, DataOrigin, RunOptions, RunResult, Sample, ScoreGroup

ROWS = 600
#: ``shift`` makes another model of it: as often right where the answers are drawn, on other questions
SHIFTED = (
    toys.MODULE.replace('Option("pace"', 'Option("shift", int, 0, "another model"),\n        Option("pace"')
    .replace("sum(group.context)) % 13", "sum(group.context) * (1 + self._shift)) % 13")
    .replace(
        "self._trouble, self._pace =", 'self._shift = options["shift"]\n        self._trouble, self._pace ='
    )
)


class Place:
    """A folder with a toy model, rows for two tasks, and a store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = folder / "model"
        self.baseline = folder / "baseline.json"

    def options(self, **changes: Any) -> RunOptions:
        plain = RunOptions(
            backends=("toy",),
            models=(str(self.model),),
            tasks=("arc_easy",),
            data=str(self.folder / "data"),
            executor="local",
            timeout=120,
        )
        return replace(plain, **changes)

    def plan(self, **changes: Any) -> Plan:
        with Store.open(self.folder / "plans.db") as store:
            return plan(self.options(**changes), load(()).parts, store.file_hash)

    def run(
        self, store: str = "store.db", progress: Any = None, run_id: str | None = None, **changes: Any
    ) -> RunResult:
        registry = load(())
        with Store.open(self.folder / store) as opened:
            planned = plan(self.options(**changes), registry.parts, opened.file_hash)
            return execute(planned, registry, opened, progress or Silent(), run_id)

    def decided(self, *rules: str, **changes: Any) -> RunResult:
        return self.run(until_decided=True, rules=rules, baseline=str(self.baseline), **changes)


def write_rows(folder: Path, keys: str) -> None:
    stream = random.Random(5)
    words = ["one", "two", "three"]
    lines = [
        json.dumps(
            {
                "id": str(number),
                "question": " ".join(stream.choices(words, k=stream.randint(8, 16))),
                "choices": {"text": ["two", "three"], "label": ["A", "B"]},
                "answerKey": key,
            }
        )
        for number, key in enumerate(keys)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("test", "train"):
        (folder / f"{split}.jsonl").write_text("\n".join(lines))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The toy is right on three of four rows of arc_easy, and on half of those of arc_challenge."""
    from test_tokenizing import words

    folder = tmp_path_factory.mktemp("sequential")
    made = Place(folder)
    with pytest.MonkeyPatch.context() as patch:
        (folder / "plugin").mkdir()
        toys.install(folder / "plugin", patch, SHIFTED)
        write_model(made.model, TINY_LLAMA)
        words(made.model, bos=True)
        keys = "".join(random.Random(7).choices("AB", k=ROWS))
        write_rows(folder / "data/arc_challenge", keys)
        write_rows(folder / "data/arc_easy", "A" * ROWS)
        (cell,) = made.run("first.db").cells
        assert cell.outcomes is not None
        flips = random.Random(9)
        right = "".join(
            "AB"[(score == 0.0) != (flips.random() < 0.25)] for score in cell.outcomes.columns["acc"].scores
        )
        write_rows(folder / "data/arc_easy", right)
        write_baseline(baseline_of(made.run("baseline.db", tasks=("arc",))), made.baseline)
        yield made


def only(run: RunResult) -> CellResult:
    (cell,) = run.cells
    return cell


def half(cell: CellResult, name: str = "acc") -> float:
    figure = next(each for each in cell.figures if each.name == name)
    assert figure.ci95 is not None
    return (figure.ci95[1] - figure.ci95[0]) / 2


def test_a_run_that_asks_all_imports_nothing_of_gates() -> None:
    asked = "import sys, slmeval.planner, slmeval.run; print(*(set(sys.modules) & set(sys.argv[1:])))"
    ours = ("slmeval.sequential", "slmeval.gating", "slmeval.baselines", "slmeval.rules")
    told = subprocess.run(
        [sys.executable, "-c", asked, *ours, "numpy", "scipy"], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == ""


# ---- narrow enough -----------------------------------------------------------------------------------------


def test_a_task_ends_when_its_interval_is_narrow_enough(place: Place) -> None:
    cell, whole = only(place.run(target_ci=("5pt",))), only(place.run())
    assert cell.stop is not None
    assert 100 <= cell.n < ROWS
    assert half(cell) <= 0.05
    assert (cell.stop.asked, cell.stop.planned, cell.stop.level, cell.sample) == (cell.n, ROWS, 0.95, True)
    assert cell.stop.decided == f"acc is known to ±{100 * half(cell):.2g} points"
    assert cell.notes[-1] == (
        f"ended after {cell.n} of {ROWS} rows, drawn in an order by seed 1234: {cell.stop.decided}"
    )
    # the items that it has are some of all, with the same scores
    assert cell.outcomes is not None
    assert whole.outcomes is not None
    scores = dict(zip(whole.outcomes.items, whole.outcomes.columns["acc"].scores, strict=True))
    assert [scores[item] for item in cell.outcomes.items] == [*cell.outcomes.columns["acc"].scores]
    assert len(set(cell.outcomes.items)) == cell.n


def test_one_look_before_it_was_not_narrow_enough(place: Place) -> None:
    cell = only(place.run(target_ci=("5pt",)))
    assert cell.stop is not None
    before = place.run(target_ci=("5pt",), progress=(seen := Seen()))
    assert before.cells == (cell,)
    widths = [sight for sight in seen.sights if not sight.ended]
    assert [sight.asked for sight in widths] == [
        FIRST_SIGHT,
        *(60 * look for look in range(1, cell.stop.look)),
    ]


def test_what_is_never_narrow_enough_is_asked_to_its_end_and_is_as_if_it_could_not_end(place: Place) -> None:
    cell, whole = only(place.run(target_ci=("0.1pt",))), only(place.run())
    assert cell.stop is not None
    assert (cell.stop.asked, cell.stop.look, cell.stop.looks, cell.stop.decided) == (ROWS, LOOKS, LOOKS, "")
    assert replace(cell, stop=None) == whole


def test_a_figure_can_be_named_and_have_a_unit(place: Place) -> None:
    wide = only(place.run(target_ci=("bits_per_byte=0.1",)))
    narrow = only(place.run(target_ci=("bits_per_byte=0.05", "acc=20pt")))
    assert half(wide, "bits_per_byte") <= 0.10
    assert half(narrow, "bits_per_byte") <= 0.05
    assert wide.n < narrow.n < ROWS
    assert "bits_per_byte is known to" in narrow.notes[-1]
    assert "acc is known to" in narrow.notes[-1]


def test_a_limit_bounds_the_rows_first(place: Place) -> None:
    cell = only(place.run(target_ci=("4pt",), limit=200))
    assert cell.stop is not None
    assert (cell.stop.planned, cell.stop.looks) == (200, 200 // FEWEST)
    few = only(place.run(target_ci=("20pt",), limit=60))
    assert few.stop is not None
    assert (few.n, few.stop.looks) == (60, 1)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("0", "above 0"),
        ("-1pt", "above 0"),
        ("nan", "above 0"),
        ("infpt", "above 0"),
        ("1e400", "above 0"),
        ("", "write a half width"),
        ("narrow", "write a half width"),
        ("1.5%", "write a half width"),
        ("=1pt", "figure's name"),
        ("50pt", "says nothing"),
        ("1.5", "says nothing"),
        ("bits_per_byte=1pt", "no share"),
        ("acc_nrom=1pt", "did you mean 'acc_norm'"),
    ],
)
def test_a_half_width_that_is_none_is_refused_before_anything_is_asked(
    place: Place, given: str, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        place.plan(target_ci=(given,))


def test_two_half_widths_of_a_figure_are_refused(place: Place) -> None:
    with pytest.raises(UsageError, match="another half width"):
        place.plan(target_ci=("1pt", "2pt"))
    assert read_target("acc_norm = 1.5pt").width == pytest.approx(0.015)


# ---- decided -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "answer"),
    [
        ("arc_easy/acc >= baseline - 5pt", "pass"),
        ("arc_easy/acc >= 0.4", "pass"),
        ("arc_easy/acc >= 99%", "fail"),
        ("arc_easy/acc >= baseline + 10pt", "fail"),
        ("arc_easy/acc >= 0.9 * baseline", "pass"),
    ],
)
def test_a_task_ends_when_its_rule_is_decided_and_the_gate_says_the_same(
    place: Place, rule: str, answer: str
) -> None:
    run = place.decided(rule)
    cell = only(run)
    assert cell.stop is not None
    assert cell.n < ROWS
    assert cell.stop.level > 0.95
    assert cell.stop.decided == "its rule is decided"
    (judged,) = judge(run, [parse_rule(rule)], read_baseline(place.baseline)).judged
    assert judged.answer == answer


def test_a_model_that_lost_much_is_caught_early(place: Place) -> None:
    rule = "arc_easy/acc >= baseline - 1pt"
    run = place.decided(rule, engine_options={"shift": "1"})
    assert only(run).n < ROWS // 2
    assert judge(run, [parse_rule(rule)], read_baseline(place.baseline)).answer == "fail"


def test_that_no_item_differs_so_far_decides_nothing_without_a_tolerance(place: Place) -> None:
    rule = "arc_easy/acc >= baseline"
    run = place.decided(rule)
    cell = only(run)
    assert cell.stop is not None
    assert (cell.n, cell.stop.decided) == (ROWS, "")
    assert judge(run, [parse_rule(rule)], read_baseline(place.baseline)).answer == "pass"


def test_a_task_with_two_rules_ends_when_both_are_decided(place: Place) -> None:
    quick, slow = "arc_easy/acc >= 0.2", "arc_easy/acc >= baseline - 5pt"
    first, second, both = (only(place.decided(*rules)) for rules in ((quick,), (slow,), (quick, slow)))
    assert first.n < second.n == both.n
    assert both.stop is not None
    assert both.stop.decided == "2 rules are decided"


def test_what_no_rule_is_about_is_asked_to_its_end(place: Place) -> None:
    cells = {cell.name: cell for cell in place.decided("arc_easy/acc >= 0.2", tasks=("arc",)).cells}
    assert cells["arc_easy"].n < ROWS
    assert (cells["arc_challenge"].n, cells["arc_challenge"].stop) == (ROWS, None)


def test_a_rule_on_a_groups_mean_ends_its_members_together(place: Place, tmp_path: Path) -> None:
    group = Grouped(place, tmp_path)
    rule = "both/acc >= 0.3"
    run = group.decided(rule)
    stops = {cell.name: cell.stop for cell in run.cells}
    assert stops["arc_easy"] == stops["arc_challenge"]
    assert stops["both"] is not None
    assert stops["arc_easy"] is not None
    assert stops["arc_easy"].asked < ROWS
    assert stops["both"].asked == 2 * stops["arc_easy"].asked
    assert stops["both"].level == stops["arc_easy"].level > 0.95
    assert judge(run, [parse_rule(rule)]).answer == "pass"


class Grouped:
    """The same with a group around both tasks."""

    def __init__(self, place: Place, folder: Path) -> None:
        self._place = place
        self._patch = pytest.MonkeyPatch()
        (folder / "groups").mkdir()
        toys.install(
            folder / "groups",
            self._patch,
            "from slmeval import hookimpl\n"
            "from slmeval.types import Group\n\n"
            "@hookimpl\n"
            "def slmeval_register_groups():\n"
            "    return [Group('both', ('arc_easy', 'arc_challenge'), 0, ('acc',), 'rows', '1')]\n",
            name="toygroup",
        )

    def decided(self, rule: str) -> RunResult:
        with self._patch.context():
            try:
                return self._place.run(tasks=("both",), until_decided=True, rules=(rule,))
            finally:
                self._patch.undo()


def test_both_ways_to_end_go_together(place: Place) -> None:
    both = only(place.decided("arc_easy/acc >= 0.72", target_ci=("10pt",)))
    assert both.stop is not None
    assert both.stop.decided.startswith("acc is known to ±")
    assert both.stop.level > 0.95


def test_each_model_is_decided_for_itself(place: Place) -> None:
    other = place.folder / "other"
    shutil.copytree(place.model, other)
    models = (str(place.model), str(other))
    run = place.run(until_decided=True, rules=("arc_easy/acc >= 0.4",), models=models)
    assert len(run.cells) == 2
    assert all(cell.n < ROWS for cell in run.cells)


@pytest.mark.parametrize(
    ("changes", "kind", "reason"),
    [
        ({"rules": ()}, UsageError, "--until-decided needs what is to be decided"),
        ({"until_decided": False}, UsageError, "--rules is for --until-decided"),
        ({"until_decided": False, "rules": ()}, UsageError, "--baseline is for --until-decided"),
        ({"baseline": None}, UsageError, "needs a baseline"),
        ({"baseline": "/nowhere/b.json"}, DataError, "cannot be read"),
        ({"rules": ("arc_easy/acc_nrom >= 0.5",)}, UnknownName, "did you mean 'arc_easy/acc_norm'"),
        ({"rules": ("arc_eazy/acc >= 0.5",)}, UnknownName, "did you mean 'arc_easy/acc'"),
        ({"rules": ("arc_easy/acc >= baseline - 1 MiB",)}, UsageError, "is no unit for acc"),
        ({"rules": ("arc_easy/acc is fine",)}, UsageError, "a right one"),
        ({"shots": (2,)}, UsageError, "shots"),
        ({"limit": 100}, UsageError, "items"),
    ],
)
def test_mistakes_are_told_before_anything_is_asked(
    place: Place, changes: dict[str, Any], kind: type[Exception], reason: str
) -> None:
    wanted = {
        "until_decided": True,
        "rules": ("arc_easy/acc >= baseline - 5pt",),
        "baseline": str(place.baseline),
    }
    with pytest.raises(kind, match=reason):
        place.plan(**{**wanted, **changes})


def test_a_baseline_without_the_task_tells_the_nearest_of_its_own(place: Place, tmp_path: Path) -> None:
    run = place.run("baseline.db", tasks=("arc_challenge",))
    write_baseline(baseline_of(run), tmp_path / "other.json")
    rules = ("arc_easy/acc >= baseline - 5pt",)
    with pytest.raises(UnknownName, match=r"baseline.*arc_challenge"):
        place.plan(until_decided=True, rules=rules, baseline=str(tmp_path / "other.json"))


def test_a_rule_on_a_probe_is_left_to_the_gate(place: Place) -> None:
    changes = {
        "until_decided": True,
        "tasks": ("arc_easy", "load"),
        "backends": ("reference",),
        "dtype": None,
    }
    probe = "load/time <= 1 s"
    with pytest.raises(UsageError, match="measured whole"):
        place.plan(**changes, rules=(probe,))
    planned = place.plan(**changes, rules=(probe, "arc_easy/acc >= 0.2"))
    assert planned.jobs[0].blocks
    assert planned.stopping is not None
    assert planned.stopping.gate is not None
    assert planned.stopping.gate.tries == 1


# ---- what was broken off -----------------------------------------------------------------------------------


class Seen(Silent):
    """Keeps what it is told; breaks the run off at the sight ``last``, if told."""

    def __init__(self, last: int | None = None) -> None:
        self.sights: list[Sight] = []
        self._last = last

    def see(self, sights: Sequence[Sight]) -> None:
        self.sights += sights
        if self._last is not None and len(self.sights) >= self._last:
            raise KeyboardInterrupt


def test_a_run_that_is_broken_off_takes_the_same_decisions_and_asks_nothing_twice(
    place: Place,
) -> None:
    changes: dict[str, Any] = {"target_ci": ("5pt",), "tasks": ("arc",)}
    undisturbed = place.run("undisturbed.db", **changes)
    broken = place.run("broken.db", Seen(3), **changes)
    assert broken.status == "interrupted"
    again = place.run("broken.db", run_id=broken.id, **changes)
    assert (again.status, again.cells) == ("done", undisturbed.cells)
    with closing(sqlite3.connect(place.folder / "broken.db")) as db:
        ((kept,),) = db.execute("SELECT count(*) FROM answers")
    # what is in the store was asked once
    assert broken.asked + again.asked == kept >= again.asked + again.reused


def test_a_run_whose_baseline_changed_does_not_go_on(place: Place, tmp_path: Path) -> None:
    baseline = tmp_path / "baseline.json"
    baseline.write_bytes(place.baseline.read_bytes())
    changes = {"until_decided": True, "rules": ("arc_easy/acc >= baseline - 5pt",), "baseline": str(baseline)}
    broken = place.run("pinned.db", Seen(1), **changes)
    assert broken.status == "interrupted"
    write_baseline(replace(read_baseline(baseline), run="another"), baseline)
    with pytest.raises(UsageError, match="baseline changed since it began"):
        place.run("pinned.db", run_id=broken.id, **changes)


def command(place: Place, *arguments: str) -> list[str]:
    return [
        *("run", "--backend", "toy", "--model", str(place.model), "--tasks", "arc_easy", "--data"),
        *(str(place.folder / "data"), "--format", "json", *arguments),
    ]


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_end(place: Place, tmp_path: Path) -> None:
    slow = command(place, "--target-ci", "5pt", "-o", "pace=0.02", "--store", str(tmp_path / "store.db"))
    process = subprocess.Popen(
        [sys.executable, "-m", "slmeval", *slow], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "after 120 of" in line:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    resume = [sys.executable, "-m", "slmeval", "run", "--resume", "--format", "json"]
    resumed = subprocess.run(
        [*resume, "--store", str(tmp_path / "store.db")],
        capture_output=True,
        text=True,
        check=True,
    )
    document = json.loads(resumed.stdout)
    expected = only(place.run(target_ci=("5pt",), engine_options={"pace": "0.02"}))
    (cell,) = document["cells"]
    assert (cell["n"], cell["figures"]["acc"]["value"]) == (expected.n, expected.figures[0].value)
    assert cell["stop"]["decided"] in cell["notes"][-1]
    assert document["run"]["reused"] >= 240


def test_answers_of_a_run_that_ended_early_can_be_scored_again(place: Place) -> None:
    run = place.run("scored.db", target_ci=("5pt",))
    registry = load(())
    with Store.open(place.folder / "scored.db") as store:
        again = rescore(run, Extra(), registry, store)
    assert only(again).figures == only(run).figures
    assert only(again).outcomes == only(run).outcomes


# ---- the table ---------------------------------------------------------------------------------------------


def test_all_cells_are_shown_before_any_is_looked_at_again(place: Place) -> None:
    seen = Seen()
    place.run(target_ci=("5pt",), tasks=("arc",), progress=seen)
    assert [sight.asked for sight in seen.sights[:4]] == [FIRST_SIGHT] * 2 + [ROWS // LOOKS] * 2
    for sight in seen.sights:
        assert sight.value is not None
        assert sight.low is not None
        assert sight.high is not None
        assert 0 <= sight.low < sight.value < sight.high <= 1
    last = seen.sights[-1]
    assert last.ended.startswith("acc is known to")
    # the interval that holds at all sights is wider than that of the end
    assert last.low is not None
    assert last.high is not None
    assert last.high - last.low > 2 * 0.05


def sight(label: str, asked: int = 16, ended: str = "") -> Sight:
    return Sight(label, "acc", "", 0.5, 0.25, 0.75, asked, 600, ended)


def test_a_log_has_a_line_for_each_sight() -> None:
    out = io.StringIO()
    lines = Lines(out)
    lines.show([sight("a"), sight("b")])
    lines.show([sight("a", 120, "all is said")])
    assert out.getvalue().splitlines() == [
        "a: acc 0.500 (0.250 to 0.750) after 16 of 600",
        "b: acc 0.500 (0.250 to 0.750) after 16 of 600",
        "a: acc 0.500 (0.250 to 0.750) after 120 of 600 · all is said",
    ]


def test_a_terminal_has_one_line_for_each_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: SimpleNamespace(columns=40, lines=6))
    monkeypatch.setattr("shutil.get_terminal_size", lambda: (40, 6))
    out = io.StringIO()
    table = Table(out)
    table.show([sight("a")])
    table.show([sight("bb")])
    assert out.getvalue().count("\x1b[1A") == 1
    assert out.getvalue().endswith(
        "\x1b[1A\x1b[2Ka   acc 0.500 (0.250 to 0.750) after 16\n"
        "\x1b[2Kbb  acc 0.500 (0.250 to 0.750) after 16\n"
    )
    table.show([sight(name) for name in "cdef"])
    assert "... and 4 more" in out.getvalue()


def test_the_report_stands_on_stdout_alone(
    place: Place, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = ("--store", str(tmp_path / "store.db"), "--executor", "local")
    assert slmeval(command(place, "--target-ci", "acc=6pt,bits_per_byte=0.3", *store)) == 0
    told = capfd.readouterr()
    (cell,) = json.loads(told.out)["cells"]
    assert cell["stop"]["asked"] == cell["n"] < ROWS
    assert "after 16 of 600" in told.err
    (tmp_path / "gates.toml").write_text('rules = ["arc_easy/acc >= 0.2"]')
    rules = ("--until-decided", "--rules", str(tmp_path / "gates.toml"), "--rule", "arc_easy/acc <= 0.99")
    assert slmeval(command(place, *rules, *store)) == 0
    (cell,) = json.loads(capfd.readouterr().out)["cells"]
    assert cell["stop"]["decided"] == "2 rules are decided"
    assert slmeval(["run", "--resume", "--target-ci", "1pt", "--store", str(tmp_path / "store.db")]) == 2


# ---- order, blocks, agenda ---------------------------------------------------------------------------------


def made_cell(items: int, name: str = "toy", seed: int = 1, shots: int = 0) -> Cell:
    asks = [ScoreAsk((1, number), (2,)) for number in range(items)]
    made = tuple(Item(n, Sample((), ""), ((ask,),), {"truncated": n % 2}) for n, ask in enumerate(asks))
    task: Any = SimpleNamespace(name=name)
    scorer: Any = None
    return Cell(task, shots, seed, scorer, made, DataOrigin("", "", items), {"truncated": items // 2}, False)


def test_the_order_is_by_seed_and_task_and_more_rows_keep_it() -> None:
    drawn = [item.index for item in draw(made_cell(200))]
    assert sorted(drawn) == list(range(200)) != drawn
    assert [item.index for item in draw(made_cell(200, shots=5))] == drawn
    assert [index for index in drawn if index < 100] == [item.index for item in draw(made_cell(100))]
    assert [item.index for item in draw(made_cell(200, seed=2))] != drawn
    assert [item.index for item in draw(made_cell(200, name="other"))] != drawn


@pytest.mark.parametrize("items", [0, 1, 31, 49, 99, 100, 101, 499, 1234])
def test_blocks_hold_each_item_once_in_equal_shares(items: int) -> None:
    cell = made_cell(items)
    blocks = cut_blocks([cell], [(0,)])
    looks = looks_at(items)
    assert [block.look for block in blocks] == list(range(looks + 1))
    assert sorted(item.index for block in blocks for item in block.items) == list(range(items))
    ends = [sum(len(each.items) for each in blocks if each.look <= look) for look in range(1, looks + 1)]
    assert ends == [items * look // looks for look in range(1, looks + 1)]
    assert looks == 1 or ends[0] >= FEWEST
    assert asked_until(cell, blocks) == cell


def test_a_cell_that_ended_has_the_counts_of_what_was_asked() -> None:
    cell = made_cell(200)
    part = asked_until(cell, cut_blocks([cell], [(0,)])[:2])
    assert len(part.items) == 50
    assert [item.index for item in part.items] == sorted(item.index for item in part.items)
    assert part.counts["truncated"] == sum(item.index % 2 for item in part.items)
    assert part.sample


def test_blocks_of_all_cells_come_in_turn() -> None:
    cells = [made_cell(120, "a"), made_cell(600, "b"), made_cell(60, "c")]
    blocks = cut_blocks(cells, trials_of(3, []))
    assert [block.cell for block in blocks[:6]] == [0, 1, 2, 0, 1, 2]
    assert {block.looks for block in blocks if block.cell == 0} == {2}
    together = cut_blocks(cells, trials_of(3, [(0, 2)]))
    assert {block.looks for block in together if block.cell in (0, 2)} == {3}


def test_cells_that_rules_join_end_together() -> None:
    assert trials_of(5, []) == ((0,), (1,), (2,), (3,), (4,))
    assert trials_of(5, [(0, 2), (3,), (2, 4)]) == ((0, 2, 4), (1,), (3,))


def question(*continuations: int) -> Question:
    unit = ScoreUnit((ScoreGroup((1,), tuple((each,) for each in continuations)),))
    return unit, unit.asks()


def asked(step: Any) -> list[int]:
    return [ask.continuation[0] for group in step.question[1] for ask in group]


def test_what_two_blocks_ask_is_asked_once_and_by_the_later_one_if_the_first_is_left_out() -> None:
    agenda = Agenda([[question(1, 2)], [question(2, 3)]])
    assert agenda.left == 3
    first = agenda.next()
    assert asked(first) == [1, 2]
    assert agenda.left == 1
    assert agenda.next().question is None  # type: ignore[union-attr]
    assert asked(agenda.next()) == [3]
    other = Agenda([[question(1, 2)], [question(2, 3)]])
    other.leave_out([0])
    assert asked(other.next()) == [2, 3]


def test_a_block_is_whole_when_its_refused_parts_are_back_too() -> None:
    agenda = Agenda([[question(1, 2)], [question(3)]])
    first = agenda.next()
    assert first is not None
    assert agenda.next().question is None  # type: ignore[union-attr]
    assert not agenda.is_whole(0)
    agenda.back(first, [question(1), question(2)])
    parts = [agenda.next(), agenda.next()]
    assert [asked(part) for part in parts] == [[1], [2]]
    assert not agenda.is_whole(0)
    for part in parts:
        assert part is not None
        agenda.back(part)
    again = agenda.next()
    assert again is not None
    assert (again.block, again.question) == (0, None)
    assert agenda.is_whole(0)
    assert asked(agenda.next()) == [3]
    assert agenda.next().question is None  # type: ignore[union-attr]
    assert agenda.next() is None
