"""The documents say what is: every hook, command, figure and extra."""

from __future__ import annotations

import inspect
import re
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from slmeval import hookspecs
from slmeval.cli import run
from slmeval.models import find_model, parse_model
from slmeval.pairing import demo_model
from slmeval.registry import load

ROOT = Path(__file__).parents[1]
PLUGINS = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")

HOOKS = {name: value for name, value in vars(hookspecs).items() if name.startswith("slmeval_")}


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_documented_with_its_arguments(name: str) -> None:
    assert f"`{name}({', '.join(inspect.signature(HOOKS[name]).parameters)})`" in PLUGINS


@pytest.mark.parametrize("kind", ["tasks", "probes", "groups", "backends"])
def test_readme_names_every_part(kind: str) -> None:
    parts = load().parts
    # mmlu stands for all tasks that are named mmlu_...
    named = tuple(f"{group}_" for group in parts.groups if f"`{group}`" in README)
    for name in getattr(parts, kind):
        assert f"`{name}`" in README or (name.startswith(named) and kind == "tasks"), name


def test_the_page_of_fidelity_is_of_this_demo_model() -> None:
    page = (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8")
    found = find_model(parse_model(str(demo_model())), lambda path: sha256(path.read_bytes()).hexdigest())
    assert found.sha256[:12] in page, "run benchmarks/fidelity.py --write"
    for name in ("hf", "llamacpp", "mlx", "vllm"):
        assert f"| `{name}` |" in page
    assert page.count("| 0 of 512 | 16 of 16 |") >= 3, "in float32 nothing differs"


def test_every_option_of_an_engine_is_explained() -> None:
    page = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")
    for backend in load().parts.backends.values():
        for option in backend.options:
            assert f"`{option.name}" in page, option.name


def test_every_probe_and_each_of_its_options_is_explained() -> None:
    pages = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("runtime.md", "memory.md")]
    for probe in load().parts.probes.values():
        assert any(f"`{probe.name}`" in page for page in pages), probe.name
        for option in probe.options:
            assert any(f"`{option.name}" in page for page in pages), option.name


def test_every_metric_is_explained() -> None:
    figures = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
    for name in load().parts.metrics:
        assert f"`{name}" in figures


def test_the_example_task_of_the_plugin_guide_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import toys

    (example,) = re.findall(r"```python\n(\"\"\"Capitals.*?)```", PLUGINS, re.DOTALL)
    toys.install(tmp_path, monkeypatch, example, name="capitals")
    rows = tmp_path / "rows" / "capitals"
    rows.mkdir(parents=True)
    (rows / "test.jsonl").write_text('{"country": "Peru", "cities": ["Lima", "Quito"], "right": 0}\n')
    model = str(ROOT / "slmeval" / "demo" / "model")
    command = ["run", "--backend", "reference", "--model", model, "--tasks", "capitals"]
    assert run([*command, "--data", str(rows.parent), "--store", str(tmp_path / "store.db")]) == 0
    assert "capitals" in capsys.readouterr().out


def test_the_example_probe_of_the_plugin_guide_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import toys

    (example,) = re.findall(r"```python\n(\"\"\"Doubling.*?)```", PLUGINS, re.DOTALL)
    toys.install(tmp_path, monkeypatch, example, name="doubling")
    command = ["run", "--backend", "reference", "--tasks", "doubling", "-o", "half=8"]
    assert run([*command, "--store", str(tmp_path / "store.db")]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^doubling +ratio +\d", printed, re.MULTILINE)


@pytest.mark.slow
def test_the_readme_shows_what_the_command_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every line of figures that README shows comes out of the command that stands above it."""
    (shown,) = re.findall(r"<!-- output -->\n```\n(.*?)```", README, re.DOTALL)
    arguments = re.findall(r"slmeval (run --tasks \S+)", README)[0].split()
    assert run([*arguments, "--backend", "reference", "--store", str(tmp_path / "store.db")]) == 0
    printed = {line.rstrip() for line in capsys.readouterr().out.splitlines()}
    figures = [line.rstrip() for line in shown.splitlines() if "±" in line]
    assert len(figures) > 8
    assert set(figures) <= printed


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is in the standard library from 3.11 on")
def test_every_extra_that_a_backend_names_exists() -> None:
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for backend in load().parts.backends.values():
        assert backend.extra is None or backend.extra in extras


def test_no_document_names_a_machine_or_a_host() -> None:
    for path in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"/(root|home|work|Users)/", text), path
