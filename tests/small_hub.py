"""A small hub on the loopback: the addresses that huggingface_hub asks, over made-up repositories."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class SmallHub:
    """What a hub answers: models and data sets by id, revision and path. ``asked`` records each request.

    Repositories in ``refused`` are gated: a token of ``tokens`` is let in. With ``large`` an ETag is the
    SHA-256 of the file, as in large storage. ``cuts`` are after how many bytes of a longer file the hub
    hangs up, one cut a request; after ``stalls`` bytes it says nothing more, until it is shut down.
    ``busy`` requests are answered with 503. ``damaged`` files come with other bytes of the same number.
    With ``other_part`` another part comes than the one asked for. ``etag`` stands in place of every ETag.
    ``busy`` answers ask for ``rest`` seconds of it. With ``mute`` no request is answered, and with ``page``
    each is with that page. ``listed`` are names of files that lists have too. A file in ``endless`` comes
    again and again.
    Files are sent by the server at ``elsewhere``, if there is one. ``sent`` counts the bytes of each file
    that went out, ``ranges`` are those asked for, and ``tokens_seen`` all tokens that came.
    """

    repositories: dict[str, dict[str, dict[str, bytes]]]
    refused: frozenset[str] = frozenset()
    tokens: frozenset[str] = frozenset()
    hangs_up: bool = False
    knows_ranges: bool = True
    large: bool = False
    other_part: bool = False
    etag: str = ""
    cuts: list[int] = field(default_factory=list)
    stalls: int = 0
    busy: int = 0
    rest: str = ""
    mute: bool = False
    page: bytes = b""
    listed: tuple[str, ...] = ()
    endless: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)
    past: dict[str, dict[str, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    elsewhere: str = ""
    tokens_seen: set[str] = field(default_factory=set)
    ranges: list[str] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)
    stalled: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    def commit(self, repository: str, revision: str) -> str:
        digest = hashlib.sha1(revision.encode())
        for path, data in sorted(self.repositories[repository][revision].items()):
            digest.update(f"\0{path}\0{len(data)}\0".encode())
            digest.update(data)
        return digest.hexdigest()

    def change(self, repository: str, files: dict[str, bytes]) -> str:
        """New files under the old name; the commit before it, which can be had by its hash."""
        before = self.commit(repository, "main")
        self.past[before] = self.repositories[repository]["main"]
        self.repositories[repository]["main"] = files
        return before

    def at(self, repository: str, revision: str) -> dict[str, bytes] | None:
        if revision in self.past:
            return self.past[revision]
        for name, files in self.repositories[repository].items():
            if revision in (name, self.commit(repository, name)):
                return files
        return None

    def named(self, repository: str, revision: str) -> str:
        if revision in self.past:
            return revision
        revisions = self.repositories[repository]
        return next(
            self.commit(repository, n) for n in revisions if revision in (n, self.commit(repository, n))
        )


class _Handler(BaseHTTPRequestHandler):
    """The three addresses that huggingface_hub asks: a revision, its tree, and a file."""

    protocol_version = "HTTP/1.1"
    hub: SmallHub

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self) -> None:
        if self.hub.mute:
            self.hub.ended.wait(600)
        if self.hub.mute or self.hub.hangs_up:
            self.close_connection = True
            return None
        path = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        self.hub.asked.append(f"{self.command} {urlsplit(self.path).path}")
        if self.hub.busy:
            self.hub.busy -= 1
            return self._send(503, b"", {"Retry-After": self.hub.rest} if self.hub.rest else {})
        if self.hub.page:
            return self._send(200, self.hub.page, {"Content-Type": "text/html"})
        return self._send(404, b"", {}) if len(path) < 5 else self._answer_of_repository(path)

    def _answer_of_repository(self, path: list[str]) -> None:
        api = path[0] == "api"
        # files of models lie at the root, those of data sets below "datasets"
        owner, name, verb, revision, *rest = path[2 if api else path[0] == "datasets" :]
        repository = f"{owner}/{name}"
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.hub.tokens_seen |= {token} - {""}
        if repository in self.hub.refused and token not in self.hub.tokens:
            return self._send(403 if token else 401, b"", {"X-Error-Code": "GatedRepo"})
        if repository not in self.hub.repositories:
            return self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        files = self.hub.at(repository, revision)
        if files is None:
            return self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        return self._answer_of_files(files, repository, revision, rest, verb if api else "")

    def _answer_of_files(
        self, files: Mapping[str, bytes], repository: str, revision: str, rest: list[str], verb: str
    ) -> None:
        commit = self.hub.named(repository, revision)
        if verb:
            files = {**files, **dict.fromkeys(self.hub.listed, b"")}
            return self._send(200, json.dumps(self._listing(verb, repository, commit, files)).encode(), {})
        data = files.get("/".join(rest))
        if data is None:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        return self._send_file("/".join(rest), data, commit)

    def _send_file(self, name: str, data: bytes, commit: str) -> None:
        digest = hashlib.sha256 if self.hub.large else hashlib.sha1
        etag = self.hub.etag or digest(data).hexdigest()
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit}
        if self.hub.elsewhere:
            linked = {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(len(data))}
            return self._send(302, b"", {**headers, **linked, "Location": self.hub.elsewhere + self.path})
        if name in self.hub.damaged:
            data = data[::-1]
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if self.command == "HEAD" or not asked:
            return self._send(200, data, headers, name)
        self.hub.ranges.append(f"{name} {asked[0]}")
        if not self.hub.knows_ranges:
            return self._send(200, data, headers, name)
        start = 0 if self.hub.other_part else int(asked[1])
        end = min(int(asked[2]) + 1, len(data)) if asked[2] else len(data)
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
        return self._send(206, data[start:end], headers, name)

    def _listing(self, verb: str, repository: str, commit: str, files: Mapping[str, bytes]) -> object:
        if verb == "revision":
            return {"id": repository, "sha": commit, "siblings": [{"rfilename": path} for path in files]}
        assert verb == "tree"
        return [
            {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            for path, data in files.items()
        ]

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], file: str = "") -> None:
        self.send_response(status)
        on = self.command == "GET" and file in self.hub.endless
        length = {"Transfer-Encoding": "chunked"} if on else {"Content-Length": str(len(body))}
        for name, value in {**length, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET" and file in self.hub.endless:
            self._write_on(body, file)
        elif self.command == "GET":
            self._write(body, file)

    def _write_on(self, body: bytes, file: str) -> None:
        """The body as often as it is taken, up to some 64 MiB."""
        with suppress(OSError):
            while self.hub.sent[file] < 1 << 26:
                self.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n")
                self.hub.sent[file] += len(body)

    def _write(self, body: bytes, file: str) -> None:
        """The body, or the beginning of a file and then nothing more."""
        part = body
        if file and self.hub.cuts and self.hub.cuts[0] < len(body):
            part = body[: self.hub.cuts.pop(0)]
        elif file and 0 < self.hub.stalls < len(body):
            part = body[: self.hub.stalls]
        self.hub.sent[file] += len(part)
        self.wfile.write(part)
        if len(part) < len(body):
            self.close_connection = True
            if self.hub.stalls:
                self.hub.stalled.set()
                self.hub.ended.wait(600)


@contextmanager
def serving(hub: SmallHub) -> Iterator[str]:
    """The address on the loopback at which ``hub`` answers."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            hub.ended.set()
            server.shutdown()
            thread.join()
