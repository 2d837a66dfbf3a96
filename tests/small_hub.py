"""A small hub on the loopback: the addresses that huggingface_hub asks, over made-up repositories."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class SmallHub:
    """What a hub answers: models and data sets by id, revision and path. ``asked`` records each request."""

    repositories: dict[str, dict[str, dict[str, bytes]]]
    refused: frozenset[str] = frozenset()
    hangs_up: bool = False
    asked: list[str] = field(default_factory=list)

    def commit(self, repository: str, revision: str) -> str:
        files = self.repositories[repository][revision]
        return hashlib.sha1(repr((revision, sorted(files.items()))).encode()).hexdigest()

    def at(self, repository: str, revision: str) -> dict[str, bytes] | None:
        for name, files in self.repositories[repository].items():
            if revision in (name, self.commit(repository, name)):
                return files
        return None

    def named(self, repository: str, revision: str) -> str:
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
        if self.hub.hangs_up:
            self.close_connection = True
            return None
        path = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        self.hub.asked.append(f"{self.command} {urlsplit(self.path).path}")
        return self._send(404, b"", {}) if len(path) < 5 else self._answer_of_repository(path)

    def _answer_of_repository(self, path: list[str]) -> None:
        api = path[0] == "api"
        # files of models lie at the root, those of data sets below "datasets"
        owner, name, verb, revision, *rest = path[2 if api else path[0] == "datasets" :]
        repository = f"{owner}/{name}"
        if repository in self.hub.refused:
            return self._send(403, b"", {"X-Error-Code": "GatedRepo"})
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
            return self._send(200, json.dumps(self._listing(verb, repository, commit, files)).encode(), {})
        data = files.get("/".join(rest))
        if data is None:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        etag = f'"{hashlib.sha1(data).hexdigest()}"'
        return self._send(200, data, {"ETag": etag, "X-Repo-Commit": commit})

    def _listing(self, verb: str, repository: str, commit: str, files: Mapping[str, bytes]) -> object:
        if verb == "revision":
            return {"id": repository, "sha": commit, "siblings": [{"rfilename": path} for path in files]}
        assert verb == "tree"
        return [
            {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            for path, data in files.items()
        ]

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


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
            server.shutdown()
            thread.join()
