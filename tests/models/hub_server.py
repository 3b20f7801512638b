"""A model hub on this machine: a small HTTP server that speaks what huggingface_hub asks for."""

from __future__ import annotations

import hashlib
import json
import socketserver
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors",)


def git_hash(content: bytes) -> str:
    """The name git gives to a file's content."""
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


@dataclass
class Repository:
    """Files by path, at one commit that the branch main points to; state: "open", "gated" or "private"."""

    files: dict[str, bytes]
    commit: str = "0123456789abcdef0123456789abcdef01234567"
    state: str = "open"
    swapped: dict[str, bytes] = field(default_factory=dict)


class Hub(ThreadingHTTPServer):
    """Repositories by name. asked: (method, path, Range); break_at: where to cut the next large files off.

    error: a status that answers everything; page: a page that does.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.break_at: list[int] = []
        self.error = 0
        self.page = b""
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def server_bind(self) -> None:
        """Take the address without looking up its name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._reply(with_body=False)

    def do_GET(self) -> None:
        self._reply(with_body=True)

    def _reply(self, *, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append((self.command, path, self.headers.get("Range", "")))
        if self.server.error:
            self._fail(self.server.error, "")
        elif self.server.page:
            self._send(200, self.server.page, {"Content-Type": "text/html"}, with_body=with_body)
        elif path.startswith("/api/models/"):
            name, _, revision = path.removeprefix("/api/models/").partition("/revision/")
            self._info(name, revision or "main")
        else:
            name, _, rest = path.lstrip("/").partition("/resolve/")
            revision, _, file = rest.partition("/")
            self._file(name, revision, file, with_body=with_body)

    def _repository(self, name: str, revision: str) -> Repository | None:
        repository = self.server.repositories.get(name)
        if repository is None or repository.state == "private":
            self._fail(401, "RepoNotFound")
        elif repository.state == "gated":
            self._fail(403, "GatedRepo")
        elif revision not in ("main", repository.commit):
            self._fail(404, "RevisionNotFound")
        else:
            return repository
        return None

    def _info(self, name: str, revision: str) -> None:
        repository = self._repository(name, revision)
        if repository is None:
            return
        siblings = [
            {"rfilename": path, "size": len(content), "blobId": git_hash(content)}
            | (
                {
                    "lfs": {
                        "size": len(content),
                        "sha256": hashlib.sha256(content).hexdigest(),
                        "pointerSize": 130,
                    }
                }
                if path.endswith(LARGE)
                else {}
            )
            for path, content in repository.files.items()
        ]
        told = json.dumps({"id": name, "modelId": name, "sha": repository.commit, "siblings": siblings})
        self._send(200, told.encode(), {"Content-Type": "application/json"})

    def _file(self, name: str, revision: str, path: str, *, with_body: bool) -> None:
        repository = self._repository(name, revision)
        if repository is None:
            return
        if path not in repository.files:
            self._fail(404, "EntryNotFound")
            return
        content = repository.files[path]
        large = path.endswith(LARGE)
        etag = hashlib.sha256(content).hexdigest() if large else git_hash(content)
        headers = {"X-Repo-Commit": repository.commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if large:
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(content))}
        sent, status = repository.swapped.get(path, content), 200
        if asked := self.headers.get("Range"):
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(sent) - 1}/{len(sent)}"
            sent, status = sent[start:], 206
        cut = self.server.break_at.pop(0) if large and with_body and self.server.break_at else None
        self._send(status, sent, headers, with_body=with_body, cut=cut)

    def _fail(self, status: int, code: str) -> None:
        self._send(status, b"", {"X-Error-Code": code} if code else {})

    def _send(
        self,
        status: int,
        content: bytes,
        headers: dict[str, str],
        *,
        with_body: bool = True,
        cut: int | None = None,
    ) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content[:cut])
        if cut is not None:
            self.close_connection = True
