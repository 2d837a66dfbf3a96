"""The API keeps what its OpenAPI description promises, whatever is sent: schemathesis says so."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the service is not installed")
from example_runs import MACHINE
from gate_runs import of, scored, scores
from service_thread import Running, no_worker, running

from slmeval.service.ledger import Ledger
from slmeval.service.roster import Device
from slmeval.store import Store

#: seconds in which requests are made up
SECONDS = 30
#: streams have no end, and tests of their own
STREAMS = r"/events$"
#: what a schema cannot say (that there is a task of this name, say) is refused as it is said to be
CONFIG = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "422", "429"]

[[operations]]
include-path = "/api/compare"
parameters = { first = "%(first)s", second = "%(second)s" }
"""
FIRST = of(scored("arc_easy", scores(50, 0.6)), id="20260801-101500-aaaa")
SECOND = of(scored("arc_easy", scores(50, 0.6, lost=10)), id="20260801-111500-bbbb")


async def _unheard(_: object) -> None:
    """Nothing is sent to a device that is not one."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, str]]:
    """A server with finished runs and a known device, and the token of one who may do all."""
    settings = no_worker(tmp_path_factory.mktemp("served"))
    with Store.open(settings.store) as store:
        for run in (FIRST, SECOND):
            store.finish_run(run)
        Ledger(store).see_device("desk", {"engines": ["reference"], "memory": None, "machine": {}})
    with running(settings, {"chief": "admin"}) as (server, tokens):
        # it is busy, so that what is submitted waits
        busy = Device("bench", "1", MACHINE, ("reference",), None, False, _unheard, run="another")
        server.service.roster.enter(busy)
        yield server, tokens["chief"]


@pytest.fixture(scope="module")
def description(served: tuple[Running, str]) -> Any:
    server, token = served
    answer = server.ask("GET", "/api/openapi.json", token=token)
    assert answer.status == 200
    return answer.json()


def operations(description: Any) -> Iterator[tuple[str, str, Any]]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_every_part_of_the_api_is_described(description: Any) -> None:
    found = {(method, path) for path, method, _ in operations(description)}
    assert found >= {
        ("post", "/api/runs"),
        ("get", "/api/runs"),
        ("get", "/api/runs/{run}"),
        ("post", "/api/runs/{run}/cancel"),
        ("get", "/api/runs/{run}/result"),
        ("get", "/api/runs/{run}/events"),
        ("get", "/api/runs/{run}/cells/{cell}/items"),
        ("get", "/api/events"),
        ("get", "/api/compare"),
        ("post", "/api/gate"),
        ("post", "/api/uploads"),
        ("get", "/api/devices"),
        ("get", "/healthz"),
        ("get", "/readyz"),
        ("get", "/metrics"),
    }


def test_every_operation_says_what_it_does_and_what_can_go_wrong(description: Any) -> None:
    names = []
    for path, method, operation in operations(description):
        names.append(operation["operationId"])
        assert operation.get("description"), (method, path)
        for status in ("400", "401", "403", "404", "413", "422", "503"):
            problem = operation["responses"][status]["content"]
            assert problem == {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}, path
        is_open = path in ("/healthz", "/readyz")
        assert bool(operation.get("security")) != is_open, path
    assert len(set(names)) == len(names)


def test_parameters_have_limits(description: Any) -> None:
    for path, _, operation in operations(description):
        # what follows a stream is looked at by it: a browser says again whatever it was told
        for parameter in () if re.search(STREAMS, path) else operation.get("parameters", ()):
            whole = json.dumps(parameter["schema"])
            is_bounded = any(
                word in whole for word in ("pattern", "maximum", "maxLength", "enum", "boolean", "$ref")
            )
            assert is_bounded, (path, parameter)


def test_what_is_made_up_is_answered_as_promised(served: tuple[Running, str], tmp_path: Path) -> None:
    """All checks of schemathesis: no 5xx, no answer that is not described, nothing without its token."""
    if importlib.util.find_spec("schemathesis") is None:
        pytest.skip("schemathesis is not installed")
    server, token = served
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG % {"first": FIRST.id, "second": SECOND.id})
    command = [
        *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
        *("--config-file", str(config), "--no-color", "run"),
        f"http://{server.host}/api/openapi.json",
        *("-H", f"Authorization: Bearer {token}", "-H", f"Origin: http://{server.host}"),
        *("--exclude-path-regex", STREAMS, "--max-time", str(SECONDS), "--seed", "20260801"),
        *("--continue-on-failure", "--request-timeout", "120", "--suppress-health-check", "all"),
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    assert "passed" in done.stdout
    # the server is as it was
    assert server.ask("GET", "/readyz").status == 200
    assert server.ask("GET", f"/api/runs/{FIRST.id}/result", token=token).status == 200
