# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is expected where every service is published on the host (no edge)."""

from __future__ import annotations

import json

import pytest
from testinfra.host import Host

from tests.tools.deployed import SERVICES, containers, env, get, inspect

with_elsa = pytest.mark.skipif("elsa-server" not in SERVICES, reason="the scenario is without ELSA, RabbitMQ and .NET")


def test_dashboard_loads(host: Host) -> None:
    assert "<title>Tamma" in get(host, "http://127.0.0.1:3001/")


def test_deep_link_gives_the_application(host: Host) -> None:
    assert "<title>Tamma" in get(host, "http://127.0.0.1:3001/workflows/some-id")


def test_missing_asset_is_not_answered_with_the_page(host: Host) -> None:
    code = host.check_output(
        "curl --silent --output /dev/null --write-out '%{http_code}' http://127.0.0.1:3001/assets/no-such-file.js"
    )
    assert code == "404"


def test_hashed_assets_are_cached_and_the_page_is_not(host: Host) -> None:
    page = get(host, "http://127.0.0.1:3001/", "--include").lower()
    asset = next(part for part in page.split('"') if part.startswith("/assets/"))
    assert "cache-control: no-cache" in page
    assert "immutable" in get(host, f"http://127.0.0.1:3001{asset}", "--include").lower()


@pytest.mark.parametrize("header", ["x-content-type-options: nosniff", "x-frame-options: sameorigin"])
@pytest.mark.parametrize("path", ["/", "/api/health"])
def test_security_headers(host: Host, path: str, header: str) -> None:
    assert header in get(host, f"http://127.0.0.1:3001{path}", "--include").lower()


@pytest.mark.parametrize("address", ["http://127.0.0.1:3100/api/health", "http://127.0.0.1:3001/api/health"])
def test_api_health(host: Host, address: str) -> None:
    assert json.loads(get(host, address))["status"] == "ok"


@with_elsa
@pytest.mark.parametrize("address", ["http://127.0.0.1:3000/health", "http://127.0.0.1:3001/elsa-api/health"])
def test_dotnet_api_health(host: Host, address: str) -> None:
    assert "ealthy" in get(host, address)


@with_elsa
def test_elsa_health_and_no_page(host: Host) -> None:
    assert get(host, "http://127.0.0.1:5000/health") == "Healthy"
    page = host.check_output("curl --silent --output /dev/null --write-out '%{http_code}' http://127.0.0.1:5000/")
    assert page == "404"


@pytest.mark.skipif("rabbitmq" not in SERVICES, reason="the scenario is without a broker of its own")
def test_rabbitmq_management_page(host: Host) -> None:
    assert "RabbitMQ" in get(host, "http://127.0.0.1:15672/")


def test_events_are_streamed_through_the_dashboard(host: Host) -> None:
    # Heartbeats come while the stream is open: something arrives before the connection is cut.
    result = host.run("curl --silent --no-buffer --max-time 5 http://127.0.0.1:3001/api/events")
    assert result.rc == 28  # still open when the time was up
    assert result.stdout.strip()


def test_engine_is_registered_at_the_api(host: Host) -> None:
    assert json.loads(get(host, "http://127.0.0.1:3100/api/engines"))


def test_everything_is_published_where_the_settings_say(host: Host) -> None:
    address = env(host).get("TAMMA_BIND_ADDRESS", "127.0.0.1")
    bound = {
        binding["HostIp"]
        for item in containers(host)
        for bindings in inspect(host, item["Service"])["NetworkSettings"]["Ports"].values()
        for binding in bindings or []
    }
    assert bound == {address}
