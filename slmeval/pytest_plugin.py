"""The pytest plugin: a fixture that runs an evaluation, its answers kept for the whole session."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from slmeval.types import RunResult


@pytest.fixture(scope="session")
def slmeval_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RunResult]:
    """``slmeval_run(tasks=("arc",), ...)``: one run, with the fields of ``RunOptions``, and its result.

    All runs of a session share one store, so that what was asked once is not asked again.
    """
    # imported late: a plugin that is loaded in every pytest session must cost nothing, and must not be
    # imported before a coverage tool has begun to look
    from slmeval.testing import evaluate
    from slmeval.types import RunOptions

    store = tmp_path_factory.mktemp("slmeval") / "store.db"

    def run(**options: Any) -> RunResult:
        return evaluate(RunOptions(**options), store)

    return run
