# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A running stack that takes a database outside of it, and its own one again."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

import pytest

from tests.bench import images
from tests.bench.names import NETWORK
from tests.integration.conftest import Stack
from tests.tools.run import run

PASSWORD = "canary-external-" + secrets.token_hex(12)
SESSIONS = "http://127.0.0.1:3000/api/mentorship/sessions"
OUTSIDE = {
    "tamma_stack_postgres_host": "database.bench",
    "tamma_stack_postgres_password": PASSWORD,
    # The other modes are Molecule's: see the scenario "external".
    "tamma_stack_postgres_sslmode": "disable",
}


@pytest.fixture
def database() -> Iterator[None]:
    """A PostgreSQL on the sandbox's network."""
    settings = ("POSTGRES_USER=tamma", "POSTGRES_DB=tamma", f"POSTGRES_PASSWORD={PASSWORD}")
    container = run(
        [
            *("docker", "run", "--detach", "--rm", "--network", NETWORK, "--network-alias", "database.bench"),
            *(word for setting in settings for word in ("--env", setting)),
            images.tag("postgres"),
        ]
    ).strip()
    run(["docker", "exec", container, "sh", "-c", "until pg_isready -q -h 127.0.0.1; do sleep 0.1; done"])
    yield
    run(["docker", "rm", "--force", "--volumes", container])


def write(stack: Stack, title: str) -> None:
    stack.shell(f"curl --fail --silent --json '{json.dumps({'title': title})}' {SESSIONS}")


def titles(stack: Stack) -> list[str]:
    return [item["title"] for item in json.loads(stack.shell(f"curl --fail --silent {SESSIONS}"))["sessions"]]


@pytest.mark.usefixtures("database")
def test_each_database_keeps_its_data_while_the_other_one_serves(stack: Stack) -> None:
    write(stack, "in the container")

    planned = stack.play("site", "--check", variables=OUTSIDE)
    assert "run postgres/init-db.sql in the database tamma of PostgreSQL at database.bench:5432" in planned.output
    moved = stack.play("site", variables=OUTSIDE)
    assert moved.status == 0, moved.output
    assert PASSWORD not in planned.output + moved.output
    assert "postgres" not in stack.containers()
    assert "in the container" not in titles(stack)
    write(stack, "outside")
    assert stack.play("site", variables=OUTSIDE).unchanged

    refused = stack.play("site", variables={"tamma_stack_postgres_password": PASSWORD})
    assert refused.status != 0
    assert "has as POSTGRES_CONTAINER_PASSWORD" in refused.output
    back = stack.play("site")
    assert back.status == 0, back.output
    assert "in the container" in titles(stack)
    assert "outside" not in titles(stack)
