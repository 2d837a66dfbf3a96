"""What goes wrong with a model or an engine fails its own job, with the reason; the others' results stand."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT

from slmeval.testing import evaluate
from slmeval.types import RunOptions, RunResult

DEMO = ROOT / "slmeval" / "demo" / "model.gguf"

#: a run of the reference engine on the demo model and of another engine on another model
Run = Callable[..., RunResult]


@pytest.fixture
def beside_reference(tmp_path: Path, demo_model: Path) -> Run:
    def run(engine: str, model: Path, python: str = "", **more: object) -> RunResult:
        options = RunOptions(
            backends=(engine, "reference"),
            models=(f"{engine}={model}", f"reference={demo_model}"),
            tasks=("piqa",),
            sample=True,
            limit=4,
            pythons={engine: python} if python else {},
            **more,  # type: ignore[arg-type]  # fields of RunOptions
        )
        return evaluate(options, tmp_path / "store.db")

    return run


def reason(result: RunResult) -> str:
    """Why the one job failed; the oracle's figures are there."""
    assert result.status == "failed"
    assert [cell.backend for cell in result.cells] == ["reference"]
    (failure,) = result.failures
    assert "\n" not in failure.reason
    print(failure.reason)
    return failure.reason


def changed(tmp_path: Path, old: bytes, new: bytes, first: int) -> Path:
    """The demo model in GGUF, ``old`` replaced by as many other bytes the ``first`` times it is there."""
    assert len(old) == len(new)
    content = DEMO.read_bytes()
    assert old in content
    path = tmp_path / "changed.gguf"
    path.write_bytes(content.replace(old, new, first))
    return path


def limited(tmp_path: Path, kilobytes: int) -> str:
    """An interpreter that gets no more memory than this."""
    if sys.platform != "linux":
        pytest.skip("only Linux limits a process's address space this way")
    path = tmp_path / "limited"
    path.write_text(f'#!/bin/sh\nulimit -v {kilobytes}\nexec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    return str(path)


# ---- llama.cpp ---------------------------------------------------------------------------------------------


@pytest.fixture
def llama_cpp() -> None:
    pytest.importorskip("llama_cpp", reason="llama.cpp is not installed")


@pytest.mark.usefixtures("llama_cpp")
@pytest.mark.parametrize(
    ("old", "new", "first", "told"),
    [
        # the header itself is damaged: found before any work
        (b"GGUF", b"GGML", 1, "is not a GGUF file"),
        # the architecture by its name and in the names of its ten fields
        (b"llama", b"lamma", 11, "unknown model architecture: 'lamma'"),
        # a tensor under another name
        (b"blk.3.ffn_up", b"blk.3.ffn_ap", 1, "blk.3.ffn_up"),
        # no bytes to fall back on: llama.cpp ends its process over the first emoji
        (b"<0x", b"<yx", 256, "ended by SIGABRT"),
    ],
)
def test_a_gguf_file_that_cannot_be_used(
    tmp_path: Path, beside_reference: Run, old: bytes, new: bytes, first: int, told: str
) -> None:
    assert told in reason(beside_reference("llamacpp", changed(tmp_path, old, new, first)))


@pytest.mark.usefixtures("llama_cpp")
def test_llama_cpp_without_memory(tmp_path: Path, beside_reference: Run) -> None:
    assert reason(beside_reference("llamacpp", DEMO, limited(tmp_path, 250_000)))


@pytest.mark.usefixtures("llama_cpp")
def test_options_that_cannot_go_together(beside_reference: Run) -> None:
    options = {"flash_attention": "off", "kv_type": "q8_0"}
    assert "flash_attention" in reason(beside_reference("llamacpp", DEMO, engine_options=options))


# ---- MLX and transformers --------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["mlx", "hf"])
def test_an_architecture_that_the_engine_has_not(
    engine: str, tmp_path: Path, demo_model: Path, beside_reference: Run
) -> None:
    pytest.importorskip({"mlx": "mlx_lm", "hf": "transformers"}[engine], reason="not installed")
    folder = tmp_path / "model"
    folder.mkdir()
    for path in demo_model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"llama"', '"lamma"').replace("LlamaFor", "LammaFor"))
    assert "lamma" in reason(beside_reference(engine, folder))


@pytest.mark.parametrize("engine", ["mlx", "hf"])
def test_an_engine_without_memory(
    engine: str, tmp_path: Path, demo_model: Path, beside_reference: Run
) -> None:
    pytest.importorskip({"mlx": "mlx_lm", "hf": "transformers"}[engine], reason="not installed")
    assert reason(beside_reference(engine, demo_model, limited(tmp_path, 600_000)))


def test_an_interpreter_without_the_engine(tmp_path: Path, demo_model: Path, beside_reference: Run) -> None:
    # a Python that sees slmeval and what the core needs, and no engine
    hidden = tmp_path / "hidden"
    hidden.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        "os.environ['PYTHONPATH'] = os.path.dirname(os.path.abspath(__file__)) + '/site'\n"
        f"os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])\n"
    )
    hidden.chmod(0o755)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'torch' else find(name, *more)\n"
    )
    assert os.access(hidden, os.X_OK)
    told = reason(beside_reference("hf", demo_model, str(hidden)))
    assert re.search("torch.* not installed", told)
