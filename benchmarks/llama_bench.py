"""Prefill and decode against ``llama-bench``, the same GGUF file and threads: docs/performance.md.

    python benchmarks/llama_bench.py --folder FOLDER --build [--forms F16] [--pairs 60]
    python benchmarks/llama_bench.py --folder FOLDER --tool LLAMA_BENCH [--model FILE]
    python benchmarks/llama_bench.py --page                 # the table, from what is kept

With ``--build`` the tool is built in FOLDER from the source that the sdist of llama-cpp-python carries
(cmake, ninja, a compiler; six minutes on two cores). It is then run with the installed llama-cpp-python's own
libraries in place of those built beside it, so that both sides compute with the same machine code; the tool
must be of the same llama.cpp for that. ``--own-libraries`` runs it as it was built.

A test is a prompt of 512 tokens, or 128 decoded tokens: given ones (``tg128``), or such as ours chooses, set
against the same runs of the tool, which chooses nothing. Of each test the sides run one in turn: ours in a
process that stays, the tool anew, with a warm-up. The overhead is what a decoded token takes with llama.cpp's
work left out, as a share of what it takes with it.
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
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from llama_perplexity import built, gguf
from pairs import (
    Outcome,
    Round,
    Side,
    in_step,
    keep,
    kept,
    median,
    rounds_of,
    surroundings_line,
    table,
    trials,
    write_table,
)

from slmeval.medians import median_interval
from slmeval.types import ModelRef, Timing, Workload
from slmeval_llamacpp import LlamaCppBackend

TABLE = "llama-bench"
OURS, THEIRS = "slmeval", "llama-bench"
PROMPT, NEW = 512, 128
CHOSEN = f"tg{NEW}, tokens chosen"
#: prompt and new tokens of each test
TESTS = {f"pp{PROMPT}": (PROMPT, 0), f"tg{NEW}": (0, NEW), CHOSEN: (0, NEW)}


# ---- the tool's side -----------------------------------------------------------------------------------


def tool_side(asked: argparse.Namespace) -> dict[str, Any]:
    """One run of a test, warm: tokens a second.

    :raises SystemExit: the tool fails.
    """
    prompt, new = TESTS[asked.test]
    # as slmeval, which rearranges no weights: with AMX llama.cpp ends of some
    same = ("--repack", 0, "-t", asked.threads, "-r", 1, "-fa", asked.flash_attention)
    command = (asked.tool, "-m", asked.model, "-p", prompt, "-n", new, *same, "-o", "json")
    words = [*map(str, command)]
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=_environment(asked))
    if done.returncode:
        raise SystemExit(f"the tool ended with {done.returncode}: {done.stderr[-2000:]}")
    (test,) = json.loads(done.stdout)
    facts = ("build_commit", "n_batch", "n_ubatch", "n_threads", "type_k", "type_v", "flash_attn")
    return {
        "seconds": test["samples_ns"][0] / 1e9,
        "requests": 1,
        "rate": test["samples_ts"][0],
        "facts": {name: test[name] for name in facts},
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


def our_side(asked: argparse.Namespace) -> Callable[[], dict[str, Any]]:
    """A function that runs a test once more, warm: tokens a second, and the overhead of one.

    Garbage is not collected any more, as while the probes time.
    """
    defaults = {option.name: option.default for option in LlamaCppBackend.options}
    given = {"threads": asked.threads, "flash_attention": asked.flash_attention}
    backend = LlamaCppBackend(ModelRef(str(asked.model)), defaults | given)
    work = _work(asked.test, backend.model_info().vocabulary)
    idle = _idle(backend, work) if work.new_tokens else 0.0
    timings = backend.time(work)
    next(timings)
    notes = backend.notes()
    gc.collect()
    gc.disable()

    def run() -> dict[str, Any]:
        timing = next(timings)
        if not work.new_tokens:
            seconds = timing.prefill or 0.0
            return {"seconds": seconds, "requests": 1, "rate": PROMPT / seconds, "notes": notes}
        step = _step(timing)
        told = {"seconds": timing.tokens[-1], "requests": 1, "rate": 1 / step, "notes": notes}
        return told | {"overhead": idle / step}

    return run


def _work(test: str, words: int) -> Workload:
    """What is run, of random tokens; decoding begins with an empty cache, as the tool's does."""
    draw = random.Random(1)
    ids = tuple(draw.randrange(words) for _ in range(PROMPT + NEW))
    prompt, new = TESTS[test]
    if prompt:
        return Workload((ids[:PROMPT],))
    return Workload((ids[:1],), new, 0, () if test == CHOSEN else (ids[PROMPT:],))


def _step(timing: Timing) -> float:
    """Seconds between two tokens."""
    return (timing.tokens[-1] - timing.tokens[0]) / (len(timing.tokens) - 1)


def _idle(backend: LlamaCppBackend, work: Workload) -> float:
    """Seconds between two tokens of which nothing is computed: the median of twenty runs."""
    with _nothing_computed():
        timings = backend.time(work)
        steps = [_step(each) for each in islice(timings, 21)]
        timings.close()  # type: ignore[attr-defined]
    return statistics.median(steps[1:])


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
    """Every test, pair by pair, and keep what both told."""
    settings = {
        "threads": asked.threads,
        "flash attention": asked.flash_attention,
        "own libraries": asked.own_libraries,
    }
    for test in TESTS:
        rounds = in_step([_side(name, asked, model, test) for name in (OURS, THEIRS)], asked.pairs)
        middle, low, high = ratio(rounds)
        print(f"{form} {test}: {middle:.3f} ({low:.3f} to {high:.3f})", file=sys.stderr, flush=True)
        if not asked.scratch:
            keep(TABLE, f"{form} {test}", rounds, weights=form, test=test, **settings)


def _side(name: str, asked: argparse.Namespace, model: Path, test: str) -> Side:
    given = {"--side": name, "--model": model, "--tool": asked.tool, "--threads": asked.threads}
    given |= {"--test": test, "--flash-attention": asked.flash_attention}
    pairs = [text for pair in given.items() for text in map(str, pair)]
    own = ["--own-libraries"] if asked.own_libraries else []
    return Side(name, (sys.executable, __file__, *pairs, *own))


def ratio(rounds: Sequence[Round]) -> tuple[float, float, float]:
    """Our tokens a second over theirs within a pair: the median, with its 95% interval."""
    ratios = [_rate(one[OURS]) / _rate(one[THEIRS]) for one in rounds]
    return statistics.median(ratios), *median_interval(ratios)


def _rate(outcome: Outcome) -> float:
    return float(outcome.told["rate"])


def _overhead(outcome: Outcome) -> float:
    return float(outcome.told["overhead"])


# ---- the page ------------------------------------------------------------------------------------------


def page() -> str:
    """The table of what is kept.

    :raises SystemExit: nothing is.
    """
    known: Mapping[str, Any] = kept(TABLE)
    if not known:
        raise SystemExit("nothing is kept: measure first")
    head = ["weights", "test", "slmeval, tokens/s", "llama-bench", "ratio", "wanted", "overhead of a token"]
    rows = [_cells(row) for row in known.values()]
    told = next(iter(known.values()))
    settings = told["settings"]
    said = (
        f"Medians of {len(told['rounds'])} pairs, ratios with 95% intervals. "
        f"Threads: {settings['threads']}; flash attention: {settings['flash attention']}. "
    )
    return f"{table(head, rows)}\n\n{said}{surroundings_line(told['surroundings'])}"


def _cells(row: Mapping[str, Any]) -> list[object]:
    rounds, settings = rounds_of(row), row["settings"]
    middle, low, high = ratio(rounds)
    decoded = "overhead" in rounds[0][OURS].told
    return [
        settings["weights"],
        settings["test"],
        f"{median(rounds, OURS, _rate):.1f}",
        f"{median(rounds, THEIRS, _rate):.1f}",
        f"{middle:.3f} ({low:.3f} to {high:.3f})",
        "" if settings["test"] == CHOSEN else "0.97 to 1.03",
        f"{median(rounds, OURS, _overhead):.2%}" if decoded else "",
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
    parser.add_argument("--pairs", type=int, default=60, help="of each test")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--flash-attention", default="auto", choices=("auto", "on", "off"))
    parser.add_argument("--scratch", action="store_true", help="keep nothing, and write no page")
    parser.add_argument("--page", action="store_true", help="write docs/performance.md from what is kept")
    parser.add_argument("--side", choices=(OURS, THEIRS), help="be one side of a test")
    parser.add_argument("--test", choices=TESTS)
    asked = parser.parse_args()
    if asked.side:
        trials(our_side(asked) if asked.side == OURS else partial(tool_side, asked))
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
