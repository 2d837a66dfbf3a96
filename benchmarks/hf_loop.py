"""The hf backend's times of a prefill and a decode against a hand-written loop: docs/performance.md.

    python benchmarks/hf_loop.py --model FOLDER [--dtypes float32,bfloat16] [--device cuda] [--pairs 100]

The model is made by benchmarks/speed_model.py unless it lies in FOLDER. Each side is a process that opens it,
and runs the same prompt once to warm up; then the sides run it in turn: a prefill to its first token, and a
decode, whose time per token is (last - first) / (tokens - 1). Ours is what the backend's ``time`` says; the
other is written below as someone would who knows transformers. What our loop itself costs for each token is
measured around passes that cost nothing.
"""

from __future__ import annotations

import argparse
import gc
import inspect
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pairs
import speed_model
from pairs import Outcome, Round, Side

from slmeval.medians import median_interval

TABLE = "hf-loop"
OURS, THEIRS = "slmeval", "by hand"
#: a run: seconds to the first token, and for each one after it
Times = tuple[float, float]


# ---- both sides --------------------------------------------------------------------------------------


def ours(asked: argparse.Namespace, ids: tuple[int, ...]) -> Iterator[Times]:
    """By the backend, as a probe asks it."""
    from slmeval.types import ModelRef, Workload
    from slmeval_hf import HFBackend

    options = {option.name: option.default for option in HFBackend.options}
    given = {"dtype": asked.dtype, "threads": asked.threads, "device": asked.device}
    backend = HFBackend(ModelRef(str(asked.model)), {**options, **given})
    for timing in backend.time(Workload((ids,), asked.new)):
        first, last = timing.tokens[0], timing.tokens[-1]
        yield first, (last - first) / (asked.new - 1)


def by_hand(asked: argparse.Namespace, ids: tuple[int, ...]) -> Iterator[Times]:
    """By transformers alone."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(asked.threads)
    model = AutoModelForCausalLM.from_pretrained(asked.model, dtype=asked.dtype).to(asked.device).eval()
    prompt = torch.tensor([ids], device=asked.device)
    while True:
        if asked.device != "cpu":
            torch.cuda.synchronize()
        with torch.inference_mode():
            times = _loop(model, prompt, asked.new)
        yield times


def _loop(model: Any, prompt: Any, new: int) -> Times:
    # transformers 5.24 renamed it
    cache = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
    began = time.perf_counter()
    out = model(prompt, use_cache=True, logits_to_keep=1)
    token = out.logits[:, -1].argmax(-1, keepdim=True)
    written = [token.item()]
    first = time.perf_counter()
    for _ in range(new - 1):
        out = model(token, **{cache: out[cache]}, use_cache=True, logits_to_keep=1)
        token = out.logits[:, -1].argmax(-1, keepdim=True)
        written.append(token.item())
    return first - began, (time.perf_counter() - first) / (new - 1)


SIDES: dict[str, Callable[[argparse.Namespace, tuple[int, ...]], Iterator[Times]]] = {
    OURS: ours,
    THEIRS: by_hand,
}


def measure(asked: argparse.Namespace) -> Callable[[], dict[str, Any]]:
    """One side, warm: a function that runs once more, and tells the tokens a second.

    Ours tells also what its loop costs, as a share of a token. Garbage is not collected any more.
    """
    config = json.loads((asked.model / "config.json").read_text(encoding="utf-8"))
    draw = Random(7)
    ids = tuple(draw.randrange(config["vocab_size"]) for _ in range(asked.prompt))
    runs = SIDES[asked.once](asked, ids)
    cost = loop_cost() if asked.once == OURS else None
    next(runs)
    gc.collect()
    gc.disable()

    def run() -> dict[str, Any]:
        first, each = next(runs)
        told = {
            "seconds": first + (asked.new - 1) * each,
            "requests": 1,
            "prefill": asked.prompt / first,
            "decode": 1 / each,
        }
        return told if cost is None else told | {"loop": cost / each}

    return run


def loop_cost(tokens: int = 500, rounds: int = 15) -> float:
    """Seconds that our loop spends on a token beside its pass and its choice: at passes that cost nothing.

    The choice, made among few logits so that it is short, is timed by itself and taken away. Of each the
    quickest of several counts, for whatever else runs on the machine only adds to it.
    """
    import torch

    from slmeval.types import Workload
    from slmeval_hf.timing import Sequences

    logits = torch.zeros(1, 16)

    class Passes:
        model = argparse.Namespace(device=torch.device("cpu"))

        def begin(self) -> None:
            return None

        def run(self, _ids: Any, _cache: None) -> tuple[Any, None]:
            return logits, None

    sequences: Any = Sequences(Passes(), Workload(((1,),), tokens))  # type: ignore[arg-type]
    loops, choices = [], []
    for _ in range(rounds):
        told = sequences.time().tokens
        began = time.perf_counter()
        for _ in range(tokens - 1):
            logits.argmax(-1, keepdim=True).tolist()
        choices.append(time.perf_counter() - began)
        loops.append(told[-1] - told[0])
    return (min(loops) - min(choices)) / (tokens - 1)


# ---- what comes of it ------------------------------------------------------------------------------------


def ratio(rounds: Sequence[Round], what: str) -> tuple[float, float, float]:
    """Our tokens a second over the other's within a round: the median, with its 95% interval."""
    ratios = [one[OURS].told[what] / one[THEIRS].told[what] for one in rounds]
    return statistics.median(ratios), *median_interval(ratios)


def page() -> str:
    """The table of what is kept."""
    known = pairs.kept(TABLE)
    head = ["dtype", "test", "slmeval, tokens/s", "by hand", "ratio", "wanted", "loop, of a token"]
    rows = [line for dtype, told in known.items() for line in _lines(dtype, told)]
    told = next(iter(known.values()))
    settings = ", ".join(f"{name} {value}" for name, value in told["settings"].items())
    said = f"Medians of {len(told['rounds'])} pairs ({settings}), ratios with 95% intervals. "
    return f"{pairs.table(head, rows)}\n\n{said}{pairs.surroundings_line(told['surroundings'])}"


def _lines(dtype: str, told: Mapping[str, Any]) -> Iterator[list[str]]:
    rounds = pairs.rounds_of(told)
    for what in ("prefill", "decode"):
        middle, low, high = ratio(rounds, what)
        rates = [f"{pairs.median(rounds, name, _told(what)):.1f}" for name in SIDES]
        loop = f"{pairs.median(rounds, OURS, _told('loop')):.4%}" if what == "decode" else ""
        yield [f"`{dtype}`", what, *rates, f"{middle:.3f} ({low:.3f} to {high:.3f})", "0.97 to 1.03", loop]


def _told(name: str) -> Callable[[Outcome], float]:
    return lambda outcome: float(outcome.told[name])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--dtypes", default="float32")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the prompt")
    parser.add_argument("--new", type=int, default=128, help="tokens decoded, the first included")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument(
        "--once", choices=SIDES, help="be one side: a run, as JSON, for each line that is read"
    )
    parser.add_argument("--dtype", default="float32", help="of --once")
    asked = parser.parse_args(arguments)
    if asked.once:
        pairs.trials(measure(asked))
        return
    speed_model.make(asked.model)
    settings = {name: getattr(asked, name) for name in ("device", "prompt", "new", "threads")}
    given = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    for dtype in asked.dtypes.split(","):
        command = (sys.executable, __file__, "--model", str(asked.model), *given, "--dtype", dtype)
        sides = [Side(name, (*command, "--once", name)) for name in SIDES]
        name = dtype if asked.device == "cpu" else f"{dtype} on {asked.device}"
        pairs.keep(TABLE, name, pairs.in_step(sides, asked.pairs), **settings)
    pairs.write_table(TABLE, page())


if __name__ == "__main__":
    main()
