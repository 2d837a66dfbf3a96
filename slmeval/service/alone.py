"""One server for a store: a second would take up what the first is carrying out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slmeval.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def alone(store: Path) -> Iterator[None]:
    """Hold the store as its one server; the system lets go of it however this process ends.

    :raises UsageError: another server has it.
    """
    lock = store.with_name(f"{store.name}.serve")
    with lock.open("a") as held:
        if fcntl is not None:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UsageError(
                    f"another server has the store {store}: end it, or name another with --store PATH"
                ) from None
        yield
