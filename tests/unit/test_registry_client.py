# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking a registry that runs here, which lets in, refuses, redirects, and lies."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.registry import Login
from ansible_collections.meywd.tamma.plugins.module_utils.registry_client import Access, Client, access, digest_of
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

MANIFEST = b'{"schemaVersion": 2}'
BLOB = b"a payload"
DIGEST = digest_of(MANIFEST)
PAIR = "Basic " + base64.b64encode(b"robot:secret").decode()


class Registry(ThreadingHTTPServer):
    """A registry with one image. way: how it lets somebody in."""

    way = "open"
    daemon_threads = True

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def name(self) -> str:
        return "127.0.0.1:%d" % self.server_address[1]


class Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        authorization = self.headers.get("Authorization", "")
        self.server.seen.append((self.path, authorization))
        if self.path.startswith("/token"):
            self._answer(200 if authorization in ("", PAIR) else 401, b'{"token": "let-me-in"}')
        elif self.path == "/elsewhere":
            self._answer(200, BLOB)
        elif self.server.way == "bearer" and authorization != "Bearer let-me-in":
            self._answer(401, b"", f'Bearer realm="http://{self.server.name}/token",service="here"')
        elif self.server.way == "basic" and authorization != PAIR:
            self._answer(401, b"", 'Basic realm="here"')
        elif self.server.way == "busy":
            self._answer(503, b"")
        elif self.path.startswith("/v2/team/api/manifests/") and not self.path.endswith("/none"):
            self._answer(200, MANIFEST if self.server.way != "lying" else b"{}")
        elif self.path.startswith("/v2/team/api/blobs/"):
            self.send_response(307)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._answer(404, b"{}")

    def _answer(self, status: int, content: bytes, challenge: str = "") -> None:
        self.send_response(status)
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    server = Registry()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def client(registry: Registry, *, login: bool = False) -> Client:
    return Client(Runner(), [Login(registry.name, "robot", "secret")] if login else [])


@pytest.mark.parametrize(("way", "login"), [("open", False), ("bearer", False), ("bearer", True), ("basic", True)])
def test_a_manifest_and_a_blob_come_however_it_lets_us_in(registry: Registry, way: str, login: bool) -> None:
    registry.way = way
    asking = client(registry, login=login)
    found = asking.manifest(registry.name + "/team/api", "1.0")
    assert found
    assert found.digest == DIGEST
    assert asking.manifest(registry.name + "/team/api", DIGEST) == found
    assert asking.blob(registry.name + "/team/api", digest_of(BLOB)) == BLOB
    assert asking.manifest(registry.name + "/team/api", "none") is None
    # Where a registry keeps its blobs, its login is nobody's business.
    assert [given for path, given in registry.seen if path == "/elsewhere"] == [""]
    assert ("/token?scope=repository%3Ateam%2Fapi%3Apull&service=here", PAIR if login else "") in registry.seen or (
        way != "bearer"
    )


@pytest.mark.parametrize(("way", "words"), [("basic", r"refused .*\(401\)"), ("busy", r"refused .*\(503\)")])
def test_a_registry_that_refuses_is_one_sentence(registry: Registry, way: str, words: str) -> None:
    registry.way = way
    with pytest.raises(OperatorError, match=words) as caught:
        client(registry).manifest(registry.name + "/team/api", "1.0")
    assert caught.value.message.count(". ") == 0


def test_the_account_is_the_one_of_the_host(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.way = "basic"
    helper = tmp_path / "docker-credential-pass"
    helper.write_text("""#!/bin/sh\nread -r name\necho '{"Username": "robot", "Secret": "secret"}'\n""")
    helper.chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / ".docker").mkdir()
    pair = PAIR.partition(" ")[2]
    token = {"auth": base64.b64encode(b"robot:").decode(), "identitytoken": "secret"}
    for config in (
        {"auths": {registry.name: {"auth": pair}}},
        {"auths": {registry.name: token}},
        {"auths": {registry.name: {}}, "credsStore": "pass"},
        {"credHelpers": {registry.name: "pass"}},
    ):
        (tmp_path / ".docker" / "config.json").write_text(json.dumps(config), encoding="utf-8")
        assert client(registry).manifest(registry.name + "/team/api", "1.0")


def test_nobody_there_is_one_sentence() -> None:
    with pytest.raises(OperatorError, match=r"cannot be asked about 127.0.0.1:1/team/api"):
        Client(Runner()).manifest("127.0.0.1:1/team/api", "1.0")


def test_what_has_another_digest_is_not_taken(registry: Registry) -> None:
    registry.way = "lying"
    with pytest.raises(OperatorError, match="another digest: it was altered"):
        client(registry).manifest(registry.name + "/team/api", DIGEST)
    with pytest.raises(OperatorError, match="another digest"):
        client(registry).blob(registry.name + "/team/api", DIGEST)


def test_without_tls_only_where_the_engine_goes_without(registry: Registry) -> None:
    name = registry.name.replace("127.0.0.1", "localhost.example")
    with pytest.raises(OperatorError, match="cannot be asked"):
        Client(Runner()).manifest(name + "/team/api", "1.0")
    assert access(
        {"RegistryConfig": {"IndexConfigs": {"a:1": {"Secure": False}, "b": {"Secure": True}}}}, {}
    ) == Access(("a:1",), {})
    podman = {"registries": {"search": ["docker.io"], "c:1": {"Insecure": True}, "d": {"Insecure": False}}}
    assert access({"HttpProxy": "http://p", "NoProxy": "x"}, podman) == Access(
        ("c:1",), {"http": "http://p", "no": "x"}
    )
