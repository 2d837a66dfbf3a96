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
    first, second = (mlx_benchmark.told(trial, 4) for trial in mlx_benchmark.TRIAL.findall(PRINTED))
    # from the first of four tokens to the last there are three passes
    assert first == {"seconds": 1.25, "requests": 1, "prompt": 100.5, "generation": 30.0}
    assert second == {"seconds": 2.0, "requests": 1, "prompt": 90.25, "generation": 15.0}


def test_both_sides_tell_of_each_trial(demo_model: Path) -> None:
    rounds = pairs.in_step(mlx_benchmark.sides(demo_model, prompt=8, new=3), 2)
    assert [list(each) for each in rounds] == [
        [mlx_benchmark.OURS, mlx_benchmark.THEIRS],
        [mlx_benchmark.THEIRS, mlx_benchmark.OURS],
    ]
    for outcome in (outcome for each in rounds for outcome in each.values()):
        # the time of the prompt is a part of the whole; mlx_lm prints milliseconds, up or down
        assert outcome.wall + 0.0005 > outcome.seconds > 8 / mlx_benchmark.prompt_rate(outcome) - 0.0005
        assert mlx_benchmark.generation_rate(outcome) > 0
    # what follows the other side's trial is not what came before it: rates, of which more digits are told
    assert len({mlx_benchmark.prompt_rate(outcome) for each in rounds for outcome in each.values()}) == 4
    assert len({mlx_benchmark.generation_rate(outcome) for each in rounds for outcome in each.values()}) == 4


def test_ratios_are_taken_within_a_pair(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def outcome(prompt: float, generation: float) -> pairs.Outcome:
        return pairs.Outcome(1, 1, 1, 1, {"prompt": prompt, "generation": generation})

    # a machine that gets slower and slower
    rounds = [
        {"slmeval": outcome(101 / slow, 10 / slow), "mlx_lm.benchmark": outcome(100 / slow, 10 / slow)}
        for slow in range(1, 11)
    ]
    assert mlx_benchmark.ratio(rounds, mlx_benchmark.prompt_rate) == "1.010 (1.010 to 1.010)"
    monkeypatch.setattr(pairs, "MEASURED", tmp_path)
    pairs.keep(mlx_benchmark.TABLE, "some model", rounds, prompt=64, new=32)
    page = mlx_benchmark.page()
    assert "| some model | generation of 32 tokens | 1.83 | 1.83 | 1.000 (1.000 to 1.000) |" in page
