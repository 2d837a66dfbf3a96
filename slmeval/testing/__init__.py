"""For plugin authors' tests: the contract that every backend keeps, and evaluations from Python.

Not imported by anything that runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slmeval.planner import plan
from slmeval.registry import load
from slmeval.run import execute
from slmeval.sights import Sight
from slmeval.store import Store
from slmeval.testing.contract import BackendContract
from slmeval.types import RunOptions, RunResult

__all__ = ["BackendContract", "Silent", "evaluate"]


class Silent:
    """Progress that nobody watches."""

    def begin(self, label: str, total: int, unit: str = "req") -> None:
        """A job begins."""

    def advance(self, done: int) -> None:
        """So many requests more are answered."""

    def end(self) -> None:
        """The job has ended."""

    def see(self, sights: Sequence[Sight]) -> None:
        """So much is known of cells that may end early."""

    def leave_out(self, requests: int) -> None:
        """So many requests are not asked any more."""


def evaluate(options: RunOptions, store: Path, plugins: Mapping[str, Any] | None = None) -> RunResult:
    """One run, as ``slmeval run`` does it, with ``plugins`` loaded beside the installed ones.

    A worker in its own process loads installed plugins alone: a backend that is given by hand needs
    ``executor="local"``.

    :raises slmeval.errors.SlmevalError: as the command would.
    """
    registry = load(options.blocked_plugins, plugins)
    with Store.open(store) as opened:
        planned = plan(options, registry.parts, opened.file_hash)
        return execute(planned, registry, opened, Silent())
