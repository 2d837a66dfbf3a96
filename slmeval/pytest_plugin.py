"""The pytest plugin: a fixture that runs an evaluation, and the contract of a backend named by an option.

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
    from slmeval.testing.badge import Badge
    from slmeval.types import RunResult


@pytest.fixture(scope="session")
def slmeval_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RunResult]:
    """``slmeval_run(tasks=("arc",), ...)``: one run, with the fields of ``RunOptions``, and its result.

    All runs of a session share one store, so that what was asked once is not asked again.
    """
    from slmeval.testing import evaluate
    from slmeval.types import RunOptions

    store = tmp_path_factory.mktemp("slmeval") / "store.db"

    def run(**options: Any) -> RunResult:
        return evaluate(RunOptions(**options), store)

    return run


# ---- the contract of a backend -----------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--slmeval-backend NAME`` and its options."""
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


def pytest_configure(config: pytest.Config) -> None:
    """Put the contract among what is collected, and its badge at the end.

    :raises pytest.UsageError: there is no such backend or option, or the engine is not installed.
    """
    config.pluginmanager.register(_Badges(), "slmeval-badges")
    name, options = config.getoption("--slmeval-backend"), config.getoption("--slmeval-option")
    if name is not None:
        _collect_contract(config, name, options)
    elif options:
        raise pytest.UsageError("--slmeval-option says something of a backend: add --slmeval-backend NAME")


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
