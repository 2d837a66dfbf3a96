"""What a backend can do, and how it kept its contract: the lines at the end of a session of pytest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any

from slmeval import __version__
from slmeval.testing.contract import BackendContract, clauses
from slmeval.testing.description import CAPABILITIES
from slmeval.testing.subject import options_for


@dataclass(frozen=True)
class Badge:
    """One backend under one contract; ``outcomes`` are "passed", "failed" or "skipped" by clause."""

    backend: str
    version: str
    options: str
    capabilities: tuple[str, ...]
    clauses: int
    outcomes: Mapping[str, str] = field(default_factory=dict)

    def with_outcome(self, clause: str, outcome: str) -> Badge:
        """One clause more; the worst that was said of it counts."""
        worst = max(outcome, self.outcomes.get(clause, ""), key=("", "skipped", "passed", "failed").index)
        return replace(self, outcomes={**self.outcomes, clause: worst})

    def lines(self) -> list[str]:
        """As the terminal shows it: one line, one for each broken clause, and one for a README."""
        failed, passed = self._with("failed"), self._with("passed")
        unasked = self.clauses - len(self.outcomes)
        parts = [
            f"slmeval contract: {self._named()}: {' '.join(self._declared())}",
            *(f"{name}: not declared" for name in CAPABILITIES if name not in self.capabilities),
            f"{len(passed)} clauses passed",
            *([f"{len(failed)} FAILED"] if failed else []),
            *([f"{unasked} not asked"] if unasked else []),
        ]
        return [" | ".join(parts), *(f"  FAILED: {_words(name)}" for name in failed), *self._markdown(passed)]

    def _markdown(self, passed: list[str]) -> list[str]:
        # half a contract is nothing to show
        whole = len(self.outcomes) == self.clauses and not self._with("failed")
        if not whole:
            return []
        told = ", ".join(f"`{name}`" for name in self._declared())
        return [f"**slmeval {__version__} contract kept**: {self._named()}, {told}, {len(passed)} clauses"]

    def _named(self) -> str:
        return " ".join(part for part in (self.backend, self.version, self.options) if part)

    def _declared(self) -> list[str]:
        return [name for name in CAPABILITIES if name in self.capabilities]

    def _with(self, outcome: str) -> list[str]:
        return [name for name, found in self.outcomes.items() if found == outcome]


def _words(clause: str) -> str:
    return clause.removeprefix("test_").replace("_", " ")


@cache
def blank(contract: type[BackendContract]) -> dict[str, Any]:
    """The badge of a contract before its first clause, as plain data that can travel to another process."""
    backend = contract.backend
    version, dtype = _measured_with(contract)
    shown = {**({"dtype": dtype} if dtype else {}), **contract.options}
    badge = Badge(
        backend.name,
        version,
        " ".join(f"{name}={value}" for name, value in shown.items()),
        tuple(sorted(backend.capabilities)),
        len(clauses(contract)),
    )
    return asdict(badge)


def _measured_with(contract: type[BackendContract]) -> tuple[str, str]:
    """The engine's version and the dtype, as far as they can be had: what fails here fails a clause too."""
    try:
        options = options_for(contract.backend, contract.options)
        fingerprint = contract.backend.fingerprint(options)
        return str(fingerprint.get("version", "")), str(options.get("dtype", ""))
    except Exception:  # noqa: BLE001  a backend under test may do anything, and the report must go on
        return "", ""
