"""The demo model and the bundled rows: above chance, repeatable, honest, the same in every form."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from slmeval.testing import evaluate
from slmeval.types import Figure, RunOptions, RunResult

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "slmeval" / "demo"
CHOICES = ("arc_easy", "arc_challenge", "hellaswag", "piqa")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """Every bundled multiple-choice task on the oracle."""
    options = RunOptions(backends=("reference",), tasks=CHOICES)
    return evaluate(options, tmp_path_factory.mktemp("demo") / "store.db")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """``scripts("rows")``: a script of the demo's folder as a module."""
    import importlib

    monkeypatch.syspath_prepend(str(ROOT / "demo"))
    before = set(sys.modules)

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load
    # their plain names ("rows", "train") must not be taken for somebody else's
    for name in set(sys.modules) - before:
        if str(ROOT / "demo") in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("name", ["acc", "acc_norm"])
@pytest.mark.parametrize("task", CHOICES)
def test_the_model_is_above_chance(result: RunResult, task: str, name: str) -> None:
    figures: dict[str, Figure] = {
        figure.name: figure for cell in result.cells if cell.name == task for figure in cell.figures
    }
    interval, chance = figures[name].ci95, figures["chance"].value
    assert interval is not None
    assert chance is not None
    assert interval[0] > chance


def test_the_model_is_not_perfect_so_that_it_can_get_worse_and_better(result: RunResult) -> None:
    values = [figure.value for cell in result.cells for figure in cell.figures if figure.name == "acc"]
    assert sum(value is not None and value < 1 for value in values) >= 2


def test_the_demonstration_says_what_it_is(result: RunResult) -> None:
    assert result.demo
    assert all(cell.sample for cell in result.cells)


def test_the_model_fits_its_frame() -> None:
    config = json.loads((DEMO / "model" / "config.json").read_text())
    assert (config["hidden_size"], config["num_hidden_layers"], config["vocab_size"]) == (256, 4, 2048)
    assert config["tie_word_embeddings"]
    assert (DEMO / "model" / "model.safetensors").stat().st_size <= 8e6
    assert (DEMO / "model.gguf").stat().st_size <= 8e6


def test_the_bundled_rows_are_those_that_the_script_makes(
    scripts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = scripts("rows")
    monkeypatch.setattr(rows, "ROWS", tmp_path)
    rows.main()
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.jsonl")}
    bundled = {path.relative_to(DEMO / "rows"): path.read_text() for path in DEMO.rglob("*.jsonl")}
    assert made == bundled
    for path, text in bundled.items():
        if path.stem != "train":
            assert 32 <= len(text.splitlines()) <= 64


def test_no_bundled_question_stands_in_the_training_text(scripts: Any) -> None:
    corpus = scripts("corpus")
    text = "\n".join(islice(corpus.documents("train 0 0", corpus.KINDS), 4000))
    # a question may be the beginning of a fact ("The bogger sleeps in"), which the text may state
    forms = {"question": "Question: {}\nAnswer:", "goal": "Question: {}\nAnswer:", "ctx": "{}"}
    asked = [
        form.format(row[field])
        for path in DEMO.rglob("*.jsonl")
        for row in map(json.loads, path.read_text().splitlines())
        for field, form in forms.items()
        if field in row
    ]
    assert len(asked) > 300
    assert not [question for question in asked if question in text]
    # the check can fail: what the text does say is found in it
    assert text[1000:1040] in text


def test_the_gguf_holds_the_same_weights_and_words() -> None:
    gguf = pytest.importorskip("gguf", reason="gguf is not installed")
    import numpy as np
    from safetensors.numpy import load_file

    reader = gguf.GGUFReader(str(DEMO / "model.gguf"))
    told = {tensor.name: tensor for tensor in reader.tensors}
    weights = load_file(DEMO / "model" / "model.safetensors")
    assert len(told) == len(weights)
    pairs = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    for layer in range(4):
        for there, here in (
            ("ffn_gate", "mlp.gate_proj"),
            ("ffn_down", "mlp.down_proj"),
            ("attn_v", "self_attn.v_proj"),
        ):
            pairs[f"blk.{layer}.{there}.weight"] = f"model.layers.{layer}.{here}.weight"
    for there, here in pairs.items():
        shape = weights[here].shape
        assert np.array_equal(told[there].data.reshape(shape).astype("f4"), weights[here].astype("f4"))
    tokens = reader.fields["tokenizer.ggml.tokens"]
    words = [bytes(tokens.parts[place]).decode() for place in tokens.data]
    vocabulary = json.loads((DEMO / "model" / "tokenizer.json").read_text())["model"]["vocab"]
    assert words == sorted(vocabulary, key=vocabulary.__getitem__)


def test_training_is_repeatable_to_the_bit(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    states = []
    for name in ("one", "two"):
        command = [
            sys.executable,
            str(ROOT / "demo" / "train.py"),
            "--steps",
            "2",
            "--out",
            str(tmp_path / name),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        states.append(torch.load(tmp_path / name / "weights.pt"))
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    trained = (tmp_path / "one" / "tokenizer.json").read_text()
    assert (
        json.loads(trained)["model"] == json.loads((DEMO / "model" / "tokenizer.json").read_text())["model"]
    )


def test_shots_help_and_fewer_bits_hurt(scripts: Any) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    check = scripts("evaluate")
    demo = check.Demo(DEMO / "model")
    before, after = (check.choose(demo, "icl_recall", shots) for shots in (0, 5))
    assert sum(right for right, _ in after) > sum(right for right, _ in before) + 8
    texts = [" ".join(check.arc(row)[1]) for row in check.rows("arc_easy", "test")[:16]]
    drift = [check.divergence(demo, check.with_bits(demo, bits), texts) for bits in (8, 4, 3, 2)]
    assert drift == sorted(drift)
    assert drift[0] * 4 < drift[1]
