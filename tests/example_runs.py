"""Runs made by hand, for tests of what is done with a finished run."""

from __future__ import annotations

from dataclasses import replace

from slmeval.statistics import wilson
from slmeval.types import (
    CellResult,
    DataOrigin,
    Failure,
    Figure,
    Machine,
    ModelInfo,
    ModelReport,
    RunOptions,
    RunResult,
)

INFO = ModelInfo("LlamaForCausalLM", 3_700_000, 4_224_288, "float32", "cpu", 2048, 2048, "numpy", "2.4.6")
MACHINE = Machine(
    "Linux 6.1 x86_64", "A Processor @ 2.0GHz", 16, 64 * 2**30, "3.11.9", ("NVIDIA H200, 143771 MiB",)
)


def accuracy(name: str, value: float, n: int = 500) -> Figure:
    stderr = (value * (1 - value) / (n - 1)) ** 0.5
    return Figure(name, value, stderr, wilson(value, n), n, "", higher_is_better=True)


CHANCE = Figure("chance", 0.25, None, None, 500, "", note="exact")
BITS = Figure("bits_per_byte", 1.0625, 0.01, (1.0429, 1.0821), 500, "bits/byte", higher_is_better=False)
MARGIN = Figure("margin", -0.5, 0.25, (-0.99, -0.01), 500, "nats", higher_is_better=True)
CHOICES = (
    accuracy("acc", 0.4125),
    BITS,
    accuracy("acc_bytes", 0.27),
    CHANCE,
    accuracy("acc_norm", 0.5),
    MARGIN,
)


def cell(name: str = "arc_easy", **changes: object) -> CellResult:
    data = DataOrigin("allenai/ai2_arc ARC-Easy test", "a1" * 32, 2376, "allenai/ai2_arc train", "b2" * 32)
    made = CellResult(
        kind="task",
        name=name,
        version="1.0",
        backend="reference",
        model="tiny",
        shots=0,
        seed=1234,
        n=500,
        sample=True,
        figures=CHOICES,
        counts={"truncated": 3, "merged": 0},
        data=data,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def model(**changes: object) -> ModelReport:
    made = ModelReport(
        label="tiny",
        backend="reference",
        reference="models/tiny",
        model_hash="c3" * 32,
        tokenizer="tokenizer.json of models/tiny",
        tokenizer_hash="d4" * 32,
        options={
            "engine": "numpy",
            "version": "2.4.6",
            "dtype": "float32",
            "batch": 8,
            "top": 0.5,
            "x": None,
        },
        info=INFO,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def run(**changes: object) -> RunResult:
    made = RunResult(
        id="20260801-101500-ab12",
        started="2026-08-01T10:15:00+00:00",
        finished="2026-08-01T10:15:42+00:00",
        status="done",
        demo=False,
        options=RunOptions(backends=("reference",), tasks=("arc_easy",), shots=(0, 5), pythons={"vllm": "p"}),
        versions={"slmeval": "0.1.0", "numpy": "2.4.6"},
        machine=MACHINE,
        models=(model(),),
        cells=(cell(),),
        asked=1200,
        reused=300,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def side_by_side() -> RunResult:
    """Two backends, one of which failed on a third."""
    here = cell(notes=("the batch was halved",))
    there = cell(backend="hf", figures=(accuracy("acc", 0.4),), counts={})
    return run(
        status="failed",
        models=(model(), model(backend="hf", notes=("float32 on the CPU",))),
        cells=(here, there),
        failures=(Failure("vllm", "tiny", "the worker was ended by SIGKILL (out of memory?)"),),
    )
