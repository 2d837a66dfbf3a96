"""The steps of the action. Inputs come in the environment, and reach slmeval and pip as single arguments.

Nothing but Python's own library is used here, on any system that GitHub's runners have.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from uuid import uuid4

#: a rule could not be decided (slmeval's exit code)
_INCONCLUSIVE = 4
#: the reports of a gate, beside its annotations
_REPORTS = ("gate.json", "gate.md", "gate.xml", "gate.bmf.json")


def install() -> int:
    """Put slmeval into an environment of its own, and name its interpreter."""
    package, extras = given("package"), given("extras")
    if not package:
        put("python", sys.executable)
        return 0
    folder = home() / "environment"
    venv.create(folder, with_pip=True, clear=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = f"{package}[{extras}]" if extras else package
    put("python", str(python))
    # after "--" nothing is an option
    return call(str(python), "-m", "pip", "install", "--disable-pip-version-check", "--", wanted)


def gate() -> int:
    """Measure, judge, and report; what was measured is judged even where a part of it failed."""
    reports = home() / "reports"
    # what an earlier use of the action left is none of this one's
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    put("reports", str(reports))
    # until there is another one: of an output that is set twice, the second counts
    put("verdict", "error")
    measured = slmeval("run", *words("run"), "--output", str(reports / "run.json"), "--format", "json")
    run = name_of(reports / "run.json")
    if run is None:
        return measured or 1
    put("run", run)
    judged = judge(run, reports)
    return measured or (0 if judged == _INCONCLUSIVE and not strict() else judged)


def judge(run: str, reports: Path) -> int:
    """slmeval's exit code, after its reports have been handed on."""
    files = [reports / name for name in (*_REPORTS, "gate.github.txt")]
    for file in files:
        file.unlink(missing_ok=True)
    named = [(flag, given(flag)) for flag in ("baseline", "rules")]
    flags = [word for flag, value in named if value for word in (f"--{flag}", value)]
    into = [word for file in files for word in ("--report", str(file))]
    code = slmeval("gate", run, *flags, *words("gate"), *into)
    found = files[0]
    if found.exists():
        put("verdict", json.loads(found.read_text(encoding="utf-8"))["answer"])
    hand_on(reports / "gate.md", os.environ.get("GITHUB_STEP_SUMMARY"))
    hand_on(files[-1], None)
    return code


def hand_on(report: Path, file: str | None) -> None:
    """Add a report to a file, or write it to the log, where annotations are read."""
    if not report.exists():
        return
    text = report.read_text(encoding="utf-8")
    if file is None:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.flush()
        return
    with Path(file).open("a", encoding="utf-8") as opened:
        opened.write(text + "\n")


# ---- inputs and outputs ------------------------------------------------------------------------------


def given(name: str) -> str:
    """An input, "" where it was not given."""
    return os.environ.get(f"SLMEVAL_INPUT_{name.upper().replace('-', '_')}", "").strip()


def words(name: str) -> list[str]:
    """An input in words, as a shell would split them; there is nothing in them that a shell would do."""
    try:
        return shlex.split(given(name))
    except ValueError as error:
        sys.exit(f"the input {name} cannot be split into words: {error}")


def strict() -> bool:
    """Whether what could not be decided is a failure."""
    return given("fail-on-inconclusive").lower() == "true"


def put(name: str, value: str) -> None:
    """Set an output of the step; of a value, the first line alone."""
    line = f"{name}={value.splitlines()[0] if value else ''}\n"
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as opened:
        opened.write(line)


def home() -> Path:
    """The folder of the action on this runner."""
    return Path(os.environ["RUNNER_TEMP"]) / "slmeval"


def name_of(report: Path) -> str | None:
    """The name of the run that was reported; ``None`` where none was."""
    if not report.exists():
        return None
    return str(json.loads(report.read_text(encoding="utf-8"))["run"]["id"])


# ---- commands ----------------------------------------------------------------------------------------


def slmeval(*arguments: str) -> int:
    """Run a command of slmeval on the action's store."""
    python = os.environ.get("SLMEVAL_PYTHON") or sys.executable
    return call(python, "-m", "slmeval", *arguments, "--store", str(home() / "store.db"))


def call(*command: str) -> int:
    """Run a command; no line that it writes is taken for an instruction to the runner."""
    word = uuid4().hex
    tell(f"::stop-commands::{word}")
    try:
        return subprocess.run(command, check=False).returncode
    finally:
        tell(f"::{word}::")


def tell(line: str) -> None:
    """One line of the log."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit({"install": install, "gate": gate}[sys.argv[1]]())
