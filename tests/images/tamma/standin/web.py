"""A small HTTP server: routes by method and path, JSON both ways, and event streams."""

import json
import re
import select
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from . import process
from .process import log

LARGEST_BODY = 1_000_000


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: Any
    body: bytes
    #: The address of whoever asks, without a proxy's word for it.
    peer: str
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
    headers: dict[str, str] = field(default_factory=dict)


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

    def __init__(self, host: str, port: int, health_path: str) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Route, bool]] = []
        self._health_path = health_path
        self._warm_at = time.monotonic() + process.WARM_UP
        handler = type("Handler", (_Handler,), {"server_object": self})
        self._listener = _Listener((host, port), handler)
        #: Asked before every request; HttpError is its answer.
        self.guard: Callable[[Request], None] = lambda _: None
        #: Asked before a route that is not open.
        self.authorize: Callable[[Request], None] = lambda _: None
        #: Headers that every answer gets.
        self.headers: Callable[[Request], dict[str, str]] = lambda _: {}
        #: Whether a browser's question before its request is answered, for every path.
        self.preflight = False
        #: Told of every answer, with the milliseconds that it took.
        self.answered: Callable[[Request, int, float], None] = lambda *_: None

    def route(self, method: str, pattern: str, is_open: bool = False) -> Callable[[Route], Route]:
        """Register a function for a path; `<name>` in it stands for one part, `<name...>` for the rest."""
        expression = re.sub(
            r"<(\w+)(\.\.\.)?>", lambda found: f"(?P<{found[1]}>{'.+' if found[2] else '[^/]+'})", pattern
        )

        def register(function: Route) -> Route:
            self._routes.append((method, re.compile(expression + r"\Z"), function, is_open))
            return function

        return register

    def start(self) -> None:
        Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        host, port = self._listener.server_address[:2]
        log("info", f"Now listening on: http://{host!s}:{port}")

    def stop(self, seconds: float) -> bool:
        """Accept nothing more, and wait for requests and streams in progress; say whether all have ended."""
        self._listener.shutdown()
        self._listener.server_close()
        deadline = time.monotonic() + seconds
        while self._listener.busy and time.monotonic() < deadline:
            time.sleep(0.05)
        return not self._listener.busy

    def answer(self, request: Request) -> Answer | Stream:
        """Find the route and run it; errors become answers."""
        began = time.monotonic()
        found = self._answer(request)
        if isinstance(found, Answer):
            found.headers |= self.headers(request)
            self.answered(request, found.status, 1000 * (time.monotonic() - began))
        return found

    def _answer(self, request: Request) -> Answer | Stream:
        if time.monotonic() < self._warm_at:
            return Answer({"error": "warming up"}, 503)
        if process.UNHEALTHY and request.path == self._health_path:
            return Answer({"status": "unhealthy", "error": "told to be unhealthy"}, 503)
        try:
            self.guard(request)
            return self._routed(request)
        except HttpError as error:
            return Answer({"error": str(error)}, error.status)
        except Exception as error:  # one failed request must not end the service
            log("error", f"{request.method} {request.path}: {type(error).__name__}: {error}".strip())
            return Answer({"error": "internal error"}, 500)

    def _routed(self, request: Request) -> Answer | Stream:
        if request.method == "OPTIONS" and self.preflight:
            return Answer("", 204)
        known = False
        for method, pattern, function, is_open in self._routes:
            match = pattern.match(request.path)
            if match is None:
                continue
            known = True
            if method == request.method:
                request.captured = {name: unquote(value) for name, value in match.groupdict().items()}
                if not is_open:
                    self.authorize(request)
                return function(request)
        return Answer({"error": "not allowed" if known else "not found"}, 405 if known else 404)


class _Listener(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def __init__(self, *words: Any) -> None:
        super().__init__(*words)
        self._lock = Lock()
        #: Requests that are being answered right now, event streams among them.
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

    def _any(self) -> None:
        self.server.count(1)
        try:
            answer = self.server_object.answer(self._request())
            if isinstance(answer, Stream):
                self._stream(answer)
            else:
                self._send(answer)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        finally:
            self.server.count(-1)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _any

    def log_message(self, *_: Any) -> None:
        """Keep the log for what matters."""

    def _request(self) -> Request:
        address = urlsplit(self.path)
        length = min(int(self.headers.get("Content-Length") or 0), LARGEST_BODY)
        query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        method = "GET" if self.command == "HEAD" else self.command
        return Request(method, address.path, query, self.headers, self.rfile.read(length), self.client_address[0])

    def _send(self, answer: Answer) -> None:
        text = answer.content if isinstance(answer.content, str) else json.dumps(answer.content)
        content = b"" if answer.status == 204 else text.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", f"{answer.content_type}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if process.stopping.is_set():
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
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
                if self._is_left():
                    return
                if block:
                    self.wfile.write(block.encode())
                    self.wfile.flush()
        except (OSError, ValueError):
            return

    def _is_left(self) -> bool:
        """Whether the other side has closed the connection; what it sends is no matter."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)
