"""The store keeps what it was given: through kill -9, a full disk, two writers at once, and time."""

from __future__ import annotations

import itertools
import json
import math
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import example_runs as examples
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slmeval import store as store_module
from slmeval.document import to_plain
from slmeval.errors import ExitCode, StoreError, UnknownName, UsageError
from slmeval.migrations import APPLICATION_ID, MIGRATIONS
from slmeval.store import RunSummary, Store, default_path
from slmeval.types import Completion, Likelihood, Reply, RunOptions

LIKELIHOOD = Likelihood((-0.1, -1e-300, -math.pi), greedy=True)
COMPLETION = Completion("4 2", (1, 2, 49_151), "stop")
LOGPROBS = st.floats(-1e6, 0) | st.just(-math.inf)
REPLIES = st.builds(Likelihood, st.lists(LOGPROBS).map(tuple), st.booleans()) | st.builds(
    Completion,
    st.text(st.characters()),
    st.lists(st.integers(0, 2**31 - 1)).map(tuple),
    st.sampled_from(["stop", "end", "length"]),
)
COUNTER = itertools.count()
ROOT = Path(__file__).parents[1]
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.db") as opened:
        yield opened


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("lasting") / "store.db") as opened:
        yield opened


# ---- answers -----------------------------------------------------------------------------------------


@example(replies=[Completion("\ud800 \0 \N{GRINNING FACE}", (0,), "end"), Likelihood((), greedy=False)])
@given(replies=st.lists(REPLIES, max_size=5))
def test_any_answer_comes_back_to_the_last_bit(lasting: Store, replies: list[Reply]) -> None:
    pairs = {f"key{next(COUNTER)}": reply for reply in replies}
    lasting.save_replies(pairs.items())
    # compared as text: 0.0 and -0.0 are equal as numbers
    assert repr(sorted(lasting.replies(pairs).items())) == repr(sorted(pairs.items()))


def test_the_first_answer_under_a_key_stands(store: Store) -> None:
    store.save_replies([("k", LIKELIHOOD)])
    store.save_replies([("k", COMPLETION), ("l", COMPLETION)])
    assert store.replies(["k", "l"]) == {"k": LIKELIHOOD, "l": COMPLETION}


def test_keys_without_an_answer_are_left_out(store: Store) -> None:
    store.save_replies([("k", LIKELIHOOD)])
    assert store.known(["k", "missing", "k"]) == {"k"}
    assert store.replies(["missing"]) == {}
    assert store.known([]) == set()


def test_ten_thousand_keys_are_asked_for_at_once(store: Store) -> None:
    if sys.version_info >= (3, 11):
        # what older builds of SQLite can do
        store._db.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
    keys = [f"key{number}" for number in range(10_000)]
    store.save_replies((key, LIKELIHOOD) for key in keys[::2])
    assert store.known(iter(keys)) == set(keys[::2])
    assert len(store.replies(iter(keys))) == 5_000


def test_answers_outlive_the_process_that_saved_them(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.db") as first:
        first.save_replies([("k", COMPLETION)])
    with Store.open(tmp_path / "store.db") as second:
        assert second.replies(["k"]) == {"k": COMPLETION}


def test_an_error_among_the_answers_saves_none_of_them(store: Store) -> None:
    def pairs() -> Iterator[tuple[str, Reply]]:
        yield "k", LIKELIHOOD
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.save_replies(pairs())
    assert store.known(["k"]) == set()


def test_any_sqlite_tool_can_read_an_answer(store: Store) -> None:
    store.save_replies([("k", Likelihood((-0.5, -0.25), greedy=False)), ("l", COMPLETION)])
    with sqlite3.connect(store.path) as plain:
        scored, written = plain.execute("SELECT logprob, greedy, text, reason FROM answers ORDER BY key")
        ((documented,),) = plain.execute("SELECT sql FROM sqlite_master WHERE name = 'answers'")
    plain.close()
    assert scored == (-0.75, 0, None, None)
    assert written == (None, None, "4 2", "stop")
    assert "natural-log probability" in documented


def test_a_torn_answer_is_refused_and_named(store: Store) -> None:
    store.save_replies([("k", LIKELIHOOD)])
    with sqlite3.connect(store.path) as plain:
        plain.execute("UPDATE answers SET token_logprobs = x'0102'")
    plain.close()
    with pytest.raises(StoreError, match="is damaged: answer k cannot be read"):
        store.replies(["k"])


# ---- runs --------------------------------------------------------------------------------------------


def test_a_run_comes_back_as_it_was(store: Store) -> None:
    run = examples.side_by_side()
    store.begin_run(run.id, run.started, run.options)
    store.finish_run(run)
    assert store.run(run.id) == run
    assert store.options_of(run.id) == run.options


def test_a_run_from_elsewhere_needs_no_beginning(store: Store) -> None:
    store.finish_run(examples.run())
    assert store.run("20260801") == examples.run()


def test_the_history_is_told_newest_first(store: Store) -> None:
    for day in ("02", "03", "01"):
        store.begin_run(f"run{day}", f"2026-08-{day}T00:00:00+00:00", RunOptions(limit=int(day)))
    store.finish_run(examples.run(id="run03", started="2026-08-03T00:00:00+00:00"))
    assert [summary.id for summary in store.runs()] == ["run03", "run02", "run01"]
    assert store.runs()[0].finished == examples.run().finished
    assert store.runs()[1] == RunSummary(
        "run02", "2026-08-02T00:00:00+00:00", None, "running", RunOptions(limit=2)
    )


def test_a_run_is_found_by_its_first_letters_if_no_other_begins_so(store: Store) -> None:
    for name in ("ab1", "ab2", "ab", "c%"):
        store.finish_run(examples.run(id=name))
    assert store.run("ab").id == "ab"
    assert store.run("c").id == "c%"
    with pytest.raises(UsageError, match="3 runs begin with 'a', the newest is ab: add letters"):
        store.run("a")


@pytest.mark.parametrize("name", ["ab3", "%", "", "a_1"])
def test_a_run_that_is_not_there_is_an_unknown_name(store: Store, name: str) -> None:
    store.finish_run(examples.run(id="ab1"))
    with pytest.raises(UnknownName, match="unknown run"):
        store.run(name)


def test_a_run_without_results_says_how_to_go_on(store: Store) -> None:
    store.begin_run("killed", "2026-08-01T00:00:00+00:00", RunOptions())
    with pytest.raises(UsageError, match=r"run killed has not finished: .*slmeval run --resume killed"):
        store.run("kill")


def test_the_newest_unfinished_run_is_the_one_to_resume(store: Store) -> None:
    assert store.unfinished() is None
    store.begin_run("older", "2026-08-01T00:00:00+00:00", RunOptions())
    store.finish_run(
        examples.run(id="interrupted", started="2026-08-02T00:00:00+00:00", status="interrupted")
    )
    store.finish_run(examples.run(id="done", started="2026-08-03T00:00:00+00:00"))
    assert store.unfinished() == "interrupted"


def test_a_resumed_run_keeps_its_start_and_its_options_and_is_unfinished_again(store: Store) -> None:
    store.finish_run(examples.run(id="r", status="interrupted"))
    store.begin_run("r", "2027-01-01T00:00:00+00:00", RunOptions(limit=3))
    assert store.unfinished() == "r"
    assert store.runs()[0].started == examples.run().started
    assert store.options_of("r") == examples.run().options
    assert store.runs()[0].finished is None


def test_a_run_that_goes_on_keeps_its_results_until_it_brings_new_ones(store: Store) -> None:
    before = examples.run(id="r", status="done")
    store.finish_run(before)
    assert store.status_of("r") == "done"
    store.begin_run("r", before.started, before.options)
    assert store.status_of("r") == "running"
    assert store.run("r") == before
    after = examples.run(id="r", status="interrupted", asked=before.asked + 1)
    store.finish_run(after)
    assert store.status_of("r") == "interrupted"
    assert store.run("r") == after


def test_the_state_of_a_run_that_is_not_there_is_an_unknown_name(store: Store) -> None:
    for ask in (store.status_of, store.is_alive, store.full_id):
        with pytest.raises(UnknownName, match="unknown run 'r'"):
            ask("r")


def test_a_run_that_cannot_be_written_leaves_the_one_that_was(store: Store) -> None:
    store.begin_run("r", "2026-08-01T00:00:00+00:00", RunOptions())
    twice = examples.cell(figures=(examples.CHANCE, examples.CHANCE))
    with pytest.raises(UsageError, match="two figures"):
        store.finish_run(examples.run(id="r", cells=(twice,)))
    assert store.runs()[0].status == "running"


def test_the_items_of_a_cell_come_back_in_order(store: Store) -> None:
    store.save_items("r", 0, [(1, 0, "c"), (0, 1, "b"), (0, 0, "a")])
    store.save_items("r", 1, [(0, 0, "z")])
    store.save_items("r", 0, [(0, 1, "B")])
    assert store.items("r", 0) == [(0, 0, "a"), (0, 1, "B"), (1, 0, "c")]
    assert store.items("r", 2) == []


def test_the_items_of_a_cell_may_take_the_place_of_all_that_stood_there(store: Store) -> None:
    store.save_items("r", 0, [(0, 0, "a"), (0, 1, "b"), (1, 0, "c")])
    store.save_items("r", 1, [(0, 0, "z")])
    store.save_items("r", 0, [(0, 0, "A")], anew=True)
    assert store.items("r", 0) == [(0, 0, "A")]
    assert store.items("r", 1) == [(0, 0, "z")]


def test_items_that_cannot_be_saved_are_not_saved_in_part(store: Store) -> None:
    wrong: Any = [(0, 0, "a"), (0, 1, object())]
    with pytest.raises(sqlite3.Error, match="parameter"):
        store.save_items("r", 0, wrong)
    assert store.items("r", 0) == []
    store.save_items("r", 0, [(0, 0, "b")])
    assert store.items("r", 0) == [(0, 0, "b")]


# ---- models and files --------------------------------------------------------------------------------


def test_a_model_is_remembered_by_its_key(store: Store) -> None:
    store.remember_model("m", examples.INFO)
    assert store.model_info("m") == examples.INFO
    assert store.model_info("other") is None


def test_what_an_engine_said_is_kept_with_its_answers(store: Store) -> None:
    store.remember_model("m", examples.INFO, ["first", "é"])
    store.remember_model("m", examples.INFO, ["second", "first"])
    assert store.model_notes("m") == ("first", "é", "second")
    assert store.model_notes("other") == ()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_file_with_a_name_that_is_no_text_is_hashed_too(store: Store, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"model-\xff.gguf")
    path.write_bytes(b"first")
    assert store.file_hash(path) == "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e"


def test_a_file_that_is_not_there_is_an_os_error(store: Store, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.file_hash(tmp_path / "missing")


# ---- opening -----------------------------------------------------------------------------------------


def test_the_store_lies_where_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLMEVAL_STORE", "~/kept/here.db")
    assert default_path() == Path.home() / "kept" / "here.db"
    monkeypatch.setenv("SLMEVAL_STORE", "")
    assert default_path().parts[-2:] == ("slmeval", "store.db")


def test_a_new_store_is_made_with_its_folders_and_marked(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a" / "b" / "store.db") as made:
        plain = sqlite3.connect(made.path)
        names = ("application_id", "user_version", "journal_mode")
        marks = [plain.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
        plain.close()
    assert marks == [APPLICATION_ID, len(MIGRATIONS), "wal"]


def test_migrations_are_numbered_in_their_order() -> None:
    names = [step.__name__ for step in MIGRATIONS]
    assert [name.partition("_")[0] for name in names] == [f"m{n:03}" for n in range(1, len(names) + 1)]


def test_an_older_store_is_brought_forward_and_keeps_its_answers(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save_replies([("k", LIKELIHOOD)])
    monkeypatch.setattr("slmeval.migrations.MIGRATIONS", [*MIGRATIONS, add_table])
    with Store.open(store.path) as newer:
        assert newer.replies(["k"]) == {"k": LIKELIHOOD}
        assert newer.select("SELECT count(*) FROM extra") == [(0,)]
        assert newer.select("PRAGMA user_version") == [(len(MIGRATIONS) + 1,)]


def test_a_store_without_notes_is_brought_forward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "old.db"
    with monkeypatch.context() as patch:
        patch.setattr("slmeval.migrations.MIGRATIONS", MIGRATIONS[:1])
        patch.setattr("slmeval.store.MIGRATIONS", MIGRATIONS[:1])
        with Store.open(path) as old:
            old._db.execute("INSERT INTO models VALUES ('m', ?)", (json.dumps(to_plain(examples.INFO)),))
    with Store.open(path) as store:
        assert (store.model_info("m"), store.model_notes("m")) == (examples.INFO, ())
        assert (
            "what the engine said"
            in store.select("SELECT sql FROM sqlite_master WHERE name = 'models'")[0][0]
        )


def add_table(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE extra (x)")


def test_a_migration_that_fails_half_way_leaves_the_store_as_it_was(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(db: sqlite3.Connection) -> None:
        add_table(db)
        db.execute("CREATE TABLE answers (x)")

    with monkeypatch.context() as patch:
        patch.setattr("slmeval.migrations.MIGRATIONS", [*MIGRATIONS, fails])
        with pytest.raises(StoreError, match="already exists") as failure:
            Store.open(store.path)
    assert failure.value.__cause__, "what failed is still held here, and must hold no lock"
    store.save_replies([("k", LIKELIHOOD)])
    assert store.select("SELECT name FROM sqlite_master WHERE name = 'extra'") == []
    assert store.select("PRAGMA user_version") == [(len(MIGRATIONS),)]


def test_a_store_of_a_newer_version_is_refused(store: Store) -> None:
    with sqlite3.connect(store.path) as plain:
        plain.execute("PRAGMA user_version = 99")
    plain.close()
    with pytest.raises(StoreError, match=r"has version 99, this slmeval knows versions up to 6: upgrade"):
        Store.open(store.path)


def test_another_program_s_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as plain:
        plain.execute("CREATE TABLE history (url)")
    plain.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program's database"):
        Store.open(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"results": list(range(1000))}))
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not an slmeval store, nor any SQLite file") as refusal:
        Store.open(path)
    assert refusal.value.exit_code is ExitCode.USAGE
    assert path.read_bytes() == before


def test_a_path_where_no_file_can_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot be used: .*file"):
        Store.open(tmp_path / "file" / "store.db")
    with pytest.raises(StoreError, match="cannot be opened"):
        Store.open(tmp_path)


def test_a_store_that_must_exist_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "store.db"
    with pytest.raises(StoreError) as refusal:
        Store.open(path, must_exist=True)
    assert str(refusal.value) == f"there is no store at {path}"
    assert not path.parent.exists()
    Store.open(path).close()
    with Store.open(path, must_exist=True) as store:
        assert store.runs() == []


def test_a_store_that_can_keep_no_log_is_refused() -> None:
    # SQLite keeps this name in memory, where there is no write-ahead log
    with pytest.raises(StoreError, match="can keep no write-ahead log"):
        Store.open(Path(":memory:"))


# ---- what can go wrong -------------------------------------------------------------------------------


def test_a_locked_store_says_so_and_how_to_go_on(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.db", wait=0.05) as store:
        other = sqlite3.connect(store.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"store\.db is locked by another process: .*--store PATH"):
            store.save_replies([("k", LIKELIHOOD)])
        assert store.known(["k"]) == set(), "readers need not wait"
        other.execute("ROLLBACK")
        other.close()
        store.save_replies([("k", LIKELIHOOD)])
        assert store.known(["k"]) == {"k"}


@pytest.fixture
def in_the_making(tmp_path: Path) -> Iterator[Path]:
    """A store that another connection holds locked, not yet in WAL mode, for 0.3 seconds."""
    maker = sqlite3.connect(tmp_path / "store.db", isolation_level=None, check_same_thread=False)
    maker.execute("BEGIN IMMEDIATE")
    done = threading.Timer(0.3, maker.execute, ["ROLLBACK"])
    done.start()
    yield tmp_path / "store.db"
    done.join()
    maker.close()


def test_a_store_that_another_process_is_making_is_waited_for(in_the_making: Path) -> None:
    with Store.open(in_the_making, wait=120) as store:
        assert store.runs() == []


def test_it_is_not_waited_for_beyond_the_limit(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as maker:
        maker.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="is locked by another process"):
            Store.open(tmp_path / "store.db", wait=0.05)
        maker.execute("ROLLBACK")


def test_a_read_only_store_says_so(store: Store) -> None:
    store._db.execute("PRAGMA query_only = 1")
    with pytest.raises(StoreError, match="cannot be written: make it writable"):
        store.save_replies([("k", LIKELIHOOD)])
    assert store.known(["k"]) == set()


def mount_read_only(folder: Path) -> None:
    command = ["mount", "-o", "bind,ro", str(folder), str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a folder read-only here: {mounted.stderr.decode().strip()}")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder with an empty store, "store.db", in which nothing can be written."""
    if sys.platform != "linux":
        pytest.skip("makes folders read-only as Linux does")
    folder = tmp_path / "read-only"
    Store.open(folder / "store.db").close()
    if os.geteuid() == 0:  # root may write wherever the file system can
        mount_read_only(folder)
        yield folder
        subprocess.run(["umount", str(folder)], check=True)
    else:
        folder.chmod(0o500)
        yield folder
        folder.chmod(0o700)


@pytest.mark.parametrize("name", ["store.db", "new.db", "new/store.db"])
def test_a_folder_that_cannot_be_written_is_told_in_a_line(read_only: Path, name: str) -> None:
    with pytest.raises(StoreError, match=r"the store .* cannot be (opened|written|used): ") as refusal:
        Store.open(read_only / name)
    assert len(str(refusal.value).splitlines()) == 1
    assert [path.name for path in read_only.iterdir()] == ["store.db"]


def test_a_store_whose_file_cannot_be_written_is_told_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    Store.open(path).close()
    path.chmod(0o400)
    if os.access(path, os.W_OK):
        pytest.skip("this user may write any file")
    with pytest.raises(StoreError, match="cannot be written: make it writable") as refusal:
        Store.open(path).begin_run("r", "2026-08-01T00:00:00+00:00", RunOptions())
    assert len(str(refusal.value).splitlines()) == 1


def test_a_damaged_store_says_so(store: Store) -> None:
    store.save_replies((f"k{number}", COMPLETION) for number in range(2000))
    store.close()
    content = bytearray(store.path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    store.path.write_bytes(content)
    with pytest.raises(StoreError, match="is damaged: move it away"), Store.open(store.path) as damaged:
        damaged.known([f"k{number}" for number in range(2000)])


def test_a_defect_of_ours_is_not_taken_for_a_bad_store(store: Store) -> None:
    store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        store.known(["k"])


BIG = Completion("x" * 1000, tuple(range(250)), "length")


def fill(store: Store) -> int:
    """Save batches of ten until the disk is full; how many batches were saved."""
    saved = 0
    with pytest.raises(StoreError, match=r"no room left on its disk: free some; .*--resume goes on"):  # noqa: PT012
        for saved in range(10_000):
            store.save_replies((f"{saved}:{number}", BIG) for number in range(10))
    return saved


def held(store: Store, batches: int) -> list[int]:
    """How many answers of each batch are in the store."""
    return [len(store.known(f"{batch}:{number}" for number in range(10))) for batch in range(batches + 1)]


def test_at_the_largest_size_nothing_is_half_written(store: Store) -> None:
    store._db.execute("PRAGMA max_page_count = 100")
    saved = fill(store)
    assert held(store, saved) == [10] * saved + [0]
    store._db.execute("PRAGMA max_page_count = 1000")
    store.save_replies([("later", LIKELIHOOD)])
    assert store.known(["later"]) == {"later"}


def test_on_a_full_disk_nothing_is_half_written_and_room_heals_it(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(400_000))
    with Store.open(small_disk / "store.db") as store:
        saved = fill(store)
        assert saved > 0
        assert held(store, saved) == [10] * saved + [0]
        ballast.unlink()
        store.save_replies([("later", LIKELIHOOD)])
    with Store.open(small_disk / "store.db") as again:
        assert held(again, saved) == [10] * saved + [0]
        assert again.known(["later"]) == {"later"}


# ---- several processes -------------------------------------------------------------------------------


def write_some(path: str, name: str, batches: int) -> None:
    # SQLite lets whoever asks first go on, not whoever has waited longest
    with Store.open(Path(path), wait=120) as store:
        for batch in range(batches):
            store.save_replies((f"{name}:{batch}:{number}", LIKELIHOOD) for number in range(10))
            store.save_items("run", int(name), [(batch, 0, name)])


def test_processes_that_make_and_write_one_store_at_once_all_succeed(tmp_path: Path) -> None:
    path = str(tmp_path / "store.db")
    writers = [SPAWN.Process(target=write_some, args=(path, str(number), 40)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(300)
    assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]
    with Store.open(Path(path)) as store:
        keys = [
            f"{name}:{batch}:{number}" for name in range(4) for batch in range(40) for number in range(10)
        ]
        assert store.known(keys) == set(keys)
        assert all(len(store.items("run", cell)) == 40 for cell in range(4))


ENDLESS_WRITER = """
import sys
from pathlib import Path
from slmeval.store import Store
from slmeval.types import Completion, Likelihood

with Store.open(Path(sys.argv[1])) as store:
    for batch in range(int(sys.argv[2]), 10**9):
        odd = Completion(f"text {batch} " * 50, tuple(range(100)), "end")
        even = Likelihood((-float(batch), -0.5), greedy=True)
        store.save_replies((f"{batch}:{n}", odd if n % 2 else even) for n in range(20))
        print(batch, flush=True)
"""


def killed_after(path: Path, first: int, batches: int) -> int:
    """Start a writer, kill it (SIGKILL) once it has told of so many batches; the last batch it told of."""
    command = [sys.executable, "-c", ENDLESS_WRITER, str(path), str(first)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as writer:
        assert writer.stdout is not None
        told = [int(writer.stdout.readline()) for _ in range(batches)]
        writer.kill()
        # it went on writing until the signal came
        told += [int(line) for line in writer.stdout]
        assert writer.wait() == -signal.SIGKILL
    return told[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_after_kill_9_every_saved_answer_is_there_and_none_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    told: list[int] = []
    first = 0
    for batches in (1, 7, 40, 200):
        told += range(first, killed_after(path, first, batches) + 1)
        # the batch after the last one told of may have been saved, or not, but never in part
        first = told[-1] + 2
        with Store.open(path) as store:
            replies = store.replies(f"{batch}:{n}" for batch in range(first) for n in range(20))
            assert store.select("PRAGMA integrity_check") == [("ok",)]
        sizes = {batch: sum(f"{batch}:{n}" in replies for n in range(20)) for batch in range(first)}
        assert all(sizes[batch] == 20 for batch in told)
        assert set(sizes.values()) <= {0, 20}
        assert all(reply == expected(key) for key, reply in replies.items())


def expected(key: str) -> Reply:
    batch, n = (int(part) for part in key.split(":"))
    if n % 2:
        return Completion(f"text {batch} " * 50, tuple(range(100)), "end")
    return Likelihood((-float(batch), -0.5), greedy=True)


def test_what_sqlite_says_is_never_swallowed() -> None:
    disk = store_module._meaning("disk I/O error")
    assert disk.startswith("cannot be read or written by its disk (disk I/O error)")
    assert store_module._meaning("something new") == "cannot be used: something new"
