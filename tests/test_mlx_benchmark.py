"""The pieces of the comparison with ``mlx_lm.benchmark``, on the demo model. Nothing here is timed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("mlx.core", reason="MLX is not installed")
pytest.importorskip("mlx_lm", reason="mlx-lm is not installed")

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import mlx_benchmark
import pairs

PRINTED = """\
Running warmup..
Timing with prompt_tokens=8, generation_tokens=4, batch_size=1.
Trial 1:  prompt_tps=100.500, generation_tps=40.000, peak_memory=0.020, total_time=1.250
Trial 2:  prompt_tps=90.250, generation_tps=20.000, peak_memory=0.020, total_time=2.000
Averages: prompt_tps=95.375, generation_tps=30.000, peak_memory=0.020
"""


def test_what_mlx_lm_prints_is_read_trial_by_trial() -> None:
    assert mlx_benchmark.told(PRINTED, 4, 2) == {
        "seconds": 3.25,
        "requests": 2,
        "prompt": [100.5, 90.25],
        # from the first of four tokens to the last there are three passes
        "generation": [30.0, 15.0],
    }
    with pytest.raises(SystemExit, match="3 trials were asked for"):
        mlx_benchmark.told(PRINTED, 4, 3)


@pytest.mark.filterwarnings("ignore")
def test_both_sides_tell_of_each_trial(demo_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlx_benchmark, "REST", 0)
    monkeypatch.setattr(sys, "argv", [])
    for side in (mlx_benchmark.our_side, mlx_benchmark.their_side):
        told = side(demo_model, prompt=8, new=3, trials=2)
        assert told["requests"] == len(told["prompt"]) == len(told["generation"]) == 2
        # the time of the prompt is a part of the whole
        assert told["seconds"] > sum(8 / rate for rate in told["prompt"])
        assert min(told["prompt"] + told["generation"]) > 0


def test_ratios_are_taken_within_a_round(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def outcome(prompt: float, generation: float) -> pairs.Outcome:
        return pairs.Outcome(
            1, 1, 1, 1, {"prompt": [prompt] * 3, "generation": [generation, generation, 9999]}
        )

    # a machine that gets slower and slower
    rounds = [
        {"slmeval": outcome(101 / slow, 10 / slow), "mlx_lm.benchmark": outcome(100 / slow, 10 / slow)}
        for slow in range(1, 11)
    ]
    assert mlx_benchmark.ratio(rounds, mlx_benchmark.prompt_rate) == "1.010 (1.010 to 1.010)"
    monkeypatch.setattr(pairs, "MEASURED", tmp_path)
    pairs.keep(mlx_benchmark.TABLE, "some model", rounds, prompt=64, new=32, trials=3)
    page = mlx_benchmark.page()
    assert "| some model | generation of 32 tokens | 1.83 | 1.83 | 1.000 (1.000 to 1.000) |" in page
