"""Memory as `slmeval run --tasks memory` tells it, against the configuration and the operating system.

    python benchmarks/memory.py --folder FOLDER [--engines hf,mlx,llamacpp] [--models demo,135M] [--write]

The models are the demo model and a random one in SmolLM-135M's shape, made in FOLDER (for llamacpp as
a GGUF file, which llama.cpp's own script writes, from the source in the sdist of llama-cpp-python). While a
run goes on, its workers are watched from here: `VmHWM` in `/proc/PID/status` is the most that the system says
each of them held. With ``--write`` the table goes into docs/memory.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairs import surroundings, surroundings_line, table, write_table

from slmeval.pairing import demo_model

PAGE = Path(__file__).parents[1] / "docs" / "memory.md"
ENGINES = ("hf", "mlx", "llamacpp")
MODELS = ("demo", "135M")
MIB = 2**20
#: seconds between two looks at the workers
LOOK = 0.02


@dataclass(frozen=True)
class Row:
    """One engine on one model: figures by name, and the most that the system says each worker held."""

    model: str
    engine: str
    figures: dict[str, Any]
    peaks: tuple[float, ...]
    seen: tuple[int, ...]

    def cells(self) -> list[str]:
        """As the table shows it."""
        return [self.model, f"`{self.engine}`", *self._weights(), *self._cache(), *self._peak()]

    def _weights(self) -> list[str]:
        return [self._value("weights_predicted"), self._value("weights"), self._percent("weights_error")]

    def _cache(self) -> list[str]:
        names = ("kv_predicted", "kv_per_token")
        return [*(self._value(name, 0) for name in names), self._percent("kv_error")]

    def _peak(self) -> list[str]:
        off = max(abs(MIB * told / seen - 1) for told, seen in zip(self.peaks, self.seen, strict=True))
        return [self._value("peak", 1), f"{statistics.median(self.seen) / MIB:.1f}", f"{100 * off:.2f}"]

    def _value(self, name: str, digits: int = 2) -> str:
        return f"{self.figures[name]['value']:.{digits}f}"

    def _percent(self, name: str) -> str:
        return f"{self.figures[name]['value']:+.2f}"


HEAD = (
    "model", "engine", "weights predicted, MiB", "measured", "error, %", "KV predicted, bytes/token",
    "measured", "error, %", "peak told, MiB", "by the system", "largest difference, %",
)  # fmt: skip


class Workers:
    """Watches the workers of a process from a thread; ``peaks`` are theirs, in the order of their start."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._peaks: dict[int, int] = {}
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> tuple[int, ...]:
        """Look no more: bytes of each."""
        self._over.set()
        self._thread.join()
        return tuple(self._peaks.values())

    def _watch(self) -> None:
        while not self._over.wait(LOOK):
            for pid in _children(self._pid):
                if b"slmeval.worker" in _read(f"/proc/{pid}/cmdline"):
                    self._peaks[pid] = max(self._peaks.get(pid, 0), _peak_of(pid))


def _children(pid: int) -> list[int]:
    """Those that any of its threads started."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in files for child in _read(str(file)).split()]


def _peak_of(pid: int) -> int:
    lines = _read(f"/proc/{pid}/status").splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(b"VmHWM:")), 0)


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


# ---- a run ---------------------------------------------------------------------------------------------


def measure(engine: str, name: str, model: Path, context: str) -> Row:
    """One run with the probe's own six workers.

    :raises SystemExit: it fails.
    """
    command = [sys.executable, "-m", "slmeval", "run", "--backend", engine, "--model", str(model)]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "run.json"
        command += ["-o", f"context={context}"] if context else []
        rest = ["--tasks", "memory", "--store", f"{folder}/store.db", "--format", "json", "--output"]
        process = subprocess.Popen([*command, *rest, str(output)], stderr=subprocess.PIPE, text=True)
        workers = Workers(process.pid)
        said = process.communicate()[1]
        seen = workers.end()
        if process.returncode:
            raise SystemExit(f"{engine} on {model} ended with {process.returncode}: {said[-2000:]}")
        (cell,) = json.loads(output.read_text(encoding="utf-8"))["cells"]
    return row_of(engine, name, cell, seen)


def row_of(engine: str, name: str, cell: dict[str, Any], seen: Sequence[int]) -> Row:
    """The cell of a run, and what its workers held: that which was started ahead of all measured nothing."""
    (peaks,) = (each["values"] for each in cell["series"] if each["name"] == "peak")
    return Row(name, engine, cell["figures"], tuple(peaks), tuple(seen[-len(peaks) :]))


def model_of(name: str, engine: str, folder: Path) -> Path:
    """Where the model is, in the form that the engine opens; made where it is not there."""
    if name == "demo":
        return demo_model("gguf" if engine == "llamacpp" else "folder")
    from llama_perplexity import gguf
    from speed_model import make

    folder.mkdir(parents=True, exist_ok=True)
    return gguf(folder, "F16") if engine == "llamacpp" else make(folder / "model")


def page(rows: Sequence[Row]) -> str:
    """The table."""
    last = f"Six workers each. {surroundings_line(surroundings())}"
    return f"{table(HEAD, [row.cells() for row in rows])}\n\n{last}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where models are made and kept")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--context", default="", help="tokens in the cache, where 2048 take too long")
    parser.add_argument("--write", action="store_true", help="write docs/memory.md")
    asked = parser.parse_args()
    if not Path("/proc/self/task").is_dir():
        raise SystemExit("there is no /proc here, in which the workers could be watched")
    rows = []
    for name in asked.models.split(","):
        for engine in asked.engines.split(","):
            rows.append(measure(engine, name, model_of(name, engine, asked.folder), asked.context))
            print(" | ".join(rows[-1].cells()), file=sys.stderr, flush=True)
    text = page(rows)
    print(text)
    if asked.write:
        write_table("memory", text, PAGE)


if __name__ == "__main__":
    main()
