"""The contract: every backend of ours keeps it, and for each clause a backend that breaks it is caught."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from broken_backends import SoundBackend, broken_backends, kept

from slmeval import __version__
from slmeval.api import Option
from slmeval.errors import UsageError
from slmeval.models import find_model
from slmeval.registry import load
from slmeval.testing import BackendContract, toy
from slmeval.testing.badge import Badge, blank
from slmeval.testing.contract import clauses
from slmeval.testing.subject import options_for
from slmeval.testing.toy_files import tensors, write_folder, write_gguf
from slmeval.tokenizing import read_tokenizer
from slmeval.types import ModelRef
from slmeval_reference import ReferenceBackend

ENGINES = {"hf": "transformers", "llamacpp": "llama_cpp", "mlx": "mlx_lm"}


def contract_of(backend: Any, **fields: Any) -> type[BackendContract]:
    return type("TestIt", (BackendContract,), {"backend": backend, **fields})


def outcomes(contract: type[BackendContract]) -> dict[str, str]:
    """What each clause says: "passed", "skipped", or why it failed."""
    test, found = contract(), {}
    try:
        for name in clauses(contract):
            try:
                getattr(test, name)()
                found[name] = "passed"
            except pytest.skip.Exception:
                found[name] = "skipped"
            except Exception as error:  # noqa: BLE001  whatever it is, the clause was not kept
                found[name] = f"{type(error).__name__}: {error}"
    finally:
        contract.teardown_class()
    return found


# ---- our backends keep it ----------------------------------------------------------------------------


class TestReference(BackendContract):
    backend = ReferenceBackend


@pytest.mark.parametrize("name", ENGINES)
def test_our_backends_keep_the_contract(name: str) -> None:
    pytest.importorskip(ENGINES[name], reason=f"the {name} backend needs its engine")
    backend = load().parts.backends.get(name)
    if backend is None:
        pytest.skip(f"there is no {name} backend yet")
    if "folder" not in backend.forms:
        pytest.importorskip("gguf", reason="GGUF files are written by the library gguf")
    found = outcomes(contract_of(backend))
    assert {clause: said for clause, said in found.items() if said not in {"passed", "skipped"}} == {}
    assert backend.capabilities >= {"score", "generate", "sample", "top_logprobs"}
    assert "skipped" not in found.values()


# ---- who breaks a clause fails it, and no other ----------------------------------------------------------


def test_for_every_clause_there_is_a_backend_that_breaks_it() -> None:
    assert {backend.breaks for backend in broken_backends()} == set(clauses(BackendContract))


@pytest.mark.parametrize("backend", [None, "reference", object()])
def test_a_contract_without_a_class_of_backends_is_told(backend: object) -> None:
    with pytest.raises(TypeError, match=r"Mine\.backend is .*: name the class of the backend"):
        type("Mine", (BackendContract,), {"backend": backend})


@pytest.mark.parametrize("broken", broken_backends(), ids=lambda broken: broken.__name__)
def test_a_backend_that_breaks_one_clause_fails_that_one_alone(broken: type[SoundBackend]) -> None:
    try:
        found = outcomes(contract_of(broken))
    finally:
        for each in kept:
            each.close()
        kept.clear()
    failed = {clause: said for clause, said in found.items() if said not in {"passed", "skipped"}}
    assert set(failed) == {broken.breaks}, failed


# ---- the toy model -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> ReferenceBackend:
    folder = write_folder(tmp_path_factory.mktemp("toy") / "toy")
    return ReferenceBackend(ModelRef(str(folder)), {"threads": 1})


def test_the_closed_form_is_what_the_oracle_computes(toy_model: ReferenceBackend) -> None:
    ids = toy.text_ids(toy.CONTEXT, 1, range(toy.VOCABULARY))
    found = np.zeros((len(ids), toy.VOCABULARY))
    for row, each in zip(found, toy_model.top_logprobs(ids, toy.VOCABULARY), strict=True):
        row[list(each.ids)] = each.logprobs
    assert np.abs(found - toy.logprobs(ids)).max() < 1e-11


@pytest.mark.parametrize("length", [5, 50, toy.CONTEXT])
def test_what_is_wrong_early_is_seen_at_the_end(length: int) -> None:
    ids = toy.text_ids(length, 2)
    first = next(at for at in range(1, length) if ids[at] != ids[at + 1])
    swapped = (*ids[:first], ids[first + 1], ids[first], *ids[first + 2 :])
    for wrong in (
        swapped,
        ids[:1] + ids[2:],
        ids[:1] + ids,
        (*ids[:first], toy.PLAIN[-1], *ids[first + 1 :]),
    ):
        assert np.abs(toy.logprobs(wrong)[-1] - toy.logprobs(ids)[-1]).max() > 0.005


def test_every_weight_is_exact_in_half_precision() -> None:
    for name, array in tensors().items():
        assert (array.astype(np.float16) == array).all(), name


def test_the_toys_text_is_written_as_it_is_read(tmp_path: Path) -> None:
    tokenizer = read_tokenizer(write_folder(tmp_path), "toy")
    for text in ("an otter in the rain", "ünïcödé 語 🙂\n\t \0", " two  spaces "):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode("the rain in")) == 1 + len(("th", "e", "▁", "r", "a", "in", "▁", "in"))


def test_the_toy_as_gguf_has_the_same_tokenizer(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="GGUF files are written by the library gguf")
    folder = read_tokenizer(write_folder(tmp_path / "toy"), "toy")
    found = find_model(ModelRef(str(write_gguf(tmp_path / "toy.gguf"))), lambda _: "")
    file = found.tokenizer()
    assert found.context == toy.CONTEXT
    assert (file.bos_id, file.eos_id) == (folder.bos_id, folder.eos_id) == (toy.BOS, toy.EOS)
    for text in ("an otter in the rain", "ünïcödé 語 🙂\n", " two  spaces "):
        assert file.encode(text) == folder.encode(text)


# ---- pytest --slmeval-backend ------------------------------------------------------------------------


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "pytest", "-W", "error", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.slow
def test_an_installed_backend_is_checked_without_any_code(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "--slmeval-backend", "reference", "--slmeval-option", "threads=1")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    count = len(clauses(BackendContract))
    (line,) = [line for line in lines if line.startswith("slmeval contract: reference ")]
    assert "threads=1: score generate sample top_logprobs memory time force | " in line
    assert line.endswith(f"| {count} clauses passed")
    (markdown,) = [line for line in lines if line.startswith("**slmeval ")]
    assert markdown.endswith(f"`top_logprobs`, `memory`, `time`, `force`, {count} clauses")


STRANGER = """
from dataclasses import replace
from slmeval import hookimpl
from slmeval_reference import ReferenceBackend

class StrangerBackend(ReferenceBackend):
    name = "stranger"

    @classmethod
    def missing(cls):
        return MISSING

    def score(self, groups):
        for answers in super().score(groups):
            yield tuple(replace(each, greedy=False) for each in answers)

@hookimpl
def slmeval_register_backends():
    return [StrangerBackend]
"""


@pytest.mark.slow
def test_a_strangers_backend_is_told_which_clauses_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toys.install(tmp_path, monkeypatch, STRANGER.replace("MISSING", "None"), name="stranger_plugin")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "test_other.py").write_text("def test_other():\n    pass\n")
    some = ("-k", "most_likely or sum_to_one or test_other")
    # without a path the contract alone, with paths both
    for paths, more in (((), 0), (("test_other.py",), 1)):
        done = run_pytest(tmp_path / "project", "--slmeval-backend", "stranger", *some, *paths)
        assert done.returncode == 1
        assert f"1 failed, {1 + more} passed" in done.stdout
        assert "  FAILED: says whether a continuation was the most likely" in done.stdout
        assert " clauses passed | 1 FAILED | " in done.stdout
        assert "**slmeval" not in done.stdout


def test_an_engine_that_is_missing_is_a_wrong_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toys.install(tmp_path, monkeypatch, STRANGER.replace("MISSING", "'no such chip'"), name="stranger_plugin")
    done = run_pytest(tmp_path, "--slmeval-backend", "stranger")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert done.stderr.strip() == "ERROR: backend 'stranger' cannot run here (no such chip)"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--slmeval-backend", "referense"), "unknown backend 'referense': did you mean 'reference'?"),
        (
            ("--slmeval-backend", "reference", "--slmeval-option", "thread=1"),
            "unknown option of backend 'reference' 'thread': did you mean 'threads'?",
        ),
        (
            ("--slmeval-backend", "reference", "--slmeval-option", "threads=many"),
            "-o threads=many (backend 'reference'): ",
        ),
        (("--slmeval-backend", "reference", "--slmeval-option", "x"), "--slmeval-option x: write key=value"),
        (("--slmeval-option", "threads=1"), "add --slmeval-backend NAME"),
    ],
)
def test_a_wrong_command_is_told_in_one_line(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    done = run_pytest(tmp_path, *arguments)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    (line,) = done.stderr.strip().splitlines()
    assert told in line


def test_a_session_that_has_no_use_for_it_imports_none_of_it(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_it():\n"
        "    assert not {'slmeval.testing', 'slmeval.api', 'numpy', 'tokenizers'} & set(sys.modules)\n"
    )
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "slmeval contract" not in done.stdout


# ---- the badge and the options -------------------------------------------------------------------------


def test_a_badge_names_what_failed_and_is_shown_off_only_when_whole() -> None:
    badge = Badge("mine", "1.2", "dtype=float32", ("generate", "score"), 3)
    badge = badge.with_outcome("test_a_b", "passed").with_outcome("test_c", "failed")
    badge = badge.with_outcome("test_c", "passed")
    assert badge.lines() == [
        "slmeval contract: mine 1.2 dtype=float32: score generate | sample: not declared | "
        "top_logprobs: not declared | memory: not declared | time: not declared | force: not declared | "
        "1 clauses passed | 1 FAILED | 1 not asked",
        "  FAILED: c",
    ]


def test_exact_arithmetic_is_asked_for_where_it_can_be_had() -> None:
    class Halves(SoundBackend):
        options = (Option("dtype", str, "auto", "", choices=("auto", "float16", "float32")),)

    assert options_for(Halves, {}) == {"dtype": "float32"}
    assert options_for(Halves, {"dtype": "float16"}) == {"dtype": "float16"}
    assert options_for(ReferenceBackend, {"threads": 2}) == {"threads": 2}
    with pytest.raises(UsageError, match="dtype=int8"):
        options_for(Halves, {"dtype": "int8"})


def test_a_backend_that_fails_at_its_fingerprint_still_has_a_badge() -> None:
    class Broken(ReferenceBackend):
        @classmethod
        def fingerprint(cls, _: Any) -> dict[str, Any]:
            raise RuntimeError("no driver")

    assert Badge(**blank(contract_of(Broken))).lines()[0].startswith("slmeval contract: reference: score")


def test_what_a_backend_does_not_do_is_skipped_not_failed() -> None:
    class ScoresOnly(SoundBackend):
        capabilities = frozenset({"score"})

        def generate(self, *_: Any) -> Any:
            raise NotImplementedError

        def top_logprobs(self, *_: Any) -> Any:
            raise NotImplementedError

        def time(self, *_: Any) -> Any:
            raise NotImplementedError

        def memory(self, *_: Any) -> Any:
            raise NotImplementedError

    found = outcomes(contract_of(ScoresOnly))
    assert set(found.values()) == {"passed", "skipped"}
    assert found["test_greedy_texts_are_the_oracles"] == found["test_the_likeliest_tokens"] == "skipped"
    assert found["test_log_probabilities_are_the_oracles"] == "passed"


# ---- what the guide says -----------------------------------------------------------------------------

GUIDE = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_lines_of_the_guide_are_a_test_of_a_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lines,) = re.findall(r"```python\n(from slmeval.testing import BackendContract.*?)```", GUIDE, re.DOTALL)
    mine = STRANGER.replace("MISSING", "None").replace("Stranger", "Mine")
    toys.install(tmp_path, monkeypatch, mine, name="my_engine")
    (tmp_path / "test_mine.py").write_text(lines)
    done = run_pytest(tmp_path, "-k", "most_likely or sum_to_one")
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "slmeval contract: stranger " in done.stdout


def test_the_badge_of_the_guide_is_a_real_one() -> None:
    (shown,) = re.findall(r"<!-- badge -->\n```\n(.*?)\n```", GUIDE, re.DOTALL)
    badge = Badge("hf", "5.24.0", "dtype=float32", tuple(load().parts.backends["hf"].capabilities), 0)
    for clause in clauses(BackendContract):
        badge = badge.with_outcome(clause, "passed")
    # at another version the guide need not be written again
    shown = re.sub(r"slmeval \d[\w.]*", f"slmeval {__version__}", shown)
    assert replace(badge, clauses=len(badge.outcomes)).lines() == shown.splitlines()
