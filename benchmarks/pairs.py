"""The frame of all comparisons: sides in turn, each a process of its own, ratios taken within a round.

A side is a command whose last line on stdout is one JSON object with at least ``seconds`` (asking alone: what
loads the model is apart) and ``requests``; what else it says is kept. A script gives sides and rounds::

    rounds = in_turn([Side("slmeval", command), Side("lm-eval", other)], 5)
    ratio = spread(rounds, "slmeval", "lm-eval", rate)

Where a trial takes seconds only, ``in_step`` asks them in turn of processes that stay, so that what else a
shared machine does falls on both sides of a pair. A script keeps what was measured (``keep``), and writes its
table into docs/performance.md between its own marks (``write_table``). Where other work shares the machine
and takes the same lock, ``BENCH_LOCK`` names a file that is locked while a side runs.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
MEASURED = HERE / "measured"

#: seconds between two looks at a side's memory
LOOK = 0.05


@dataclass(frozen=True)
class Side:
    """A command to be compared, with what it needs in its environment."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """One run of a side.

    ``seconds`` and ``requests`` as it told them; ``wall`` the whole process's seconds; ``peak`` the bytes
    that it and its children had in memory at most; ``told`` all that it told.
    """

    seconds: float
    requests: int
    wall: float
    peak: int
    told: Mapping[str, Any]


Round = Mapping[str, Outcome]


def once(side: Side) -> Outcome:
    """One run in a process of its own.

    :raises SystemExit: it failed, or its last line is no JSON object.
    """
    with _alone(), tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        environment = {**os.environ, **side.environment}
        process = subprocess.Popen(side.command, stdout=out, stderr=said, env=environment)
        watch = Memory(process.pid)
        try:
            status = process.wait()
        finally:
            process.kill()
            watch.end()
        wall = time.perf_counter() - began
        told = _last_line(out, said, side, status)
    return Outcome(float(told["seconds"]), int(told["requests"]), wall, watch.peak, told)


def in_turn(sides: Sequence[Side], rounds: int) -> list[Round]:
    """Every side in every round, in alternating order, for machines drift."""
    made: list[Round] = []
    for number in range(rounds):
        order = sides if number % 2 == 0 else sides[::-1]
        made.append({side.name: once(side) for side in order})
        print(f"round {number + 1}: {_line(made[-1])}", file=sys.stderr, flush=True)
    return made


def in_step(sides: Sequence[Side], trials: int) -> list[Round]:
    """So many trials of each side, one of each in turn; a side prints one for each line it reads.

    :raises SystemExit: one failed, or printed something else.
    """
    made: list[Round] = []
    with _alone(), ExitStack() as stack:
        lasting = {side.name: stack.enter_context(_Lasting(side)) for side in sides}
        for number in range(trials):
            order = list(lasting) if number % 2 == 0 else list(lasting)[::-1]
            made.append({name: lasting[name].trial() for name in order})
            if number % 10 == 0:
                print(f"pair {number + 1} of {trials}: {_line(made[-1])}", file=sys.stderr, flush=True)
    return made


def trials(run: Callable[[], Mapping[str, Any]]) -> None:
    """Be a side of :func:`in_step`: what ``run`` tells for each line that comes in, until none does."""
    for _ in sys.stdin:
        print(json.dumps(run()), flush=True)


class _Lasting:
    """A side whose process stays."""

    def __init__(self, side: Side) -> None:
        self._side = side

    def __enter__(self) -> _Lasting:
        pipe, environment = subprocess.PIPE, {**os.environ, **self._side.environment}
        self._process = subprocess.Popen(
            self._side.command, stdin=pipe, stdout=pipe, env=environment, text=True
        )
        self._watch = Memory(self._process.pid)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            # it may be busy, or no longer listen
            self._process.kill()
        with suppress(BrokenPipeError):
            self._process.communicate()
        self._watch.end()

    def trial(self) -> Outcome:
        """The next one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        began = time.perf_counter()
        try:
            print(file=self._process.stdin, flush=True)
            told = json.loads(self._process.stdout.readline())
        except (BrokenPipeError, ValueError):
            raise SystemExit(f"{self._side.name} told nothing: {' '.join(self._side.command)}") from None
        wall = time.perf_counter() - began
        return Outcome(float(told["seconds"]), int(told["requests"]), wall, self._watch.peak, told)


def rate(outcome: Outcome) -> float:
    """Requests a second."""
    return outcome.requests / outcome.seconds


def peak(outcome: Outcome) -> float:
    """Gigabytes that a side had in memory at most."""
    return outcome.peak / 1e9


def median(rounds: Sequence[Round], name: str, what: Callable[[Outcome], float]) -> float:
    """Over all rounds, ``what`` of the side ``name``."""
    return statistics.median(what(each[name]) for each in rounds)


@dataclass(frozen=True)
class Spread:
    """A ratio over several rounds: its median, and the lowest and highest."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{_short(self.middle)} ({_short(self.low)} to {_short(self.high)})"


def spread(rounds: Sequence[Round], over: str, under: str, what: Callable[[Outcome], float]) -> Spread:
    """``what`` of one side over that of another, round by round."""
    ratios = [what(each[over]) / what(each[under]) for each in rounds]
    return Spread(statistics.median(ratios), min(ratios), max(ratios))


# ---- what is kept, and the page --------------------------------------------------------------------


def keep(table: str, row: str, rounds: Sequence[Round], **settings: Any) -> None:
    """Keep the rounds of one row, under its table, with the settings that they were made with."""
    known = kept(table)
    plain = [{name: asdict(outcome) for name, outcome in each.items()} for each in rounds]
    known[row] = {"settings": settings, "surroundings": surroundings(), "rounds": plain}
    MEASURED.mkdir(exist_ok=True)
    (MEASURED / f"{table}.json").write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def kept(table: str) -> dict[str, Any]:
    """All rows of a table that were kept, in the order in which they first were."""
    file = MEASURED / f"{table}.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found


def rounds_of(row: Mapping[str, Any]) -> list[Round]:
    """The rounds of a row that was kept."""
    return [{name: Outcome(**outcome) for name, outcome in each.items()} for each in row["rounds"]]


def write_table(marker: str, text: str, page: Path = PAGE) -> None:
    """Put ``text`` between ``<!-- marker -->`` and ``<!-- /marker -->``; where there are none, at the end."""
    whole = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    before, found, rest = whole.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        before, after = f"{whole.rstrip()}\n\n", "\n"
    page.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}", encoding="utf-8")


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


#: whose versions can matter to a time
_LIBRARIES = ("torch", "transformers", "lm-eval", "tokenizers", "numpy", "llama-cpp-python", "mlx", "mlx-lm")


def surroundings() -> dict[str, str]:
    """Machine and versions."""
    found = {"processor": _processor(), "cores": str(os.cpu_count()), "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def surroundings_line(told: Mapping[str, str]) -> str:
    """The same as one sentence."""
    rest = {name: value for name, value in told.items() if name not in {"processor", "cores"}}
    versions = ", ".join(f"{name} {value}" for name, value in rest.items())
    return f"{told['processor']}, {told['cores']} cores; {versions}."


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    units = ", AMX" if any("amx_bf16" in line for line in lines if line.startswith("flags")) else ""
    return next(named, platform.machine()) + units


# ---- a side's memory ---------------------------------------------------------------------------------


class Memory:
    """Watches a process and all below it, from a thread.

    The peak is the largest sum of the high-water marks (VmHWM) of those that live at the same time: exact for
    one process, never too low for several. Pages that they share count in each.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self.peak = 0
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(LOOK):
            self.peak = max(self.peak, sum(map(_high_water, _tree(self._pid))))


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in _read(file).split():
            yield from _tree(int(child))


def _high_water(pid: int) -> int:
    lines = _read(Path(f"/proc/{pid}/status")).splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended meanwhile
        return ""


# ---- pieces ------------------------------------------------------------------------------------------


@contextmanager
def _alone() -> Iterator[None]:
    name = os.environ.get("BENCH_LOCK")
    if not name:
        yield
        return
    with Path(name).open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _last_line(out: Any, said: Any, side: Side, status: int) -> dict[str, Any]:
    texts = []
    for stream in (out, said):
        stream.seek(0)
        texts.append(stream.read().decode(errors="replace").strip())
    try:
        if status == 0:
            found: dict[str, Any] = json.loads(texts[0].splitlines()[-1])
            return found
    except (ValueError, IndexError):
        pass
    raise SystemExit(f"{side.name} ended with {status}: {' '.join(side.command)}\n{texts[1][-3000:]}")


def _line(one: Round) -> str:
    return ", ".join(
        f"{name} {rate(each):.3g}/s ({each.requests} in {each.seconds:.1f} s, {peak(each):.1f} GB)"
        for name, each in one.items()
    )


def _short(number: float) -> str:
    return f"{number:.3g}" if number < 100 else f"{number:.0f}"
