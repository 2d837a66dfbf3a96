"""The model of a worker: named first, opened when it is needed, and perhaps closed and opened again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from slmeval.api import Backend
from slmeval.errors import JobFailed
from slmeval.tokenizing import FastTokenizer
from slmeval.types import ModelRef, OptionValue


class Holder:
    """At most one open model.

    ``imported_in``: seconds that the engine's import has taken; what opening needs besides is added when the
    model is first opened.
    """

    def __init__(
        self,
        backend: type[Backend],
        options: Mapping[str, OptionValue],
        model: ModelRef,
        tokenizer: FastTokenizer,
        imported_in: float = 0.0,
    ) -> None:
        self.backend_class, self.model, self.tokenizer = backend, model, tokenizer
        self.imported_in = imported_in
        self._options = options
        self._is_imported = False
        self._backend: Backend | None = None
        self._told: dict[str, Any] | None = None

    @property
    def backend(self) -> Backend:
        """The model, opened where it is not; errors as in :meth:`open`."""
        if self._backend is None:
            self.open()
        assert self._backend is not None
        return self._backend

    def open(self) -> float:
        """Open it anew, and say how many seconds that took, without the engine's import.

        :raises ModelError: the model cannot be opened.
        :raises JobFailed: the engine's own tokenizer makes other ids of a text.
        """
        self._import()
        if self._backend is not None:
            # should it not open again, it has been open
            self._told = self.told()
        self.close()
        began = time.perf_counter()
        self._backend = self.backend_class(self.model, self._options)
        seconds = time.perf_counter() - began
        difference = self._backend.verify_tokenizer(self.tokenizer)
        if difference is not None:
            raise JobFailed(
                f"the tokenizer of {self._backend.name} differs from {self.tokenizer.origin}: {difference}"
            )
        return seconds

    def _import(self) -> None:
        if self._is_imported:
            return
        began = time.perf_counter()
        self.backend_class.import_engine(self._options)
        self.imported_in += time.perf_counter() - began
        self._is_imported = True

    def close(self) -> None:
        """Give back what it holds, if it is open."""
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.close()

    def told(self) -> dict[str, Any]:
        """What is to be said of the model, open or before it was opened again, as fields of a message."""
        if self._backend is None and self._told is not None:
            return self._told
        return {
            "info": asdict(self.backend.model_info()),
            "notes": self.backend.notes(),
            "lacking": dict(self.backend.lacking()),
        }
