"""The same command a second time, whole wall clock, first against second: docs/performance.md.

    python benchmarks/again.py --model FOLDER [--task arc_challenge] [--limit 300] [--rounds 3]

The second run finds all answers in the store, and opens no model.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pairs
from ours import DATA
from pairs import Outcome, Side

TABLE = "again"


def both(command: Sequence[str]) -> dict[str, Any]:
    """Seconds of the first and of the second run on one store; requests of the first."""
    with tempfile.TemporaryDirectory() as folder:
        stored = [*command, "--store", str(Path(folder) / "store.db"), "--format", "json"]
        runs = []
        for _ in range(2):
            began = time.perf_counter()
            done = subprocess.run(stored, capture_output=True, text=True, check=False)
            runs.append((time.perf_counter() - began, done))
            if done.returncode:
                raise SystemExit(f"{' '.join(stored)}\n{done.stderr[-3000:]}")
    first, second = (json.loads(done.stdout)["run"] for _, done in runs)
    if second["asked"] or second["reused"] != first["asked"]:
        raise SystemExit(f"the second run asked {second['asked']} of {first['asked']} requests again")
    return {"seconds": runs[0][0], "second": runs[1][0], "requests": first["asked"]}


def command(asked: argparse.Namespace) -> list[str]:
    """``slmeval run``, without a store."""
    flags = {"backend": "hf", "model": asked.model, "dtype": "float32", "tasks": asked.task}
    more = {"shots": asked.shots, "limit": asked.limit, "data": asked.data}
    given = [part for name, value in (flags | more).items() for part in (f"--{name}", str(value))]
    return [sys.executable, "-m", "slmeval", "run", *given, "-o", "threads=2"]


def page() -> str:
    """The table of what is kept."""
    rows = []
    known = pairs.kept(TABLE)
    for title, told in known.items():
        rounds = pairs.rounds_of(told)
        first = pairs.median(rounds, "slmeval", lambda one: one.seconds)
        second = pairs.median(rounds, "slmeval", _second)
        ratio = pairs.median(rounds, "slmeval", lambda one: one.seconds / _second(one))
        rows.append(
            [title, rounds[0]["slmeval"].requests, f"{first:.2f}", f"{second:.2f}", f"{ratio:.0f}", 20]
        )
    head = ["command", "requests", "first, s", "second, s", "ratio", "wanted"]
    told = next(iter(known.values()))
    last = f"{len(told['rounds'])} rounds. {pairs.surroundings_line(told['surroundings'])}"
    return f"{pairs.table(head, rows)}\n\n{last}"


def _second(one: Outcome) -> float:
    return float(one.told["second"])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--task", default="arc_challenge")
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--once", action="store_true", help="both runs once, as JSON")
    asked = parser.parse_args(arguments)
    if asked.once:
        print(json.dumps(both(command(asked))))
        return
    given = sys.argv[1:] if arguments is None else arguments
    side = Side("slmeval", (sys.executable, __file__, *given, "--once"))
    title = f"`--tasks {asked.task} --shots {asked.shots} --limit {asked.limit}`"
    pairs.keep(TABLE, title, pairs.in_turn([side], asked.rounds))
    pairs.write_table(TABLE, page())


if __name__ == "__main__":
    main()
