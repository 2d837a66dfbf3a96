"""The pieces of the benchmark of the service under load: that it would see what it looks for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the service is not installed")

ROOT = Path(__file__).parents[1]

sys.path.insert(0, str(ROOT / "benchmarks"))
import service_load  # noqa: E402

from slmeval.service.ledger import Event  # noqa: E402
from slmeval.service.news import News  # noqa: E402

EVENTS = [(1, "a"), (2, "b"), (3, "a"), (5, ""), (6, "a")]


def stream(ids: list[int], run: str | None = None, after: int = 0) -> service_load.Stream:
    made = service_load.Stream(after, run)
    made.ids = ids
    return made


@pytest.mark.parametrize(
    ("ids", "run", "after", "found"),
    [
        ([1, 2, 3, 5], None, 0, {"due": 4}),
        ([3, 5, 6], None, 2, {"due": 2}),
        ([1, 3], "a", 0, {"due": 2}),
        ([1, 5], None, 0, {"due": 4, "lost": 2}),
        ([], "b", 0, {"due": 1, "lost": 1}),
        ([1, 2, 2, 3, 5], None, 0, {"due": 4, "doubled": 1}),
        ([1, 3, 2, 5], None, 0, {"due": 4, "disordered": 1}),
        ([1, 2, 3], "a", 0, {"due": 2, "foreign": 1}),
        ([1, 2, 3, 4, 5], None, 0, {"due": 4, "foreign": 1}),
    ],
)
def test_what_a_client_did_not_get_as_it_should_is_counted(
    ids: list[int], run: str | None, after: int, found: dict[str, int]
) -> None:
    told = service_load.verdict([stream(ids, run, after)], EVENTS, 5)
    assert {name: count for name, count in told.items() if count} == found


def frames(*ids: int, kind: str = "progress") -> bytes:
    at = "2026-01-01T00:00:00.000+00:00"
    made = [
        Event(id_, "a", at, kind, {"text": '\n\nid: 99\nevent: x\ndata: {"run":"a","at":"b"'}) for id_ in ids
    ]
    return b"".join(News.of(event).text for event in made)


@pytest.mark.parametrize("size", [1, 7, 50, 10_000])
def test_a_stream_is_read_in_pieces_of_any_size(size: int) -> None:
    made = service_load.Stream(0, "a")
    chunks = [b"retry: 2000\n\n", frames(1, 2), b": still here\n\n", frames(3), frames(4, kind="done")]
    whole = b"HTTP/1.1 200 OK\r\n\r\n" + b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in chunks)
    for place in range(0, len(whole), size):
        made.data_received(whole[place : place + size])
        made.read()
        assert made.is_over == (made.ids == [1, 2, 3, 4])
    assert made.ids == [1, 2, 3, 4]


def test_an_event_that_was_cut_off_comes_again() -> None:
    made = service_load.Stream(0, None)
    made.data_received(b"\n" + frames(1, 2)[:-4])
    made.connection_lost(None)
    assert (made.ids, made.last) == ([1], 1)
    made.data_received(b"\n" + frames(2, 3))
    made.read()
    assert made.ids == [1, 2, 3]


def test_the_share_in_which_a_run_was_carried_out() -> None:
    def at(second: int) -> str:
        return f"2026-01-01T00:00:{second:02}.000+00:00"

    events = [
        (1, "a", "queued", at(0)),
        (2, "a", "started", at(5)),
        (3, "a", "done", at(15)),
        (4, "b", "started", at(25)),
        (5, "b", "progress", at(30)),
    ]
    assert service_load.working(events, 20.0) == pytest.approx((5 + 5) / 20)
    assert service_load.working(events[:1], 20.0) == 0


def test_the_slowest_of_a_hundred() -> None:
    assert service_load.spread([each / 100 for each in range(100, 0, -1)])["p99"] == 0.99
    assert service_load.spread([1.0] * 97 + [2.0, 3.0, 4.0])["p99"] == 3.0
    assert service_load.spread([]) == {"n": 0}


@pytest.mark.slow
def test_a_short_load_loses_nothing() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "service_load.py"), "--smoke", "--once"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["due"] > 50
    assert told["lost"] == told["doubled"] == told["disordered"] == told["foreign"] == 0
    assert told["all reads"]["n"] == 50
    assert told["submissions"]["n"] == 20
