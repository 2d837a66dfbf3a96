"""Tokens a second of prompt and generation against ``mlx_lm.benchmark``: docs/performance.md.

    python benchmarks/mlx_benchmark.py [--model FOLDER] [--prompt 64] [--new 32] [--trials 3] [--rounds 10]
    python benchmarks/mlx_benchmark.py --page                    # the table, from what is kept

Each side opens the model in a process of its own, runs it once to warm up, and then so many trials, a second
of rest before each. A side's figure is the median of its trials; ratios are taken within a round.

What is compared with what, as ``mlx_lm.benchmark`` (0.32) counts it by ``stream_generate``:

- Its ``prompt_tps`` is the prompt's tokens over the time until the first new token is on the host: sampling
  and the launch of the next pass are in it. Ours are the same tokens over ``Timing.tokens[0]``, which our
  figure for the time to the first token is made of; ``Timing.prefill`` is less, and not compared.
- Its ``generation_tps`` is all n new tokens over the time from the first of them to the last, in which there
  are n - 1 passes. It is taken (n - 1)/n times here; ours is n - 1 over ``tokens[-1] - tokens[0]``.

It begins one pass more than it counts the tokens of, and a trial that follows at once waits for that pass on
a CPU: hence the rest. Both sides choose greedily, and meet random tokens, which cost what others do.
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
    in_turn,
    keep,
    kept,
    median,
    rounds_of,
    surroundings_line,
    table,
    write_table,
)

from slmeval.medians import LEAST, median_interval

TABLE, ROW = "mlx-benchmark", "135M shape"
OURS, THEIRS = "slmeval", "mlx_lm.benchmark"
#: seconds of rest before a trial
REST = 1
TRIAL = re.compile(
    r"^Trial \d+: .*\bprompt_tps=([\d.]+), generation_tps=([\d.]+),.*total_time=([\d.]+)", re.M
)
#: what the table does not say by itself
NOTE = """\
Random weights in float32, greedy decoding. "Prompt" is until the first new token is on the host, on both
sides; "generation" is the passes between the first new token and the last. The ratio is that of tokens a
second: the median over the rounds, with its 95% interval."""


# ---- the sides, each in a process of its own -----------------------------------------------------------


def our_side(model: Path, prompt: int, new: int, trials: int) -> dict[str, Any]:
    """``Backend.time``, and what is told of it: tokens a second, trial by trial."""
    from slmeval.types import ModelRef, Workload
    from slmeval_mlx import MLXBackend

    backend = MLXBackend(ModelRef(str(model)), {each.name: each.default for each in MLXBackend.options})
    ids = random.Random(0).choices(range(backend.model_info().vocabulary), k=prompt)
    done = []
    with contextlib.closing(backend.time(Workload((tuple(ids),), new))) as timings:
        next(timings)
        for _ in range(trials):
            time.sleep(REST)
            done.append(next(timings).tokens)
    return {
        "seconds": sum(tokens[-1] for tokens in done),
        "requests": trials,
        "prompt": [prompt / tokens[0] for tokens in done],
        "generation": [(new - 1) / (tokens[-1] - tokens[0]) for tokens in done],
    }


def their_side(model: Path, prompt: int, new: int, trials: int) -> dict[str, Any]:
    """``mlx_lm.benchmark``'s command line, and what it printed of each trial."""
    from mlx_lm import benchmark

    sys.argv = ["mlx_lm.benchmark", "--model", str(model), "--delay", str(REST)]
    sys.argv += ["-p", str(prompt), "-g", str(new), "-n", str(trials)]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        benchmark.main()
    return told(printed.getvalue(), new, trials)


def told(printed: str, new: int, trials: int) -> dict[str, Any]:
    """What ``mlx_lm.benchmark`` printed, in our terms.

    :raises SystemExit: there are not so many trials in it.
    """
    found = [tuple(map(float, each)) for each in TRIAL.findall(printed)]
    if len(found) != trials:
        raise SystemExit(f"{trials} trials were asked for, and mlx_lm.benchmark printed:\n{printed}")
    return {
        "seconds": sum(seconds for _, _, seconds in found),
        "requests": trials,
        "prompt": [rate for rate, _, _ in found],
        "generation": [rate * (new - 1) / new for _, rate, _ in found],
    }


# ---- the comparison ------------------------------------------------------------------------------------


def measure(model: Path, row: str, rounds: int, **sizes: int) -> None:
    """Both sides in turn, and keep what they told; ``sizes`` are what a side is given."""
    done = in_turn(sides(model, **sizes), rounds)
    keep(TABLE, row, done, **sizes)


def sides(model: Path, **sizes: int) -> list[Side]:
    """The two."""
    asked = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    command = (sys.executable, __file__, "--model", str(model), *asked, "--side")
    # slmeval computes in whole float32 where MLX would take TF32 (an M5): so both do
    alike = {"HF_HUB_OFFLINE": "1", "MLX_ENABLE_TF32": "0"}
    return [Side(name, (*command, name), alike) for name in (OURS, THEIRS)]


def prompt_rate(outcome: Outcome) -> float:
    """Tokens of the prompt a second."""
    return statistics.median(outcome.told["prompt"])


def generation_rate(outcome: Outcome) -> float:
    """New tokens a second."""
    return statistics.median(outcome.told["generation"])


def ratio(rounds: Sequence[Round], rate: Callable[[Outcome], float]) -> str:
    """Ours over theirs, round by round: the median with its 95% interval."""
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
    head = ["model", "work", "slmeval, tokens/s", "mlx_lm.benchmark, tokens/s", "ratio", "wanted", "rounds"]
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
    parser.add_argument("--trials", type=int, default=3, help="of each side in a round")
    parser.add_argument("--rounds", type=int, default=10, help=f"{LEAST} at the least")
    parser.add_argument("--side", choices=(OURS, THEIRS), help="be one of the sides")
    parser.add_argument("--page", action="store_true", help="write docs/performance.md from what is kept")
    asked = parser.parse_args(arguments)
    sizes = {name: getattr(asked, name) for name in ("prompt", "new", "trials")}
    if asked.side:
        side = our_side if asked.side == OURS else their_side
        print(json.dumps(side(asked.model, **sizes)))
        return
    if asked.rounds < LEAST:
        parser.error(f"an interval needs {LEAST} rounds, and --rounds is {asked.rounds}")
    if asked.new < 2:
        parser.error(f"between the first new token and the last there must be a pass: --new is {asked.new}")
    if not asked.page:
        with tempfile.TemporaryDirectory() as folder:
            model = asked.model or speed_model.make(Path(folder))
            measure(model, asked.model.name if asked.model else ROW, asked.rounds, **sizes)
    text = page()
    print(text)
    write_table(TABLE, text)


if __name__ == "__main__":
    main()
