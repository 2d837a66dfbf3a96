"""Whether two equal engines pass an interleaved gate, and one that is 15% slower fails it, on a busy machine.

    python benchmarks/interleaved_gate.py [--backend llamacpp] [--model REF] [--trials 20] [-o threads=2]

While as many processes as there are cores spin, ``decode/tokens_per_s >= 0.95 * baseline`` is judged as
``slmeval gate --against`` does it: against the same interpreter, and, the other way round, of a slowed engine
against that interpreter. The slowed engine is the same one in an environment of its own, where a plugin makes
each call into llama.cpp last 15% longer, by the clock. Wanted are 20 of 20 that pass and 18 of 20 that fail.

Each trial is kept as soon as it is done, and a run that was broken off goes on where it was (``--anew``
forgets what is kept). Results: docs/timing-gates.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pairs
from stability import spinning

from slmeval.against import against
from slmeval.registry import load
from slmeval.rules import parse_rule
from slmeval.store import Store
from slmeval.testing import Silent
from slmeval.types import RunOptions
from slmeval.verdicts import Judged

TABLE = "interleaved_gate"
PAGE = pairs.HERE.parent / "docs" / "timing-gates.md"
RULE = "decode/tokens_per_s >= 0.95 * baseline"
#: of the kinds of trials, the answer that is right, and how many of 20 are wanted
RIGHT = {"the same": ("pass", 20), "slowed": ("fail", 18)}
SLOWER = 1.15

#: a plugin that slows what is below the clock of a timed run: each call lasts so much longer as it lasted
PLUGIN = f"""
from functools import wraps
from time import perf_counter

from slmeval_llamacpp.context import Context


def slowed(method):
    @wraps(method)
    def longer(*given):
        began = perf_counter()
        found = method(*given)
        until = began + {SLOWER} * (perf_counter() - began)
        while perf_counter() < until:
            pass
        return found

    return longer


for name in ("decode", "synchronize", "logits"):
    setattr(Context, name, slowed(getattr(Context, name)))
"""


# ---- one trial -----------------------------------------------------------------------------------------


def slow_environment(folder: Path) -> Path:
    """The interpreter of an environment that is this one with the slowing plugin beside it."""
    (folder / "slowed.py").write_text(PLUGIN, encoding="utf-8")
    info = folder / "slowed-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slowed\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[slmeval]\nslowed = slowed\n", encoding="utf-8")
    python = folder / "python"
    way = f'PYTHONPATH={shlex.quote(str(folder))}"${{PYTHONPATH:+:$PYTHONPATH}}"'
    python.write_text(f'#!/bin/sh\n{way} exec {shlex.quote(sys.executable)} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return python


def trial(options: RunOptions, kind: str, slow: Path, store: Path) -> dict[str, Any]:
    """One gate, while all cores are busy."""
    judged = replace(options, pythons={options.backends[0]: str(slow)}) if kind == "slowed" else options
    with spinning(len(os.sched_getaffinity(0))), Store.open(store) as opened:
        began = time.perf_counter()
        (found,) = against(judged, sys.executable, [parse_rule(RULE)], load(), opened, Silent())
        seconds = time.perf_counter() - began
    return {"answer": found.answer, "seconds": seconds, **shares(found)}


def shares(found: Judged) -> dict[str, Any]:
    """The slower engine's speed over the other's with its interval, and in how many pairs."""
    excess, limit = found.excess, found.limit
    assert excess is not None
    assert limit is not None
    low, middle, high = (0.95 * (1 + each / limit) for each in (excess.low, excess.value, excess.high))
    return {"pairs": excess.n, "level": excess.level, "ratio": middle, "low": low, "high": high}


# ---- what is kept, and the page ------------------------------------------------------------------------


def keep(row: str, trials: Mapping[str, Sequence[Mapping[str, Any]]], asked: argparse.Namespace) -> None:
    """Write the trials of a row so far."""
    known = pairs.kept(TABLE)
    settings = {"options": asked.option, "model": asked.model or "demo"}
    known[row] = {"settings": settings, "surroundings": pairs.surroundings(), "trials": trials}
    pairs.MEASURED.mkdir(exist_ok=True)
    (pairs.MEASURED / f"{TABLE}.json").write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def page() -> str:
    """The table of what is kept."""
    head = ["engine", "second engine", "right", "wanted", "speed over the first's", "pairs", "seconds"]
    known = pairs.kept(TABLE)
    rows = [line(title, kind, each["trials"][kind]) for title, each in known.items() for kind in RIGHT]
    told = next(iter(known.values()))
    return f"{pairs.table(head, rows)}\n\n{pairs.surroundings_line(told['surroundings'])}"


def line(title: str, kind: str, trials: Sequence[Mapping[str, Any]]) -> list[object]:
    """One row of the table."""
    answer, wanted = RIGHT[kind]
    right = sum(each["answer"] == answer for each in trials)
    ratios, counts, seconds = (
        sorted(each[name] for each in trials) for name in ("ratio", "pairs", "seconds")
    )
    return [
        title,
        kind,
        f"{right} of {len(trials)} {answer}",
        f"{wanted} of 20",
        f"{ratios[0]:.3f} to {ratios[-1]:.3f}",
        f"{counts[0]} to {counts[-1]}",
        f"{seconds[0]:.0f} to {seconds[-1]:.0f}",
    ]


# ---- the command ---------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="llamacpp", choices=["llamacpp"])
    parser.add_argument("--model", help="left out, it is the demo model")
    parser.add_argument("--trials", type=int, default=20, help="of each kind")
    parser.add_argument("--anew", action="store_true", help="forget the trials that are kept")
    parser.add_argument("-o", dest="option", action="append", default=[], help="of the engine or the probe")
    asked = parser.parse_args(arguments)
    # threads that spin while they wait take the cores from those beside them
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    given: dict[str, str] = dict(each.split("=", 1) for each in asked.option)
    options = RunOptions((asked.backend,), (asked.model,) if asked.model else (), engine_options=given)
    row = asked.backend
    known = {} if asked.anew else pairs.kept(TABLE).get(row, {}).get("trials", {})
    trials: dict[str, list[Any]] = {kind: list(known.get(kind, [])) for kind in RIGHT}
    with tempfile.TemporaryDirectory() as folder:
        slow = slow_environment(Path(folder))
        for number in range(asked.trials):
            for kind in RIGHT:
                if number >= len(trials[kind]):
                    trials[kind].append(trial(options, kind, slow, Path(folder) / "store.db"))
                    print(number + 1, kind, trials[kind][-1], flush=True)
                    keep(row, trials, asked)
    pairs.write_table(TABLE, page(), PAGE)


if __name__ == "__main__":
    main()
