"""The API: runs submitted, listed, cancelled; results, comparisons and gates; uploads; what there is."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the service is not installed")
import example_runs
from example_runs import MACHINE, accuracy, cell
from gate_runs import of, scored, scores
from service_thread import Running, no_worker, running

from slmeval.document import to_document
from slmeval.errors import StoreError, UnknownName
from slmeval.planner import check
from slmeval.registry import load
from slmeval.service import api_health
from slmeval.service.ledger import Ledger
from slmeval.service.roster import Device
from slmeval.service.schemas import RunRequest
from slmeval.service.settings import Limits
from slmeval.service.submitting import new_id
from slmeval.store import Store
from slmeval.types import RunOptions, RunResult

ASKED = {"tasks": ["arc_easy"], "backends": ["reference"]}
FIRST = of(scored("arc_easy", scores(200, 0.6)), id="20260801-101500-aaaa")
SECOND = of(scored("arc_easy", scores(200, 0.6, lost=40)), id="20260801-111500-bbbb")


def carried_out(store: Store, run: str) -> None:
    """Have it be that of a process which is there, and another one than this."""
    with store.writing() as db:
        db.execute("UPDATE runs SET pid = ?, born = NULL WHERE id = ?", (os.getppid(), run))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with running(no_worker(tmp_path)) as (server, _):
        yield server


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with two finished runs, for tests that change nothing."""
    settings = no_worker(tmp_path_factory.mktemp("finished"))
    with Store.open(settings.store) as store:
        for run in (FIRST, SECOND):
            store.finish_run(run)
        store.begin_run("20260801-121500-cccc", "2026-08-01T12:15:00+00:00", RunOptions())
        carried_out(store, "20260801-121500-cccc")
    with running(settings) as (server, _):
        yield server


def submit(server: Running, **request: Any) -> Any:
    answer = server.ask("POST", "/api/runs", json={**ASKED, **request})
    assert answer.status == 201, answer.text
    return answer.json()


def refusal(server: Running, status: int = 422, path: str = "/api/runs", **request: Any) -> str:
    answer = server.ask("POST", path, json={**(ASKED if path == "/api/runs" else {}), **request})
    assert answer.status == status, answer.text
    (sentence,) = answer.json().values()
    return str(sentence)


def get(server: Running, path: str) -> Any:
    answer = server.ask("GET", path)
    assert answer.status == 200, answer.text
    return answer.json()


async def _unheard(_: object) -> None:
    """Nothing is sent to a device that is not one."""


def connect(server: Running, name: str, *engines: str) -> None:
    """A device that is busy with something else."""
    server.service.roster.enter(Device(name, name, MACHINE, engines, None, False, _unheard, run="another"))


def options_of(server: Running, run: str) -> Any:
    return get(server, f"/api/runs/{run}")["options"]


# ---- submitting ------------------------------------------------------------------------------------------


def test_a_submission_becomes_a_run_for_each_engine(server: Running) -> None:
    made = submit(server, backends=["reference", "hf"], limit=5, options={"reference.threads": 1})
    assert [run["backend"] for run in made["runs"]] == ["reference", "hf"]
    first, second = (get(server, f"/api/runs/{run['id']}") for run in made["runs"])
    assert (first["state"], first["batch"], first["submitter"]) == ("queued", made["batch"], "")
    assert (first["backends"], second["backends"]) == (["reference"], ["hf"])
    assert first["options"]["engine_options"] == {"reference.threads": "1"}
    assert second["options"]["engine_options"] == {}
    assert first["options"]["limit"] == 5


def test_an_option_goes_to_the_engines_that_have_it(server: Running) -> None:
    asked = {"backends": ["llamacpp", "hf"], "options": {"gpu_layers": 0}, "tasks": ["arc_easy"]}
    first, second = (options_of(server, run["id"]) for run in submit(server, **asked)["runs"])
    assert first["engine_options"] == {"gpu_layers": "0"}
    assert second["engine_options"] == {}


def test_ids_are_of_the_form_of_all_runs_and_many_a_second(server: Running) -> None:
    made = {new_id() for _ in range(3000)}
    # of eight digits drawn, two are the same once in a thousand times
    assert len(made) > 2995
    assert all(re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{8}", each) for each in made)


def test_twenty_submissions_take_a_moment(server: Running) -> None:
    submit(server)
    # the server's time, too, and not that of what else the machine does
    began = time.process_time()
    for _ in range(20):
        submit(server, tasks=["*"])
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"tasks": ["arc_esy"]}, ["unknown task 'arc_esy'", "did you mean 'arc_easy'"]),
        ({"tasks": ["own.toml"]}, ["'own.toml' is a file"]),
        ({"tasks": ["../../etc/OWN.TOML"]}, ["is a file"]),
        ({"backends": ["hff"]}, ["unknown backend 'hff'", "'hf'"]),
        ({"backends": ["hf"], "options": {"trust_remote_code": True}}, ["trust_remote_code", "runs code"]),
        ({"backends": ["hf"], "options": {"hf.trust_remote_code": "true"}}, ["hf.trust_remote_code"]),
        ({"options": {"thread": 1}}, ["unknown option 'thread'", "threads"]),
        ({"options": {"threads": "many"}}, ["-o threads=many"]),
        ({"models": ["/etc/passwd"]}, ["'/etc/passwd' may not be named", "demo model alone"]),
        ({"models": ["hf=a/b"]}, ["unknown backend of this submission 'hf'"]),
        ({"backends": ["openai"]}, ["opens servers", "name one"]),
        ({"position_bias": True, "tasks": ["lambada_openai"]}, ["--position-bias"]),
        ({"repeats": 2}, ["--repeats makes no difference"]),
        ({"template_options": {"a": 1}}, ["--template-option"]),
        ({"thinking": "perhaps"}, ["--thinking perhaps"]),
        ({"target_ci": ["wide"]}, ["--target-ci wide"]),
        ({"rules": ["arc_easy/acc >= 0.5"]}, ["--rules is for --until-decided"]),
        ({"rules": ["arc_easy/acc >= baseline"], "until_decided": True}, ["needs a baseline", "/api/gate"]),
        ({"rules": ["nonsense"], "until_decided": True}, ["nonsense"]),
        ({"devices": ["attic"]}, ["unknown device 'attic'"]),
        ({"devices": ["*"]}, ["no connected device has backend 'reference'", "slmeval worker"]),
        ({"backends": []}, ["no connected device has a backend", "slmeval worker --server URL", "waits"]),
        ({"tasks": []}, ["body.tasks"]),
        ({"tasks": "arc_easy"}, ["body.tasks is 'arc_easy'"]),
        ({"limit": "5"}, ["body.limit is '5'"]),
        ({"limit": 0}, ["body.limit is 0"]),
        ({"pythons": {"hf": "/bin/sh"}}, ["body.pythons is no field"]),
        ({"executor": "process"}, ["body.executor is no field"]),
        ({"data": "/etc"}, ["body.data is no field"]),
        ({"tokenizer": "/etc"}, ["body.tokenizer is no field"]),
        ({"timeout": 1e300}, ["body.timeout is 1e+300"]),
    ],
)
def test_what_cannot_be_run_is_refused_in_a_sentence(
    server: Running, request_: dict[str, Any], words: list[str]
) -> None:
    told = refusal(server, **request_)
    assert all(word in told for word in words), told
    assert get(server, "/api/runs") == {"runs": [], "next": None}


def test_the_best_engine_is_one_that_a_device_has(server: Running) -> None:
    connect(server, "desk", "reference", "llamacpp")
    (run,) = submit(server, backends=[])["runs"]
    assert (run["backend"], run["device"]) == ("llamacpp", None)
    connect(server, "bench", "hf")
    assert submit(server, backends=[])["runs"][0]["backend"] == "hf"
    assert submit(server, backends=[], devices=["desk"])["runs"][0]["backend"] == "llamacpp"
    assert "no device named has a backend" in refusal(server, backends=[], devices=["desk", "bench"])


def test_runs_go_to_the_devices_that_are_named(server: Running) -> None:
    connect(server, "desk", "reference", "llamacpp")
    connect(server, "bench", "reference")
    assert [run["device"] for run in submit(server, devices=["bench"])["runs"]] == ["bench"]
    assert [run["device"] for run in submit(server, devices=["*"])["runs"]] == ["bench", "desk"]
    assert [run["device"] for run in submit(server, backends=["llamacpp"], devices=["*"])["runs"]] == ["desk"]
    told = refusal(server, backends=["llamacpp"], devices=["bench"])
    assert "device 'bench' has no backend 'llamacpp' (but reference)" in told


def test_a_device_that_is_away_may_be_named(tmp_path: Path) -> None:
    settings = no_worker(tmp_path)
    with Store.open(settings.store) as store:
        Ledger(store).see_device("attic", {"engines": ["reference"], "memory": None, "machine": {}})
    with running(settings) as (server, _):
        assert submit(server, devices=["attic"])["runs"][0]["device"] == "attic"
        (line,) = get(server, "/api/devices")["devices"]
        assert (line["name"], line["state"], line["engines"]) == ("attic", "gone", ["reference"])


def test_models_go_to_their_engines(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    for name in ("one", "two"):
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text("{}")
        (folder / name / "model.safetensors").write_bytes(bytes(1000))
    (folder / "three.gguf").write_bytes(bytes(5000))
    settings = no_worker(tmp_path, folders=(folder,), data=str(tmp_path))
    with running(settings) as (server, _):
        assert get(server, "/api/models")["models"] == ["one", "three.gguf", "two"]
        both = ["hf", "reference"]
        first, second = submit(server, backends=both, models=["one", "hf=two"])["runs"]
        assert options_of(server, first["id"])["models"] == [str(folder / "one"), str(folder / "two")]
        assert options_of(server, second["id"])["models"] == [str(folder / "one")]
        assert options_of(server, second["id"])["data"] == str(tmp_path)
        (sampled,) = submit(server, models=["one"], sample=True)["runs"]
        assert options_of(server, sampled["id"])["data"] is None
        assert "no model for backend 'reference'" in refusal(server, backends=both, models=["hf=two"])
        assert "opens GGUF files" in refusal(server, backends=["llamacpp"], models=["one"])
        # an engine that a model is for need not be named once more
        assert [run["backend"] for run in submit(server, backends=[], models=["hf=one"])["runs"]] == ["hf"]
        mixed = refusal(server, backends=[], models=["one", "three.gguf"])
        assert "no backend opens all of these models" in mixed or "no connected device" in mixed
    with Store.open(settings.store) as store:
        sizes = {each.run: each.bytes for each in Ledger(store).submissions()}
    assert sizes[first["id"]] == 1002


def test_limits_of_a_server(tmp_path: Path) -> None:
    with running(no_worker(tmp_path, limits=Limits(items=10, queued=3))) as (server, _):
        assert "give a limit of 10" in refusal(server)
        assert "limit 11" in refusal(server, limit=11)
        submit(server, limit=10, backends=["hf", "reference"])
        answer = server.ask("POST", "/api/runs", json={**ASKED, "limit": 1, "backends": ["hf", "reference"]})
        assert answer.status == 429
        assert "no more than 3 may" in answer.json()["error"]
        assert int(answer.headers["retry-after"]) > 0
        # all or none
        assert len(get(server, "/api/runs")["runs"]) == 2


def test_what_a_submission_may_say_are_options_of_a_run() -> None:
    request = RunRequest(tasks=["arc_easy"])
    renamed = {"options": "engine_options", "devices": None}
    known = set(RunOptions.__dataclass_fields__)
    for name in RunRequest.model_fields:
        wanted = renamed.get(name, name)
        assert wanted is None or wanted in known
        if wanted is not None and name not in ("tasks", "options", "template_options"):
            given, usual = getattr(request, name), getattr(RunOptions(), wanted)
            assert (tuple(given) if isinstance(given, list) else given) == usual


def test_a_plan_and_a_submission_check_alike() -> None:
    parts = load().parts
    selection, backends = check(RunOptions(tasks=("arc_easy",), backends=("reference",)), parts)
    assert [wish.task.name for wish in selection.wishes] == ["arc_easy"]
    assert [backend.name for backend in backends] == ["reference"]
    with pytest.raises(UnknownName, match="option"):
        check(RunOptions(tasks=("arc_easy",), backends=("reference",), engine_options={"x": "1"}), parts)


# ---- the list, and cancelling ----------------------------------------------------------------------------


def test_all_runs_are_in_one_list(finished: Running) -> None:
    found = get(finished, "/api/runs")
    assert [run["id"] for run in found["runs"]] == [
        "20260801-121500-cccc",
        *sorted((FIRST.id, SECOND.id), reverse=True),
    ]
    assert {run["origin"] for run in found["runs"]} == {"here"}
    assert [run["id"] for run in get(finished, "/api/runs?state=running")["runs"]] == ["20260801-121500-cccc"]
    assert get(finished, f"/api/runs/{FIRST.id}")["has_result"] is True
    assert get(finished, "/api/runs/20260801-121500-cccc")["has_result"] is False


def test_the_list_is_read_page_by_page(server: Running) -> None:
    runs = [run["id"] for _ in range(4) for run in submit(server, backends=["reference", "hf"])["runs"]]
    server.ours("POST", f"/api/runs/{runs[0]}/cancel")
    seen: list[str] = []
    before = ""
    for _ in range(5):
        page = get(server, f"/api/runs?limit=3{before}")
        seen += [run["id"] for run in page["runs"]]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert len(seen) == len(set(seen)) == len(runs)
    assert set(seen) == set(runs)
    assert [run["id"] for run in get(server, "/api/runs?state=cancelled")["runs"]] == [runs[0]]
    assert len(get(server, f"/api/runs?limit=7&state=queued&before={seen[0]}")["runs"]) >= 6
    assert server.ask("GET", "/api/runs?before=never-there").status == 422


def test_a_run_that_waits_is_cancelled(server: Running) -> None:
    (run,) = submit(server)["runs"]
    path = f"/api/runs/{run['id']}/cancel"
    assert server.ours("POST", path).json() == {"id": run["id"], "state": "cancelled"}
    assert server.ours("POST", path).json()["state"] == "cancelled"
    line = get(server, f"/api/runs/{run['id']}")
    assert (line["state"], line["reason"]) == ("cancelled", "cancelled while it waited")
    assert line["ended"] >= line["began"]


def test_a_run_on_a_device_is_cancelled_there(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def cancel(run: str) -> bool:
        asked.append(run)
        return True

    monkeypatch.setattr(server.service.dispatcher, "cancel", cancel)
    (run,) = submit(server)["runs"]
    assert server.ours("POST", f"/api/runs/{run['id']}/cancel").json()["state"] == "running"
    assert asked == [run["id"]]


def test_what_is_over_is_not_cancelled(finished: Running) -> None:
    assert "not submitted here" in refusal(finished, 409, f"/api/runs/{FIRST.id}/cancel")
    assert "there is no run 'nope'" in refusal(finished, 404, "/api/runs/nope/cancel")


# ---- results ---------------------------------------------------------------------------------------------


def test_results_are_the_document(finished: Running) -> None:
    assert get(finished, f"/api/runs/{FIRST.id}/result") == json.loads(json.dumps(to_document(FIRST)))
    assert finished.ask("GET", "/api/runs/20260801-121500-cccc/result").status == 409
    assert finished.ask("GET", "/api/runs/nope/result").status == 404


def test_items_of_a_cell(finished: Running) -> None:
    page = get(finished, f"/api/runs/{SECOND.id}/cells/0/items?limit=3&offset=2&against={FIRST.id}")
    assert (page["total"], page["count"], len(page["items"])) == (200, 200, 3)
    assert page["items"][0]["place"] == 2
    assert page["sides"][0]["gained"] == 40
    flipped = get(finished, f"/api/runs/{SECOND.id}/cells/0/items?only=flipped&against={FIRST.id}")
    assert flipped["count"] == 40
    assert finished.ask("GET", f"/api/runs/{SECOND.id}/cells/7/items").status == 404


def test_two_runs_are_compared(finished: Running) -> None:
    found = get(finished, f"/api/compare?first={FIRST.id}&second={SECOND.id}")
    assert found["schema"] == "slmeval.comparison/1"
    (figure,) = found["comparisons"][0]["figures"]
    assert (figure["label"], figure["lost"], figure["gained"]) == ("arc_easy@0/acc", 40, 0)
    assert figure["p"] < 1e-9
    side = f"{SECOND.id}%23reference:tiny"
    assert get(finished, f"/api/compare?first={FIRST.id}&second={side}&figures=acc&tasks=arc_*") == found


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("first=nope&second=nope", "unknown run 'nope'"),
        (f"first={FIRST.id}&second=20260801-121500-cccc", "has not finished"),
        (f"first={FIRST.id}&second={SECOND.id}%23hf", "unknown side 'hf'"),
        (f"first={FIRST.id}&second={SECOND.id}&figures=nope", "nope"),
        (f"first={FIRST.id}&second={SECOND.id}&tasks=nope", "nope"),
        (f"first={FIRST.id}&second=../../etc/passwd", "query.second"),
        (f"first={FIRST.id}&second=last", "unknown run 'last'"),
        (f"first={FIRST.id}", "query.second is missing"),
    ],
)
def test_what_cannot_be_compared_is_refused(finished: Running, query: str, words: str) -> None:
    answer = finished.ask("GET", f"/api/compare?{query}")
    assert answer.status == 422
    assert words in answer.json()["error"]


def test_a_run_is_held_against_rules_and_a_baseline(finished: Running) -> None:
    def gate(**body: Any) -> Any:
        answer = finished.ask("POST", "/api/gate", json=body)
        assert answer.status == 200, answer.text
        return answer.json()

    assert gate(run=FIRST.id, rules=["arc_easy/acc >= 0.1"])["answer"] == "pass"
    assert gate(run=SECOND.id, baseline=FIRST.id)["answer"] == "fail"
    as_document = gate(run=SECOND.id, baseline=to_document(FIRST), rules=["arc_easy/acc >= baseline - 1pt"])
    assert as_document["counts"] == {"fail": 1, "inconclusive": 0, "pass": 0}
    assert "lost" in as_document["judged"][0]["sentence"] or as_document["judged"][0]["excess"]
    assert "no rules were given" in gate(run=SECOND.id, baseline=FIRST.id)["notes"][0]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"run": "nope"}, "unknown run 'nope'"),
        ({"run": FIRST.id, "rules": ["nonsense"]}, "nonsense"),
        ({"run": FIRST.id, "rules": ["arc_easy/f1 >= 1"]}, "f1"),
        ({"run": FIRST.id, "baseline": {"schema": "x"}}, "the baseline: "),
        ({"run": FIRST.id, "baseline": "/etc/passwd"}, "body.baseline"),
        ({"run": FIRST.id, "recovery_of": "nope"}, "nope"),
        ({"run": FIRST.id, "confirm": 3}, "body.confirm is no field"),
    ],
)
def test_a_gate_that_cannot_be_judged_is_refused(finished: Running, body: dict[str, Any], words: str) -> None:
    assert words in refusal(finished, 422, "/api/gate", **body)


# ---- uploads ---------------------------------------------------------------------------------------------


def document(run: RunResult = FIRST, **head: Any) -> Any:
    made = to_document(run)
    made["run"] |= head
    return json.loads(json.dumps(made))


def upload(server: Running, body: Any) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return server.ask("POST", "/api/uploads", body=data, headers={"Content-Type": "application/json"})


def test_an_upload_is_kept_once(server: Running) -> None:
    first = upload(server, document())
    assert (first.status, first.json()["id"]) == (201, FIRST.id)
    # the same, written otherwise
    again = upload(server, json.dumps(dict(reversed(document().items())), indent=3).encode())
    assert (again.status, again.json()) == (200, first.json())
    other = upload(server, document(asked=5))
    assert other.status == 409
    assert "another run" in other.json()["error"]
    (line,) = get(server, "/api/runs")["runs"]
    assert (line["id"], line["origin"], line["state"]) == (FIRST.id, "upload", "done")
    assert get(server, f"/api/runs/{FIRST.id}/result") == document()
    assert get(server, f"/api/runs/{FIRST.id}/cells/0/items?limit=1")["items"][0]["scores"]


def test_what_was_exported_here_may_come_back(finished: Running) -> None:
    assert upload(finished, document()).status == 200


def test_an_upload_has_no_id_of_a_run_that_waits(server: Running) -> None:
    (run,) = submit(server)["runs"]
    assert upload(server, document(id=run["id"])).status == 409


def test_an_uploaded_run_is_not_resumed(server: Running) -> None:
    assert upload(server, document(replace(FIRST, status="interrupted"))).status == 201
    with Store.open(server.settings.store) as store:
        assert store.is_uploaded(FIRST.id)
        assert store.unfinished() is None


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda run: replace(run, models=run.models[:1] * 201), "201 models: a server keeps 200 of a run"),
        (lambda run: replace(run, cells=run.cells[:1] * 5001), "5,001 cells: a server keeps 5,000"),
        (lambda run: _cell(run, notes=("a",) * 5001), "5,001 notes"),
        (lambda run: _cell(run, shots=-1), "cells[0].shots is -1, which is no number of shots"),
        (lambda run: _cell(run, n=2**62), "cells[0].n is 4611686018427387904"),
        (lambda run: _cell(run, repeats=0), "cells[0].repeats is -1"),
        (lambda run: replace(run, finished="2999-01-01T00:00:00+00:00"), "run.finished lies in the future"),
    ],
)
def test_an_upload_of_what_no_run_has_is_refused(
    server: Running, made: Callable[[RunResult], RunResult], told: str
) -> None:
    answer = upload(server, document(made(FIRST)))
    assert (answer.status, told in answer.json()["error"]) == (422, True), answer.text


def test_an_interval_that_ends_before_it_begins_is_refused(server: Running) -> None:
    figure = replace(FIRST.cells[0].figures[0], ci95=(0.9, 0.1))
    answer = upload(server, document(_cell(FIRST, figures=(figure, *FIRST.cells[0].figures[1:]))))
    assert answer.status == 422
    assert "ends before it begins" in answer.json()["error"]


def _cell(run: RunResult, **changes: Any) -> RunResult:
    return replace(run, cells=(replace(run.cells[0], **changes), *run.cells[1:]))


def _with(path: str, value: Any) -> Any:
    """The document with something else in one place."""
    made = document()
    *above, last = path.split(".")
    place = made
    for step in above:
        place = place[int(step) if step.isdecimal() else step]
    place[last] = value
    return made


HUGE = 10**400


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "is empty"),
        (b"{", "no JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[" * 900 + b"]" * 900, "its schema is"),
        (b'{"schema": "slmeval.run/1", "schema": "slmeval.run/1"}', "there twice"),
        (b'{"schema": "slmeval.run/9"}', "upgrade slmeval"),
        (b"null", "its schema is"),
        (b'"slmeval.run/1"', "its schema is"),
        (b"1" * 5000, "a number of thousands of digits"),
        ({"schema": "slmeval.run/1"}, "lacks"),
        (_with("run.id", "../../etc"), "run.id"),
        (_with("run.id", "last"), "run.id"),
        (_with("run.id", "a" * 65), "run.id"),
        (_with("run.id", "a\n"), "run.id"),
        (_with("run.id", "a'; DROP TABLE runs; --"), "run.id"),
        (_with("run.id", 7), "id is 7, not text"),
        (_with("run.started", "zzzz"), "run.started"),
        (_with("run.started", "2026-08-01T10:15:00"), "UTC"),
        (_with("run.finished", "1999-08-01T10:15:00+00:00"), "before run.started"),
        (_with("run.started", "2999-08-01T10:15:00+00:00"), "run."),
        (_with("run.status", "splendid"), "status is 'splendid'"),
        (_with("run.asked", HUGE), "64 bits"),
        (_with("cells.0.n", 2**63), "64 bits"),
        (_with("cells.0.shots", -HUGE), "64 bits"),
        (_with("run.asked", float("nan")), "asked is nan"),
        (_with("cells.0.figures.acc.value", float("nan")), "value"),
        (_with("cells.0.figures.acc.value", 0.123), "items come to another one"),
        (_with("cells.0.figures.acc.ci95", [float("-inf"), 1.0]), "not a finite number"),
        (_with("cells.0.outcomes", "x" * 10_000_000), "outcomes"),
        (_with("cells", {}), "cells"),
        (_with("extra", 1), "extra"),
    ],
)
def test_hostile_documents_are_refused(server: Running, body: Any, words: str) -> None:
    answer = upload(server, body)
    assert answer.status == 422, answer.text
    assert words in answer.json()["error"]
    assert get(server, "/api/runs")["runs"] == []


def test_numbers_beyond_all_numbers_are_no_error_of_the_server(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = replace(accuracy("acc", 0.5), value=1e308)
    assert upload(server, document(example_runs.run(id="odd", cells=(cell(figures=(odd,)),)))).status == 201
    assert upload(server, document()).status == 201
    body = {"run": "odd", "baseline": FIRST.id, "shared": True}
    answer = server.ask("POST", "/api/gate", json=body)
    assert answer.status == 200, answer.text

    def overflowing(*_: object, **__: object) -> None:
        raise OverflowError("too large")

    monkeypatch.setattr("slmeval.service.api_results.Gate.judge", overflowing)
    assert "cannot be computed with: too large" in refusal(server, 422, "/api/gate", **body)


def test_half_a_character_in_what_was_asked_is_shown(server: Running) -> None:
    made = _with("run.options.tasks", ["a\ud800", "\U0001f600"])
    made["cells"][0]["name"] = "half \udc00"
    assert upload(server, made).status == 201
    assert get(server, f"/api/runs/{FIRST.id}")["tasks"] == ["a?", "\U0001f600"]
    assert get(server, "/api/runs")["runs"][0]["tasks"] == ["a?", "\U0001f600"]


def test_long_texts_in_a_document_are_kept(server: Running) -> None:
    text = "\u202e<script>\u0000" * 1_000_000
    assert upload(server, _with("cells.0.notes", [text])).status == 201
    assert get(server, f"/api/runs/{FIRST.id}/result")["cells"][0]["notes"] == [text]


# ---- what there is, and how the server stands ------------------------------------------------------------


def test_what_there_is(server: Running) -> None:
    connect(server, "desk", "reference")
    (device,) = get(server, "/api/devices")["devices"]
    assert (device["name"], device["state"], device["run"]) == ("desk", "here", "another")
    tasks = {each["name"]: each for each in get(server, "/api/tasks")["tasks"]}
    assert tasks["arc_easy"]["rows"] == 2376
    assert {each["kind"] for each in tasks.values()} == {"task", "group", "probe"}
    backends = {each["name"]: each for each in get(server, "/api/backends")["backends"]}
    assert backends["reference"]["devices"] == ["desk"]
    assert "trust_remote_code" not in {each["name"] for each in backends["hf"]["options"]}
    assert get(server, "/api/models") == {"models": [], "hubs": [], "servers": []}


def test_health_and_metrics(server: Running) -> None:
    assert get(server, "/healthz") == get(server, "/readyz") == {"status": "ok"}
    connect(server, "desk", "reference")
    submit(server)
    server.ask("GET", "/api/runs/made-up-1")
    server.ask("GET", "/nowhere/at-all")
    answer = server.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.text.splitlines()
    assert 'slmeval_runs{state="queued"} 1.0' in lines
    assert "slmeval_devices_connected 1.0" in lines
    assert "slmeval_events_total 1.0" in lines
    assert 'slmeval_http_requests_total{method="GET",route="/api/runs/{run}",status="404"} 1.0' in lines
    assert "made-up-1" not in answer.text
    assert "at-all" not in answer.text


def test_a_killed_run_of_the_command_line_is_interrupted(server: Running) -> None:
    with Store.open(server.settings.store) as store:
        store.begin_run("killed", "2026-08-01T12:15:00+00:00", RunOptions())
        store.begin_run("under-way", "2026-08-01T12:16:00+00:00", RunOptions())
        carried_out(store, "under-way")
    assert get(server, "/api/runs/killed")["state"] == "interrupted"
    assert {each["id"]: each["state"] for each in get(server, "/api/runs")["runs"]} == {
        "killed": "interrupted",
        "under-way": "running",
    }
    for state, run in (("interrupted", "killed"), ("running", "under-way")):
        assert [each["id"] for each in get(server, f"/api/runs?state={state}")["runs"]] == [run]


def test_a_server_that_gives_out_nothing_is_not_ready(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.service.dispatcher, "is_at_work", False)
    answer = server.ask("GET", "/readyz")
    assert answer.status == 503
    assert "runs are not given out" in answer.json()["error"]
    assert server.ask("GET", "/healthz").status == 200


def test_a_server_whose_store_takes_nothing_is_not_ready(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert get(server, "/readyz") == {"status": "ok"}
    with Store.open(server.settings.store) as store:
        assert Ledger(store).devices() == []
    begun, has_begun, over = [], threading.Event(), threading.Event()

    def held(store: Store) -> None:
        begun.append(store)
        has_begun.set()
        over.wait(120)
        raise StoreError("the store s.db has no room left on its disk")

    monkeypatch.setattr(api_health, "_touch", held)
    monkeypatch.setattr(api_health, "_PATIENCE", 0.05)
    for _ in range(3):
        answer = server.ask("GET", "/readyz")
        assert answer.status == 503
        assert "could not be written within 0.05 seconds" in answer.json()["error"]
    assert has_begun.wait(60)
    assert len(begun) == 1, "who gave up stands before nobody"
    monkeypatch.setattr(api_health, "_PATIENCE", 60)
    over.set()
    answer = server.ask("GET", "/readyz")
    assert answer.status == 503
    assert "no room left" in answer.json()["error"]


def test_readiness_is_a_write_that_reaches_the_disk(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db") as store:
        before = (tmp_path / "s.db-wal").stat().st_size
        api_health._touch(store)
        assert (tmp_path / "s.db-wal").stat().st_size > before
