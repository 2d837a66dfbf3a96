"""Nothing is lost: a run that is killed goes on where it was, and ends with the same figures."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

#: the bundled rows on the oracle: real answers, several units, a few seconds
WHAT = ["--backend", "reference", "--tasks", "arc,hellaswag,piqa,gsm8k", "--limit", "24"]
KILLS = 20


def start(store: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "slmeval", "run", *arguments, "--format", "json", "--store", str(store)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # whoever runs the tests in the background has had interrupts switched off, which is inherited
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  no threads here
    )


def finish(process: subprocess.Popen[bytes]) -> dict[str, object]:
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    document: dict[str, object] = json.loads(out)
    return document


def journal(store: Path) -> dict[str, str]:
    """When each answer was written, by key."""
    if not store.exists():
        return {}
    with closing(sqlite3.connect(store)) as db:
        try:
            return dict(db.execute("SELECT key, created FROM answers"))
        except sqlite3.OperationalError:
            return {}  # killed before the tables were made


def unfinished(store: Path) -> str | None:
    with closing(sqlite3.connect(store)) as db, suppress(sqlite3.OperationalError):
        for (run,) in db.execute("SELECT id FROM runs WHERE status != 'done' ORDER BY started DESC"):
            return str(run)
    return None


def children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def gone(pids: list[int], seconds: float = 120) -> bool:
    """Whether the processes end by themselves in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(map(alive, pids)):
            return True
        time.sleep(0.05)
    return False


def alive(pid: int) -> bool:
    """Whether it runs: one that has ended, and that nobody has waited for yet, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_some(seconds: float, process: subprocess.Popen[bytes]) -> float | None:
    """Wait so long; the seconds that it took where it has ended before."""
    began = time.monotonic()
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
        return time.monotonic() - began
    return None


def wait_for_more(store: Path, before: dict[str, str], process: subprocess.Popen[bytes]) -> None:
    """Until the run has written an answer, or has ended."""
    deadline = time.monotonic() + 300
    while process.poll() is None and len(journal(store)) <= len(before) and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], float, int]:
    """The result of the run when nobody disturbs it, its seconds, and how many answers it has."""
    store = tmp_path_factory.mktemp("undisturbed") / "store.db"
    began = time.monotonic()
    document = finish(start(store, *WHAT))
    return document, time.monotonic() - began, len(journal(store))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the worker through Linux's /proc")
@pytest.mark.parametrize("victim", ["parent", "worker"])
@pytest.mark.slow
def test_a_killed_run_asks_no_journaled_answer_again_and_gives_the_same_figures(
    tmp_path: Path, undisturbed: tuple[dict[str, object], float, int], victim: str
) -> None:
    expected, seconds, answers = undisturbed
    rng = random.Random(victim)
    kills, round_number, partial = 0, 0, 0
    while kills < KILLS // 2:
        round_number += 1
        store = tmp_path / f"{round_number}.db"
        while True:
            before = journal(store)
            run = unfinished(store) if store.exists() else None
            process = start(store, *(["--resume", run] if run else WHAT))
            if kills < KILLS // 2:
                # half-way, and every other time at any moment, of as many as it takes now
                if kills % 2:
                    wait_for_more(store, before, process)
                else:
                    seconds = wait_some(rng.uniform(0.2, seconds), process) or seconds
            if kills == KILLS // 2 or process.poll() is not None:
                document = finish(process)
                break
            workers = children(process.pid)
            targets = [process.pid] if victim == "parent" else workers
            for pid in targets:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            kills += bool(targets)
            process.communicate(timeout=600)
            assert gone(workers), "a worker outlived its parent"
            now = journal(store)
            assert before.items() <= now.items(), "an answer was lost or asked again"
            partial += 0 < len(now) < answers
        assert document["cells"] == expected["cells"]
        resumed = document["run"]
        assert isinstance(resumed, dict)
        assert resumed["reused"] >= len(before)
        assert resumed["asked"] + len(before) == answers == len(journal(store))
    assert partial > 0, "no kill met a run half-way"


@pytest.mark.slow
def test_an_interrupt_leaves_a_run_that_goes_on_without_a_name(
    tmp_path: Path, undisturbed: tuple[dict[str, object], float, int]
) -> None:
    expected, _, answers = undisturbed
    for number in range(5):
        store = tmp_path / f"{number}.db"
        process = start(store, *WHAT)
        wait_for_more(store, {}, process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=600)
        # one that had all answers before it was interrupted may have ended as well
        if process.returncode != 0 or len(journal(store)) < answers:
            break
    assert process.returncode == 130
    document = finish(start(store, "--resume"))
    assert document["cells"] == expected["cells"]
    again = start(store, "--resume")
    again.communicate(timeout=600)
    assert again.returncode == 2, "there is nothing left to resume"
