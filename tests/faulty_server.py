"""A server on the loopback that speaks OpenAI's interface in raw bytes, and misbehaves when it is told to."""

from __future__ import annotations

import hashlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from slmeval.api import Tokenizer

#: takes a connection, the request, and the bytes of the right answer
Fault = Callable[[socket.socket, "Request", bytes], None]


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any

    @property
    def prompt(self) -> str:
        """The text that is asked about."""
        if "messages" in self.body:
            return str(self.body["messages"][0]["content"])
        return str(self.body["prompt"])


def text_after(prompt: str) -> str:
    """The one right text after a prompt: no two prompts have the same."""
    digest = hashlib.sha256(prompt.encode()).hexdigest()
    return f" word {digest[:12]} and another\nline {digest[12:16]}"


def packed(status: str, body: bytes, form: str = "length", headers: Mapping[str, str] | None = None) -> bytes:
    """A response over HTTP/1.1 whose body ends by its ``length``, by a last "chunk", or by the "end"."""
    lines = {"Content-Type": "application/json", **(headers or {})}
    if form == "length":
        lines["Content-Length"] = str(len(body))
    elif form == "chunks":
        lines["Transfer-Encoding"] = "chunked"
        half = len(body) // 2
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:], b""))
    else:
        lines["Connection"] = "close"
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


@dataclass
class FaultyServer:
    """``faults`` are taken one after another, by requests for texts alone, once the server is ``armed``."""

    host: str = "127.0.0.1"
    key: str = ""
    name: str = "model"
    owner: str = "tests"
    chat_only: bool = False
    form: str = "length"
    #: fields that are refused, as OpenAI refuses them
    unknown: tuple[str, ...] = ()
    #: with one, prompts may be ids, and the ids of what is written are told, as vLLM does
    tokenizer: Tokenizer | None = None
    tells_ids: bool = True
    faults: list[Fault] = field(default_factory=list)
    #: a fault for each request of the prompts named here
    fault_of: Callable[[Request, int], Fault | None] = lambda *_: None
    #: what texts that are drawn depend on, beside the prompt: the seed, if the server heeds it
    drawn_by: Callable[[Request], object] = lambda request: request.body.get("seed")
    #: what comes before each text, and what a chat server takes out as a thought
    thought: str = ""
    takes_out: str = ""
    armed: bool = False
    asked: list[Request] = field(default_factory=list)
    #: times that each prompt was asked
    times: dict[str, int] = field(default_factory=dict)
    connections: int = 0

    def __enter__(self) -> FaultyServer:
        self._lock = threading.Lock()
        # nobody else is given its port while it does not listen
        self._holder = self._bound(0)
        self.port = self._holder.getsockname()[1]
        if sys.platform != "linux":
            self._holder.close()
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.deafen()
        self._holder.close()

    def _bound(self, port: int) -> socket.socket:
        made = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((self.host, port))
        except BaseException:
            made.close()
            raise
        return made

    @property
    def url(self) -> str:
        """The address of its interface."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/v1"

    def listen(self) -> None:
        """Take connections, on the same port as before."""
        self._socket = self._bound(self.port)
        self._socket.listen(64)
        threading.Thread(target=self._accept, args=(self._socket,), daemon=True).start()

    def deafen(self) -> None:
        """Refuse connections."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self.connections += 1
            # as many requests as come: whoever keeps a connection is not told that he should not
            while (request := _read(connection)) is not None:
                fault, answer = self._decide(request)
                if fault is not None:
                    fault(connection, request, answer)
                    return
                self._send(connection, request, answer)
                if self.form == "end":
                    return

    def _send(self, connection: socket.socket, request: Request, answer: bytes) -> None:
        """The right answer; one who streams takes his time."""
        connection.sendall(answer)

    def _decide(self, request: Request) -> tuple[Fault | None, bytes]:
        with self._lock:
            self.asked.append(request)
            if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
                given = request.headers.get("authorization", "none")
                return None, self._error("401 Unauthorized", f"wrong key: {given}")
            if request.method == "GET":
                return None, self._listed(request)
            answer = self._answered(request)
            if not self.armed:
                return None, answer
            times = self.times[request.prompt] = self.times.get(request.prompt, 0) + 1
            fault = self.fault_of(request, times) or (self.faults.pop(0) if self.faults else None)
            return fault, answer

    def _listed(self, request: Request) -> bytes:
        if not request.path.endswith("/models"):
            return self._error("404 Not Found", "no such place")
        entry = {"id": self.name, "object": "model", "owned_by": self.owner}
        return self._packed({"object": "list", "data": [entry]})

    def _answered(self, request: Request) -> bytes:
        if not request.path.endswith("/completions"):
            return self._error("404 Not Found", "no such place")
        chat = request.path.endswith("/chat/completions")
        if self.chat_only and not chat:
            return self._error("404 Not Found", "This is a chat model")
        for name in self.unknown:
            if name in request.body:
                return self._error("400 Bad Request", f"Unrecognized request argument supplied: {name}")
        if self.tokenizer is not None:
            return self._packed(completion_of_ids(request, self.tokenizer, tells_ids=self.tells_ids))
        if not chat and not isinstance(request.body["prompt"], str):
            return self._error("400 Bad Request", "prompt must be a string")
        return self._packed(self._written(request, chat=chat))

    def _written(self, request: Request, *, chat: bool) -> dict[str, Any]:
        drawn = f"\n{self.drawn_by(request)}" if request.body.get("temperature") else ""
        document = completion(request, chat=chat, before=self.thought, more=drawn)
        if chat and self.takes_out:
            document["choices"][0]["message"][self.takes_out] = "hm,\nthen"
            document["usage"]["completion_tokens_details"] = {"reasoning_tokens": 3}
        return document

    def _packed(self, document: Any) -> bytes:
        return packed("200 OK", json.dumps(document).encode(), self.form)

    def _error(self, status: str, message: str) -> bytes:
        return packed(status, json.dumps({"error": {"message": message}}).encode())


def completion(request: Request, *, chat: bool = False, before: str = "", more: str = "") -> dict[str, Any]:
    """The right answer to a request."""
    text = before + text_after(request.prompt + more)
    for stop in request.body.get("stop", ()):
        text = text.split(stop)[0]
    most = request.body.get("max_tokens", request.body.get("max_completion_tokens"))
    usage = {"prompt_tokens": len(request.prompt), "completion_tokens": min(5, most), "total_tokens": 0}
    said = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    choice = {"index": 0, **said, "logprobs": None, "finish_reason": "stop"}
    return {"id": "x", "object": "text_completion", "choices": [choice], "usage": usage}


def completion_of_ids(request: Request, tokenizer: Tokenizer, *, tells_ids: bool) -> dict[str, Any]:
    """The right answer to ids, or to the text of some: a text in ids, and an end token."""
    given = request.body["prompt"]
    prompt = given if isinstance(given, list) else list(tokenizer.encode(given))
    made = [*tokenizer.encode(text_after(request.prompt), special=False), tokenizer.eos_id]
    ids = made[: request.body["max_tokens"]]
    choice = {"index": 0, "text": tokenizer.decode(ids), "logprobs": None, "stop_reason": None}
    choice["finish_reason"] = "stop" if ids == made else "length"
    if tells_ids and request.body.get("return_token_ids"):
        choice.update(token_ids=ids, prompt_token_ids=prompt)
    usage = {"prompt_tokens": len(prompt), "completion_tokens": len(ids), "total_tokens": 0}
    return {"id": "x", "object": "text_completion", "choices": [choice], "usage": usage}


def _read(connection: socket.socket) -> Request | None:
    """The next request; ``None`` at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (part := connection.recv(65536)):
            return None
        if part.startswith(b"\x16"):  # how a secure connection begins
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return None
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        if not (part := connection.recv(65536)):
            return None
        body += part
    method, path, _ = first.split(" ")
    return Request(method, path, headers, json.loads(body) if body else None)


# ---- faults ------------------------------------------------------------------------------------------


def status(line: str, body: bytes = b"", **headers: str) -> Fault:
    """A status with a body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return raw(packed(line, body, headers=named))


def raw(sent: bytes) -> Fault:
    """These very bytes, and the end."""
    return lambda connection, *_: connection.sendall(sent)


def changed(change: Callable[[dict[str, Any]], Any]) -> Fault:
    """The right answer but for a change."""

    def fault(connection: socket.socket, request: Request, answer: bytes) -> None:
        document = json.loads(answer.partition(b"\r\n\r\n")[2])
        made = change(document)
        connection.sendall(packed("200 OK", json.dumps(document if made is None else made).encode()))

    return fault


def cut(length: int) -> Fault:
    """The first bytes of the right answer, and the end."""
    return lambda connection, _, answer: connection.sendall(answer[:length])


def twice(connection: socket.socket, request: Request, answer: bytes) -> None:
    """The right answer two times in one packet; the connection stays open for what may come."""
    connection.sendall(answer + answer)
    silence(connection, request, answer)


def silence(connection: socket.socket, request: Request, answer: bytes) -> None:
    """Nothing, until the other side has had enough."""
    while connection.recv(65536):
        pass


def dripping(connection: socket.socket, request: Request, answer: bytes) -> None:
    """The right answer, so slowly that no single wait is long."""
    for at in range(len(answer)):
        connection.sendall(answer[at : at + 1])
        time.sleep(0.1)


def endless(connection: socket.socket, request: Request, answer: bytes) -> None:
    """An answer without end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    while True:
        connection.sendall(b" " * 65536)


def reset(connection: socket.socket, request: Request, answer: bytes) -> None:
    """The connection is torn down, not closed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
