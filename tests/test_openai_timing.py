"""What a client can time of a server: streams as they should be, those that are not, and real servers."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httpx2", reason="httpx2 is not installed")

import faulty_server as faulty
from faulty_server import Fault
from hypothesis import given
from hypothesis import strategies as st
from streaming_server import StreamingServer

from slmeval.api import Tokenizer
from slmeval.errors import JobFailed
from slmeval.tokenizing import read_tokenizer, text_tokenizer
from slmeval.types import ModelRef, Timing, Workload
from slmeval_openai import OpenAIBackend, chunks, prompts, waiting, watching
from slmeval_openai.chunks import Told, Unlike, read_stream
from slmeval_openai.documents import Garbled
from slmeval_openai.streams import Arrival
from slmeval_openai.wire import Response

pytest_plugins = ("openai_servers",)
TEXT = text_tokenizer()
KEY = "sk-very-secret-0123456789abcdef"


#: what a test opened, closed after it: what a failed one left open would fail another
_OPENED: list[OpenAIBackend] = []
#: tries of what a busy machine may hide, as where a client that had no turn reads two tokens at once
TRIES = 50


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No key and no proxy of whoever runs the tests; waits are short; nothing stays open."""
    for name in ("SLMEVAL_API_KEY", "OPENAI_API_KEY", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(waiting, "BASE", 0.002)
    yield
    while _OPENED:
        _OPENED.pop().close()


@pytest.fixture
def server() -> Iterator[StreamingServer]:
    with StreamingServer() as started:
        yield started


@pytest.fixture
def demo_tokenizer(demo_model: Path) -> Tokenizer:
    return read_tokenizer(demo_model, "the demo model's")


def opened(url: str, tokenizer: Tokenizer = TEXT, **changes: Any) -> OpenAIBackend:
    options = {**{option.name: option.default for option in OpenAIBackend.options}, **changes}
    backend = OpenAIBackend(ModelRef(OpenAIBackend.look_up(ModelRef(url)).location), options)
    _OPENED.append(backend)
    assert backend.verify_tokenizer(tokenizer) is None
    return backend


def armed(server: StreamingServer, tokenizer: Tokenizer = TEXT, **changes: Any) -> OpenAIBackend:
    """Opened in peace, with the settings of streams tried out."""
    backend = opened(server.url, tokenizer, **changes)
    timed(backend, load(1, 20, 1))
    server.armed = True
    server.asked.clear()
    server.streams.clear()
    return backend


def load(batch: int, prompt: int, new: int, depth: int = 0) -> Workload:
    """Ids that any vocabulary has."""
    rows = range(batch)
    return Workload(
        tuple(tuple((7 * at + 31 * row) % 200 for at in range(prompt)) for row in rows), new, depth
    )


def timed(backend: OpenAIBackend, workload: Workload, runs: int = 1) -> list[Timing]:
    return list(islice(backend.time(workload), runs))


def noted(backend: OpenAIBackend, words: str) -> bool:
    return any(words in note for note in backend.notes())


# ---- streams as they should be -----------------------------------------------------------------------


@pytest.mark.parametrize("api", ["completions", "chat"])
@pytest.mark.parametrize("tells", ["counts", "end", "nothing"])
def test_each_token_has_the_time_at_which_it_came(server: StreamingServer, tells: str, api: str) -> None:
    server.tells = tells
    backend = armed(server, api=api)
    server.pace = 0.03
    # the head comes first, and a chat's role; and after the last token its end
    before = 2 if api == "chat" else 1
    for _ in range(TRIES):
        began = time.perf_counter()
        (timing,) = timed(backend, load(1, 20, 5))
        waited = time.perf_counter() - began
        assert timing.prefill is None
        assert len(timing.tokens) == 5
        assert all(at >= 0.03 * (before + place) for place, at in enumerate(timing.tokens))
        # a client that had its turns: none of them is told late
        if all(at <= waited - 0.03 * (5 - place) for place, at in enumerate(timing.tokens)):
            break
    else:
        pytest.fail(f"tokens are told late: {timing.tokens} of {waited}")
    backend.close()


def test_a_batch_is_as_many_streams_at_once() -> None:
    with _FourAtOnce() as server:
        backend = armed(server)
        server.pace = 0.03
        timings = timed(backend, load(4, 20, 5), runs=2)
        assert len(server.streams) == 8
        assert all(timing.tokens[-1] >= 0.15 for timing in timings)
        backend.close()


class _FourAtOnce(StreamingServer):
    """Begins to write where four texts are asked for: one after another they would never come."""

    _all = threading.Barrier(4, timeout=100)

    def _send(self, connection: Any, request: Any, answer: bytes) -> None:
        if self.armed and request.body and request.body.get("stream"):
            self._all.wait()
        super()._send(connection, request, answer)


def test_the_last_of_a_batch_is_waited_for(server: StreamingServer) -> None:
    backend = armed(server)
    slow = server.fault_of = _Slow()
    (timing,) = timed(backend, load(3, 20, 1))
    assert slow.times == 3
    assert timing.tokens[0] > 0.2
    backend.close()


def test_streams_that_come_one_after_another_are_not_taken_for_streams_at_once() -> None:
    """As from mlx_lm.server: all tokens take their time, and not those of the last stream alone."""
    with _OneByOne() as server:
        backend = armed(server)
        server.pace = 0.03
        (timing,) = timed(backend, load(4, 20, 5))
        # of 20 tokens those after the fourth, each an event, and there are others
        assert timing.tokens[-1] - timing.tokens[0] >= 0.03 * 15
        backend.close()


class _OneByOne(StreamingServer):
    """Writes one text at a time."""

    _turn = threading.Lock()

    def _send(self, *answer: Any) -> None:
        with self._turn:
            super()._send(*answer)


class _Slow:
    """Of the streams, the second one comes late."""

    times = 0

    def __call__(self, *_: object) -> Fault | None:
        self.times += 1
        return self._late if self.times == 2 else None

    def _late(self, connection: Any, _: object, answer: bytes) -> None:
        time.sleep(0.2)
        connection.sendall(answer)


def test_connections_are_kept_from_run_to_run(server: StreamingServer) -> None:
    backend = armed(server)
    timed(backend, load(3, 20, 2))
    before = server.connections
    timed(backend, load(3, 20, 2), runs=4)
    assert server.connections == before
    assert not noted(backend, "closes connections")
    backend.close()


def test_a_connection_that_is_closed_as_it_is_used_again_is_made_anew(server: StreamingServer) -> None:
    backend = armed(server)
    answer, closed = server._listed, iter([True])

    def listed(request: Any) -> bytes:
        # no answer but the end, as of a connection that was kept for too long
        if next(closed, False):
            raise ConnectionAbortedError
        return answer(request)

    server._listed = listed  # type: ignore[method-assign]
    assert len(timed(backend, load(1, 20, 3))[0].tokens) == 3
    assert next(closed, None) is None
    backend.close()


def test_a_server_that_keeps_none_is_told_of() -> None:
    with StreamingServer(form="end") as server:
        backend = opened(server.url)
        assert len(timed(backend, load(1, 20, 3), runs=2)[1].tokens) == 3
        assert noted(backend, "the server closes connections: 2 were made within the time")
        backend.close()


def test_of_a_prefill_alone_nothing_is_seen_and_nothing_asked(server: StreamingServer) -> None:
    backend = armed(server)
    with pytest.raises(JobFailed, match="does not show when a prompt has been run: ask for a new token"):
        timed(backend, load(1, 20, 0))
    assert server.asked == []
    backend.close()


def test_what_a_server_cannot_do_is_refused(server: StreamingServer) -> None:
    backend = armed(server)
    with pytest.raises(NotImplementedError, match="does not declare force"):
        backend.time(Workload(((1, 2),), 1, forced=((3,),)))
    with pytest.raises(ValueError, match="must have one length"):
        backend.time(Workload(((1, 2), (1,)), 1))
    backend.close()


def test_tokens_of_a_depth_are_run_with_the_prompt(server: StreamingServer) -> None:
    backend = armed(server)
    assert not noted(backend, "a depth")
    timed(backend, load(1, 30, 2, depth=10))
    assert noted(backend, "the tokens of a depth were run as part of the prompt")
    backend.close()


# ---- prompts -------------------------------------------------------------------------------------------


def test_no_two_runs_begin_alike(server: StreamingServer, demo_tokenizer: Tokenizer) -> None:
    """Of one opening no first token comes twice; and two openings are in other orders."""
    server.tokenizer = demo_tokenizer
    firsts: list[tuple[int, ...]] = []
    asked = load(2, 60, 2)
    for _ in range(2):
        backend = armed(server, demo_tokenizer)
        timed(backend, asked, runs=8)
        sent = [request.body["prompt"] for request in server.streams]
        for prompt in asked.prompts:
            its = [ids for ids in sent if sorted(ids) == sorted(prompt)]
            assert len(its) == len({ids[0] for ids in its}) == 8
            firsts += [tuple(ids[:4]) for ids in its]
        backend.close()
        server.armed = False
    assert len(set(firsts)) == len(firsts) == 32
    assert len({request.body["cache_salt"] for request in server.streams}) == 16


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(0, 2**33))
def test_another_order_has_the_same_tokens_and_another_beginning(ids: list[int], number: int) -> None:
    kinds = len(set(ids))
    orders = [prompts.varied(ids, number + more) for more in range(kinds)]
    assert all(sorted(order) == sorted(ids) for order in orders)
    assert len({order[0] for order in orders}) == kinds
    assert prompts.varied(ids, number) == orders[0]


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_words_come_to_as_many_tokens(server: StreamingServer, api: str) -> None:
    """To this server each letter is a token."""
    backend = armed(server, api=api)
    timed(backend, load(1, 700, 2), runs=3)
    found = {len(request.prompt) for request in server.streams}
    # each run has the same words
    assert len(found) == 1
    assert abs(found.pop() - 700) < 10
    assert len({request.prompt.split()[0] for request in server.streams}) == 3
    assert noted(backend, "of a prompt of which 700 tokens were asked for the server counted")
    assert noted(backend, "prompts that are timed are words")
    backend.close()


def test_few_words_are_others_each_time(server: StreamingServer) -> None:
    backend = armed(server)
    timed(backend, load(1, 1, 2), runs=9)
    assert len({request.prompt for request in server.streams}) == 9
    assert all(request.prompt in prompts.WORDS for request in server.streams)
    backend.close()


def test_a_prompt_that_is_not_counted_is_said_to_be_so(server: StreamingServer) -> None:
    server.tells = "nothing"
    backend = armed(server)
    timed(backend, load(1, 50, 2))
    told = r"of streamed prompts: those of 50 are of (4[5-9]|5[0-5]) by its counts of others"
    assert any(re.search(told, note) for note in backend.notes())
    backend.close()


def test_without_any_counts_a_word_is_taken_for_a_token(server: StreamingServer) -> None:
    assert prompts.words_for(50, 16, 16) == 50
    server.tells = "nothing"
    server.fault_of = lambda request, _: None if request.body.get("stream") else _no_usage
    server.armed = True
    backend = opened(server.url)
    timed(backend, load(1, 50, 2))
    assert len(server.streams[-1].prompt.split()) == 50
    assert noted(backend, "those of 50 are of 50 tokens if a word is a token")
    backend.close()


_no_usage = faulty.changed(lambda document: document.update(usage=None))


def test_ids_that_are_counted_right_need_no_words(server: StreamingServer, demo_tokenizer: Tokenizer) -> None:
    server.tokenizer, server.cached = demo_tokenizer, 17
    backend = armed(server, demo_tokenizer)
    timed(backend, load(1, 50, 2))
    assert not noted(backend, "tokens were asked for")
    assert noted(backend, "the server had up to 17 tokens of a timed prompt in its cache")
    backend.close()


# ---- settings ------------------------------------------------------------------------------------------

_EXTRAS = {"ignore_eos", "min_tokens", "cache_prompt", "cache_salt", "stream_options"}


@pytest.mark.parametrize("refusal", ["400 Bad Request", "422 Unprocessable", "500 Internal Server Error"])
@pytest.mark.parametrize(
    ("unknown", "sent"),
    [
        ((), _EXTRAS),
        (("cache_salt",), {"ignore_eos", "cache_prompt", "stream_options"}),
        (("cache_prompt",), {"ignore_eos", "stream_options"}),
        (("ignore_eos",), {"stream_options"}),
        (("stream_options", "ignore_eos"), set()),
    ],
)
def test_a_server_is_told_no_more_than_it_takes(
    server: StreamingServer, unknown: tuple[str, ...], sent: set[str], refusal: str
) -> None:
    server.unknown, server.refusal = unknown, refusal
    backend = armed(server)
    timed(backend, load(1, 20, 3), runs=2)
    assert [_EXTRAS & set(request.body) for request in server.streams] == [sent] * 2
    assert len(server.asked) == 2 * 2  # a look whether the connection is open comes before each
    backend.close()


def test_a_server_that_does_not_stream(server: StreamingServer) -> None:
    server.unknown = ("stream",)
    backend = opened(server.url)
    with pytest.raises(JobFailed, match="Unrecognized request argument supplied: stream"):
        timed(backend, load(1, 20, 3))
    backend.close()


# ---- texts that cannot be timed -----------------------------------------------------------------------


def test_a_text_that_ends_early_is_not_timed(server: StreamingServer) -> None:
    server.heeds_ignore_eos, server.ends_after = False, 3
    backend = armed(server)
    told = "after 8 prompts no text could be timed; at last the server ended a text after 3 of 5 tokens"
    with pytest.raises(JobFailed, match=rf"{told} \('stop'\): ask for fewer new tokens"):
        timed(backend, load(1, 20, 5))
    assert len(server.streams) == 8
    assert len(timed(backend, load(1, 20, 3))[0].tokens) == 3
    backend.close()


def test_where_one_prompt_ends_early_another_is_run(server: StreamingServer) -> None:
    server.unknown = ("ignore_eos",)
    backend = armed(server)
    server.fault_of = lambda *_: faulty.raw(stream(chunk(" a"), chunk("", "stop"))) if _few(server) else None
    (timing,) = timed(backend, load(1, 20, 5))
    assert len(timing.tokens) == 5
    assert noted(
        backend, "2 runs were left out, each for another prompt's; of the last, the server ended a text"
    )
    assert noted(backend, "and does not take ignore_eos")
    backend.close()


def _few(server: StreamingServer) -> bool:
    return sum(bool(request.body and request.body.get("stream")) for request in server.asked) < 3


@pytest.mark.parametrize("tells", ["end", "nothing"])
def test_tokens_that_come_together_are_not_told_apart(server: StreamingServer, tells: str) -> None:
    server.tells, server.together = tells, 2
    backend = armed(server)
    with pytest.raises(JobFailed, match="the server sent 6 tokens in 3 chunks: when each came is not known"):
        timed(backend, load(1, 20, 6))
    # the time to the first token can be had alone
    assert len(timed(backend, load(1, 20, 1))[0].tokens) == 1
    backend.close()


def test_tokens_that_are_counted_may_come_together(server: StreamingServer) -> None:
    server.together = 2
    backend = armed(server)
    server.pace = 0.01
    for _ in range(TRIES):
        (timing,) = timed(backend, load(1, 20, 51))
        assert len(timing.tokens) == 51
        first, second, third, fourth, *_, last = timing.tokens
        assert first == second <= third == fourth < last
        if second < third:
            break
    else:
        pytest.fail(f"no token is told apart from the one before: {timing.tokens}")
    backend.close()


@pytest.mark.parametrize(("together", "asked"), [(2, 50), (16, 32), (20, 20)])
def test_a_first_chunk_of_too_many_tokens_hides_when_the_first_came(
    server: StreamingServer, together: int, asked: int
) -> None:
    server.together = together
    backend = armed(server)
    told = f"the server sent the first {together} tokens in one chunk: when the first came is not known"
    with pytest.raises(JobFailed, match=told):
        timed(backend, load(1, 20, asked))
    assert len(timed(backend, load(1, 20, 1))[0].tokens) == 1
    backend.close()


# ---- what goes wrong ------------------------------------------------------------------------------------


def chunk(text: str | None, finish: str | None = None, **more: Any) -> bytes:
    return json.dumps({"choices": [{"index": 0, "text": text, "finish_reason": finish}], **more}).encode()


def stream(*events: bytes, end: bytes = b"data: [DONE]\n\n") -> bytes:
    body = b"".join(b"data: %s\n\n" % event for event in events) + end
    return faulty.packed("200 OK", body, headers={"Content-Type": "text/event-stream"})


def count(made: Any) -> dict[str, Any]:
    return {"usage": {"prompt_tokens": 1, "completion_tokens": made}}


FAULTS: dict[str, tuple[Fault, str]] = {
    "429": (faulty.status("429 Too Many Requests", b"slow down"), "status 429: slow down"),
    "503": (faulty.status("503 Service Unavailable", Retry_After="1"), "status 503: it gives no reason"),
    "400": (faulty.status("400 Bad Request", b"too long"), r"refuses a request \(400: too long\)"),
    "401": (faulty.status("401 Unauthorized", b"who"), r"wants a key: set SLMEVAL_API_KEY \(401: who\)"),
    "302": (faulty.status("302 Found", Location="http://other/"), "points to http://other, which is not"),
    "no HTTP": (faulty.raw(b"\x00\xff\x17garbage" * 99), "the connection broke before the answer was whole"),
    "nothing": (faulty.raw(b""), "the connection broke before the answer was whole"),
    "torn": (faulty.reset, "the connection broke before the answer was whole"),
    "dead in the middle": (faulty.cut(400), "the connection broke before the answer was whole"),
    "silence": (faulty.silence, "no whole answer came within 3 s"),
    "drops": (faulty.dripping, "no whole answer came within 3 s"),
    "no end": (faulty.endless, "the stream has more than 1[0-9]{3} KiB, which no such text needs"),
    "compressed": (faulty.status("200 OK", b"\x1f\x8b", Content_Encoding="gzip"), "the answer is compressed"),
    "one whole answer": (faulty.status("200 OK", b'{"choices": []}'), "it is no whole stream"),
    "HTML": (faulty.status("200 OK", b"<html>\n</html>\n"), "it is no stream: <html>"),
    "no JSON": (faulty.raw(stream(b"all is well")), "it is no JSON"),
    "no Unicode": (faulty.raw(stream(b'{"choices": "\xff\xfe"}')), "it is no JSON"),
    "NaN": (faulty.raw(stream(b'{"choices": NaN}')), "NaN is no number of JSON"),
    "nested": (faulty.raw(stream(b"[" * 200_000)), "nested too deeply"),
    "a list": (faulty.raw(stream(b"[]")), "it has no 'choices'"),
    "an error": (
        faulty.raw(stream(chunk(" a"), b'{"error": {"message": "out of memory"}}')),
        "the server broke off: out of memory",
    ),
    "two choices": (faulty.raw(stream(b'{"choices": [{}, {}]}')), "it holds 2 choices in place of one"),
    "a choice that is none": (faulty.raw(stream(b'{"choices": [3]}')), "its choice is no object"),
    "a delta that is none": (faulty.raw(stream(b'{"choices": [{"delta": 3}]}')), "its 'delta' is no object"),
    "a text that is none": (faulty.raw(stream(b'{"choices": [{"text": ["a"]}]}')), "its text is none"),
    "an end that is none": (
        faulty.raw(stream(b'{"choices": [{"finish_reason": 3}]}')),
        "'finish_reason' is of",
    ),
    "no end of the text": (
        faulty.raw(stream(chunk(" a"), chunk(" b"))),
        "ended before the text did, after 2",
    ),
    "no stream at all": (faulty.raw(stream()), "the stream ended before the text did, after 0 chunks"),
    "too many": (
        faulty.raw(stream(*[chunk(" a")] * 4, chunk("", "stop"))),
        "it has 4 tokens, and 3 were asked for",
    ),
    "too many by its count": (
        faulty.raw(stream(chunk(" a"), chunk("", "length", **count(2**62)))),
        f"it has {2**62} tokens, and 3 were asked for",
    ),
    "counts without end": (
        faulty.raw(stream(chunk(" a", **count(2**62)), chunk("", "length"))),
        f"it counts {2**62} tokens after 0 of 3",
    ),
    "counts that fall": (
        faulty.raw(stream(chunk(" a", **count(2)), chunk(" b", **count(1)), chunk("", "length"))),
        "it counts 1 tokens after 2 of 3",
    ),
    "counts below none": (faulty.raw(stream(chunk(" a", **count(-1)))), "it counts fewer than no tokens"),
    "counts that are none": (faulty.raw(stream(chunk(" a", **count("3")))), "'completion_tokens' is of type"),
    "control characters": (faulty.raw(stream(b"\x1b[31m\x00red")), "it is no JSON"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_run_that_fails_says_why_and_is_not_repeated(
    server: StreamingServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault, told = FAULTS[name]
    backend = armed(server, timeout=100)
    server.faults = [fault]
    with monkeypatch.context() as patch:
        if "within" in told:
            patch.setattr(backend._engine._timer._streams, "_timeout", 3.0)
        with pytest.raises(JobFailed, match=told) as caught:
            timed(backend, load(1, 20, 3))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700
    assert len(server.streams) == 1
    # what comes next is right again
    assert len(timed(backend, load(1, 20, 3))[0].tokens) == 3
    backend.close()


def test_one_of_a_batch_fails_and_the_others_are_not_waited_for(server: StreamingServer) -> None:
    backend = armed(server, timeout=300)
    server.faults = [faulty.silence, faulty.silence, faulty.reset]
    began = time.monotonic()
    with pytest.raises(JobFailed, match="failed while it was timed, and a timed request is not sent again"):
        timed(backend, load(3, 20, 3))
    assert time.monotonic() - began < 150
    backend.close()


def test_a_stream_cut_anywhere_is_no_run() -> None:
    with StreamingServer() as server:
        backend = armed(server)
        whole = len(stream_of(server, backend))
        for length in range(0, whole - 5, 29):
            server.faults = [faulty.cut(length)]
            with pytest.raises(JobFailed, match="the connection broke before the answer was whole"):
                timed(backend, load(1, 20, 3))
        backend.close()


def stream_of(server: StreamingServer, backend: OpenAIBackend) -> bytes:
    timed(backend, load(1, 20, 3))
    return b"".join(server._parts(server.streams[-1]))


def test_a_server_that_goes_away(server: StreamingServer) -> None:
    backend = armed(server)
    runs = backend.time(load(1, 20, 3))
    next(runs)
    server.fault_of = lambda *_: faulty.reset
    server.deafen()
    with pytest.raises(JobFailed, match="connection"):
        next(runs)
    with pytest.raises(JobFailed, match="no connection can be made"):
        timed(backend, load(1, 20, 3))
    backend.close()


def test_a_server_that_serves_something_else_meanwhile(
    server: StreamingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = armed(server)
    runs = backend.time(load(1, 20, 3))
    monkeypatch.setattr(watching, "_EVERY", 0.0)
    next(runs)
    server.owner = "others"
    with pytest.raises(JobFailed, match="has changed in the middle of the run"):
        next(runs)
    backend.close()


def test_the_key_is_sent_and_not_shown(server: StreamingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLMEVAL_API_KEY", KEY)
    server.key = KEY
    backend = armed(server)
    timed(backend, load(1, 20, 2))
    server.faults = [faulty.raw(stream(json.dumps({"error": f"no {KEY}"}).encode()))]
    with pytest.raises(JobFailed, match=r"the server broke off: no \[the key\]"):
        timed(backend, load(1, 20, 2))
    backend.close()


# ---- reading -------------------------------------------------------------------------------------------


def arrived(*parts: bytes) -> Arrival:
    """Parts that came a second after one another, the first at 1."""
    ends = [sum(map(len, parts[: place + 1])) for place in range(len(parts))]
    reads = tuple(zip(ends, map(float, range(1, len(parts) + 1)), strict=True))
    return Arrival(Response(200, {}, b"".join(parts)), reads)


def lines(*events: bytes) -> bytes:
    return b"".join(b"data: %s\n\n" % event for event in events)


@pytest.mark.parametrize(
    ("parts", "tokens"),
    [
        # several in one read came at once
        ((lines(chunk("a"), chunk("b")), lines(chunk("", "length"))), (1, 1)),
        # one over several came with the last of them
        ((b"data: ", chunk("a"), b"\n\n" + lines(chunk("b")), lines(chunk("", "length"))), (3, 3)),
        # lines that are no data, ends of lines as on Windows, no space behind the colon
        (
            (
                b": still here\r\n\r\n",
                b"event: x\r\ndata:%s\r\n\r\n" % chunk("a"),
                lines(chunk("b", "length")),
            ),
            (2, 3),
        ),
        # a thought is text too, and a count may stand beside the last text alone
        (
            (lines(b'{"choices": [{"delta": {"reasoning": "a"}}]}'), lines(chunk("b", "length", **count(2)))),
            (1, 2),
        ),
        # with counts a token may have no text, and a chunk may be of no token
        (
            (
                lines(chunk("", **count(1))),
                lines(chunk("a", **count(1))),
                lines(chunk("b", "stop", **count(2))),
            ),
            (1, 3),
        ),
        # after its end nothing is read
        ((lines(chunk("a"), chunk("b", "length"), b"[DONE]"), b"data: rest"), (1, 1)),
    ],
)
def test_the_time_of_a_token_is_that_of_the_read_that_made_it_whole(
    parts: Sequence[bytes], tokens: tuple[int, ...]
) -> None:
    assert read_stream(arrived(*parts), 2).tokens == tokens


_EVENTS = st.sampled_from(
    [
        *(chunk(text, finish, **more) for text in ("a", "", None) for finish in (None, "stop", "length")
          for more in ({}, count(1), count(2), count(0))),
        b"[DONE]", b"", b"{}", b'{"choices": []}', b'{"error": 3}', b"nonsense",
    ]
)  # fmt: skip


@given(
    st.lists(st.one_of(_EVENTS.map(lines), _EVENTS, st.binary(max_size=40)), max_size=8), st.integers(1, 3)
)
def test_whatever_comes_is_read_or_refused(parts: list[bytes], asked: int) -> None:
    try:
        told = read_stream(arrived(*filter(None, parts)), asked)
    except (Garbled, Unlike):
        return
    assert isinstance(told, Told)
    assert len(told.tokens) == asked
    assert list(told.tokens) == sorted(told.tokens)


def test_small_reads_of_a_long_line_are_read_in_time() -> None:
    """Each byte is looked at once."""
    size = 1 << 18
    body = b"x" * size
    reads = tuple((end, 1.0) for end in range(1, size + 1))
    # of the processor, whatever else it does meanwhile
    began = time.thread_time()
    with pytest.raises(Garbled, match="it is no whole stream"):
        list(chunks._events(Arrival(Response(200, {}, body), reads)))
    assert time.thread_time() - began < 5


# ---- real servers --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_llama_cpp_pythons_server_is_timed(llama_server: str) -> None:
    backend = opened(llama_server)
    _check_real(backend)
    # what is under way is broken off there for what comes after it, unless it was done before that came
    with pytest.raises(JobFailed, match="the connection broke before the answer was whole"):
        timed(backend, load(3, 40, 8), runs=TRIES)
    assert not noted(backend, "closes connections")
    backend.close()


@pytest.mark.slow
def test_mlx_lms_server_is_timed(mlx_server: str) -> None:
    backend = opened(mlx_server)
    _check_real(backend)
    assert noted(backend, "the server closes connections")
    backend.close()


@pytest.mark.slow
def test_vllms_server_is_timed(vllm_server: str, demo_tokenizer: Tokenizer) -> None:
    backend = opened(vllm_server, demo_tokenizer)
    _check_real(backend)
    assert [len(timing.tokens) for timing in timed(backend, load(3, 40, 8), runs=2)] == [8, 8]
    # ids as they are, all of them counted, and none read from a cache
    for said in ("words", "does not count", "the server counted", "in its cache"):
        assert not noted(backend, said), backend.notes()
    backend.close()


def _check_real(backend: OpenAIBackend) -> None:
    began = time.perf_counter()
    timings = timed(backend, load(1, 40, 4), runs=3)
    waited = time.perf_counter() - began
    assert all(0 < timing.tokens[0] <= timing.tokens[-1] for timing in timings)
    assert sum(timing.tokens[-1] for timing in timings) < waited
    more = islice(backend.time(load(1, 40, 4)), TRIES)
    assert any(timing.tokens[0] < timing.tokens[-1] for timing in chain(timings, more))
