"""The engine's import is timed apart from the model's opening, and what fails after it takes neither away."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import toys

from slmeval.api import Backend
from slmeval.errors import ModelError
from slmeval.holding import Holder
from slmeval.registry import load
from slmeval.sessions import WorkerSession
from slmeval.testing import evaluate
from slmeval.types import ModelInfo, ModelRef, OptionValue, RunOptions, RunResult

MODULE = '''
"""An engine that is slow to import, and then has troubles."""
import os, time
from slmeval import hookimpl
from slmeval.api import Backend, Option
from slmeval.errors import JobFailed, ModelError
from slmeval.types import Likelihood, ModelInfo


class Slow(Backend):
    name = "slow"
    capabilities = frozenset({"score", "time"})
    options = (Option("import_takes", float, 0.0, "seconds", numeric=False),)
    opened = 0

    @classmethod
    def import_engine(cls, options):
        time.sleep(options["import_takes"])
        with open(os.environ["TOY_LOG"], "a") as log:
            log.write(f"{os.getpid()}\\n")

    def __init__(self, model, options):
        type(self).opened += 1
        if self.opened == 2:
            raise ModelError("it opens once only")

    def model_info(self):
        return ModelInfo("Toy", 1, 1, "float64", "cpu", 2048, 8, "toy", "1")

    def score(self, groups):
        for group in groups:
            yield tuple(Likelihood((-1.0,) * len(ids), False) for ids in group.continuations)

    def generate(self, prompts, settings, decode):
        yield from ()

    def time(self, workload):
        raise JobFailed("nothing can be timed")


@hookimpl
def slmeval_register_backends():
    return [Slow]
'''

#: far more than the toy needs for anything else, and than a busy machine adds to it
IMPORT = 2.0

Runner = Callable[..., RunResult]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demo_model: Path) -> Runner:
    folder = tmp_path / "site"
    folder.mkdir()
    toys.install(folder, monkeypatch, MODULE, "slowplugin")
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))

    def done(task: str, **more: Any) -> RunResult:
        options = RunOptions(backends=("slow",), models=(str(demo_model),), tasks=(task,), **more)
        return evaluate(options, tmp_path / "store.db")

    return done


def imports(tmp_path: Path) -> list[int]:
    """The processes that have imported the engine, in order."""
    log = tmp_path / "log"
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def test_of_the_fresh_workers_each_imports_once_and_what_fails_later_takes_nothing_away(
    run: Runner, tmp_path: Path
) -> None:
    given = {"import_takes": str(IMPORT), "first_prompt": "4", "file_cache": "as_is"}
    result = run("load", engine_options=given)
    assert (result.status, result.failures) == ("done", ())
    figures = {figure.name: figure for figure in result.cells[0].figures}
    assert figures["engine"].value is not None
    assert figures["engine"].value >= IMPORT
    assert figures["open"].value is not None
    assert figures["open"].value < IMPORT
    assert {figures[name].n for name in ("start", "engine", "open")} == {6}
    assert figures["first_token"].note == "nothing can be timed"
    assert figures["reopen"].note == "it opens once only"
    # the model has been open, and is told of
    assert result.models[0].info is not None
    assert len(set(imports(tmp_path))) == len(imports(tmp_path)) == 6
    assert os.getpid() not in imports(tmp_path)


def test_where_all_answers_are_kept_no_engine_is_imported(run: Runner, tmp_path: Path) -> None:
    first = run("piqa", sample=True, limit=2)
    assert first.status == "done"
    assert len(imports(tmp_path)) == 1
    again = run("piqa", sample=True, limit=2)
    assert [cell.figures for cell in again.cells] == [cell.figures for cell in first.cells]
    assert len(imports(tmp_path)) == 1
    assert os.getpid() not in imports(tmp_path)


# ---- the holder of a model ---------------------------------------------------------------------------


class Once(Backend):
    """Opens once."""

    name = "once"
    imported = opened = 0

    @classmethod
    def import_engine(cls, options: Mapping[str, OptionValue]) -> None:  # noqa: ARG003
        cls.imported += 1

    def __init__(self, model: ModelRef, options: Mapping[str, OptionValue]) -> None:
        type(self).opened += 1
        if self.opened > 1:
            raise ModelError("it opens once only")

    def model_info(self) -> ModelInfo:
        return ModelInfo("Toy", 1, 1, "float64", "cpu", 64, 8, "toy", "1")

    def score(self, groups: Any) -> Any:
        raise AssertionError("nothing is asked")

    def generate(self, prompts: Any, settings: Any, decode: Any) -> Any:
        raise AssertionError("nothing is asked")


@pytest.fixture
def holder(monkeypatch: pytest.MonkeyPatch) -> Holder:
    monkeypatch.setattr(Once, "imported", 0)
    monkeypatch.setattr(Once, "opened", 0)
    tokenizer: Any = None
    return Holder(Once, {}, ModelRef("model"), tokenizer, 5.0)


def test_a_model_that_does_not_open_again_is_told_of_as_it_was(holder: Holder) -> None:
    holder.open()
    told = holder.told()
    with pytest.raises(ModelError, match="once only"):
        holder.open()
    assert holder.told() == told
    assert (Once.imported, Once.opened) == (1, 2)


def test_a_model_that_never_opened_is_not_told_of(holder: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Once, "opened", 1)
    for _ in range(2):
        with pytest.raises(ModelError, match="once only"):
            holder.told()


def test_the_import_is_told_whole_once_the_model_is_open(holder: Holder) -> None:
    session = WorkerSession(holder, {}, 0, {"start": 1.0}, lambda: None, meters={}, own_process=True)
    assert session.beginning == {"start": 1.0, "engine": 5.0}
    session.open()
    assert session.beginning["engine"] > 5.0


# ---- the engines that are installed -------------------------------------------------------------------

#: of each engine a module that comes with the greater part of its import
HEAVY = {
    "hf": "transformers.modeling_utils",
    "llamacpp": "slmeval_llamacpp.engine",
    "mlx": "mlx_lm.utils",
    "reference": "numpy",
    "vllm": "vllm",
}
IMPORTED = """
import sys
from slmeval.registry import load
backend = load().parts.backends[{name!r}]
options = {{option.name: option.default for option in backend.options}}
backend.fingerprint(options)
before = {module!r} in sys.modules
backend.import_engine(options)
print(before, {module!r} in sys.modules, {engine!r} in sys.modules)
"""


@pytest.mark.parametrize("name", HEAVY)
def test_an_engines_library_is_there_before_the_clock_of_opening_starts(name: str) -> None:
    if (missing := load().parts.backends[name].missing()) is not None:
        pytest.skip(missing)
    program = IMPORTED.format(name=name, module=HEAVY[name], engine=f"slmeval_{name}.engine")
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    # telling its version does not need it, and a run whose answers are all known does nothing else
    assert found.stdout.split()[-3:] == ["False", "True", "True"]
