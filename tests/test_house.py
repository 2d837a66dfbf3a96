"""The house rules that a tool can check: style, types, the wheel."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(find_spec("ruff") is None, reason="ruff is not installed")
def test_ruff_has_nothing_to_say() -> None:
    run("ruff", "check", ".")
    run("ruff", "format", "--check", ".")


@pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is not installed")
@pytest.mark.skipif(
    find_spec("torch") is None, reason="torch, whose types are checked against, is not installed"
)
def test_mypy_strict_has_nothing_to_say() -> None:
    run("mypy")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    run("build", "--wheel", "--no-isolation", "--outdir", str(folder), ".")
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_every_package_and_its_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for pattern in ("slmeval/**/*.py", "plugins/*/*.py", "tasks/*/*.py", "slmeval/demo/**/*"):
        for path in ROOT.glob(pattern):
            if path.is_file() and "__pycache__" not in path.parts:
                relative = path.relative_to(ROOT)
                parts = relative.parts[1:] if relative.parts[0] in ("plugins", "tasks") else relative.parts
                assert "/".join(parts) in names
    assert "slmeval/schema/run-1.json" in names
    assert "slmeval/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "demo/", "benchmarks/", "docs/"))]


def test_the_wheel_runs_the_demonstration_away_from_the_source(wheel: Path, tmp_path: Path) -> None:
    """Its dependencies are lent from this environment; its own code is in the wheel alone."""
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    site = next((tmp_path / "env").glob("lib/python*/site-packages"), tmp_path / "env/Lib/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    lent = [path for path in sys.path if path.endswith("site-packages")]
    (site / "lent.pth").write_text("\n".join(lent))
    python = next((tmp_path / "env").glob("bin/python"), tmp_path / "env/Scripts/python.exe")
    program = (
        "import slmeval, sys; assert 'site-packages' in slmeval.__file__, slmeval.__file__; "
        "from slmeval.cli import main; main()"
    )
    command = ["run", "--backend", "reference", "--tasks", "arc", "--limit", "4"]
    done = subprocess.run(
        [str(python), "-c", program, *command, "--store", str(tmp_path / "store.db")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Demonstration")
