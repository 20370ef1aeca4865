# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holding requests: what a gate does with connections, and what the edge is told when."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import socketserver
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import edge as edge_module
from ansible_collections.meywd.tamma.plugins.module_utils import hold
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Compose, Project, Service
from ansible_collections.meywd.tamma.plugins.module_utils.edge import Edge
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File
from ansible_collections.meywd.tamma.plugins.module_utils.hold import Gate, Hold, Target
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result, Runner

ROOT = Path(__file__).resolve().parents[2]


class Container(socketserver.ThreadingTCPServer):
    """Answers each connection with its name and the body of its request."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Echo)
        self.name = name.encode()
        self.came: list[bytes] = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def target(self) -> Target:
        return Target(self.name.decode(), "127.0.0.1", self.server_address[1])


class _Echo(socketserver.StreamRequestHandler):
    server: Container

    def handle(self) -> None:
        head = list(iter(self.rfile.readline, b"\r\n"))
        (length,) = [int(line.split()[1]) for line in head if line.startswith(b"Content-Length:")]
        text = self.rfile.read(length)
        self.server.came.append(text)
        self.wfile.write(self.server.name + b":" + text)


@pytest.fixture
def containers() -> Iterator[list[Container]]:
    made = [Container("one"), Container("two")]
    yield made
    for item in made:
        item.shutdown()
        item.server_close()


@contextmanager
def gate(path: Path, seconds: float = 10) -> Iterator[Gate]:
    with hold._listener(str(path)) as listener, Gate("api", listener, seconds) as made:
        yield made


def dial(path: Path, text: bytes = b"") -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(str(path))
    client.sendall(text)
    return client


def post(body: bytes, length: int = -1, *headers: bytes) -> bytes:
    """A request with a body, or with the beginning of one."""
    number = b"Content-Length: %d" % (len(body) if length < 0 else length)
    return b"\r\n".join([b"POST /api/events HTTP/1.1", b"Host: x", number, *headers, b"", body])


def rest(client: socket.socket) -> bytes:
    with client, client.makefile("rb") as stream:
        return stream.read()


def until(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_waits_is_passed_on_in_turn_once_there_is_somebody(tmp_path: Path, containers: list[Container]) -> None:
    path = tmp_path / "api.socket"
    with gate(path) as made:
        clients = [dial(path, post(b"request %d" % number, 22)) for number in range(4)]
        until(lambda: made.requests == 4)
        assert not any(item.came for item in containers)
        made.pass_on([item.target for item in containers])
        for client in clients:
            client.sendall(b" and its body")
        answers = sorted(rest(client) for client in clients)
        assert [answer.partition(b":")[0] for answer in answers] == [b"one", b"one", b"two", b"two"]
        assert sorted(answer.partition(b":")[2] for answer in answers) == [
            b"request %d and its body" % number for number in range(4)
        ]
        assert made.connections == 4
        until(lambda: made.requests == 0)
    assert not path.exists()


def test_what_comes_later_does_not_wait(tmp_path: Path, containers: list[Container]) -> None:
    path = tmp_path / "api.socket"
    with gate(path) as made:
        made.pass_on([containers[0].target])
        client = dial(path, post(b"late"))
        assert rest(client) == b"one:late"


def test_who_waited_for_too_long_is_told_when_to_come_again(tmp_path: Path, containers: list[Container]) -> None:
    path = tmp_path / "api.socket"
    with gate(path, seconds=0.2) as made:
        client = dial(path, b"POST / HTTP/1.1\r\n\r\n")
        answer = client.recv(65536)
        # Whoever is refused may go on sending.
        client.sendall(b"body" * 1000)
        client.shutdown(socket.SHUT_WR)
        assert rest(client) == b""
        made.pass_on([containers[0].target])
    head, _, text = answer.decode().partition("\r\n\r\n")
    assert head.splitlines()[0] == "HTTP/1.1 503 Service Unavailable"
    assert "Retry-After: 10" in head
    assert f"Content-Length: {len(text)}" in head
    assert not containers[0].came


def test_the_edge_says_the_same_when_the_operator_is_gone() -> None:
    template = (ROOT / "roles/tamma_stack/templates/Caddyfile.j2").read_text()
    assert 'respond "%s" 503' % hold._BUSY.strip() in template
    assert f"header Retry-After {hold.RETRY_AFTER}\n" in template


def test_who_has_given_up_is_not_served(tmp_path: Path, containers: list[Container]) -> None:
    path = tmp_path / "api.socket"
    with gate(path) as made:
        dial(path, post(b"impatient")).close()
        patient = dial(path, post(b"patient"))
        until(lambda: made.connections == 2)
        time.sleep(0.1)
        made.pass_on([containers[0].target])
        until(lambda: made.requests == 1)
        assert rest(patient) == b"one:patient"
    assert containers[0].came == [b"patient"]


def test_a_container_that_does_not_listen_is_passed_over(tmp_path: Path, containers: list[Container]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = Target("nobody", "127.0.0.1", closed.getsockname()[1])
    path = tmp_path / "api.socket"
    with gate(path) as made:
        made.pass_on([nobody, containers[0].target])
        client = dial(path, post(b"here"))
        assert rest(client) == b"one:here"


def test_an_open_stream_is_counted_apart_and_cut_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "api.socket"
    with socket.create_server(("127.0.0.1", 0)) as server:
        with gate(path) as made:
            made.pass_on([Target("one", "127.0.0.1", server.getsockname()[1])])
            client = dial(path, b"GET /events HTTP/1.1\r\n\r\n")
            far, _ = server.accept()
            far.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n")
            assert b"200 OK" in client.recv(65536)
            assert (made.streams, made.requests) == (1, 0)
            far.sendall(b"data: 1\n\n")
            assert client.recv(65536) == b"data: 1\n\n"
        assert rest(client) == b""
        far.close()


def test_what_the_edge_asked_for_as_a_stream_is_one_before_its_first_event(tmp_path: Path) -> None:
    path = tmp_path / "api.socket"
    with socket.create_server(("127.0.0.1", 0)) as server, gate(path) as made:
        made.pass_on([Target("one", "127.0.0.1", server.getsockname()[1])])
        with dial(path, b"GET /logs HTTP/1.1\r\nHost: a\r\nTamma-Stream: yes\r\n\r\n"):
            far, _ = server.accept()
            with far:
                assert far.recv(65536)
                until(lambda: made.streams == 1)
                assert made.requests == 0


def test_a_container_that_goes_away_ends_the_connection(tmp_path: Path) -> None:
    path = tmp_path / "api.socket"
    with socket.create_server(("127.0.0.1", 0)) as server, gate(path) as made:
        made.pass_on([Target("one", "127.0.0.1", server.getsockname()[1])])
        client = dial(path, post(b"request"))
        far, _ = server.accept()
        assert far.recv(4096) == post(b"request")
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        far.close()
        assert rest(client) == b""
        until(lambda: made.requests == 0)


# -- those who send much, or slowly -----------------------------------------------------------


def test_whoever_sends_slowly_waits_for_himself_alone(tmp_path: Path, containers: list[Container]) -> None:
    path = tmp_path / "api.socket"
    with gate(path) as made:
        slow = [dial(path, post(b"a", 1000)) for _ in range(128)]
        slow += [dial(path, post(b"a" * 20000, 25_000_000)) for _ in range(64)]
        until(lambda: made.requests == 192)
        honest = dial(path, post(b"honest"))
        until(lambda: made.requests == 193)
        began = time.monotonic()
        made.pass_on([item.target for item in containers])
        assert rest(honest).endswith(b":honest")
        assert time.monotonic() - began < 3
        for client in slow:
            client.close()


def test_a_request_that_waits_takes_little(tmp_path: Path) -> None:
    path = tmp_path / "api.socket"
    with gate(path) as made:
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        clients = [dial(path) for _ in range(32)]
        for client in clients:
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.sendall(post(b"a" * 1_000_000))
        until(lambda: made.requests == 32)
        time.sleep(0.5)
        taken = (tracemalloc.get_traced_memory()[0] - before) / 32
        tracemalloc.stop()
        for client in clients:
            client.close()
    assert taken < 64 * 1024


def test_what_comes_when_too_many_wait_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold, "_MOST", 3)
    path = tmp_path / "api.socket"
    with gate(path) as made:
        waiting = [dial(path, post(b"a")) for _ in range(3)]
        until(lambda: made.requests == 3)
        began = time.monotonic()
        assert b"503 Service Unavailable\r\nRetry-After: 10" in dial(path, post(b"a")).recv(4096)
        assert time.monotonic() - began < 2
        # Whoever gives up makes room.
        waiting.pop().close()
        until(lambda: made.requests == 2)
        waiting.append(dial(path, post(b"a")))
        until(lambda: made.requests == 3)


def test_without_a_login_few_wait(tmp_path: Path, containers: list[Container], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold, "_MOST_WITHOUT_LOGIN", 2)
    path = tmp_path / "api.socket"
    stranger = post(b"hook", 4, b"X-Tamma-Without-Login: 1")
    with gate(path) as made:
        clients = [dial(path, stranger) for _ in range(2)]
        until(lambda: len(made._strangers) == 2)
        assert b"503 Service" in dial(path, stranger).recv(4096)
        # What says that it has no login stands behind what is kept.
        far = post(b"hook", 4, b"A: %s\r\nX-Tamma-Without-Login: 1" % (b"a" * hold._KEPT))
        assert b"503 Service" in dial(path, far).recv(4096)
        known = dial(path, post(b"known", 5, b"X-Other: x-tamma-without-login:"))
        until(lambda: made.connections == 5)
        made.pass_on([containers[0].target])
        assert [rest(client) for client in [*clients, known]] == [b"one:hook", b"one:hook", b"one:known"]


@pytest.mark.parametrize(
    ("request_", "whole"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", False),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab", False),
        (b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc", True),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\nabc", False),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", False),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", False),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\n0\r\n\r\n\r\n", False),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", False),
    ],
)
def test_a_request_is_whole(request_: bytes, whole: bool) -> None:
    assert hold._is_whole(request_) == whole


def test_a_socket_may_lie_deep_and_replaces_what_was_left(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / "edge"
    deep.mkdir(parents=True)
    (deep / "api.socket").write_text("left behind")
    with hold._listener(str(deep / "api.socket")):
        assert (deep / "api.socket").is_socket()
        assert (deep / "api.socket").stat().st_mode & 0o777 == 0o600
    assert not os.listdir(deep)


DONE, REFUSED = Result(0, "", ""), Result(1, "", "Error: no such module\n")


class Caddy(Runner):
    """Stands for Compose: counts the reloads, and remembers what the upstreams were at each."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.result = DONE
        self.loaded: list[str] = []
        self._upstreams = directory / "edge" / "upstreams" / "api.caddy"

    def run(self, *_args: object, **_kwargs: object) -> Result:
        self.loaded.append(self._upstreams.read_text())
        return self.result


class Containers(Engine):
    """Knows one container, by the port of a server of this test."""

    def container(self, identifier: str) -> dict[str, Any] | None:
        networks = {"net": {"IPAddress": "127.0.0.1"}} if identifier != "gone" else {}
        return {"Name": f"/tamma-{identifier}", "NetworkSettings": {"Networks": networks}}


@pytest.fixture
def caddy(tmp_path: Path) -> Caddy:
    (tmp_path / "edge" / "upstreams").mkdir(parents=True)
    return Caddy(tmp_path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold, "ON_THEIR_WAY_SECONDS", 0.1)


def stack(directory: Path, caddy: Caddy, port: int = 3100) -> tuple[Edge, Hold]:
    services = [
        Service("edge", "i", 1, {}, [], [], {"tamma.edge-config": "/etc/caddy/Caddyfile"}, ""),
        Service("api", "i", 1, {}, [], [], {"tamma.edge-port": str(port)}, ""),
        Service("database", "i", 1, {}, [], [], {}, ""),
    ]
    project = Project("tamma", {item.name: item for item in services}, [])
    edge = Edge(Compose(caddy, "docker-compose", str(directory), "tamma"), str(directory), project)
    return edge, Hold(edge, Containers())


@pytest.mark.usefixtures("quick")
def test_a_hold_from_the_beginning_to_the_end(tmp_path: Path, caddy: Caddy, containers: list[Container]) -> None:
    edge, work = stack(tmp_path, caddy, containers[0].target.port)
    edge.route("api", ["tamma-old"])
    work.begin(["api", "database"], 20)
    assert (edge.held, edge.names("api")) == (["api"], [])
    (loaded,) = caddy.loaded
    assert loaded.splitlines() == [
        "to unix//etc/caddy/upstreams/api.socket",
        "lb_try_duration 20s",
        "lb_try_interval 250ms",
        "fail_duration 0s",
        "max_fails 1",
    ]
    client = dial(Path(edge.socket("api")), post(b"waits"))
    answers: list[bytes] = []
    # As Caddy does, which ends a connection that is idle.
    reading = threading.Thread(target=lambda: answers.append(rest(client)))
    reading.start()
    assert work.release({"api": ["new"]}, 5) == 1
    reading.join()
    assert answers == [b"one:waits"]
    assert edge.names("api") == ["tamma-new"]
    assert (edge.held, len(caddy.loaded)) == ([], 2)
    assert not list(tmp_path.rglob("*.socket"))


@pytest.mark.usefixtures("quick")
def test_what_is_held_already_stays_so_without_a_reload(tmp_path: Path, caddy: Caddy) -> None:
    _, dead = stack(tmp_path, caddy)
    dead.begin(["api"], 20)
    dead.close()
    edge, work = stack(tmp_path, caddy)
    assert edge.held == ["api"]
    work.begin(["api"], 20)
    assert len(caddy.loaded) == 1
    assert (tmp_path / "edge/upstreams/api.socket").is_socket()
    work.release({"api": ["new"]}, 0)
    assert caddy.loaded[1:] == ["to tamma-new:3100\n"]


def test_somebody_elses_hold_is_released(
    tmp_path: Path, caddy: Caddy, containers: list[Container], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hold, "ON_THEIR_WAY_SECONDS", 1.5)
    _, dead = stack(tmp_path, caddy)
    dead.begin(["api"], 20)
    dead.close()
    edge, work = stack(tmp_path, caddy, containers[0].target.port)
    answers: list[bytes] = []

    def retry() -> None:
        until((tmp_path / "edge/upstreams/api.socket").exists)
        client = dial(tmp_path / "edge/upstreams/api.socket", post(b"tried again"))
        answers.append(rest(client))

    thread = threading.Thread(target=retry)
    thread.start()
    assert work.release({"api": ["new"]}, 5) == 1
    thread.join()
    assert answers == [b"one:tried again"]
    assert edge.names("api") == ["tamma-new"]


def test_an_edge_that_refuses_holds_nothing(tmp_path: Path, caddy: Caddy) -> None:
    edge, work = stack(tmp_path, caddy)
    edge.route("api", ["tamma-old"])
    caddy.result = REFUSED
    with pytest.raises(OperatorError, match="no such module"):
        work.begin(["api"], 20)
    assert (edge.held, edge.names("api")) == ([], ["tamma-old"])
    assert not list(tmp_path.rglob("*.socket"))


@pytest.mark.parametrize("full", ["api.caddy", "edge-loaded"])
def test_a_full_disk_holds_nothing(tmp_path: Path, caddy: Caddy, monkeypatch: pytest.MonkeyPatch, full: str) -> None:
    """In the place of a file from its first write on until somebody makes room."""
    edge, work = stack(tmp_path, caddy)
    edge.route("api", ["tamma-old"])
    edge.reload()
    room = iter([False, True, True])

    def write(directory: str, files: list[File]) -> None:
        if any(item.path.endswith(full) for item in files) and not next(room):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(directory, files)

    real = edge_module.write
    monkeypatch.setattr(edge_module, "write", write)
    with pytest.raises(OSError, match="No space left"):
        work.begin(["api"], 20)
    assert (edge.held, edge.names("api")) == ([], ["tamma-old"])
    assert not list(tmp_path.rglob("*.socket"))
    # Caddy may have loaded the hold, and has to hear of its end.
    assert edge.has_loaded == (len(caddy.loaded) == 1)


def test_whoever_ends_the_operator_while_the_edge_loads_holds_nothing(
    tmp_path: Path, caddy: Caddy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way back holds anew, at the same socket."""
    edge, work = stack(tmp_path, caddy)
    edge.route("api", ["tamma-old"])

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(edge_module.Edge, "reload", interrupted)
    with pytest.raises(KeyboardInterrupt):
        work.begin(["api"], 20)
    assert (edge.held, edge.names("api")) == ([], ["tamma-old"])
    assert not list(tmp_path.rglob("*.socket"))


def test_a_container_without_an_address_gets_nothing(tmp_path: Path, caddy: Caddy) -> None:
    edge, work = stack(tmp_path, caddy)
    work.begin(["api"], 20)
    with pytest.raises(OperatorError, match="The container gone of api has no address"):
        work.release({"api": ["gone"]}, 5)
    assert edge.held == ["api"]
    work.close()


def test_sockets_that_an_operator_left_are_swept(tmp_path: Path, caddy: Caddy) -> None:
    edge, _ = stack(tmp_path, caddy)
    edge.route("api", [])
    Path(edge.socket("api")).write_text("")
    hold.sweep(str(tmp_path))
    assert [path.name for path in (tmp_path / "edge/upstreams").iterdir()] == ["api.caddy"]
