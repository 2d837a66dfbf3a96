"""Where the workers of a run are, and what is there: engines, memory, the machine itself."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass

from slmeval.api import Backend
from slmeval.environments import python_of
from slmeval.errors import ModelError
from slmeval.machine import largest_memory, this_machine
from slmeval.presence import check_present
from slmeval.types import Machine


class Place(ABC):
    """A machine that runs workers."""

    @abstractmethod
    def python(self, backend: type[Backend]) -> str:
        """The interpreter in which the engine's workers run, as far as it is known from here."""

    @abstractmethod
    def check(self, backend: type[Backend]) -> None:
        """:raises UsageError: the engine is not there; the sentence says what adds it."""

    @abstractmethod
    def has(self, backend: type[Backend]) -> bool:
        """Whether the engine is there in the interpreter that slmeval itself runs in."""

    @abstractmethod
    def memory(self) -> int | None:
        """Bytes that are free for a model; ``None`` where it is not told."""

    @abstractmethod
    def machine(self) -> Machine:
        """What it is."""


class Here(Place):
    """This machine."""

    def python(self, backend: type[Backend]) -> str:
        return str(python_of(backend.name) or sys.executable)

    def check(self, backend: type[Backend]) -> None:
        if python_of(backend.name) is None:
            check_present(backend)

    def has(self, backend: type[Backend]) -> bool:
        return backend.missing() is None

    def memory(self) -> int | None:
        return largest_memory()

    def machine(self) -> Machine:
        return this_machine()


@dataclass(frozen=True)
class Elsewhere(Place):
    """Another machine, as it told of itself: its name, its engines by name, and the memory that is free."""

    name: str
    engines: tuple[str, ...]
    free: int | None
    told: Machine

    def python(self, backend: type[Backend]) -> str:  # noqa: ARG002  it finds it there
        return f"device {self.name}"

    def check(self, backend: type[Backend]) -> None:
        if not self.has(backend):
            raise ModelError(f"device {self.name!r} does not have backend {backend.name!r}")

    def has(self, backend: type[Backend]) -> bool:
        return backend.name in self.engines

    def memory(self) -> int | None:
        return self.free

    def machine(self) -> Machine:
        return self.told


#: where runs are unless they are told otherwise
HERE = Here()
