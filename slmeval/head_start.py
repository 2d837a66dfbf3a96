"""The first worker of a run, started while the run's questions are still being made.

An engine takes seconds to be imported; reading rows, making tokens and hashing weights need not wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import TracebackType

from slmeval.api import Backend, Channel, Executor, Launch, Probe
from slmeval.children import AWAY
from slmeval.errors import JobFailed, UsageError
from slmeval.plan import Job
from slmeval.protocol import encode
from slmeval.types import OptionValue
from slmeval.worker import Known, serve

#: a worker, wherever it is started
_WORKER = f"{AWAY}from slmeval.worker import main; main()"


def start(
    executor: Executor, backend: type[Backend], python: str, probes: Mapping[str, Probe] | None = None
) -> Channel:
    """A worker for ``backend`` in the interpreter ``python``, and for ``probes`` if it is in this process.

    :raises JobFailed: none can be started.
    """
    launch = Launch((python, "-c", _WORKER), partial(serve, known=Known(backend, probes or {})), backend.name)
    try:
        return executor.start(launch)
    except UsageError as error:
        raise JobFailed(str(error)) from None


def describe(backend: type[Backend], options: Mapping[str, OptionValue], blocked: tuple[str, ...]) -> bytes:
    """The frame that asks a worker what its engine is."""
    return encode("describe", backend=backend.name, options=dict(options), blocked=list(blocked))


class HeadStart:
    """At most one worker, which has been asked what its engine is; ended again where no job needs it."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._channel: Channel | None = None
        self._asked = b""
        self._python = ""

    def begin(
        self,
        backend: type[Backend],
        options: Mapping[str, OptionValue],
        python: str,
        blocked: tuple[str, ...],
        probes: Mapping[str, Probe] | None = None,
    ) -> None:
        """Start a worker, as :func:`start` does; where that fails, the job that needs it will say so."""
        self._asked, self._python = describe(backend, options, blocked), python
        try:
            self._channel = start(self._executor, backend, python, probes)
            self._channel.send(self._asked)
        except (JobFailed, OSError):
            self.close()

    def take(self, job: Job) -> Channel | None:
        """The worker, if it is the one that ``job`` needs; another is ended, so as not to start beside it."""
        wanted = describe(job.backend, job.options, job.blocked), job.python
        if wanted != (self._asked, self._python):
            self.close()
        channel, self._channel = self._channel, None
        return channel

    def close(self) -> None:
        """End the worker that nobody took."""
        if self._channel is not None:
            self._channel.close(kill=True)
        self._channel = None

    def __enter__(self) -> HeadStart:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
