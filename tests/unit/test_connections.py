# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counting the open connections of a process's network, which is this test's own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import connections
from ansible_collections.meywd.tamma.plugins.module_utils.connections import count, cut_streams
from tests.bench.patience import wait_until


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_connection_counts_while_it_is_open(family: socket.AddressFamily, address: str) -> None:
    with socket.create_server((address, 0), family=family) as listener:
        port = listener.getsockname()[1]
        assert count(os.getpid(), port, [address]) == 0
        with socket.create_connection((address, port)), listener.accept()[0]:
            assert count(os.getpid(), port, [address]) == 1
            assert count(os.getpid(), port, ["192.0.2.1"]) == 0
            assert count(os.getpid(), port + 1, [address]) == 0
        assert count(os.getpid(), port, [address]) == 0


def test_an_ipv4_client_of_an_ipv6_listener_is_known_by_its_ipv4_address() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), listener.accept()[0]:
            assert count(os.getpid(), port, ["127.0.0.1"]) == 1


def test_a_process_that_is_gone_has_none() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert count(child, 80, ["127.0.0.1"]) == 0


class Peer:
    """A connection between this process, which sends, and a child that has asked and reads what comes."""

    def __init__(self, reads: bool = True, marked: bool = False) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.end = listener.getsockname()
        self.child = os.fork()
        if self.child == 0:
            with socket.create_connection(self.end) as asking:
                if marked:
                    asking.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, connections._MARK)
                asking.sendall(b"GET / HTTP/1.1\r\n\r\n")
                while reads and asking.recv(1024):
                    pass
                if not reads:
                    signal.pause()
            os._exit(0)
        self.connection, self.client = listener.accept()
        listener.close()
        self.connection.settimeout(10)
        assert self.connection.recv(1024)

    def cut(self, unmarked: bool = True) -> int:
        return cut_streams(self.child, [self.end], unmarked)

    def answer(self) -> None:
        self.connection.sendall(b"data: x\n\n")

    def close(self) -> None:
        self.connection.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)


@pytest.fixture
def peer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    monkeypatch.setattr(connections, "_STREAM_MILLISECONDS", 300)
    made = Peer(**getattr(request, "param", {}))
    yield made
    made.close()


def test_a_stream_is_cut_at_the_end_that_receives_it(peer: Peer) -> None:
    peer.answer()
    assert peer.cut() == 0, "it may be an ordinary answer still"
    wait_until(lambda: (peer.answer(), peer.cut())[1] == 1, 10, "the stream to pass for one")
    # The sender sees that nobody listens any more.
    assert peer.connection.recv(1024) == b""
    assert connections.cut_streams(peer.child, [(peer.end[0], peer.end[1] + 1)], True) == 0


def test_who_waits_for_an_answer_is_left_alone(peer: Peer) -> None:
    time.sleep(0.5)
    assert peer.cut() == 0
    peer.answer()


@pytest.mark.parametrize("peer", [{"marked": True}], indirect=True)
def test_what_the_edge_asked_for_as_a_stream_is_cut_before_its_first_event(peer: Peer) -> None:
    assert peer.cut(unmarked=False) == 1
    assert peer.connection.recv(1024) == b""


def test_a_long_answer_is_left_alone_as_long_as_there_is_time(peer: Peer) -> None:
    time.sleep(0.5)
    for _ in range(3):
        peer.answer()
        time.sleep(0.1)
        assert peer.cut(unmarked=False) == 0
    wait_until(lambda: (peer.answer(), peer.cut())[1] == 1, 10, "it to pass for a stream")


@pytest.mark.parametrize("peer", [{"reads": False}], indirect=True)
def test_who_is_slow_to_receive_an_answer_is_left_alone(peer: Peer) -> None:
    peer.answer()
    time.sleep(0.5)
    peer.answer()
    assert peer.cut() == 0


def test_a_process_that_is_gone_has_no_streams(peer: Peer) -> None:
    peer.close()
    assert peer.cut() == 0
    peer.child = os.spawnlp(os.P_NOWAIT, "true", "true")


def test_where_the_kernel_refuses_nothing_is_cut(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_PIDFD_GETFD", 100_000)
    time.sleep(0.5)
    peer.answer()
    time.sleep(0.1)
    assert peer.cut() == 0
