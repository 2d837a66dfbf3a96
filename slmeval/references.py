"""What a user calls a run: ``last``, an id, or a file of a run or baseline; and which side of it is meant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from slmeval import baselines
from slmeval import document as runs
from slmeval.baselines import Baseline
from slmeval.errors import DataError
from slmeval.json_file import read_document
from slmeval.sides import Side, chosen, sides_of
from slmeval.store import LAST, Store, default_path
from slmeval.types import RunResult

#: between a run and the side that is meant: RUN#BACKEND or RUN#BACKEND:MODEL
_MARK = "#"


class Library:
    """Runs by what the user calls them. The store is opened when a run of it is asked for."""

    def __init__(self, store: str | None) -> None:
        self._path = store
        self._stack = ExitStack()
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """The open store.

        :raises slmeval.errors.StoreError: it cannot be opened.
        """
        if self._store is None:
            path = Path(self._path) if self._path else default_path()
            self._store = self._stack.enter_context(Store.open(path, must_exist=bool(self._path)))
        return self._store

    def find(self, reference: str) -> RunResult | Baseline:
        """The run or baseline of that name; ``last`` is the store's even beside a file that is called so.

        :raises slmeval.errors.DataError: it is a file that holds neither, or cannot be read.
        :raises slmeval.errors.UnknownName: no run is called so.
        """
        path = Path(reference).expanduser()
        if not LAST.fullmatch(reference) and (path.suffix.lower() == ".json" or path.is_file()):
            return read(path)
        return self.store.run(reference)

    def sides(self, reference: str) -> tuple[Side, ...]:
        """The sides that ``RUN``, ``RUN#BACKEND`` or ``RUN#BACKEND:MODEL`` means.

        :raises slmeval.errors.UsageError: there are none; and as :meth:`find`.
        """
        run, wanted = _split(reference)
        return chosen(sides_of(self.find(run), run), wanted)

    def close(self) -> None:
        """Let go of the store."""
        self._stack.close()


@contextmanager
def open_library(store: str | None) -> Iterator[Library]:
    """A library over the store at ``store``, or the default one; closed at the end."""
    library = Library(store)
    try:
        yield library
    finally:
        library.close()


def _split(reference: str) -> tuple[str, str]:
    """A file may have the mark in its own name, and so may a model: the longest name of a file counts."""
    parts = reference.split(_MARK)
    for end in range(len(parts), 1, -1):
        run = _MARK.join(parts[:end])
        if Path(run).expanduser().is_file():
            return run, _MARK.join(parts[end:])
    run, _, wanted = reference.partition(_MARK)
    return run, wanted


def read(path: Path) -> RunResult | Baseline:
    """The run or baseline in a file.

    :raises slmeval.errors.DataError: it cannot be read, is something else, or damaged.
    """
    document = read_document(path)
    schema = document.get("schema") if isinstance(document, dict) else None
    family = schema.partition("/")[0] if isinstance(schema, str) else ""
    if family == _family(runs.SCHEMA):
        try:
            return runs.from_document(document)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
    if family == _family(baselines.SCHEMA):
        return baselines.baseline_from(document, str(path))
    told = f"its schema is {family[:60]!r}" if family else "it has no schema"
    raise DataError(f"{path} is neither a run nor a baseline of slmeval: {told}")


def _family(schema: str) -> str:
    """The schema without its version."""
    return schema.partition("/")[0]
