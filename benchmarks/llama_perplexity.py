"""HellaSwag against ``llama-perplexity --hellaswag``, the same GGUF file and threads: docs/performance.md.

    python benchmarks/llama_perplexity.py --folder FOLDER [--forms F32,F16] [--limit 100] [--rounds 3]
    python benchmarks/llama_perplexity.py --page                 # the table, from what is kept

Everything is made in FOLDER unless it is there: llama.cpp's source, which the sdist of llama-cpp-python
carries, the tool built from it (cmake, ninja, a compiler; ten minutes on two cores), a model to measure speed
with, its GGUF files, and the rows as the tool reads them. Both sides run the same texts, each
context once for its four endings; the tool scores by its own rule, so only times are compared.

The tool runs as it comes, one question at once, and with room for as many as it takes (``-np 128``). It
rearranges no weights (``--no-repack``), as slmeval does: with AMX it dies of quantized ones, and is slower
with F16.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ours import DATA, TOLD, command, digest
from pairs import (
    HERE,
    Outcome,
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

from slmeval.types import ModelRef, Sample, Score

TABLE = "llama-perplexity"
OURS, FLASH = "slmeval", "slmeval, flash attention"
THEIRS, ROOMY = "llama-perplexity", "llama-perplexity -np 128"
#: what each side is given beside model, rows and threads
SETTINGS = {OURS: (), FLASH: ("flash_attention=on",), THEIRS: (), ROOMY: ("-np", "128", "-c", "16")}
LIBRARY = "llama-cpp-python"
#: what the tool does not need
_OFF = ("EXAMPLES", "TESTS", "SERVER", "UI", "MTMD")
CHOICES = 4


# ---- the tool ------------------------------------------------------------------------------------------


def built(folder: Path, name: str = "llama-perplexity") -> Path:
    """A tool, built from the source of the installed llama-cpp-python's llama.cpp."""
    source, target = sources(folder), folder / "build"
    tool = target / "bin" / name
    if not tool.is_file():
        off = [f"-DLLAMA_BUILD_{part}=OFF" for part in _OFF]
        release = ("-DCMAKE_BUILD_TYPE=Release", "-DLLAMA_OPENSSL=OFF", *off)
        subprocess.run(("cmake", "-G", "Ninja", "-S", source, "-B", target, *release), check=True)
        subprocess.run(("ninja", "-C", target, name), check=True)
    return tool


def sources(folder: Path) -> Path:
    """llama.cpp's source as the sdist carries it."""
    name = f"{LIBRARY.replace('-', '_')}-{version(LIBRARY)}"
    archive, source = folder / f"{name}.tar.gz", folder / name / "vendor" / "llama.cpp"
    if not source.is_dir():
        pinned = f"{LIBRARY}=={version(LIBRARY)}"
        download = ("-m", "pip", "download", "--no-deps", "--no-binary", LIBRARY, "-d", folder, pinned)
        subprocess.run((sys.executable, *download), check=True)
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
    return source


def tool_side(tool: Path, model: Path, rows: Path, threads: int, more: Sequence[str]) -> dict[str, Any]:
    """One evaluation by the tool, and what is told of it.

    ``seconds``: from its reading of the rows, whose tokens it then makes, to its last line.
    """
    lines = rows.read_text(encoding="utf-8").splitlines()
    asked = ("--hellaswag", "--hellaswag-tasks", str(len(lines) // 6), "--no-repack", "-t", str(threads))
    process = subprocess.Popen(
        (tool, "-m", model, "-f", rows, *asked, *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    began = ended = 0.0
    last = ""
    for line in process.stdout or ():
        if "tasks from prompt" in line:
            began = time.perf_counter()
        if "\t[" in line:
            ended, last = time.perf_counter(), line
    if process.wait() or last.split("\t")[0] != str(len(lines) // 6):
        raise SystemExit(f"the tool ended with {process.returncode} after the line {last!r}")
    return {
        "seconds": ended - began,
        "requests": CHOICES * (len(lines) // 6),
        "asked": [digest(f"{lines[at - at % 6]} {lines[at]}") for at in range(len(lines)) if at % 6 > 1][
            :TOLD
        ],
    }


# ---- what both are given -------------------------------------------------------------------------------


def rows_file(folder: Path, data: Path, limit: int) -> Path:
    """The first rows as the tool reads them: six lines each, written as slmeval's task writes them.

    :raises SystemExit: a text has several lines.
    """
    from slmeval.registry import load

    task = load().parts.tasks["hellaswag"]
    with (data / "hellaswag" / "validation.jsonl").open(encoding="utf-8") as file:
        samples = [task.sample(json.loads(line), ()) for line, _ in zip(file, range(limit), strict=False)]
    lines = [line for sample in samples for line in _six(sample)]
    if any("\n" in line for line in lines):
        raise SystemExit("a text has several lines, which the tool cannot read")
    target = folder / f"hellaswag-{len(samples)}.txt"
    target.write_text("\n".join(lines), encoding="utf-8")
    return target


def _six(sample: Sample) -> tuple[str, ...]:
    first = sample.requests[0]
    if not isinstance(first, Score):
        raise SystemExit(f"a row of HellaSwag asks no score: {first}")
    return (first.context, str(sample.target), *sample.choices)


def gguf(folder: Path, form: str) -> Path:
    """The model as a GGUF file, which the source's own script writes."""
    from speed_model import make

    from slmeval_llamacpp.converter import SOURCE, LlamaCppConverter

    home = folder / form
    if not (home / f"model-{form}.gguf").is_file():
        os.environ[SOURCE] = str(sources(folder))
        home.mkdir(exist_ok=True)
        LlamaCppConverter().convert(ModelRef(str(make(folder / "model"))), form, str(home))
    return home / f"model-{form}.gguf"


# ---- the comparison ------------------------------------------------------------------------------------


def measure(asked: argparse.Namespace, form: str) -> None:
    """All sides in turn, and keep what they told.

    :raises SystemExit: they were asked different texts.
    """
    tool, rows = asked.tool or built(asked.folder), rows_file(asked.folder, asked.data, asked.limit)
    model = gguf(asked.folder, form)
    done = in_turn([_side(name, asked, tool, model, rows) for name in asked.sides.split("|")], asked.rounds)
    for one in done:
        texts = {name: outcome.told["asked"] for name, outcome in one.items()}
        if any(found != texts[OURS] for found in texts.values()):
            raise SystemExit(f"the sides were asked different texts: {texts}")
    kept_rounds = [{name: _placeless(outcome) for name, outcome in one.items()} for one in done]
    keep(TABLE, form, kept_rounds, rows=asked.limit, threads=asked.threads)


def _placeless(outcome: Outcome) -> Outcome:
    """The same without the notes on where the model was made from, which is a place on this machine."""
    notes = [note for note in outcome.told.get("notes", ()) if not note.startswith("made by")]
    return replace(outcome, told={**outcome.told, "notes": notes})


def _side(name: str, asked: argparse.Namespace, tool: Path, model: Path, rows: Path) -> Side:
    more, threads = SETTINGS[name], asked.threads
    if name in (THEIRS, ROOMY):
        own = ("--side", "--tool", tool, "--model", model, "--rows", rows, "--threads", threads)
        return Side(name, (sys.executable, __file__, *map(str, own), "--", *more))
    options = [f"threads={threads}", *more]
    same = {"model": model, "limit": asked.limit, "data": asked.data, "option": options}
    given = command(backend="llamacpp", dtype="auto", task="hellaswag", shots=0, **same)
    return Side(name, (sys.executable, str(HERE / "ours.py"), *given))


# ---- the page ------------------------------------------------------------------------------------------


def page() -> str:
    """The table of what is kept.

    :raises SystemExit: nothing is.
    """
    known: Mapping[str, Any] = kept(TABLE)
    if not known:
        raise SystemExit("nothing is kept: measure first")
    head = ["weights", "side", "rows", "rows a second", "slmeval over it", "wanted", "peak memory, GB"]
    rows = [line for form, row in known.items() for line in _lines(form, row)]
    told = next(iter(known.values()))
    rounds = len(told["rounds"])
    setting = f"Threads: {told['settings']['threads']}; rounds: {rounds}."
    lines = (table(head, rows), f"{setting} {surroundings_line(told['surroundings'])}")
    return "\n\n".join(lines)


def _lines(form: str, row: Mapping[str, Any]) -> list[list[object]]:
    rounds = rounds_of(row)
    return [
        [
            form,
            name,
            row["settings"]["rows"],
            f"{median(rounds, name, rate) / CHOICES:.3g}",
            "" if name == OURS else spread(rounds, OURS, name, rate),
            "1" if name in (THEIRS, ROOMY) else "",
            f"{median(rounds, name, peak):.2f}",
        ]
        for name in rounds[0]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where everything is made")
    parser.add_argument("--tool", type=Path, help="a llama-perplexity that is there already")
    parser.add_argument("--forms", default="F32,F16,Q8_0,Q4_K_M")
    parser.add_argument("--sides", default="|".join(SETTINGS), help="names, with | between them")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--limit", type=int, default=100, help="rows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--page", action="store_true", help="write docs/performance.md from what is kept")
    parser.add_argument("--side", action="store_true", help="be the tool's side")
    parser.add_argument("--model", type=Path, help="of the tool's side: a GGUF file")
    parser.add_argument("--rows", type=Path, help="of the tool's side: what rows_file wrote")
    parser.add_argument("more", nargs="*", help="of the tool's side: what it is given beside")
    asked = parser.parse_args()
    if asked.side:
        print(json.dumps(tool_side(asked.tool, asked.model, asked.rows, asked.threads, asked.more)))
        return
    if not asked.page:
        asked.folder.mkdir(parents=True, exist_ok=True)
        for form in asked.forms.split(","):
            measure(asked, form)
    text = page()
    print(text)
    write_table(f"{TABLE}-table", text)


if __name__ == "__main__":
    main()
