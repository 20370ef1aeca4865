"""Whom a service talks to: a server that notes what it is asked, an authority that signs tokens, GitHub."""

from __future__ import annotations

import base64
import json
import re
import ssl
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple


class Asked(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    content: Any


class Recorder:
    """Answers everything, late below `/slow/<seconds>`, and notes it.

    answers: method and path → status and content; anything else gets an empty page of a list.
    """

    def __init__(self, address: tuple[str, int] = ("127.0.0.1", 0), context: ssl.SSLContext | None = None) -> None:
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {}
        self.asked: list[Asked] = []
        self._server = ThreadingHTTPServer(address, self._handler())
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._serving = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._serving.start()

    def end(self, seconds: float = 10) -> None:
        """Stop to answer. A thread that does not end is told of instead of being waited for without end."""
        threading.Thread(target=self._server.shutdown, daemon=True).start()
        self._serving.join(seconds)
        if self._serving.is_alive():
            frame = sys._current_frames().get(self._serving.ident or 0)
            warnings.warn("still serving:\n" + "".join(traceback.format_stack(frame)), stacklevel=2)
        self._server.server_close()

    def of(self, method: str, pattern: str = "") -> list[Asked]:
        return [item for item in self.asked if item.method == method and re.search(pattern, item.path)]

    def answer(self, asked: Asked) -> tuple[int, Any]:
        empty = {"items": [], "totalCount": 0}
        return self.answers.get((asked.method, asked.path.partition("?")[0]), (200, empty))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                data = self._body()
                # Node.js writes their names small.
                headers = {name.title(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, json.loads(data) if data else None)
                recorder.asked.append(asked)
                if self.path.startswith("/slow/"):
                    time.sleep(float(self.path.rsplit("/", 1)[1]))
                status, content = recorder.answer(asked)
                body = b"" if status == 204 else json.dumps(content).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


class Authority:
    """Signs tokens, and tells its key at a recorder."""

    def __init__(self, recorder: Recorder, directory: Path) -> None:
        self._key, self.url = directory / "authority.pem", recorder.url
        _openssl("genrsa", "-out", str(self._key), "2048")
        modulus = _openssl("rsa", "-in", str(self._key), "-noout", "-modulus").decode().strip().partition("=")[2]
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "k", "e": "AQAB", "n": encode(bytes.fromhex(modulus))}
        about = {"issuer": recorder.url, "jwks_uri": recorder.url + "/keys"}
        recorder.answers["GET", "/.well-known/openid-configuration"] = 200, about
        recorder.answers["GET", "/keys"] = 200, {"keys": [key]}

    def headers(self, **claims: Any) -> dict[str, str]:
        """Return the login of somebody whom the .NET API knows, unless a claim says otherwise."""
        said = {"iss": "tamma", "aud": "tamma-api", "sub": "x", "exp": int(time.time()) + 600, **claims}
        head = {"alg": "RS256", "typ": "JWT", "kid": "k"}
        text = ".".join(encode(json.dumps(part).encode()) for part in (head, said))
        return {
            "Authorization": f"Bearer {text}."
            + encode(_openssl("dgst", "-sha256", "-sign", str(self._key), data=text.encode()))
        }


def encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _openssl(*words: str, data: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *words], input=data, capture_output=True, check=True).stdout


MOMENT = "2026-01-01T00:00:00Z"
USER = {"login": "somebody", "id": 1, "type": "User"}
REPOSITORY = {
    "id": 1,
    "name": "repository",
    "full_name": "owner/repository",
    "owner": USER,
    "private": True,
    "description": "",
    "default_branch": "main",
    "html_url": "https://github.com/owner/repository",
    "clone_url": "https://github.com/owner/repository.git",
}
SUCCESS = {"state": "success", "context": "ci"}
CHECKED = {"id": 1, "name": "ci", "status": "completed", "conclusion": "success"}


class GitHub(Recorder):
    """One repository with one open issue, under the name that is compiled into the engine.

    refuses: every token is wrong.
    """

    ADDRESS = "127.0.0.43"
    SHA = "c0ffee00" * 5

    def __init__(self, directory: Path, address: str = ADDRESS) -> None:
        self.closed = self.merged = self.refuses = False
        self.certificate, key = directory / "github.pem", directory / "github.key"
        words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=api.github.com"]
        _openssl(
            *words, "-addext", "subjectAltName=DNS:api.github.com", "-keyout", str(key), "-out", str(self.certificate)
        )
        self.certificate.chmod(0o644)
        self.hosts = directory / "hosts"
        self.hosts.write_text(f"127.0.0.1 localhost\n{address} api.github.com\n")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        super().__init__((address, 443), context)

    def reopen(self) -> None:
        """Begin anew, with the issue open."""
        self.asked.clear()
        self.closed = self.merged = False

    def taken(self) -> int:
        """Return how often somebody told the issue that it is taken."""
        return len([item for item in self.of("POST", "/issues/1/comments$") if "picking up" in str(item.content)])

    def answer(self, asked: Asked) -> tuple[int, Any]:
        if self.refuses:
            return 401, {"message": "Bad credentials"}
        path = asked.path.partition("?")[0]
        if asked.method == "PATCH" and path.endswith("/issues/1"):
            self.closed |= asked.content.get("state") == "closed"
        self.merged |= asked.method == "PUT" and path.endswith("/merge")
        answers: list[tuple[str, Callable[[], Any]]] = [
            (r"GET .*/issues", lambda: [] if self.closed else [self._issue()]),
            (r"(GET|PATCH) .*/issues/1", self._issue),
            (r"GET .*/issues/1/comments|GET .*/commits|GET .*/pulls", list),
            (r"POST .*/issues/\d/(assignees|comments|labels)", self._issue),
            (r"GET .*/commits/[^/]+/status", lambda: {"state": "success", "total_count": 1, "statuses": [SUCCESS]}),
            (r"GET .*/commits/.+/check-runs", lambda: {"total_count": 1, "check_runs": [CHECKED]}),
            (r"GET .*/git/ref/.+", lambda: {"ref": "refs/heads/main", "object": {"sha": self.SHA, "type": "commit"}}),
            (r"GET .*/branches/.+", lambda: {"name": "b", "commit": {"sha": self.SHA}}),
            (r"POST .*/git/refs", lambda: {"ref": asked.content["ref"], "object": {"sha": self.SHA}}),
            (r"POST .*/pulls|GET .*/pulls/2", self._pull),
            (r"PUT .*/pulls/2/merge", lambda: {"merged": True, "sha": self.SHA}),
            (r"DELETE .*/git/refs/.+", dict),
            (r"GET /repos/\w+/\w+", lambda: REPOSITORY),
        ]
        for pattern, content in answers:
            if re.fullmatch(pattern, f"{asked.method} {path}"):
                return {"POST": 201, "DELETE": 204}.get(asked.method, 200), content()
        return 404, {"message": "Not Found"}

    def _issue(self) -> dict[str, Any]:
        return {
            "id": 1,
            "number": 1,
            "title": "An issue",
            "body": "Do it.",
            "state": "closed" if self.closed else "open",
            "labels": [{"name": "tamma"}],
            "assignees": [],
            "user": USER,
            "comments": 0,
            "created_at": MOMENT,
            "updated_at": MOMENT,
            "html_url": f"{REPOSITORY['html_url']}/issues/1",
        }

    def _pull(self) -> dict[str, Any]:
        return {
            **self._issue(),
            "id": 2,
            "number": 2,
            "merged": self.merged,
            "mergeable": True,
            "html_url": f"{REPOSITORY['html_url']}/pull/2",
            "merged_at": MOMENT if self.merged else None,
            "draft": False,
            "head": {"ref": "feature/1-an-issue", "sha": self.SHA},
            "base": {"ref": "main", "sha": self.SHA},
        }
