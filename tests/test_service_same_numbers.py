"""What the API answers is what the command line says of the same store, number for number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("fastapi", reason="the service is not installed")
from gate_runs import of, scored, scores
from service_thread import Running, no_worker, running

from slmeval.cli import run
from slmeval.store import Store

FIRST, SECOND, THIRD = "20260801-101500-aaaa", "20260801-111500-bbbb", "20260801-121500-cccc"
#: not in the order of their names
_EASY, _MORE = scored("arc_easy", scores(300, 0.6)), scored("arc_challenge", scores(170, 0.31), shots=5)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with a run, a worse one, and one of fewer items."""
    settings = no_worker(tmp_path_factory.mktemp("same"))
    with Store.open(settings.store) as store:
        store.finish_run(of(_EASY, _MORE, id=FIRST))
        worse = scored("arc_easy", scores(300, 0.6, lost=17))
        store.finish_run(of(worse, _MORE, id=SECOND))
        store.finish_run(of(scored("arc_easy", scores(120, 0.6)), id=THIRD))
    with running(settings) as (server, _):
        yield server


def said(server: Running, folder: Path, *command: str) -> Any:
    """The JSON that a command writes."""
    place = folder / "said.json"
    run([*command, "--store", str(server.settings.store), "--format", "json", "--output", str(place)])
    return json.loads(place.read_text())


def answered(server: Running, method: str, path: str, **more: Any) -> Any:
    reply = server.ask(method, path, **more)
    assert reply.status == 200, reply.text
    return reply.json()


@pytest.mark.parametrize("id_", [FIRST, SECOND, THIRD])
def test_a_result_is_the_export(server: Running, tmp_path: Path, id_: str) -> None:
    place = tmp_path / "run.json"
    assert run(["export", id_, str(place), "--store", str(server.settings.store)]) == 0
    assert answered(server, "GET", f"/api/runs/{id_}/result") == json.loads(place.read_text())


@pytest.mark.parametrize(
    ("first", "second", "query", "flags"),
    [
        (FIRST, SECOND, "", ()),
        (SECOND, FIRST, "&figures=all", ("--figures", "all")),
        (FIRST, SECOND, "&tasks=arc_ch*", ("--tasks", "arc_ch*")),
        (FIRST, THIRD, "&shared=true", ("--shared",)),
        (f"{FIRST}#reference", SECOND, "", ()),
    ],
)
def test_a_comparison_is_the_command_s(
    server: Running, tmp_path: Path, first: str, second: str, query: str, flags: tuple[str, ...]
) -> None:
    path = f"/api/compare?first={quote(first)}&second={quote(second)}{query}"
    assert answered(server, "GET", path) == said(server, tmp_path, "compare", first, second, *flags)


@pytest.mark.parametrize(
    ("second", "rules", "shared"),
    [
        (SECOND, [], False),
        (SECOND, ["arc_easy/acc >= baseline - 5pt", "arc_*/acc >= 95% * baseline"], False),
        (SECOND, ["arc_easy/acc >= 0.55"], False),
        (THIRD, ["arc_easy/acc >= baseline - 1pt"], True),
    ],
)
@pytest.mark.parametrize("as_document", [False, True])
def test_a_gate_is_the_command_s(
    server: Running, tmp_path: Path, second: str, rules: list[str], shared: bool, as_document: bool
) -> None:
    place = tmp_path / "baseline.json"
    assert run(["export", FIRST, str(place), "--store", str(server.settings.store)]) == 0
    baseline = json.loads(place.read_text()) if as_document else FIRST
    body = {"run": second, "baseline": baseline, "rules": rules, "shared": shared}
    flags = [part for rule in rules for part in ("--rule", rule)] + ["--shared"] * shared
    told = said(server, tmp_path, "gate", second, "--baseline", str(place), *flags)
    found = answered(server, "POST", "/api/gate", json=body)
    # the one names a run, the other a file
    assert FIRST in found.pop("baseline")
    assert FIRST in told.pop("baseline")
    assert found == told
