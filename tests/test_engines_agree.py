"""The same number on every engine: each one against the oracle in one run, item by item.

The demo model over all bundled rows, in float32; real rows on a real trained model, on the demo model, and on
one of random weights with a real vocabulary. The bound is 1e-3 of a nat for the sum over a choice.
On real English the demo model's sums reach -1,439, where steps of float32 are 1.2e-4 apart: there the bound
grows with the sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import SHARED

from slmeval.environments import python_of
from slmeval.pairing import demo_model
from slmeval.registry import load
from slmeval.testing import evaluate
from slmeval.testing.answers import answers, predictions
from slmeval.types import Completion, Likelihood, ModelRef, Reply, RunOptions, RunResult

pytest.importorskip("torch", reason="the Hugging Face engine is not installed")

ENGINES = ("hf", "llamacpp", "mlx", "vllm")
CHOICES = ("arc", "hellaswag", "piqa", "icl_copy", "icl_recall", "icl_classify", "icl_labels")

Found = Mapping[int, Sequence[Reply]]


@dataclass(frozen=True)
class SideBySide:
    """One run, and what each engine answered: by engine, a mapping of rows to replies for each cell."""

    result: RunResult
    found: Mapping[str, list[Found]]


def side_by_side(store: Path, options: RunOptions) -> SideBySide:
    result = evaluate(options, store)
    assert result.status == "done", result.failures
    found: dict[str, list[Found]] = {name: [] for name in options.backends}
    for number, cell in enumerate(result.cells):
        found[cell.backend].append(answers(store, result.id, number))
    return SideBySide(result, found)


def here() -> tuple[str, ...]:
    parts = load().parts.backends
    able = (name for name in ENGINES if parts[name].missing() is None or python_of(name) is not None)
    return ("reference", *able)


def skip_if_absent(engine: str) -> None:
    if engine not in here():
        pytest.skip(f"{engine} cannot run here: {load().parts.backends[engine].missing()}")


def check(engine: str, run: SideBySide) -> None:
    """Every choice of every cell within the bound, and no prediction another one but where two are tied."""
    ours, oracle = run.found[engine], run.found["reference"]
    assert len(ours) == len(oracle) > 0
    names = [cell.name for cell in run.result.cells]
    for name, one, other in zip(names, ours, oracle, strict=False):
        largest = max(_differences(one, other))
        flips = [row for row in one if predictions(one)[row] != predictions(other)[row]]
        print(f"{engine} {name}: largest difference {largest:.1e}, {len(flips)} of {len(one)} flipped")
        assert all(_margin(other[row]) < 2e-3 for row in flips)


def _differences(one: Found, other: Found) -> Iterator[float]:
    assert one.keys() == other.keys()
    for row in one:
        for ours, oracles in zip(one[row], other[row], strict=True):
            assert isinstance(ours, Likelihood)
            assert isinstance(oracles, Likelihood)
            difference = abs(ours.logprob - oracles.logprob)
            assert difference < max(1e-3, 2e-6 * abs(oracles.logprob))
            yield difference


def _margin(replies: Sequence[Reply]) -> float:
    """How far the likeliest choice is ahead of the next."""
    first, second, *_ = sorted((reply.logprob for reply in replies), reverse=True)  # type: ignore[union-attr]
    return first - second


# ---- the demo model, all that is bundled ---------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> SideBySide:
    """All bundled rows on all engines, each opened once; the texts come last."""
    store = tmp_path_factory.mktemp("demo") / "store.db"
    # two threads of vLLM's wait for each other on a busy machine
    quick = {"vllm.threads": "1"} if "vllm" in here() else {}
    asked = RunOptions(backends=here(), tasks=(*CHOICES, "gsm8k"), dtype="float32", engine_options=quick)
    return side_by_side(store, asked)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_demo_model_on_all_bundled_rows(engine: str, demo: SideBySide) -> None:
    skip_if_absent(engine)
    choices = SideBySide(demo.result, {name: cells[:-1] for name, cells in demo.found.items()})
    assert sum(map(len, choices.found["reference"])) == 8 * 64
    check(engine, choices)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_figures_are_the_oracles(engine: str, demo: SideBySide) -> None:
    """What is a share of right answers is equal; what is a mean of log-probabilities, to 1e-3."""
    skip_if_absent(engine)
    ours, oracles = (
        [cell for cell in demo.result.cells if cell.backend == name] for name in (engine, "reference")
    )
    assert [cell.name for cell in ours] == [cell.name for cell in oracles]
    for one, other in zip(ours, oracles, strict=True):
        values = {figure.name: figure.value for figure in other.figures}
        for figure in one.figures:
            near = 1e-3 if figure.name in {"bits_per_byte", "margin"} else 1e-9
            assert figure.value == pytest.approx(values[figure.name], abs=near), f"{one.name} {figure.name}"


@pytest.mark.parametrize("engine", ENGINES)
def test_greedy_texts_are_the_oracles(engine: str, demo: SideBySide) -> None:
    skip_if_absent(engine)
    ours, oracle = demo.found[engine][-1], demo.found["reference"][-1]
    assert len(ours) == 64
    assert all(isinstance(reply, Completion) for replies in ours.values() for reply in replies)
    assert ours == oracle


# ---- texts, at several shots, greedy and drawn --------------------------------------------------------


def written(store: Path, backends: tuple[str, ...], **drawn: Any) -> Mapping[str, list[tuple[Reply, ...]]]:
    """By engine, what it wrote to each of a few bundled word problems, after no and after five examples."""
    quick = {"vllm.threads": "1"} if "vllm" in backends else {}
    asked = RunOptions(
        backends=backends,
        tasks=("gsm8k",),
        shots=(0, 5),
        limit=8,
        dtype="float32",
        engine_options=quick,
        **drawn,
    )
    found = side_by_side(store, asked).found
    return {
        name: [tuple(replies) for cell in cells for replies in cell.values()] for name, cells in found.items()
    }


@pytest.fixture(scope="module")
def greedy_texts(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    # vLLM, which takes the longest to open, is asked 64 greedy texts above
    return written(
        tmp_path_factory.mktemp("greedy") / "store.db", tuple(name for name in here() if name != "vllm")
    )


@pytest.fixture(scope="module")
def drawn_texts(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    store = tmp_path_factory.mktemp("drawn") / "store.db"
    return written(store, here(), temperature=0.7, top_p=0.9, repeats=4, max_tokens=48)


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine != "vllm"])
def test_greedy_texts_are_equal_at_any_shots(engine: str, greedy_texts: Mapping[str, Any]) -> None:
    skip_if_absent(engine)
    assert len(greedy_texts[engine]) == 2 * 8
    assert greedy_texts[engine] == greedy_texts["reference"]


@pytest.mark.parametrize("engine", ENGINES)
def test_drawn_texts_are_equal_with_the_same_seeds(engine: str, drawn_texts: Mapping[str, Any]) -> None:
    """Four texts to each question; a random number falls between two roundings once in a million tokens."""
    skip_if_absent(engine)
    ours, oracles = (
        [reply for replies in drawn_texts[name] for reply in replies] for name in (engine, "reference")
    )
    equal = sum(one == other for one, other in zip(ours, oracles, strict=True))
    print(f"{engine}: {equal} of {len(oracles)} drawn texts are the oracle's")
    assert equal == len(oracles) == 2 * 8 * 4
    # that they are drawn: hardly two are alike
    assert len({reply.ids for reply in ours}) > 48


# ---- real rows ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["stories260K", "demo", "random"])
def model(request: pytest.FixtureRequest) -> Path:
    """A real trained model, the demo model (both with few positions), and one with a real vocabulary."""
    if request.param == "demo":
        return Path(request.getfixturevalue("demo_model"))
    if request.param == "random":
        return Path(request.getfixturevalue("random_llama"))
    folder = SHARED / "models" / request.param
    if not folder.exists():
        pytest.skip("../shared/models/stories260K is not on this machine")
    return folder


@pytest.fixture(scope="module")
def as_gguf(
    model: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path | None:
    """The model in GGUF, with its tokenizer beside it; ``None`` where llama.cpp is not installed."""
    if "llamacpp" not in here():
        return None
    converter, folder = load().parts.converters["llamacpp"](), str(tmp_path_factory.mktemp("gguf"))
    if model == demo_model():
        return Path(converter.convert(ModelRef(str(demo_model("gguf"))), "F32", folder).location)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLAMA_CPP_SOURCE", str(request.getfixturevalue("llama_cpp_source")))
        return Path(converter.convert(ModelRef(str(model)), "F32", folder).location)


#: vLLM takes long to open, and is held to the same numbers by the demo model and by its contract
ON_REAL_ROWS = tuple(name for name in ENGINES if name != "vllm")


@pytest.fixture(scope="module")
def real_rows(
    model: Path, as_gguf: Path | None, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> SideBySide:
    forms = {"llamacpp": as_gguf}
    engines = tuple(name for name in here() if name != "vllm")
    # MLX is slow on the CPU: a real model of this size takes all rows, larger ones fewer
    rows = 100 if model.name == "stories260K" else 10
    return side_by_side(
        tmp_path_factory.mktemp("real") / "store.db",
        RunOptions(
            backends=engines,
            models=tuple(f"{name}={forms.get(name, model)}" for name in engines),
            tasks=("arc_easy", "hellaswag", "piqa"),
            data=str(shared_data),
            limit=rows,
            dtype="float32",
        ),
    )


@pytest.mark.parametrize("engine", ON_REAL_ROWS)
def test_real_rows(engine: str, real_rows: SideBySide) -> None:
    skip_if_absent(engine)
    assert [len(cell) for cell in real_rows.found[engine]] == [real_rows.result.options.limit] * 3
    check(engine, real_rows)
