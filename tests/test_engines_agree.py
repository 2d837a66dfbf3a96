"""The same number on every engine: each one against the oracle, item by item."""

from __future__ import annotations

from pathlib import Path

import pytest
from answers import answers, predictions
from conftest import SHARED

from slmeval.testing import evaluate
from slmeval.types import Completion, Likelihood, RunOptions

pytest.importorskip("torch", reason="the Hugging Face engine is not installed")


@pytest.fixture(params=["stories260K", "demo", "random"])
def model(request: pytest.FixtureRequest) -> Path:
    """A real trained model, the demo model (both with few positions), and one with a real vocabulary."""
    if request.param == "demo":
        folder: Path = request.getfixturevalue("demo_model")
    elif request.param == "random":
        folder = request.getfixturevalue("random_llama")
    else:
        folder = SHARED / "models" / request.param
        if not folder.exists():
            pytest.skip("../shared/models/stories260K is not on this machine")
    return folder


def test_hf_in_float32_agrees_with_the_oracle_on_real_rows(
    model: Path, shared_data: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store.db"
    result = evaluate(
        RunOptions(
            backends=("hf", "reference"),
            models=(str(model),),
            tasks=("arc", "hellaswag", "piqa"),
            data=str(shared_data),
            limit=100,
            dtype="float32",
        ),
        store,
    )
    assert result.status == "done", result.failures
    half = len(result.cells) // 2
    assert half == 4
    for number in range(half):
        hf, oracle = (answers(store, result.id, cell) for cell in (number, number + half))
        assert len(hf) == 100
        assert predictions(hf) == predictions(oracle)
        pairs = [pair for row in hf for pair in zip(hf[row], oracle[row], strict=True)]
        differences = []
        for one, other in pairs:
            assert isinstance(one, Likelihood)
            assert isinstance(other, Likelihood)
            differences.append(abs(one.logprob - other.logprob))
            # beyond -100 float32 itself has no finer steps than that: at -1439 they are 1.2e-4 apart
            assert differences[-1] < max(1e-4, 1e-6 * abs(other.logprob))
        print(f"{model.name} {result.cells[number].name}: largest difference {max(differences):.1e}")


def test_hf_generates_what_the_oracle_generates(demo_model: Path, tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    options = RunOptions(backends=("hf", "reference"), tasks=("gsm8k",), limit=8, dtype="float32")
    result = evaluate(options, store)
    assert result.status == "done", result.failures
    hf, oracle = (answers(store, result.id, cell) for cell in (0, 1))
    assert all(isinstance(reply, Completion) for replies in hf.values() for reply in replies)
    assert hf == oracle
