"""Seconds for each distinct token of a run, over what a plain prefill by the same engine takes: at best 1.

    python benchmarks/prefill.py --model FOLDER [--rows arc0 hellaswag5] [--rounds 3]    # docs/performance.md

Distinct tokens are the nodes of the prefix tree of all that a row of benchmarks/lm_eval_hf.py asks. A plain
prefill is transformers' own pass over a batch of random tokens without the head, at the best of several batch
sizes: of sequences as long as the row's are on average (``plain``), and of sequences whose tokens lie as deep
on average as the row's distinct tokens do (``deep``: twice that depth long; behind many examples that is much
deeper). ``head`` is the output matrix with its log-sum-exp on the scored positions, in chunks, for each
distinct token of the row; slmeval's seconds include it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pairs
from lm_eval_hf import OURS, WORK, Setting, our_side
from ours import DATA, command
from pairs import HERE, Outcome, Side

#: sizes that are tried, in tokens of a pass
TOKENS = (256, 512, 1024, 2048, 4096)
#: seconds that a size is repeated for, and the least repetitions
ENOUGH, LEAST = 1.0, 2
PREFILL = "prefill"


def table_of(dtype: str) -> str:
    """The table's name, and its marks' in the page."""
    return PREFILL if dtype == "float32" else f"{PREFILL}-{dtype}"


def best(passes: Mapping[int, Callable[[], Any]]) -> tuple[float, int]:
    """The fewest seconds a token, and at how many tokens a pass; each pass is warmed up once."""
    found = []
    for tokens, run in passes.items():
        run()
        taken: list[float] = []
        while len(taken) < LEAST or sum(taken) < ENOUGH:
            began = time.perf_counter()
            run()
            taken.append(time.perf_counter() - began)
        found.append((min(taken) / tokens, tokens))
    return min(found)


class Engine:
    """A model that transformers opens, for passes over random tokens."""

    def __init__(self, model: Path, dtype: str, threads: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(threads)
        self._torch = torch
        self._model = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype)).eval()
        self._trunk = self._model.get_decoder()
        self._head = self._model.get_output_embeddings()

    def _ids(self, rows: int, length: int) -> Any:
        return self._torch.randint(0, self._model.config.vocab_size, (rows, length))

    def plain(self, length: int) -> tuple[float, int]:
        """Seconds a token of sequences of ``length`` tokens, and tokens of the best pass."""
        return best({rows * length: self._whole(self._ids(rows, length)) for rows in self._rows(length)})

    def head(self, positions: int = 256) -> float:
        """Seconds a position."""
        torch = self._torch
        hidden = torch.randn(positions, self._model.config.hidden_size, dtype=self._model.dtype)

        @torch.inference_mode()
        def run() -> None:
            self._head(hidden).float().logsumexp(-1)

        return best({positions: run})[0]

    def _whole(self, ids: Any) -> Callable[[], None]:
        @self._torch.inference_mode()
        def run() -> None:
            self._trunk(input_ids=ids, use_cache=False)

        return run

    def _rows(self, length: int) -> list[int]:
        return sorted({max(1, round(tokens / length)) for tokens in TOKENS})


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """Seconds a token of prefill, in this process."""
    began = time.perf_counter()
    engine = Engine(asked.model, asked.dtype, asked.threads)
    plain, at = engine.plain(asked.length)
    deep, deep_at = engine.plain(2 * asked.depth)
    told = {"plain": plain, "plain_at": at, "deep": deep, "deep_at": deep_at, "head": engine.head()}
    return {"seconds": time.perf_counter() - began, "requests": 1, **told}


def engine_side(ours: Outcome, setting: Setting) -> Side:
    """Prefill at the length and the depth of what slmeval was just asked."""
    asked = command(
        model=setting.model,
        dtype=setting.dtype,
        threads=setting.threads,
        length=round(ours.told["mean"]),
        depth=round(ours.told["depth"]),
    )
    return Side(PREFILL, (sys.executable, str(HERE / "prefill.py"), "--once", *asked), {})


def row(name: str, setting: Setting, rounds: int) -> list[pairs.Round]:
    """slmeval's run and the engine's prefill, in turn."""
    ours = our_side(WORK[name], setting)
    made: list[pairs.Round] = []
    for number in range(rounds):
        first = pairs.once(ours)
        both = {OURS: first, PREFILL: pairs.once(engine_side(first, setting))}
        print(f"{name}, round {number + 1}: {_ratio(both, 'deep'):.2f}", file=sys.stderr, flush=True)
        made.append(both)
    return made


def per_token(ours: Outcome) -> float:
    """slmeval's seconds for a distinct token, all included."""
    return ours.seconds / float(ours.told["distinct"])


def _ratio(one: Mapping[str, Outcome], which: str) -> float:
    return per_token(one[OURS]) / float(one[PREFILL].told[which])


def page(name: str) -> str:
    """The table of what is kept."""
    known = pairs.kept(name)
    rows = [_row(WORK[each].title, pairs.rounds_of(known[each])) for each in WORK if each in known]
    head = [
        "work",
        "distinct tokens",
        "of",
        "slmeval",
        "plain",
        "behind",
        "head",
        "over plain",
        "over behind",
    ]
    told = next(iter(known.values()))
    settings = told["settings"]
    last = f"{settings['dtype']}, {settings['threads']} threads, {len(told['rounds'])} rounds."
    return "\n\n".join(
        [
            pairs.table(head, rows),
            "Microseconds for a distinct token; wanted: at most 1.2 over the prefill as deep. "
            f"{last} {pairs.surroundings_line(told['surroundings'])}",
        ]
    )


def _row(title: str, rounds: Sequence[pairs.Round]) -> list[object]:
    def micro(side: str, what: Callable[[Outcome], float]) -> str:
        return f"{1e6 * pairs.median(rounds, side, what):.0f}"

    first = rounds[0][OURS].told
    head = [one[PREFILL].told["head"] * first["judged"] / first["distinct"] for one in rounds]
    return [
        title,
        f"{first['distinct']:,}",
        f"{first['fed']:,}",
        f"{first['depth']:.0f}",
        micro(OURS, per_token),
        micro(PREFILL, lambda one: float(one.told["plain"])),
        micro(PREFILL, lambda one: float(one.told["deep"])),
        f"{1e6 * sorted(head)[len(head) // 2]:.0f}",
        _middle([_ratio(one, "plain") for one in rounds]),
        _middle([_ratio(one, "deep") for one in rounds]),
    ]


def _middle(ratios: Sequence[float]) -> str:
    return f"{sorted(ratios)[len(ratios) // 2]:.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    scoring = [name for name, work in WORK.items() if work.max_tokens is None]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--rows", nargs="+", choices=scoring, default=scoring)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--once", action="store_true", help="the engine's side alone, as JSON")
    parser.add_argument("--length", type=int, help="tokens of a sequence")
    parser.add_argument("--depth", type=int, help="tokens before a distinct token, on average")
    asked = parser.parse_args(arguments)
    if asked.once:
        print(json.dumps(measure(asked)))
        return
    setting = Setting(asked.model, asked.data, asked.dtype, asked.threads)
    name = table_of(asked.dtype)
    for each in asked.rows:
        rounds = row(each, setting, asked.rounds)
        pairs.keep(name, each, rounds, dtype=asked.dtype, threads=asked.threads)
    pairs.write_table(name, page(name))


if __name__ == "__main__":
    main()
