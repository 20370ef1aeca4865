# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups that run by themselves, and tammactl, as somebody on the host sees them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from testinfra.host import Host

from tests.bench.patience import wait_until
from tests.tools.deployed import compose

OPERATIONS = ("backup", "drill", "check", "prune")
REPOSITORIES = {"local": "/var/backups/tamma", "offsite": "/srv/offsite"}
TIMERS = " ".join(f"tamma-{name}.timer" for name in OPERATIONS)
RECORDS = "/var/lib/tamma/tamma/backups.json"
PASSWORD = "/etc/tamma/tamma/repository-local.password"
CANARIES = "canary-of-the-"
#: Timers take their time.
DEADLINE = 150


def records(host: Host) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(host.run("cat %s || echo {}", RECORDS).stdout)
    return found


def tammactl(host: Host, *words: str, status: int = 0) -> dict[str, Any]:
    result = host.run("tammactl --json --wait 120 " + " ".join(words))
    assert result.rc == status, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    assert found["ok"] == (status == 0)
    return found


def psql(host: Host, sql: str) -> str:
    return compose(host, "exec", "-T", "postgres", "psql", "-U", "tamma", "-d", "tamma", "-Atc", sql).strip()


def databases(host: Host) -> list[str]:
    return psql(host, "SELECT datname FROM pg_database WHERE datname LIKE 'tamma%' ORDER BY 1").split()


@pytest.fixture(scope="module")
def quiet(host: Host) -> Iterator[None]:
    """No timer fires, and nothing is at work."""
    host.check_output("systemctl stop " + TIMERS)
    tammactl(host, "check")
    yield
    host.check_output("systemctl start " + TIMERS)


# -- by themselves ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPERATIONS)
def test_timers_are_installed(host: Host, name: str) -> None:
    timer = host.service(f"tamma-{name}.timer")
    assert timer.is_enabled
    assert timer.is_running


@pytest.mark.parametrize("name", OPERATIONS)
def test_timers_fire_and_what_they_do_goes_well_in_every_repository(host: Host, name: str) -> None:
    def good() -> bool:
        found = records(host)
        return all(f"good_{name}" in found.get(repository, {}) for repository in REPOSITORIES)

    wait_until(good, DEADLINE, f"a good {name} of a timer")
    assert host.run("systemctl show --property LastTriggerUSec --value tamma-%s.timer", name).stdout.strip() != "n/a"


def test_retention_is_applied(host: Host) -> None:
    assert wait_until(
        lambda: records(host)["local"].get("good_prune", {}).get("removed"), DEADLINE, "something to be pruned"
    )


def test_what_a_timer_did_is_in_the_journal(host: Host) -> None:
    lines = host.check_output("journalctl --no-pager --unit tamma-drill.service --output cat")
    assert "is what its manifest says" in lines


# -- by hand ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quiet")
def test_as_many_backups_as_the_retention_keeps(host: Host) -> None:
    tammactl(host, "backup", "--tag", "kept")
    tammactl(host, "prune")
    found = tammactl(host, "backups")["repositories"]
    assert {entry["repository"]: len(entry["backups"]) for entry in found} == dict.fromkeys(REPOSITORIES, 2)
    assert [entry["backups"][-1]["tags"] for entry in found] == [["kept"], ["kept"]]


@pytest.mark.usefixtures("quiet")
def test_a_drill_is_recorded_and_leaves_nothing(host: Host) -> None:
    newest = tammactl(host, "backups")["repositories"][0]["backups"][-1]["id"]
    assert {one["id"] for one in tammactl(host, "drill")["results"]} == {newest}
    assert records(host)["offsite"]["good_drill"]["id"] == newest
    assert databases(host) == ["tamma"]


@pytest.mark.usefixtures("quiet")
def test_status_is_content_and_doctor_misses_the_timers(host: Host) -> None:
    backups = tammactl(host, "status")["backups"]
    assert {item["repository"] for item in backups["repositories"]} == set(REPOSITORIES)
    assert backups["problems"] == []
    problems = [item for item in tammactl(host, "doctor", status=3)["findings"] if item["severity"] == "problem"]
    assert [item["words"].split()[:6] for item in problems] == [
        ["The", "timer", f"tamma-{name}.timer", "does", "not", "run:"] for name in OPERATIONS
    ]


@pytest.mark.usefixtures("quiet")
def test_a_restore_brings_rows_back_and_keeps_what_was_there(host: Host) -> None:
    psql(host, "CREATE TABLE precious (word text); INSERT INTO precious VALUES ('gold')")
    taken = tammactl(host, "backup")["backups"][0]["id"]
    psql(host, "UPDATE precious SET word = 'lead'")
    assert tammactl(host, "restore", taken, "--plan")["restore"]["id"] == taken
    assert psql(host, "SELECT word FROM precious") == "lead"
    kept = tammactl(host, "restore", taken)["restore"]["kept_as"]
    assert psql(host, "SELECT word FROM precious") == "gold"
    assert kept in [item["name"] for item in tammactl(host, "backups")["kept"]]
    assert kept in databases(host)
    tammactl(host, "discard", "--all")
    assert databases(host) == ["tamma"]
    psql(host, "DROP TABLE precious")


@pytest.mark.usefixtures("quiet")
def test_a_failure_is_seen_everywhere(host: Host) -> None:
    host.check_output("cp -p %s %s.kept && echo wrong > %s", PASSWORD, PASSWORD, PASSWORD)
    try:
        assert host.run("systemctl start tamma-backup.service").rc != 0
        sentence = "The repository local is not opened by its password"
        assert sentence in records(host)["local"]["backup"]["problem"]
        # The other repository has its backup all the same.
        assert records(host)["offsite"]["backup"]["ok"]
        assert sentence in host.check_output("journalctl --no-pager --unit tamma-backup.service --output cat")
        assert f"backup\nlocal\n{sentence}" in host.file("/root/told").content_string
        assert sentence in tammactl(host, "status", status=3)["backups"]["problems"][0]
        metrics = host.file("/var/lib/prometheus/node-exporter/tamma.prom").content_string
        assert 'tamma_operation_success{stack="tamma",repository="local",operation="backup"} 0' in metrics
        assert 'tamma_operation_success{stack="tamma",repository="offsite",operation="backup"} 1' in metrics
    finally:
        host.check_output("mv %s.kept %s", PASSWORD, PASSWORD)
    host.check_output("systemctl start tamma-backup.service")
    tammactl(host, "status")


def test_logs(host: Host) -> None:
    lines = tammactl(host, "logs", "--tail", "1", "tamma-api")["lines"]
    assert [(line["service"], bool(line["time"])) for line in lines] == [("tamma-api", True)]
    assert "tamma-api-1" in host.check_output("tammactl logs --tail 1 tamma-api")


# -- secrets ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quiet")
def test_no_secret_in_a_process_list_and_no_second_operation(host: Host) -> None:
    seen = host.check_output(
        "(while sleep 0.1; do ps -e -o args; done) & sampler=$!; tammactl backup >/dev/null 2>&1 & backup=$!;"
        " timeout 60 sh -c 'until grep -q backup /run/tamma/tamma.lock; do sleep 0.1; done';"
        " tammactl check 2>&1; echo status $?; wait $backup; kill $sampler"
    )
    assert "worked on by a backup (process" in seen
    assert "status 4" in seen
    assert "restic --json backup" in seen
    assert CANARIES not in seen


def test_no_secret_in_the_journal_or_for_everybody(host: Host) -> None:
    assert CANARIES not in host.check_output("journalctl --no-pager --all")
    places = "/etc /opt /root /run /srv /usr/local /var"
    found = host.run(f"find {places} -xdev -type f -perm -o=r -print0 | xargs -0 grep --files-with-matches {CANARIES}")
    assert found.stdout == ""
    assert host.file(PASSWORD).mode == 0o600
    assert host.file("/etc/tamma/tamma/backup.json").mode == 0o600


def test_the_repositories_show_nothing(host: Host) -> None:
    for place in REPOSITORIES.values():
        assert host.file(place).mode & 0o007 == 0, place
