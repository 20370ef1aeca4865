"""A small HTTP server: routes by method and path, JSON both ways, and event streams."""

import json
import re
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from . import process
from .process import log

LARGEST_BODY = 1_000_000


@dataclass
class Request:
    path: str
    query: dict[str, str]
    headers: Any
    body: bytes
    #: What the route's pattern captured.
    captured: dict[str, str] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        try:
            content = json.loads(self.body or b"{}")
        except ValueError:
            raise HttpError(400, "The body is not valid JSON.") from None
        if not isinstance(content, dict):
            raise HttpError(400, "The body must be a JSON object.")
        return content


@dataclass
class Answer:
    content: Any
    status: int = 200
    content_type: str = "application/json"


@dataclass
class Stream:
    """Server-sent events, one text block at a time, until the client or the service ends."""

    events: Iterable[str]


class HttpError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


Route = Callable[[Request], Answer | Stream]


class Server:
    """Listens from `start` to `stop`; answers 503 while it warms up."""

    def __init__(self, port: int, health_path: str) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Route]] = []
        self._health_path = health_path
        self._warm_at = time.monotonic() + process.WARM_UP
        handler = type("Handler", (_Handler,), {"server_object": self})
        self._listener = _Listener(("0.0.0.0", port), handler)

    def route(self, method: str, pattern: str) -> Callable[[Route], Route]:
        """Register a function for a path; `<name>` in it stands for one part."""
        expression = re.compile(re.sub(r"<(\w+)>", r"(?P<\1>[^/]+)", pattern) + r"\Z")

        def register(function: Route) -> Route:
            self._routes.append((method, expression, function))
            return function

        return register

    def start(self) -> None:
        Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        log("info", f"Now listening on port {self._listener.server_port}")

    def stop(self) -> None:
        """Accept nothing more, and let requests in progress end."""
        self._listener.shutdown()
        self._listener.server_close()
        deadline = time.monotonic() + 5
        while self._listener.busy and time.monotonic() < deadline:
            time.sleep(0.05)

    def answer(self, method: str, request: Request) -> Answer | Stream:
        """Find the route and run it; errors become answers."""
        if time.monotonic() < self._warm_at:
            return Answer({"error": "warming up"}, 503)
        if process.UNHEALTHY and request.path == self._health_path:
            return Answer({"status": "unhealthy", "error": "told to be unhealthy"}, 503)
        known = False
        for wanted, pattern, function in self._routes:
            match = pattern.match(request.path)
            if match is None:
                continue
            known = True
            if wanted == method:
                request.captured = match.groupdict()
                try:
                    return function(request)
                except HttpError as error:
                    return Answer({"error": str(error)}, error.status)
                except Exception as error:  # one failed request must not end the service
                    log("error", f"{method} {request.path}: {type(error).__name__}: {error}".strip())
                    return Answer({"error": "internal error"}, 500)
        return Answer({"error": "not allowed" if known else "not found"}, 405 if known else 404)


class _Listener(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def __init__(self, *words: Any) -> None:
        super().__init__(*words)
        self._lock = Lock()
        #: Requests that are being answered right now, event streams left out.
        self.busy = 0

    def count(self, change: int) -> None:
        with self._lock:
            self.busy += change


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 75
    server_object: Server
    server: _Listener

    def do_GET(self) -> None:
        self._serve("GET")

    def do_HEAD(self) -> None:
        self._serve("GET", body=False)

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def log_message(self, *_: Any) -> None:
        """Keep the log for what matters."""

    def _serve(self, method: str, body: bool = True) -> None:
        self.server.count(1)
        try:
            answer = self.server_object.answer(method, self._request())
            if isinstance(answer, Answer):
                self._send(answer, body)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
            return
        finally:
            self.server.count(-1)
        if isinstance(answer, Stream):
            self._stream(answer)

    def _request(self) -> Request:
        address = urlsplit(self.path)
        length = min(int(self.headers.get("Content-Length") or 0), LARGEST_BODY)
        query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        return Request(address.path, query, self.headers, self.rfile.read(length))

    def _send(self, answer: Answer, body: bool) -> None:
        text = answer.content if isinstance(answer.content, str) else json.dumps(answer.content)
        content = text.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", f"{answer.content_type}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        if process.stopping.is_set():
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if body:
            self.wfile.write(content)
        self.wfile.flush()

    def _stream(self, stream: Stream) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Connection", "close")
        self.end_headers()
        # The other side may vanish at any moment: that is how an event stream ends.
        try:
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for block in stream.events:
                self.wfile.write(block.encode())
                self.wfile.flush()
        except (OSError, ValueError):
            return
