# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the world finds before a production host: three ports, one address, and a login."""

from __future__ import annotations

import json

import httpx
import pytest
from testinfra.host import Host

from tests.bench.edge import LOGIN, Edge
from tests.bench.scan import open_ports
from tests.tools.deployed import compose, paused

OPEN = [("GET", "/api/health", 200), ("GET", "/elsa-api/health", 200), ("POST", "/api/github/webhooks", 202)]
# Other ways to write a path: what is no open one needs the login, and what could be read as two paths is refused.
# All are in tests/integration/test_hostile_requests.py.
ELSEWHERE = ["/api/health/", "/api/healthy", "/API/engines"]
ODD = ["/api/health/../engines", "/api/engines/..%2fhealth", "//api/engines"]


def test_ssh_and_the_edge_are_all_that_listens(edge: Edge) -> None:
    assert open_ports(edge.address) == [22, 80, 443]


@pytest.mark.parametrize("path", ["/", "/api/health", "/workflows/some-id"])
def test_plain_http_leads_to_https(edge: Edge, path: str) -> None:
    answer = httpx.get(f"http://{edge.address}{path}", headers={"Host": edge.domain}, trust_env=False)
    assert (answer.status_code, answer.headers["Location"]) == (308, f"https://{edge.domain}{path}")


@pytest.mark.parametrize(("method", "path", "status"), OPEN)
def test_open_without_a_login(edge: Edge, method: str, path: str, status: int) -> None:
    assert edge.ask(method, path, login=False).status_code == status


@pytest.mark.parametrize(
    "path", ["/", "/workflows/some-id", "/assets/app.js", "/api/engines", "/api/events", *ELSEWHERE]
)
def test_behind_the_login(edge: Edge, path: str) -> None:
    answer = edge.ask("GET", path, login=False)
    assert answer.status_code == 401, path
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


@pytest.mark.parametrize("path", ODD)
def test_what_could_be_two_paths(edge: Edge, path: str) -> None:
    assert edge.ask("GET", path).status_code == 400


@pytest.mark.parametrize("login", [(LOGIN[0], "another-password"), ("somebody", LOGIN[1]), ("", "")])
def test_another_login_is_none(edge: Edge, login: tuple[str, str]) -> None:
    assert edge._replace(login=login).ask("GET", "/").status_code == 401


def test_with_the_login(edge: Edge) -> None:
    assert "<title>Tamma" in edge.ask("GET", "/workflows/some-id").text
    assert edge.ask("GET", "/api/engines").json()["engines"]
    assert edge.ask("GET", "/elsa-api/api/mentorship/sessions?limit=1").status_code == 200


@pytest.mark.parametrize(("path", "login"), [("/", True), ("/api/health", False), ("/", False), ("/api/no-such", True)])
def test_security_headers(edge: Edge, path: str, login: bool) -> None:
    headers = edge.ask("GET", path, login=login).headers
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "SAMEORIGIN"
    assert headers["Referrer-Policy"] == "strict-origin-when-cross-origin"
    assert "Server" not in headers


def test_the_log_names_requests_and_no_credential(host: Host, edge: Edge) -> None:
    words = [f"canary-{name}" for name in ("query", "cookie", "key", "signature", "bearer", "referer")]
    query, cookie, key, signature, bearer, referer = words
    headers = {
        "Cookie": f"session={cookie}",
        "X-Api-Key": key,
        "X-Hub-Signature-256": signature,
        "Referer": f"https://example.org/?token={referer}",
    }
    path = f"/api/no-such?token={query}"
    assert edge.ask("GET", path, headers=headers).status_code == 404
    stranger = edge.ask("GET", "/api/no-such", headers={"Authorization": f"Bearer {bearer}"}, login=False)
    assert stranger.status_code == 401
    # One for which there is no container either, which the edge tells as an error of its own.
    with paused(host, "tamma-dashboard"), pytest.raises(httpx.TimeoutException):
        edge.ask("GET", f"/?token={query}", headers=headers, seconds=1)
    lines = compose(host, "logs", "--no-log-prefix", "--no-color", "edge")
    # Compose writes control characters before a line.
    requests = [json.loads(line[line.index("{") :])["request"] for line in lines.splitlines() if "/api/no-such" in line]
    assert {request["uri"] for request in requests} == {"/api/no-such?...", "/api/no-such"}
    assert not [word for word in (*words, LOGIN[1]) if word in lines]
