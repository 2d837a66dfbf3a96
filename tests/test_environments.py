"""Engines in environments of their own: found, remembered, made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import toys

from slmeval.environments import itself
from slmeval.registry import load

#: runs only under an interpreter whose folder is "apart", or has a file of that name
APART = toys.MODULE.replace(
    '    name = "toy"\n',
    """    name = "apart"
    extra = "apart"

    @classmethod
    def missing(cls):
        home = Path(sys.prefix)
        return None if home.name == "apart" or (home / "apart").exists() else "it lives elsewhere"

    @classmethod
    def environment(cls):
        return (("install", "--no-deps", "click"),)
""",
).replace("import math, os,", "import math, os, sys,")


@pytest.fixture(autouse=True)
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugin").mkdir()
    toys.install(tmp_path / "plugin", monkeypatch, APART)
    monkeypatch.setenv("SLMEVAL_STORE", str(tmp_path / "store.db"))
    monkeypatch.setenv("SLMEVAL_ENVIRONMENTS", str(tmp_path / "environments"))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Another interpreter, which finds what this one has."""
    home = tmp_path / "elsewhere"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    (site,) = home.glob("lib/python*/site-packages")
    # what the lines of its .pth files say counts as well
    here = sysconfig.get_paths()["purelib"]
    (site / "here.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    (home / "apart").touch()
    return home / "bin" / "python"


def slmeval(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "slmeval", *arguments]
    return subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)


def run_apart(*arguments: str) -> subprocess.CompletedProcess[str]:
    few = ("--tasks", "piqa", "--limit", "2", "--format", "json")
    return slmeval("run", "--backend", "apart", *few, *arguments)


def test_without_one_it_is_said_what_makes_it() -> None:
    done = run_apart()
    assert done.returncode == 2
    assert "backend 'apart' cannot run here (it lives elsewhere): slmeval doctor --make apart" in done.stderr
    assert (
        "backend apart: it lives elsewhere; add it: slmeval doctor --make apart" in slmeval("doctor").stdout
    )


def test_what_was_remembered_is_used(elsewhere: Path) -> None:
    told = slmeval("doctor", "--python", f"apart={elsewhere}")
    assert (told.returncode, told.stderr) == (0, "")
    assert f"backend apart: ready, under {elsewhere}" in told.stdout
    assert "apart      in an environment of its own" in slmeval("list", "backends").stdout
    done = run_apart()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["models"][0]["backend"] == "apart"


def test_an_interpreter_that_is_named_goes_before(elsewhere: Path) -> None:
    assert slmeval("doctor", "--python", f"apart={elsewhere}").returncode == 0
    done = run_apart("--python", f"apart={sys.executable}")
    assert done.returncode == 3
    assert "it lives elsewhere" in done.stderr


@pytest.mark.parametrize(
    ("python", "told"),
    [
        ("/no/such/python", "it cannot be started: No such file or directory"),
        (sys.executable, "it lives elsewhere"),
        ("false", "slmeval is not installed there (it said nothing)"),
    ],
)
def test_an_interpreter_that_cannot_be_used_is_not_remembered(
    python: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if python == "false":
        (tmp_path / "false").write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "false").chmod(0o755)
        python = str(tmp_path / "false")
    done = slmeval("doctor", "--python", f"apart={python}")
    assert done.returncode == 2
    assert done.stderr.strip() == f"slmeval: --python apart={python}: {told}"
    assert not (tmp_path / "environments").exists()


def test_one_that_went_away_since_is_told(elsewhere: Path) -> None:
    assert slmeval("doctor", "--python", f"apart={elsewhere}").returncode == 0
    elsewhere.unlink()
    assert f"backend apart: it cannot be started: No such file or directory, under {elsewhere}" in (
        slmeval("doctor").stdout
    )
    done = run_apart()
    assert done.returncode == 3
    assert f"cannot start a worker with {elsewhere}: No such file or directory" in done.stderr


@pytest.mark.parametrize("content", ["{", "[]", '{"apart": 1}', "\0", '{"apart": "\\u0000"}', "[" * 100_000])
def test_a_damaged_memory_is_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "pythons.json").write_text(content)
    for done in (run_apart(), slmeval("doctor")):
        assert done.returncode == 2
        assert "pythons.json" in done.stderr
        assert "remove it" in done.stderr


@pytest.mark.slow
def test_one_is_made_with_one_command(tmp_path: Path) -> None:
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "pythons.json").write_text('{"apart": "/gone/python", "other": "/kept"}')
    assert "under /gone/python; add it: slmeval doctor --make apart" in slmeval("doctor").stdout
    made = slmeval("doctor", "--make", "apart", "--with", "iniconfig")
    assert made.returncode == 0, made.stderr
    home = tmp_path / "environments" / "apart"
    python = home / "bin" / "python"
    assert f"backend 'apart' runs under {python} from now on" in made.stderr
    assert json.loads((home.parent / "pythons.json").read_text()) == {"other": "/kept"}
    assert f"backend apart: ready, under {python}" in slmeval("doctor").stdout
    assert run_apart().returncode == 0
    subprocess.run([python, "-c", "import iniconfig"], check=True)
    # what was not made whole is not taken for an environment
    (home / "slmeval-environment.json").unlink()
    assert "it lives elsewhere; add it: slmeval doctor --make apart" in slmeval("doctor").stdout


def test_what_is_no_environment_is_not_removed(tmp_path: Path) -> None:
    mine = tmp_path / "environments" / "apart" / "mine.py"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    made = slmeval("doctor", "--make", "apart")
    assert made.returncode == 2
    assert "is there, and is no environment: move it away" in made.stderr
    assert mine.read_text() == "mine"


def test_what_lies_in_the_current_folder_is_not_run(elsewhere: Path, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    for name in ("json", "types"):
        (tmp_path / "here" / f"{name}.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    # the script, for "-m" would put the current folder on the path of this one
    script = Path(sys.executable).with_name("slmeval")
    told = subprocess.run(
        [script, "doctor", "--python", f"apart={elsewhere}"],
        cwd=tmp_path / "here",
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert not (tmp_path / "run").exists()


def test_an_interpreter_that_prints_no_text(tmp_path: Path) -> None:
    odd = tmp_path / "odd"
    odd.write_text("#!/bin/sh\nprintf '\\377\\n'; printf '\\377' >&2\n")
    odd.chmod(0o755)
    done = slmeval("doctor", "--python", f"apart={odd}")
    assert done.returncode == 2
    assert "slmeval is not installed there" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--make", "reference"), "backend 'reference' needs no environment of its own"),
        (("--make", "hf"), "needs no environment of its own: pip install 'slmeval[hf]'"),
        (("--make", "apartt"), "unknown backend 'apartt': did you mean 'apart'?"),
        (("--with", "pytest"), "add --make BACKEND"),
        (("--python", "apart"), "write it as NAME=VALUE"),
        (("--python", "none=x"), "unknown backend 'none'"),
    ],
)
def test_a_wrong_wish_is_refused(arguments: tuple[str, ...], told: str) -> None:
    done = slmeval("doctor", *arguments)
    assert done.returncode == 2
    assert told in done.stderr


def test_slmeval_knows_where_it_was_installed_from() -> None:
    assert itself()[-1]


def test_every_environment_is_pip_arguments() -> None:
    for backend in load().parts.backends.values():
        assert all(step[0] in {"install", "uninstall"} for step in backend.environment())
