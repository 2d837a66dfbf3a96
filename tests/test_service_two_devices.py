"""Two devices in environments of their own: one has llama.cpp, the other transformers, and neither both."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from service_server import Server, Started, serving

from slmeval.document import to_document
from slmeval.service.ledger import Ledger
from slmeval.store import Store

needs_both = pytest.mark.skipif(
    any(find_spec(module) is None for module in ("torch", "transformers", "llama_cpp")),
    reason="transformers or llama.cpp is not installed",
)
pytestmark = [pytest.mark.slow, needs_both]

#: what an environment does not have
WITHOUT = {
    "llama": ("torch", "transformers", "mlx", "vllm"),
    "torch": ("llama_cpp", "mlx", "vllm"),
}
WORK = {"tasks": ["arc_easy"], "limit": 24, "sample": True, "dtype": "float32"}


def environment(folder: Path, without: tuple[str, ...]) -> Path:
    """The interpreter of an environment that has what this one has, but for some: they cannot be imported."""
    venv.create(folder, with_pip=False, symlinks=os.name == "posix")
    packages = folder / "packages"
    packages.mkdir()
    ways = [str(packages)]
    for place in map(Path, site.getsitepackages()):
        for entry in place.glob("*"):
            if entry.suffix == ".pth":
                ways += [line for line in entry.read_text().splitlines() if Path(line).is_dir()]
            elif not entry.name.startswith(without) and not (packages / entry.name).exists():
                (packages / entry.name).symlink_to(entry)
    (home,) = folder.glob("lib/python*/site-packages")
    (home / "ways.pth").write_text("\n".join(dict.fromkeys(ways)) + "\n")
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def pythons(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("environments")
    return {name: environment(folder / name, without) for name, without in WITHOUT.items()}


@pytest.fixture(scope="module")
def bench(pythons: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that does no work itself, and the two devices."""
    with serving(tmp_path_factory.mktemp("service"), "--no-worker") as server:
        server.token = server.add_token("bench", "admin")
        for name, python in pythons.items():
            start(server, name, python)
        server.wait_for_devices(*pythons)
        yield server


def start(server: Server, name: str, python: Path) -> Started:
    # what was made for the user of this machine is of another environment
    alone = {"SLMEVAL_ENVIRONMENTS": str(server.folder / "no-environments")}
    token = server.add_token(name, "work")
    return server.worker(name, token=token, python=str(python), environment=alone)


def device_of(server: Server, run: str) -> str | None:
    with Store.open(server.store, must_exist=True) as store:
        submission = Ledger(store).submission(run)
    assert submission is not None
    return submission.device


def cells(store: Path, run: str) -> Any:
    with Store.open(store, must_exist=True) as opened:
        return json.loads(json.dumps(to_document(opened.run(run))["cells"]))


def test_neither_environment_has_the_others_engine(pythons: dict[str, Path], tmp_path: Path) -> None:
    for name, module in (("llama", "torch"), ("llama", "transformers"), ("torch", "llama_cpp")):
        command = [str(pythons[name]), "-c", f"import {module}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert "ModuleNotFoundError" in done.stderr, (name, module)


def test_each_device_says_what_it_has(bench: Server) -> None:
    engines = {each["name"]: set(each["engines"]) for each in bench.devices()}
    assert "llamacpp" in engines["llama"]
    assert "hf" not in engines["llama"]
    assert "hf" in engines["torch"]
    assert "llamacpp" not in engines["torch"]


def test_runs_go_where_they_can_and_stand_side_by_side(bench: Server, tmp_path: Path) -> None:
    """The figures are those of the same flags on this interpreter alone."""
    told = bench.post("/api/runs", {**WORK, "backends": ["hf", "llamacpp"]})
    runs = {run["backend"]: run["id"] for run in told["runs"]}
    assert set(bench.wait_for(list(runs.values()), seconds=180).values()) == {"done"}
    assert {name: device_of(bench, run) for name, run in runs.items()} == {"hf": "torch", "llamacpp": "llama"}

    page = bench.ask("GET", f"/batches/{told['batch']}", headers={"Accept": "text/html"})
    assert page.status == 200
    for word in ("torch", "llama", "hf", "llamacpp", "arc_easy", *runs.values()):
        assert word in page.text, word

    store = tmp_path / "alone.db"
    for name, run in runs.items():
        flags = ["--tasks", "arc_easy", "--limit", "24", "--sample", "--dtype", "float32"]
        command = [sys.executable, "-m", "slmeval", "run", "--backend", name, *flags, "--store", str(store)]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        assert cells(bench.store, run) == cells(store, "last"), name


def test_a_run_waits_for_the_device_that_has_its_engine(bench: Server, pythons: dict[str, Path]) -> None:
    """Another device stands idle meanwhile; once the right one is back, the run ends."""
    (gone,) = [each for each in bench.workers if each.folder.name == "worker-llama"]
    gone.kill()
    (waiting,) = bench.submit(**WORK, backends=["llamacpp"], seed=2, shots=[1])
    (other,) = bench.submit(**WORK, backends=["hf"], seed=2, shots=[1])
    assert bench.wait_for([other], seconds=180) == {other: "done"}
    assert bench.state(waiting) == "queued"
    gone.start()
    assert bench.wait_for([waiting], seconds=180) == {waiting: "done"}
    assert device_of(bench, waiting) == "llama"
