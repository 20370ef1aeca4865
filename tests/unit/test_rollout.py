# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order containers go and come when their service is replaced: one that serves stays as long as it can."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import rollout
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Project, Service
from ansible_collections.meywd.tamma.plugins.module_utils.engine import NUMBER_LABEL, SERVICE_LABEL
from ansible_collections.meywd.tamma.plugins.module_utils.planner import ALONE_LABEL, Container
from ansible_collections.meywd.tamma.plugins.module_utils.stopping import LABEL, of_containers

NEW, OLD = "new", "old"


class Host:
    """Containers by their ids, and everything that happened in its order; takes the place of engine and edge."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, replicas: int, **containers: tuple[str, str]) -> None:
        self.there = dict(containers)
        self.log: list[str] = []
        self.service = Service("elsa", "elsa:1", replicas, {}, [], [], {}, NEW)
        self._ids = itertools.count(1)
        self.work = rollout.Rollout.__new__(rollout.Rollout)
        replaced: dict[str, Any] = {
            "_engine": self,
            "_edge": None,
            "_edge_lock": threading.Lock(),
            "_held": False,
            "_release": type("Release", (), {"drain": 1.0}),
            "_progress": lambda _phase, _words: None,
            "_route": lambda _name, items: self.log.append("route " + " ".join(item.id for item in items)),
            "_drain": lambda _name, items: self.log.append("drain " + " ".join(item.id for item in items)),
            "_add": self._add,
        }
        for name, value in replaced.items():
            monkeypatch.setattr(self.work, name, value, raising=False)
        monkeypatch.setattr(rollout, "Hold", lambda _edge, _engine: self)

    def found(self) -> list[Container]:
        return [
            Container(name, "elsa", kind, "i", "exited" if health == "exited" else "running", number=int(name[1:]))
            for name, (kind, health) in self.there.items()
        ]

    def replace(self) -> None:
        found = self.found()
        self.work._replace_alone(self.service, found, [item for item in found if item.config_hash == OLD])

    # -- the engine

    def container(self, name: str) -> dict[str, Any]:
        health = self.there[name][1]
        return {"Id": name, "State": {"Status": "running", "Health": {"Status": health} if health else None}}

    def image(self, _reference: str) -> dict[str, Any]:
        return {"Id": "i"}

    def remove_container(self, name: str) -> None:
        del self.there[name]
        self.log.append("remove " + name)

    def _add(self, _service: Service, there: list[Container], more: int) -> list[Container]:
        assert {item.id for item in there} == set(self.there)
        names = ["n%d" % next(self._ids) for _ in range(more)]
        self.there.update(dict.fromkeys(names, (NEW, "healthy")))
        self.log.append("add " + " ".join(names))
        return [item for item in self.found() if item.id in names]

    # -- what holds requests

    def begin(self, _names: Iterable[str], _seconds: float) -> None:
        self.log.append("hold")

    def drain(self, containers: Mapping[str, Iterable[str]], _seconds: float) -> None:
        self.log.append("drain " + " ".join(containers["elsa"]))

    def release(self, containers: Mapping[str, Iterable[str]], _seconds: float) -> int:
        self.log.append("release " + " ".join(containers["elsa"]))
        return 0

    def close(self) -> None:
        pass


def test_the_only_one_goes_before_the_new_one_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, 1, o1=(OLD, "healthy"))
    host.replace()
    assert host.log == ["hold", "drain o1", "remove o1", "add n1", "release n1"]


def test_of_two_the_one_that_serves_goes_last_and_nobody_waits_for_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, 2, o1=(OLD, "unhealthy"), o2=(OLD, "healthy"))
    host.replace()
    assert host.log == [
        *("route o2", "drain o1", "remove o1"),
        *("hold", "drain o2", "remove o2", "add n1", "release n1"),
        *("add n2", "route n1 n2"),
    ]


def test_those_that_do_not_serve_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, 2, o1=(OLD, "healthy"), o2=(OLD, ""), o3=(OLD, "exited"), o4=(OLD, "starting"))
    host.replace()
    assert host.log[:5] == ["route o1", "drain o2 o3 o4", "remove o3", "remove o4", "remove o2"]


def test_a_new_one_of_an_interrupted_run_serves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, 2, o1=(OLD, "healthy"), n9=(NEW, "healthy"))
    host.replace()
    assert host.log == ["route n9", "drain o1", "remove o1", "add n1", "route n9 n1"]


def test_when_none_serves_requests_wait_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, 1, o1=(OLD, "unhealthy"), n9=(NEW, "unhealthy"))
    host.replace()
    assert host.log == ["hold", "drain o1 n9", "remove o1", "remove n9", "add n1", "release n1"]


def test_with_fewer_containers_the_unhealthy_one_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, 1, n1=(NEW, "unhealthy"), n2=(NEW, "healthy"))
    host.work._replace(host.service, host.found())
    assert host.log[-1] == "remove n1"


@pytest.mark.parametrize(("state", "done"), [("healthy", []), ("exited", ["remove o1", "add n1"])])
def test_while_requests_wait_nothing_stands_beside_one_that_should_be_alone(
    monkeypatch: pytest.MonkeyPatch, state: str, done: list[str]
) -> None:
    host = Host(monkeypatch, 1, o1=(OLD, state))
    service = host.service._replace(labels={ALONE_LABEL: "both would work"})
    replaced: dict[str, Any] = {
        "_held": True,
        "_project": Project("tamma", {"elsa": service}, []),
        "_together": [],
        "_edge": type("Edge", (), {"routed": {"elsa": "5000"}}),
        "_edge_serves": lambda: True,
        "_containers": lambda _name: [
            {
                "Id": "o1",
                "State": "running" if state == "healthy" else "exited",
                "Names": ["/tamma-elsa-1"],
                "Labels": {SERVICE_LABEL: "elsa", NUMBER_LABEL: "1", "com.docker.compose.config-hash": OLD},
            }
        ],
    }
    for name, value in replaced.items():
        monkeypatch.setattr(host.work, name, value, raising=False)
    host.work._start("elsa", "recreate")
    assert host.log == done


def test_what_is_lost_is_told_of_what_runs() -> None:
    def listed(service: str, state: str, **labels: str) -> dict[str, Any]:
        return {"State": state, "Labels": {SERVICE_LABEL: service, NUMBER_LABEL: "1", **labels}}

    costs = {LABEL: "what it does is lost"}
    found = [listed("b", "running", **costs), listed("b", "running", **costs), listed("a", "exited", **costs)]
    assert of_containers([*found, listed("c", "running")]) == ["b stops: what it does is lost"]
