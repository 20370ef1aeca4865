# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of the status table, from what an engine says over its socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.meywd.tamma.plugins.module_utils.compose import Project, Service
from ansible_collections.meywd.tamma.plugins.module_utils.engine import SERVICE_LABEL, Engine
from ansible_collections.meywd.tamma.plugins.module_utils.planner import ALONE_LABEL
from ansible_collections.meywd.tamma.plugins.module_utils.status import Row, notes, rows
from tests.unit.servers import Answers, Handler, UnixServer, running


def listed(identifier: str, service: str) -> dict[str, Any]:
    return {"Id": identifier, "Image": "reg/%s:1" % service, "Labels": {SERVICE_LABEL: service}}


def inspected(identifier: str, name: str, **state: Any) -> dict[str, Any]:
    return {
        "Id": identifier,
        "Name": "/" + name,
        "RestartCount": 7,
        "State": {"Status": "running", "StartedAt": "2026-03-01T10:00:00.5Z", "ExitCode": 0, **state},
        "HostConfig": {"RestartPolicy": {"Name": "unless-stopped"}},
    }


def service(name: str, replicas: int = 1) -> Service:
    return Service(name, "reg/%s:1" % name, replicas, {}, [], [], {}, "")


def look(tmp_path: Path, answers: Answers, project: Project | None = None) -> list[Row]:
    with running(UnixServer(str(tmp_path / "engine.sock"), Handler), answers) as server:
        return rows(Engine(server.server_address), "tamma", project)


def test_each_container_has_a_row(tmp_path: Path) -> None:
    answers: Answers = {
        "GET /containers/json": (
            200,
            [listed("2", "api"), listed("3", "edge"), listed("1", "api"), listed("4", "gone")],
        ),
        "GET /containers/1/json": (200, inspected("1", "tamma-api-1", Health={"Status": "healthy", "Log": []})),
        "GET /containers/2/json": (200, inspected("2", "tamma-api-2", Health={"Status": "starting", "Log": None})),
        "GET /containers/3/json": (
            200,
            inspected("3", "tamma-edge-1", Status="created", StartedAt="0001-01-01T00:00:00Z"),
        ),
    }
    assert look(tmp_path, answers) == [
        Row("api", "tamma-api-1", "reg/api:1", "running", "healthy", "2026-03-01T10:00:00Z", True),
        Row("api", "tamma-api-2", "reg/api:1", "running", "starting", "2026-03-01T10:00:00Z", False),
        Row("edge", "tamma-edge-1", "reg/edge:1", "created", "none", "", False),
    ]


def test_what_a_status_of_an_end_means(tmp_path: Path) -> None:
    ended = inspected("1", "tamma-api-1", Status="restarting", ExitCode=134)
    answers: Answers = {
        "GET /containers/json": (200, [listed("1", "api")]),
        "GET /containers/1/json": (200, ended),
    }
    (row,) = look(tmp_path, answers)
    assert row.ended.startswith(" Exit status 134: it aborted")


def test_two_containers_of_what_should_be_alone(tmp_path: Path) -> None:
    found = [listed(identifier, "elsa") | {"State": "running"} for identifier in "12"]
    for item in found:
        item["Labels"][ALONE_LABEL] = "timers fire twice"

    def told(*containers: dict[str, Any]) -> list[str]:
        answers: Answers = {"GET /containers/json": (200, list(containers))}
        socket = str(tmp_path / f"engine-{containers[-1]['State']}.sock")
        with running(UnixServer(socket, Handler), answers) as server:
            return notes(Engine(server.server_address), "tamma")

    assert told(*found) == ["elsa has 2 containers: timers fire twice."]
    assert told(found[0], found[1] | {"State": "exited"}) == []


def test_a_service_without_a_container_is_missed(tmp_path: Path) -> None:
    project = Project("tamma", {name: service(name) for name in ("api", "postgres")}, [])
    project.services["idle"] = service("idle", replicas=0)
    answers: Answers = {
        "GET /containers/json": (200, [listed("1", "api")]),
        "GET /containers/1/json": (200, inspected("1", "tamma-api-1")),
    }
    found = look(tmp_path, answers, project)
    assert [(row.service, row.state, row.ready) for row in found] == [
        ("api", "running", True),
        ("postgres", "missing", False),
    ]
