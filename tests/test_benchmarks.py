"""The pieces of the benchmarks, on tiny models: that they measure what they say. Nothing here is timed."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
TOKENIZER = ROOT.parent / "shared" / "tokenizers" / "smollm2-135m-instruct"

sys.path.insert(0, str(ROOT / "benchmarks"))
import curves  # noqa: E402
import first_unit  # noqa: E402
import ours  # noqa: E402
import pairs  # noqa: E402
import speed_model  # noqa: E402

needs_rows = pytest.mark.skipif(
    not (DATA.is_dir() and TOKENIZER.is_dir()), reason="the real rows and the tokenizer are not here"
)
needs_hf = pytest.mark.skipif(
    find_spec("torch") is None or find_spec("transformers") is None, reason="transformers is not installed"
)
needs_llama_cpp = pytest.mark.skipif(
    find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"
)
needs_lm_eval = pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed")

TINY = {"width": 32, "feed": 48, "layers": 2, "heads": 4, "kv_heads": 2, "context": 2048}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is open at once, with the real tokenizer."""
    return speed_model.make(tmp_path_factory.mktemp("model"), **TINY)


def says(name: str, code: str) -> pairs.Side:
    return pairs.Side(name, (sys.executable, "-c", code))


# ---- the frame ---------------------------------------------------------------------------------------


def test_sides_are_run_in_turn_and_compared_within_a_round() -> None:
    fast = says("fast", 'print(\'noise\'); print(\'{"seconds": 2, "requests": 8, "more": 1}\')')
    slow = says("slow", 'print(\'{"seconds": 4, "requests": 4}\')')
    rounds = pairs.in_turn([fast, slow], 2)
    assert [list(each) for each in rounds] == [["fast", "slow"], ["slow", "fast"]]
    assert pairs.spread(rounds, "fast", "slow", pairs.rate) == pairs.Spread(4, 4, 4)
    assert rounds[0]["fast"].told["more"] == 1


@pytest.mark.parametrize("code", ["print('no number')", "raise SystemExit('why')", ""])
def test_a_side_that_tells_nothing_ends_the_comparison(code: str) -> None:
    with pytest.raises(SystemExit, match="broken ended with"):
        pairs.once(says("broken", code))


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="there is no /proc")
def test_memory_is_that_of_the_whole_tree() -> None:
    holds = "import time; held = b'1' * 100_000_000; time.sleep(2)"
    both = f"import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {holds!r}]); {holds}"
    side = says("two", f'{both}; child.wait(); print(\'{{"seconds": 1, "requests": 1}}\')')
    assert 200e6 < pairs.once(side).peak < 300e6


def test_a_table_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a -->\nold\n<!-- /a -->\nafter\n")
    pairs.write_table("a", "new", page)
    pairs.write_table("b", "first", page)
    pairs.write_table("b", "second", page)
    assert page.read_text() == (
        "before\n<!-- a -->\nnew\n<!-- /a -->\nafter\n\n<!-- b -->\nsecond\n<!-- /b -->\n"
    )


def test_what_was_measured_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "MEASURED", tmp_path / "measured")
    rounds = pairs.in_turn([says("one", 'print(\'{"seconds": 2, "requests": 8}\')')], 1)
    pairs.keep("table", "row", rounds, batch=4)
    pairs.keep("table", "other", rounds)
    found = pairs.kept("table")
    assert list(found) == ["row", "other"]
    assert pairs.rounds_of(found["row"]) == rounds
    assert found["row"]["settings"] == {"batch": 4}


# ---- both sides --------------------------------------------------------------------------------------


def test_distinct_tokens_are_the_nodes_of_the_tree() -> None:
    random = Random(3)
    for _ in range(50):
        paths = [tuple(random.choices(range(3), k=random.randint(0, 6))) for _ in range(8)]
        nodes = {path[:length] for path in paths for length in range(1, len(path) + 1)}
        depth = sum(map(len, nodes)) / max(len(nodes), 1)
        assert ours.tree(paths) == (len(nodes), pytest.approx(depth))


@needs_rows
@needs_hf
@needs_lm_eval
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("task", "shots", "max_tokens"),
    [
        ("arc_challenge", 3, None),
        ("hellaswag", 2, None),
        ("mmlu_high_school_geography", 1, None),
        ("gsm8k", 2, 4),
    ],
)
def test_both_sides_ask_the_same(tiny: Path, task: str, shots: int, max_tokens: int | None) -> None:
    import lm_eval_side

    theirs = lm_eval_side.measure(
        argparse.Namespace(
            model=tiny, task=task, shots=shots, fixed=True, limit=2, dtype="float32", device="cpu",
            data=DATA, batch=2, max_tokens=max_tokens,
        )
    )  # fmt: skip
    options = ours.RunOptions(
        backends=("hf",), models=(str(tiny),), tasks=(task,), shots=(shots,), limit=2, data=str(DATA),
        dtype="float32", executor="local",
    )  # fmt: skip
    mine = ours.measure(options, max_tokens)
    assert mine["asked"] == theirs["asked"]
    assert mine["requests"] == theirs["requests"] == len(mine["asked"])
    assert mine["distinct"] < mine["fed"]
    assert (mine["written"] > 0) == (max_tokens is not None)
    assert mine["seconds"] == pytest.approx(mine["planning"] + mine["asking"])


@needs_rows
@needs_hf
def test_the_engines_own_prefill_can_be_timed(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import prefill

    monkeypatch.setattr(prefill, "ENOUGH", 0)
    told = prefill.measure(argparse.Namespace(model=tiny, dtype="float32", threads=1, length=200, depth=300))
    assert told["plain_at"] % 200 == 0
    assert told["deep_at"] % 600 == 0
    assert min(told["plain"], told["deep"], told["head"]) > 0


# ---- starting ----------------------------------------------------------------------------------------


def test_marks_are_noted_in_whatever_process_runs(tmp_path: Path) -> None:
    package = tmp_path / "slmeval_hf"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "engine.py").write_text("class Engine:\n    def score(self):\n        return 1\n")
    marks = tmp_path / "marks"
    code = "from slmeval_hf.engine import Engine; assert Engine().score() == 1"
    path = f"{ROOT / 'benchmarks' / 'marks'}:{tmp_path}"
    subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": path, "BENCH_MARKS": str(marks)},
        check=True,
    )
    assert marks.read_text().split()[0] == "asked"


def test_loading_before_the_first_request_is_apart() -> None:
    text = "loading 2\nloaded 5\nasked 9\nasked 10\nloading 11\nloaded 12\n"
    assert first_unit.read_marks(text, 1) == {"whole": 8, "loading": 3}


# ---- against llama-bench -----------------------------------------------------------------------------


@needs_llama_cpp
def test_our_side_of_llama_bench_tells_rates() -> None:
    import llama_bench

    model = ROOT / "slmeval" / "demo" / "model.gguf"
    given = ("--side", llama_bench.OURS, "--model", str(model), "--threads", "1")
    for test, (prompt, _) in llama_bench.TESTS.items():
        command = (sys.executable, str(ROOT / "benchmarks" / "llama_bench.py"), *given, "--test", test)
        (first,), (second,) = (each.values() for each in pairs.in_step([pairs.Side("slmeval", command)], 2))
        assert first.told["rate"] != second.told["rate"]
        assert first.wall > first.seconds > 0
        assert any("flash attention on" in note for note in first.told["notes"])
        assert ("overhead" in first.told) == (not prompt)
        assert 0 < first.told.get("overhead", 0.1) < 0.5


@needs_llama_cpp
@pytest.mark.parametrize(
    ("test", "words", "rate"), [("pp512", "-p 512 -n 0", 256.0), ("tg128", "-p 0 -n 128", 64.0)]
)
def test_the_tool_of_llama_bench_is_read(tmp_path: Path, test: str, words: str, rate: float) -> None:
    """A tool that says what llama-bench says, and looks at what it was asked, and which libraries it has."""
    import llama_bench

    names = ("build_commit", "n_batch", "n_ubatch", "n_threads", "type_k", "type_v", "flash_attn")
    said = [dict.fromkeys(names, 1) | {"samples_ns": [2 * 10**9], "samples_ts": [rate]}]
    tool = tmp_path / "tool"
    places = "[place for name, place in os.environ.items() if name.endswith('LIBRARY_PATH')]"
    code = f"""
import os, sys
assert "llama_cpp" in str({places})
assert {words!r} in " ".join(sys.argv)
print({json.dumps(said)!r})
"""
    tool.write_text(f"#!{sys.executable}\n{code}")
    tool.chmod(0o755)
    asked = argparse.Namespace(
        tool=tool, model="m", threads=1, flash_attention="auto", own_libraries=False, test=test
    )
    told = llama_bench.tool_side(asked)
    assert (told["seconds"], told["requests"], told["rate"]) == (2, 1, rate)
    tool.write_text(f"#!{sys.executable}\nraise SystemExit('no such model')\n")
    with pytest.raises(SystemExit, match="the tool ended with 1: no such model"):
        llama_bench.tool_side(asked)


@needs_llama_cpp
def test_ratios_of_llama_bench_are_taken_within_a_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import llama_bench

    def outcome(rate: float) -> pairs.Outcome:
        return pairs.Outcome(1, 1, 1, 1, {"rate": rate, "overhead": 0.01})

    rounds = [{"slmeval": outcome(2.0 * at), "llama-bench": outcome(at)} for at in range(1, 11)]
    assert llama_bench.ratio(rounds) == (2, 2, 2)
    rounds[0]["slmeval"] = outcome(9)
    assert llama_bench.ratio(rounds) == (2, 2, 2)
    monkeypatch.setattr(pairs, "MEASURED", tmp_path)
    told = {"weights": "F16", "test": "tg128", "threads": 2, "flash attention": "auto"}
    pairs.keep(llama_bench.TABLE, "F16 tg128", rounds, **told)
    assert (
        "| F16 | tg128 | 11.0 | 5.5 | 2.000 (2.000 to 2.000) | 0.97 to 1.03 | 1.00% |" in llama_bench.page()
    )


# ---- against a loop by hand --------------------------------------------------------------------------


@needs_hf
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_loop_by_hand_runs_what_the_backend_times(
    demo_model: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    import hf_loop
    from torch.nn import Embedding

    fed: dict[str, list[list[int]]] = {}
    forward = Embedding.forward
    asked = argparse.Namespace(model=demo_model, dtype=dtype, device="cpu", threads=1, new=12)
    for name, side in hf_loop.SIDES.items():
        seen = fed.setdefault(name, [])
        runs = side(asked, tuple(range(40, 90)))
        first = next(runs)

        def watched(self: Any, ids: Any, seen: list[list[int]] = seen) -> Any:
            seen.append(ids.tolist()[0])
            return forward(self, ids)

        with monkeypatch.context() as patch:
            patch.setattr(Embedding, "forward", watched)
            second = next(runs)
        assert min(*first, *second) > 0
    assert fed[hf_loop.OURS] == fed[hf_loop.THEIRS]
    assert list(map(len, fed[hf_loop.OURS])) == [50] + [1] * 11


@needs_hf
def test_sides_of_the_loop_tell_rates_in_turn(demo_model: Path) -> None:
    import hf_loop

    given = ("--model", str(demo_model), "--prompt", "64", "--new", "8", "--threads", "1")
    command = (sys.executable, str(ROOT / "benchmarks" / "hf_loop.py"), *given)
    sides = [pairs.Side(name, (*command, "--once", name)) for name in hf_loop.SIDES]
    first, second = pairs.in_step(sides, 2)
    assert (list(first), list(second)) == ([hf_loop.OURS, hf_loop.THEIRS], [hf_loop.THEIRS, hf_loop.OURS])
    for name, outcome in (*first.items(), *second.items()):
        told = outcome.told
        assert outcome.wall > outcome.seconds
        assert outcome.seconds == pytest.approx(64 / told["prefill"] + 7 / told["decode"])
        assert ("loop" in told) == (name == hf_loop.OURS)


def test_a_lasting_side_that_fails_ends_the_comparison() -> None:
    with pytest.raises(SystemExit, match="gone told nothing"):
        pairs.in_step([pairs.Side("gone", (sys.executable, "-c", "print('no figures')"))], 1)
    # also where the other one does not hear that it is over
    deaf = "import json, time; print(json.dumps({'seconds': 1, 'requests': 1}), flush=True); time.sleep(600)"
    with pytest.raises(SystemExit, match="gone told nothing"):
        pairs.in_step(
            [
                pairs.Side("deaf", (sys.executable, "-c", deaf)),
                pairs.Side("gone", (sys.executable, "-c", "print('no figures')")),
            ],
            1,
        )


@needs_hf
def test_the_loop_around_a_pass_costs_little() -> None:
    import hf_loop

    # a token of the demo model, the smallest there is, takes a millisecond; runs too short to be held up
    assert any(0 < hf_loop.loop_cost(tokens=50, rounds=150) < 1e-5 for _ in range(20))


def test_the_page_of_the_loop_has_a_line_for_each_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hf_loop

    monkeypatch.setattr(pairs, "MEASURED", tmp_path)

    def outcome(rate: float) -> pairs.Outcome:
        return pairs.Outcome(1, 1, 1, 1, {"prefill": rate, "decode": rate / 2, "loop": 1e-4})

    rounds = [{"slmeval": outcome(2.0 * at), "by hand": outcome(at)} for at in range(1, 11)]
    pairs.keep("hf-loop", "float32", rounds, threads=2)
    assert hf_loop.page().splitlines()[2:4] == [
        "| `float32` | prefill | 11.0 | 5.5 | 2.000 (2.000 to 2.000) | 0.97 to 1.03 |  |",
        "| `float32` | decode | 5.5 | 2.8 | 2.000 (2.000 to 2.000) | 0.97 to 1.03 | 0.0100% |",
    ]


# ---- curves ------------------------------------------------------------------------------------------


def test_rows_are_made_longer_and_given_more_choices() -> None:
    rows = [
        {
            "question": f"q{row}",
            "answerKey": "B",
            "choices": {"label": ["A", "B"], "text": [f"a{row}", f"b{row}"]},
        }
        for row in range(3)
    ]
    made = curves.more_choices(rows, 4)
    assert made[0]["choices"] == {"text": ["b0", "a0", "a1", "b1"], "label": ["1", "2", "3", "4"]}
    assert made[2]["choices"]["text"] == ["b2", "a2", "a0", "b0"]
    assert curves.longer(rows, 2)[2]["question"] == "q0 q1 q2"
