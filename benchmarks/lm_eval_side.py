"""lm-evaluation-harness's side of a comparison: its own task and its own ``HFLM`` over rows of this machine.

    python benchmarks/lm_eval_side.py --model FOLDER --task hellaswag --shots 5 --fixed --limit 8 --batch 8

With ``--fixed`` it shows the very examples that slmeval shows, through its ``first_n`` sampler; else it draws
them for each question. ``seconds`` is what building the requests and answering them took (``building``,
``asking``), the model's opening apart. ``asked`` are hashes of the first requests' texts.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lm_eval.api.samplers import FirstNSampler
from lm_eval.models.huggingface import HFLM
from ours import DATA, TOLD, digest

from slmeval.shots import fixed_shots

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from lm_eval_tasks import LocalTask, lm_eval_task, quiet, requests

#: slmeval's seed for examples, where none is given
SEED = 1234


def show_ours(task: LocalTask, name: str) -> None:
    """Let ``task`` show its first examples, in the order in which slmeval shows them.

    MMLU's stay as they are: both show the first.
    """
    if name.startswith("mmlu_"):
        return
    pool = list(task.fewshot_docs())
    places = [{"place": place} for place in range(len(pool))]
    (order,) = fixed_shots(places, [{}], len(pool), SEED, name)
    task.sampler = FirstNSampler([pool[row["place"]] for row in order])


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """One evaluation, and what is told of it."""
    began = time.perf_counter()
    with quiet():
        engine = HFLM(
            pretrained=str(asked.model), dtype=asked.dtype, device=asked.device, batch_size=asked.batch
        )
        task = lm_eval_task(asked.task, asked.data, asked.shots)
    if asked.fixed and asked.shots:
        show_ours(task, asked.task)
    if asked.max_tokens is not None:
        task.set_config("generation_kwargs", {"max_gen_toks": asked.max_tokens}, update=True)
    opened = time.perf_counter()
    instances = [each for row in requests(task, asked.limit) for each in row]
    built = time.perf_counter()
    with quiet():
        if instances[0].request_type == "generate_until":
            engine.generate_until(instances)
        else:
            engine.loglikelihood(instances)
    ended = time.perf_counter()
    return {
        "seconds": ended - opened,
        "requests": len(instances),
        "opening": opened - began,
        "building": built - opened,
        "asking": ended - built,
        "asked": [digest("".join(part for part in each.args if isinstance(part, str))) for each in instances][
            :TOLD
        ],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument("--fixed", action="store_true")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--max-tokens", type=int)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    print(json.dumps(measure(asked)))


if __name__ == "__main__":
    main()
