"""What all clauses of the contract stand on: the backend, its models, and what counts as the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from slmeval.api import Backend
from slmeval.testing.subject import Subject, expect
from slmeval.types import Likelihood, OptionValue

#: the models that each contract has open
_OPEN: dict[type, dict[str, Subject]] = {}


class Clauses:
    """The models open on the backend under test, opened once for all clauses of a class."""

    backend: ClassVar[type[Backend]]
    #: as ``-o`` would give them; what is left out has its default, but for a "dtype" of float32
    options: ClassVar[Mapping[str, OptionValue]] = {}
    #: how far a summed log-probability may be from the oracle's, and from the same asked in another way
    tolerance: ClassVar[float] = 1e-3

    @classmethod
    def subject(cls, model: str) -> Subject:
        """The model "toy" or "demo", opened when first asked for."""
        opened = _OPEN.setdefault(cls, {})
        if model not in opened:
            opened[model] = Subject(cls.backend, cls.options, model)
        return opened[model]

    @property
    def toy(self) -> Subject:
        """The model whose logits have a closed form."""
        return self.subject("toy")

    @property
    def subjects(self) -> Iterator[Subject]:
        """Both models, one after the other."""
        yield self.subject("toy")
        yield self.subject("demo")

    @classmethod
    def teardown_class(cls) -> None:
        """Close what was opened; called by pytest."""
        for subject in _OPEN.pop(cls, {}).values():
            subject.backend.close()

    @property
    def roughly(self) -> float:
        """A mistake is larger than this: what is not about exactness is held against the truth with it."""
        return max(0.05, 10 * self.tolerance)

    def near(self, found: Likelihood, right: Likelihood, what: str) -> None:
        """A clause about a circumstance: no mistake was made."""
        _close(found, right, self.roughly, what)

    def exact(self, found: Likelihood, right: Likelihood, what: str) -> None:
        """A clause about exactness, or about the same asked in another way."""
        _close(found, right, self.tolerance, what)

    def all_exact(
        self, found: Sequence[Sequence[Likelihood]], right: Sequence[Sequence[Likelihood]], what: str
    ) -> None:
        """The same for each continuation of each group."""
        for at, (some, others) in enumerate(zip(found, right, strict=True)):
            for one, other in zip(some, others, strict=True):
                self.exact(one, other, f"{what}, group {at}")


def _close(found: Likelihood, right: Likelihood, tolerance: float, what: str) -> None:
    difference = abs(found.logprob - right.logprob)
    # what is no number is not close to anything
    expect(
        difference <= tolerance,
        f"{what}: the log-probability is {found.logprob:.6f}, and should be {right.logprob:.6f} "
        f"(within {tolerance:g}); by token {_numbers(found)}, and should be {_numbers(right)}",
    )


def _numbers(likelihood: Likelihood) -> str:
    return ", ".join(f"{logprob:.4f}" for logprob in likelihood.token_logprobs[:8])
