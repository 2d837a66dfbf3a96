"""What submitters get wrong, as far as it shows before a row or a model is read; and bodies that are odd."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the service is not installed")
from gate_runs import of, scored, scores
from service_thread import Reply, Running, no_worker, running

from slmeval.cli import run
from slmeval.document import to_document

TASK = {"tasks": ["arc_easy"], "backends": ["reference"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that is told nothing right, or changes nothing by it; backend openai may ask one address."""
    settings = no_worker(tmp_path_factory.mktemp("requests"), servers=("http://127.0.0.1:9/v1",))
    with running(settings) as (server, _):
        yield server


def submit(server: Running, **request: Any) -> Reply:
    return server.ask("POST", "/api/runs", json={**TASK, **request})


def send(server: Running, path: str, body: bytes, **headers: str) -> Reply:
    return server.ask("POST", path, body=body, headers={"Content-Type": "application/json", **headers})


def told(reply: Reply, status: int = 422) -> str:
    assert reply.status == status, reply.text
    return str(reply.json()["error"])


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"rules": ["arc_easy/accc >= 0.5"]}, ["unknown figure 'arc_easy/accc'", "'arc_easy/acc'"]),
        ({"rules": ["arc_esy/acc >= 0.5"]}, ["unknown figure 'arc_esy/acc'", "'arc_easy/acc'"]),
        ({"rules": ["arc_easy@3/acc >= 0.5"]}, ["'arc_easy@3/acc'", "'arc_easy@0/acc'"]),
        ({"rules": ["arc_easy/acc >= 3 MiB"]}, ["'MiB' is no unit for acc"]),
        ({"rules": ["mmlu/acc >= 0.5", "mmlu/accc >= 1"], "tasks": ["mmlu"]}, ["'mmlu/accc'", "'mmlu/acc'"]),
        ({"rules": ["decode/tok_s >= 5"], "tasks": ["decode"]}, ["about a probe"]),
    ],
)
def test_a_rule_that_cannot_be_judged_is_refused_at_once(
    server: Running, request_: dict[str, Any], words: list[str]
) -> None:
    sentence = told(submit(server, until_decided=True, **request_))
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"target_ci": ["60pt"]}, ["arc_easy/acc is a share", "says nothing"]),
        ({"target_ci": ["accc=1pt"]}, ["unknown figure of these tasks 'accc'", "'acc'"]),
        ({"target_ci": ["1pt"], "tasks": ["decode"]}, ["no task is asked"]),
        ({"target_ci": ["1pt"], "tasks": ["wikitext"]}, ["wikitext/word_perplexity is no share"]),
        ({"tasks": ["bbh_zeroshot_word_sorting"], "shots": [1]}, ["has no rows for shots"]),
        ({"options": {"threads": -5}}, ["-o threads=-5", "negative"]),
        ({"options": {"threads": 10**40}}, ["-o threads=1000", "larger than 2,147,483,647"]),
        ({"options": {"threads": "banana"}}, ["'banana' is no whole number"]),
        ({"options": {"threads": None}}, ["body.options.threads is None", "a text of at most 1000"]),
        ({"options": {"threads": [1]}}, ["body.options.threads is a list", "a text of at most 1000"]),
        ({"chat_template": "on"}, ["the bundled demo model has no chat template"]),
        (
            {"chat_template": "both", "backends": ["llamacpp"]},
            ["the bundled demo model has no chat template"],
        ),
        (
            {"backends": ["openai"], "models": ["http://127.0.0.1:9/v1#m"], "chat_template": "on"},
            ["behind a server", "api=chat"],
        ),
    ],
)
def test_what_cannot_be_is_refused_before_it_waits(
    server: Running, request_: dict[str, Any], words: list[str]
) -> None:
    sentence = told(submit(server, **request_))
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize(
    "request_",
    [
        {"rules": ["arc*/acc >= 0.5", "arc_easy/acc_norm >= 30%"], "tasks": ["arc"], "until_decided": True},
        {"rules": ["mmlu/acc >= 0.2"], "tasks": ["mmlu"], "position_bias": True, "until_decided": True},
        {"rules": ["decode/tok_s >= 5", "arc_easy/acc >= 1pt"], "tasks": ["arc_easy", "decode"]}
        | {"until_decided": True},
        {"target_ci": ["acc_norm=1.5pt", "2pt"], "tasks": ["arc", "hellaswag"]},
        {"target_ci": ["0.6"], "tasks": ["wikitext"]},
        {"target_ci": ["2pt"], "limit": 5, "shots": [0, 2]},
        {"options": {"threads": 0}},
    ],
)
def test_what_can_be_is_not_refused_with_it(server: Running, request_: dict[str, Any]) -> None:
    assert submit(server, **request_).status == 201


@pytest.mark.parametrize("path", ["/api/runs", "/api/gate", "/api/uploads"])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"tasks": ["arc_easy"], "tasks": ["arc_easy"]}', "'tasks' is there twice"),
        (b'{"tasks": ["arc_easy"], "options": {"a": 1, "a": 2}}', "'a' is there twice"),
        (b"[" * 10_000 + b"]" * 10_000, "nested too deeply"),
        (b'{"tasks":' * 10_000, "nested too deeply"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "a number of thousands of digits"),
        (b'{"tasks": ["arc_easy"]', "it is not all there"),
        ('{"tasks": ["arc_easy"]}'.encode("utf-16"), "not UTF-8"),
        (b"\xff\xfe", "not UTF-8, from byte 0 on"),
    ],
)
def test_a_body_that_is_no_strict_json_is_told_what_is_wrong(
    server: Running, path: str, body: bytes, words: str
) -> None:
    assert words in told(send(server, path, body))


def test_a_number_of_which_there_is_none_is_no_option(server: Running) -> None:
    for number in (b"NaN", b"Infinity", b"-Infinity", b"1e400"):
        body = b'{"tasks": ["arc_easy"], "backends": ["openai"], "options": {"edition": %b}}' % number
        assert "a finite number" in told(send(server, "/api/runs", body))


@pytest.mark.parametrize("path", ["/api/runs", "/api/uploads"])
def test_a_packed_body_is_told_to_come_plain(server: Running, path: str) -> None:
    body = gzip.compress(json.dumps(TASK).encode())
    assert "packed (gzip): send it plain" in told(
        send(server, path, body, **{"Content-Encoding": "gzip"}), 415
    )
    plain = send(server, "/api/runs", json.dumps(TASK).encode(), **{"Content-Encoding": "identity"})
    assert plain.status == 201


def test_a_document_is_the_same_however_it_is_written(server: Running) -> None:
    document = to_document(of(scored("arc_easy", scores(50, 0.6)), id="20260801-101500-eeee"))
    first = send(server, "/api/uploads", json.dumps(document).encode())
    assert first.status == 201
    turned = _turned(document)
    assert list(turned) != list(document)
    written = (
        json.dumps(turned, indent=3),
        "\ufeff\n\t " + json.dumps(document, ensure_ascii=False) + "\r\n",
        re.sub(r"(?<=: )(\d+\.\d+)(?=[,}])", r"\g<1>00e0", json.dumps(document)),
    )
    for text in written:
        again = send(server, "/api/uploads", text.encode())
        assert (again.status, again.json()) == (200, first.json()), again.text


def _turned(value: Any) -> Any:
    """With every object's keys in another order."""
    if isinstance(value, dict):
        return {key: _turned(value[key]) for key in reversed(value)}
    return [_turned(each) for each in value] if isinstance(value, list) else value


def test_a_hundred_thousand_items_come_and_go_unharmed(tmp_path: Path) -> None:
    document = to_document(of(scored("arc_easy", scores(100_000, 0.6)), id="20260801-101500-many"))
    with running(no_worker(tmp_path)) as (server, _):
        assert send(server, "/api/uploads", json.dumps(document).encode()).status == 201
        assert server.ask("GET", "/api/runs/20260801-101500-many/result").json() == document


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/runs?stat=done", "unknown parameter of this request 'stat': did you mean 'state'?"),
        ("/api/compare?first=a&second=b&task=arc_easy", "'task': did you mean 'tasks'?"),
        ("/api/runs/a/result?format=csv", "unknown parameter of this request 'format'"),
        ("/api/devices?limit=1", "unknown parameter of this request 'limit'"),
    ],
)
def test_a_parameter_that_is_none_is_refused_and_not_passed_over(
    server: Running, path: str, words: str
) -> None:
    assert words in told(server.ask("GET", path))


def test_a_model_of_a_folder_is_asked_for_its_chat_template_at_once(tmp_path: Path) -> None:
    for name, config in (("plain", "{}"), ("chat", '{"chat_template": "{{ messages[0].content }}"}')):
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "tokenizer_config.json").write_text(config)
    with running(no_worker(tmp_path, folders=(tmp_path / "models",))) as (server, _):
        assert submit(server, models=["chat"], chat_template="on").status == 201
        assert submit(server, models=["plain"]).status == 201
        assert "has no chat template" in told(submit(server, models=["plain"], chat_template="on"))


def test_a_run_that_was_brought_says_who_brought_it(tmp_path: Path) -> None:
    document = to_document(of(scored("arc_easy", scores(20, 0.6)), id="20260801-101500-ffff"))
    with running(no_worker(tmp_path), {"ci": "submit"}) as (server, tokens):
        brought = server.ask("POST", "/api/uploads", json=document, token=tokens["ci"])
        assert brought.status == 201
        (line,) = server.ask("GET", "/api/runs", token=tokens["ci"]).json()["runs"]
        assert (line["origin"], line["submitter"]) == ("upload", "ci")


def test_a_server_of_a_pattern_that_fits_nothing_does_not_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # else it would not end
    monkeypatch.setattr("slmeval.service.server.serve", lambda *_: None)
    flags = ["--no-worker", "--port", "0", "--store", str(tmp_path / "store.db")]
    assert run(["serve", *flags, "--model-server", "bench.example"]) == 2
    assert "--model-server bench.example" in capsys.readouterr().err
