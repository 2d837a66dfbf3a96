"""The contract of the backend that ``pytest --slmeval-backend NAME`` names: the plugin collects this file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from slmeval.errors import UsageError
from slmeval.presence import check_present
from slmeval.registry import load, pick
from slmeval.testing.contract import BackendContract
from slmeval.testing.subject import model_for, options_for


class TestNamed(BackendContract):
    """Nothing until a backend is named."""

    __test__: ClassVar[bool] = False


def name_backend(name: str, options: Sequence[str]) -> None:
    """Make ``TestNamed`` the contract of an installed backend; options are texts ``key=value``.

    :raises UsageError: there is no such backend or option, or the engine is not installed.
    """
    backend = pick("backend", name, load().parts.backends)
    check_present(backend)
    TestNamed.backend = backend
    TestNamed.options = dict(_pair(text) for text in options)
    # a wrong option is a mistake of the command, not of the backend
    options_for(backend, TestNamed.options)
    # so is a library that is missing for the model
    model_for(backend, "toy")
    TestNamed.__test__ = True


def _pair(text: str) -> tuple[str, str]:
    key, given, value = text.partition("=")
    if not given:
        raise UsageError(f"--slmeval-option {text}: write key=value")
    return key, value
