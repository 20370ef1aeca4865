"""The load sends a request again where a browser does, and calls everything else a failure; it knows what was lost."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from tests.bench.edge import Edge
from tests.bench.load import EVENTS, HEALTH, SESSIONS, Ask, Load

ASKS = (Ask("POST", "/", 200, {}),)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CUT_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
#: One of how many requests is met by a reset.
EVERY = 5
SECONDS = 10


class _Plain(Edge):
    """The same without TLS: what ends a connection is below that."""

    def client(self, *, http2: bool = False, keep: bool = True) -> httpx.AsyncClient:
        limits = httpx.Limits(max_keepalive_connections=None if keep else 0)
        return httpx.AsyncClient(base_url=self.address, limits=limits, trust_env=False, http2=http2)


class _Server:
    """Answers requests, and resets a connection now and then: at a request whose number there suits *resets*."""

    def __init__(self, resets: Callable[[int], bool], before: bytes = b"") -> None:
        self._resets, self._before = resets, before
        self.resets = 0
        self.answered = 0

    @contextmanager
    def running(self) -> Iterator[str]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            number = 0
            while connection.recv(65536).rpartition(b"\r\n\r\n")[2] or connection.recv(65536):
                number += 1
                if self.answered >= EVERY * (self.resets + 1) and self._resets(number):
                    self.resets += 1
                    connection.sendall(self._before)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                connection.sendall(ANSWER)
                self.answered += 1


def load(server: _Server) -> Load:
    with server.running() as address, Load(_Plain("", address, ""), rate=50, streams=0, mix=ASKS) as found:
        until = time.monotonic() + SECONDS
        while server.resets < 3:
            assert time.monotonic() < until, "nothing was reset"
            time.sleep(0.01)
    return found


def test_a_request_on_a_kept_connection_that_was_reset_is_sent_again() -> None:
    found = load(_Server(lambda number: number > 1))
    assert not found.failures, found.report()
    assert found.again >= 3


def test_a_new_connection_that_is_reset_is_a_failure() -> None:
    found = load(_Server(lambda number: number == 1))
    assert len(found.failures) >= 3
    assert found.again == 0


def test_an_answer_that_is_cut_off_is_a_failure() -> None:
    found = load(_Server(lambda number: number > 1, CUT_ANSWER))
    assert found.failures
    assert found.again == 0


class _Service(BaseHTTPRequestHandler):
    """Streams events until it is told to cut, and takes rows; some of them it loses, and some it writes twice."""

    protocol_version = "HTTP/1.1"
    rows: list[tuple[int, str]]
    goes_on: threading.Event
    cuts: int
    version: str

    def do_GET(self) -> None:
        self.send_response(200)
        if self.path != EVENTS:
            content = json.dumps({"version": self.version}).encode()
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            return
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        cuts = self.cuts
        # The load ends before its streams do.
        with suppress(OSError):
            while self.cuts == cuts:
                self.wfile.write(b"data: {}\n\n")
                time.sleep(0.05)

    def do_POST(self) -> None:
        title = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["title"]
        self.goes_on.wait()
        number = int(title.rpartition(" ")[2])
        if number == 1:
            status = 503
        else:
            status = 201
            if number != 2:
                self.rows.append((number, title))
            if number == 3:
                self.rows.append((number + 1000, title))
        content = json.dumps({"id": number}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[tuple[str, type[_Service]]]:
    class Service(_Service):
        rows: list[tuple[int, str]] = []  # noqa: RUF012 - of this class alone
        goes_on = threading.Event()
        cuts = 0
        version = "1"

    class Listener(ThreadingHTTPServer):
        request_queue_size = 100
        daemon_threads = True

    Service.goes_on.set()
    with Listener(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", Service
        server.shutdown()


GETS = (Ask("GET", "/"),)


def test_it_knows_which_acknowledged_rows_a_database_does_not_have() -> None:
    with serving() as (address, service), Load(_Plain("", address, ""), streams=0, mix=GETS, writes=20) as load:
        until = time.monotonic() + SECONDS
        while load.written < 8 and time.monotonic() < until:
            time.sleep(0.01)
    found = "\n".join(f"{number} {title}" for number, title in service.rows)
    assert [failure.ask for failure in load.failures] == [f"POST {SESSIONS}"]
    assert len(load.acknowledged) == load.written - 1
    assert [row.split()[0] for row in load.missing(found)] == ["2"]
    assert [title.split()[-1] for title in load.twice(found)] == ["3"]
    # A row of another load, or one with another number, is no substitute.
    assert len(load.missing(found.replace("load", "other"))) == len(load.acknowledged)
    assert load.rows.count(load.missing(found)[0].split()[2]) == 1


def test_a_row_that_comes_late_counts_from_when_it_was_due() -> None:
    with serving() as (address, service), Load(_Plain("", address, ""), streams=0, mix=GETS, writes=10) as load:
        service.goes_on.clear()
        time.sleep(1)
        service.goes_on.set()
    figures = load.measured()
    assert 0.5 < figures["longest"] < SECONDS
    assert figures["p50"] <= figures["p99"] <= figures["longest"]
    assert "POST" in load.slowest[1]
    assert figures["acknowledged"] == figures["rows"] - figures["failed"]
    assert "1 times: 503" in load.report()


def test_a_stream_that_was_cut_is_opened_again_at_once() -> None:
    with serving() as (address, service), Load(_Plain("", address, ""), streams=50, mix=GETS, reconnect=0) as load:
        assert load.cuts == 0
        service.cuts += 1
        until = time.monotonic() + SECONDS
        while len([end for end in load.ends if end.again is not None]) < 50 and time.monotonic() < until:
            time.sleep(0.01)
    assert not load.failures, load.report()
    assert load.events > 50
    assert {end.stream for end in load.ends if end.again is not None} == set(range(50))
    assert 0 < load.measured()["longest until open again"] < SECONDS
    assert f"cut {load.cuts} times" in load.report()


def test_a_browser_waits_before_it_opens_a_stream_again() -> None:
    with serving() as (address, service), Load(_Plain("", address, ""), streams=1, mix=GETS, reconnect=0.5) as load:
        service.cuts += 1
        until = time.monotonic() + SECONDS
        while not (load.ends and load.ends[0].again) and time.monotonic() < until:
            time.sleep(0.01)
    assert load.ends[0].again is not None
    assert load.ends[0].again >= 0.5


def test_it_knows_from_when_to_when_a_version_answered() -> None:
    mix = (Ask("GET", HEALTH),)
    with serving() as (address, service), Load(_Plain("", address, ""), rate=50, streams=0, mix=mix) as load:
        time.sleep(0.2)
        service.version = "2"
        until = time.monotonic() + SECONDS
        while "2" not in load.versions and time.monotonic() < until:
            time.sleep(0.01)
    (first, left), (came, last) = load.versions["1"], load.versions["2"]
    # Answers on different connections may overtake each other.
    assert first < left
    assert first < came <= last
    assert load.last_asked["1"] < left
    assert load.last_asked["1"] < load.last_asked["2"] < last
