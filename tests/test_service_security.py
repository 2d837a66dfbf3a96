"""Who may ask a server what, and what it refuses: hosts, origins, tokens, bodies, addresses."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("fastapi", reason="the service is not installed")
pytest.importorskip("hypothesis", reason="what makes values for tests is not installed")
from fastapi import APIRouter, FastAPI
from hypothesis import given
from hypothesis import strategies as st
from service_server import serving
from service_thread import Reply, Running, no_worker, running

from slmeval.cli import run as command_line
from slmeval.errors import DataError, StoreError, UnknownName, UsageError
from slmeval.service import api_tokens, app, keys, pages
from slmeval.service.auth import needs
from slmeval.service.bodies import Body
from slmeval.service.desk import Desk
from slmeval.service.guard import Guard, log_config
from slmeval.service.keys import SCOPES, Keys, NameTaken, Tokens, check_exposed, hash_of
from slmeval.service.logs import Discreet, discreet
from slmeval.service.names import Names, check_names, is_same_origin
from slmeval.service.pages.login import local
from slmeval.service.problems import Refused
from slmeval.service.sessions import IDLE, Sessions
from slmeval.service.settings import Limits, Settings
from slmeval.service.slowing import Slowing
from slmeval.store import Store

HTML = {"Accept": "text/html"}
TOKENS = {"reader": "read", "submitter": "submit", "worker": "work", "chief": "admin"}
Keyed = tuple[Running, dict[str, str]]


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _break(app: FastAPI) -> None:
    """Routes that go wrong in every way."""
    router = APIRouter()

    @router.get("/api/broken")
    async def broken() -> None:
        raise RuntimeError("the password is slm_" + "s" * 43)

    @router.get("/api/wrong/{kind}")
    async def wrong(kind: str) -> None:
        raise {
            "usage": UsageError("usage \ud800 of slm_" + "s" * 43),
            "data": DataError("data"),
            "name": UnknownName("task", "x", ["y"]),
            "store": StoreError("store"),
            "refused": Refused(409, "refused"),
        }[kind]

    app.include_router(router)


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """As `slmeval serve` without any token."""
    limits = Limits(body=10_000, upload=50_000)
    with running(no_worker(tmp_path_factory.mktemp("open"), limits=limits), change=_break) as (server, _):
        yield server


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """One that has tokens."""
    limits = Limits(body=10_000, upload=50_000)
    with running(no_worker(tmp_path_factory.mktemp("keyed"), limits=limits), TOKENS) as found:
        yield found


# ---- where it listens ----------------------------------------------------------------------------------


def test_a_server_listens_on_the_loopback_unless_told_otherwise(tmp_path: Path) -> None:
    assert Settings(tmp_path / "store.db").host == "127.0.0.1"
    from slmeval.cli.serve_command import command

    host = next(each for each in command.params if each.name == "host")
    assert host.default == "127.0.0.1"


@pytest.mark.parametrize(
    ("more", "refused"),
    [
        ({}, False),
        ({"host": "::1"}, False),
        ({"host": "localhost"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "::"}, True),
        ({"host": "192.0.2.7"}, True),
        ({"host": "bench.example"}, True),
        # whoever forwards to the loopback opens it as well
        ({"hosts": ("bench.example",)}, True),
    ],
)
def test_others_can_reach_a_server_only_when_it_has_a_token(
    tmp_path: Path, more: dict[str, Any], refused: bool
) -> None:
    settings = Settings(tmp_path / "store.db", **more)
    with Store.open(settings.store) as store:
        if refused:
            with pytest.raises(
                UsageError, match=r"slmeval token add NAME --scopes submit --store .*store\.db"
            ):
                check_exposed(settings, store)
            Tokens(store).add("bench", ["submit"])
        check_exposed(settings, store)


def test_the_command_refuses_another_address_in_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "slmeval", "serve", "--host", "0.0.0.0", "--port", "0", "--no-worker"]
    done = subprocess.run(
        [*command, "--store", str(tmp_path / "store.db")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "slmeval token add NAME" in done.stderr


# ---- tokens --------------------------------------------------------------------------------------------


def test_a_token_is_kept_as_its_hash_alone(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.db") as store:
        token = Tokens(store).add("bench", ["submit", "read"])
        assert re.fullmatch(r"slm_[A-Za-z0-9_-]{43}", token)
        (known,) = Tokens(store).listed()
        assert (known.name, known.scopes, known.sha256) == ("bench", ("read", "submit"), hash_of(token))
        for file in tmp_path.iterdir():
            assert token.encode() not in file.read_bytes()
            assert token[4:].encode() not in file.read_bytes()


def test_names_and_scopes_of_tokens_are_checked(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.db") as store:
        tokens = Tokens(store)
        tokens.add("bench", ["read"])
        with pytest.raises(NameTaken, match="bench"):
            tokens.add("bench", ["read"])
        for scopes in ([], ["root"], ["read", ""], ["read", "work,admin"]):
            with pytest.raises(UsageError, match="admin \\(everything\\)"):
                tokens.add("other", scopes)
        for name in ("", "-a", "a b", "a/b", "../a", "a\0", "a" * 65, "x'; DROP TABLE tokens; --", "ä"):
            with pytest.raises(UsageError, match="no name of a token"):
                tokens.add(name, ["read"])
        assert [each.name for each in tokens.listed()] == ["bench"]
        assert tokens.remove("bench")
        assert not tokens.remove("bench")


def test_all_tokens_are_compared_in_constant_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    right = hmac.compare_digest

    def compare(first: str, second: str) -> bool:
        seen.append(first)
        return right(first, second)

    with Store.open(tmp_path / "store.db") as store:
        made = [Tokens(store).add(f"t{number}", ["read"]) for number in range(5)]
    monkeypatch.setattr(keys.hmac, "compare_digest", compare)
    desk = Desk(tmp_path / "store.db")
    try:
        found = Keys(Settings(tmp_path / "store.db"), desk)
        for number, token in enumerate(made):
            seen.clear()
            caller = asyncio.run(found.caller(token))
            assert caller is not None
            assert caller.name == f"t{number}"
            # the server's own is one more
            assert len(seen) == 6
    finally:
        desk.close()


def test_the_servers_own_device_may_work_and_nothing_else(keyed: Keyed) -> None:
    server, _ = keyed
    own = server.service.keys.local_token
    caller = asyncio.run(server.service.keys.caller(own))
    assert caller is not None
    assert caller.local
    assert caller.scopes == {"work"}
    assert server.ask("GET", "/api/runs", token=own).status == 403
    with Store.open(server.settings.store) as store:
        assert hash_of(own) not in {each.sha256 for each in Tokens(store).listed()}


def test_without_a_token_this_machine_may_look_and_submit(open_server: Running) -> None:
    assert open_server.ask("GET", "/api/runs").status == 200
    assert open_server.ask("GET", "/api/tokens").status == 403
    told = open_server.ours("POST", "/api/tokens", json={"name": "mine", "scopes": ["admin"]})
    assert told.status == 403
    # what was forwarded is not from this machine
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Host"):
        assert open_server.ask("GET", "/api/runs", headers={name: "192.0.2.1"}).status == 401


def test_the_first_token_ends_that_everybody_may_ask(tmp_path: Path) -> None:
    with running(no_worker(tmp_path)) as (server, _):
        assert server.ask("GET", "/api/runs").status == 200
        with Store.open(server.settings.store) as store:
            token = Tokens(store).add("bench", ["read"])
        # at once for whoever has it, and within a second for the others
        assert server.ask("GET", "/api/runs", token=token).status == 200
        assert server.ask("GET", "/api/runs").status == 401
        with Store.open(server.settings.store) as store:
            Tokens(store).remove("bench")
        time.sleep(1.1)
        assert server.ask("GET", "/api/runs", token=token).status == 401


def _routes() -> list[tuple[str, str]]:
    """Every method and address of the API, and every page."""
    routers = [module.router for module in (*app._API, app.devices, *pages._PAGES)]
    found = []
    for route in (route for router in routers for route in router.routes):
        for method in sorted(getattr(route, "methods", None) or ()):
            found.append((method, route.path))
    return found


#: what everybody may see who reaches the server
_OPEN = {"/healthz", "/readyz", "/login", "/logout"}
_CLOSED = [(method, path) for method, path in _routes() if path not in _OPEN]


def _filled(path: str, value: str = "1") -> str:
    return re.sub(r"\{[^}]+\}", value, path)


@pytest.mark.parametrize(("method", "path"), _CLOSED)
def test_every_route_wants_the_right_token(keyed: Keyed, method: str, path: str) -> None:
    server, tokens = keyed
    address = _filled(path)
    more: dict[str, Any] = {"json": {}} if path.startswith("/api/") and method == "POST" else {}
    for wrong in (None, "slm_" + "x" * 43, tokens["reader"][:-1], "a b", "\xff"):
        told = server.ours(method, address, token=wrong, **more)
        assert told.status == 401, (wrong, told.text[:300])
        assert told.headers["www-authenticate"].startswith("Bearer")
    for scheme in ("Basic", "Token", ""):
        headers = {"Authorization": f"{scheme} {tokens['chief']}".strip()}
        assert server.ours(method, address, headers=headers, **more).status == 401
    device = path == "/api/models/{sha256}/files/{place}"
    allowed = server.ask(method, address, token=tokens["worker"], **more).status
    assert allowed == (404 if device else 403)
    changes = method not in ("GET", "HEAD") and path not in ("/api/gate",)
    if changes or path.startswith("/api/tokens") or device:
        assert server.ask(method, address, token=tokens["reader"], **more).status == 403


@pytest.mark.parametrize(("method", "path"), [each for each in _CLOSED if "/api/" not in each[1]])
def test_people_who_are_not_logged_in_are_led_to_the_form(keyed: Keyed, method: str, path: str) -> None:
    server, _ = keyed
    address = _filled(path) + "?a=1&b=%2F"
    told = server.ask(method, address, headers={**HTML, "Sec-Fetch-Site": "same-origin"})
    if method == "GET" and not path.startswith("/metrics"):
        assert told.status == 303
        assert told.headers["location"] == "/login?next=" + quote(address, safe="/")
    else:
        assert told.status == 401


def test_tokens_over_the_api(tmp_path: Path) -> None:
    with running(no_worker(tmp_path), TOKENS) as (server, tokens):
        chief = tokens["chief"]
        made = server.ask("POST", "/api/tokens", token=chief, json={"name": "bench", "scopes": ["read"]})
        assert made.status == 201
        token = made.json()["token"]
        assert server.ask("GET", "/api/runs", token=token).status == 200
        again = server.ask("POST", "/api/tokens", token=chief, json={"name": "bench", "scopes": ["read"]})
        assert again.status == 409
        listed = server.ask("GET", "/api/tokens", token=chief)
        assert {each["name"]: each["scopes"] for each in listed.json()} == {
            **{name: [scope] for name, scope in TOKENS.items()},
            "bench": ["read"],
        }
        for secret in (token, hash_of(token), "sha256"):
            assert secret not in listed.text
        assert server.ask("DELETE", "/api/tokens/bench", token=chief).status == 204
        assert server.ask("DELETE", "/api/tokens/bench", token=chief).status == 404
        assert server.ask("GET", "/api/runs", token=token).status == 401


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"name": "x"},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["root"]},
        {"name": "x", "scopes": "admin"},
        {"name": "../x", "scopes": ["read"]},
        {"name": "x\n", "scopes": ["read"]},
        {"name": "\ud800", "scopes": ["read"]},
        {"name": "x", "scopes": ["read"], "sha256": "0"},
        {"name": 10**400, "scopes": ["read"]},
        [],
        None,
    ],
)
def test_odd_requests_for_tokens_are_refused_in_one_sentence(keyed: Keyed, asked: Any) -> None:
    server, tokens = keyed
    told = server.ask(
        "POST", "/api/tokens", token=tokens["chief"], json=asked if asked is not None else "null"
    )
    assert told.status == 422
    assert set(told.json()) == {"error"}
    assert len(told.json()["error"]) < 400


def test_tokens_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ["--store", str(tmp_path / "store.db")]
    assert command_line(["token", "list", *store]) == 2
    assert "there is no store" in capsys.readouterr().err
    Store.open(tmp_path / "store.db").close()
    assert command_line(["token", "list", *store]) == 0
    assert "slmeval token add" in capsys.readouterr().out
    assert command_line(["token", "add", "bench", "--scopes", "read,work", *store]) == 0
    said = capsys.readouterr()
    # standard output has the token alone, for a pipe
    assert re.fullmatch(r"slm_[A-Za-z0-9_-]{43}\n", said.out)
    assert said.out.strip() not in said.err
    with Store.open(tmp_path / "store.db") as opened:
        assert Tokens(opened).listed()[0].sha256 == hash_of(said.out.strip())
    assert command_line(["token", "list", *store]) == 0
    listed = capsys.readouterr().out
    assert "bench" in listed
    assert "read,work" in listed
    assert said.out.strip() not in listed
    assert command_line(["token", "add", "bench", "--scopes", "read", *store]) == 2
    assert command_line(["token", "add", "other", "--scopes", "all", *store]) == 2
    assert command_line(["token", "remove", "bench", *store]) == 0
    assert command_line(["token", "remove", "bench", *store]) == 2


# ---- Host and Origin -----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:80", "[::1]:1", "127.0.0.1:65535"])
def test_names_of_the_loopback_lead_to_it(open_server: Running, host: str) -> None:
    assert open_server.ask("GET", "/api/runs", headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.",
        "localhost.evil.example:8765",
        "evil.example#localhost",
        "localhost@evil.example",
        "192.0.2.1",
        "0.0.0.0",
        "",
        "127.0.0.1:x",
        "[::1",
        "2130706433",
    ],
)
def test_other_names_do_not(open_server: Running, host: str) -> None:
    told = open_server.ask("GET", "/api/runs", headers={"Host": host})
    assert told.status == 421
    assert "--allow-host" in told.json()["error"]


def test_a_host_is_named_once(open_server: Running) -> None:
    for more in (b"", b"Host: localhost\r\nHost: evil.example\r\n"):
        answer = open_server.say(b"GET /api/runs HTTP/1.1\r\nConnection: close\r\n" + more + b"\r\n")
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 421"))
    answer = open_server.say(b"GET /api/runs HTTP/1.0\r\n\r\n")
    assert b" 421 " in answer.partition(b"\r\n")[0]


@pytest.mark.parametrize(
    ("host", "hosts", "asked", "reached", "known"),
    [
        ("192.0.2.7", (), "192.0.2.7:8765", ("192.0.2.7", 8765), True),
        ("192.0.2.7", (), "localhost", ("192.0.2.7", 8765), False),
        ("bench.example", (), "BENCH.example", None, True),
        ("0.0.0.0", (), "192.0.2.7", ("192.0.2.7", 8765), True),
        ("0.0.0.0", (), "192.0.2.8", ("192.0.2.7", 8765), False),
        ("0.0.0.0", (), "localhost", ("127.0.0.1", 8765), True),
        ("0.0.0.0", (), "localhost", ("192.0.2.7", 8765), False),
        ("0.0.0.0", (), "0.0.0.0", ("192.0.2.7", 8765), False),
        ("0.0.0.0", ("bench",), "bench:1", ("192.0.2.7", 8765), True),
        ("0.0.0.0", (), "bench:1", ("192.0.2.7", 8765), False),
        ("0.0.0.0", (), "bench:1", None, False),
        ("::", (), "[2001:db8:0::1]", ("2001:db8::1", 8765, 0, 0), True),
        ("::", (), "192.0.2.7", ("::ffff:192.0.2.7", 8765, 0, 0), True),
        ("127.0.0.1", ("bench.example",), "bench.example", None, True),
    ],
)
def test_where_all_addresses_are_listened_on_the_one_that_was_reached_is_a_name(
    tmp_path: Path, host: str, hosts: tuple[str, ...], asked: str, reached: Any, known: bool
) -> None:
    assert Names(Settings(tmp_path / "s", host=host, hosts=hosts)).has(asked, reached) is known


@pytest.mark.parametrize(
    "name", ["http://bench.lan", "bench.lan:8765", "bench.lan/", "[::1]:80", "me@bench.lan", "a b", ""]
)
def test_what_is_no_name_is_refused_before_it_serves(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"--allow-host .*: a name alone"):
        check_names(Settings(tmp_path / "s", hosts=("bench.lan", name)))


def test_names_and_addresses_are_taken(tmp_path: Path) -> None:
    check_names(
        Settings(tmp_path / "s", hosts=("bench.lan", "192.168.1.20", "[fe80::1]", "fe80::1", "bücher.de"))
    )


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://localhost:8765", "localhost:8765", True),
        ("http://LOCALHOST:8765", "localhost:8765", True),
        ("https://bench.example", "bench.example", True),
        ("https://bench.example", "bench.example:443", True),
        ("http://[::1]:8765", "[::1]:8765", True),
        ("http://localhost:3000", "localhost:8765", False),
        ("http://127.0.0.1:8765", "localhost:8765", False),
        ("http://localhost.evil.example:8765", "localhost:8765", False),
        ("null", "localhost:8765", False),
        ("", "localhost:8765", False),
        ("file://localhost:8765", "localhost:8765", False),
        ("http://a@localhost:8765", "localhost:8765", False),
        ("http://localhost:8765/x", "localhost:8765", False),
        ("http://localhost:99999999", "localhost:8765", False),
        ("http://[::1", "localhost:8765", False),
    ],
)
def test_an_origin_is_the_servers_own_or_another(origin: str, host: str, same: bool) -> None:
    assert is_same_origin(origin, host) is same


#: headers that a browser adds on a page elsewhere, and whether something may be changed so
_FROM = [
    ({}, False),
    ({"Sec-Fetch-Site": "same-origin"}, True),
    ({"Sec-Fetch-Site": "none"}, True),
    ({"Sec-Fetch-Site": "same-site"}, False),
    ({"Sec-Fetch-Site": "cross-site"}, False),
    ({"Sec-Fetch-Site": "cross-site", "Origin": "http://{host}"}, False),
    ({"Origin": "http://{host}"}, True),
    ({"Origin": "http://evil.example"}, False),
    ({"Origin": "http://127.0.0.1:1"}, False),
    ({"Origin": "null"}, False),
    ({"Referer": "http://{host}/"}, False),
    ({"Authorization": "Basic eDp5"}, False),
    ({"X-Requested-With": "XMLHttpRequest"}, False),
]


@pytest.mark.parametrize(("headers", "passes"), _FROM)
def test_what_changes_something_must_come_from_here(
    open_server: Running, headers: dict[str, str], passes: bool
) -> None:
    given = {name: value.format(host=open_server.host) for name, value in headers.items()}
    # no page elsewhere can send these without asking first, which is never granted: they are a program's
    program = passes or not {"Sec-Fetch-Site", "Origin"} & set(headers)
    for method in ("POST", "PUT", "PATCH", "DELETE", "LINK"):
        told = open_server.ask(method, "/nowhere", headers=given)
        may = passes if method == "POST" else program
        assert told.status == (404 if may else 403), (method, told.text)
        told = open_server.ask(method, "/nowhere", headers={**given, "Cookie": "a=b"})
        assert told.status == (404 if passes else 403), (method, told.text)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a"):
        told = open_server.ask("POST", "/nowhere", body=b"", headers={**given, "Content-Type": kind})
        assert told.status == (404 if passes else 403)
    told = open_server.ask("POST", "/nowhere", json={}, headers=given)
    assert told.status == (404 if program else 403)


@pytest.mark.parametrize(("headers", "passes"), _FROM)
def test_a_cookie_from_elsewhere_does_not_suffice(
    keyed: Keyed, headers: dict[str, str], passes: bool
) -> None:
    server, tokens = keyed
    cookie = _log_in(server, tokens["chief"])
    given = {name: value.format(host=server.host) for name, value in headers.items()}
    told = server.ask("DELETE", "/api/tokens/none", headers={**given, "Cookie": cookie})
    assert told.status == (404 if passes else 403)


def test_a_page_elsewhere_may_lead_here_and_use_nothing(open_server: Running) -> None:
    cross = {"Sec-Fetch-Site": "cross-site"}
    assert open_server.ask("GET", "/api/runs", headers={**cross, "Sec-Fetch-Mode": "no-cors"}).status == 403
    assert open_server.ask("GET", "/api/runs", headers={**cross, "Sec-Fetch-Mode": "cors"}).status == 403
    site = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}
    assert open_server.ask("GET", "/api/events", headers=site).status == 403
    assert open_server.ask("GET", "/", headers={**cross, "Sec-Fetch-Mode": "navigate", **HTML}).status == 200
    told = open_server.ask("OPTIONS", "/api/runs", headers={"Origin": "http://evil.example"})
    assert not [name for name in told.headers if name.startswith("access-control")]


_UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def _socket(server: Running, **headers: str) -> int:
    given = {"Host": server.host, **_UPGRADE, **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in given.items()]
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as line:
        line.sendall("\r\n".join(["GET /api/devices/work HTTP/1.1", *lines, "", ""]).encode())
        return int(line.recv(4096).split()[1])


def test_devices_come_with_a_token_for_work_and_no_page_does(keyed: Keyed) -> None:
    server, tokens = keyed
    right = {"Authorization": f"Bearer {tokens['worker']}"}
    assert _socket(server, **right) == 101
    assert _socket(server, **right, Origin=f"http://{server.host}") == 101
    assert _socket(server, **right, Origin="http://evil.example") == 403
    assert _socket(server) == 401
    assert _socket(server, Authorization="Bearer x") == 401
    assert _socket(server, Authorization=f"Bearer {tokens['reader']}") == 403
    assert _socket(server, Authorization=f"Bearer {tokens['submitter']}") == 403
    assert _socket(server, Cookie=_log_in(server, tokens["chief"])) == 401


# ---- logging in ----------------------------------------------------------------------------------------


def _form_token(told: Reply) -> str:
    found = re.search(r'name="form_token" value="([0-9a-f]{64})"', told.text)
    assert found, told.text
    return found[1]


def _cookie(told: Reply, kind: str) -> str:
    ((name, value),) = [(name, value) for name, value in told.cookies.items() if kind in name]
    return f"{name}={value.partition(';')[0]}"


def _send(server: Running, path: str, fields: dict[str, str], cookies: str = "", **headers: str) -> Reply:
    body = "&".join(f"{quote(name)}={quote(value)}" for name, value in fields.items())
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    return server.ours("POST", path, body=body, headers={**kind, "Cookie": cookies, **HTML, **headers})


def _try(server: Running, token: str, next: str = "/", **headers: str) -> Reply:  # noqa: A002
    page = server.ask("GET", "/login", headers=HTML)
    given = {"form_token": _form_token(page), "token": token, "next": next}
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return _send(server, "/login", given, _cookie(page, "form"), **more)


def _log_in(server: Running, token: str) -> str:
    told = _try(server, token)
    assert told.status == 303, told.text
    return _cookie(told, "session")


def test_logging_in_and_out(keyed: Keyed) -> None:
    server, tokens = keyed
    told = _try(server, tokens["submitter"], next="/submit?a=1")
    assert (told.status, told.headers["location"]) == (303, "/submit?a=1")
    (flags,) = [value for name, value in told.cookies.items() if "session" in name]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {each.strip() for each in flags.split(";")}
    assert "Secure" not in flags
    assert "Domain" not in flags
    assert tokens["submitter"] not in str(told.headers)
    assert hash_of(tokens["submitter"]) not in str(told.headers)
    session = _cookie(told, "session")
    assert server.ask("GET", "/api/runs", headers={"Cookie": session}).status == 200
    page = server.ask("GET", "/", headers={**HTML, "Cookie": session})
    assert page.status == 200
    assert "submitter" in page.text
    assert (
        server.ask("GET", "/login?next=/submit", headers={"Cookie": session}).headers["location"] == "/submit"
    )
    # out, by a form of this session alone
    assert _send(server, "/logout", {}, session).status == 403
    out = _send(server, "/logout", {"form_token": _form_token(page)}, session)
    assert out.status == 303
    assert any("Max-Age=0" in value for value in out.cookies.values())
    assert server.ask("GET", "/api/runs", headers={"Cookie": session}).status == 401


def test_over_https_the_cookie_stays_there(keyed: Keyed) -> None:
    server, tokens = keyed
    page = server.ask("GET", "/login", headers=HTML)
    given = {"form_token": _form_token(page), "token": tokens["reader"]}
    told = _send(server, "/login", given, _cookie(page, "form"), **{"X-Forwarded-Proto": "https"})
    assert all("; Secure" in value for value in told.cookies.values())


def test_a_form_is_bound_to_the_session_or_to_the_browser(keyed: Keyed) -> None:
    server, tokens = keyed
    page, other = (server.ask("GET", "/login", headers=HTML) for _ in range(2))
    right = {"token": tokens["reader"]}
    for form_token, cookies in (
        (_form_token(page), ""),
        (_form_token(page), _cookie(other, "form")),
        ("", _cookie(page, "form")),
        ("0" * 64, _cookie(page, "form")),
        (_form_token(page), _cookie(page, "form").partition("=")[0] + "=x"),
    ):
        told = _send(server, "/login", {**right, "form_token": form_token}, cookies)
        assert told.status == 403
        assert not [name for name in told.cookies if "session" in name]
    # who has logged in meanwhile has another one
    session = _log_in(server, tokens["reader"])
    told = _send(server, "/logout", {"form_token": _form_token(page)}, f"{_cookie(page, 'form')}; {session}")
    assert told.status == 403


def test_wrong_tokens_and_those_of_devices_open_no_session(tmp_path: Path) -> None:
    with running(no_worker(tmp_path), TOKENS) as (server, tokens):
        # no time passes, however long it takes
        server.service.keys.slowing = Slowing(_Clock())
        own = server.service.keys.local_token
        for wrong in ("", "x", "slm_" + "w" * 43, tokens["worker"], own):
            told = _try(server, wrong)
            assert told.status == 403
            assert not [name for name in told.cookies if "session" in name]
            assert not wrong or len(wrong) < 5 or wrong not in told.text
        # from now on it takes its time, for right ones, too
        told = _try(server, tokens["reader"])
        assert told.status == 429
        assert int(told.headers["retry-after"]) >= 1


def test_behind_a_proxy_who_guesses_slows_nobody_else_down(tmp_path: Path) -> None:
    with running(no_worker(tmp_path, hosts=("bench.example",)), TOKENS) as (server, tokens):
        server.service.keys.slowing = Slowing(_Clock())
        for number in range(6):
            # what the client claims to be stands before what the proxy saw
            told = _try(server, "x", X_Forwarded_For=f"192.0.2.{number}, 203.0.113.1")
        assert told.status == 429
        assert _try(server, tokens["reader"], X_Forwarded_For="203.0.113.1").status == 429
        assert _try(server, tokens["reader"], X_Forwarded_For="203.0.113.2").status == 303


def test_a_token_that_is_removed_ends_its_sessions(tmp_path: Path) -> None:
    with running(no_worker(tmp_path), TOKENS) as (server, tokens):
        session, other = _log_in(server, tokens["reader"]), _log_in(server, tokens["submitter"])
        assert server.ask("DELETE", "/api/tokens/reader", token=tokens["chief"]).status == 204
        assert server.ask("GET", "/api/runs", headers={"Cookie": session}).status == 401
        assert server.ask("GET", "/api/runs", headers={"Cookie": other}).status == 200
        # a new one of that name opens none of the old
        server.ask("POST", "/api/tokens", token=tokens["chief"], json={"name": "reader", "scopes": ["read"]})
        assert server.ask("GET", "/api/runs", headers={"Cookie": session}).status == 401


def test_a_token_that_is_removed_ends_what_listens_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slmeval.service.bodies.LOOKS", 0.1)
    # nothing else ends them
    monkeypatch.setattr("slmeval.service.hub.LOOK_PAUSE", 3600.0)
    monkeypatch.setattr("slmeval.service.devices._PATIENCE", 3600.0)
    with running(no_worker(tmp_path), TOKENS) as (server, tokens):
        lines = [
            _open(server, "/api/events", tokens["reader"]),
            _open(server, "/api/events", tokens["chief"]),
        ]
        lines += [_open(server, "/api/devices/work", tokens["worker"], **_UPGRADE)]
        time.sleep(0.5)
        for name in ("reader", "worker"):
            assert server.ask("DELETE", f"/api/tokens/{name}", token=tokens["chief"]).status == 204
        gone, kept, device = lines
        assert _is_over(gone)
        assert _is_over(device)
        assert not _is_over(kept, 2.0)
        for line in lines:
            line.close()


def _open(server: Running, path: str, token: str, **headers: str) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", server.port), timeout=120)
    lines = [f"GET {path} HTTP/1.1", f"Host: {server.host}", f"Authorization: Bearer {token}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    line.sendall("\r\n".join([*lines, "", ""]).encode())
    assert line.recv(65536).split()[1] in (b"200", b"101")
    return line


def _is_over(line: socket.socket, seconds: float = 60.0) -> bool:
    """Whether the server ends it: by closing, by a last piece, or (a WebSocket) by saying so."""
    line.settimeout(seconds)
    try:
        while came := line.recv(65536):
            if came.endswith(b"0\r\n\r\n") or came.startswith(b"\x88"):
                return True
        return True
    except TimeoutError:
        return False


def test_sessions_end_when_they_are_not_used() -> None:
    clock = _Clock()
    sessions = Sessions(clock)
    used, idle = sessions.open("a"), sessions.open("b")
    clock.now += IDLE * 0.75
    assert sessions.token_of(used) == "a"
    clock.now += IDLE * 0.75
    assert sessions.token_of(used) == "a"
    assert sessions.token_of(idle) is None
    sessions.end(used)
    assert sessions.token_of(used) is None
    assert sessions.token_of(None) is None


def test_there_are_only_so_many_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slmeval.service.sessions.MOST", 3)
    sessions = Sessions(_Clock())
    made = [sessions.open(str(number)) for number in range(3)]
    assert sessions.token_of(made[0]) == "0"
    made.append(sessions.open("3"))
    assert [sessions.token_of(each) for each in made] == ["0", None, "2", "3"]


def test_guessing_gets_slower() -> None:
    clock = _Clock()
    slowing = Slowing(clock)
    pauses = []
    for _ in range(14):
        slowing.count("192.0.2.1")
        pauses.append(slowing.wait("192.0.2.1"))
    assert pauses == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert slowing.wait("192.0.2.2") == 0
    clock.now += 59
    assert slowing.wait("192.0.2.1") == 1
    clock.now += 1000
    assert slowing.wait("192.0.2.1") == 0
    slowing.count("192.0.2.1")
    assert slowing.wait("192.0.2.1") == 0


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("/", True),
        ("/runs/a?b=c&d=%2F#e", True),
        ("", False),
        ("//evil.example", False),
        ("///evil.example", False),
        ("/\\evil.example", False),
        ("\\\\evil.example", False),
        ("/\t/evil.example", False),
        ("/\n/evil.example", False),
        (" //evil.example", False),
        ("https://evil.example", False),
        ("javascript:alert(1)", False),
        ("evil.example", False),
        ("/login?next=/login", False),
        ("/logout", False),
        ("/api/events", False),
        ("/" + "a" * 3000, False),
    ],
)
def test_after_logging_in_one_is_led_to_pages_of_the_server_alone(given: str, kept: bool) -> None:
    assert local(given) == (given if kept else "/")


@given(st.text(alphabet="/\\:@.?#%ehx \t\r\n\0", max_size=12))
def test_no_address_leads_to_another_host(address: str) -> None:
    from urllib.parse import urljoin, urlsplit

    kept = local(address)
    # browsers take a backslash for a slash, and leave out ends of lines and tabs
    as_browsers = re.sub(r"[\t\r\n]", "", kept).replace("\\", "/")
    assert urlsplit(urljoin("http://here.example/x", as_browsers)).netloc == "here.example"


def test_a_link_from_elsewhere_finds_the_session_by_a_detour(keyed: Keyed) -> None:
    server, _ = keyed
    headers = {**HTML, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    told = server.ask("GET", "/login?next=/runs/a%3Fb%3D%22%3E%3Cscript%3E", headers=headers)
    assert told.status == 200
    assert "http-equiv" in told.text
    assert "<script>" not in told.text
    assert "form_token" not in told.text


# ---- bodies and headers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "text/plain; application/json",
    ],
)
def test_the_api_takes_json_alone(open_server: Running, kind: str | None) -> None:
    for path in ("/api/runs", "/api/uploads", "/api/gate"):
        headers = {"Content-Type": kind} if kind else {}
        assert open_server.ours("POST", path, body=b"{}", headers=headers).status == 415


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_is_json(open_server: Running, kind: str) -> None:
    assert open_server.ours("POST", "/api/runs", body=b"{]", headers={"Content-Type": kind}).status == 422


def _pieces(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b" " * 1000


@pytest.mark.parametrize("path", ["/api/runs", "/api/gate", "/api/tokens", "/login", "/nowhere"])
def test_long_bodies_are_refused_as_they_come(keyed: Keyed, path: str) -> None:
    server, tokens = keyed
    kind = "application/x-www-form-urlencoded" if path == "/login" else "application/json"
    more = {"token": tokens["chief"], "headers": {"Content-Type": kind}}
    told = server.ask("POST", path, body=b" " * 10_001, **more)
    assert told.status == 413
    assert "10,000 bytes" in told.json()["error"]
    if path != "/nowhere":  # which does not read what it is sent
        assert server.ask("POST", path, body=_pieces(11), chunked=True, **more).status == 413
    assert server.ask("POST", path, body=b" " * 10_000, **more).status in (401, 403, 404, 422)


def test_uploads_may_be_longer_for_those_who_may_upload(keyed: Keyed) -> None:
    server, tokens = keyed
    json = {"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}
    sent = b" " * 20_000
    assert (
        server.ask("POST", "/api/uploads", token=tokens["submitter"], body=sent, headers=json).status == 422
    )
    for token in (tokens["reader"], tokens["worker"], None, "x"):
        told = server.ask("POST", "/api/uploads", token=token, body=sent, headers=json)
        assert told.status in (401, 403, 413)
        told = server.ask("POST", "/api/uploads", token=token, body=_pieces(20), chunked=True, headers=json)
        assert told.status in (401, 403, 413)
    for count, status in ((40, 422), (51, 413)):
        sent_in_pieces = {"body": _pieces(count), "chunked": True, "headers": json}
        told = server.ask("POST", "/api/uploads", token=tokens["submitter"], **sent_in_pieces)
        assert told.status == status


def test_what_is_said_to_be_long_is_not_waited_for(open_server: Running) -> None:
    head = f"POST /api/runs HTTP/1.1\r\nHost: {open_server.host}\r\nSec-Fetch-Site: none\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 999999999999\r\n\r\n"
    answer = open_server.say(head.encode())
    assert b" 413 " in answer.partition(b"\r\n")[0]
    # and the line is closed, not left to itself
    assert b"\r\nconnection: close\r\n" in answer.lower()


async def _always() -> bool:
    return True


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def never() -> Any:
        await asyncio.sleep(60)

    body = Body(never, 10, _always, patience=0.05)
    with pytest.raises(Refused) as caught:
        asyncio.run(body.receive())
    assert caught.value.status == 408


def test_one_who_listens_long_is_not_timed() -> None:
    messages = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        if len(messages) == 1:
            await asyncio.sleep(0.2)
        return messages.pop(0)

    async def listen() -> list[str]:
        body = Body(receive, 10, _always, patience=0.05)
        return [(await body.receive())["type"], (await body.receive())["type"]]

    assert asyncio.run(listen()) == ["http.request", "http.disconnect"]


def test_a_request_of_two_lengths_is_refused_and_nothing_after_it_is_read(keyed: Keyed) -> None:
    running, _ = keyed
    head = f"Host: {running.host}\r\n"
    came = running.say(
        f"POST /api/runs HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: 4\r\n"
        f"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\n{head}\r\n".encode()
    )
    assert came.startswith(b"HTTP/1.1 400 ")
    assert came.count(b"HTTP/1.1") == 1
    assert b"both Transfer-Encoding and Content-Length" in came


def test_a_websocket_elsewhere_is_refused_in_a_sentence(keyed: Keyed) -> None:
    running, _ = keyed
    came = running.say(
        f"GET /api/events HTTP/1.1\r\nHost: {running.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    assert came.startswith(b"HTTP/1.1 404 ")
    assert b"content-security-policy" in came.lower()
    assert b"no WebSocket is at '/api/events'" in came


def test_headers_are_of_some_length(open_server: Running) -> None:
    head = f"GET /api/runs HTTP/1.1\r\nHost: {open_server.host}\r\nConnection: close\r\n"
    for more in (f"X: {'a' * 200_000}\r\n", f"X: {'a' * 99}\r\n" * 1000):
        answer = open_server.say(f"{head}{more}\r\n".encode())
        assert answer.split()[1] in (b"400", b"431")
    assert open_server.ask("GET", "/api/runs").status == 200


def _checked(told: Reply) -> None:
    policy = dict(
        each.strip().partition(" ")[::2] for each in told.headers["content-security-policy"].split(";")
    )
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert told.headers["x-content-type-options"] == "nosniff"
    assert told.headers["x-frame-options"] == "DENY"
    # "no-referrer" would have browsers hide from us where a form comes from
    assert told.headers["referrer-policy"] == "same-origin"
    assert told.headers["cross-origin-opener-policy"] == "same-origin"
    assert told.headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in told.headers["permissions-policy"]
    assert "server" not in told.headers
    assert "x-powered-by" not in told.headers


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/healthz", {}, 200),
        ("GET", "/", HTML, 200),
        ("GET", "/login", HTML, 200),
        ("GET", "/nowhere", HTML, 404),
        ("GET", "/nowhere", {}, 404),
        ("PUT", "/login", {"Sec-Fetch-Site": "none"}, 405),
        ("POST", "/api/runs", {}, 403),
        ("POST", "/api/runs", {"Content-Type": "application/json", "Content-Length": "99999"}, 413),
        ("POST", "/api/runs", {"Sec-Fetch-Site": "none", "Content-Type": "application/json"}, 422),
        ("GET", "/api/runs", {"Host": "evil.example"}, 421),
        ("GET", "/api/runs", {"Authorization": "Bearer x"}, 401),
        ("GET", "/api/tokens", {}, 403),
        ("GET", "/api/broken", {}, 500),
        ("GET", "/api/broken", HTML, 500),
        ("GET", "/api/openapi.json", {}, 200),
    ],
)
def test_every_answer_has_what_keeps_browsers_safe(
    open_server: Running, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    told = open_server.ask(method, path, headers=headers)
    assert told.status == status, told.text
    _checked(told)
    assert told.headers["cache-control"] == "no-store"


def test_static_files_have_it_too_and_may_be_kept(open_server: Running) -> None:
    told = open_server.ask("GET", "/static/style.css")
    assert told.status == 200
    assert "no-store" not in told.headers["cache-control"]
    _checked(told)
    again = open_server.ask("GET", "/static/style.css", headers={"If-None-Match": told.headers["etag"]})
    assert again.status == 304
    _checked(again)
    gone = open_server.ask("GET", "/static/none.css")
    assert gone.status == 404
    _checked(gone)


def test_redirects_have_it_too(keyed: Keyed) -> None:
    told = keyed[0].ask("GET", "/", headers=HTML)
    assert told.status == 303
    _checked(told)


def test_streams_have_it_too_and_come_piece_by_piece() -> None:
    sent: list[tuple[int, Any]] = []
    done: list[int] = []

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})
        for number in range(3):
            done.append(number)
            await send({"type": "http.response.body", "body": b"%d" % number, "more_body": True})

    async def send(message: Any) -> None:
        sent.append((len(done), message))

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/events",
        "scheme": "http",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1")],
        "server": ("127.0.0.1", 1),
    }
    asyncio.run(Guard(stream, Settings(Path("s")))(scope, receive, send))
    assert [count for count, _ in sent] == [0, 1, 2, 3]
    names = {name for name, _ in sent[0][1]["headers"]}
    assert {b"x", b"content-security-policy", b"cache-control"} <= names


# ---- addresses -----------------------------------------------------------------------------------------

_ESCAPES = [
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "%252e%252e%252fetc%252fpasswd",
    "%25252e%25252e%25252f",
    "..%5c..%5cetc",
    "%5c%5cserver%5cshare",
    "a%00",
    "%00",
    "%2500",
    "a%0d%0aX-Header: b".replace(" ", "%20"),
    "%2e%2e",
    ".",
    "..;%2f",
    "%c0%ae%c0%ae%2f",
    "'%20OR%20'1'='1",
    "1;DROP%20TABLE%20runs;--",
    '"%20UNION%20SELECT%20sha256%20FROM%20tokens--',
    "%25",
    "{{7*7}}",
    "${jndi:ldap://x}".replace("/", "%2f"),
    "9" * 30,
    "-1",
    "%f0%9f%98%80",
    "%e2%80%ae",
    "a" * 3000,
    "last~1",
    "%2fetc%2fpasswd",
]
_WITH_PARTS = sorted({path for method, path in _CLOSED if "{" in path})


def _unharmed(server: Running) -> None:
    with sqlite3.connect(server.settings.store) as db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert {"runs", "tokens", "submissions", "events"} <= tables
        assert db.execute("SELECT count(*) FROM tokens").fetchone() == (len(TOKENS),)
    db.close()


@pytest.mark.parametrize("path", _WITH_PARTS)
def test_no_part_of_an_address_leads_out(keyed: Keyed, path: str) -> None:
    server, tokens = keyed
    for method in sorted({method for method, known in _CLOSED if known == path}):
        for escape in _ESCAPES:
            more: dict[str, Any] = {"json": {}} if method == "POST" else {}
            for token in (tokens["chief"], tokens["worker"]):
                told = server.ask(method, _filled(path, escape), token=token, **more)
                if told.status == 307:  # without its last slash
                    assert told.headers["location"].startswith(f"http://{server.host}/")
                else:
                    assert 400 <= told.status < 500, (method, escape, told.status, told.text[:300])
                assert "root:" not in told.text
                assert "x-header" not in told.headers
    _unharmed(server)


@pytest.mark.parametrize("escape", _ESCAPES)
def test_neither_do_those_of_static_files(open_server: Running, escape: str) -> None:
    for path in (f"/static/{escape}", f"/static/..{escape}", f"/static/a/..%2f{escape}"):
        assert open_server.ask("GET", path).status in (404, 405)


_METACHARACTERS = [
    "' OR 1=1 --",
    '"; DROP TABLE tokens; --',
    "%",
    "_",
    "\\",
    "\0",
    "x' UNION SELECT 1",
    "😀",
    "*" * 999,
]


def _queries() -> Iterator[tuple[str, str]]:
    description = app.create_app(Settings(Path("unused"))).openapi()
    for path, methods in description["paths"].items():
        for parameter in methods.get("get", {}).get("parameters", ()):
            if parameter["in"] == "query" and "events" not in path:
                yield path, parameter["name"]
    for name in ("next", "first", "second", "task", "figure", "model", "state", "before", "backend"):
        for path in ("/", "/login", "/compare", "/history", "/matrix", "/submit"):
            yield path, name


def test_what_sql_would_obey_is_text(keyed: Keyed) -> None:
    server, tokens = keyed
    for path, name in _queries():
        for value in _METACHARACTERS:
            address = f"{_filled(path)}?{name}={quote(value)}"
            told = server.ask("GET", address, token=tokens["chief"], headers=HTML)
            assert told.status < 500, (address, told.text[-500:])
    _unharmed(server)


# ---- what is told --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status"), [("usage", 422), ("data", 422), ("name", 422), ("store", 503), ("refused", 409)]
)
def test_errors_become_sentences(open_server: Running, kind: str, status: int) -> None:
    told = open_server.ask("GET", f"/api/wrong/{kind}")
    assert told.status == status
    assert list(told.json()) == ["error"]
    assert told.json()["error"].startswith(("unknown task", kind))
    assert "s" * 43 not in told.text


def test_a_store_that_cannot_be_read_is_no_defect_of_the_server(
    keyed: Keyed, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, tokens = keyed

    async def locked(_: Any) -> Any:
        raise StoreError("the store is locked")

    monkeypatch.setattr(server.service.keys._desk, "read", locked)
    server.service.keys._until = float("-inf")
    for path in ("/api/runs", "/api/uploads"):
        told = server.ask("POST", path, token=tokens["chief"], json={})
        assert (told.status, told.json()) == (503, {"error": "the store is locked"})


def test_what_failed_inside_is_told_to_nobody_outside(
    open_server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "slmeval.service"):
        told = open_server.ask("GET", "/api/broken")
    assert told.status == 500
    assert "password" not in told.text
    assert "Traceback" not in told.text
    (record,) = [each for each in caplog.records if each.name == "slmeval.service"]
    written = Discreet().format(record)
    assert "the password is slm_..." in written
    assert "s" * 43 not in written


def test_a_token_in_an_address_is_refused(keyed: Keyed) -> None:
    server, tokens = keyed
    for name in ("token", "access_token", "x"):
        for value in (tokens["chief"], quote(tokens["chief"]).replace("_", "%5f")):
            told = server.ask("GET", f"/api/runs?{name}={value}", token=tokens["chief"])
            assert told.status == 400
            assert tokens["chief"] not in told.text
    assert server.ask("GET", "/api/runs?token=read", token=None).status == 401


def test_logs_have_no_secrets(tmp_path: Path) -> None:
    with serving(tmp_path, "--no-worker") as server:
        token, device = server.add_token("reader", "read"), server.add_token("device", "work")
        wrong = "slm_" + "w" * 43
        server.token = token
        assert server.ask("GET", "/api/runs").status == 200
        assert server.ask("GET", f"/api/runs?token={token}").status == 400
        assert server.ask("GET", f"/{token}").status == 404
        assert server.ask("GET", "/%1b%5b31mred").status == 404
        for given in (wrong, device):
            server.token = given
            assert server.ask("GET", "/api/runs").status in (401, 403)
        said = server.running.log.read_text()
    assert "GET /api/runs?token=slm_..." in said
    for secret in (token, device, wrong, "\x1b"):
        assert secret not in said


@given(
    st.text(" ,;:=\"'äß\n", max_size=20),
    st.text("abcXYZ019_-", min_size=20, max_size=43),
    st.sampled_from(
        ["slm_", "hf_", "sk-", "Authorization: Bearer ", "bearer ", "http://user:", "slmeval_session_8765="]
    ),
)
def test_secrets_do_not_pass(around: str, secret: str, before: str) -> None:
    after = "@host" if before.startswith("http") else ""
    assert secret not in discreet(f"{around} {before}{secret}{after} {around}")


def test_nothing_that_a_terminal_obeys_passes() -> None:
    assert discreet("a\x1b[31mb\rc\u202ed\ne\tf") == "a\\x1b[31mb\\x0dc\\x202ed\ne\tf"


def test_uvicorns_lines_go_through_it() -> None:
    config = log_config()
    assert {handler["formatter"] for handler in config["handlers"].values()} == {"discreet"}
    assert config["formatters"]["discreet"]["()"] == "slmeval.service.logs.Discreet"
    assert "uvicorn" in config["loggers"]


def test_scopes_bring_what_they_say() -> None:
    found = {scope: keys.Token("x", (scope,), "", "").caller.scopes for scope in SCOPES}
    assert found == {
        "read": {"read"},
        "submit": {"read", "submit"},
        "work": {"work"},
        "admin": {"read", "submit", "work", "admin"},
    }
    assert needs("read") is not needs("read")
    assert api_tokens.router.prefix == "/api/tokens"
