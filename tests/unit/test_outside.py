# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking real addresses whether a service answers there."""

from __future__ import annotations

import importlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import outside
from ansible_collections.meywd.tamma.plugins.module_utils.outside import ask, wait
from tests.unit.servers import free_port, running, web_server


@pytest.fixture
def server() -> Iterator[Any]:
    with running(web_server(), {}) as started:
        yield started


def url(port: int, path: str = "/health") -> str:
    return "http://127.0.0.1:%d%s" % (port, path)


@pytest.mark.parametrize("status", [200, 204, 301, 302, 401, 403])
def test_an_answer_of_the_service(server: Any, status: int) -> None:
    server.answers["GET /health"] = (status, None)
    assert ask(url(server.server_port)) is None
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (404, "it answers 404 Not Found"),
        (500, "it answers 500 Internal Server Error"),
        (502, "it answers 502 Bad Gateway"),
        (503, "it answers 503 Service Unavailable"),
    ],
)
def test_an_answer_that_tells_of_trouble(server: Any, status: int, problem: str) -> None:
    server.answers["GET /health"] = (status, None)
    assert ask(url(server.server_port)) == problem


def test_nobody_listens() -> None:
    assert "refused" in (ask(url(free_port())) or "")


def test_somebody_listens_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "timed out" in (ask(url(silent.getsockname()[1]), timeout=0.2) or "")


def test_a_service_that_does_not_speak_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            connection.recv(4096)
            connection.sendall(b"AMQP\x00\x00\x09\x01\r\n")
            connection.close()

        thread = threading.Thread(target=greet)
        thread.start()
        assert ask(url(listener.getsockname()[1]))
        thread.join()


def test_the_proxy_of_the_environment_is_not_asked(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers["GET /health"] = (200, b"ok")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:%d" % free_port())
    # The environment counts when the module is loaded.
    assert importlib.reload(outside).ask(url(server.server_port)) is None


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate that nobody trusts, and its key, in one file."""
    subject = ["-subj", "/CN=tamma.example.org", "-addext", "subjectAltName=DNS:tamma.example.org"]
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "both.pem")]
    subprocess.run([*new, *files, *subject], check=True, capture_output=True)
    (tmp_path / "both.pem").write_text((tmp_path / "both.pem").read_text() + (tmp_path / "key.pem").read_text())
    return tmp_path / "both.pem"


@pytest.mark.parametrize(("status", "problem"), [(200, None), (401, None), (502, "it answers 502 Bad Gateway")])
def test_tls_is_asked_under_its_name_at_a_given_address(certificate: Path, status: int, problem: str | None) -> None:
    names = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    listener = web_server()
    listener.socket = context.wrap_socket(listener.socket, server_side=True)
    with running(listener, {"GET /api/health": (status, None)}) as started:
        found = ask("https://tamma.example.org:%d/api/health" % started.server_port, at="127.0.0.1")
    assert found == problem
    assert names == ["tamma.example.org"]


def test_waiting_for_a_late_start() -> None:
    port = free_port()
    opened = threading.Event()

    def open_late() -> None:
        time.sleep(0.4)
        with running(web_server(port), {"GET /health": (200, b"ok")}):
            opened.wait(10)

    thread = threading.Thread(target=open_late)
    thread.start()
    try:
        assert wait(url(port), 10) is None
    finally:
        opened.set()
        thread.join()


def test_waiting_has_an_end(server: Any) -> None:
    server.answers["GET /health"] = (503, None)
    began = time.monotonic()
    assert wait(url(server.server_port), 0.5) == "it answers 503 Service Unavailable"
    assert 0.5 <= time.monotonic() - began < 5
    assert len(server.requests) >= 2
