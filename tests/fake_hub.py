"""A Hugging Face hub on this machine, as far as `huggingface_hub` asks for it, with faults to order.

It serves a repository's description, its tree, and its files with the headers of the real one. Files that
end in `.safetensors` or `.bin` count as LFS files, whose ETag is their SHA-256; others have a git object id.
"""

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


def digest_of(name: str, content: bytes) -> str:
    if name.endswith((".safetensors", ".bin")):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class FakeHub:
    """The served repositories, what was asked for, and what goes wrong."""

    commits: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    branches: dict[str, dict[str, str]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    cuts: dict[str, int] = field(default_factory=dict)  # file → bytes sent before the next GET is cut
    corrupt: dict[str, int] = field(default_factory=dict)  # file → how many more times it is sent wrong
    refusal: tuple[int, str] | None = None  # status and X-Error-Code of every answer
    silent: bool = False  # accept requests and never answer
    endpoint: str = ""
    closing: threading.Event = field(default_factory=threading.Event)

    def add(self, repository: str, files: Mapping[str, bytes], *, commit: str = "", branch: str = "main") -> str:
        commit = commit or hashlib.sha1(repr((repository, sorted(files.items()))).encode()).hexdigest()
        self.commits.setdefault(repository, {})[commit] = dict(files)
        self.branches.setdefault(repository, {})[branch] = commit
        return commit

    def downloads(self) -> list[str]:
        """Names of the files whose content was sent, in order."""
        return [line.rsplit("/", 1)[-1] for line in self.requests if line.startswith("GET") and "/resolve/" in line]

    def __enter__(self) -> "FakeHub":
        hub = self

        class Handler(_Handler):
            fake = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeHub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.fake.requests.append(f"{self.command} {path}")
        if self.fake.silent:
            self.fake.closing.wait(30)
        elif self.fake.refusal is not None:
            status, code = self.fake.refusal
            self._send(status, b"{}", {"X-Error-Code": code} if code else {})
        elif path.startswith("/api/models/"):
            self._describe(path.removeprefix("/api/models/"))
        else:
            repository, _, rest = path.removeprefix("/").partition("/resolve/")
            revision, _, name = rest.partition("/")
            self._file(repository, revision, name)

    def _find(self, repository: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if repository not in self.fake.commits:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            return None
        commit = self.fake.branches[repository].get(revision, revision)
        files = self.fake.commits[repository].get(commit)
        if files is None:
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return None
        return commit, files

    def _describe(self, path: str) -> None:
        parts = path.split("/", 3)
        found = self._find("/".join(parts[:2]), parts[3] if len(parts) > 3 else "main")
        if found is None:
            return
        commit, files = found
        answer: Any
        if len(parts) > 2 and parts[2] == "tree":
            answer = [_entry(name, content) for name, content in files.items()]
        else:
            answer = {"id": "/".join(parts[:2]), "sha": commit}
            answer["siblings"] = [_sibling(name, content) for name, content in files.items()]
        self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _file(self, repository: str, revision: str, name: str) -> None:
        found = self._find(repository, revision)
        if found is None:
            return
        commit, files = found
        content, digest = files[name], digest_of(name, files[name])
        headers = {"ETag": f'"{digest}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if len(digest) == 64:
            headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
        if self.command == "GET" and self.fake.corrupt.get(name, 0) > 0:
            self.fake.corrupt[name] -= 1
            content = bytes(byte ^ 1 for byte in content)
        status, start = 200, 0
        if wanted := self.headers.get("Range"):
            self.fake.ranges.append(wanted)
            status, start = 206, int(wanted.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cut = self.fake.cuts.pop(name, None) if self.command == "GET" else None
        self._send(status, content[start:], headers, cut=cut)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], *, cut: int | None = None) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:cut])
        if cut is not None:
            self.close_connection = True


def _sibling(name: str, content: bytes) -> dict[str, Any]:
    digest = digest_of(name, content)
    entry: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": digest[:40]}
    if len(digest) == 64:
        entry["lfs"] = {"size": len(content), "sha256": digest, "pointerSize": 130}
    return entry


def _entry(name: str, content: bytes) -> dict[str, Any]:
    digest = digest_of(name, content)
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": digest[:40]}
    if len(digest) == 64:
        entry["lfs"] = {"size": len(content), "oid": digest, "pointerSize": 130}
    return entry
