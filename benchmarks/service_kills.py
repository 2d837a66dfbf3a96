"""Whether runs end, and as undisturbed ones do, when a server or a device is killed in their midst.

    python benchmarks/service_kills.py [--who server] [--who worker] [--kills 20] [--write]

For each kill two runs are submitted, and `kill -9` hits the server, or a device's `slmeval worker`, at a
moment drawn evenly from the time that two undisturbed ones take. After a pause of up to two seconds it is
started again, the server on the same store and port. Wanted of every run: it ends ``done``; its cells are, to
the last bit, those of `slmeval run` with the same flags in a store of its own; each of its questions has one
answer, the same as there; of the last time that it was taken up, it asked no more than was not answered when
the kill came; and its events tell of one beginning and one end. Wanted of processes: none outlives what
started it by more than 15 seconds. A kill that comes when both runs have ended is made again.

The table is in docs/performance.md (``--write``); ``--smoke`` is two kills of each in short runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pairs

from slmeval.document import to_document
from slmeval.service.ledger import ENDED, Ledger
from slmeval.store import Store

sys.path.insert(0, str(pairs.HERE.parent / "tests"))
from service_server import Server, Started, marked, serving, until

TABLE = "service_kills"
WHO = ("server", "worker")
#: two kinds of questions: likelihoods and texts
TASKS = ("arc_easy", "gsm8k")
#: seconds that a process may live on without who started it
PATIENCE = 15.0
#: seconds in which two runs must end after a kill
LONG = 300.0
#: what must be true of both runs after a kill
WANTED = ("done", "cells", "items", "answers", "asked_once", "events")


@dataclass(frozen=True)
class Work:
    """What each run asks: the seed alone, which draws the examples, tells one from another."""

    backend: str = "reference"
    limit: int = 48
    shots: int = 2

    def request(self, seed: int) -> dict[str, Any]:
        """As it is submitted."""
        rest = {"limit": self.limit, "shots": [self.shots], "seed": seed, "sample": True}
        return {"tasks": list(TASKS), "backends": [self.backend], **rest}

    def flags(self, seed: int) -> list[str]:
        """The same for `slmeval run`."""
        numbers = {"--limit": self.limit, "--shots": self.shots, "--seed": seed}
        given = [word for flag, value in numbers.items() for word in (flag, str(value))]
        return ["--backend", self.backend, "--tasks", ",".join(TASKS), "--sample", *given]


# ---- what a run came to ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """The cells as their document has them, which answer each question has, and the answers by key."""

    cells: str
    items: tuple[tuple[Any, ...], ...]
    answers: Mapping[str, tuple[Any, ...]]
    asked: int


def outcome(store: Store, run: str) -> Outcome:
    """That of a run that has ended, named as `slmeval show` takes it."""
    run = store.full_id(run)
    document = to_document(store.run(run))
    items = store.select("SELECT cell, item, request, key FROM cell_items WHERE run = ?", run)
    columns = "kind, logprob, greedy, token_logprobs, CAST(text AS BLOB), ids, reason, CAST(thought AS BLOB)"
    rows = store.select(
        f"SELECT key, {columns} FROM answers WHERE key IN (SELECT key FROM cell_items WHERE run = ?)", run
    )
    answers = {key: tuple(rest) for key, *rest in rows}
    cells = json.dumps(document["cells"], sort_keys=True)
    return Outcome(cells, tuple(sorted(items)), answers, int(document["run"]["asked"]))


class Undisturbed:
    """Runs of `slmeval run`, made when they are first asked for."""

    def __init__(self, work: Work, path: Path) -> None:
        self._work, self._path = work, path
        self._known: dict[int, Outcome] = {}

    def of(self, seed: int) -> Outcome:
        """The run with that seed."""
        if seed not in self._known:
            self._known[seed] = self._run(seed)
        return self._known[seed]

    def _run(self, seed: int) -> Outcome:
        command = [sys.executable, "-m", "slmeval", "run", "--store", str(self._path)]
        done = subprocess.run(
            [*command, *self._work.flags(seed)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"the undisturbed run ended with {done.returncode}: {done.stderr[-2000:]}")
        with Store.open(self._path) as store:
            return outcome(store, "last")


# ---- one kill ----------------------------------------------------------------------------------------


@dataclass
class Scene:
    """A server, and which process is killed again and again."""

    server: Server
    victim: Started
    work: Work
    undisturbed: Undisturbed
    random: Random
    seconds: float = 0.0

    def trial(self, seeds: Sequence[int]) -> dict[str, Any] | None:
        """One kill; ``None`` where both runs had ended before."""
        expected = [self.undisturbed.of(seed) for seed in seeds]
        runs = [run for seed in seeds for run in self.server.submit(**self.work.request(seed))]
        moment = self.random.uniform(0, self.seconds)
        time.sleep(moment)
        self.victim.kill()
        began = time.perf_counter()
        left = set(self.victim.others())
        with ThreadPoolExecutor(1) as beside:
            # looked at all the while: a start may take longer than they may live
            looking = beside.submit(outlived, self.victim, left, began)
            before = self._at_kill(runs, expected)
            time.sleep(self.random.uniform(0, 2))
            self._start_again()
            lived = looking.result()
        self.server.wait_for(runs, seconds=LONG)
        # one that had ended asked before the kill whatever it asked
        under_way = [state not in ENDED for state in before["states"]]
        counted = [saved if is_open else 0 for saved, is_open in zip(before["saved"], under_way, strict=True)]
        told = self._judged(runs, expected, counted)
        if not any(under_way) and right(told):
            return None
        shares = [saved / len(each.answers) for saved, each in zip(before["saved"], expected, strict=True)]
        seconds = time.perf_counter() - began
        return {**told, **before, "moment": moment, "shares": shares, "lived": lived, "seconds": seconds}

    def warm(self, seeds: Sequence[int]) -> None:
        """How long two runs take when nothing is killed.

        :raises SystemExit: even these are not as they should be.
        """
        expected = [self.undisturbed.of(seed) for seed in seeds]
        began = time.perf_counter()
        runs = [run for seed in seeds for run in self.server.submit(**self.work.request(seed))]
        self.server.wait_for(runs, seconds=LONG)
        self.seconds = time.perf_counter() - began
        told = self._judged(runs, expected, [0, 0])
        if not right(told):
            raise SystemExit(f"undisturbed, the service's runs are not as `slmeval run`'s: {told}")

    def _at_kill(self, runs: Sequence[str], expected: Sequence[Outcome]) -> dict[str, Any]:
        """The states of the runs, and how many of their answers were there."""
        with Store.open(self.server.store, must_exist=True, wait=30.0) as store:
            found = [Ledger(store).submission(run) for run in runs]
            saved = [len(store.known(each.answers)) for each in expected]
        return {"states": [each.state for each in found if each is not None], "saved": saved}

    def _start_again(self) -> None:
        if self.victim is self.server.running:
            self.server.start()
        else:
            self.victim.start()

    def _judged(
        self, runs: Sequence[str], expected: Sequence[Outcome], saved: Sequence[int]
    ) -> dict[str, bool]:
        """Of each of WANTED, whether it is true of every run."""
        with Store.open(self.server.store, must_exist=True, wait=30.0) as store:
            found = [judged(store, *each) for each in zip(runs, expected, saved, strict=True)]
        return {name: all(each[name] for each in found) for name in WANTED}


def judged(store: Store, run: str, expected: Outcome, saved: int) -> dict[str, bool]:
    """What is WANTED of one run; ``saved``: how many of its answers were there when the kill came."""
    submission = Ledger(store).submission(run)
    if submission is None or submission.state != "done":
        return dict.fromkeys(WANTED, False)
    made = outcome(store, run)
    kinds = [event.kind for event in Ledger(store).events(0, run, limit=100_000)]
    # one that the kill did not reach asked all of its questions itself, those that were answered by then too
    before = saved if kinds.count("started") > 1 else 0
    return {
        "done": store.status_of(run) == "done",
        "cells": made.cells == expected.cells,
        "items": made.items == expected.items,
        "answers": made.answers == expected.answers,
        "asked_once": made.asked + before <= len(expected.answers),
        "events": kinds[0] == "queued"
        and kinds[-1] == "done"
        and sum(kind in ENDED or kind == "queued" for kind in kinds) == 2,
    }


def right(told: Mapping[str, Any]) -> bool:
    """Whether all is as wanted."""
    return all(told[name] for name in WANTED) and told.get("lived", 0.0) <= PATIENCE


def outlived(victim: Started, left: set[int], began: float) -> float:
    """Seconds after the kill at which the last that the victim had started was gone."""
    last = began if left else None
    try:
        until(
            lambda: not left & set(marked(victim.temporary)),
            PATIENCE + 5,
            lambda: f"{left} live without process {victim.command}",
        )
    except AssertionError as error:
        print(error, file=sys.stderr)
        return float("inf")
    return 0.0 if last is None else time.perf_counter() - began


# ---- many kills --------------------------------------------------------------------------------------


@contextmanager
def scene(who: str, folder: Path, work: Work, undisturbed: Undisturbed, seed: int) -> Iterator[Scene]:
    """A server that works itself and is killed, or one with a device beside it that is."""
    if who == "server":
        with serving(folder) as server:
            server.wait_ready()
            yield Scene(server, server.running, work, undisturbed, Random(seed))
    else:
        with serving(folder, "--no-worker") as server:
            server.token = server.add_token("kills", "admin")
            token = server.add_token("device", "work")
            device = server.worker("device", token=token)
            server.wait_for_devices("device")
            yield Scene(server, device, work, undisturbed, Random(seed))


def kills(who: str, count: int, folder: Path, work: Work, undisturbed: Undisturbed) -> list[dict[str, Any]]:
    """So many kills, each in the midst of a run, and what was left when the server had been ended."""
    made: list[dict[str, Any]] = []
    with scene(who, folder, work, undisturbed, seed=1) as on:
        on.warm((0, 1))
        # of ten kills hardly one comes too late, unless the first runs were slow for what else ran then
        for number in range(1, 10 * count + 2):
            if len(made) < count and (told := on.trial((2 * number, 2 * number + 1))) is not None:
                made.append(told)
                print(f"{who} {len(made)}: {'right' if right(told) else 'WRONG'} {told}", flush=True)
        with Store.open(on.server.store) as store:
            ((sound,),) = store.select("PRAGMA integrity_check")
        on.server.stop()
        left = set(on.server.running.others())
        lived = outlived(on.server.running, left, time.perf_counter())
    if sound != "ok" or lived > PATIENCE or len(made) < count:
        raise SystemExit(f"{who}: {len(made)} kills, the store is {sound}, processes lived on for {lived} s")
    return made


# ---- the page ----------------------------------------------------------------------------------------


def keep(who: str, made: Sequence[Mapping[str, Any]], work: Work) -> None:
    """Keep the kills of one kind."""
    known = pairs.kept(TABLE)
    settings = {"backend": work.backend, "limit": work.limit, "shots": work.shots, "tasks": TASKS}
    known[who] = {"settings": settings, "surroundings": pairs.surroundings(), "trials": list(made)}
    pairs.MEASURED.mkdir(exist_ok=True)
    (pairs.MEASURED / f"{TABLE}.json").write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def page() -> str:
    """The table of what is kept."""
    head = [
        "killed", "kills", "answers there at the kill", "both runs done", "figures equal",
        "answers equal, none doubled or lost", "nothing asked twice", "wanted", "last process gone after, s",
        "both runs done after, s",
    ]  # fmt: skip
    known = pairs.kept(TABLE)
    rows = [row(who, each["trials"]) for who, each in known.items()]
    told = next(iter(known.values()))
    return f"{pairs.table(head, rows)}\n\n{pairs.surroundings_line(told['surroundings'])}"


def row(who: str, trials: Sequence[Mapping[str, Any]]) -> list[object]:
    """One kind of kill."""

    def count(*names: str) -> str:
        return f"{sum(all(each[name] for name in names) for each in trials)} of {len(trials)}"

    shares = sorted(sum(each["shares"]) / len(each["shares"]) for each in trials)
    seconds = sorted(each["seconds"] for each in trials)
    return [
        f"`slmeval {'serve' if who == 'server' else 'worker'}`",
        len(trials),
        f"{shares[0]:.0%} to {shares[-1]:.0%}",
        count("done", "events"),
        count("cells"),
        count("items", "answers"),
        count("asked_once"),
        "all",
        f"{max(each['lived'] for each in trials):.1f} at most",
        f"{seconds[0]:.0f} to {seconds[-1]:.0f}",
    ]


# ---- the command -------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--who", action="append", choices=WHO, help="who is killed; left out, each in turn")
    parser.add_argument("--kills", type=int, default=20, help="of each")
    parser.add_argument("--backend", default="reference", help="one whose numbers hang on nothing else")
    parser.add_argument("--limit", type=int, default=48, help="rows of a task")
    parser.add_argument("--smoke", action="store_true", help="two kills of each in short runs")
    parser.add_argument("--write", action="store_true", help="keep what was found, and write the table")
    asked = parser.parse_args(arguments)
    count, limit = (2, 16) if asked.smoke else (asked.kills, asked.limit)
    work = Work(asked.backend, limit)
    made: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        undisturbed = Undisturbed(work, Path(folder) / "undisturbed.db")
        for who in asked.who or WHO:
            made[who] = kills(who, count, Path(folder) / who, work, undisturbed)
            if asked.write:
                keep(who, made[who], work)
    if asked.write:
        pairs.write_table(TABLE, page())
    wrong = {who: sum(not right(each) for each in trials) for who, trials in made.items()}
    print(json.dumps({"kills": {who: len(trials) for who, trials in made.items()}, "wrong": wrong}))
    if any(wrong.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
