"""``slmeval data`` as a user runs it, against a small hub on the loopback."""

from __future__ import annotations

import hashlib
import json
import os
import re
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from small_hub import SmallHub, serving

from slmeval.datasets import open_folder
from slmeval_commonsense import ARC_EASY, PIQA

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "slmeval" / "demo"
ARC = "allenai/ai2_arc"
TEST, TRAIN = "ARC-Easy/test.jsonl", "ARC-Easy/train.jsonl"
NOWHERE = "http://127.0.0.1:9"
SECRET = "hf_aVerySecretTokenOfSomebody"


def rows_of(name: str, split: str) -> bytes:
    return (DEMO / "rows" / name / f"{split}.jsonl").read_bytes()


@dataclass
class Desk:
    """A user at a machine: a hub, caches and pins of its own, and the command."""

    hub: SmallHub
    endpoint: str
    home: Path

    @property
    def pins(self) -> Path:
        return self.home / "pins.json"

    def environment(self, **more: str) -> dict[str, str]:
        ours = {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(self.home / "hf"),
            "SLMEVAL_PINS": str(self.pins),
        }
        left = ("HF_TOKEN", "HF_HUB_OFFLINE", "HUGGING_FACE_HUB_TOKEN", "SLMEVAL_TRACEBACK")
        kept = {name: value for name, value in os.environ.items() if name not in left}
        return {**kept, **ours, **more}

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "slmeval", "data", *arguments],
            env=self.environment(**more),
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def data(self, *arguments: str, code: int = 0, **more: str) -> tuple[str, str]:
        """What the command prints and what it complains of."""
        process = self.start(*arguments, **more)
        out, complaints = process.communicate(timeout=300)
        assert process.returncode == code, out + complaints
        assert "Traceback" not in complaints
        return out, complaints

    def pinned(self) -> dict[str, dict[str, object]]:
        document = json.loads(self.pins.read_text())
        assert document["schema"] == "slmeval.pins/1"
        return {pin["split"]: pin for pin in document["pins"]}

    def sent(self, path: str) -> int:
        return self.hub.sent[path]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    pytest.importorskip("huggingface_hub", minversion="1.3", reason="the extra `data` is not installed")
    files = {"README.md": b"", TEST: rows_of("arc_easy", "test"), TRAIN: rows_of("arc_easy", "train")}
    hub = SmallHub({ARC: {"main": files}})
    with serving(hub) as address:
        yield Desk(hub, address, tmp_path)


# ---- pull ----------------------------------------------------------------------------------------------


def test_a_pull_fetches_both_splits_records_them_and_says_where_they_are(desk: Desk) -> None:
    out, complaints = desk.data("pull", "arc_easy", "--output", "rows")
    expected = open_folder(DEMO / "rows").load(ARC_EASY.dataset, "test")
    commit = desk.hub.commit(ARC, "main")
    for split, path in (("test", TEST), ("train", TRAIN)):
        (line,) = [line for line in out.splitlines() if line.split()[1:2] == [split]]
        assert "CC BY-SA 4.0" in line
        assert f"{ARC}/{path} at {commit[:12]}" in line
        assert f"fetching {ARC}/{path}" in complaints
    assert expected.sha256[:12] in out
    pin = desk.pinned()["test"]
    assert pin == {
        "hub": ARC,
        "config": "ARC-Easy",
        "split": "test",
        "sha256": expected.sha256,
        "rows": len(expected.rows),
        "commit": commit,
        "date": pin["date"],
        "revision": None,
    }
    written = open_folder(desk.home / "rows").load(ARC_EASY.dataset, "test")
    assert (written.rows, written.sha256) == (expected.rows, expected.sha256)
    assert "2 files with" in desk.data("verify", "rows")[0]


def test_a_second_pull_asks_for_no_file_again(desk: Desk) -> None:
    first, _ = desk.data("pull", "arc_easy")
    sent = dict(desk.hub.sent)
    second, complaints = desk.data("pull", "arc_easy")
    assert (first, complaints) == (second, "")
    # lists are counted under no name
    assert {name: count for name, count in desk.hub.sent.items() if name} == {
        name: count for name, count in sent.items() if name
    }


def test_no_shots_leaves_the_examples_out(desk: Desk) -> None:
    out, _ = desk.data("pull", "arc_easy", "--no-shots")
    assert TRAIN not in out
    assert desk.sent(TRAIN) == 0


def test_the_name_of_a_data_set_stands_for_the_tasks_on_it(desk: Desk) -> None:
    desk.hub.repositories["truthfulqa/truthful_qa"] = {"main": {"README.md": b""}}
    _, complaints = desk.data("pull", "truthfulqa_mc", "--tries", "1", code=2)
    assert "truthfulqa_mc/validation could not be had from the hub (truthfulqa/truthful_qa)" in complaints


def test_a_hub_that_hangs_up_in_the_middle_is_asked_for_the_rest_alone(desk: Desk) -> None:
    size = len(rows_of("arc_easy", "test"))
    desk.hub.cuts = [1000, 500]
    out, complaints = desk.data("pull", "arc_easy", "--no-shots")
    assert f"{ARC}/{TEST}: " in complaints
    assert "trying again in 1 s" in complaints
    assert "trying again in 2 s" in complaints
    assert desk.hub.ranges == [f"{TEST} bytes=1000-", f"{TEST} bytes=1500-"]
    assert desk.sent(TEST) == size
    assert open_folder(DEMO / "rows").load(ARC_EASY.dataset, "test").sha256[:12] in out


def test_a_hub_that_knows_no_ranges_begins_again(desk: Desk) -> None:
    desk.hub.cuts, desk.hub.knows_ranges = [1000], False
    out, _ = desk.data("pull", "arc_easy", "--no-shots")
    assert desk.sent(TEST) == 1000 + len(rows_of("arc_easy", "test"))
    assert open_folder(DEMO / "rows").load(ARC_EASY.dataset, "test").sha256[:12] in out


def test_a_part_that_was_not_asked_for_is_not_taken(desk: Desk) -> None:
    desk.hub.cuts, desk.hub.other_part = [1000], True
    out, complaints = desk.data("pull", "arc_easy", "--no-shots")
    assert "the rest from byte 1000 on cannot be had" in complaints
    assert open_folder(DEMO / "rows").load(ARC_EASY.dataset, "test").sha256[:12] in out


def test_an_etag_is_no_way_out_of_the_cache(desk: Desk) -> None:
    desk.hub.etag = "../../../../evil"
    _, complaints = desk.data("pull", "arc_easy", "--no-shots", "--tries", "1", code=2)
    assert "has an ETag under which nothing can be kept: '../../../../evil'" in complaints
    assert not list(desk.home.rglob("*evil*"))


def test_bytes_move_a_bar_on_a_terminal(desk: Desk) -> None:
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")
    desk.hub.cuts = [1000]
    import fcntl
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    command = [sys.executable, "-m", "slmeval", "data", "pull", "arc_easy"]
    there = {"env": desk.environment(), "cwd": desk.home, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **there, stderr=theirs) as process:
        os.close(theirs)
        # as it comes: a terminal holds little, and the slower the machine, the more often the bar moves
        shown = _all_of(ours).decode()
        process.communicate(timeout=300)
    os.close(ours)
    assert process.returncode == 0
    assert f"{ARC}/{TEST}" in shown
    assert "%" in shown
    assert "trying again" in shown
    assert "fetching" not in shown


def _all_of(terminal: int) -> bytes:
    """What is written to it until nobody has it open any more."""
    shown = b""
    with suppress(OSError):  # so Linux says that
        while select.select([terminal], [], [], 300)[0] and (part := os.read(terminal, 1 << 16)):
            shown += part
    return shown


def test_a_pull_that_is_killed_is_gone_on_with(desk: Desk) -> None:
    size = len(rows_of("arc_easy", "test"))
    desk.hub.stalls = 2000
    process = desk.start("pull", "arc_easy", "--no-shots")
    try:
        assert desk.hub.stalled.wait(300)
        (part,) = _parts_of(desk.home, 2000)
    finally:
        process.send_signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        process.communicate(timeout=300)
    assert part.stat().st_size == 2000
    assert not desk.pins.exists()
    # what is there in part counts for nothing while the hub is away
    _, complaints = desk.data("pull", "arc_easy", "--no-shots", "--tries", "1", code=2, HF_ENDPOINT=NOWHERE)
    assert "could not be had from the hub" in complaints
    desk.hub.stalls = 0
    out, _ = desk.data("pull", "arc_easy", "--no-shots")
    assert desk.hub.ranges == [f"{TEST} bytes=2000-"]
    assert desk.sent(TEST) == size
    assert open_folder(DEMO / "rows").load(ARC_EASY.dataset, "test").sha256[:12] in out
    assert not _parts_of(desk.home, 0, wait=False)


def _parts_of(home: Path, size: int, wait: bool = True) -> list[Path]:
    """The parts of files in the cache, once one of them has ``size`` bytes."""
    from time import monotonic, sleep

    end = monotonic() + 120
    while True:
        parts = [path for path in home.rglob("*.slmeval-part") if path.stat().st_size >= size]
        if parts or not wait or monotonic() > end:
            return parts
        sleep(0.05)


def test_two_pulls_at_once_fetch_each_file_once(desk: Desk) -> None:
    both = [desk.start("pull", "arc_easy") for _ in range(2)]
    outs = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], outs
    assert outs[0][0] == outs[1][0]
    assert desk.sent(TEST) == len(rows_of("arc_easy", "test"))
    assert set(desk.pinned()) == {"test", "train"}


def test_a_busy_hub_is_asked_again(desk: Desk) -> None:
    desk.hub.busy = 2
    _, complaints = desk.data("pull", "arc_easy", "--no-shots")
    assert "503" in complaints
    assert "trying again in 1 s" in complaints


def test_a_hub_that_asks_for_rest_gets_it(desk: Desk) -> None:
    desk.hub.busy, desk.hub.rest = 2, "2"
    _, complaints = desk.data("pull", "arc_easy", "--no-shots")
    assert "trying again in 2 s" in complaints
    assert "trying again in 1 s" not in complaints


def test_a_file_without_end_is_not_taken_into_the_cache(desk: Desk) -> None:
    desk.hub.endless = {TEST}
    _, complaints = desk.data("pull", "arc_easy", "--no-shots", "--tries", "1", code=2)
    assert f"it comes as more than its {len(rows_of('arc_easy', 'test'))} bytes" in complaints
    assert desk.sent(TEST) < 1 << 26
    assert [path.stat().st_size for path in desk.home.rglob("*.slmeval-part")] == [0]


@pytest.mark.parametrize(
    ("page", "listed", "told"),
    [
        (b"<html>log in</html>", (), "JSONDecodeError"),
        (b"", ("ARC-Easy/test/../../../evil.parquet",), "'..'"),
    ],
    ids=["a page", "a name that leaves the folder"],
)
def test_a_hub_that_does_not_answer_as_one_is_one_sentence(
    desk: Desk, page: bytes, listed: tuple[str, ...], told: str
) -> None:
    desk.hub.page, desk.hub.listed = page, listed
    _, complaints = desk.data("pull", "arc_easy", "--no-shots", "--tries", "3", code=2)
    assert "the hub cannot be asked, or does not answer as one (HF_ENDPOINT" in complaints
    assert told in complaints
    assert "trying again" not in complaints
    assert not list(desk.home.rglob("*evil*"))


def test_what_is_kept_is_used_behind_a_page_to_log_in(desk: Desk) -> None:
    first, _ = desk.data("pull", "arc_easy")
    desk.hub.page = b"<html>log in</html>"
    second, complaints = desk.data("pull", "arc_easy")
    assert second == first
    assert f"{ARC} was not looked at on the hub (the hub cannot be asked" in complaints


@pytest.mark.parametrize(
    "address", ["", "rubbish", "ftp://127.0.0.1", "http://[::1", "http://a:99999", "https://"]
)
def test_an_endpoint_that_is_no_address_is_one_sentence(desk: Desk, address: str) -> None:
    _, complaints = desk.data("pull", "arc_easy", code=2, HF_ENDPOINT=address)
    assert complaints.startswith(f"slmeval: HF_ENDPOINT is {address!r}, which is not the address of a hub")
    assert len(complaints.splitlines()) == 1


def test_a_proxy_or_token_that_cannot_be_used_is_one_sentence(desk: Desk) -> None:
    arguments = ("pull", "arc_easy", "--no-shots", "--tries", "1")
    open_to_it = {"NO_PROXY": "", "no_proxy": ""}
    for more in ({"HTTP_PROXY": "socks9://127.0.0.1:9", **open_to_it}, {"HF_TOKEN": f"{SECRET}\u00e9"}):
        _, complaints = desk.data(*arguments, code=2, **more)
        assert "the hub cannot be asked" in complaints
        assert SECRET not in complaints


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="there is no such device")
def test_a_cache_that_cannot_be_is_said_to_be_one(desk: Desk) -> None:
    _, complaints = desk.data("pull", "arc_easy", "--no-shots", "--tries", "3", code=2, HF_HOME="/dev/null")
    assert "what comes cannot be kept (Not a directory /dev/null/" in complaints
    assert "HF_HOME names another place" in complaints
    assert "trying again" not in complaints


def test_a_file_that_comes_damaged_is_thrown_away(desk: Desk) -> None:
    desk.hub.large, desk.hub.damaged = True, {TEST}
    _, complaints = desk.data("pull", "arc_easy", "--no-shots", "--tries", "1", code=2)
    assert f"{ARC}/{TEST} came damaged (sha256 " in complaints
    assert "was thrown away" in complaints
    desk.hub.damaged = set()
    desk.data("pull", "arc_easy", "--no-shots")


@pytest.mark.skipif(
    sys.platform == "win32", reason="the cache has no links there, and no names that are hashes"
)
def test_a_file_that_was_damaged_in_the_cache_is_fetched_anew(desk: Desk) -> None:
    desk.hub.large = True
    first, _ = desk.data("pull", "arc_easy", "--no-shots")
    (kept,) = [path for path in desk.home.rglob("blobs/*") if path.stat().st_size]
    kept.write_bytes(kept.read_bytes()[:-200])
    second, complaints = desk.data("pull", "arc_easy", "--no-shots")
    assert second == first
    assert f"{ARC}/{TEST} was damaged where it is kept: it is fetched anew" in complaints


def test_rows_that_changed_are_refused_until_they_are_accepted(desk: Desk) -> None:
    desk.data("pull", "arc_easy")
    old = desk.pinned()["test"]
    lines = rows_of("arc_easy", "test").splitlines(keepends=True)
    files = desk.hub.repositories[ARC]["main"]
    before = desk.hub.change(ARC, {**files, TEST: b"".join(lines[1:])})
    out, complaints = desk.data("pull", "arc_easy", code=3)
    assert f"arc_easy/test on the hub ({ARC}) is not what it was: its {len(lines) - 1} rows" in complaints
    assert str(old["sha256"])[:12] in complaints
    assert f"slmeval data pull arc_easy --revision {before}" in complaints
    assert "--accept-changed" in complaints
    assert TEST not in out
    assert desk.pinned()["test"] == old
    out, _ = desk.data("pull", "arc_easy", "--accept-changed")
    new = desk.pinned()["test"]
    assert new["rows"] == len(lines) - 1
    assert str(new["sha256"])[:12] in out
    desk.data("pull", "arc_easy")


def test_the_old_rows_can_be_kept_by_their_commit(desk: Desk) -> None:
    desk.data("pull", "arc_easy")
    old = desk.pinned()["test"]
    files = desk.hub.repositories[ARC]["main"]
    before = desk.hub.change(ARC, {**files, TEST: b"".join(files[TEST].splitlines(keepends=True)[1:])})
    desk.data("pull", "arc_easy", "--revision", before)
    assert desk.pinned()["test"] == {**old, "revision": before}
    # from now on, without being named
    out, _ = desk.data("pull", "arc_easy")
    assert f"{TEST} at {before[:12]}" in out
    _, complaints = desk.data("pull", "arc_easy", "--revision", "main", code=3)
    assert "is not what it was" in complaints


def test_a_revision_that_is_not_there_says_so(desk: Desk) -> None:
    missing = "0" * 40
    _, complaints = desk.data("pull", "arc_easy", "--revision", missing, "--tries", "1", code=2)
    assert f"it has no revision {missing}" in complaints
    _, complaints = desk.data("pull", "arc_easy", "--revision", "", code=2)
    assert "--revision '' names no commit: main is the newest" in complaints
    assert not desk.pins.exists()


def test_a_revision_is_of_one_data_set(desk: Desk) -> None:
    _, complaints = desk.data("pull", "arc_easy,piqa", "--revision", "main", code=2)
    assert "--revision main is of one data set: name tasks of one alone" in complaints


def test_a_data_set_with_neither_files_nor_conversion_says_so(desk: Desk) -> None:
    desk.hub.repositories["baber/piqa"] = {"main": {"README.md": b"", "piqa.py": b"a loading script"}}
    _, complaints = desk.data("pull", "piqa", "--tries", "1", code=2)
    assert "it has no file of that split in a known place, and no Parquet conversion" in complaints


def test_what_can_be_had_is_had_and_what_cannot_is_named(desk: Desk) -> None:
    out, complaints = desk.data("pull", "arc_easy", "strategyqa,icl_copy", "--tries", "1", code=3)
    assert TEST in out
    assert "strategyqa is not on the hub: give its rows with --data DIR" in complaints
    assert "icl_copy: nothing to fetch" in complaints


def test_the_command_alone_shows_what_there_is(tmp_path: Path) -> None:
    out, _ = Desk(SmallHub({}), NOWHERE, tmp_path).data()
    assert all(f"\n  {name} " in out for name in ("pull", "pack", "verify"))


def test_an_unknown_task_is_a_mistake(desk: Desk) -> None:
    _, complaints = desk.data("pull", "arc_eazy", code=2)
    assert "did you mean 'arc_easy'?" in complaints
    assert desk.hub.asked == []


# ---- gated ---------------------------------------------------------------------------------------------


def test_a_gated_data_set_without_a_token_says_where_to_ask(desk: Desk) -> None:
    desk.hub.refused, desk.hub.tokens = frozenset({ARC}), frozenset({SECRET})
    _, complaints = desk.data("pull", "arc_easy", "--tries", "1", code=2)
    assert f"ask at {desk.endpoint}/datasets/{ARC}, then set HF_TOKEN" in complaints


def test_what_cannot_be_had_is_asked_for_once_however_many_tasks_want_it(desk: Desk) -> None:
    desk.hub.refused = frozenset({"cais/mmlu"})
    desk.hub.repositories["cais/mmlu"] = {"main": {"README.md": b""}}
    _, complaints = desk.data("pull", "mmlu", "--tries", "1", code=2)
    assert len(complaints.splitlines()) == 2
    assert len([each for each in desk.hub.asked if "cais/mmlu" in each]) == 2


def test_a_password_in_the_address_of_a_hub_is_not_printed(desk: Desk) -> None:
    desk.hub.refused = frozenset({ARC})
    address = desk.endpoint.replace("://", "://somebody:hush@")
    _, complaints = desk.data("pull", "arc_easy", "--tries", "1", code=2, HF_ENDPOINT=address)
    assert f"ask at {desk.endpoint}/datasets/{ARC}, then set HF_TOKEN" in complaints
    assert "hush" not in complaints


def test_a_token_that_was_not_let_in_says_so(desk: Desk) -> None:
    desk.hub.refused, desk.hub.tokens = frozenset({ARC}), frozenset({SECRET})
    _, complaints = desk.data("pull", "arc_easy", "--tries", "1", code=2, HF_TOKEN="hf_another")
    assert "its owner has not let in the account of the token in HF_TOKEN" in complaints
    assert "hf_another" not in complaints


def test_the_token_of_the_environment_opens_a_gated_data_set_and_is_written_nowhere(desk: Desk) -> None:
    desk.hub.refused, desk.hub.tokens = frozenset({ARC}), frozenset({SECRET})
    desk.hub.cuts = [1000]
    told = desk.data("pull", "arc_easy", "--output", "rows", HF_TOKEN=SECRET)
    told += desk.data("pack", "arc_easy", "--output", "rows.zip", HF_TOKEN=SECRET)
    assert SECRET not in "".join(told)
    for path in desk.home.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_a_token_is_not_shown_to_the_server_that_has_the_files(desk: Desk) -> None:
    """Large files come from another server, to which the hub sends whoever asks."""
    desk.hub.refused, desk.hub.tokens = frozenset({ARC}), frozenset({SECRET})
    store = SmallHub(desk.hub.repositories, cuts=[1000])
    with serving(store) as desk.hub.elsewhere:
        out, _ = desk.data("pull", "arc_easy", "--no-shots", HF_TOKEN=SECRET)
    assert open_folder(DEMO / "rows").load(ARC_EASY.dataset, "test").sha256[:12] in out
    assert (desk.hub.tokens_seen, store.tokens_seen) == ({SECRET}, set())
    assert (desk.sent(TEST), store.sent[TEST]) == (0, len(rows_of("arc_easy", "test")))
    assert store.ranges == [f"{TEST} bytes=1000-"]


# ---- the hub is away -----------------------------------------------------------------------------------


def test_a_hub_that_is_away_is_an_error_where_nothing_is_kept(desk: Desk) -> None:
    tasks = "arc_easy,piqa,mmlu"
    _, complaints = desk.data("pull", tasks, "--tries", "2", code=2, HF_ENDPOINT=NOWHERE)
    # it is waited for once, not for each data set again
    assert complaints.count("trying again in 1 s") == 1
    assert len(complaints.splitlines()) == 7
    assert f"arc_easy/test could not be had from the hub ({ARC}): " in complaints
    assert "slmeval data pull arc_easy where the hub is in reach" in complaints


@pytest.mark.parametrize("away", [{"HF_ENDPOINT": NOWHERE}, {"HF_HUB_OFFLINE": "1"}], ids=["down", "offline"])
def test_what_is_kept_is_used_while_the_hub_is_away_and_it_is_said(desk: Desk, away: dict[str, str]) -> None:
    first, _ = desk.data("pull", "arc_easy")
    second, complaints = desk.data("pull", "arc_easy", "--tries", "1", **away)
    assert second == first
    assert f"{ARC} was not looked at on the hub (" in complaints


def test_what_is_kept_must_be_what_was_recorded_too(desk: Desk) -> None:
    desk.data("pull", "arc_easy", "--no-shots")
    document = json.loads(desk.pins.read_text())
    document["pins"][0]["sha256"] = "0" * 64
    desk.pins.write_text(json.dumps(document))
    arguments = ("pull", "arc_easy", "--no-shots", "--tries", "1")
    _, complaints = desk.data(*arguments, code=2, HF_ENDPOINT=NOWHERE)
    assert "is not what it was" in complaints


# ---- pack and verify -----------------------------------------------------------------------------------


def test_an_archive_from_the_hub_from_the_folder_of_a_pull_and_from_an_archive_is_one(desk: Desk) -> None:
    out, _ = desk.data("pack", "arc_easy", "--output", "hub.zip")
    desk.data("pull", "arc_easy", "--output", "rows")
    desk.data("pack", "arc_easy", "--output", "folder.zip", "--data", "rows")
    desk.data("pack", "arc_easy", "--output", "again.zip", "--data", "folder.zip")
    whole = (desk.home / "hub.zip").read_bytes()
    assert (desk.home / "folder.zip").read_bytes() == whole == (desk.home / "again.zip").read_bytes()
    digest = hashlib.sha256(whole).hexdigest()
    assert f"sha256 {digest}" in out
    told, _ = desk.data("verify", "hub.zip", "--sha256", digest)
    assert "hub.zip is whole: 2 files with" in told
    assert "it may be passed on, each file under its licence" in told


def test_a_licence_that_is_not_known_is_packed_for_own_machines_alone(tmp_path: Path) -> None:
    from written_rows import write_rows

    write_rows(tmp_path / "rows")
    desk = Desk(SmallHub({}), NOWHERE, tmp_path)
    arguments = ("pack", "openbookqa", "--data", "rows", "--output", "rows.zip")
    _, complaints = desk.data(*arguments, code=2)
    assert "openbookqa is not known to be free to pass on (its licence is not known)" in complaints
    assert "--for-own-machines" in complaints
    assert not (tmp_path / "rows.zip").exists()
    out, _ = desk.data(*arguments, "--for-own-machines")
    assert "rows.zip is for the machines of whoever made it, and not to be passed on" in out
    assert "it is for the machines of whoever made it" in desk.data("verify", "rows.zip")[0]


def test_what_cannot_be_packed_whole_is_not_packed(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    desk = Desk(SmallHub({}), NOWHERE, tmp_path)
    _, complaints = desk.data("pack", "arc_easy", "--data", "rows", "--output", "rows.zip", code=2)
    assert "no rows of arc_easy/test" in complaints
    _, complaints = desk.data("pack", "icl_copy", "--data", "rows", "--output", "rows.zip", code=2)
    assert "there is nothing to pack" in complaints
    assert [path.name for path in tmp_path.iterdir()] == ["rows"]


def test_a_changed_archive_is_named_with_its_first_bad_entry(tmp_path: Path) -> None:
    desk = Desk(SmallHub({}), NOWHERE, tmp_path)
    desk.data("pack", "piqa", "--data", str(DEMO / "rows"), "--output", "rows.zip")
    archive = tmp_path / "rows.zip"
    data = archive.read_bytes()
    at = data.index(b'"goal"')
    archive.write_bytes(data[:at] + b'"gaol"' + data[at + 6 :])
    _, complaints = desk.data("verify", "rows.zip", code=2)
    assert len(complaints.splitlines()) == 1
    assert f"piqa/{min(PIQA.dataset.evaluation, 'train')}.jsonl in rows.zip is damaged" in complaints


# ---- a machine without a network -----------------------------------------------------------------------

#: put before all else where a network cannot be taken away: whatever wants to connect is an error
_NO_SOCKETS = """
import socket
def refuse(*_):
    raise OSError("this process has no network")
socket.socket.connect = socket.socket.connect_ex = refuse
"""


def _alone(tmp_path: Path) -> tuple[list[str], dict[str, str]]:
    """What goes before a command, and into its environment, so that it has no network."""
    if sys.platform == "linux" and os.geteuid() == 0:
        cut_off = ["unshare", "-n"]
        if subprocess.run([*cut_off, "true"], capture_output=True, check=False).returncode == 0:
            return cut_off, {}
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "sitecustomize.py").write_text(_NO_SOCKETS)
    return [], {"PYTHONPATH": os.pathsep.join([str(tmp_path / "alone"), os.environ.get("PYTHONPATH", "")])}


def test_a_run_from_an_archive_needs_no_network_and_gives_what_the_folder_gives(tmp_path: Path) -> None:
    desk = Desk(SmallHub({}), NOWHERE, tmp_path)
    tasks = "arc_easy,piqa"
    desk.data("pack", tasks, "--data", str(DEMO / "rows"), "--output", "pack.zip")
    prefix, more = _alone(tmp_path)
    model = ["--backend", "reference", "--model", str(DEMO / "model"), "--tasks", tasks, "--limit", "4"]
    reports = []
    for data in ("pack.zip", str(DEMO / "rows")):
        command = ["run", *model, "--data", data, "--format", "json", "--store", str(tmp_path / "store.db")]
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "slmeval", *command],
            env=desk.environment(**more),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        reports.append(json.loads(done.stdout))
    packed, folder = (report["cells"] for report in reports)
    for one, other in zip(packed, folder, strict=True):
        assert one["figures"] == other["figures"]
        assert one["data"]["sha256"] == other["data"]["sha256"]
        assert one["data"]["source"] == f"archive {one['name']}/{one['data']['source'].split('/')[1]}"
    assert not desk.pins.exists()


def test_a_run_records_what_it_first_had_and_refuses_what_changed(desk: Desk) -> None:
    model = ["--backend", "reference", "--model", str(DEMO / "model"), "--tasks", "arc_easy", "--limit", "2"]

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "slmeval", "run", *model, "--format", "json", "--store", "store.db"],
            env=desk.environment(**more),
            cwd=desk.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    first = run()
    assert first.returncode == 0, first.stderr
    (cell,) = json.loads(first.stdout)["cells"]
    assert cell["data"]["sha256"] == desk.pinned()["test"]["sha256"]
    assert cell["data"]["source"] == f"hub {ARC}/{TEST} at {desk.hub.commit(ARC, 'main')[:12]}"
    # the same word for the same rows, wherever they lay
    away = run(HF_ENDPOINT=NOWHERE)
    assert json.loads(away.stdout)["cells"] == [cell]
    files = desk.hub.repositories[ARC]["main"]
    desk.hub.change(ARC, {**files, TEST: b"".join(files[TEST].splitlines(keepends=True)[1:])})
    changed = run()
    assert changed.returncode == 2
    assert f"arc_easy/test on the hub ({ARC}) is not what it was" in changed.stderr


def test_the_commands_of_the_page_run_as_they_stand(desk: Desk) -> None:
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"<!-- run -->\n```\n(.*?)```", page, re.DOTALL)
    files = {f"data/{split}.jsonl": rows_of("piqa", split) for split in ("validation", "train")}
    desk.hub.repositories["baber/piqa"] = {"main": {"README.md": b"", **files}}
    model, printed = str(DEMO / "model"), ""
    for line in block.splitlines():
        words = line.partition("#")[0].split()
        digest = (re.findall(r"^sha256 (\w{64})$", printed, re.MULTILINE) or [""])[-1]
        words = [{"HASH": digest, "MODEL": model}.get(word, word) for word in words]
        if words[1] == "run":
            words += ["--backend", "reference", "--limit", "2", "--store", "store.db"]
        done = subprocess.run(
            [sys.executable, "-m", *words],
            env=desk.environment(),
            cwd=desk.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        printed += done.stdout
    told = " ".join(printed.split())
    assert f"archive arc_easy/test.jsonl, from the hub {ARC}/{TEST} at " in told
