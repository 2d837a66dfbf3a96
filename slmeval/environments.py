"""Engines in environments of their own: where each one's interpreter is, and how one is made.

An engine whose pins cannot live beside others' is installed apart, with slmeval beside it, and its worker
runs there. What is found here is where it runs, never what is measured.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import platformdirs

from slmeval import __version__
from slmeval.api import Backend
from slmeval.children import AWAY
from slmeval.errors import UsageError
from slmeval.presence import way_to

#: in the folder of an environment that was made whole
_MARK = "slmeval-environment.json"
#: in the folder of all environments: interpreters elsewhere, by backend
_REMEMBERED = "pythons.json"
#: seconds in which an interpreter must say what it has
_PATIENCE = 120
#: said by another interpreter, so that nothing of its engine is loaded into this one
_QUESTION = (
    f"{AWAY}import json, slmeval; "
    "from slmeval.registry import load; part = load().parts.backends.get(sys.argv[1]); "
    "print(json.dumps([slmeval.__version__, 'no such backend' if part is None else part.missing()]))"
)


def folder() -> Path:
    """Where environments are made: ``SLMEVAL_ENVIRONMENTS``, or the user's data folder."""
    if named := os.environ.get("SLMEVAL_ENVIRONMENTS"):
        return Path(named).expanduser().absolute()
    return platformdirs.user_data_path("slmeval", appauthor=False) / "environments"


def python_of(name: str) -> Path | None:
    """The interpreter that was remembered for a backend, else that of the environment made for it.

    :raises UsageError: what was remembered cannot be read.
    """
    if (known := _remembered().get(name)) is not None:
        return Path(known)
    home = folder() / name
    return python_in(home) if (home / _MARK).is_file() else None


def trouble_with(name: str, python: Path) -> str | None:
    """Why no worker of that backend can run under ``python``, if so; it is asked, and imports no engine."""
    command = [str(python), "-c", _QUESTION, name]
    try:
        said = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=False)
    except OSError as error:
        return f"it cannot be started: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"it said nothing for {_PATIENCE} seconds"
    try:
        version, missing = json.loads(said.stdout.splitlines()[-1])
    except (ValueError, IndexError, TypeError, RecursionError):
        told = _last_line(said.stderr.decode(errors="replace"))
        return f"slmeval is not installed there ({told})"
    if version != __version__:
        return f"it has slmeval {version}, and this is {__version__}"
    return None if missing is None else str(missing)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"


# ---- remembering -------------------------------------------------------------------------------------


def remember(name: str, python: Path) -> None:
    """Let the backend's workers run under ``python`` from now on.

    :raises UsageError: they cannot, or it cannot be written down.
    """
    trouble = trouble_with(name, python)
    if trouble is not None:
        raise UsageError(f"--python {name}={python}: {trouble}")
    _write({**_remembered(), name: str(python)})


def _forget(name: str) -> None:
    known = _remembered()
    if known.pop(name, None) is not None:
        _write(known)


def _write(known: Mapping[str, str]) -> None:
    file = folder() / _REMEMBERED
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f"{file.name}.{os.getpid()}")
        fresh.write_text(json.dumps(known, indent=1), encoding="utf-8")
        fresh.replace(file)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from None


def _remembered() -> dict[str, str]:
    file = folder() / _REMEMBERED
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file} cannot be read ({error}): remove it") from None
    if not isinstance(known, dict) or not all(map(_is_path, known.values())):
        raise UsageError(f"{file} does not map backends to interpreters: remove it")
    return known


def _is_path(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


# ---- making ------------------------------------------------------------------------------------------


def make(backend: type[Backend], more: Sequence[str], tell: Callable[[str], None]) -> Path:
    """An environment of the backend's own, with slmeval and ``more`` beside it; its interpreter.

    What was there under its name is made anew. ``tell`` hears each command before it is run.

    :raises UsageError: the backend needs none, or a command failed.
    """
    steps = backend.environment()
    if not steps:
        way = way_to(backend)
        raise UsageError(
            f"backend {backend.name!r} needs no environment of its own{f': {way}' if way else ''}"
        )
    home = folder() / backend.name
    python = python_in(home)
    _clear(home)
    pip = [str(python), "-m", "pip"]
    commands = [
        [sys.executable, "-m", "venv", str(home)],
        *([*pip, step[0], "--quiet", *step[1:]] for step in steps),
        [*pip, "install", "--quiet", *itself(), *more],
    ]
    for command in commands:
        tell(" ".join(command))
        _run(command)
    trouble = trouble_with(backend.name, python)
    if trouble is not None:
        raise UsageError(f"the environment at {home} was made, and cannot be used: {trouble}")
    (home / _MARK).write_text(json.dumps({"backend": backend.name, "slmeval": __version__}), encoding="utf-8")
    # what was remembered would go before it
    _forget(backend.name)
    return python


def _clear(home: Path) -> None:
    """Remove the environment that was there.

    :raises UsageError: what is there is no environment, or cannot be removed.
    """
    if home.exists() and not (home / "pyvenv.cfg").is_file():
        raise UsageError(f"{home} is there, and is no environment: move it away")
    try:
        # without its mark, what is left of it is not taken for whole
        (home / _MARK).unlink(missing_ok=True)
        if home.exists():
            shutil.rmtree(home)
    except OSError as error:
        raise UsageError(f"{home} cannot be removed: {error.strerror}") from None


def _run(command: Sequence[str]) -> None:
    # what a command prints must not get between our results
    try:
        status = subprocess.run(command, stdout=sys.stderr.fileno(), check=False).returncode
    except OSError as error:
        raise UsageError(f"{command[0]} cannot be started: {error.strerror}") from None
    if status:
        raise UsageError(f"{' '.join(command)} failed with status {status}")


def python_in(home: Path) -> Path:
    """The interpreter of the environment in a folder."""
    return home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def itself() -> tuple[str, ...]:
    """What pip must be told to install this very slmeval: its folder if it came from one, else its version.

    Source: the file ``direct_url.json`` of the distribution (PEP 610).
    """
    try:
        told = json.loads(distribution("slmeval").read_text("direct_url.json") or "{}")
    except ValueError:
        told = {}
    url = urlsplit(str(told.get("url", "")))
    place = url2pathname(url.path)
    if url.scheme != "file" or not Path(place).exists():
        return (f"slmeval=={__version__}",)
    editable = told.get("dir_info", {}).get("editable", False)
    return ("--editable", place) if editable else (place,)
