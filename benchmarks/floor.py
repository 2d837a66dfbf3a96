"""What sharing beginnings can bring at most, by what benchmarks/lm_eval_hf.py kept: docs/performance.md.

    python benchmarks/floor.py

Multiply-adds of the matrix products alone: running each request whole takes all weights for each of its
tokens; running each distinct token once takes the head only after tokens that one is judged by. Attention and
all that is not a product is left out, on both sides.
"""

from __future__ import annotations

from typing import Any

from lm_eval_hf import OURS, THEIRS, WORK
from pairs import kept, median, rate, rounds_of, spread, table, write_table
from speed_model import DEFAULTS


def weights() -> tuple[int, int]:
    """Those of all layers, and those of the head."""
    width, size = DEFAULTS["width"], DEFAULTS["width"] // DEFAULTS["heads"]
    attention = width * size * (2 * DEFAULTS["heads"] + 2 * DEFAULTS["kv_heads"])
    layer = attention + 3 * width * DEFAULTS["feed"]
    return DEFAULTS["layers"] * layer, width * DEFAULTS["vocabulary"]


def bound(told: dict[str, Any]) -> float:
    """How many times fewer multiply-adds."""
    layers, head = weights()
    return float(told["fed"] * (layers + head) / (told["distinct"] * layers + told["judged"] * head))


def row(name: str, known: dict[str, Any]) -> list[object]:
    """One row of the table; lm-eval may have been asked fewer rows, and is then compared by its rate."""
    rounds = rounds_of(known[name])
    told = rounds[0][OURS].told
    milliseconds = 1e3 / median(rounds, OURS, rate)
    return [
        WORK[name].title,
        f"{told['fed']:,}",
        f"{told['distinct']:,}",
        f"{told['judged']:,}",
        f"{bound(told):.3g}",
        f"{spread(rounds, OURS, THEIRS, rate)}",
        f"{milliseconds:.3g}",
    ]


def main() -> None:
    known = kept("lm-eval-hf")
    rows = [row(name, known) for name, work in WORK.items() if name in known and work.max_tokens is None]
    head = [
        "work",
        "tokens of all requests",
        "distinct",
        "judged after",
        "fewer multiply-adds",
        "measured ratio",
        "ms a request",
    ]
    write_table("floor", table(head, rows))


if __name__ == "__main__":
    main()
