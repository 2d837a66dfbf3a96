"""Prefill and decode against ``llama-bench``, the same GGUF file and threads: docs/performance.md.

    python benchmarks/llama_bench.py --folder FOLDER --build [--forms F16] [--rounds 10] [--repeats 3]
    python benchmarks/llama_bench.py --folder FOLDER --tool LLAMA_BENCH [--model FILE]
    python benchmarks/llama_bench.py --page                 # the table, from what is kept

With ``--build`` the tool is built in FOLDER from the source that the sdist of llama-cpp-python carries
(cmake, ninja, a compiler; six minutes on two cores). It is then run with the installed llama-cpp-python's own
libraries in place of those built beside it, so that both sides compute with the same machine code; the tool
must be of the same llama.cpp for that. ``--own-libraries`` runs it as it was built.

A round is one process of each side, in alternating order, each with a warm-up and then ``--repeats`` runs, of
which the median counts: of a prompt of 512 tokens, and of 128 decoded tokens that are given (``decode``).
Ours also decodes as many that it chooses (``chosen``), set against the same runs of the tool, which chooses
nothing. ``overhead`` is what a decoded token takes with llama.cpp's work left out, as a share of what it
takes with it.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from llama_perplexity import built, gguf
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

from slmeval.medians import median_interval
from slmeval.types import ModelRef, Timing, Workload
from slmeval_llamacpp import LlamaCppBackend

TABLE = "llama-bench"
OURS, THEIRS = "slmeval", "llama-bench"
PROMPT, NEW = 512, 128
#: ours of decoding
DECODED = ("decode", "chosen")
#: what is compared: the test, ours and theirs
COMPARED = {
    f"pp{PROMPT}": ("prefill", "prefill"),
    f"tg{NEW}": ("decode", "decode"),
    f"tg{NEW}, tokens chosen": ("chosen", "decode"),
}


# ---- the tool's side -----------------------------------------------------------------------------------


def tool_side(asked: argparse.Namespace) -> dict[str, Any]:
    """Tokens a second, each the median of its repeats.

    :raises SystemExit: the tool fails.
    """
    # as slmeval, which rearranges no weights: with AMX llama.cpp ends of some
    same = ("--repack", 0, "-t", asked.threads, "-r", asked.repeats, "-fa", asked.flash_attention)
    command = (asked.tool, "-m", asked.model, "-p", PROMPT, "-n", NEW, *same, "-o", "json")
    words = [*map(str, command)]
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=_environment(asked))
    if done.returncode:
        raise SystemExit(f"the tool ended with {done.returncode}: {done.stderr[-2000:]}")
    tests = {"prefill" if test["n_prompt"] else "decode": test for test in json.loads(done.stdout)}
    seconds = sum(sum(test["samples_ns"]) for test in tests.values()) / 1e9
    rates = {name: statistics.median(test["samples_ts"]) for name, test in tests.items()}
    facts = ("build_commit", "n_batch", "n_ubatch", "n_threads", "type_k", "type_v", "flash_attn")
    return {
        "seconds": seconds,
        "requests": asked.repeats * (PROMPT + NEW),
        **rates,
        "facts": {name: tests["prefill"][name] for name in facts},
    }


def _environment(asked: argparse.Namespace) -> dict[str, str]:
    """Its libraries are found first where llama-cpp-python has its own."""
    if asked.own_libraries:
        return dict(os.environ)
    package = find_spec("llama_cpp")
    if package is None or package.origin is None:
        raise SystemExit("llama-cpp-python is not installed")
    name = "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
    return {**os.environ, name: str(Path(package.origin).parent / "lib")}


# ---- our side ------------------------------------------------------------------------------------------


def our_side(asked: argparse.Namespace) -> dict[str, Any]:
    """Tokens a second, each the median of its repeats, and what of a token's time is not llama.cpp's."""
    defaults = {option.name: option.default for option in LlamaCppBackend.options}
    given = {"threads": asked.threads, "flash_attention": asked.flash_attention}
    backend = LlamaCppBackend(ModelRef(str(asked.model)), defaults | given)
    works = _works(backend.model_info().vocabulary)
    runs = {name: _runs(backend, work, asked.repeats) for name, work in works.items()}
    with _nothing_computed():
        idle = {name: _step(_runs(backend, works[name], 20)) for name in DECODED}
    notes = backend.notes()
    backend.close()
    steps = {name: _step(runs[name]) for name in DECODED}
    return {
        "seconds": sum((run.tokens or (run.prefill or 0.0,))[-1] for each in runs.values() for run in each),
        "requests": asked.repeats * (PROMPT + 2 * NEW),
        "prefill": PROMPT / statistics.median(run.prefill or 0.0 for run in runs["prefill"]),
        **{name: 1 / step for name, step in steps.items()},
        **{f"overhead of {name}": idle[name] / steps[name] for name in DECODED},
        "notes": notes,
    }


def _works(words: int) -> dict[str, Workload]:
    """What is run, of random tokens; decoding begins with an empty cache, as the tool's does."""
    draw = random.Random(1)
    ids = tuple(draw.randrange(words) for _ in range(PROMPT + NEW))
    return {
        "prefill": Workload((ids[:PROMPT],)),
        "decode": Workload((ids[:1],), NEW, 0, (ids[PROMPT:],)),
        "chosen": Workload((ids[:1],), NEW),
    }


def _runs(backend: LlamaCppBackend, work: Workload, count: int) -> list[Timing]:
    """As many runs, after one that is not counted."""
    timings = backend.time(work)
    # as the probes do it
    gc.disable()
    found = list(islice(timings, 1 + count))[1:]
    gc.enable()
    timings.close()  # type: ignore[attr-defined]
    return found


def _step(runs: Sequence[Timing]) -> float:
    """Seconds between two tokens."""
    return statistics.median((run.tokens[-1] - run.tokens[0]) / (len(run.tokens) - 1) for run in runs)


@contextmanager
def _nothing_computed() -> Iterator[None]:
    """llama.cpp is called as always, but for a number that it knows; the first batch alone is run."""
    from slmeval_llamacpp.native import library

    llama = library()
    decode = llama.llama_decode
    seen: list[int] = []

    def idle(context: Any, batch: Any) -> int:
        if not seen or batch.n_tokens > 1:
            seen.append(1)
            return int(decode(context, batch))
        return int(llama.llama_n_threads(context) * 0)

    llama.llama_decode = idle
    try:
        yield
    finally:
        llama.llama_decode = decode


# ---- the comparison ------------------------------------------------------------------------------------


def measure(asked: argparse.Namespace, form: str, model: Path) -> None:
    """Both sides in turn, and keep what they told."""
    rounds = in_turn([_side(name, asked, model) for name in (OURS, THEIRS)], asked.rounds)
    _say(rounds)
    settings = {"threads": asked.threads, "repeats": asked.repeats, "own libraries": asked.own_libraries}
    if not asked.scratch:
        keep(TABLE, form, rounds, flash_attention=asked.flash_attention, **settings)


def _side(name: str, asked: argparse.Namespace, model: Path) -> Side:
    given = {"--side": name, "--model": model, "--tool": asked.tool, "--threads": asked.threads}
    given |= {"--repeats": asked.repeats, "--flash-attention": asked.flash_attention}
    pairs = [text for pair in given.items() for text in map(str, pair)]
    own = ["--own-libraries"] if asked.own_libraries else []
    return Side(name, (sys.executable, __file__, *pairs, *own))


def ratio(rounds: Sequence[Round], ours: str, theirs: str) -> tuple[float, float, float]:
    """Our tokens a second over theirs within a round: the median, with its 95% interval."""
    ratios = [one[OURS].told[ours] / one[THEIRS].told[theirs] for one in rounds]
    return statistics.median(ratios), *median_interval(ratios)


def _told(name: str) -> Callable[[Outcome], float]:
    return lambda outcome: float(outcome.told[name])


def _say(rounds: Sequence[Round]) -> None:
    for test, (ours, theirs) in COMPARED.items():
        middle, low, high = ratio(rounds, ours, theirs)
        print(f"{test}: {middle:.3f} ({low:.3f} to {high:.3f})")
    for name in DECODED:
        print(f"overhead of a token, {name}: {100 * median(rounds, OURS, _told(f'overhead of {name}')):.2f}%")


# ---- the page ------------------------------------------------------------------------------------------


def page() -> str:
    """The table of what is kept.

    :raises SystemExit: nothing is.
    """
    known: Mapping[str, Any] = kept(TABLE)
    if not known:
        raise SystemExit("nothing is kept: measure first")
    head = ["weights", "test", "slmeval, tokens/s", "llama-bench", "ratio", "wanted", "overhead of a token"]
    rows = [line for form, row in known.items() for line in _lines(form, row)]
    told = next(iter(known.values()))
    settings = told["settings"]
    said = (
        f"Medians of {len(told['rounds'])} rounds of {settings['repeats']} runs, ratios with 95% intervals. "
        f"Threads: {settings['threads']}; flash attention: {settings['flash_attention']}. "
    )
    return f"{table(head, rows)}\n\n{said}{surroundings_line(told['surroundings'])}"


def _lines(form: str, row: Mapping[str, Any]) -> list[list[object]]:
    rounds = rounds_of(row)
    return [[form, test, *_cells(rounds, ours, theirs)] for test, (ours, theirs) in COMPARED.items()]


def _cells(rounds: Sequence[Round], ours: str, theirs: str) -> list[object]:
    middle, low, high = ratio(rounds, ours, theirs)
    share = "" if ours == "prefill" else f"{100 * median(rounds, OURS, _told(f'overhead of {ours}')):.2f}%"
    return [
        f"{median(rounds, OURS, _told(ours)):.1f}",
        f"{median(rounds, THEIRS, _told(theirs)):.1f}",
        f"{middle:.3f} ({low:.3f} to {high:.3f})",
        "" if ours == "chosen" else "0.97 to 1.03",
        share,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="where models and the tool are made")
    parser.add_argument("--tool", type=Path, help="a llama-bench that is there already")
    parser.add_argument("--build", action="store_true", help="build the tool in the folder")
    parser.add_argument(
        "--own-libraries", action="store_true", help="run the tool with those built beside it"
    )
    parser.add_argument("--forms", default="F16", help="of the 135M-shaped model, with commas between them")
    parser.add_argument("--model", type=Path, help="a GGUF file in place of that model")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--flash-attention", default="auto", choices=("auto", "on", "off"))
    parser.add_argument("--scratch", action="store_true", help="keep nothing, and write no page")
    parser.add_argument("--page", action="store_true", help="write docs/performance.md from what is kept")
    parser.add_argument("--side", choices=(OURS, THEIRS), help="be one side")
    asked = parser.parse_args()
    if asked.side:
        print(json.dumps(our_side(asked) if asked.side == OURS else tool_side(asked)))
        return
    if not asked.page:
        _measure_all(asked)
    if not asked.scratch:
        text = page()
        print(text)
        write_table(f"{TABLE}-table", text)


def _measure_all(asked: argparse.Namespace) -> None:
    """:raises SystemExit: there is no tool, or no folder to make models in."""
    if asked.build:
        asked.tool = built(asked.folder, "llama-bench")
    if asked.tool is None:
        raise SystemExit("which llama-bench? name one with --tool, or have it built with --build")
    if asked.model:
        measure(asked, asked.model.stem, asked.model)
        return
    for form in asked.forms.split(","):
        measure(asked, form, gguf(asked.folder, form))


if __name__ == "__main__":
    main()
