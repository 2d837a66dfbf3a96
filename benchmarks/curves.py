"""How the cost of a request grows with requests, shots, choices, context and vocabulary, on both sides.

    python benchmarks/curves.py --model FOLDER --work FOLDER [--curves requests shots] [--rounds 1]

Each point is a pair of runs as in benchmarks/lm_eval_hf.py, over rows made from those of ARC-Challenge:
questions with more choices take those of other rows, longer ones begin with the questions of other rows.
``--work`` is where models of other vocabularies are made (0.5 to 0.8 GB each) and rows are written. lm-eval's
batch is 8, or what fits 4,096 tokens. Writes docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pairs
import speed_model
from lm_eval_hf import OURS, THEIRS, WORK, Setting, Work, our_side, their_side
from ours import DATA

TABLE = "curves"
TASK = "arc_challenge"
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Point:
    """One pair of runs: ``name`` on a curve, what is asked, of which model, and over which rows."""

    name: str
    work: Work
    setting: Setting
    batch: int


def more_choices(rows: Rows, count: int) -> Rows:
    """Each question with ``count`` choices: its own, the right one first, then those of the rows after it."""
    made = []
    for place, row in enumerate(rows):
        right = row["choices"]["label"].index(row["answerKey"])
        texts = row["choices"]["text"]
        others = (
            text for step in range(len(rows)) for text in rows[(place + step) % len(rows)]["choices"]["text"]
        )
        chosen = list(dict.fromkeys([texts[right], *others]))[:count]
        labels = [str(number + 1) for number in range(count)]
        made.append({**row, "choices": {"text": chosen, "label": labels}, "answerKey": "1"})
    return made


def longer(rows: Rows, questions: int) -> Rows:
    """Each question behind those of ``questions`` rows after it."""
    made = []
    for place, row in enumerate(rows):
        before = [rows[(place + step + 1) % len(rows)]["question"] for step in range(questions)]
        made.append({**row, "question": " ".join([*before, row["question"]])})
    return made


def written(folder: Path, data: Path, rows: Rows) -> Path:
    """A folder of data whose only task has ``rows``, and the examples of ``data``."""
    place = folder / TASK
    place.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (place / "test.jsonl").write_text(text, encoding="utf-8")
    (place / "train.jsonl").write_bytes((data / TASK / "train.jsonl").read_bytes())
    return folder


def read(data: Path) -> Rows:
    """The rows of the task."""
    text = (data / TASK / "test.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def requests_curve(setting: Setting, work: Path) -> Iterator[Point]:  # noqa: ARG001
    """Rows of 0 shots: what a run costs beside its requests is seen at few."""
    for rows in (10, 40, 160):
        asked = replace(WORK["arc0"], ours=rows, theirs=min(rows, 40))
        yield Point(f"{rows} rows", asked, setting, 8)


def shots_curve(setting: Setting, work: Path) -> Iterator[Point]:  # noqa: ARG001
    """Shots of the same rows."""
    for shots, theirs in ((0, 40), (1, 24), (5, 8), (25, 2)):
        asked = replace(WORK["arc0"], shots=shots, ours=100, theirs=theirs)
        yield Point(f"{shots} shots", asked, setting, 8)


def choices_curve(setting: Setting, work: Path) -> Iterator[Point]:
    """Choices of one question."""
    rows = read(setting.data)
    for count in (2, 4, 8, 16):
        data = written(work / f"choices-{count}", setting.data, more_choices(rows, count))
        asked = replace(WORK["arc0"], ours=160 // count, theirs=160 // count)
        yield Point(f"{count} choices", asked, replace(setting, data=data), 8)


def context_curve(setting: Setting, work: Path) -> Iterator[Point]:
    """Length of the question, which no other row shares."""
    rows = read(setting.data)
    for questions, asked_rows in ((0, 40), (4, 24), (16, 12), (64, 4)):
        data = written(work / f"context-{questions}", setting.data, longer(rows, questions))
        asked = replace(WORK["arc0"], ours=asked_rows, theirs=asked_rows)
        batch = 8 if questions < 16 else 4 if questions < 64 else 2
        yield Point(f"{questions + 1} questions long", asked, replace(setting, data=data), batch)


def vocabulary_curve(setting: Setting, work: Path) -> Iterator[Point]:
    """Size of the vocabulary, of which the tokenizer uses 49,152."""
    for size in (49_152, 98_304, 196_608):
        model = speed_model.make(work / f"vocabulary-{size}", vocabulary=size)
        asked = replace(WORK["arc0"], ours=60, theirs=30)
        yield Point(f"{size:,} tokens", asked, replace(setting, model=model), 8)


CURVES = {
    "requests": requests_curve,
    "shots": shots_curve,
    "choices": choices_curve,
    "context": context_curve,
    "vocabulary": vocabulary_curve,
}


def measure(curve: str, point: Point, rounds: int) -> None:
    """One point, and keep it."""
    sides = [our_side(point.work, point.setting), their_side(point.work, point.setting, point.batch)]
    done = pairs.in_turn(sides, rounds)
    pairs.keep(TABLE, f"{curve}: {point.name}", done, batch=point.batch, threads=point.setting.threads)


def page() -> str:
    """The table of what is kept, by curve."""
    known = pairs.kept(TABLE)
    rows = [_row(name, told) for curve in CURVES for name, told in known.items() if name.startswith(curve)]
    head = ["point", "slmeval, ms", "lm-eval, ms", "ratio", "distinct of all tokens", "peak memory, GB"]
    told = next(iter(known.values()))
    last = f"{len(told['rounds'])} rounds, {told['settings']['threads']} threads, float32."
    return f"{pairs.table(head, rows)}\n\nMilliseconds a request. {last}"


def _row(name: str, told: Mapping[str, Any]) -> list[object]:
    rounds = pairs.rounds_of(told)
    ours = rounds[0][OURS].told
    peaks = [pairs.median(rounds, side, pairs.peak) for side in (OURS, THEIRS)]
    return [
        name,
        *(f"{1e3 / pairs.median(rounds, side, pairs.rate):.1f}" for side in (OURS, THEIRS)),
        f"{pairs.spread(rounds, OURS, THEIRS, pairs.rate).middle:.3g}",
        f"{ours['distinct']:,} of {ours['fed']:,}",
        f"{peaks[0]:.2f} and {peaks[1]:.2f}",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--curves", nargs="+", choices=CURVES, default=list(CURVES))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    asked = parser.parse_args(arguments)
    setting = Setting(asked.model, asked.data, "float32", asked.threads)
    for curve in asked.curves:
        for point in CURVES[curve](setting, asked.work):
            measure(curve, point, asked.rounds)
    pairs.write_table(TABLE, page())


if __name__ == "__main__":
    main()
