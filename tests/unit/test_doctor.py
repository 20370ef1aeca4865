# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When backups are overdue, and what is said about them."""

from __future__ import annotations

import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.doctor import Finding, backups
from ansible_collections.meywd.tamma.plugins.module_utils.operations import Configuration
from ansible_collections.meywd.tamma.plugins.module_utils.restic import Repository

SETTINGS = Configuration(
    project="tamma",
    directory="/opt/tamma",
    engine_socket="/var/run/docker.sock",
    repositories=[Repository("local", "/var/backups/tamma", "/x")],
    keep={},
    check_subset="5%",
    notify_command="",
    notify_webhook="",
    metrics_file="",
    overdue_hours={"backup": 50, "drill": 384, "check": 0},
)
NOW = 1_800_000_000.0
HOUR = 3600.0


def good(hours: float, operation: str = "backup") -> dict[str, Any]:
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW - hours * HOUR))
    entry = {"time": moment, "ok": True, "problem": ""}
    return {operation: entry, "good_" + operation: entry}


def found(records: dict[str, Any], since: float = 0, **changed: Any) -> list[Finding]:
    return backups(SETTINGS._replace(**changed), {"local": records}, NOW - since * HOUR, NOW)


def test_what_is_in_time_is_not_mentioned() -> None:
    assert found({**good(49), **good(383, "drill")}) == []


def test_what_is_overdue_is_a_problem() -> None:
    assert found({**good(51), **good(385, "drill")}) == [
        Finding(
            "problem",
            "The last good backup in local is 51 hours old: see 'systemctl list-timers', and run tammactl backup.",
        ),
        Finding(
            "problem",
            "The last good drill in local is 385 hours old: see 'systemctl list-timers', and run tammactl drill.",
        ),
    ]


def test_a_first_backup_is_due_from_when_it_was_configured() -> None:
    assert [item.severity for item in found({}, since=1)] == ["advice", "advice"]
    assert [item.severity for item in found({}, since=51)] == ["problem", "advice"]
    assert [item.severity for item in found({}, since=385)] == ["problem", "problem"]
    assert "has not come yet" in found({}, since=51)[0].words


def test_a_failure_is_a_problem_though_a_good_one_is_young() -> None:
    records = {**good(1), **good(1, "drill"), "backup": {"ok": False, "problem": "The disk is full."}}
    assert found(records) == [Finding("problem", "The last backup in local failed: The disk is full.")]


def test_each_repository_is_looked_at() -> None:
    repositories = [*SETTINGS.repositories, Repository("s3", "s3:x", "/y")]
    words = [item.words for item in found(good(1), since=60, repositories=repositories)]
    assert len([text for text in words if " in s3 " in text]) == 1 + 1
    assert not [text for text in words if "good backup in local" in text]


@given(st.floats(0, 2000), st.integers(1, 1000))
def test_the_limit_is_the_limit(age: float, limit: int) -> None:
    problems = [item for item in found(good(age), overdue_hours={"backup": limit}) if item.severity == "problem"]
    # A second is lost in the record.
    assert bool(problems) == (age * HOUR > limit * HOUR - 1) or abs(age - limit) < 0.001


@given(st.floats(0, 1e6))
def test_without_a_limit_any_age_is_right(age: float) -> None:
    assert found(good(age), overdue_hours={"backup": 0}) == []
    assert found(good(age), overdue_hours={}) == []
