"""Tokens a second of prompt and generation against ``mlx_lm.benchmark``: docs/performance.md.

    python benchmarks/mlx_benchmark.py [--model FOLDER] [--prompt 64] [--new 32] [--pairs 60]
    python benchmarks/mlx_benchmark.py --page                    # the table, from what is kept

Each side opens the model in a process of its own, and runs it once to warm up; then trials are asked of them
in turn. Ratios are taken pair by pair.

What is compared with what, as ``mlx_lm.benchmark`` (0.32) counts it by ``stream_generate``:

- Its ``prompt_tps`` is the prompt's tokens over the time until the first new token is on the host: sampling
  and the launch of the next pass are in it. Ours are the same tokens over ``Timing.tokens[0]``, which our
  figure for the time to the first token is made of; ``Timing.prefill`` is less, and not compared.
- Its ``generation_tps`` is all n new tokens over the time from the first of them to the last, in which there
  are n - 1 passes. It is taken (n - 1)/n times here; ours is n - 1 over ``tokens[-1] - tokens[0]``.

It begins one pass more than it counts the tokens of, which is waited for before the next trial. Both sides
choose greedily, and meet random tokens, which cost what others do.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import speed_model
from pairs import (
    Outcome,
    Round,
    Side,
    in_step,
    keep,
    kept,
    median,
    rounds_of,
    surroundings_line,
    table,
    trials,
    write_table,
)

from slmeval.medians import LEAST, median_interval

TABLE, ROW = "mlx-benchmark", "135M shape"
OURS, THEIRS = "slmeval", "mlx_lm.benchmark"
TRIAL = re.compile(
    r"^Trial \d+: .*\bprompt_tps=([\d.]+), generation_tps=([\d.]+),.*total_time=([\d.]+)", re.M
)
#: what the table does not say by itself
NOTE = """\
Random weights in float32, greedy decoding. "Prompt" is until the first new token is on the host, on both
sides; "generation" is the passes between the first new token and the last. The ratio is that of tokens a
second: the median over the pairs, with its 95% interval."""


# ---- the sides, each a process of its own --------------------------------------------------------------


def our_side(model: Path, prompt: int, new: int) -> Callable[[], dict[str, Any]]:
    """``Backend.time``, warm: a function that runs it once more, and tells the tokens a second."""
    from slmeval.types import ModelRef, Workload
    from slmeval_mlx import MLXBackend

    backend = MLXBackend(ModelRef(str(model)), {each.name: each.default for each in MLXBackend.options})
    ids = random.Random(0).choices(range(backend.model_info().vocabulary), k=prompt)
    timings = backend.time(Workload((tuple(ids),), new))
    next(timings)

    def run() -> dict[str, Any]:
        tokens = next(timings).tokens
        return {
            "seconds": tokens[-1],
            "requests": 1,
            "prompt": prompt / tokens[0],
            "generation": (new - 1) / (tokens[-1] - tokens[0]),
        }

    return run


def their_side(model: Path, prompt: int, new: int) -> None:
    """``mlx_lm.benchmark``'s command line, a side of the pairs where it would rest before a trial."""
    import mlx.core as mx
    from mlx_lm import benchmark
    from mlx_lm.generate import generation_stream

    printed, out = io.StringIO(), sys.stdout

    def rest(_: float) -> None:
        # the pass that it has begun and does not count
        mx.synchronize(generation_stream)
        if trials := TRIAL.findall(printed.getvalue()):
            print(json.dumps(told(trials[-1], new)), file=out, flush=True)
        if not sys.stdin.readline():
            raise SystemExit

    benchmark.time = argparse.Namespace(sleep=rest, perf_counter=time.perf_counter)
    sys.argv = ["mlx_lm.benchmark", "--model", str(model), "--delay", "1"]
    sys.argv += ["-p", str(prompt), "-g", str(new), "-n", str(sys.maxsize)]
    with contextlib.redirect_stdout(printed):
        benchmark.main()


def told(trial: tuple[str, str, str], new: int) -> dict[str, Any]:
    """What ``mlx_lm.benchmark`` printed of a trial, in our terms."""
    prompt, generation, seconds = map(float, trial)
    return {
        "seconds": seconds,
        "requests": 1,
        "prompt": prompt,
        "generation": generation * (new - 1) / new,
    }


# ---- the comparison ------------------------------------------------------------------------------------


def measure(model: Path, row: str, count: int, **sizes: int) -> None:
    """So many pairs, and keep what they told; ``sizes`` are what a side is given."""
    keep(TABLE, row, in_step(sides(model, **sizes), count), **sizes)


def sides(model: Path, **sizes: int) -> list[Side]:
    """The two."""
    asked = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    command = (sys.executable, __file__, "--model", str(model), *asked, "--side")
    # slmeval computes in whole float32 where MLX would take TF32 (an M5): so both do
    alike = {"HF_HUB_OFFLINE": "1", "MLX_ENABLE_TF32": "0"}
    return [Side(name, (*command, name), alike) for name in (OURS, THEIRS)]


def prompt_rate(outcome: Outcome) -> float:
    """Tokens of the prompt a second."""
    return float(outcome.told["prompt"])


def generation_rate(outcome: Outcome) -> float:
    """New tokens a second."""
    return float(outcome.told["generation"])


def ratio(rounds: Sequence[Round], rate: Callable[[Outcome], float]) -> str:
    """Ours over theirs, pair by pair: the median with its 95% interval."""
    found = [rate(each[OURS]) / rate(each[THEIRS]) for each in rounds]
    low, high = median_interval(found)
    return f"{statistics.median(found):.3f} ({low:.3f} to {high:.3f})"


# ---- the page ------------------------------------------------------------------------------------------


def page() -> str:
    """The table of what is kept.

    :raises SystemExit: nothing is.
    """
    known: Mapping[str, Any] = kept(TABLE)
    if not known:
        raise SystemExit("nothing is kept: measure first")
    head = ["model", "work", "slmeval, tokens/s", "mlx_lm.benchmark, tokens/s", "ratio", "wanted", "pairs"]
    rows = [line for name, row in known.items() for line in _lines(name, row)]
    last = list(known.values())[-1]
    return f"{table(head, rows)}\n\n{NOTE}\n\n{surroundings_line(last['surroundings'])}"


def _lines(name: str, row: Mapping[str, Any]) -> list[list[object]]:
    rounds, settings = rounds_of(row), row["settings"]
    works = {
        f"prompt of {settings['prompt']} tokens": prompt_rate,
        f"generation of {settings['new']} tokens": generation_rate,
    }
    return [
        [
            name,
            work,
            f"{median(rounds, OURS, rate):.3g}",
            f"{median(rounds, THEIRS, rate):.3g}",
            ratio(rounds, rate),
            "0.97 to 1.03",
            len(rounds),
        ]
        for work, rate in works.items()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a folder; without it random weights, 135M's shape")
    parser.add_argument("--prompt", type=int, default=64, help="tokens")
    parser.add_argument("--new", type=int, default=32, help="tokens, two at the least")
    parser.add_argument("--pairs", type=int, default=60, help=f"{LEAST} at the least")
    parser.add_argument("--side", choices=(OURS, THEIRS), help="be one of the sides")
    parser.add_argument("--page", action="store_true", help="write docs/performance.md from what is kept")
    asked = parser.parse_args(arguments)
    sizes = {name: getattr(asked, name) for name in ("prompt", "new")}
    if asked.side == OURS:
        trials(our_side(asked.model, **sizes))
    elif asked.side:
        their_side(asked.model, **sizes)
    if asked.side:
        return
    if asked.pairs < LEAST:
        parser.error(f"an interval needs {LEAST} pairs, and --pairs is {asked.pairs}")
    if asked.new < 2:
        parser.error(f"between the first new token and the last there must be a pass: --new is {asked.new}")
    if not asked.page:
        with tempfile.TemporaryDirectory() as folder:
            model = asked.model or speed_model.make(Path(folder))
            measure(model, asked.model.name if asked.model else ROW, asked.pairs, **sizes)
    text = page()
    print(text)
    write_table(TABLE, text)


if __name__ == "__main__":
    main()
