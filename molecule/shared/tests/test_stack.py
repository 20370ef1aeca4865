# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator expects of every deployed stack, looked at on the host and from outside."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from testinfra.host import Host

DIRECTORY = "/opt/tamma"

SERVICES = {
    "postgres",
    "rabbitmq",
    "elsa-server",
    "tamma-api-dotnet",
    "tamma-api",
    "tamma-engine",
    "tamma-dashboard",
}


def compose(host: Host, *arguments: str) -> str:
    """Run ``docker compose`` in the stack's directory, as somebody would by hand."""
    result = host.run(f"cd {DIRECTORY} && docker compose {shlex.join(arguments)}")
    assert result.rc == 0, result.stderr
    return str(result.stdout)


def containers(host: Host) -> list[dict[str, Any]]:
    return [json.loads(line) for line in compose(host, "ps", "--format", "json").splitlines()]


def inspect(host: Host, service: str) -> dict[str, Any]:
    identifier = compose(host, "ps", "--quiet", service).split()[0]
    described: list[dict[str, Any]] = json.loads(host.check_output("docker inspect %s", identifier))
    return described[0]


def get(host: Host, url: str, *options: str) -> str:
    result = host.run(f"curl --silent --show-error --fail --max-time 10 {shlex.join(options)} {shlex.quote(url)}")
    assert result.rc == 0, f"{url}: {result.stderr}"
    return str(result.stdout)


def env(host: Host) -> dict[str, str]:
    lines = host.file(f"{DIRECTORY}/.env").content_string.splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def test_all_seven_services_are_healthy(host: Host) -> None:
    assert {item["Service"]: item["Health"] for item in containers(host)} == dict.fromkeys(SERVICES, "healthy")


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


@pytest.mark.parametrize("address", ["http://127.0.0.1:3000/health", "http://127.0.0.1:3001/elsa-api/health"])
def test_dotnet_api_health(host: Host, address: str) -> None:
    assert "ealthy" in get(host, address)


def test_elsa_designer_and_health(host: Host) -> None:
    assert "ELSA" in get(host, "http://127.0.0.1:5000/")
    get(host, "http://127.0.0.1:5000/health")


def test_rabbitmq_management_page(host: Host) -> None:
    assert "RabbitMQ" in get(host, "http://127.0.0.1:15672/")


def test_events_are_streamed_through_the_dashboard(host: Host) -> None:
    # Heartbeats come while the stream is open: something arrives before the connection is cut.
    result = host.run("curl --silent --no-buffer --max-time 5 http://127.0.0.1:3001/api/events")
    assert result.rc == 28  # still open when the time was up
    assert result.stdout.strip()


def test_engine_says_that_it_started(host: Host) -> None:
    assert "engine" in compose(host, "logs", "tamma-engine").lower()


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


@pytest.mark.parametrize(
    ("path", "mode"),
    [(".env", 0o600), (".env.example", 0o644), ("docker-compose.yml", 0o644), (".tamma", 0o700)],
)
def test_modes(host: Host, path: str, mode: int) -> None:
    file = host.file(f"{DIRECTORY}/{path}")
    assert (file.user, file.mode) == ("root", mode)


def test_generated_secrets_are_strong(host: Host) -> None:
    values = env(host)
    for name in ("POSTGRES_PASSWORD", "RABBITMQ_PASSWORD", "ELSA_SIGNING_KEY", "TAMMA_JWT_SECRET"):
        assert len(values[name]) >= 32, name


def test_no_secret_is_readable_by_everybody(host: Host) -> None:
    values = env(host)
    for name in ("GITHUB_TOKEN", "POSTGRES_PASSWORD", "RABBITMQ_PASSWORD"):
        found = host.run(
            "find / -xdev -path /proc -prune -o -path /sys -prune -o -type f -perm -o=r -size -1024k -print0"
            " | xargs -0 grep --files-with-matches --fixed-strings -- %s",
            values[name],
        )
        assert found.stdout == "", f"{name} stands in {found.stdout}"


def test_no_secret_in_a_process_list(host: Host) -> None:
    # The containers' own processes carry some in their environment; nothing carries one as an argument.
    values = env(host)
    arguments = host.check_output("ps -e -o args")
    for name in ("GITHUB_TOKEN", "ANTHROPIC_API_KEY", "POSTGRES_PASSWORD", "RABBITMQ_PASSWORD"):
        assert values[name] not in arguments


def test_logs_are_rotated(host: Host) -> None:
    options = inspect(host, "tamma-api")["HostConfig"]["LogConfig"]["Config"]
    assert options == {"max-size": "10m", "max-file": "5"}


def test_postgres_is_reaped_and_extension_exists(host: Host) -> None:
    assert inspect(host, "postgres")["HostConfig"]["Init"] is True
    sql = "SELECT extname FROM pg_extension WHERE extname = 'uuid-ossp'"
    assert "uuid-ossp" in compose(host, "exec", "-T", "postgres", "psql", "-U", "tamma", "-d", "tamma", "-Atc", sql)


def test_up_by_hand_changes_nothing(host: Host) -> None:
    before = compose(host, "ps", "--quiet")
    compose(host, "up", "--detach", "--wait")
    assert compose(host, "ps", "--quiet") == before


def test_settings_are_picked_up_by_hand(host: Host) -> None:
    host.check_output("sed -i.bak 's/^TAMMA_VERSION=.*/&\\nTAMMA_LOG_LEVEL=warn/' %s/.env", DIRECTORY)
    try:
        compose(host, "up", "--detach", "--wait")
        assert "TAMMA_LOG_LEVEL=warn" in inspect(host, "tamma-api")["Config"]["Env"]
    finally:
        host.check_output("mv %s/.env.bak %s/.env", DIRECTORY, DIRECTORY)
        compose(host, "up", "--detach", "--wait")


def test_data_survives_down_and_up(host: Host) -> None:
    psql = ("exec", "-T", "postgres", "psql", "-U", "tamma", "-d", "tamma", "-Atc")
    compose(host, *psql, "CREATE TABLE kept (word text); INSERT INTO kept VALUES ('still here')")
    try:
        compose(host, "down")
        compose(host, "up", "--detach", "--wait")
        assert compose(host, *psql, "SELECT word FROM kept").strip() == "still here"
    finally:
        compose(host, *psql, "DROP TABLE kept")
