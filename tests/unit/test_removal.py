# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What taking a stack away takes with it, and what it never does."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import removal as removal_module
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, record, write
from ansible_collections.meywd.tamma.plugins.module_utils.removal import Removal, apply, plan
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result, Runner
from tests.unit.servers import Answers, Handler, UnixServer, running

OURS = {"com.docker.compose.project": "tamma"}
ANSWERS: Answers = {
    "GET /_ping": (200, b"OK"),
    "GET /containers/json": (
        200,
        [{"Id": "2", "Names": ["/tamma-b-1"], "Labels": OURS}, {"Id": "1", "Names": ["/tamma-a-1"], "Labels": OURS}],
    ),
    "GET /networks": (200, [{"Name": "tamma_net"}]),
    "GET /volumes": (200, {"Volumes": [{"Name": "tamma_pg-data"}]}),
    "GET /images/json": (
        200,
        [{"Id": "3", "RepoTags": ["localhost/tamma-releases/tamma:3", "a:1"]}, {"Id": "4", "RepoTags": ["b:1"]}],
    ),
    "DELETE /volumes/tamma_pg-data": (204, None),
    "DELETE /images/localhost/tamma-releases/tamma:3": (200, []),
}


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A stack's directory as a deploy leaves it, with a file of the user's."""
    directory = tmp_path / "srv" / "tamma"
    directory.mkdir(parents=True)
    write(str(directory), [File(".env", "", 0o600), File("nginx/default.conf", ""), File("notes.txt", "")])
    record(str(directory), [".env", "nginx/default.conf"])
    return directory


def below(path: Path) -> list[str]:
    return sorted(str(item.relative_to(path)) for item in path.rglob("*"))


@pytest.mark.parametrize("asked", ["yes", "true", "tamma2", "Tamma"])
def test_data_goes_only_by_the_stacks_name(tmp_path: Path, asked: str) -> None:
    with pytest.raises(OperatorError) as refused:
        plan(Engine(str(tmp_path / "no-engine")), "tamma", str(tmp_path), asked)
    assert refused.value.message == (
        "The volumes of which stack? tamma_stack_remove_volumes is '%s', this stack is called 'tamma': write its name "
        "to have its data deleted, or leave the variable out to keep the data." % asked
    )


def test_what_is_lost_is_part_of_the_plan(tmp_path: Path) -> None:
    labels = {**OURS, "com.docker.compose.service": "elsa", "tamma.stopping": "what it does is lost"}
    listed = [{"Id": "1", "Names": ["/tamma-elsa-1"], "State": "running", "Labels": labels}]
    answers: Answers = {**ANSWERS, "GET /containers/json": (200, listed)}
    with running(UnixServer(str(tmp_path / "engine.sock"), Handler), answers):
        found = plan(Engine(str(tmp_path / "engine.sock")), "tamma", str(tmp_path), "")
    assert found.stopping == ("elsa stops: what it does is lost",)


@pytest.mark.parametrize(
    ("asked", "volumes", "files", "images"),
    [
        ("", [], [], []),
        (
            "tamma",
            ["tamma_pg-data"],
            [".env", "nginx/default.conf", ".tamma/files.json"],
            ["localhost/tamma-releases/tamma:3"],
        ),
    ],
)
def test_the_files_go_with_the_volumes(
    tmp_path: Path, stack: Path, asked: str, volumes: list[str], files: list[str], images: list[str]
) -> None:
    with running(UnixServer(str(tmp_path / "engine.sock"), Handler), ANSWERS) as server:
        planned = plan(Engine(server.server_address), "tamma", str(stack), asked)
    assert planned == Removal(["tamma-a-1", "tamma-b-1"], ["tamma_net"], volumes, files, images)


def test_a_host_without_an_engine_has_files_to_remove(tmp_path: Path, stack: Path) -> None:
    planned = plan(Engine(str(tmp_path / "no-engine")), "tamma", str(stack), "tamma")
    assert planned == Removal([], [], [], [".env", "nginx/default.conf", ".tamma/files.json"], [])


def test_removal_leaves_what_the_user_put_there(tmp_path: Path, stack: Path) -> None:
    files, images = [".env", "nginx/default.conf", ".tamma/files.json"], ["localhost/tamma-releases/tamma:3"]
    removal = Removal([], [], ["tamma_pg-data"], files, images)
    with running(UnixServer(str(tmp_path / "engine.sock"), Handler), ANSWERS) as server:
        apply(Engine(server.server_address), Runner(), removal, "tamma", str(stack))
        assert [request for request, _query in server.requests] == [
            "DELETE /volumes/tamma_pg-data",
            "DELETE /images/localhost/tamma-releases/tamma:3",
        ]
    assert below(tmp_path / "srv") == ["tamma", "tamma/notes.txt"]


def test_a_network_that_compose_leaves_goes_too(tmp_path: Path, stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal_module.shell, "compose_program", lambda: "/no/compose")
    monkeypatch.setattr(removal_module.Compose, "down", lambda _self: Result(0, "", ""))
    answers: Answers = {**ANSWERS, "DELETE /networks/tamma_net": (204, None)}
    with running(UnixServer(str(tmp_path / "engine.sock"), Handler), answers) as server:
        apply(Engine(server.server_address), Runner(), Removal([], ["tamma_net"], [], [], []), "tamma", str(stack))
        assert [request for request, _query in server.requests][-1] == "DELETE /networks/tamma_net"


def test_a_network_with_somebody_else_in_it_stays_and_the_rest_goes(
    tmp_path: Path, stack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal_module.shell, "compose_program", lambda: "/no/compose")
    monkeypatch.setattr(removal_module.Compose, "down", lambda _self: Result(0, "", ""))
    answers: Answers = {
        **ANSWERS,
        "GET /containers/json": (200, [{"Id": "9", "Names": ["/login"], "Labels": {}}]),
        "DELETE /networks/tamma_net": (403, {"message": "network tamma_net has active endpoints"}),
    }
    with running(UnixServer(str(tmp_path / "engine.sock"), Handler), answers) as server:
        engine = Engine(server.server_address)
        found = plan(engine, "tamma", str(stack), "tamma")
        apply(engine, Runner(), found._replace(containers=["tamma-a-1"]), "tamma", str(stack))
        requests = [request for request, _query in server.requests]
    assert found.networks == []
    assert found.stays == (
        "The network tamma_net stays, because login is in it and not of the stack: take that out, and run this again",
    )
    assert "DELETE /volumes/tamma_pg-data" in requests
    assert below(tmp_path / "srv") == ["tamma", "tamma/notes.txt"]


@pytest.mark.parametrize("slash", ["", "/"])
def test_an_emptied_directory_goes_and_its_parent_stays(tmp_path: Path, stack: Path, slash: str) -> None:
    (stack / "notes.txt").unlink()
    # Made by an engine, for a mount that nothing was written to.
    (stack / "tls").mkdir()
    removal = Removal([], [], [], [".env", "nginx/default.conf", ".tamma/files.json"], [])
    apply(Engine(str(tmp_path / "no-engine")), Runner(), removal, "tamma", str(stack) + slash)
    assert below(tmp_path) == ["srv"]
