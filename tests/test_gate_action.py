"""GitHub's action, and the page on CI: their shell steps are run as a runner does, on the demo model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from zipfile import ZipFile

import pytest

from slmeval.cli import run as slmeval
from slmeval.pairing import demo_model

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".github" / "actions" / "slmeval"
PAGE = (ROOT / "docs" / "gates-in-ci.md").read_text(encoding="utf-8")
ACTION: Mapping[str, Any] = yaml.safe_load((FOLDER / "action.yml").read_text(encoding="utf-8"))
STEPS: list[Mapping[str, Any]] = ACTION["runs"]["steps"]
RUN = "--backend reference --tasks arc_easy --limit 32"
EXPRESSION = re.compile(r"\$\{\{ *(.*?) *\}\}")

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a shell script stands for the commands on the PATH")


@dataclass(frozen=True)
class Done:
    """What a runner would know after the action."""

    code: int
    log: str
    summary: str
    outputs: Mapping[str, str]

    @property
    def commands(self) -> list[str]:
        """The lines of the log that the runner obeys."""
        obeyed, stopped = [], None
        for line in self.log.splitlines():
            if stopped is not None:
                stopped = None if line == f"::{stopped}::" else stopped
            elif line.startswith("::stop-commands::"):
                stopped = line.removeprefix("::stop-commands::")
            elif line.lstrip().startswith("::"):
                obeyed.append(line)
        assert stopped is None, "the runner listens again"
        return obeyed


class Runner:
    """A machine of GitHub's, as far as the action sees it."""

    def __init__(self, temp: Path) -> None:
        self.temp = temp
        self.tools = temp / "tools"
        self.tools.mkdir(parents=True)
        self.tool("python", f'exec "{sys.executable}" "$@"')
        self.tool("slmeval", f'exec "{sys.executable}" -m slmeval "$@"')
        self.tool("pip", ":")

    def tool(self, name: str, line: str) -> None:
        """A command on the PATH."""
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def shell(self, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The script in the shell that ``shell: bash`` means."""
        path = f"{self.tools}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            env={**os.environ, "PATH": path, "RUNNER_TEMP": str(self.temp), **environment},
            cwd=self.temp,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def action(self, **inputs: str) -> Done:
        """All shell steps of the action, up to the first that fails."""
        known = {f"inputs.{name}": str(told.get("default", "")) for name, told in ACTION["inputs"].items()}
        known.update({f"inputs.{name.replace('_', '-')}": text for name, text in inputs.items()})
        summary, log, code = self.temp / "summary.md", "", 0
        summary.write_text("before\n")
        for step in STEPS:
            if "run" in step and not code:
                put = self.temp / "output"
                put.write_text("")
                environment = {name: expand(text, known) for name, text in step["env"].items()}
                files = {"GITHUB_OUTPUT": str(put), "GITHUB_STEP_SUMMARY": str(summary)}
                done = self.shell(step["run"], GITHUB_ACTION_PATH=str(FOLDER), **files, **environment)
                log, code = log + done.stdout, done.returncode
                lines = [line.partition("=") for line in put.read_text().splitlines()]
                known.update({f"steps.{step['id']}.outputs.{name}": text for name, _, text in lines})
        outputs = {name: expand(told["value"], known) for name, told in ACTION["outputs"].items()}
        return Done(code, log, summary.read_text().removeprefix("before\n"), outputs)


def expand(text: str, known: Mapping[str, str]) -> str:
    return EXPRESSION.sub(lambda found: known.get(found[1], ""), text)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(tmp_path_factory.mktemp("runner"))


@pytest.fixture(scope="module")
def baseline(runner: Runner) -> Path:
    """A baseline of the demo model, made where the action will ask the same."""
    store, file = str(runner.temp / "slmeval" / "store.db"), runner.temp / "baseline.json"
    (runner.temp / "slmeval").mkdir()
    assert slmeval(["run", *RUN.split(), "--store", store]) == 0
    assert slmeval(["gate", "last", "--store", store, "--baseline", str(file), "--update-baseline"]) == 0
    return file


def undecided(baseline: Path) -> str:
    """A rule whose limit is what was measured."""
    (cell,) = json.loads(baseline.read_text())["cells"]
    return f"arc_easy/acc >= {cell['figures']['acc']['value']}"


# ---- what is written ---------------------------------------------------------------------------------


def test_no_input_becomes_a_part_of_a_script() -> None:
    for step in STEPS:
        assert "${{" not in step.get("run", ""), "an input in a script is a command of a stranger"


def test_every_input_is_used_and_described() -> None:
    text = yaml.safe_dump(STEPS)
    used = set(re.findall(r"inputs\.([a-z-]+)", text))
    assert used == set(ACTION["inputs"])
    assert all(told["description"] for told in (*ACTION["inputs"].values(), *ACTION["outputs"].values()))
    assert all(step["shell"] == "bash" for step in STEPS if "run" in step), "a composite action must say so"


def test_answers_are_kept_where_they_are_looked_for() -> None:
    restore, save = (step for step in STEPS if step.get("uses", "").startswith("actions/cache/"))
    assert restore["with"]["path"] == save["with"]["path"]
    assert save["with"]["key"] == f"${{{{ steps.{restore['id']}.outputs.cache-primary-key }}}}"
    assert restore["with"]["key"].startswith(restore["with"]["restore-keys"])
    assert "/slmeval/store.db" in restore["with"]["path"]


def test_every_variable_of_a_step_is_read() -> None:
    program = (FOLDER / "steps.py").read_text(encoding="utf-8")
    for step in STEPS:
        for name in step.get("env", ()):
            key = name.removeprefix("SLMEVAL_INPUT_").lower().replace("_", "-")
            assert f'"{key}"' in program or f'"{name}"' in program


def test_the_page_has_every_input_with_its_default() -> None:
    rows = {
        name: default.strip("`")
        for name, default in re.findall(r"^\| `([a-z-]+)` \| (`?[^|]*?) ?\|", PAGE, re.M)
    }
    for name, told in ACTION["inputs"].items():
        assert rows[name] == str(told.get("default", "")), name
    for name in ACTION["outputs"]:
        assert f"`{name}`" in PAGE


def example(mark: str) -> str:
    (found,) = re.findall(rf"<!-- {mark} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def test_the_workflow_of_the_page_uses_what_there_is() -> None:
    workflow = yaml.safe_load(example("workflow"))
    (step,) = [step for step in workflow["jobs"]["gate"]["steps"] if step.get("id") == "slmeval"]
    assert set(step["with"]) <= set(ACTION["inputs"])
    assert (ROOT / step["uses"]).is_dir()
    assert workflow["permissions"] == {"contents": "read"}


# ---- what happens ------------------------------------------------------------------------------------


def test_a_run_that_is_as_good_passes(runner: Runner, baseline: Path) -> None:
    done = runner.action(
        run=RUN, baseline=str(baseline), package="", gate="--rule 'arc_easy/acc >= baseline'"
    )
    assert done.code == 0, done.log
    assert done.outputs["verdict"] == "pass"
    assert "**Gate: pass (1 passed).**" in done.summary
    assert [line.split("::")[1] for line in done.commands] == ["notice title=slmeval gate"]
    reports = Path(done.outputs["reports"])
    assert json.loads((reports / "run.json").read_text())["run"]["id"] == done.outputs["run"]
    assert ElementTree.parse(reports / "gate.xml").find(".//testcase") is not None
    assert json.loads((reports / "gate.bmf.json").read_text())


def test_a_rule_that_fails_fails_the_step_and_is_annotated(runner: Runner, baseline: Path) -> None:
    rules = runner.temp / "rules.toml"
    rules.write_text('rules = ["arc_easy/acc <= 0.3"]\n')
    done = runner.action(run=RUN, baseline=str(baseline), package="", rules=str(rules))
    assert (done.code, done.outputs["verdict"]) == (1, "fail")
    assert "❌ fail" in done.summary
    assert done.commands[0].startswith("::error title=slmeval gate%3A fail%3A arc_easy/acc <= 0.3::")


@pytest.mark.parametrize(("strict", "code"), [("false", 0), ("true", 4)])
def test_what_is_inconclusive_fails_the_step_where_that_is_asked(
    runner: Runner, baseline: Path, strict: str, code: int
) -> None:
    gate = f"--rule '{undecided(baseline)}'"
    done = runner.action(run=RUN, package="", gate=gate, fail_on_inconclusive=strict)
    assert (done.code, done.outputs["verdict"]) == (code, "inconclusive"), done.log
    assert done.commands[0].startswith("::warning ")


def test_a_run_that_cannot_be_made_leaves_no_verdict_of_an_earlier_one(
    runner: Runner, baseline: Path
) -> None:
    done = runner.action(run="--tasks ::error::no_such_task", package="")
    assert done.code == 2
    assert (done.outputs["verdict"], done.outputs["run"], done.summary) == ("error", "", "")
    assert "::error::no_such_task" in done.log
    assert done.commands == [], "what slmeval quotes is no instruction"


def test_a_gate_that_cannot_be_judged_is_an_error(runner: Runner, baseline: Path) -> None:
    done = runner.action(run=RUN, package="", gate="--rule 'arc_easy/no_such_figure >= 0.5'")
    assert (done.code, done.outputs["verdict"], done.summary) == (2, "error", "")
    assert done.outputs["run"]


def test_no_text_of_an_input_is_a_command(runner: Runner, baseline: Path) -> None:
    trap = runner.temp / "trapped"
    attack = f'"; touch {trap}; $(touch {trap}) `touch {trap}` && touch {trap} #"'
    others = dict.fromkeys(("baseline", "rules", "gate", "fail_on_inconclusive", "extras"), attack)
    for inputs in ({"run": attack}, {"run": RUN, **others}):
        assert runner.action(package="", **inputs).code == 2
        assert not trap.exists()


def test_words_that_do_not_end_are_told(runner: Runner) -> None:
    done = runner.action(run="--tasks 'arc", package="")
    assert done.code == 1
    assert "the input run cannot be split into words: No closing quotation" in done.log
    assert "Traceback" not in done.log


@pytest.mark.slow
def test_it_is_installed_into_an_environment_of_its_own(runner: Runner, tmp_path: Path) -> None:
    """From a wheel, without what it depends on, which this environment lends."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert {f"slmeval/schema/{name}-1.json" for name in ("comparison", "gate")} <= set(
        ZipFile(wheel).namelist()
    )
    lent = os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("PIP_NO_INDEX", "1"), ("PIP_NO_DEPS", "1"), ("PYTHONPATH", lent)):
            patch.setenv(name, value)
        done = runner.action(run=RUN, package=str(wheel), gate="--rule 'arc_easy/acc >= 0.01'")
    assert done.code == 0, done.log
    assert "Successfully installed slmeval" in done.log
    assert (runner.temp / "slmeval" / "environment" / "pyvenv.cfg").is_file()


# ---- any other system --------------------------------------------------------------------------------


@pytest.fixture
def checkout(runner: Runner, baseline: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Where a job of another system would be: with a baseline and rules."""
    gates = runner.temp / "gates"
    gates.mkdir(exist_ok=True)
    (gates / "baseline.json").write_bytes(baseline.read_bytes())
    (gates / "gates.toml").write_text('rules = ["arc_easy/acc >= baseline"]\n')
    return runner


def on_the_demo(script: str) -> str:
    """What the page says of models/mine, as it was asked of the demo model for the baseline."""
    asked = "--model models/mine --tasks arc --limit 200"
    assert asked in script
    return script.replace(asked, f"--model {demo_model()} --sample {RUN}")


def test_the_shell_lines_of_the_page_pass_fail_and_wait(checkout: Runner, baseline: Path) -> None:
    script = on_the_demo(example("shell"))
    done = checkout.shell(script)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "as good as before"), done.stdout
    assert ElementTree.parse(checkout.temp / "gate.xml").getroot().tag == "testsuites"
    rules = checkout.temp / "gates" / "gates.toml"
    rules.write_text('rules = ["arc_easy/acc <= 0.3"]\n')
    assert checkout.shell(script).returncode == 1
    rules.write_text(f'rules = ["{undecided(baseline)}"]\n')
    waiting = checkout.shell(script)
    assert (waiting.returncode, waiting.stdout.splitlines()[-1]) == (0, "not decided: see gate.md")


def test_the_job_for_gitlab_does_what_it_says(checkout: Runner) -> None:
    job = yaml.safe_load(example("gitlab"))["gate"]
    done = checkout.shell(on_the_demo("\n".join(job["script"])))
    assert done.returncode == 0, done.stdout
    assert job["allow_failure"]["exit_codes"] == 4
    for file in (*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"], *job["cache"]["paths"]):
        assert (checkout.temp / file).is_file()
