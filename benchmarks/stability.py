"""Whether the verdict on a model's speed is right: undisturbed it is stable, slowed half way it is drifting.

    python benchmarks/stability.py --backend llamacpp [--model FILE] [--trials 10] [-o threads=2]

Trials in turn, each in a fresh process: in one half nothing happens, in the other as many processes as there
are cores begin to spin when half of the runs are done, and are ended with the trial. Right are "stable" of
the first, and "drifting" of the second; wanted are nine of ten of each.

That nothing happens is true of this side of a virtual machine only. So in the pause after each run a piece of
arithmetic is timed that never changes. Where the same test does not find that stable either, the machine was
disturbed from elsewhere; the table says in how many trials it was stable, and how many of these were right.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pairs
from pairs import Outcome, Side

from slmeval.holding import Holder
from slmeval.planner import plan
from slmeval.registry import load
from slmeval.sessions import WorkerSession
from slmeval.trends import trend
from slmeval.types import Conditions, RunOptions

TABLE = "stability"
#: of the sides, the verdict that is right
RIGHT = {"undisturbed": "stable", "disturbed": "drifting"}
#: what the measuring process says when half of its runs are done
HALF = "half"
#: a spinning process ends by itself with the one that started it, and after ten minutes at the latest
SPIN = """
import os, sys, time
until = time.monotonic() + 600
while os.getppid() == int(sys.argv[1]) and time.monotonic() < until:
    sum(range(10_000))
"""


# ---- measuring: one process --------------------------------------------------------------------------


def arithmetic() -> float:
    """Seconds that always the same takes: the median of a few, some ten milliseconds in all."""
    took = []
    for _ in range(9):
        began = time.perf_counter()
        sum(each * each for each in range(30_000))
        took.append(time.perf_counter() - began)
    return statistics.median(took)


class Telling(WorkerSession):
    """A session that says when half of the runs are done, and times the machine after each run."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.machine: list[float] = []

    def note_conditions(self) -> Conditions:
        """As it is; noted once after each run."""
        self.machine.append(arithmetic())
        seen = super().note_conditions()
        if len(self.conditions) == int(str(self.settings["runs"])) // 2:
            print(HALF, flush=True)
        return seen


def measure(options: RunOptions) -> dict[str, Any]:
    """The stability of one model, with the settings that ``options`` has of it."""
    parts = load().parts
    job = plan(options, parts, str).jobs[0]
    cell = next(each for each in job.probes if each.probe.name == "stability")
    model = job.model.local
    holder = Holder(job.backend, job.options, model, job.tokenizer)
    session = Telling(holder, cell.settings, cell.seed, {}, lambda: None, meters={}, own_process=True)
    began = time.perf_counter()
    try:
        measured = cell.probe.measure(session)
    finally:
        holder.close()
    seconds = time.perf_counter() - began
    figures = cell.probe.figures(cell.settings, {each.name: each for each in measured.series})
    told = {figure.name: figure.value for figure in figures}
    drift = next(figure for figure in figures if figure.name == "drift")
    machine = trend(session.machine)
    busy = [seen.busy for seen in session.conditions if seen.busy is not None]
    return {
        "seconds": seconds,
        "requests": drift.n,
        "verdict": drift.verdict,
        "note": drift.note,
        "machine": machine.verdict,
        "machine_drift": machine.percent,
        "busy": sum(busy) / len(busy) if busy else None,
        **told,
    }


# ---- one trial: a process that measures, and perhaps some that spin ------------------------------------


def trial(command: Sequence[str], *, disturbed: bool) -> dict[str, Any]:
    """What the measuring ``command`` tells, slowed from half way on or not.

    :raises SystemExit: it failed.
    """
    with ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert process.stdout is not None
        last = ""
        for line in process.stdout:
            if line.strip() == HALF and disturbed:
                stack.enter_context(spinning(len(os.sched_getaffinity(0))))
            last = line
        if process.wait():
            raise SystemExit(process.returncode)
    told: dict[str, Any] = json.loads(last)
    return told


@contextmanager
def spinning(count: int) -> Iterator[list[int]]:
    """So many processes that take all the time of a core they get; these and no others are ended."""
    command = [sys.executable, "-c", SPIN, str(os.getpid())]
    started = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(count)]
    try:
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()


# ---- the page ------------------------------------------------------------------------------------------


def page() -> str:
    """The table of what is kept."""
    head = [
        "engine", "trials", "undisturbed", "drift, %", "the machine itself", "disturbed", "drift, %", "wanted"
    ]  # fmt: skip
    rows = [row(title, told) for title, told in pairs.kept(TABLE).items()]
    told = next(iter(pairs.kept(TABLE).values()))
    return f"{pairs.table(head, rows)}\n\n{pairs.surroundings_line(told['surroundings'])}"


def row(title: str, told: Mapping[str, Any]) -> list[object]:
    """How many verdicts of either side were right, and the drifts from the lowest to the highest."""
    rounds = pairs.rounds_of(told)
    quiet, disturbed = (verdicts([each[name] for each in rounds], name) for name in RIGHT)
    return [
        title,
        len(rounds),
        *quiet,
        machine([each["undisturbed"] for each in rounds]),
        *disturbed,
        "9 of 10",
    ]


def verdicts(outcomes: Sequence[Outcome], name: str) -> list[str]:
    """How many are right, and the drifts."""
    drifts = sorted(float(outcome.told["drift"]) for outcome in outcomes)
    count = sum(is_right(name, outcome) for outcome in outcomes)
    return [f"{count} {RIGHT[name]}", f"{drifts[0]:.1f} to {drifts[-1]:.1f}"]


def machine(outcomes: Sequence[Outcome]) -> str:
    """In how many trials the arithmetic was stable, how many of these are right, and its drifts in all."""
    steady = [each for each in outcomes if each.told["machine"] == "stable"]
    drifts = sorted(float(each.told["machine_drift"]) for each in outcomes)
    right = sum(is_right("undisturbed", each) for each in steady)
    return f"stable in {len(steady)}, {right} of these right; {drifts[0]:.1f} to {drifts[-1]:.1f}%"


def is_right(name: str, outcome: Outcome) -> bool:
    """Whether the verdict is the side's."""
    return bool(outcome.told["verdict"] == RIGHT[name])


def line(number: int, name: str, outcome: Outcome) -> str:
    """One trial, for who watches."""
    told = outcome.told
    busy = "" if told["busy"] is None else f", others took {told['busy']:.0%}"
    moved = f"{told['machine'] or 'uneven'} {told['machine_drift']:+.1f}%"
    sign = "right" if is_right(name, outcome) else "WRONG"
    found = f"{number:2} {name:12} {told['verdict']:9} {told['drift']:+8.1f}%  {sign}"
    return f"{found}  (machine {moved}; {told['note']}{busy})"


# ---- the command ---------------------------------------------------------------------------------------


def options(asked: argparse.Namespace) -> RunOptions:
    """One run of the probe alone."""
    given: dict[str, str] = dict(each.split("=", 1) for each in asked.option)
    return RunOptions(
        backends=(asked.backend,),
        models=(asked.model,) if asked.model else (),
        tasks=("stability",),
        engine_options=given,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="llamacpp")
    parser.add_argument("--model", help="left out, it is the demo model")
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("-o", dest="option", action="append", default=[], help="of the engine or the probe")
    parser.add_argument("--as", dest="step", choices=["trial", "disturbed", "measure"], help="one step of it")
    asked = parser.parse_args(arguments)
    given = list(sys.argv[1:] if arguments is None else arguments)
    itself = (sys.executable, __file__, *given)
    if asked.step == "measure":
        print(json.dumps(measure(options(asked))))
    elif asked.step:
        # the last of two counts
        print(json.dumps(trial([*itself, "--as", "measure"], disturbed=asked.step == "disturbed")))
    else:
        sides = [
            Side("undisturbed", (*itself, "--as", "trial")),
            Side("disturbed", (*itself, "--as", "disturbed")),
        ]
        rounds = pairs.in_turn(sides, asked.trials)
        print(
            *(line(turn, name, each[name]) for turn, each in enumerate(rounds, 1) for name in RIGHT), sep="\n"
        )
        pairs.keep(TABLE, asked.backend, rounds, options=asked.option, model=asked.model or "demo")
        pairs.write_table(TABLE, page())


if __name__ == "__main__":
    main()
