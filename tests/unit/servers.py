# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real HTTP servers in a thread, on a TCP port or behind a socket as engines have it."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

Answers = dict[str, "tuple[int, Any]"]


class Handler(BaseHTTPRequestHandler):
    """Answers "METHOD /path" with a status and a body: bytes as they are, anything else as JSON."""

    server: Any

    def _answer(self) -> None:
        path, _, query = self.path.partition("?")
        request = "%s %s" % (self.command, path)
        self.server.requests.append((request, unquote(query)))
        status, body = self.server.answers.get(request, (404, {"message": "no such thing"}))
        payload = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        if 300 <= status < 400 and status != 304:
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = do_DELETE = _answer

    def log_message(self, *_arguments: object) -> None:
        pass


class UnixServer(socketserver.ThreadingUnixStreamServer):
    """An engine's socket."""

    daemon_threads = True


@contextmanager
def running(server: Any, answers: Answers) -> Iterator[Any]:
    """Let a server answer; what it was asked stands in its ``requests``."""
    server.answers = answers
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def web_server(port: int = 0) -> ThreadingHTTPServer:
    """A web server on 127.0.0.1."""
    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
