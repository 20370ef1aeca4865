# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge with a certificate from a real ACME server, and with a login service that it asks about everybody."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_plus

import httpx
import pytest

from tests.bench import hosts, images, login_service
from tests.bench.edge import Edge
from tests.bench.names import NETWORK, REGISTRY_ADDRESS
from tests.bench.patience import scaled
from tests.integration.conftest import SANDBOX, Stack
from tests.tools import authority
from tests.tools.run import run

ACME = f"tamma-bench-{SANDBOX}-acme"
ACME_NAME = f"acme.{SANDBOX}.bench"
LOGIN_PORT = 4180


def service(port: int) -> dict[str, object]:
    """A container of the login service, in any image with Python."""
    script = Path(login_service.__file__).read_text(encoding="utf-8").replace("$", "$$")
    return {
        "image": f"{REGISTRY_ADDRESS}/tamma-api:0.2.0",
        "entrypoint": ["python3", "-c", script, str(port)],
        "command": [],
        "networks": ["tamma-net"],
    }


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An ACME server on the sandbox's network; the directory has the root behind its address (ca.pem)."""
    directory = tmp_path_factory.mktemp("acme")
    authority.make(directory, [ACME_NAME])
    settings = {
        "listenAddress": "0.0.0.0:14000",
        "managementListenAddress": "0.0.0.0:15000",
        "certificate": "/etc/acme/server.pem",
        "privateKey": "/etc/acme/server.key",
        "httpPort": 80,
        "tlsPort": 443,
    }
    (directory / "config.json").write_text(json.dumps({"pebble": settings}))
    images.build(["acme"])
    run(
        [
            *("docker", "run", "--detach", "--rm", "--name", ACME, "--network", NETWORK, "--network-alias", ACME_NAME),
            *("--volume", f"{directory}:/etc/acme:ro", images.tag("acme")),
        ]
    )
    yield directory
    run(["docker", "rm", "--force", ACME])


@pytest.fixture(scope="module")
def edge(stack: Stack, acme: Path) -> Iterator[Edge]:
    """A production host with both; the dashboard tells what headers it gets. Afterwards the host is what it was."""
    variables = {
        "tamma_stack_profile": "production",
        "tamma_stack_edge_drain": 2,
        "tamma_stack_deadline": int(scaled(90)),
        "tamma_stack_edge_tls": "acme",
        "tamma_stack_edge_email": "operations@example.org",
        "tamma_stack_edge_acme_ca": f"https://{ACME_NAME}:14000/dir",
        "tamma_stack_edge_acme_root": (acme / "ca.pem").read_text(),
        "tamma_stack_edge_users": {},
        "tamma_stack_edge_forward_auth": f"http://login:{LOGIN_PORT}",
        "tamma_stack_overrides": {"services": {"login": service(LOGIN_PORT), "tamma-dashboard": service(80)}},
    }
    outcome = stack.play("site", variables=variables)
    assert outcome.status == 0, outcome.output
    assert stack.play("site", variables=variables).unchanged
    (host,) = hosts.existing(SANDBOX)
    trust = ssl.create_default_context(cafile=str(acme / "ca.pem"))
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    address = run(["docker", "inspect", "--format", form, ACME])
    trust.check_hostname = False
    root = httpx.get(f"https://{address.strip()}:15000/roots/0", verify=trust, trust_env=False).text
    yield Edge(host.domain, host.address, root)
    outcome = stack.play("site")
    assert outcome.status == 0, outcome.output


def test_the_certificate_comes_from_the_acme_server(edge: Edge) -> None:
    # The connection would fail with any other: nothing but Pebble's root is trusted.
    assert edge.ask("GET", "/api/health").json()["status"] == "ok"


@pytest.mark.parametrize("path", ["/", "/api/engines?x=1", "/elsa-api/api/mentorship/sessions"])
def test_a_stranger_is_sent_to_the_login(edge: Edge, path: str) -> None:
    answer = edge.ask("GET", path)
    assert answer.status_code == 302
    back = quote_plus(f"https://{edge.domain}{path}")
    assert answer.headers["Location"] == f"/oauth2/sign_in?rd={back}"
    assert "<title>Sign In" in edge.ask("GET", answer.headers["Location"]).text


def test_who_has_logged_in_comes_through(edge: Edge) -> None:
    started = edge.ask("GET", "/oauth2/start?rd=/api/engines")
    assert started.headers["Location"] == "/api/engines"
    cookie = {"Cookie": started.headers["Set-Cookie"].partition(";")[0]}
    assert edge.ask("GET", "/api/engines", headers=cookie).status_code == 200


def test_open_paths_are_open(edge: Edge) -> None:
    assert edge.ask("POST", "/api/github/webhooks").status_code == 202
    assert edge.ask("GET", "/elsa-api/health").status_code == 200


def test_only_the_login_says_who_somebody_is(edge: Edge) -> None:
    claimed = {"X-Auth-Request-User": "mallory", "X-Auth-Request-Groups": "admins"}
    assert edge.ask("GET", "/", headers=claimed).status_code == 302
    seen = edge.ask("GET", "/", headers={**claimed, "Cookie": login_service.COOKIE}).json()
    told = {name.title(): value for name, value in seen.items() if name.lower().startswith("x-auth-request-")}
    assert {name: value for name, value in told.items() if value} == login_service.USER
