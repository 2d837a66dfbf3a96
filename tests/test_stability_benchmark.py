"""The pieces of the stability benchmark: what spins is ended, and a trial tells what was measured."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

sys.path.insert(0, str(ROOT / "benchmarks"))
import pairs  # noqa: E402
import stability as benchmark  # noqa: E402

from slmeval.types import RunOptions  # noqa: E402

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="there is no /proc")

#: a measuring process that tells how many processes spin beside it once half of its runs are done
COUNTING = """
import json, os, time
from contextlib import suppress
from pathlib import Path
def beside():
    count = -1
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            fields = path.read_text().rpartition(")")[2].split()
            count += int(fields[1]) == os.getppid() and fields[0] != "Z"
    return count
before = beside()
print("half", flush=True)
until = time.monotonic() + 120
while beside() < before + MORE and time.monotonic() < until:
    time.sleep(0.05)
print(json.dumps({"more": beside() - before}))
"""


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def becomes(true: Any) -> bool:
    """Whether it gets true within two minutes."""
    until = time.monotonic() + 120
    while not (found := true()) and time.monotonic() < until:
        time.sleep(0.05)
    return bool(found)


def ticks(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[11])


@needs_proc
def test_what_spins_is_ended_and_nothing_else() -> None:
    with benchmark.spinning(1) as others:
        with benchmark.spinning(2) as pids:
            assert len(set(pids)) == 2
            assert becomes(lambda: all(ticks(pid) > 10 for pid in pids))
        assert not any(map(lives, pids))
        assert all(map(lives, others))


@needs_proc
def test_what_spins_ends_with_the_process_that_started_it() -> None:
    """Even where that ended before it could look who it was."""
    spun = f"[sys.executable, '-c', {benchmark.SPIN!r}, str(os.getpid())]"
    code = f"import os, subprocess, sys; print(subprocess.Popen({spun}, stdout=subprocess.DEVNULL).pid)"
    started = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, timeout=300)
    assert becomes(lambda: not lives(int(started.stdout)))


@needs_proc
@pytest.mark.parametrize("disturbed", [True, False])
def test_a_trial_is_disturbed_from_half_way_on(disturbed: bool) -> None:
    more = len(os.sched_getaffinity(0)) if disturbed else 0
    code = COUNTING.replace("MORE", str(more))
    told = benchmark.trial([sys.executable, "-c", code], disturbed=disturbed)
    assert told == {"more": more}


def test_a_trial_that_fails_ends_the_comparison() -> None:
    with pytest.raises(SystemExit, match="3"):
        benchmark.trial([sys.executable, "-c", "raise SystemExit(3)"], disturbed=False)


def test_a_model_is_measured_and_half_of_its_runs_are_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    given = {"runs": "6", "new_tokens": "2", "interval": "0"}
    told = benchmark.measure(RunOptions(backends=("reference",), tasks=("stability",), engine_options=given))
    assert (told["requests"], capsys.readouterr().out) == (6, "half\n")
    assert told["latency"] > 0
    assert told["verdict"] in {"", "stable", "drifting"}
    assert isinstance(told["drift"], float)
    assert told["machine"] in {"", "stable", "drifting"}
    assert isinstance(told["machine_drift"], float)


def outcome(verdict: str, drift: float, *machine: object) -> pairs.Outcome:
    moved = dict(zip(("machine", "machine_drift"), machine, strict=True))
    return pairs.Outcome(
        1.0, 20, 1.0, 1, {"verdict": verdict, "drift": drift, "note": "so", "busy": 0.25, **moved}
    )


def test_verdicts_are_counted_side_by_side() -> None:
    rounds = [
        {
            "undisturbed": outcome("stable", 0.5, "stable", 0.1),
            "disturbed": outcome("drifting", 120.0, "", 9.0),
        },
        {"undisturbed": outcome("drifting", -8.0, "", -7.0), "disturbed": outcome("drifting", 90.0, "", 8.0)},
        {"undisturbed": outcome("", 3.0, "stable", 2.0), "disturbed": outcome("drifting", 95.0, "", 8.0)},
    ]
    told = {"rounds": [{name: vars(each) for name, each in one.items()} for one in rounds]}
    assert benchmark.row("engine", told) == [
        "engine", 3, "1 stable", "-8.0 to 3.0", "stable in 2, 1 of these right; -7.0 to 2.0%",
        "3 drifting", "90.0 to 120.0", "9 of 10",
    ]  # fmt: skip
    assert "WRONG" in benchmark.line(2, "undisturbed", rounds[1]["undisturbed"])
    said = benchmark.line(1, "disturbed", rounds[0]["disturbed"])
    assert "right  (machine uneven +9.0%; so, others took 25%)" in said
