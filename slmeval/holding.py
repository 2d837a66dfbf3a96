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
    """At most one open model."""

    def __init__(
        self,
        backend: type[Backend],
        options: Mapping[str, OptionValue],
        model: ModelRef,
        tokenizer: FastTokenizer,
    ) -> None:
        self.backend_class, self.model, self.tokenizer = backend, model, tokenizer
        self._options = options
        self._backend: Backend | None = None

    @property
    def backend(self) -> Backend:
        """The model, opened where it is not; errors as in :meth:`open`."""
        if self._backend is None:
            self.open()
        assert self._backend is not None
        return self._backend

    def open(self) -> float:
        """Open it anew, and say how many seconds that took.

        :raises ModelError: the model cannot be opened.
        :raises JobFailed: the engine's own tokenizer makes other ids of a text.
        """
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

    def close(self) -> None:
        """Give back what it holds, if it is open."""
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.close()

    def told(self) -> dict[str, Any]:
        """What is to be said of the open model, as fields of a message."""
        return {
            "info": asdict(self.backend.model_info()),
            "notes": self.backend.notes(),
            "lacking": dict(self.backend.lacking()),
        }
