"""What a server tells Prometheus of itself, and how requests are counted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: a client may make up as many addresses as it likes: all that lead nowhere are one
_NOWHERE = "other"
#: upper bounds in seconds
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_STREAM = "text/event-stream"


class Counts:
    """The requests of one application."""

    def __init__(self) -> None:
        # when each count began is one more line for each, and says nothing here
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "slmeval_http_requests",
            "Answered requests, by the route's template.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "slmeval_http_request_seconds",
            "Seconds until an answer began.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._streams = Gauge("slmeval_streams_open", "Streams of events.", registry=self.registry)

    def begun(self, scope: Scope, status: int, seconds: float) -> None:
        """An answer has begun, so long after its request."""
        route = getattr(scope.get("route"), "path", _NOWHERE)
        # any word can stand where the method does
        method = scope["method"] if route != _NOWHERE else _NOWHERE
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def stream(self, change: int) -> None:
        """One more is open, or one less."""
        self._streams.inc(change)


class Counted:
    """The application, its answers counted."""

    def __init__(self, app: ASGIApp, counts: Counts) -> None:
        self._app, self._counts = app, counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, streams = time.perf_counter(), 0

        async def counted(message: Message) -> None:
            nonlocal streams
            if message["type"] == "http.response.start":
                self._counts.begun(scope, message["status"], time.perf_counter() - started)
                if Headers(raw=message["headers"]).get("content-type", "").startswith(_STREAM):
                    streams = 1
                    self._counts.stream(1)
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            self._counts.stream(-streams)


@dataclass(frozen=True)
class Standing:
    """How a server stands at one moment."""

    version: str
    runs: Mapping[str, int]
    devices: int
    busy: int
    last_event: int


def exposition(counts: Counts, standing: Standing) -> bytes:
    """All figures in Prometheus' text format."""
    registry = CollectorRegistry()
    info = Gauge("slmeval_info", "The version of slmeval.", ("version",), registry=registry)
    info.labels(standing.version).set(1)
    runs = Gauge("slmeval_runs", "Submitted runs by their state.", ("state",), registry=registry)
    for state, number in standing.runs.items():
        runs.labels(state).set(number)
    Gauge("slmeval_devices_connected", "Devices.", registry=registry).set(standing.devices)
    Gauge("slmeval_devices_busy", "Devices that carry out a run.", registry=registry).set(standing.busy)
    events = Counter("slmeval_events", "Events that ever happened.", registry=registry)
    events.inc(standing.last_event)
    return generate_latest(registry) + generate_latest(counts.registry)
