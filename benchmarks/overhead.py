"""What slmeval itself costs in a run: everything but the engine's own work, as a share of the whole.

    python benchmarks/overhead.py

Runs the bundled sample on the reference engine, times the calls of its ``score`` and ``generate`` inside the
worker (in this process, so that one clock sees both), and prints the rest: planning, tokenizing, frames,
store, scoring.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slmeval.registry import load
from slmeval.testing import evaluate
from slmeval.types import RunOptions

ENGINE = {"seconds": 0.0}


def timed(method: Any) -> Any:
    """``method``, an iterator, with the seconds that it takes added up."""

    def wrapped(*arguments: Any) -> Iterator[Any]:
        replies = method(*arguments)
        while True:
            began = time.perf_counter()
            try:
                reply = next(replies)
            except StopIteration:
                return
            finally:
                ENGINE["seconds"] += time.perf_counter() - began
            yield reply

    return wrapped


def main() -> None:
    backend = load().parts.backends["reference"]
    options = RunOptions(backends=("reference",), tasks=("arc", "hellaswag", "piqa"), executor="local")
    for name in ("score", "generate"):
        setattr(backend, name, timed(getattr(backend, name)))
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        result = evaluate(options, Path(folder) / "store.db")
        whole = time.perf_counter() - began
    rest = whole - ENGINE["seconds"]
    print(
        f"{result.asked} requests in {whole:.2f} s: engine {ENGINE['seconds']:.2f} s, the rest {rest:.2f} s"
    )
    print(f"share of the rest: {rest / whole:.1%}, {rest / result.asked * 1e3:.2f} ms a request")


if __name__ == "__main__":
    main()
