"""What every backend owes: the same numbers, whatever the circumstances.

    class TestMine(BackendContract):
        backend = MineBackend

is a test class with one test for each clause; ``pytest --slmeval-backend NAME`` runs it for an installed
backend without a line of code. Nothing here imports an engine.
"""

from __future__ import annotations

from slmeval.testing.description import DescriptionClauses
from slmeval.testing.robustness import RobustnessClauses
from slmeval.testing.scoring import ScoreClauses
from slmeval.testing.writing import GenerateClauses


class BackendContract(ScoreClauses, GenerateClauses, RobustnessClauses, DescriptionClauses):
    """All clauses. A subclass names its ``backend``, and may name ``options`` and a ``tolerance``."""


def clauses(contract: type[BackendContract]) -> tuple[str, ...]:
    """The names of its tests, those that a subclass adds included, in the order in which pytest runs them."""
    found = (name for part in reversed(contract.__mro__) for name in vars(part) if name.startswith("test_"))
    return tuple(dict.fromkeys(found))
