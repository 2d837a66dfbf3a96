"""What every backend owes: the same numbers, whatever the circumstances.

    class TestMine(BackendContract):
        backend = MineBackend

is a test class with one test for each clause; ``pytest --slmeval-backend NAME`` runs it for an installed
backend without a line of code. Nothing here imports an engine.
"""

from __future__ import annotations

from slmeval.api import Backend
from slmeval.testing.description import DescriptionClauses
from slmeval.testing.drawing import SampleClauses
from slmeval.testing.robustness import RobustnessClauses
from slmeval.testing.scoring import ScoreClauses
from slmeval.testing.thinking import ThoughtClauses
from slmeval.testing.timing import TimeClauses
from slmeval.testing.writing import GenerateClauses


class BackendContract(
    ScoreClauses,
    GenerateClauses,
    ThoughtClauses,
    SampleClauses,
    TimeClauses,
    RobustnessClauses,
    DescriptionClauses,
):
    """All clauses. A subclass names its ``backend``, and may name ``options`` and a ``tolerance``."""

    def __init_subclass__(cls, **more: object) -> None:
        super().__init_subclass__(**more)
        backend = getattr(cls, "backend", None)
        if cls.__dict__.get("__test__") is not False and not (
            isinstance(backend, type) and issubclass(backend, Backend)
        ):
            raise TypeError(
                f"{cls.__qualname__}.backend is {backend!r}: name the class of the backend, a subclass of "
                "slmeval.api.Backend"
            )


def clauses(contract: type[BackendContract]) -> tuple[str, ...]:
    """The names of its tests, those that a subclass adds included, in the order in which pytest runs them."""
    found = (name for part in reversed(contract.__mro__) for name in vars(part) if name.startswith("test_"))
    return tuple(dict.fromkeys(found))
