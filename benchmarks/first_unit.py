"""From the launch of a command to its first forward pass over a question, less what loads the weights.

    python benchmarks/first_unit.py --model FOLDER [--rounds 5]

The very commands that a user gives: ``slmeval run`` on a fresh store, and ``lm-eval`` with a task file of the
same task over the same rows. Writes docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pairs
from ours import DATA
from pairs import HERE, Outcome, Side

TABLE = "first-unit"
TASK = "arc_challenge"


def our_command(model: Path, data: Path, folder: Path) -> list[str]:
    """``slmeval run`` with a store in ``folder``."""
    flags = ["--backend", "hf", "--model", str(model), "--dtype", "float32", "--tasks", TASK, "--shots", "0"]
    where = ["--limit", "10", "--data", str(data), "--store", str(folder / "store.db")]
    return [sys.executable, "-m", "slmeval", "run", *flags, *where, "-o", "threads=2"]


def their_command(model: Path, data: Path, folder: Path) -> list[str]:
    """``lm-eval`` with a task file in ``folder``."""
    given = f"pretrained={model},dtype=float32"
    flags = [
        "--model",
        "hf",
        "--model_args",
        given,
        "--tasks",
        f"local_{TASK}",
        "--include_path",
        str(folder),
    ]
    (folder / "local.yaml").write_text(json.dumps(_task(data)), encoding="utf-8")
    return [sys.executable, "-m", "lm_eval", *flags, "--device", "cpu", "--batch_size", "8", "--limit", "10"]


def _task(data: Path) -> dict[str, Any]:
    """lm-eval's own definition of the task, over rows of this machine. JSON is YAML."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    from lm_eval.tasks._yaml_loader import load_yaml
    from lm_eval_tasks import definition

    place = definition(TASK)
    assert place is not None
    dropped = {"tag", "task_alias", "dataset_name"}
    config = {name: value for name, value in load_yaml(place).items() if name not in dropped}
    files = {split: str(data / TASK / f"{split}.jsonl") for split in ("test", "train")}
    local = {"task": f"local_{TASK}", "dataset_path": "json", "dataset_kwargs": {"data_files": files}}
    return {**config, **local, "validation_split": None}


def started(command: Sequence[str], folder: Path, cache: Path) -> dict[str, float]:
    """Run the command; seconds from its launch to its first request, and those in loading weights."""
    marks = folder / "marks"
    environment = {
        **os.environ,
        "PYTHONPATH": str(HERE / "marks"),
        "BENCH_MARKS": str(marks),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(cache),
        "OMP_NUM_THREADS": "2",
    }
    began = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    return read_marks(marks.read_text(encoding="utf-8"), began)


def read_marks(text: str, began: float) -> dict[str, float]:
    """From lines of name and clock: seconds to the first ``asked``, and those in loading before it."""
    marks = [(name, float(clock)) for name, clock in map(str.split, text.splitlines())]
    asked = next(clock for name, clock in marks if name == "asked")
    spans = [
        sum(clock for name, clock in marks if name == which and clock < asked)
        for which in ("loading", "loaded")
    ]
    return {"whole": asked - began, "loading": spans[1] - spans[0]}


def side(name: str, model: Path, data: Path, cache: Path) -> dict[str, Any]:
    """One start of one side."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        command = (our_command if name == "slmeval" else their_command)(model, data, folder)
        told = started(command, folder, cache)
    return {"seconds": told["whole"] - told["loading"], "requests": 1, **told}


def page() -> str:
    """The table of what is kept."""
    told = pairs.kept(TABLE)[TASK]
    rounds = pairs.rounds_of(told)
    rows = [
        [
            name,
            f"{pairs.median(rounds, name, seconds):.2f}",
            f"{pairs.median(rounds, name, lambda each: each.told['loading']):.2f}",
            pairs.spread(rounds, name, "lm-eval", seconds) if name != "lm-eval" else 1,
        ]
        for name in ("slmeval", "lm-eval")
    ]
    head = ["command", "seconds to the first unit, weights apart", "seconds in loading weights", "ratio"]
    last = f"{len(rounds)} rounds; wanted at most 0.3. {pairs.surroundings_line(told['surroundings'])}"
    return f"{pairs.table(head, rows)}\n\n{last}"


def seconds(outcome: Outcome) -> float:
    """To the first unit."""
    return outcome.seconds


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", choices=("slmeval", "lm-eval"), help="one start of one side, as JSON")
    parser.add_argument("--cache", type=Path, help="where lm-eval's data sets keep their copies of rows")
    asked = parser.parse_args(arguments)
    if asked.side:
        print(json.dumps(side(asked.side, asked.model, asked.data, asked.cache)))
        return
    with tempfile.TemporaryDirectory() as cache:
        sides = [_side(name, asked, cache) for name in ("slmeval", "lm-eval")]
        pairs.in_turn(sides, 1)  # files get warm, and lm-eval's copy of the rows is made
        pairs.keep(TABLE, TASK, pairs.in_turn(sides, asked.rounds))
    pairs.write_table(TABLE, page())


def _side(name: str, asked: argparse.Namespace, cache: str) -> Side:
    flags: Mapping[str, object] = {"model": asked.model, "data": asked.data, "side": name, "cache": cache}
    given = [part for key, value in flags.items() for part in (f"--{key}", str(value))]
    return Side(name, (sys.executable, __file__, *given))


if __name__ == "__main__":
    main()
