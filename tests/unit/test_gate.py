# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a container counts as ready, from what the engines say in their inspections."""

from __future__ import annotations

import calendar
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils.gate import (
    CRASH_LIMIT,
    SETTLE_SECONDS,
    State,
    judge,
    meaning,
    started_at,
    state,
)

STARTED = float(calendar.timegm((2026, 3, 1, 10, 0, 0)))

# Recorded with Docker Engine 26.1 and Podman 5.4, reduced to what is read and what could mislead.
DOCKER: dict[str, Any] = {
    "Id": "4f1c",
    "Name": "/tamma-tamma-api-1",
    "RestartCount": 1,
    "State": {
        "Status": "running",
        "Running": True,
        "Restarting": False,
        "ExitCode": 0,
        "Error": "",
        "StartedAt": "2026-03-01T10:00:00.734118021Z",
        "FinishedAt": "2026-03-01T09:59:59.1Z",
        "Health": {
            "Status": "unhealthy",
            "FailingStreak": 4,
            "Log": [
                {"ExitCode": 1, "Output": "the first probe"},
                {"ExitCode": 1, "Output": "wget: can't connect to remote host (127.0.0.1): Connection refused\n"},
            ],
        },
    },
    "HostConfig": {"RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0}},
}
DOCKER_WITHOUT_CHECK: dict[str, Any] = {
    "Id": "77aa",
    "Name": "/tamma-init-1",
    "RestartCount": 0,
    "State": {"Status": "exited", "ExitCode": 3, "Error": "", "StartedAt": "2026-03-01T10:00:00.7Z"},
    "HostConfig": {"RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}},
}
DOCKER_NEVER_STARTED: dict[str, Any] = {
    "Id": "90de",
    "Name": "/tamma-edge-1",
    "RestartCount": 0,
    "State": {
        "Status": "created",
        "ExitCode": 128,
        "Error": "driver failed programming external connectivity: port is already allocated",
        "StartedAt": "0001-01-01T00:00:00Z",
    },
    "HostConfig": {"RestartPolicy": {"Name": "unless-stopped"}},
}
PODMAN: dict[str, Any] = {
    "Id": "b0b0",
    "Name": "/tamma-postgres-1",
    "RestartCount": 0,
    "State": {
        "Status": "running",
        "ExitCode": 0,
        "StartedAt": "2026-03-01T10:00:00.046214Z",
        "Healthcheck": {"Status": "healthy", "FailingStreak": 0, "Log": [{"ExitCode": 0, "Output": ""}]},
    },
    "HostConfig": {"RestartPolicy": {"Name": "", "MaximumRetryCount": 0}},
}
PODMAN_WITHOUT_CHECK: dict[str, Any] = {
    "Id": "c1c1",
    "Name": "/tamma-dashboard-1",
    "RestartCount": 0,
    "State": {
        "Status": "running",
        "ExitCode": 0,
        "StartedAt": "2026-03-01T10:00:00Z",
        "Healthcheck": {"Status": "", "FailingStreak": 0, "Log": None},
    },
    "HostConfig": {"RestartPolicy": {"Name": "always"}},
}


def test_dockers_inspection() -> None:
    assert state(DOCKER, "tamma-api", STARTED + 60) == State(
        id="4f1c",
        service="tamma-api",
        name="tamma-tamma-api-1",
        status="running",
        health="unhealthy",
        restarts=1,
        uptime=60,
        exit_code=0,
        will_restart=True,
        detail="wget: can't connect to remote host (127.0.0.1): Connection refused",
    )


def test_podmans_inspection() -> None:
    seen = state(PODMAN, "postgres", STARTED + 5)
    assert (seen.name, seen.health, seen.uptime) == ("tamma-postgres-1", "healthy", 5)
    assert not seen.will_restart
    assert judge(seen).outcome == "ready"


@pytest.mark.parametrize("inspected", [PODMAN_WITHOUT_CHECK, DOCKER_WITHOUT_CHECK])
def test_a_container_without_a_health_check(inspected: dict[str, Any]) -> None:
    assert state(inspected, "x", STARTED).health is None


def test_docker_says_none_for_a_disabled_check() -> None:
    disabled = {**DOCKER, "State": {**DOCKER["State"], "Health": {"Status": "none", "FailingStreak": 0, "Log": None}}}
    assert state(disabled, "x", STARTED).health is None


def test_a_container_that_never_started_tells_why() -> None:
    seen = state(DOCKER_NEVER_STARTED, "edge", STARTED)
    assert "port is already allocated" in seen.detail
    assert started_at(DOCKER_NEVER_STARTED) == 0
    assert judge(seen) == ("waiting", "it is created")


def test_a_clock_that_was_set_back_gives_no_negative_uptime() -> None:
    assert state(DOCKER, "x", STARTED - 100).uptime == 0


def seen(**facts: Any) -> State:
    """A container that has run for a minute without a health check, restarted by the engine if it ends."""
    usual = state(PODMAN_WITHOUT_CHECK, "x", STARTED + 60)
    return usual._replace(**facts)


@pytest.mark.parametrize(
    ("facts", "outcome", "words"),
    [
        ({"health": "healthy"}, "ready", "its health check says healthy"),
        ({"health": "healthy", "uptime": 0.1}, "ready", "its health check says healthy"),
        ({"health": "starting"}, "waiting", "its health check says starting"),
        ({"health": "unhealthy"}, "waiting", "its health check says unhealthy"),
        ({"uptime": SETTLE_SECONDS - 0.1}, "waiting", "it has no health check and has just been started"),
        ({"uptime": SETTLE_SECONDS}, "ready", "it runs (it has no health check)"),
        ({"status": "restarting", "health": "healthy"}, "waiting", "it is restarting"),
        ({"status": "paused", "health": "healthy"}, "waiting", "it is paused"),
        ({"status": "exited", "exit_code": 1}, "waiting", "it is exited"),
        ({"status": "exited", "exit_code": 0, "will_restart": False}, "ready", "it has done its work"),
        ({"status": "exited", "exit_code": 1, "will_restart": False}, "failed", "it ended with exit status 1"),
        ({"status": "exited", "exit_code": 137, "will_restart": False}, "failed", "ended with exit status 137"),
    ],
)
def test_the_verdict(facts: dict[str, Any], outcome: str, words: str) -> None:
    verdict = judge(seen(**facts))
    assert verdict.outcome == outcome
    assert words in verdict.words


def test_unhealthy_then_healthy_is_ready() -> None:
    outcomes = [judge(seen(health=health)).outcome for health in ("starting", "unhealthy", "healthy")]
    assert outcomes == ["waiting", "waiting", "ready"]


def test_crashes_count_from_when_the_watch_began() -> None:
    before = 40
    assert judge(seen(health="starting", restarts=before + CRASH_LIMIT - 1), before).outcome == "waiting"
    verdict = judge(seen(health="starting", restarts=before + CRASH_LIMIT, exit_code=2), before)
    assert verdict == ("failed", "it ended %d times, last with exit status 2" % CRASH_LIMIT)


def test_a_container_that_crashed_long_ago_may_be_ready() -> None:
    assert judge(seen(health="healthy", restarts=40), 40).outcome == "ready"


def test_a_job_that_is_restarted_on_failure_has_done_its_work_when_it_succeeds() -> None:
    """The engine leaves it ended after exit status 0: waiting for it to run again would never end."""
    policy = {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}}
    done = {**DOCKER_WITHOUT_CHECK, "State": {**DOCKER_WITHOUT_CHECK["State"], "ExitCode": 0}, "HostConfig": policy}
    assert judge(state(done, "init", STARTED + 60)).outcome == "ready"


@pytest.mark.parametrize("status", [134, 139])
def test_what_net_ends_with_is_explained(status: int) -> None:
    assert "an exception that nobody caught" in meaning(status)
    ended = state({**DOCKER, "State": {**DOCKER["State"], "Status": "exited", "ExitCode": status}}, "api")
    verdict = judge(ended._replace(will_restart=False))
    assert verdict.outcome == "failed"
    assert "an exception that nobody caught" in verdict.words
    assert meaning(1) == ""
