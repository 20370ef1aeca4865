"""The load sends a request again where a browser does, and calls everything else a failure."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from tests.bench.edge import Edge
from tests.bench.load import Ask, Load

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
