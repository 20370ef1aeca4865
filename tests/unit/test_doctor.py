# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When backups are overdue, and what is said about them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils import doctor, history, update
from ansible_collections.meywd.tamma.plugins.module_utils.configuration import Configuration
from ansible_collections.meywd.tamma.plugins.module_utils.doctor import Finding, backups, kept_findings, releases
from ansible_collections.meywd.tamma.plugins.module_utils.engine import SERVICE_LABEL
from ansible_collections.meywd.tamma.plugins.module_utils.lock import Lock
from ansible_collections.meywd.tamma.plugins.module_utils.restic import Repository
from tests.unit.test_history import entry

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


class Engine:
    """An engine with one container of the .NET API."""

    def __init__(self, lines: list[str], status: str = "healthy") -> None:
        self._lines, self._status = lines, status

    def containers(self, _project: str) -> list[dict[str, Any]]:
        return [{"Id": "1", "State": "running", "Labels": {SERVICE_LABEL: "tamma-api-dotnet"}}]

    def container(self, _identifier: str) -> dict[str, Any]:
        return {
            "Id": "1",
            "Name": "/tamma-tamma-api-dotnet-1",
            "State": {"Status": "running", "Health": {"Status": self._status}},
        }

    def logs(self, _identifier: str, _tail: int) -> list[str]:
        return self._lines


def test_a_service_that_writes_nothing_is_told() -> None:
    (words,) = doctor.silent(cast(Any, Engine([])), "tamma")
    assert words.startswith("tamma-tamma-api-dotnet-1 has written nothing that the engine shows")
    assert doctor.silent(cast(Any, Engine(["Now listening"])), "tamma") == []
    assert doctor.silent(cast(Any, Engine([], "starting")), "tamma") == []


class _Session:
    """A session of a server that asks others."""

    def __init__(self, found: list[str]) -> None:
        self._found = found

    def __enter__(self) -> _Session:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass

    def query(self, _sql: str) -> list[list[str]]:
        return [[name] for name in self._found]


@pytest.mark.parametrize(
    ("inside", "asks", "told"),
    [
        (["tamma_tamma-data"], ["archive_mode on", "the subscription a"], True),
        (["tamma_tamma-data-strict"], ["archive_mode on", "the subscription a"], True),
        (["tamma_tamma-data", "tamma_outside"], ["archive_mode on"], False),
        (["tamma_tamma-data"], [], False),
    ],
)
def test_a_database_that_asks_outside_without_a_way_out_is_told(
    monkeypatch: pytest.MonkeyPatch, inside: list[str], asks: list[str], told: bool
) -> None:
    networks = {"NetworkSettings": {"Networks": dict.fromkeys(inside)}}
    stack = SimpleNamespace(
        name="tamma",
        postgres=SimpleNamespace(name="postgres"),
        containers=lambda _service: [{"Id": "1"}],
        engine=SimpleNamespace(container=lambda _identifier: networks),
    )
    monkeypatch.setattr(doctor, "Database", lambda _stack: SimpleNamespace(session=lambda: _Session(asks)))
    words = doctor.shut_in(cast(Any, stack))
    assert [line.startswith("PostgreSQL has archive_mode on, the subscription a, and since") for line in words] == [
        True
    ] * told


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


def history_of(directory: Path, *entries: history.Entry) -> dict[str, Any]:
    for item in entries:
        history.History(str(directory)).note(item)
    return releases("tamma", str(directory))


def test_a_host_without_releases(tmp_path: Path) -> None:
    assert releases("tamma", str(tmp_path)) == {
        "releases": [],
        "release": 0,
        "pending": [],
        "busy": "",
        "failure": "",
    }


def test_which_release_serves(tmp_path: Path) -> None:
    secret = {"update": {"hooks": {"webhook": "https://chat.example/canary"}}}
    found = history_of(tmp_path, entry(1), entry(2, options=secret))
    assert (found["release"], found["failure"]) == (2, "")
    assert [(item["serves"], item["way_back"]) for item in found["releases"]] == [(False, "not needed"), (True, "")]
    assert "canary" not in str(found)


def test_a_failed_last_release_is_told(tmp_path: Path) -> None:
    failed = entry(2, outcome=history.FAILED, problem="It is ill.\nIts last lines", version="0.3.0")
    assert history_of(tmp_path, entry(1), failed)["failure"] == (
        "Release 2 (0.3.0) failed at 2026-01-01T12:00:00Z: It is ill. Release 1 serves."
    )
    assert history_of(tmp_path, entry(3))["failure"] == ""


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (update.COPIED, "The update from release 1 to 2 was cut off: type 'tammactl resume', which goes back"),
        (update.SERVING, "Release 2 serves, but its update was cut off: type 'tammactl resume'."),
    ],
)
def test_what_was_cut_off_is_told(tmp_path: Path, step: str, words: str) -> None:
    journal = update.Journal(2, 1, update.GUARDED, "", "", "", step)
    (tmp_path / ".tamma").mkdir()
    (tmp_path / update.JOURNAL).write_text(json.dumps(journal._asdict()), encoding="utf-8")
    (found,) = releases("tamma", str(tmp_path))["pending"]
    assert found.startswith(words)
    (tmp_path / update.JOURNAL).write_text("{", encoding="utf-8")
    (found,) = releases("tamma", str(tmp_path))["pending"]
    assert "does not tell how far" in found


def test_what_is_under_way_was_not_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = str(tmp_path / "tamma.lock")
    monkeypatch.setattr(doctor, "lock_file", lambda _project: lock)
    (tmp_path / ".tamma").mkdir()
    with Lock(lock, "deploy"):
        journal = update.Journal(2, 1, update.GUARDED, "", "", "", update.COPIED)
        (tmp_path / update.JOURNAL).write_text(json.dumps(journal._asdict()), encoding="utf-8")
        now = releases("tamma", str(tmp_path))
        assert (now["pending"], now["busy"][:17]) == ([], "a deploy (process")
        (finding,) = doctor._interrupted("tamma", str(tmp_path))
        assert finding == Finding("advice", "This stack is being worked on by %s." % now["busy"])
    later = releases("tamma", str(tmp_path))
    assert (len(later["pending"]), later["busy"]) == (1, "")
    (finding,) = doctor._interrupted("tamma", str(tmp_path))
    assert (finding.severity, "was cut off" in finding.words) == ("problem", True)


def test_what_releases_keep_is_told_with_its_size() -> None:
    free = {"name": "tamma_failed_3", "bytes": 3 << 20, "release": 0}
    needed = {"name": "tamma_guard_2", "bytes": 2 << 30, "release": 2}
    assert kept_findings([]) == []
    first, second = kept_findings([free, needed])
    assert "takes 3.0 MiB (tamma_failed_3 with 3.0 MiB)" in first.words
    assert "before release 2 (tamma_guard_2 with 2.0 GiB)" in second.words
    assert kept_findings([needed]) == [second]
