"""Devices at work for a server: real agents and workers, hostile ones, and models brought to them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the service is not installed")
pytest.importorskip("websockets", reason="the service is not installed")

from device_hall import PATIENCE, Agent, Hall, Talk, greeting, is_alive, listed, until
from service_server import kept_port

from slmeval.api import Channel, Executor, Launch
from slmeval.errors import StoreError, UsageError
from slmeval.file_hash import sha256_of
from slmeval.machine import this_machine
from slmeval.models import FoundModel, find_model
from slmeval.plan import ScoreUnit
from slmeval.protocol import pack_replies, pack_unit
from slmeval.service.device import working
from slmeval.service.device.address import Address, address_of
from slmeval.service.device.agent import Station, work
from slmeval.service.device.fetching import CannotFetch, Fetcher
from slmeval.service.device.wanted import Unwanted, Wanted, WantedFile, read_wanted
from slmeval.service.device.working import Workers
from slmeval.service.inbox import Inbox
from slmeval.service.ledger import Ledger
from slmeval.service.model_files import ModelFiles
from slmeval.service.wire import LONGEST_FRAME, pack_frame, pack_message, unpack_frame, unpack_message
from slmeval.types import ModelRef, ScoreGroup
from slmeval_reference import ReferenceBackend

OPTIONS = {"threads": 1}


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    hall = Hall(tmp_path_factory.mktemp("hall"))
    yield hall
    hall.close()


@pytest.fixture(scope="module")
def agent(hall: Hall) -> Iterator[Agent]:
    """A device called "main" that all tests may use, and leave as it was."""
    agent = hall.start("main")
    hall.device("main")
    yield agent
    assert agent.end() == 0, agent.said()


@pytest.fixture
def talk(hall: Hall, agent: Agent) -> Iterator[Talk]:
    """The device "main", leased."""
    with hall.leased(hall.device("main")) as talk:
        yield talk


@pytest.fixture(scope="session")
def demo(demo_model: Path) -> FoundModel:
    return find_model(ModelRef(str(demo_model)), sha256_of)


# ---- a device comes and goes ---------------------------------------------------------------------------


def test_a_device_tells_what_it_is_and_is_kept(hall: Hall, agent: Agent) -> None:
    device = hall.device("main")
    assert "reference" in device.engines
    assert device.machine == this_machine()
    assert device.memory is not None
    assert device.memory > 2**20
    assert not device.local
    records = hall.do(hall.service.desk.read(lambda store: Ledger(store).devices()))
    kept = next(record for record in records if record.name == "main")
    assert kept.told["engines"] == list(device.engines)
    assert kept.told["machine"]["processor"] == device.machine.processor


def test_events_tell_of_its_coming_and_going(hall: Hall) -> None:
    agent = hall.start("briefly")
    hall.device("briefly")
    agent.process.kill()
    agent.end()
    hall.wait_gone("briefly")

    def states() -> list[str]:
        events = hall.do(hall.service.desk.read(lambda store: Ledger(store).events(0)))
        return [event.data["state"] for event in events if event.data.get("name") == "briefly"]

    until(lambda: states() == ["here", "gone"], "the events")


def test_a_killed_agent_is_heard_of_and_leaves_no_worker(hall: Hall) -> None:
    agent = hall.start("killed")
    device = hall.device("killed")
    hall.call(hall.service.roster.lease, device, "run")
    talk = Talk(hall, device)
    talk.start(1)
    workers = agent.workers()
    assert workers
    agent.process.kill()
    assert talk.hear() is None
    hall.wait_gone("killed")
    agent.end()
    until(lambda: not any(map(is_alive, workers)), "the end of its workers")
    with pytest.raises(ConnectionError):
        hall.do(device.send(pack_message("clear")))
    # whoever leases one that is gone hears so, too
    hall.call(hall.service.roster.lease, device, "another")
    assert talk.hear() is None


def test_of_an_agent_that_was_ended_it_is_told_that_it_is_gone_and_not_that_its_workers_died(
    hall: Hall,
) -> None:
    agent = hall.start("ended")
    device = hall.device("ended")
    hall.call(hall.service.roster.lease, device, "run")
    talk = Talk(hall, device)
    talk.start(1)
    workers = agent.workers()
    assert agent.end() == 0
    assert talk.hear() is None
    until(lambda: not any(map(is_alive, workers)), "the end of its workers")


def test_a_line_that_is_cut_ends_the_workers_and_the_device_comes_back(hall: Hall) -> None:
    agent = hall.start("cut")
    device = hall.device("cut")
    with_workers = Talk(hall, device)
    hall.call(hall.service.roster.lease, device, "run")
    with_workers.start(1)
    workers = agent.workers()
    hall.call(hall.service.roster.leave, device)
    again = until(lambda: hall.call(hall.service.roster.find, "cut"), "its coming back")
    assert again is not device
    assert again.instance == device.instance
    until(lambda: not any(map(is_alive, workers)), "the end of its workers")
    with hall.leased(again) as talk:
        talk.start(1)
    assert agent.end() == 0


def test_a_server_that_is_started_anew_has_its_devices_back(tmp_path: Path) -> None:
    port, kept = kept_port()
    with kept:
        first = Hall(tmp_path, port)
        token = first.token("work")
        agent = first.start("faithful", token=token)
        first.device("faithful")
        first.stop()
        second = Hall(tmp_path, port)
    try:
        assert second.device("faithful").name == "faithful"
        assert agent.end() == 0
        second.wait_gone("faithful")
    finally:
        agent.end()
        second.close()


def test_two_devices_of_one_name_do_not_drive_each_other_out(hall: Hall) -> None:
    first = hall.start("twin")
    device = hall.device("twin")
    second = hall.start("twin")
    until(lambda: "call this one otherwise (--name)" in second.said(), "the second being refused")
    assert hall.device("twin") is device
    assert second.process.poll() is None
    first.end()
    until(lambda: hall.device("twin").instance != device.instance, "the second taking its place")
    second.end()


def test_the_same_device_may_come_anew_while_its_old_line_seems_to_live(hall: Hall) -> None:
    with hall.line() as old:
        old.send(greeting(name="anew"))
        assert json.loads(old.recv(PATIENCE))["kind"] == "welcome"
        before = hall.device("anew")
        hall.call(hall.service.roster.lease, before, "run")
        with hall.line() as new:
            new.send(greeting(name="anew"))
            assert json.loads(new.recv(PATIENCE))["kind"] == "welcome"
            until(lambda: hall.device("anew") is not before, "its coming anew")
            assert Talk(hall, before).hear() is None
            with pytest.raises(Exception, match="connected anew"):
                old.recv(PATIENCE)
            assert hall.device("anew")


def test_the_servers_own_device_goes_before_another_of_its_name(hall: Hall) -> None:
    with hall.line() as other:
        other.send(greeting(name="own"))
        assert json.loads(other.recv(PATIENCE))["kind"] == "welcome"
        with hall.line(hall.service.keys.local_token) as own:
            own.send(greeting(name="own", instance="1" * 32))
            assert json.loads(own.recv(PATIENCE))["kind"] == "welcome"
            until(lambda: hall.device("own").local, "the server's own taking its name")


def test_the_child_of_a_server_ends_with_it_and_uses_models_where_they_are(
    hall: Hall, demo: FoundModel
) -> None:
    local = hall.service.keys.local_token
    # it ends by itself, and not because it was slow to
    slow = "import slmeval.cli.worker_command as it; it._GRACE = 3600.0"
    agent = hall.start("child", token=local, program=slow, SLMEVAL_AGENT_PARENT="1")
    device = hall.device("child")
    assert device.local
    hall.call(hall.service.roster.lease, device, "run")
    talk = Talk(hall, device)
    talk.start(3)
    assert talk.fetch(demo, hint=str(demo.place)) == {
        "kind": "located",
        "sha256": demo.sha256,
        "location": str(demo.place),
    }
    assert not agent.cache.exists()
    workers = agent.workers()
    assert agent.process.stdin is not None
    agent.process.stdin.close()
    assert agent.process.wait(PATIENCE) == 0, agent.said()
    assert not any(map(is_alive, workers))


# ---- workers -------------------------------------------------------------------------------------------


def test_frames_reach_a_real_worker_and_its_answers_come_back(
    talk: Talk, demo: FoundModel, demo_model: Path
) -> None:
    talk.start(7)
    talk.send(7, kind="describe", backend="reference", options=OPTIONS, blocked=[])
    described = talk.answer(7)
    assert described["fingerprint"] == ReferenceBackend.fingerprint(OPTIONS)
    located = talk.fetch(demo)
    assert located["kind"] == "located", located
    definition = (demo_model / "tokenizer.json").read_text()
    tokenizer = {"definition": definition, "origin": "demo", "bos_id": None, "eos_id": 0}
    talk.send(7, kind="model", location=located["location"], revision=None, tokenizer=tokenizer)
    unit = ScoreUnit((ScoreGroup((5, 6, 7), ((8, 9), (10,))), ScoreGroup((5, 6, 11), ((12,),))))
    talk.send(7, kind="unit", number=0, unit=pack_unit(unit))
    answers = talk.answer(7)
    backend = ReferenceBackend(ModelRef(str(demo_model)), OPTIONS)
    assert answers["replies"] == json.loads(json.dumps(pack_replies(backend.score(unit.groups))))
    talk.say("end", worker=7, kill=False)
    assert talk.told() == {"kind": "gone", "worker": 7, "words": "it was ended"}


def test_two_workers_at_once_are_told_apart(talk: Talk) -> None:
    talk.start(1)
    talk.start(2)
    talk.send(2, kind="describe", backend="reference", options=OPTIONS, blocked=[])
    assert talk.answer(2)["kind"] == "described"
    talk.say("end", worker=2, kill=True)
    assert talk.told()["worker"] == 2
    talk.send(1, kind="describe", backend="reference", options=OPTIONS, blocked=[])
    assert talk.answer(1)["kind"] == "described"


def test_a_dead_worker_is_told_of_with_its_last_words(talk: Talk, agent: Agent) -> None:
    talk.start(1)
    (pid,) = agent.workers()
    os.kill(pid, signal.SIGKILL)
    gone = talk.told()
    assert (gone["kind"], gone["worker"]) == ("gone", 1)
    assert "SIGKILL" in gone["words"]
    # what is for it is for nobody; the device lives
    talk.send(1, kind="open")
    talk.say("end", worker=1, kill=True)
    talk.start(2)


def test_a_worker_that_hangs_is_ended_and_holds_up_no_other(talk: Talk, agent: Agent) -> None:
    talk.start(1)
    (pid,) = agent.workers()
    os.kill(pid, signal.SIGSTOP)
    for _ in range(4):  # more than its pipe holds
        talk.send(1, kind="unknown", padding="." * 2**20)
    talk.start(2)
    talk.say("end", worker=1, kill=True)
    assert talk.told()["worker"] == 1
    assert not is_alive(pid)
    talk.send(2, kind="describe", backend="reference", options=OPTIONS, blocked=[])
    assert talk.answer(2)["kind"] == "described"


def test_a_worker_that_cannot_be_started_is_gone_at_once(talk: Talk) -> None:
    talk.say("start", worker=1, backend="no\x1b[31msuch")
    gone = talk.told()
    assert (gone["worker"], gone["kind"]) == (1, "gone")
    assert "does not have backend" in gone["words"]
    assert "\x1b" not in gone["words"]
    talk.start(2)
    talk.say("start", worker=2, backend="reference")
    assert "already" in talk.told()["words"]


def test_a_device_has_only_so_many_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "_MOST", 2)
    said: list[str | bytes] = []
    workers = Workers({"reference": ReferenceBackend}, _SilentExecutor(), said.append)
    try:
        for number in (1, 2, 3):
            workers.start(number, "reference")
        gone = unpack_message(said[0])
        assert (gone["worker"], gone["words"]) == (
            3,
            "this device has 2 workers already, the most that it may",
        )
    finally:
        workers.clear()


def test_what_is_not_wanted_any_more_is_not_asked_for(tmp_path: Path) -> None:
    given_up = threading.Event()
    given_up.set()
    wanted = Wanted("a" * 64, (WantedFile("config.json", 1, "b" * 64),), None)
    with pytest.raises(CannotFetch, match="not wanted any more"):
        Fetcher(Address("http://127.0.0.1:9", None), tmp_path).fetch(wanted, given_up)
    assert not list(tmp_path.iterdir())


def test_after_a_lease_nothing_of_it_runs_or_is_heard(hall: Hall, agent: Agent) -> None:
    device = hall.device("main")
    with hall.leased(device) as talk:
        talk.start(1)
        (pid,) = agent.workers()
        talk.send(1, kind="describe", backend="reference", options=OPTIONS, blocked=[])
    assert not is_alive(pid)
    with hall.leased(device) as talk:
        talk.start(1)
        assert talk.device.inbox.empty()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="Linux alone shows the environment of a process")
def test_the_token_is_not_shown_to_workers_nor_written_anywhere(hall: Hall, talk: Talk, agent: Agent) -> None:
    talk.start(1)
    (pid,) = agent.workers()
    assert b"SLMEVAL_TOKEN" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert "slm_" not in agent.said()


def test_a_worker_whose_own_children_hold_its_pipe_is_ended_all_the_same() -> None:
    said: list[str | bytes] = []
    workers = Workers({"reference": ReferenceBackend}, _SilentExecutor(), said.append)
    workers.start(1, "reference")
    clearing = threading.Thread(target=workers.clear, daemon=True)
    clearing.start()
    clearing.join(PATIENCE)
    assert not clearing.is_alive()
    assert said == [pack_message("gone", worker=1, words="it was ended")]
    assert workers.are_idle


class _Silent(Channel):
    """Says nothing, not even its end."""

    def send(self, frame: bytes) -> None:
        pass

    def receive(self, timeout: float) -> bytes | None:
        time.sleep(timeout)
        raise TimeoutError

    def last_words(self) -> str:
        return "none"

    def close(self, *, kill: bool = False) -> None:
        pass


class _SilentExecutor(Executor):
    name = "silent"

    def start(self, launch: Launch) -> Channel:
        return _Silent()


class _Echo(Channel):
    """Gives each frame back."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._news = threading.Condition()
        self._over = False

    def send(self, frame: bytes) -> None:
        with self._news:
            self._frames.append(frame)
            self._news.notify()

    def receive(self, timeout: float) -> bytes | None:
        with self._news:
            if not self._news.wait_for(lambda: self._frames or self._over, timeout):
                raise TimeoutError
            return self._frames.pop(0) if self._frames else None

    def last_words(self) -> str:
        return "it echoes no more"

    def close(self, *, kill: bool = False) -> None:
        with self._news:
            self._over = True
            self._news.notify()


class _EchoExecutor(Executor):
    name = "echo"

    def start(self, launch: Launch) -> Channel:
        return _Echo()


def test_the_longest_frame_passes_both_ways_and_a_longer_one_ends_its_worker_alone(
    hall: Hall, tmp_path: Path
) -> None:
    station = Station("echo", {"reference": ReferenceBackend}, _EchoExecutor(), tmp_path)
    address = address_of(hall.address, hall.token("work"))
    told: list[str] = []
    working = threading.Thread(target=_work, args=(station, address, told), daemon=True)
    working.start()
    device = hall.device("echo")
    frame = os.urandom(2**20) * (LONGEST_FRAME // 2**20)
    with hall.leased(device) as talk:
        talk.say("start", worker=1, backend="reference")
        talk.say("start", worker=2, backend="reference")
        hall.do(device.send(pack_frame(1, frame)))
        said = talk.hear()
        assert isinstance(said, bytes)
        assert unpack_frame(said) == (1, frame)
        hall.do(device.send(pack_frame(1, frame + b"!")))
        gone = talk.told()
        assert (gone["kind"], gone["worker"]) == ("gone", 1)
        assert "134,217,729 bytes" in gone["words"]
        assert talk.told()["worker"] == 1  # the device says so, too
        talk.send(2, kind="still there")
        assert talk.answer(2)["kind"] == "still there"
    assert hall.device("echo") is device
    hall.do(device.send(pack_message("refused", reason="\x1b[1menough", final=True)))
    working.join(PATIENCE)
    assert told[-1] == "the server refuses this device: enough"
    hall.wait_gone("echo")


def _work(station: Station, address: Address, told: list[str]) -> None:
    try:
        work(station, address, told.append)
    except UsageError as error:
        told.append(str(error))


# ---- who may work --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scopes", [("read",), ("submit",)])
def test_a_token_for_something_else_ends_the_agent_with_a_sentence(
    hall: Hall, scopes: tuple[str, ...]
) -> None:
    agent = hall.start("unfit", token=hall.token(*scopes))
    assert agent.process.wait(PATIENCE) == 2
    agent.end()
    (line,) = [line for line in agent.said().splitlines() if hall.address in line]
    assert "'work'" in line
    assert "Traceback" not in agent.said()


@pytest.mark.parametrize(
    ("token", "told"),
    [("", "the token is empty"), *[(wrong, "none of this server's") for wrong in ("slm_wrong", "wrong-one")]],
)
def test_no_token_or_a_wrong_one_ends_the_agent_with_a_sentence(hall: Hall, token: str, told: str) -> None:
    hall.token("read")
    agent = hall.start("unknown", token=token)
    assert agent.process.wait(PATIENCE) == 2
    agent.end()
    assert told in agent.said()
    assert "Traceback" not in agent.said()
    if token:
        assert token not in agent.said()


def test_an_agent_of_another_version_ends_with_a_sentence(hall: Hall) -> None:
    agent = hall.start("old", program="import slmeval; slmeval.__version__ = '0.0.1'")
    assert agent.process.wait(PATIENCE) == 2
    agent.end()
    assert "slmeval '0.0.1'" in agent.said()
    assert "install the same on both" in agent.said()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--server", "ftp://127.0.0.1"), "no address of a server"),
        (("--server", "http://127.0.0.1:99999"), "no address of a server"),
        (("--server", "http://me:secret@127.0.0.1"), "give the token apart"),
        (("--token", "two words"), "copy it anew"),
        (("--token", "a\nX: b"), "copy it anew"),
        (("--name", "a b"), "1 to 64 letters"),
        (("--name", "n" * 65), "1 to 64 letters"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_the_start(
    hall: Hall, flags: tuple[str, ...], sentence: str
) -> None:
    agent = hall.start("mistaken", *flags)
    assert agent.process.wait(PATIENCE) == 2
    agent.end()
    assert sentence in agent.said()


# ---- what a device says is not trusted -----------------------------------------------------------------

MACHINE = {"system": "s", "processor": "p", "cores": 1, "memory": 1, "python": "3", "accelerators": []}
HOSTILE: dict[str, Any] = {
    "huge": greeting(name="x" * 100_000),
    "not JSON": "hello",
    "nested": "[" * 50_000,
    "a list": "[]",
    "no kind": "{}",
    "another kind": pack_message("gone", worker=1, words=""),
    "a frame": b"\0\0\0\1hello",
    "nothing": "",
    "no protocol": greeting(protocol=...),
    "another protocol": greeting(protocol=0),
    "another version": greeting(version="99.0"),
    "a version of 10 KB": greeting(version="9" * 10_000),
    "a version with escapes": greeting(version="\x1b]0;x\x07\u202e"),
    "no name": greeting(name=...),
    "a name that is a number": greeting(name=7),
    "an empty name": greeting(name=""),
    "a name with control characters": greeting(name="a\x00b"),
    "a name with a line end": greeting(name="a\n"),
    "a name of 65": greeting(name="a" * 65),
    "a name of 10 KB": greeting(name="a" * 10_000),
    "a name with a path": greeting(name="../../etc"),
    "a name with signs": greeting(name="<script>"),
    "no instance": greeting(instance=...),
    "an instance that is a list": greeting(instance=[]),
    "no machine": greeting(machine=...),
    "half a machine": greeting(machine={"system": "s"}),
    "a machine with more": greeting(machine={**MACHINE, "more": 1}),
    "a machine of text": greeting(machine={**MACHINE, "cores": "1"}),
    "a machine of less than nothing": greeting(machine={**MACHINE, "memory": -1}),
    "a machine beyond numbers": greeting(machine={**MACHINE, "memory": 10**400}),
    "a processor of 20 KB": greeting(machine={**MACHINE, "processor": "p" * 20_000}),
    "engines that are text": greeting(engines="reference"),
    "engines with markup": greeting(engines=["<b>"]),
    "too many engines": greeting(engines=[f"e{n}" for n in range(1000)]),
    "memory of text": greeting(memory="much"),
    "memory of a truth": greeting(memory=True),
    "memory of less than nothing": greeting(memory=-1),
    "memory beyond numbers": greeting(memory=10**30),
    "memory that is none": '{"kind": "hello", "memory": NaN}',
}


@pytest.mark.parametrize("hello", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_hello_is_refused_with_one_sentence(hall: Hall, agent: Agent, hello: str | bytes) -> None:
    # those of the tests before have gone
    until(lambda: [device.name for device in hall.call(hall.service.roster.devices)] == ["main"], "it alone")
    with hall.line() as line:
        line.send(hello)
        refused = json.loads(line.recv(PATIENCE))
        assert (refused["kind"], refused["final"]) == ("refused", True)
        assert 10 < len(refused["reason"]) <= 1000
        assert refused["reason"].isprintable()
        with pytest.raises(Exception, match="1008"):
            line.recv(PATIENCE)
    assert [device.name for device in hall.call(hall.service.roster.devices)] == ["main"]


def test_what_a_machine_tells_of_itself_is_kept_without_what_a_terminal_obeys(hall: Hall) -> None:
    with hall.line() as line:
        odd = "A\x1b[31m\u202eB\x00"
        line.send(greeting(name="odd", machine={**MACHINE, "processor": odd, "accelerators": [odd]}))
        assert json.loads(line.recv(PATIENCE))["kind"] == "welcome"
        machine = hall.device("odd").machine
        assert (machine.processor, machine.accelerators) == ("AB", ("AB",))


LATER: dict[str, Any] = {
    "not JSON": "{",
    "huge": pack_message("gone", worker=1, words="w" * 70_000),
    "a kind of the server's": pack_message("start", worker=1, backend="reference"),
    "a kind of the run's": pack_message("lost", reason=""),
    "a second hello": greeting(name="bad"),
    "a frame without a number": b"\0\0",
    "gone without a worker": pack_message("gone", words=""),
    "gone without words": pack_message("gone", worker=1),
    "gone with a NUL": pack_message("gone", worker=1, words="\0"),
    "a worker of text": pack_message("gone", worker="1", words=""),
    "a worker that is true": pack_message("gone", worker=True, words=""),
    "a worker beyond numbers": pack_message("gone", worker=2**40, words=""),
    "located nowhere": pack_message("located", sha256="0" * 64),
    "located by another hash": pack_message("located", sha256="zz", location="/"),
    "unlocated for no reason": pack_message("unlocated", sha256="0" * 64),
    "a beat of text": pack_message("beat", memory="x"),
}


@pytest.mark.parametrize("said", LATER.values(), ids=LATER.keys())
def test_a_device_that_misspeaks_loses_its_line_and_nothing_else(
    hall: Hall, agent: Agent, said: str | bytes
) -> None:
    with hall.line() as line:
        line.send(greeting(name="bad"))
        assert json.loads(line.recv(PATIENCE))["kind"] == "welcome"
        device = hall.device("bad")
        hall.call(hall.service.roster.lease, device, "run")
        line.send(said)
        refused = json.loads(line.recv(PATIENCE))
        assert refused["kind"] == "refused"
        assert refused["reason"].isprintable()
        assert Talk(hall, device).hear() is None
    hall.wait_gone("bad")
    assert hall.device("main")


def test_a_store_that_cannot_be_written_sends_devices_away_for_now(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise StoreError("the store is full")

    token = hall.token("work")
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "see_device", full)
        patched.setattr(Ledger, "tell", full)
        with hall.line(token) as line:
            line.send(greeting())
            assert unpack_message(line.recv(PATIENCE))["kind"] == "welcome"
            told = unpack_message(line.recv(PATIENCE))
        assert told == {"kind": "refused", "reason": "the store is full", "final": False}
        hall.wait_gone("bare")
    with hall.line(token) as line:
        line.send(greeting())
        hall.device("bare")
    assert not [record for record in caplog.records if record.exc_info]


def test_a_beat_tells_of_memory_and_is_heard_by_no_run(hall: Hall) -> None:
    with hall.line() as line:
        line.send(greeting(name="beating"))
        line.recv(PATIENCE)
        device = hall.device("beating")
        hall.call(hall.service.roster.lease, device, "run")
        line.send(pack_message("beat", memory=12345))
        line.send(pack_message("gone", worker=1, words="verbatim: ä"))
        assert Talk(hall, device).hear() == pack_message("gone", worker=1, words="verbatim: ä")
        assert device.memory == 12345


def test_what_a_device_says_to_nobody_is_not_kept(hall: Hall) -> None:
    with hall.line() as line:
        line.send(greeting(name="chatty"))
        line.recv(PATIENCE)
        device = hall.device("chatty")
        for _ in range(100):
            line.send(pack_frame(1, b"x" * 2**20))
        line.send(pack_message("beat", memory=1))
        until(lambda: device.memory == 1, "the beat")
        assert device.inbox.empty()


def test_a_device_that_does_not_clear_is_let_go(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    with hall.line() as line:
        line.send(greeting(name="stubborn"))
        line.recv(PATIENCE)
        device = hall.device("stubborn")
        # it is not only with its hello that a slow machine would be late
        monkeypatch.setattr("slmeval.service.devices._PATIENCE", 0.3)
        hall.call(hall.service.roster.lease, device, "run")
        hall.call(hall.service.roster.release, device)
        hall.wait_gone("stubborn")
        until(lambda: device.run is None, "the end of the lease")


def test_a_line_on_which_nobody_says_hello_is_closed(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slmeval.service.devices._PATIENCE", 0.2)
    with hall.line() as line, pytest.raises(Exception, match="1008"):
        line.recv(PATIENCE)


def test_an_inbox_makes_its_device_wait_and_takes_the_end_at_any_time() -> None:
    async def fill() -> None:
        inbox, taken = Inbox(), 0

        async def pour() -> None:
            nonlocal taken
            for _ in range(200):
                await inbox.take(b"x" * 2**20)
                taken += 1

        pouring = asyncio.ensure_future(pour())
        await asyncio.sleep(0.05)
        assert 60 < taken < 70
        for _ in range(10):
            await inbox.get()
        await asyncio.sleep(0.05)
        assert 70 < taken < 80
        inbox.put_nowait(None)
        inbox.shut()
        await pouring
        while await inbox.get() is not None:
            pass
        assert inbox.empty()

    asyncio.run(fill())


# ---- models are brought --------------------------------------------------------------------------------


@pytest.fixture
def bringer(hall: Hall, talk: Talk, agent: Agent) -> Iterator[Talk]:
    """The device "main" with an empty cache, and no cuts."""
    shutil.rmtree(agent.cache, ignore_errors=True)
    hall.cutting.asked.clear()
    yield talk
    hall.cutting.cuts.clear()
    shutil.rmtree(agent.cache, ignore_errors=True)


def test_a_model_is_brought_once(hall: Hall, bringer: Talk, agent: Agent, demo: FoundModel) -> None:
    said = bringer.fetch(demo)
    home = agent.cache / "models" / demo.sha256
    assert said == {"kind": "located", "sha256": demo.sha256, "location": str(home)}
    assert find_model(ModelRef(str(home)), sha256_of).sha256 == demo.sha256
    assert len(hall.cutting.asked) == len(demo.files())
    assert bringer.fetch(demo) == said
    assert len(hall.cutting.asked) == len(demo.files())
    assert sorted(path.suffix for path in home.parent.iterdir()) == ["", ".lock"]


def test_a_hint_is_for_the_servers_own_device_alone(bringer: Talk, agent: Agent, demo: FoundModel) -> None:
    said = bringer.fetch(demo, hint=str(demo.place))
    assert said["location"] == str(agent.cache / "models" / demo.sha256)


def test_a_gguf_model_is_told_by_its_file(bringer: Talk, agent: Agent, demo_model: Path) -> None:
    found = find_model(ModelRef(str(demo_model.with_name("model.gguf"))), sha256_of)
    said = bringer.fetch(found)
    assert said["location"] == str(agent.cache / "models" / found.sha256 / "model.gguf")


def test_a_gguf_model_with_what_lies_beside_it(
    bringer: Talk, agent: Agent, demo_model: Path, tmp_path: Path
) -> None:
    shutil.copy(demo_model.with_name("model.gguf"), tmp_path / "m.gguf")
    for name in ("tokenizer.json", "config.json"):
        shutil.copy(demo_model / name, tmp_path)
    found = find_model(ModelRef(str(tmp_path / "m.gguf")), sha256_of)
    assert len(found.files()) == 3
    said = bringer.fetch(found)
    assert said["location"] == str(agent.cache / "models" / found.sha256 / "m.gguf")


def test_what_is_cut_in_the_middle_goes_on_where_it_was(hall: Hall, bringer: Talk, demo: FoundModel) -> None:
    place = [file.name for file in demo.files()].index("model.safetensors")
    hall.cutting.cuts = [10**9] * place + [1_000_000, 2_000_000, 0, 3_000_000]
    said = bringer.fetch(demo)
    assert said["kind"] == "located", said
    ranges = [asked for asked in hall.cutting.asked if asked]
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in ranges]
    assert len(starts) == 4
    assert starts == sorted(starts)
    assert starts[0] > 500_000
    assert starts[-1] > 4_000_000


def test_what_an_ended_agent_had_is_gone_on_with(hall: Hall, demo: FoundModel) -> None:
    place = [file.name for file in demo.files()].index("model.safetensors")
    hall.cutting.cuts = [10**9] * place + [2_000_000, *[0] * 10]
    impatient = "import slmeval.service.device.fetching as it; it._PAUSES = ()"
    first = hall.start("resuming", program=impatient)
    with hall.leased(hall.device("resuming")) as talk:
        said = talk.fetch(demo)
    assert said["kind"] == "unlocated"
    assert "model.safetensors" in said["reason"]
    first.end()
    hall.wait_gone("resuming")
    hall.cutting.cuts.clear()
    hall.cutting.asked.clear()
    second = hall.start("resuming")
    with hall.leased(hall.device("resuming")) as talk:
        assert talk.fetch(demo)["kind"] == "located"
    second.end()
    assert hall.cutting.asked[0].startswith("bytes=")
    assert int(hall.cutting.asked[0].removeprefix("bytes=").rstrip("-")) > 1_000_000


def test_damaged_bytes_are_refused_and_not_kept(bringer: Talk, agent: Agent, demo: FoundModel) -> None:
    files = listed(demo)
    files[1] = {**files[1], "sha256": "0" * 64}
    said = bringer.fetch(demo, files=files)
    assert said["kind"] == "unlocated"
    assert f"{files[1]['path']} came damaged" in said["reason"]
    assert not list(agent.cache.rglob(files[1]["path"]))
    assert bringer.fetch(demo)["kind"] == "located"


@pytest.mark.parametrize("change", [-1, 1])
def test_another_size_is_refused(bringer: Talk, demo: FoundModel, change: int) -> None:
    files = listed(demo)
    files[0] = {**files[0], "size": files[0]["size"] + change}
    said = bringer.fetch(demo, files=files)
    assert said["kind"] == "unlocated"
    assert files[0]["path"] in said["reason"]


def test_another_model_than_was_wanted_is_refused(bringer: Talk, agent: Agent, demo: FoundModel) -> None:
    said = bringer.fetch(demo, sha256="a" * 64)
    assert said["kind"] == "unlocated"
    assert "another model" in said["reason"]
    assert not [path for path in (agent.cache / "models").iterdir() if path.is_dir()]


def test_a_model_that_was_altered_in_the_cache_is_brought_anew(
    hall: Hall, bringer: Talk, demo: FoundModel
) -> None:
    home = Path(bringer.fetch(demo)["location"])
    weights = bytearray((home / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (home / "model.safetensors").write_bytes(weights)
    hall.cutting.asked.clear()
    assert bringer.fetch(demo)["kind"] == "located"
    assert hall.cutting.asked
    assert find_model(ModelRef(str(home)), sha256_of).sha256 == demo.sha256


def test_a_model_of_another_server_cannot_be_had(bringer: Talk, demo: FoundModel) -> None:
    bringer.say("fetch", sha256=demo.sha256, files=listed(demo), hint=None)
    said = bringer.told()
    assert said["kind"] == "unlocated"
    assert "404" in said["reason"]


def test_a_full_disk_is_told_of(hall: Hall, small_disk: Path, demo: FoundModel) -> None:
    agent = hall.start("full", "--cache", str(small_disk))
    with hall.leased(hall.device("full")) as talk:
        said = talk.fetch(demo)
    agent.end()
    assert said["kind"] == "unlocated"
    assert "bytes are to come" in said["reason"]


PATHS = [
    "../evil",
    "a/../../evil",
    "..",
    ".",
    "",
    "/etc/passwd",
    "a//b",
    "a/",
    "a\\..\\evil",
    "C:evil",
    "C:/evil",
    "a\0b",
    "a\nb",
    "\x7f",
    "a" * 1025,
    7,
    None,
]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: repr(path)[:20])
def test_a_path_that_leads_out_is_refused(bringer: Talk, agent: Agent, demo: FoundModel, path: Any) -> None:
    files = listed(demo)
    files[2] = {**files[2], "path": path}
    said = bringer.fetch(demo, files=files)
    assert (said["kind"], said["sha256"]) == ("unlocated", demo.sha256)
    assert "path" in said["reason"]
    assert not agent.cache.exists()


FILE = {"path": "a", "size": 1, "sha256": "0" * 64}
UNWANTED: list[dict[str, Any]] = [
    {"files": []},
    {"files": None},
    {"files": "abc"},
    {"files": [FILE] * 10_001},
    {"files": [FILE, FILE]},
    {"files": [FILE, {**FILE, "path": "A"}]},
    {"files": [[]]},
    {"files": [{**FILE, "size": -1}]},
    {"files": [{**FILE, "size": 1.5}]},
    {"files": [{**FILE, "size": 2**70}]},
    {"files": [{**FILE, "sha256": "../" + "0" * 61}]},
    {"sha256": "../../x"},
    {"sha256": "0" * 63 + "\n"},
    {"sha256": None},
]


@pytest.mark.parametrize("other", UNWANTED, ids=lambda other: repr(other)[:40])
def test_what_can_be_no_model_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(Unwanted):
        read_wanted({"kind": "fetch", "sha256": "0" * 64, "files": [FILE], "hint": None, **other})


def test_files_are_had_while_a_run_brings_them() -> None:
    files = ModelFiles()
    told = [{"path": "a/b"}, {"path": "c"}]
    files.register("x", Path("/models"), told)
    files.register("x", "/models", told)
    assert files.find("x", 0) == Path("/models/a/b")
    assert [files.find("x", place) for place in (-1, 2)] == [None, None]
    files.release("x")
    assert files.find("x", 1) == Path("/models/c")
    files.release("x")
    files.release("x")
    assert files.find("x", 1) is None
    for path in ("../a", "/a", "a/../../b", "a\0"):
        with pytest.raises(ValueError, match="not below"):
            files.register("y", "/models", [{"path": path}])
    assert files.find("y", 0) is None


def _get(hall: Hall, path: str, **headers: str) -> tuple[int, bytes]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(hall.address + path, headers=headers)) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_files_are_for_devices_alone(hall: Hall, demo: FoundModel) -> None:
    works, reads = (f"Bearer {hall.token(scope)}" for scope in ("work", "submit"))
    hall.call(hall.service.roster.files.register, "f" * 64, demo.place, listed(demo))
    path = f"/api/models/{'f' * 64}/files/"
    whole = demo.files()[0].read_bytes()
    assert _get(hall, path + "0", Authorization=works) == (200, whole)
    assert _get(hall, path + "0", Authorization=works, Range="bytes=3-") == (206, whole[3:])
    assert _get(hall, path + "0", Authorization=reads)[0] == 403
    assert _get(hall, path + "0")[0] == 401
    for wrong in ("99", "-1", "x", "0/../0", "..%2f0", "1e9", ""):
        status, body = _get(hall, path + wrong, Authorization=works)
        assert status in (404, 422), wrong
        assert b"Traceback" not in body
    assert _get(hall, "/api/models/..%2f..%2fetc/files/0", Authorization=works)[0] == 404
    hall.call(hall.service.roster.files.release, "f" * 64)
    assert _get(hall, path + "0", Authorization=works)[0] == 404


def test_the_devices_half_needs_no_web_framework() -> None:
    program = (
        "import sys; sys.modules.update(dict.fromkeys(('fastapi', 'starlette', 'uvicorn', 'pydantic')));"
        "import slmeval.cli.worker_command, slmeval.service.device.agent"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_agent_that_finds_no_server_tries_on(hall: Hall, tmp_path: Path) -> None:
    agent = hall.start("waiting", "--server", "http://127.0.0.1:1")
    until(lambda: agent.said().count("tried again in") > 2, "it trying on")
    assert "http://127.0.0.1:1: " in agent.said()
    assert agent.end() == 0
    # also in the midst of a long pause
    long = "import slmeval.service.device.agent as it; it._FIRST_PAUSE = it._LONGEST_PAUSE = 3600.0"
    agent = hall.start("patient", "--server", "http://127.0.0.1:1", program=long)
    until(lambda: "tried again in 3600 s" in agent.said(), "its pause")
    assert agent.end() == 0
