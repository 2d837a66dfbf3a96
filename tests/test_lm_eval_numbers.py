"""The number others publish: our runs against lm-evaluation-harness's own, on the same rows and model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slmeval.registry import load
from slmeval.testing import evaluate
from slmeval.testing.answers import answers
from slmeval.types import CellResult, Completion, Likelihood, RunOptions

pytest.importorskip("torch", reason="the Hugging Face engine is not installed")
pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")

from lm_eval_tasks import definition, run_lm_eval, tiny_llama
from written_rows import write_rows

#: three of MMLU's subjects stand for all
SUBJECTS = ("mmlu_anatomy", "mmlu_professional_law", "mmlu_formal_logic")
TASKS = load().parts.tasks
SCORED = tuple(
    name
    for name, task in TASKS.items()
    if definition(name) and task.kind != "generation" and (name in SUBJECTS or not name.startswith("mmlu_"))
)
STORIES = Path(__file__).parents[1].parent / "shared" / "models" / "stories260K"


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory, shared_tokenizer: Path) -> Path:
    """A small Llama of random weights, 4,096 positions, a real vocabulary."""
    return tiny_llama(tmp_path_factory.mktemp("llama") / "tiny", shared_tokenizer)


@pytest.fixture(scope="module")
def stories() -> Path:
    """A small Llama that was trained, with 512 positions."""
    if not STORIES.is_dir():
        pytest.skip("../shared/models/stories260K is not on this machine")
    return STORIES


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """Real rows, rows written for the data sets of which there are none, and the beginnings of real pages."""
    folder = write_rows(tmp_path_factory.mktemp("rows"))
    for name in shared_data.iterdir():
        if name.is_dir() and name.name != "wikitext":
            (folder / name.name).symlink_to(name)
    lines = (shared_data / "wikitext" / "test.jsonl").read_text(encoding="utf-8").split("\n")[:6]
    (folder / "wikitext").mkdir()
    # whole pages take minutes of lm-eval; that these are cut into windows alike is tested elsewhere
    pages = (json.dumps({"page": json.loads(line)["page"][:3000]}) for line in lines)
    (folder / "wikitext" / "test.jsonl").write_text("\n".join(pages), encoding="utf-8")
    return folder


def ours(model: Path, data: Path, store: Path, tasks: tuple[str, ...], **changes: Any) -> Any:
    options = RunOptions(
        backends=("hf",), models=(str(model),), tasks=tasks, data=str(data), dtype="float32", **changes
    )
    result = evaluate(options, store)
    assert result.status == "done", result.failures
    return result


@pytest.mark.parametrize(("model", "shots", "limit"), [("llama", 0, 6), ("llama", 5, 3), ("stories", 0, 6)])
def test_log_probabilities_and_figures_are_those_of_lm_eval(
    model: str, shots: int, limit: int, rows: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(model)
    names = tuple(name for name in SCORED if not shots or TASKS[name].dataset.shots)
    theirs = run_lm_eval(folder, names, rows, shots=shots, limit=limit, batch_size=8)
    store = tmp_path / "store.db"
    result = ours(folder, rows, store, names, shots=(shots,), limit=limit, compat="lm-eval")
    assert [cell.name for cell in result.cells] == list(names)
    for number, cell in enumerate(result.cells):
        found, expected = answers(store, result.id, number), theirs[cell.name]
        # of a subject of MMLU there are five rows
        assert len(expected["samples"]) == cell.n >= min(limit, 5)
        largest = max(_difference(found[sample["row"]], sample["replies"]) for sample in expected["samples"])
        print(f"{cell.name} at {cell.shots} shots: largest difference {largest:.1e}")
        assert largest < 1e-3, cell.name
        _compare(cell, expected["results"])


def _difference(mine: Any, theirs: Any) -> float:
    """The largest one of a row's log-probabilities; whether greedy decoding would agree must be the same."""
    # a whole text is one number there, and has windows here
    if not isinstance(theirs[0], (tuple, list)):
        return abs(sum(likelihood.logprob for likelihood in mine) - theirs[0])
    for likelihood, (_, greedy) in zip(mine, theirs, strict=True):
        assert isinstance(likelihood, Likelihood)
        assert likelihood.greedy == greedy
    return max(
        abs(likelihood.logprob - logprob) for likelihood, (logprob, _) in zip(mine, theirs, strict=True)
    )


def _compare(cell: CellResult, results: dict[str, Any]) -> None:
    figures = {figure.name: figure for figure in cell.figures}
    for key, value in results.items():
        name, _, _ = key.partition(",")
        if name in figures:
            # perplexities of log-probabilities that are not equal are as near as these are
            within = (
                1e-4
                if "perplexity" in name or name == "bits_per_byte" or cell.name == "truthfulqa_mc2"
                else 1e-12
            )
            assert figures[name].value == pytest.approx(value, rel=within, abs=1e-12), (cell.name, name)
        if name.endswith("_stderr") and name.startswith("acc") and name.removesuffix("_stderr") in figures:
            stderr = figures[name.removesuffix("_stderr")].stderr
            assert stderr == pytest.approx(value, rel=1e-4, abs=1e-12), (cell.name, name)


def test_gsm8k_has_the_same_texts_and_the_same_extractions(demo_model: Path, tmp_path: Path) -> None:
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


def test_in_chat_log_probabilities_texts_and_figures_are_those_of_lm_eval(
    demo_model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("jinja2")
    from chat_templates import WITH_BOS, with_template

    model, rows = with_template(demo_model, tmp_path / "model", WITH_BOS), demo_model.parent / "rows"
    names = ("arc_easy", "gsm8k")
    theirs = run_lm_eval(model, names, rows, shots=2, limit=8, max_tokens=48, chat=True)
    store = tmp_path / "store.db"
    changes = {"shots": (2,), "limit": 8, "compat": "lm-eval", "max_tokens": 48, "chat_template": "on"}
    result = ours(model, rows, store, names, **changes)
    assert [cell.chat for cell in result.cells] == ["on", "on"]
    choices, texts = (answers(store, result.id, number) for number in (0, 1))
    for sample in theirs["arc_easy"]["samples"]:
        assert _difference(choices[sample["row"]], sample["replies"]) < 1e-3
    for sample in theirs["gsm8k"]["samples"]:
        (reply,) = texts[sample["row"]]
        assert isinstance(reply, Completion)
        assert reply.text == sample["replies"][0]
    _compare(result.cells[0], theirs["arc_easy"]["results"])
