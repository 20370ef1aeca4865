# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge: which services it knows, which containers it names, and whether it has loaded what is there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import edge
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Compose, Port, Project, Service
from ansible_collections.meywd.tamma.plugins.module_utils.engine import SERVICE_LABEL
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, remove, write
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result, Runner

CADDYFILE = File("edge/Caddyfile", "example.org\n")
INITIAL = File("edge/upstreams/api.caddy", "to api:3100\n", initial=True)


def service(name: str, *ports: Port, **labels: str) -> Service:
    return Service(
        name, "i", 1, {}, list(ports), [], {"tamma." + key.replace("_", "-"): labels[key] for key in labels}, ""
    )


def project(*services: Service) -> Project:
    return Project("tamma", {item.name: item for item in services}, [])


EDGE = service("edge", Port("", 443, 443, "tcp"), edge_config="/etc/caddy/Caddyfile")
STACK = project(
    EDGE,
    service("api", edge_port="3100"),
    service("page", edge_port="80"),
    service("published", Port("", 8080, 80, "tcp"), edge_port="80"),
    service("database"),
)


def test_the_edge_knows_services_with_a_port_that_nobody_else_publishes() -> None:
    assert edge.routed(STACK) == {"api": "3100", "page": "80"}


def test_without_an_edge_nothing_is_routed() -> None:
    stack = project(service("api", edge_port="3100"))
    assert edge.service(stack) is None
    assert edge.routed(stack) == {}


DONE = Result(0, "", "")


class Recorder(Runner):
    """Stands for Compose: remembers what it was asked, and answers with one result."""

    def __init__(self, result: Result = DONE) -> None:
        super().__init__()
        self.result = result
        self.asked: list[list[str]] = []

    def run(self, argv: list[str], *_args: object, **_kwargs: object) -> Result:
        self.asked.append(argv)
        return self.result


def running(directory: Path, runner: Runner) -> edge.Edge:
    return edge.Edge(Compose(runner, "docker-compose", str(directory), "tamma"), str(directory), STACK)


def test_containers_are_named_and_read_back(tmp_path: Path) -> None:
    work = running(tmp_path, Recorder())
    assert work.names("api") == []
    assert work.route("api", ["tamma-api-2", "tamma-api-1"])
    assert (tmp_path / "edge/upstreams/api.caddy").read_text() == "to tamma-api-1:3100 tamma-api-2:3100\n"
    assert work.names("api") == ["tamma-api-1", "tamma-api-2"]
    assert not work.route("api", ["tamma-api-1", "tamma-api-2"])


def test_a_service_without_containers_is_looked_up_by_its_name(tmp_path: Path) -> None:
    work = running(tmp_path, Recorder())
    work.route("api", [])
    assert work.names("api") == ["api"]


def test_what_was_loaded_is_known_until_something_changes(tmp_path: Path) -> None:
    runner = Recorder()
    work = running(tmp_path, runner)
    write(str(tmp_path), [CADDYFILE, INITIAL])
    assert not work.is_current([CADDYFILE, INITIAL])
    work.reload()
    assert runner.asked[-1][-7:] == [
        *("caddy", "reload", "--force", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile")
    ]
    assert work.is_current([CADDYFILE, INITIAL])
    assert not work.is_current([CADDYFILE._replace(content="other.example\n"), INITIAL])
    work.route("api", ["tamma-api-7"])
    assert not work.is_current([CADDYFILE, INITIAL])


def test_a_refused_configuration_does_not_count_as_loaded(tmp_path: Path) -> None:
    said = (
        '{"level":"info","msg":"using provided configuration"}\nError: sending configuration: loading: no such module\n'
    )
    work = running(tmp_path, Recorder(Result(1, "", said)))
    write(str(tmp_path), [CADDYFILE, INITIAL])
    with pytest.raises(
        OperatorError, match="goes on with the former one: sending configuration: loading: no such module"
    ):
        work.reload()
    assert not work.is_current([CADDYFILE, INITIAL])


def test_after_a_refusal_the_former_configuration_is_loaded_still(tmp_path: Path) -> None:
    runner = Recorder()
    work = running(tmp_path, runner)
    write(str(tmp_path), [CADDYFILE, INITIAL])
    work.reload()
    write(str(tmp_path), [CADDYFILE._replace(content="no configuration\n")])
    runner.result = Result(1, "", "Error: no")
    with pytest.raises(OperatorError):
        work.reload()
    assert not work.has_loaded
    write(str(tmp_path), [CADDYFILE])
    assert work.has_loaded


def test_what_a_release_no_longer_has_does_not_count(tmp_path: Path) -> None:
    work = running(tmp_path, Recorder())
    users = File("edge/users.caddy", "alice hash\n", 0o600, secret=True)
    write(str(tmp_path), [CADDYFILE, INITIAL, users])
    work.reload()
    assert not work.is_current([CADDYFILE, INITIAL])
    remove(str(tmp_path), ["edge/users.caddy"])
    work.reload()
    assert work.is_current([CADDYFILE, INITIAL])


class Containers:
    """An engine with an edge, and a container of each service behind it."""

    ADDRESSES: ClassVar = {"edge": "10.0.0.1", "api": "10.0.0.2", "page": "10.0.0.3"}

    def containers(self, _project: str) -> list[dict[str, object]]:
        return [{"Id": name, "Labels": {SERVICE_LABEL: name}} for name in self.ADDRESSES]

    def container(self, identifier: str) -> dict[str, object]:
        networks = {"net": {"IPAddress": self.ADDRESSES[identifier]}}
        return {"State": {"Pid": list(self.ADDRESSES).index(identifier) + 1}, "NetworkSettings": {"Networks": networks}}


@pytest.mark.parametrize(("seconds", "patient"), [(60.0, True), (0.0, False)])
def test_streams_are_cut_and_what_looks_like_one_when_the_time_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, patient: bool
) -> None:
    """A stream is the one connection that is left; requests on their way have begun by then, if there is time."""
    stack = project(EDGE, service("api", edge_port="3100", streams="/events"), service("page", edge_port="80"))
    work = edge.Edge(Compose(Recorder(), "docker-compose", str(tmp_path), "tamma"), str(tmp_path), stack)
    engine: Any = Containers()
    open_ones = {3100}
    cut: list[float] = []
    unmarked: list[bool] = []

    def end(pid: int, ends: object, also_unmarked: bool) -> int:
        assert (pid, ends) == (1, {("10.0.0.2", 3100)})
        cut.append(time.monotonic() - began)
        unmarked.append(also_unmarked)
        open_ones.discard(3100)
        return 1

    def count(_pid: int, port: int, sources: list[str]) -> int:
        assert sources == ["10.0.0.1"]
        return int(port in open_ones)

    monkeypatch.setattr(edge, "ON_THEIR_WAY_SECONDS", 0.5)
    monkeypatch.setattr(edge.connections, "cut_streams", end)
    monkeypatch.setattr(edge.connections, "count", count)
    began = time.monotonic()
    work.drain(engine, {"api": ["api"], "page": ["page"]}, seconds)
    assert time.monotonic() - began < 10
    assert (cut[0] >= 0.5) is patient
    assert unmarked == ([False] * (len(cut) - 1)) + [True]
    # Who sends no stream is waited for alone.
    cut.clear()
    work.drain(engine, {"page": ["page"]}, seconds)
    assert not cut
