# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator expects of every deployed stack, looked at on the host."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from tests.tools.deployed import DIRECTORY, SERVICES, compose, containers, env, has_log_limits, inspect, up


def test_every_service_is_healthy(host: Host) -> None:
    assert {item["Service"]: item["Health"] for item in containers(host)} == dict.fromkeys(SERVICES, "healthy")


def test_engine_says_that_it_started(host: Host) -> None:
    assert "engine" in compose(host, "logs", "tamma-engine").lower()


with_postgres = pytest.mark.skipif("postgres" not in SERVICES, reason="the database is somebody else's")


@pytest.mark.parametrize(
    ("path", "mode"),
    [(".env", 0o600), (".env.example", 0o644), ("docker-compose.yml", 0o644), (".tamma", 0o700)],
)
def test_modes(host: Host, path: str, mode: int) -> None:
    file = host.file(f"{DIRECTORY}/{path}")
    assert (file.user, file.mode) == ("root", mode)


def test_generated_secrets_are_strong(host: Host) -> None:
    values = env(host)
    made_for = {"postgres": "POSTGRES_PASSWORD", "rabbitmq": "RABBITMQ_PASSWORD"}
    for name in ("ELSA_SIGNING_KEY", "TAMMA_JWT_SECRET", *(made_for[name] for name in made_for if name in SERVICES)):
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
    assert has_log_limits(inspect(host, "tamma-api"))


@with_postgres
def test_postgres_is_reaped_and_extension_exists(host: Host) -> None:
    assert inspect(host, "postgres")["HostConfig"]["Init"] is True
    sql = "SELECT extname FROM pg_extension WHERE extname = 'uuid-ossp'"
    assert "uuid-ossp" in compose(host, "exec", "-T", "postgres", "psql", "-U", "tamma", "-d", "tamma", "-Atc", sql)


def test_up_by_hand_changes_nothing(host: Host) -> None:
    before = compose(host, "ps", "--quiet")
    up(host)
    assert compose(host, "ps", "--quiet") == before


def test_settings_are_picked_up_by_hand(host: Host) -> None:
    host.check_output("sed -i.bak 's/^TAMMA_VERSION=.*/&\\nTAMMA_LOG_LEVEL=warn/' %s/.env", DIRECTORY)
    try:
        up(host)
        assert "TAMMA_LOG_LEVEL=warn" in inspect(host, "tamma-api")["Config"]["Env"]
    finally:
        host.check_output("mv %s/.env.bak %s/.env", DIRECTORY, DIRECTORY)
        up(host)


@with_postgres
def test_data_survives_down_and_up(host: Host) -> None:
    psql = ("exec", "-T", "postgres", "psql", "-U", "tamma", "-d", "tamma", "-Atc")
    compose(host, *psql, "CREATE TABLE kept (word text); INSERT INTO kept VALUES ('still here')")
    try:
        compose(host, "down")
        up(host)
        assert compose(host, *psql, "SELECT word FROM kept").strip() == "still here"
    finally:
        compose(host, *psql, "DROP TABLE kept")
