"""The faulty server, which streams what it is asked to stream, one token after another."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from faulty_server import Fault, FaultyServer, Request

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


@dataclass
class StreamingServer(FaultyServer):
    """``faults`` and ``fault_of`` are those of streams, and of the other answers as before."""

    #: seconds between two chunks
    pace: float = 0.0
    #: tokens after which a text ends, unless it heeds ``ignore_eos``
    ends_after: int = 10**9
    heeds_ignore_eos: bool = True
    #: "counts" of the tokens so far in each chunk, their number at the "end", or "nothing"
    tells: str = "counts"
    #: tokens that are sent in one chunk
    together: int = 1
    #: tokens of each prompt that it says it has read from a cache
    cached: int = 0
    #: the status with which it refuses
    refusal: str = "400 Bad Request"
    streams: list[Request] = field(default_factory=list)

    def _decide(self, request: Request) -> tuple[Fault | None, bytes]:
        fault, answer = super()._decide(request)
        if not answer.startswith(b"HTTP/1.1 200 "):
            return fault, answer.replace(b"400 Bad Request", self.refusal.encode(), 1)
        if not _is_stream(request):
            return fault, answer
        self.streams.append(request)
        return fault, b"".join(self._parts(request))

    def _send(self, connection: socket.socket, request: Request, answer: bytes) -> None:
        if not _is_stream(request) or not answer.startswith(_HEAD):
            connection.sendall(answer)
            return
        # small packets are held back else, until those before them are acknowledged: some 40 ms
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in self._parts(request):
            connection.sendall(part)
            time.sleep(self.pace)

    def _parts(self, request: Request) -> Iterator[bytes]:
        """The head, and each event in a packet of its own."""
        kept = self.form != "end"
        yield _HEAD + (b"Transfer-Encoding: chunked\r\n\r\n" if kept else b"Connection: close\r\n\r\n")
        for event in (*map(json.dumps, self._documents(request)), "[DONE]"):
            data = f"data: {event}\n\n".encode()
            yield b"%x\r\n%s\r\n" % (len(data), data) if kept else data
        yield b"0\r\n\r\n" if kept else b""

    def _documents(self, request: Request) -> Iterator[dict[str, Any]]:
        most = request.body.get("max_tokens", request.body.get("max_completion_tokens"))
        goes_on = self.heeds_ignore_eos and request.body.get("ignore_eos")
        count = most if goes_on else min(most, self.ends_after)
        chat = request.path.endswith("/chat/completions")
        if chat:
            yield {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
        for made in range(0, count, self.together):
            text = "".join(f" {place}" for place in range(made, min(made + self.together, count)))
            said = {"delta": {"content": text}} if chat else {"text": text}
            counts = self._usage(request, min(made + self.together, count)) if self.tells == "counts" else {}
            yield {"choices": [{"index": 0, **said, "finish_reason": None}], **counts}
        finish = "length" if count == most else "stop"
        yield {"choices": [{"index": 0, "delta": {}, "text": "", "finish_reason": finish}]}
        if self.tells != "nothing":
            yield {"choices": [], **self._usage(request, count)}

    def _usage(self, request: Request, made: int) -> dict[str, Any]:
        given = request.body.get("prompt")
        counts = {"prompt_tokens": len(given if isinstance(given, list) else request.prompt)}
        details = {"prompt_tokens_details": {"cached_tokens": self.cached}} if self.cached else {}
        return {"usage": {**counts, "completion_tokens": made, **details}}


def _is_stream(request: Request) -> bool:
    return bool(request.body and request.body.get("stream"))
