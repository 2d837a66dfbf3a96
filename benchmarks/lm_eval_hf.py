"""Requests a second and peak memory against lm-evaluation-harness's hf backend: docs/performance.md.

    python benchmarks/lm_eval_hf.py --model FOLDER [--rows arc0 hellaswag5] [--rounds 5] [--dtype float32]
    python benchmarks/lm_eval_hf.py --model FOLDER --search      # lm-eval's batch size for each row
    python benchmarks/lm_eval_hf.py --page                       # the table, from what is kept

Both sides are asked the same texts, with the same examples in the same order, by the same number of threads.
What lm-eval takes for a request does not depend on how many there are, so it is given fewer rows where it
would take minutes; slmeval is given enough that the block of examples is a small part of what it computes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ours import DATA, command
from pairs import (
    HERE,
    Outcome,
    Side,
    in_turn,
    keep,
    kept,
    median,
    once,
    peak,
    rate,
    rounds_of,
    spread,
    surroundings_line,
    table,
    write_table,
)

OURS, THEIRS = "slmeval", "lm-eval"


@dataclass(frozen=True)
class Work:
    """One row of the table.

    ``ours`` and ``theirs`` are rows asked on each side, ``batches`` the sizes that are tried for lm-eval:
    logits of batch x length x vocabulary must fit the memory, twice.
    """

    title: str
    task: str
    shots: int
    ours: int
    theirs: int
    batches: tuple[int, ...]
    wanted: float
    compat: str | None = None
    max_tokens: int | None = None

    @property
    def few_shot_scoring(self) -> bool:
        """Whether it is one of the rows whose memory is compared."""
        return self.shots > 0 and self.max_tokens is None


WORK: Mapping[str, Work] = {
    "arc0": Work("ARC-Challenge, 0 shots", "arc_challenge", 0, 100, 100, (1, 8, 16, 32, 64), 3.3),
    "hellaswag0": Work("HellaSwag, 0 shots", "hellaswag", 0, 80, 80, (1, 8, 16, 32, 64), 2.6),
    "hellaswag5": Work("HellaSwag, 5 fixed shots", "hellaswag", 5, 150, 8, (1, 4, 8, 16, 32), 22),
    "arc25": Work("ARC-Challenge, 25 fixed shots", "arc_challenge", 25, 200, 4, (1, 2, 4, 8, 16), 70),
    "mmlu5": Work(
        "MMLU high_school_geography, 5 shots",
        "mmlu_high_school_geography",
        5,
        198,
        32,
        (1, 4, 8, 16, 32),
        8,
    ),
    "arc5": Work(
        "`--compat lm-eval`, ARC-Challenge, 5 shots drawn per document",
        "arc_challenge",
        5,
        40,
        16,
        (1, 4, 8, 16, 32),
        3.5,
        compat="lm-eval",
    ),
    "gsm8k8": Work("GSM8K, 8 shots, 64 tokens out", "gsm8k", 8, 64, 32, (4, 8, 16, 32), 3, max_tokens=64),
}


@dataclass(frozen=True)
class Setting:
    """What all rows have in common."""

    model: Path
    data: Path
    dtype: str
    threads: int

    @property
    def table(self) -> str:
        """The table's name, and its marks' in the page."""
        return "lm-eval-hf" if self.dtype == "float32" else f"lm-eval-hf-{self.dtype}"


def our_side(work: Work, setting: Setting, rows: int | None = None) -> Side:
    """slmeval on its hf backend."""
    asked = command(
        model=setting.model,
        task=work.task,
        shots=work.shots,
        limit=rows or work.ours,
        compat=work.compat,
        max_tokens=work.max_tokens,
        dtype=setting.dtype,
        data=setting.data,
        option=[f"threads={setting.threads}"],
    )
    return Side(OURS, (sys.executable, str(HERE / "ours.py"), *asked), _threads(setting))


def their_side(work: Work, setting: Setting, batch: int, rows: int | None = None) -> Side:
    """lm-eval on its hf backend, at one batch size."""
    asked = command(
        model=setting.model,
        task=work.task,
        shots=work.shots,
        limit=rows or work.theirs,
        max_tokens=work.max_tokens,
        dtype=setting.dtype,
        data=setting.data,
        threads=setting.threads,
        batch=batch,
    )
    fixed = () if work.compat else ("--fixed",)
    return Side(THEIRS, (sys.executable, str(HERE / "lm_eval_side.py"), *asked, *fixed), _threads(setting))


def _threads(setting: Setting) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(setting.threads), "HF_HUB_OFFLINE": "1"}


def best_batch(
    name: str, setting: Setting, *, again: bool = False, batches: Sequence[int] | None = None
) -> int:
    """lm-eval's quickest batch size for a row: found once among ``batches`` (the row's own), then kept."""
    known = kept(f"{setting.table}-batches")
    if again or not any(row.partition(" ")[0] == name for row in known):
        work = WORK[name]
        for batch in batches or work.batches:
            # a batch must be filled at least once
            rows = max(work.theirs // 2, batch if work.max_tokens else -(-batch // 4))
            tried = once(their_side(work, setting, batch, min(rows, work.theirs)))
            print(f"{name}, batch {batch}: {rate(tried):.3g}/s", file=sys.stderr, flush=True)
            keep(f"{setting.table}-batches", f"{name} {batch}", [{THEIRS: tried}])
    found = {
        int(row.partition(" ")[2]): rate(rounds_of(told)[0][THEIRS])
        for row, told in kept(f"{setting.table}-batches").items()
        if row.partition(" ")[0] == name
    }
    return max(found, key=lambda batch: found[batch])


def check_same(work: Work, one: Mapping[str, Outcome]) -> None:
    """:raises SystemExit: the sides were asked different texts."""
    ours, theirs = one[OURS].told["asked"], one[THEIRS].told["asked"]
    if work.compat is None and ours != theirs:
        raise SystemExit(f"{work.title}: the sides were asked different texts")


def measure(name: str, setting: Setting, rounds: int) -> None:
    """One row, and keep it."""
    batch = best_batch(name, setting)
    work = WORK[name]
    done = in_turn([our_side(work, setting), their_side(work, setting, batch)], rounds)
    for one in done:
        check_same(work, one)
    keep(setting.table, name, done, batch=batch, threads=setting.threads, dtype=setting.dtype)


# ---- the page ----------------------------------------------------------------------------------------


def page(name: str) -> str:
    """The table of all that is kept under ``name``, in the order of WORK, and what it was made with."""
    known = kept(name)
    rows = [_row(WORK[row], known[row]) for row in WORK if row in known]
    if not rows:
        raise SystemExit(f"nothing is kept of {name}: measure first")
    head = [
        "work",
        "rows",
        "slmeval /s",
        "lm-eval /s",
        "batch",
        "ratio",
        "wanted",
        "peak memory, GB",
        "ratio",
    ]
    told = next(iter(known.values()))
    counts = sorted({len(known[row]["rounds"]) for row in WORK if row in known})
    return "\n\n".join(
        [
            table(head, rows),
            f"{told['settings']['dtype']}, {told['settings']['threads']} threads on both sides, "
            f"rounds: {' or '.join(map(str, counts))}. {surroundings_line(told['surroundings'])}",
        ]
    )


def _row(work: Work, told: Mapping[str, Any]) -> list[object]:
    rounds = rounds_of(told)
    ours, theirs = median(rounds, OURS, peak), median(rounds, THEIRS, peak)
    memory = str(spread(rounds, OURS, THEIRS, peak)) if work.few_shot_scoring else ""
    return [
        work.title,
        f"{work.ours} and {work.theirs}",
        f"{median(rounds, OURS, rate):.3g}",
        f"{median(rounds, THEIRS, rate):.3g}",
        told["settings"]["batch"],
        spread(rounds, OURS, THEIRS, rate),
        f"{work.wanted:g}",
        f"{ours:.2f} and {theirs:.2f}",
        memory,
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a folder; benchmarks/speed_model.py makes one")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--rows", nargs="+", choices=WORK, default=list(WORK))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--search", action="store_true", help="find lm-eval's batch sizes, and end")
    parser.add_argument("--batches", nargs="+", type=int, help="with --search: these, beside those known")
    parser.add_argument("--page", action="store_true", help="write docs/performance.md from what is kept")
    asked = parser.parse_args(arguments)
    setting = Setting(asked.model, asked.data, asked.dtype, asked.threads)
    if not asked.page and asked.model is None:
        raise SystemExit("--model FOLDER: python benchmarks/speed_model.py FOLDER makes one")
    for name in () if asked.page else asked.rows:
        if asked.search:
            print(name, best_batch(name, setting, again=True, batches=asked.batches))
        else:
            measure(name, setting, asked.rounds)
    if not asked.search:
        text = page(setting.table)
        print(text)
        write_table(setting.table, text)


if __name__ == "__main__":
    main()
