"""The number others publish: our runs against lm-evaluation-harness's own, on the same rows and model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from answers import answers

from slmeval.testing import evaluate
from slmeval.types import Completion, Likelihood, RunOptions

pytest.importorskip("torch", reason="the Hugging Face engine is not installed")
pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")

CHOICES = ("arc_easy", "arc_challenge", "hellaswag", "piqa")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory, shared_tokenizer: Path) -> Path:
    """A small Llama of random weights, 4,096 positions, a real vocabulary."""
    from lm_eval_tasks import tiny_llama

    return tiny_llama(tmp_path_factory.mktemp("llama") / "tiny", shared_tokenizer)


def ours(model: Path, data: Path, store: Path, tasks: tuple[str, ...], **changes: Any) -> Any:
    options = RunOptions(
        backends=("hf",), models=(str(model),), tasks=tasks, data=str(data), dtype="float32", **changes
    )
    result = evaluate(options, store)
    assert result.status == "done", result.failures
    return result


@pytest.mark.parametrize(("shots", "limit"), [(0, 100), (5, 25)])
def test_choices_have_the_same_log_probabilities_and_figures(
    llama: Path, shared_data: Path, tmp_path: Path, shots: int, limit: int
) -> None:
    from lm_eval_tasks import run_lm_eval

    theirs = run_lm_eval(llama, CHOICES, shared_data, shots=shots, limit=limit, batch_size=8)
    store = tmp_path / "store.db"
    result = ours(llama, shared_data, store, CHOICES, shots=(shots,), limit=limit, compat="lm-eval")
    for number, cell in enumerate(result.cells):
        found = answers(store, result.id, number)
        samples = theirs[cell.name]["samples"]
        assert len(samples) == cell.n == limit
        largest = 0.0
        for sample in samples:
            for mine, (logprob, greedy) in zip(found[sample["row"]], sample["replies"], strict=True):
                assert isinstance(mine, Likelihood)
                largest = max(largest, abs(mine.logprob - logprob))
                assert mine.greedy == greedy
        assert largest < 1e-3
        print(f"{cell.name} at {shots} shots: largest difference {largest:.1e}")
        figures = {figure.name: figure for figure in cell.figures}
        for name in ("acc", "acc_norm"):
            assert figures[name].value == pytest.approx(
                theirs[cell.name]["results"][f"{name},none"], abs=1e-12
            )
            assert figures[name].stderr == pytest.approx(
                theirs[cell.name]["results"][f"{name}_stderr,none"], abs=1e-12
            )


def test_gsm8k_has_the_same_texts_and_the_same_extractions(demo_model: Path, tmp_path: Path) -> None:
    from lm_eval_tasks import run_lm_eval

    rows = demo_model.parent / "rows"
    theirs = run_lm_eval(demo_model, ("gsm8k",), rows, shots=5, limit=12, batch_size=1)["gsm8k"]
    store = tmp_path / "store.db"
    result = ours(demo_model, rows, store, ("gsm8k",), limit=12, compat="lm-eval")
    found = answers(store, result.id, 0)
    for sample in theirs["samples"]:
        (reply,) = found[sample["row"]]
        assert isinstance(reply, Completion)
        assert reply.text == sample["replies"][0]
    figures = {figure.name: figure for figure in result.cells[0].figures}
    for name in ("strict-match", "flexible-extract"):
        assert figures[f"exact_match/{name}"].value == theirs["results"][f"exact_match,{name}"]
