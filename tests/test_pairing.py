"""Models and engines that cannot be had: the others are measured, and the report says why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import toys
from conftest import ROOT
from small_hub import SmallHub, serving

DEMO = ROOT / "slmeval" / "demo" / "model.gguf"
FEW = ("--sample", "--tasks", "piqa", "--limit", "3", "--format", "json")

GGUF_TOY = toys.MODULE.replace('    name = "toy"', '    name = "toy"\n    forms = ("gguf",)')
ABSENT = """
from slmeval import hookimpl
from toyplugin import ToyBackend

class AbsentBackend(ToyBackend):
    "Never there."
    name = "absent"
    extra = "absent"
    forms = ("folder", "gguf")

    @classmethod
    def missing(cls):
        return "its engine is not installed"

@hookimpl
def slmeval_register_backends():
    return [AbsentBackend]
"""


@pytest.fixture(autouse=True)
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A toy that opens GGUF files, and one that is never there."""
    (tmp_path / "plugin").mkdir()
    (tmp_path / "absent").mkdir()
    toys.install(tmp_path / "plugin", monkeypatch, GGUF_TOY)
    toys.install(tmp_path / "absent", monkeypatch, ABSENT, "absentplugin")
    monkeypatch.setenv("SLMEVAL_STORE", str(tmp_path / "store.db"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))


def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "slmeval", "run", *arguments]
    return subprocess.run(command, env={**os.environ, **more}, capture_output=True, text=True, check=False)


def test_a_damaged_model_fails_its_own_job(demo_model: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(DEMO.read_bytes()[:100_000])
    models = ("--model", f"reference={demo_model}", "--model", f"toy={cut}")
    done = run("--backend", "toy,reference", *models, *FEW)
    assert done.returncode == 3, done.stderr
    assert done.stderr.startswith("slmeval: toy:cut.gguf cannot be measured: "), "told before the work begins"
    report = json.loads(done.stdout)
    assert [cell["backend"] for cell in report["cells"]] == ["reference"]
    (failure,) = report["failures"]
    assert (failure["backend"], failure["model"]) == ("toy", "cut.gguf")
    assert "cut short" in failure["reason"]


def test_a_model_that_was_mended_is_measured_when_the_run_goes_on(demo_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(DEMO.read_bytes()[:100_000])
    models = ("--model", f"reference={demo_model}", "--model", f"toy={file}")
    assert run("--backend", "toy,reference", *models, *FEW).returncode == 3
    file.write_bytes(DEMO.read_bytes())
    done = run("--resume", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert [cell["backend"] for cell in json.loads(done.stdout)["cells"]] == ["toy", "reference"]


def test_an_engine_that_is_not_installed_fails_its_own_job(demo_model: Path) -> None:
    done = run("--backend", "absent,reference", "--model", str(demo_model), *FEW)
    assert done.returncode == 3
    report = json.loads(done.stdout)
    assert [cell["backend"] for cell in report["cells"]] == ["reference"]
    assert "pip install 'slmeval[absent]'" in report["failures"][0]["reason"]


def test_a_model_too_short_for_a_question_fails_its_own_job(demo_model: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.gguf"
    key = b"llama.context_length" + (4).to_bytes(4, "little")
    content = DEMO.read_bytes()
    assert key + (2048).to_bytes(4, "little") in content
    short.write_bytes(content.replace(key + (2048).to_bytes(4, "little"), key + (1).to_bytes(4, "little")))
    done = run(
        "--backend", "toy,reference", "--model", f"toy={short}", "--model", f"reference={demo_model}", *FEW
    )
    assert done.returncode == 3, done.stderr
    report = json.loads(done.stdout)
    assert [cell["backend"] for cell in report["cells"]] == ["reference"]
    assert "does not fit the model's context of 1" in report["failures"][0]["reason"]


def test_where_nothing_is_left_nothing_is_measured(demo_model: Path) -> None:
    done = run("--backend", "absent", "--model", str(demo_model), *FEW)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("models", "told"),
    [
        ((f"toy={DEMO}x",), "there is no model folder"),
        (("toy=./none.gguf",), "there is no model file ./none.gguf"),
        (("toy={folder}",), "opens GGUF files, and {folder} is none of these"),
        ((f"reference={DEMO}", f"toy={DEMO}"), "'reference' opens model folders"),
    ],
)
def test_a_mistake_in_the_command_ends_it(demo_model: Path, models: tuple[str, ...], told: str) -> None:
    backends = ",".join(dict.fromkeys(text.partition("=")[0] for text in models))
    given = [part for text in models for part in ("--model", text.format(folder=demo_model))]
    done = run("--backend", backends, *given, *FEW)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert told.format(folder=demo_model) in done.stderr


def test_the_demo_is_given_in_the_form_that_the_engine_opens() -> None:
    done = run("--backend", "toy,reference", "--tasks", "piqa", "--limit", "3", "--format", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [(told["backend"], told["label"]) for told in report["models"]] == [
        ("toy", "demo"),
        ("reference", "demo"),
    ]


@pytest.mark.parametrize(
    ("given", "engine"),
    [
        (("--model", str(DEMO)), "toy"),
        (("--model", f"toy={DEMO}"), "toy"),
        (("--model", "{folder}", "-p", "no:hf", "-p", "no:mlx"), "reference"),
    ],
)
def test_the_engine_is_one_that_opens_the_model(
    demo_model: Path, given: tuple[str, ...], engine: str
) -> None:
    arguments = [text.format(folder=demo_model) for text in given]
    done = run(*arguments, "-p", "no:llamacpp", *FEW)
    assert done.returncode == 0, done.stderr
    assert [told["backend"] for told in json.loads(done.stdout)["models"]] == [engine]


def test_an_engine_that_would_open_the_model_is_told() -> None:
    done = run("--model", str(DEMO), "-p", "no:llamacpp", "-p", "no:toyplugin", *FEW)
    assert (done.returncode, done.stdout) == (2, "")
    assert "backend 'absent' cannot run here" in done.stderr
    assert "slmeval[absent]" in done.stderr


def test_models_that_no_engine_opens_together_are_told(demo_model: Path) -> None:
    done = run("--model", str(DEMO), "--model", str(demo_model), "-p", "no:absentplugin", *FEW)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no backend opens all of these models" in done.stderr


def test_a_gguf_file_comes_from_the_hub() -> None:
    files = {"small/m-Q8_0.gguf": DEMO.read_bytes(), "README.md": b"words"}
    hub = SmallHub({"someone/tiny-GGUF": {"main": files, "v1": {}}})
    with serving(hub) as address:
        named = "someone/tiny-GGUF:small/m-Q8_0.gguf"
        done = run("--backend", "toy", "--model", named, *FEW, HF_ENDPOINT=address)
        assert done.returncode == 0, done.stderr
        (told,) = json.loads(done.stdout)["models"]
        assert (told["reference"], told["label"]) == (named, "m-Q8_0.gguf")
        other = run("--backend", "toy", "--model", f"{named}@v1", *FEW, HF_ENDPOINT=address)
    assert other.returncode == 2
    assert len(other.stderr.splitlines()) == 1
    assert "README.md" not in " ".join(hub.asked)
