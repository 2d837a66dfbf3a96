"""The pytest plugin: runs and gates as tests, and the contract of a backend named by an option.

It is loaded in every pytest session, so that it must cost nothing where it is not used: what is ours is
imported late, which also leaves it to a coverage tool to look first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from slmeval.pytest_answers import Answers
    from slmeval.pytest_gates import Gate
    from slmeval.pytest_runs import Runs
    from slmeval.testing.badge import Badge
    from slmeval.types import RunResult

_GATE: pytest.StashKey[Gate] = pytest.StashKey()
#: what can come of a gate that cannot decide
_INCONCLUSIVE = ("show", "fail")


@pytest.fixture(scope="session")
def _slmeval_runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """What this session has measured, in a folder that all processes of pytest-xdist share."""
    from slmeval.pytest_runs import Runs

    if not hasattr(request.config, "workerinput"):
        return Runs(tmp_path_factory.mktemp("slmeval"))
    # a process of pytest-xdist has a folder of its own within the session's
    folder = tmp_path_factory.getbasetemp().parent / "slmeval"
    folder.mkdir(exist_ok=True)
    return Runs(folder)


@pytest.fixture(scope="session")
def slmeval_run(_slmeval_runs: Runs) -> Callable[..., RunResult]:
    """``slmeval_run(tasks=("arc",), ...)``: one run, with the fields of ``RunOptions``, and its result.

    All runs of a session share one store, so that what was asked once is not asked again.
    """
    from slmeval.testing import evaluate
    from slmeval.types import RunOptions

    def run(**options: Any) -> RunResult:
        return evaluate(RunOptions(**options), _slmeval_runs.store)

    return run


@pytest.fixture
def slmeval_gate(request: pytest.FixtureRequest, _slmeval_runs: Runs) -> Gate:
    """The gate of a test: ``.run`` and ``.report`` are those that the marker ``slmeval`` asks for.

    ``slmeval_gate(run, "arc/acc >= 0.3")`` holds a run that the test has made to rules. See docs/pytest.md.
    """
    from slmeval.pytest_gates import Gate

    gate = request.node.stash[_GATE] = Gate(request.node, _slmeval_runs, getattr(request, "param", None))
    gate.prepare()
    return gate


# ---- gates -------------------------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with the marker ``slmeval`` becomes one for each rule of its gate."""
    if metafunc.definition.get_closest_marker("slmeval") is not None:
        from slmeval.pytest_marks import spread

        spread(metafunc)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Who has a gate is held to it, whether or not the function takes the fixture."""
    if item.get_closest_marker("slmeval") is not None:
        from slmeval.pytest_marks import take

        take(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """A body that went well ends as its gate says."""
    result = yield
    if (gate := item.stash.get(_GATE, None)) is not None:
        gate.finish()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The report of a test with a gate carries its answers, also from a process of pytest-xdist."""
    report = yield
    if call.when == "call" and (gate := item.stash.get(_GATE, None)) is not None:
        gate.put_into(report)
    return report


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """What could not be decided is counted apart, unless that is a failure here."""
    if not getattr(report, "slmeval_inconclusive", False):
        return None
    return "failed" if report.failed else "inconclusive", "I", "INCONCLUSIVE"


class _Gates:
    """Listens to the reports of gates, and tells of them in the end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._answers: Answers | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told = getattr(report, "slmeval_gate", None)
        if told is not None:
            if self._answers is None:
                from slmeval.pytest_answers import Answers

                self._answers = Answers()
            shown = report.failed and report.slmeval_inconclusive
            self._answers.add(report.nodeid, told, shown=shown)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        # pytest-xdist's processes leave it to the one that has all reports
        if self._answers is not None and not hasattr(self._config, "workerinput"):
            self._answers.write()
            if self._answers.broken and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        lines = self._answers.lines() if self._answers is not None else []
        if not lines and self._config.getoption("--slmeval-update-baseline"):
            lines = [("no baseline written: no test with a gate was run to its end", {"yellow": True})]
        if lines:
            terminalreporter.write_sep("=", "slmeval gates")
        for line, markup in lines:
            terminalreporter.write_line(line, **markup)


# ---- the contract of a backend -----------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of gates, and ``--slmeval-backend NAME`` with its own."""
    _add_options_of_gates(parser)
    group = parser.getgroup("slmeval", "the contract of an slmeval backend")
    group.addoption(
        "--slmeval-backend",
        metavar="NAME",
        help="check this installed backend against slmeval's contract; without a path, that alone",
    )
    group.addoption(
        "--slmeval-option",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="an option of that backend, as slmeval run -o takes it; may be repeated",
    )


def _add_options_of_gates(parser: pytest.Parser) -> None:
    group = parser.getgroup("slmeval-gates", "gates of slmeval: @pytest.mark.slmeval(..., gate=...)")
    group.addoption("--slmeval-baseline", metavar="FILE", help="the baseline that rules are held against")
    group.addoption(
        "--slmeval-update-baseline",
        action="store_true",
        help="write what is measured into that file, in place of holding it against the file",
    )
    group.addoption(
        "--slmeval-inconclusive",
        choices=_INCONCLUSIVE,
        help="what comes of a gate that cannot decide: it is shown apart (the default), or fails",
    )
    parser.addini(
        "slmeval_baseline", "the same as --slmeval-baseline, from this file's folder on", default=""
    )
    parser.addini("slmeval_inconclusive", "the same as --slmeval-inconclusive", default="show")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, put the contract among what is collected, and its badge at the end.

    :raises pytest.UsageError: a setting is wrong; there is no such backend or option, or its engine is not
        installed.
    """
    _check_settings_of_gates(config)
    config.addinivalue_line(
        "markers",
        "slmeval(tasks=..., model=..., backend=..., gate=...): one run, and the rules that it is held to",
    )
    config.pluginmanager.register(_Gates(config), "slmeval-gates")
    config.pluginmanager.register(_Badges(), "slmeval-badges")
    name, options = config.getoption("--slmeval-backend"), config.getoption("--slmeval-option")
    if name is not None:
        _collect_contract(config, name, options)
    elif options:
        raise pytest.UsageError("--slmeval-option says something of a backend: add --slmeval-backend NAME")


def _check_settings_of_gates(config: pytest.Config) -> None:
    inconclusive = config.getini("slmeval_inconclusive")
    if inconclusive not in _INCONCLUSIVE:
        raise pytest.UsageError(f"slmeval_inconclusive = {inconclusive}: write {' or '.join(_INCONCLUSIVE)}")
    if given := config.getoption("--slmeval-baseline"):
        # for the processes of pytest-xdist too
        config.option.slmeval_baseline = str(config.invocation_params.dir / given)


def _collect_contract(config: pytest.Config, name: str, options: list[str]) -> None:
    from slmeval.errors import UsageError
    from slmeval.testing import named

    try:
        named.name_backend(name, options)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    path = str(Path(named.__file__))
    # an author's own tests are run beside it where they are named
    given = config.args if config.args_source is pytest.Config.ArgsSource.ARGS else []
    config.args = [*(each for each in given if each != path), path]


class _Badges:
    """Listens to the clauses of each contract, in this process or in those of pytest-xdist."""

    def __init__(self) -> None:
        self._badges: dict[str, Badge] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        # where nobody imported the contract, nothing can be a test of it
        kit = sys.modules.get("slmeval.testing.contract")
        contract = getattr(item, "cls", None)
        if kit is not None and isinstance(contract, type) and issubclass(contract, kit.BackendContract):
            report.slmeval_clause = _said(contract, item)  # type: ignore[attr-defined]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        said = getattr(report, "slmeval_clause", None)
        if said is not None:
            from slmeval.testing.badge import Badge

            key = f"{said['contract']} {said['badge']}"
            badge = self._badges.get(key) or Badge(**said["badge"])
            # of a test that is set up and torn down without a word, the call is what counts
            if report.when == "call" or report.outcome != "passed":
                badge = badge.with_outcome(said["clause"], report.outcome)
            self._badges[key] = badge

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._badges:
            terminalreporter.section("slmeval contract")
        for badge in self._badges.values():
            for line in badge.lines():
                terminalreporter.write_line(line)


def _said(contract: type, item: pytest.Item) -> dict[str, Any]:
    from slmeval.testing.badge import blank

    name = getattr(item, "originalname", None) or item.name
    return {"contract": contract.__qualname__, "clause": name, "badge": blank(contract)}
