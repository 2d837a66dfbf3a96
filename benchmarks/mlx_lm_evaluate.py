"""Requests a second and peak memory against ``mlx_lm.evaluate``: docs/performance.md.

    python benchmarks/mlx_lm_evaluate.py [--rounds 3] [--limit 40]
    python benchmarks/mlx_lm_evaluate.py --page                  # the table, from what is kept

HellaSwag, 5 fixed shots, on the bundled demo model with its own tokenizer, its weights as float32. mlx-lm's
side is its own ``MLXLM`` with lm-evaluation-harness's own task, which shows the same examples by its
``first_n`` sampler; both sides are asked the same rows, and hashes of their texts are compared.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ours import DATA, TOLD, command, digest
from pairs import (
    HERE,
    Side,
    in_turn,
    keep,
    kept,
    median,
    peak,
    rate,
    rounds_of,
    spread,
    surroundings_line,
    table,
    write_table,
)

TABLE, ROW = "mlx-lm-evaluate", "hellaswag5"
OURS, THEIRS = "slmeval", "mlx_lm.evaluate"
TASK, SHOTS = "hellaswag", 5
#: what the table does not say by itself
NOTE = """\
The bundled demo model as float32 with its own tokenizer, real rows, the same texts on both sides (their
hashes are compared). `mlx_lm.evaluate` is given its own `MLXLM` and lm-eval's own task; it runs a
question's whole context once and each choice behind it by itself. On Linux MLX computes on one core; here
it multiplies float32 matrices at 4 to 5 GFLOP/s however many rows they have, so that only the number of
tokens counts. slmeval's memory is that of two processes."""
DEMO = HERE.parent / "slmeval" / "demo" / "model"


# ---- mlx-lm's side, in a process of its own ------------------------------------------------------------


def their_side(model: Path, data: Path, limit: int) -> dict[str, Any]:
    """One evaluation by mlx-lm, and what is told of it: ``seconds`` as lm_eval_side.py counts them."""
    from lm_eval_side import lm_eval_task, quiet, requests, show_ours
    from mlx_lm.evaluate import MLXLM

    began = time.perf_counter()
    engine = MLXLM(str(model), use_chat_template=False)
    with quiet():
        task = lm_eval_task(TASK, data, SHOTS)
    show_ours(task, TASK)
    opened = time.perf_counter()
    instances = [each for row in requests(task, limit) for each in row]
    engine.loglikelihood(instances)
    return {
        "seconds": time.perf_counter() - opened,
        "requests": len(instances),
        "opening": opened - began,
        "asked": [digest("".join(each.args)) for each in instances][:TOLD],
    }


# ---- the comparison ------------------------------------------------------------------------------------


def measure(model: Path, data: Path, limit: int, rounds: int) -> None:
    """Both sides in turn, and keep what they told.

    :raises SystemExit: they were asked different texts.
    """
    asked = command(backend="mlx", model=model, task=TASK, shots=SHOTS, limit=limit, data=data)
    sides = [
        Side(OURS, (sys.executable, str(HERE / "ours.py"), *asked)),
        Side(
            THEIRS,
            (sys.executable, __file__, "--side", *command(model=model, data=data, limit=limit)),
            {"HF_HUB_OFFLINE": "1"},
        ),
    ]
    done = in_turn(sides, rounds)
    for one in done:
        if one[OURS].told["asked"] != one[THEIRS].told["asked"]:
            raise SystemExit("the sides were asked different texts")
    keep(TABLE, ROW, done, rows=limit)


def demo_in_float32(folder: Path) -> Path:
    """The demo model as mlx-lm reads it: both sides then compute in float32."""
    from slmeval.types import ModelRef
    from slmeval_mlx import MLXConverter

    return Path(MLXConverter().convert(ModelRef(str(DEMO)), "F32", str(folder)).location)


# ---- the page ------------------------------------------------------------------------------------------


def page() -> str:
    """The table of what is kept.

    :raises SystemExit: nothing is.
    """
    known: Mapping[str, Any] = kept(TABLE)
    if ROW not in known:
        raise SystemExit("nothing is kept: measure first")
    rounds, told = rounds_of(known[ROW]), known[ROW]
    head = ["work", "rows", "slmeval /s", "mlx_lm /s", "ratio", "wanted", "peak memory, GB", "ratio"]
    row = [
        f"HellaSwag, {SHOTS} fixed shots",
        told["settings"]["rows"],
        f"{median(rounds, OURS, rate):.3g}",
        f"{median(rounds, THEIRS, rate):.3g}",
        spread(rounds, OURS, THEIRS, rate),
        "2",
        f"{median(rounds, OURS, peak):.2f} and {median(rounds, THEIRS, peak):.2f}",
        spread(rounds, OURS, THEIRS, peak),
    ]
    return (
        f"{table(head, [row])}\n\n{NOTE}\n\nRounds: {len(rounds)}. {surroundings_line(told['surroundings'])}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a folder; without it the demo model in float32")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--limit", type=int, default=40, help="rows asked on each side")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", action="store_true", help="be mlx-lm's side")
    parser.add_argument("--page", action="store_true", help="write docs/performance.md from what is kept")
    asked = parser.parse_args(arguments)
    if asked.side:
        print(json.dumps(their_side(asked.model, asked.data, asked.limit)))
        return
    if not asked.page:
        with tempfile.TemporaryDirectory() as folder:
            model = asked.model or demo_in_float32(Path(folder))
            measure(model, asked.data, asked.limit, asked.rounds)
    text = page()
    print(text)
    write_table(TABLE, text)


if __name__ == "__main__":
    main()
