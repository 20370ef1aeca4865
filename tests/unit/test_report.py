# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator reads at the end: tables, counts and sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.action.tamma_report import table
from ansible_collections.meywd.tamma.plugins.filter.report import (
    FilterModule,
    able_lines,
    backup_states,
    complaints,
    outcomes,
    release_lines,
    removal_rows,
    service_rows,
)
from tests.tools.roles import ROOT

PLAYBOOKS = ROOT / "playbooks"


def test_a_table() -> None:
    rows: list[dict[str, Any]] = [{"service": "postgres", "state": "running", "id": 7}, {"service": "api"}]
    assert table(["service", "id", "state"], rows) == [
        "SERVICE   ID  STATE",
        "postgres  7   running",
        "api",
    ]


def test_a_table_without_rows_has_its_heading() -> None:
    assert table(["service", "state"], []) == ["SERVICE  STATE"]


@given(st.lists(st.dictionaries(st.sampled_from(["a", "bb"]), st.text("xyz", max_size=9)), min_size=1))
def test_columns_stand_below_one_another(rows: list[dict[str, Any]]) -> None:
    lines = table(["a", "bb"], rows)
    start = lines[0].index("BB")
    assert [line[start:] for line in lines[1:]] == [row.get("bb", "") for row in rows]
    assert not any(line.endswith(" ") for line in lines)


def test_rows_of_every_host_that_answered() -> None:
    hostvars = {
        "one": {"status": {"services": [{"service": "api"}, {"service": "edge"}]}},
        "two": {"status": {"services": [{"service": "api"}]}},
        "empty": {"status": {"services": None}},
        "unreachable": {},
        "skipped": {"status": {"skipped": True}},
    }
    assert service_rows(["one", "two", "empty", "unreachable", "skipped"], hostvars, "status") == [
        {"host": "one", "service": "api"},
        {"host": "one", "service": "edge"},
        {"host": "two", "service": "api"},
    ]


def test_how_backups_stand() -> None:
    state = {"repository": "local", "last_backup": "2026-01-01T00:00:00Z", "last_drill": ""}
    hostvars = {
        "one": {"status": {"backups": {"repositories": [state], "problems": []}}},
        "two": {"status": {}},
        "gone": {},
    }
    assert backup_states(["one", "two", "gone"], hostvars, "status") == [
        {"host": "one", "repository": "local", "last backup": "2026-01-01T00:00:00Z", "last drill": "never"}
    ]


def test_an_overdue_backup_is_a_complaint() -> None:
    well = {"healthy": True, "services": [{"service": "api"}], "endpoints": [], "backups": {"problems": ["Overdue."]}}
    assert complaints(well) == "Overdue."
    assert complaints({**well, "pending": ["Release 4 was cut off."]}).splitlines() == [
        "Release 4 was cut off.",
        "Overdue.",
    ]
    row = {"service": "api", "state": "exited", "health": "none", "ready": False}
    assert complaints({**well, "healthy": False, "services": [row]}).splitlines()[:2] == ["api is exited.", "Overdue."]


def test_how_much_was_removed() -> None:
    removed = {"containers": ["a", "b"], "networks": ["n"], "volumes": [], "files": []}
    assert removal_rows(["one"], {"one": {"result": {"removed": removed}}}, "result") == [
        {"host": "one", "containers": 2, "networks": 1, "volumes": 0, "files": 0}
    ]


def test_a_host_that_was_not_reached_has_no_removal_row() -> None:
    assert removal_rows(["gone"], {"gone": {}}, "result") == []


def row(**facts: Any) -> dict[str, Any]:
    return {"service": "api", "state": "running", "health": "healthy", "ready": True, **facts}


def test_each_trouble_has_a_sentence() -> None:
    status = {
        "services": [
            row(),
            row(service="elsa-server", health="unhealthy", ready=False),
            row(service="edge", state="missing", health="none", ready=False),
        ],
        "endpoints": [
            {"service": "api", "url": "http://127.0.0.1:3100/api/health", "problem": "it answers 502 Bad Gateway"},
            {"service": "edge", "url": "http://127.0.0.1:80/", "problem": None},
        ],
    }
    assert complaints(status).splitlines()[:-1] == [
        "elsa-server is running, its health check says unhealthy.",
        "edge is missing.",
        "api does not answer on http://127.0.0.1:3100/api/health: it answers 502 Bad Gateway.",
    ]
    assert "docker compose logs SERVICE" in complaints(status)


def test_what_keeps_a_stack_from_its_work() -> None:
    able = [{"severity": "problem", "words": "No agent."}, {"severity": "advice", "words": "GitHub does not answer."}]
    known = {"one": {"seen": {"healthy": True, "able": able}}, "two": {"seen": {"skipped": True}}, "three": {}}
    assert able_lines(known, known, "seen") == [
        "one  problem: No agent.",
        "one  advice: GitHub does not answer.",
    ]
    # What nobody knows is no complaint.
    assert complaints(known["one"]["seen"]) == "No agent."


def test_no_stack_is_one_sentence() -> None:
    sentence = complaints({"services": [], "endpoints": []})
    assert sentence == "There is no stack on this host: run site.yml to bring it up."


def test_the_filters_are_offered_to_playbooks() -> None:
    assert set(FilterModule().filters()) == {
        "service_rows",
        "removal_rows",
        "complaints",
        "outcomes",
        "backup_rows",
        "backup_states",
        "release_lines",
        "able_lines",
        "restore_rows",
    }


def test_what_a_deploy_did() -> None:
    done = {
        "pulls": ["api:2"],
        "database": ["run init.sql in x"],
        "directories": ["give /workspace of the engine to the user 1001"],
        "files": [{"path": ".env", "action": "update"}],
        "plan": [{"service": "api", "action": "recreate", "reason": "its image changed"}],
    }
    assert outcomes(
        ["one", "two", "three"], {"one": {"release": done}, "two": {"release": {}}, "three": {}}, "release"
    ) == [
        "one  pulled: api:2",
        "one  database: run init.sql in x",
        "one  directories: give /workspace of the engine to the user 1001",
        "one  files: .env",
        "one  services: recreate api",
        "two  nothing had to be changed",
    ]


def test_which_release_serves_and_what_failed() -> None:
    entry = {"number": 2, "version": "0.2.0", "time": "2026-01-01T12:00:00Z", "by": "alice", "serves": True}
    former = {**entry, "number": 1, "serves": False}
    known = {"releases": [former, entry], "failure": "Release 3 failed.", "pending": ["A restore was cut off."]}
    hosts = {
        "one": {"status": known},
        "two": {"status": {"releases": [{**entry, "by": ""}], "failure": "", "busy": "a backup (process 7)"}},
        "three": {},
    }
    assert release_lines(hosts, hosts, "status") == [
        "one  release 2 (0.2.0) serves, deployed at 2026-01-01T12:00:00Z by alice",
        "one  Release 3 failed.",
        "one  A restore was cut off.",
        "two  release 2 (0.2.0) serves, deployed at 2026-01-01T12:00:00Z by somebody",
        "two  This stack is being worked on by a backup (process 7).",
    ]


@pytest.mark.parametrize("path", sorted(PLAYBOOKS.glob("*.yml")), ids=lambda path: path.stem)
def test_a_playbook_that_looks_whether_a_stack_can_work_tells_what_it_saw(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    looks = "outcomes(hostvars, '__tamma_stack_release')" in text and "__tamma_stack_unchecked" not in text
    assert looks == ("able_lines(hostvars, '__tamma_stack_check')" in text)
    assert looks == (path.stem in ("site", "rotate_secrets"))
