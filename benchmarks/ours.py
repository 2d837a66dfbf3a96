"""slmeval's side of a comparison: one run with a fresh store, on any backend.

    python benchmarks/ours.py --backend hf --model FOLDER --task hellaswag --shots 5 --limit 60 -o threads=2

The last line tells ``seconds`` (from the plan, which makes the prompts and their tokens, to the last answer
in the store, less the model's opening), ``requests``, and of what these consist: ``planning``, ``asking``,
``opening``; ``distinct``, the tokens of the prefix tree of all that was asked (the last token of a
continuation is never read), ``depth``, their mean depth, ``fed``, all tokens if nothing were shared,
``judged``, the places after which a token is judged, ``trunk``, what all begin with, ``longest`` and
``mean``, tokens of a sequence, and ``written``, the tokens of all texts; ``asked``, hashes of the first
requests' texts.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from slmeval.hookspecs import hookimpl
from slmeval.models import find_model, parse_model
from slmeval.plan import Plan, ScoreAsk
from slmeval.planner import plan
from slmeval.registry import load
from slmeval.run import execute
from slmeval.store import Store
from slmeval.tasks import FreeText
from slmeval.testing import Silent
from slmeval.testing.answers import answers
from slmeval.types import Completion, Generate, RunOptions, RunResult, Score, TokenIds

DATA = Path(__file__).parents[2] / "shared" / "data"
#: requests of which a hash is told
TOLD = 8


class Clock(Silent):
    """Progress that notes when the model is open and when the last answer is kept."""

    def __init__(self) -> None:
        self.began = self.ended = 0.0
        self.requests = 0

    def begin(self, label: str, total: int, unit: str = "req") -> None:  # noqa: ARG002
        """The model is open."""
        self.requests = total
        self.began = time.perf_counter()

    def end(self) -> None:
        """All are."""
        self.ended = time.perf_counter()


class Capped(FreeText):
    """A task that writes fewer tokens, with the examples of the one it is made of."""

    shots_as = "gsm8k"


@dataclass(frozen=True)
class Brings:
    """A plugin that brings one task."""

    task: FreeText

    @hookimpl
    def slmeval_register_tasks(self) -> Iterable[FreeText]:
        """That one."""
        return (self.task,)


def capped(task: Any, most: int) -> FreeText:
    """``task``, which is gsm8k, with at most so many tokens a text; it is named ``gsm8k_capped``."""
    same = {field.name: getattr(task, field.name) for field in fields(task) if field.init}
    return Capped(**(same | {"name": "gsm8k_capped", "max_tokens": most}))


def measure(options: RunOptions, max_tokens: int | None = None) -> dict[str, Any]:
    """One run, and what is told of it."""
    extra = None
    if max_tokens is not None:
        task = capped(load().parts.tasks["gsm8k"], max_tokens)
        extra = {"capped": Brings(task)}
        options = RunOptions(**(vars(options) | {"tasks": (task.name,)}))
    registry = load(options.blocked_plugins, extra)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "store.db") as store:
        for model in options.models:  # the weights' hash, which every later run finds in the store
            find_model(parse_model(model), store.file_hash)
        began = time.perf_counter()
        planned = plan(options, registry.parts, store.file_hash)
        made = time.perf_counter()
        result = execute(planned, registry, store, clock)
        if result.status != "done":
            raise SystemExit(f"not measured: {[failure.reason for failure in result.failures]}")
        told = {
            "planning": made - began,
            "opening": clock.began - made,
            "asking": clock.ended - clock.began,
            **counted(planned),
            "written": _written(store.path, result),
            "notes": [note for model in result.models for note in model.notes],
        }
    return {"seconds": told["planning"] + told["asking"], "requests": clock.requests, **told}


def _written(store: Path, result: RunResult) -> int:
    kept = (answers(store, result.id, cell) for cell in range(len(result.cells)))
    replies = (reply for cell in kept for many in cell.values() for reply in many)
    return sum(len(reply.ids) for reply in replies if isinstance(reply, Completion))


def counted(planned: Plan) -> dict[str, Any]:
    """Tokens of all that a plan asks, and hashes of its first texts."""
    asks = [ask for job in planned.jobs for cell in job.cells for item in cell.items for ask in item.asks]
    scored = [ask for ask in asks if isinstance(ask, ScoreAsk)]
    paths = [ask.context + ask.continuation[:-1] if isinstance(ask, ScoreAsk) else ask.prompt for ask in asks]
    nodes, depth = tree(paths)
    return {
        "distinct": nodes,
        "depth": depth,
        "fed": sum(map(len, paths)),
        "judged": len(
            {(ask.context, ask.continuation[:at]) for ask in scored for at in range(len(ask.continuation))}
        ),
        "longest": max(map(len, paths)),
        "mean": sum(map(len, paths)) / len(paths),
        "trunk": trunk(paths),
        "asked": list(_texts(planned)),
    }


def tree(paths: Iterable[TokenIds]) -> tuple[int, float]:
    """Of the prefix tree of ``paths``: its tokens (distinct beginnings), and their mean depth from 1 on."""
    before: TokenIds = ()
    nodes = depths = 0
    for path in sorted(set(paths)):
        held = _common(before, path)
        nodes += len(path) - held
        depths += sum(range(held + 1, len(path) + 1))
        before = path
    return nodes, depths / max(nodes, 1)


def trunk(paths: Sequence[TokenIds]) -> int:
    """How many tokens all begin with."""
    return _common(min(paths), max(paths))


def _common(left: TokenIds, right: TokenIds) -> int:
    limit = min(len(left), len(right))
    return next((place for place in range(limit) if left[place] != right[place]), limit)


def _texts(planned: Plan) -> Iterator[str]:
    items = [item for job in planned.jobs for cell in job.cells for item in cell.items]
    requests = [request for item in items[:TOLD] for request in item.sample.requests][:TOLD]
    for request in requests:
        if isinstance(request, Score):
            yield digest(request.context + request.continuation)
        elif isinstance(request, Generate):
            yield digest(request.prompt)


def digest(text: str) -> str:
    """What tells whether two sides asked the same."""
    return sha256(text.encode()).hexdigest()[:12]


def _options(asked: argparse.Namespace) -> RunOptions:
    return RunOptions(
        backends=(asked.backend,),
        models=(str(asked.model),),
        tasks=(asked.task,),
        shots=(asked.shots,),
        limit=asked.limit,
        data=str(asked.data),
        dtype=asked.dtype,
        compat=asked.compat,
        executor=asked.executor,
        engine_options=_pairs(asked.option),
        pythons=_pairs(asked.python),
    )


def _pairs(given: Sequence[str]) -> Mapping[str, str]:
    return {name: value for name, _, value in (each.partition("=") for each in given)}


def command(**asked: Any) -> tuple[str, ...]:
    """The arguments of this script, after its name, for what is to be asked."""
    made: list[str] = []
    for name, value in asked.items():
        for each in value if isinstance(value, (list, tuple)) else (value,):
            if each is not None:
                made += [f"--{name.replace('_', '-')}", str(each)]
    return tuple(made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="hf")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--compat")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--executor", default="process")
    parser.add_argument("--max-tokens", type=int, help="of a text; for gsm8k")
    parser.add_argument("-o", "--option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--python", action="append", default=[], metavar="BACKEND=PYTHON")
    asked = parser.parse_args()
    # the worker inherits it
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    print(json.dumps(measure(_options(asked), asked.max_tokens)))


if __name__ == "__main__":
    main()
