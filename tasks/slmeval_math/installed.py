"""Whether what compares mathematical answers is here, in versions that work together."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from slmeval.errors import MissingExtra

#: sympy's parser of LaTeX was made for this version alone
_ANTLR = "4.11"


def check_installed() -> None:
    """
    :raises MissingExtra: what compares answers is not installed, or in a version that it does not work with.
    """
    for name in ("sympy", "math_verify"):
        if find_spec(name) is None:
            raise MissingExtra(f"{name}, which compares mathematical answers,", "math")
    try:
        found = version("antlr4-python3-runtime")
    except PackageNotFoundError:
        raise MissingExtra("antlr4-python3-runtime, with which sympy reads LaTeX,", "math") from None
    if not found.startswith(_ANTLR):
        raise MissingExtra(
            "antlr4-python3-runtime, with which sympy reads LaTeX,",
            "math",
            f"is version {found}, and must be {_ANTLR}",
        )
