"""What slmeval itself costs in a run: everything but the engine's own work, as a share of the whole.

    python benchmarks/overhead.py --model FOLDER [--limit 100] [--rounds 3]      # docs/performance.md
    python benchmarks/overhead.py                     # the bundled sample on the reference engine

Times the calls of the backend's ``score`` and ``generate`` inside the worker, which is in this process, so
that one clock sees both sides, and a plugin hears every hook. The rest is frames, store, hooks and scoring;
planning (rows, prompts, tokens) is told apart.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pairs
from ours import DATA, Clock
from pairs import Side

from slmeval.hookspecs import hookimpl
from slmeval.models import find_model, parse_model
from slmeval.planner import plan
from slmeval.registry import load
from slmeval.run import execute
from slmeval.store import Store
from slmeval.types import RunOptions

TABLE = "overhead"


class Watching:
    """A plugin that hears of every answer."""

    def __init__(self) -> None:
        self.heard = 0

    @hookimpl
    def slmeval_answer_scored(self) -> None:
        """One more."""
        self.heard += 1


class Timed:
    """Adds up the seconds that a backend's own methods take."""

    def __init__(self, backend: type) -> None:
        self.seconds = 0.0
        for name in ("score", "generate"):
            setattr(backend, name, self._timed(getattr(backend, name)))

    def _timed(self, method: Any) -> Any:
        def wrapped(*arguments: Any) -> Iterator[Any]:
            began = time.perf_counter()
            replies = iter(method(*arguments))
            self.seconds += time.perf_counter() - began
            while True:
                began = time.perf_counter()
                try:
                    reply = next(replies)
                except StopIteration:
                    return
                finally:
                    self.seconds += time.perf_counter() - began
                yield reply

        return wrapped


def measure(options: RunOptions) -> dict[str, Any]:
    """One run: seconds of the engine, of planning, and of the rest."""
    clock, watching = Clock(), Watching()
    registry = load(extra={"watching": watching})
    engine = Timed(registry.parts.backends[options.backends[0]])
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "store.db") as store:
        for model in options.models:
            find_model(parse_model(model), store.file_hash)
        began = time.perf_counter()
        planned = plan(options, registry.parts, store.file_hash)
        made = time.perf_counter()
        result = execute(planned, registry, store, clock)
        ended = time.perf_counter()
    if result.status != "done":
        raise SystemExit(f"not measured: {[failure.reason for failure in result.failures]}")
    run = ended - clock.began
    return {
        "seconds": run,
        "requests": result.asked,
        "engine": engine.seconds,
        "planning": made - began,
        "rest": run - engine.seconds,
        "heard": watching.heard,
    }


def page() -> str:
    """The table of what is kept."""
    rows = []
    known = pairs.kept(TABLE)
    for title, told in known.items():
        rounds = pairs.rounds_of(told)

        def middle(name: str, rounds: Sequence[pairs.Round] = rounds) -> float:
            return pairs.median(rounds, "slmeval", lambda one: float(one.told[name]))

        share = pairs.median(rounds, "slmeval", lambda one: one.told["rest"] / one.seconds)
        whole = pairs.median(
            rounds,
            "slmeval",
            lambda one: (one.told["rest"] + one.told["planning"]) / (one.seconds + one.told["planning"]),
        )
        asked = rounds[0]["slmeval"].requests
        each = middle("rest") / asked * 1e3
        seconds = [f"{middle(name):.2f}" for name in ("engine", "planning", "rest")]
        rows.append([title, asked, *seconds, f"{each:.2f}", f"{share:.2%}", f"{whole:.2%}"])
    head = ["run", "requests", "engine, s", "planning, s", "rest, s", "rest, ms a request"]
    told = next(iter(known.values()))
    surroundings = pairs.surroundings_line(told["surroundings"])
    last = f"{len(told['rounds'])} rounds; wanted: the rest under 2%. {surroundings}"
    return f"{pairs.table([*head, 'rest', 'rest and planning'], rows)}\n\n{last}"


def _options(asked: argparse.Namespace) -> RunOptions:
    if asked.model is None:
        return RunOptions(backends=("reference",), tasks=("arc", "hellaswag", "piqa"), executor="local")
    return RunOptions(
        backends=("hf",),
        models=(str(asked.model),),
        tasks=(asked.task,),
        shots=(asked.shots,),
        limit=asked.limit,
        data=str(asked.data),
        dtype="float32",
        executor="local",
        engine_options={"threads": "2"},
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--task", default="arc_challenge")
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--once", action="store_true", help="one run, as JSON")
    asked = parser.parse_args(arguments)
    if asked.once or asked.model is None:
        print(json.dumps(measure(_options(asked))))
        return
    given = sys.argv[1:] if arguments is None else arguments
    side = Side("slmeval", (sys.executable, __file__, *given, "--once"))
    title = f"{asked.task}, {asked.shots} shots, {asked.limit} rows"
    pairs.keep(TABLE, title, pairs.in_turn([side], asked.rounds))
    pairs.write_table(TABLE, page())


if __name__ == "__main__":
    main()
