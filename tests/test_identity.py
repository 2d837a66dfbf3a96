"""A number belongs to what it was measured on: changed files, and runs at work elsewhere, are noticed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import example_runs as examples
import pytest
from random_models import TINY_LLAMA, write_model
from test_tokenizing import words

from slmeval import store as store_module
from slmeval.errors import UsageError
from slmeval.models import find_model, parse_model
from slmeval.store import Store
from slmeval.types import RunOptions

ROOT = Path(__file__).parents[1]
STARTED = "2026-08-01T00:00:00+00:00"
LONG_AGO_NS = 10**18
#: SHA-256 of b"first" and b"FIRST" (sha256sum)
FIRST = "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e"
SECOND = "267d3b81a9dcd937f3b46a17a57fc0ca2133373389336861142673a73fc17bc6"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.db") as opened:
        yield opened


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as old enough to be remembered as soon as they are written."""
    monkeypatch.setattr(store_module, "_FRESH_NS", 0)


def change(store: Store, statement: str) -> None:
    """Change the store as another program would."""
    with closing(sqlite3.connect(store.path)) as plain, plain:
        plain.execute(statement)


# ---- files -------------------------------------------------------------------------------------------


def aged(path: Path, content: bytes) -> Path:
    """A file whose mtime is the same as that of all others made so, as tar and rsync leave them."""
    path.write_bytes(content)
    os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))
    return path


@pytest.mark.usefixtures("unhurried")
def test_a_file_is_read_once_until_it_changes(store: Store, tmp_path: Path) -> None:
    path = aged(tmp_path / "model.safetensors", b"first")
    assert store.file_hash(path) == FIRST
    change(store, "UPDATE files SET sha256 = 'remembered'")
    assert store.file_hash(path) == "remembered"
    path.write_bytes(b"longer")
    assert store.file_hash(path) != "remembered"


def test_a_file_that_changed_just_now_is_not_remembered(store: Store, tmp_path: Path) -> None:
    # its mtime is old, its ctime is not
    assert store.file_hash(aged(tmp_path / "model.safetensors", b"first")) == FIRST
    assert store.select("SELECT * FROM files") == []


@pytest.mark.usefixtures("unhurried")
@pytest.mark.skipif(sys.platform == "win32", reason="its ctime is the time of creation")
def test_a_change_is_seen_though_size_and_mtime_are_put_back(store: Store, tmp_path: Path) -> None:
    path = aged(tmp_path / "model.safetensors", b"first")
    before = path.stat()
    assert store.file_hash(path) == FIRST
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # the clock of the file system has ticks
        aged(path, b"FIRST")
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert store.file_hash(path) == SECOND


@pytest.mark.usefixtures("unhurried")
def test_two_files_of_one_size_and_mtime_that_change_names_change_hashes(
    store: Store, tmp_path: Path
) -> None:
    one, other = aged(tmp_path / "one", b"first"), aged(tmp_path / "other", b"FIRST")
    assert [store.file_hash(one), store.file_hash(other)] == [FIRST, SECOND]
    swap(one, other)
    assert [store.file_hash(one), store.file_hash(other)] == [SECOND, FIRST]


def swap(one: Path, other: Path) -> None:
    aside = one.rename(one.with_name("aside"))
    other.rename(one)
    aside.rename(other)


@pytest.mark.usefixtures("unhurried")
def test_two_model_folders_that_change_names_change_hashes(store: Store, tmp_path: Path) -> None:
    folders = [
        words(write_model(tmp_path / name, TINY_LLAMA, seed=seed), bos=False)
        for seed, name in enumerate(("one", "other"))
    ]
    for file in [*folders[0].iterdir(), *folders[1].iterdir()]:
        os.utime(file, ns=(LONG_AGO_NS, LONG_AGO_NS))

    def hashes() -> list[str]:
        return [find_model(parse_model(str(folder)), store.file_hash).sha256 for folder in folders]

    before = hashes()
    assert before[0] != before[1]
    swap(*folders)
    assert hashes() == before[::-1]


# ---- what a run stands on ----------------------------------------------------------------------------

MODEL = {"model m": "aa", "tokenizer m": "bb", "rows arc_easy@0": "cc"}


def test_a_run_tells_what_has_changed_since_it_first_began(store: Store) -> None:
    store.begin_run("r", STARTED, RunOptions(), MODEL)
    assert store.identity_changes("r", MODEL) == {}
    now = {"model m": "xx", "tokenizer m": "bb", "rows piqa@0": "dd"}
    assert store.identity_changes("r", now) == {
        "model m": ("aa", "xx"),
        "rows arc_easy@0": ("cc", ""),
        "rows piqa@0": ("", "dd"),
    }


def test_what_a_run_first_stood_on_is_what_counts(store: Store) -> None:
    store.begin_run("r", STARTED, RunOptions(), MODEL)
    store.finish_run(examples.run(id="r", status="interrupted"))
    store.begin_run("r", STARTED, RunOptions(), {"model m": "xx"})
    assert store.identity_changes("r", MODEL) == {}


def test_a_run_that_began_without_an_identity_gets_the_next_one(store: Store) -> None:
    assert store.identity_changes("r", MODEL) == {}, "it never began"
    store.begin_run("r", STARTED, RunOptions())
    assert store.identity_changes("r", MODEL) == {}
    store.begin_run("r", STARTED, RunOptions(), MODEL)
    assert list(store.identity_changes("r", {**MODEL, "model m": "xx"})) == ["model m"]


# ---- runs at work elsewhere --------------------------------------------------------------------------

WORKER = """
import sys
from pathlib import Path
from slmeval.store import Store
from slmeval.types import RunOptions

with Store.open(Path(sys.argv[1])) as store:
    store.begin_run("theirs", "2026-08-02T00:00:00+00:00", RunOptions())
    print("begun", flush=True)
    sys.stdin.read()
"""


@contextmanager
def at_work(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has begun the run "theirs", until its standard input is closed."""
    command = [sys.executable, "-c", WORKER, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "begun\n"
        yield worker


POSIX = pytest.mark.skipif(sys.platform == "win32", reason="other processes are not seen there")


@POSIX
def test_a_run_at_work_in_another_process_is_alive_and_is_left_alone(store: Store) -> None:
    store.begin_run("ours", STARTED, RunOptions())
    with at_work(store.path) as worker:
        assert store.is_alive("theirs")
        assert store.unfinished() == "ours"
        with pytest.raises(UsageError, match=f"theirs is being carried out by process {worker.pid}: wait"):
            store.begin_run("theirs", STARTED, RunOptions())


@POSIX
def test_a_run_whose_process_was_killed_goes_on(store: Store) -> None:
    with at_work(store.path) as worker:
        worker.kill()
        assert worker.wait() == -signal.SIGKILL
    assert not store.is_alive("theirs")
    assert store.unfinished() == "theirs"
    store.begin_run("theirs", STARTED, RunOptions())


@pytest.mark.skipif(sys.platform != "linux", reason="the state of a process is read from Linux's /proc")
def test_a_killed_process_whose_parent_has_not_noticed_is_dead(store: Store) -> None:
    with at_work(store.path) as worker:
        worker.kill()
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
        os.kill(worker.pid, 0)  # it still has its number
        assert not store.is_alive("theirs")


@pytest.mark.skipif(sys.platform != "linux", reason="when a process began is read from Linux's /proc")
def test_a_later_process_with_the_same_number_is_not_taken_for_it(store: Store) -> None:
    with at_work(store.path):
        change(store, "UPDATE runs SET born = '1'")
        assert not store.is_alive("theirs")


@POSIX
def test_a_process_of_the_same_number_on_another_machine_is_not_taken_for_it(store: Store) -> None:
    with at_work(store.path):
        change(store, "UPDATE runs SET host = host || '-other'")
        assert not store.is_alive("theirs")


@POSIX
def test_a_run_that_has_ended_is_not_alive_though_its_process_is(store: Store) -> None:
    with at_work(store.path):
        store.finish_run(examples.run(id="theirs"))
        assert not store.is_alive("theirs")


def test_a_run_of_this_process_is_ours_to_resume(store: Store) -> None:
    store.begin_run("ours", STARTED, RunOptions())
    assert not store.is_alive("ours")
    assert store.unfinished() == "ours"
