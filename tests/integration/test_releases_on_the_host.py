# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases by tammactl: updates, rollbacks, and a host that goes down in the middle of one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.bench import data, faults, hosts
from tests.bench.command import run
from tests.bench.faults import Fault
from tests.integration.conftest import HOST, SANDBOX, Stack

pytestmark = pytest.mark.other_stack

CONTAINER = f"tamma-bench-{SANDBOX}-{HOST}"
OLD, NEW, ILL = "0.1.0", "0.2.0", "0.2.1-unhealthy"
SECONDS = 240
SHORT = {"tamma_stack_deadline": 60}


class Answer(NamedTuple):
    """What tammactl said with --json, and its exit status."""

    status: int
    result: dict[str, Any]
    said: str


class Releases:
    """The releases of a host, by tammactl."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def __call__(self, *words: str, prefix: str = "") -> Answer:
        script = f"{prefix} tammactl --json {' '.join(words)}"
        done = run(["docker", "exec", CONTAINER, "sh", "-c", script], check=False)
        return Answer(done.returncode, json.loads(done.stdout or "{}"), done.stderr)

    def serving(self) -> dict[str, Any]:
        return next(item for item in self("releases").result["releases"] if item["serves"])

    def log(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self("releases", "--log").result["log"]
        return found

    def answers_as(self, version: str) -> None:
        assert self.serving()["version"] == version
        page = self.stack.shell("curl -fsS http://127.0.0.1:3100/api/health")
        assert version in page, page

    def wait(self) -> dict[str, Any]:
        """Until everything is well again after a boot."""
        until = time.monotonic() + SECONDS
        while True:
            found = self("status").result
            ready = [row["ready"] for row in found.get("services", [])]
            if ready and all(ready) and not found["pending"]:
                return found
            assert time.monotonic() < until, found
            time.sleep(1)


@pytest.fixture(scope="module")
def releases(stack: Stack) -> Iterator[Releases]:
    """The host with the old version and its database; afterwards it is what it was."""
    assert stack.play("teardown", variables={"tamma_stack_remove_volumes": "tamma"}).status == 0
    outcome = stack.play("site", variables={"tamma_stack_version": OLD, **SHORT})
    assert outcome.status == 0, outcome.output
    yield Releases(stack)
    assert stack.play("teardown", variables={"tamma_stack_remove_volumes": "tamma"}).status == 0
    assert stack.play("site").status == 0


def test_nothing_was_cut_off(releases: Releases) -> None:
    answer = releases("resume")
    assert (answer.status, answer.result["completed"]) == (0, [])


@pytest.mark.parametrize(
    ("fault", "down", "serves"),
    [
        pytest.param(
            Fault("after", 'sql CREATE DATABASE "tamma_guard_2" TEMPLATE "tamma" STRATEGY file_copy #1'),
            *("reboot", OLD),
            marks=pytest.mark.fault_matrix,
        ),
        pytest.param(Fault("after", "replace .env #1"), "pull_the_plug", OLD, marks=pytest.mark.fault_matrix),
        # By then the new API has migrated the database.
        (Fault("after", "up never tamma-api-dotnet #1"), "pull_the_plug", OLD),
    ],
    ids=str,
)
def test_a_host_that_goes_down_in_an_update_comes_back_with_the_former_release(
    releases: Releases, fault: Fault, down: str, serves: str
) -> None:
    number = releases("releases").result["releases"][-1]["number"] + 1
    fault = fault._replace(effect=fault.effect.replace("guard_2", f"guard_{number}"))
    before = data.values(CONTAINER)
    faults.arm(CONTAINER, fault)
    died = releases("update", NEW, prefix=faults.PREFIX)
    assert died.status == 137, died.said
    found = releases("status")
    assert (found.status, len(found.result["pending"])) == (3, 1)
    assert any("tammactl resume" in item["words"] for item in releases("doctor").result["findings"])
    getattr(hosts, down)(SANDBOX, HOST)
    after = releases.wait()
    assert f"Release {number} ({NEW}) failed" in after["failure"]
    assert data.values(CONTAINER) == before
    releases.answers_as(serves)
    last = releases.log()[-1]
    assert (last["what"], last["to"], last["outcome"]) == ("resume", number, "rolled_back")
    again = releases.stack.play("site", variables={"tamma_stack_version": OLD, **SHORT})
    assert again.unchanged, again.output


def test_what_served_already_is_completed_and_not_undone(releases: Releases) -> None:
    faults.arm(CONTAINER, Fault("after", "replace .tamma/update.json #4"))
    assert releases("update", NEW, prefix=faults.PREFIX).status == 137
    answer = releases("resume")
    assert (answer.status, answer.result["completed"]) == (0, ["update"])
    releases.answers_as(NEW)
    assert releases.serving()["guard"] == f"tamma_guard_{releases.serving()['number']}"


def test_a_rollback_says_what_it_does_and_keeps_the_present_database(releases: Releases) -> None:
    now = releases.serving()
    planned = releases("rollback", "--plan").result["rollback"]
    assert planned["database"] == now["guard"]
    assert releases.serving() == now
    done = releases("rollback")
    assert (done.status, done.result["kept_as"]) == (0, planned["kept_as"])
    releases.answers_as(OLD)
    kept = {item["name"]: item["release"] for item in releases("backups").result["kept"]}
    assert kept[planned["kept_as"]] == done.result["release"]
    refused = releases("discard", planned["kept_as"])
    assert refused.status == 1
    assert "--needed" in refused.said


@pytest.mark.fault_matrix
def test_a_release_that_does_not_come_up_is_rolled_back(releases: Releases) -> None:
    before = data.values(CONTAINER)
    answer = releases("update", ILL)
    assert (answer.status, answer.result["outcome"]) == (5, "rolled_back")
    assert "serves again" in answer.said
    assert data.values(CONTAINER) == before
    releases.answers_as(OLD)
    failed = [item["name"] for item in releases("backups").result["kept"] if "_failed_" in item["name"]]
    assert failed
    assert releases("discard", "--all").status == 0
    assert not [item for item in releases("backups").result["kept"] if "_failed_" in item["name"]]


@pytest.mark.fault_matrix
def test_a_missing_image_changes_nothing(releases: Releases) -> None:
    before = releases.stack.containers()
    answer = releases("update", "9.9.9")
    assert answer.status == 1
    assert releases.stack.containers() == before
    releases.answers_as(OLD)


def test_the_log_goes_with_the_volumes(releases: Releases) -> None:
    assert len(releases.log()) > 2
    assert releases.stack.shell("stat -c %a /var/log/tamma/tamma.log").strip() == "640"
