# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A running host that changes its profile, and the engine's own key and directory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.conftest import Stack

VOLUMES = "docker volume ls --quiet --filter label=com.docker.compose.project=tamma | sort"
PSQL = "cd /opt/tamma && docker compose exec -T postgres psql -U tamma -d tamma -Atc"
ALL = {
    "postgres",
    "rabbitmq",
    "elsa-server",
    "tamma-api-dotnet",
    "tamma-api",
    "tamma-engine",
    "tamma-dashboard",
}
LEFT_OUT = {"rabbitmq", "elsa-server", "tamma-api-dotnet"}


@pytest.fixture
def development(stack: Stack) -> Iterator[Stack]:
    """The host in the development profile, in which the test leaves it again."""
    assert set(stack.containers()) == ALL
    yield stack
    outcome = stack.play("site")
    assert outcome.status == 0, outcome.output
    assert set(stack.containers()) == ALL


def test_lite_and_back_keeps_the_data(development: Stack) -> None:
    development.shell(PSQL + " \"CREATE TABLE kept (word text); INSERT INTO kept VALUES ('still here')\"")
    volumes = development.shell(VOLUMES)
    before = development.containers()

    outcome = development.play("site", variables={"tamma_stack_profile": "lite"})
    assert outcome.status == 0, outcome.output
    assert set(development.containers()) == ALL - LEFT_OUT
    assert development.containers()["postgres"] == before["postgres"]
    assert development.shell(VOLUMES) == volumes
    assert development.play("site", variables={"tamma_stack_profile": "lite"}).unchanged

    assert development.play("site").status == 0
    assert set(development.containers()) == ALL
    assert development.shell(PSQL + " 'SELECT word FROM kept'").strip() == "still here"
    development.shell(PSQL + " 'DROP TABLE kept'")


def test_a_key_without_known_hosts_is_refused(untouched: Stack) -> None:
    outcome = untouched.play("site", variables={"tamma_stack_engine_ssh_key": "key"})
    assert outcome.status != 0
    assert "tamma_stack_engine_known_hosts is not set" in outcome.output
