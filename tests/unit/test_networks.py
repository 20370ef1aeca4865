# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What overrides say of networks, who is where in the stack's own files, and what the doctor says of both."""

from __future__ import annotations

import copy
import os
import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import networks as on_host
from ansible_collections.meywd.tamma.plugins.module_utils.engine import PROJECT_LABEL, SERVICE_LABEL
from ansible_collections.meywd.tamma.plugins.plugin_utils import networks
from ansible_collections.meywd.tamma.plugins.plugin_utils.compose_files import parse
from tests.tools import stack_files

BASE = parse(stack_files.texts()["docker-compose.yml"])
EVERY = {"tamma-net": None, "tamma-data": None, "tamma-broker": None, "tamma-workflows": None}


# -- the stack's own files -------------------------------------------------------------------


def test_the_engine_is_with_the_api_alone() -> None:
    inside = {name for name, item in BASE["services"].items() if "tamma-agents" in item["networks"]}
    assert inside == {"tamma-engine", "tamma-api"}
    assert BASE["services"]["tamma-engine"]["networks"] == ["tamma-agents"]


def test_the_database_and_the_broker_have_no_way_out() -> None:
    assert {name for name, item in BASE["networks"].items() if item.get("internal")} == {"tamma-data", "tamma-broker"}
    assert BASE["services"]["postgres"]["networks"] == ["tamma-data"]
    assert BASE["services"]["rabbitmq"]["networks"] == ["tamma-broker"]


def test_what_former_releases_made_is_as_it_was() -> None:
    # Compose stops everybody in a network whose definition is another one.
    assert BASE["networks"]["tamma-net"] == BASE["networks"]["tamma-agents"] == {"driver": "bridge"}


def test_who_writes_shares_a_network_with_the_database_and_nobody_else_does() -> None:
    inside = {name for name, item in BASE["services"].items() if "tamma-data" in item["networks"]}
    assert inside == {"postgres", "elsa-server", "tamma-api-dotnet"}


def test_podman_s_networks_are_those_of_the_stack_but_the_edge_s() -> None:
    found = parse(stack_files.texts()["docker-compose.podman.yml"])["networks"]
    assert set(found) == set(BASE["networks"]) - {"tamma-net"}
    for name, item in found.items():
        assert item["driver_opts"] == {"isolate": "${NETWORK_ISOLATION:-strict}"}
        assert item["name"] == "${COMPOSE_PROJECT_NAME:-tamma}_%s-${NETWORK_ISOLATION:-strict}" % name


@pytest.mark.parametrize("name", sorted(BASE["services"]))
def test_every_service_has_a_limit_of_processes(name: str) -> None:
    assert BASE["services"][name]["deploy"]["resources"]["limits"]["pids"]


@pytest.mark.parametrize("name", sorted(stack_files.texts()))
def test_the_limit_stands_where_other_limits_may_stand_beside_it(name: str) -> None:
    # Compose refuses a pids_limit in a service that has limits without it, those of somebody's overrides for example.
    assert "pids_limit" not in stack_files.texts()[name]


@pytest.mark.parametrize("name", sorted(stack_files.texts()))
def test_what_lies_in_memory_has_a_size(name: str) -> None:
    for service, item in (parse(stack_files.texts()[name]).get("services") or {}).items():
        # The edge is made anew by nothing of this, because nobody would answer meanwhile.
        for mount in [] if service == "edge" else getattr(item.get("tmpfs"), "value", item.get("tmpfs")) or []:
            assert "size=" in mount, service


# -- overrides -------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [["tamma-net"], {"tamma-net": None}])
def test_a_service_of_the_former_network_reaches_what_it_did(given: Any) -> None:
    overrides = {"services": {"exporter": {"image": "x", "networks": given}}}
    before = copy.deepcopy(overrides)
    assert networks.settled(overrides) == {"services": {"exporter": {"image": "x", "networks": EVERY}}}
    assert overrides == before
    (words,) = networks.warnings(overrides)
    assert words.startswith("exporter in tamma_stack_overrides: tamma-net was the network of all services")


def test_what_the_former_network_was_told_stays() -> None:
    given = {"tamma-net": {"aliases": ["login"]}}
    (found,) = networks.settled({"services": {"login": {"networks": given}}})["services"].values()
    assert found["networks"] == {**EVERY, **given}


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("exporter", ["tamma-net", "tamma-data"]),
        ("exporter", ["own"]),
        ("exporter", None),
        ("edge", {"tamma-net": {"ipv4_address": "10.0.0.2"}}),
        ("tamma-api", ["tamma-net"]),
    ],
)
def test_who_says_more_or_is_placed_stays_as_it_is(name: str, given: Any) -> None:
    overrides = {"services": {name: {"networks": given}}}
    assert networks.settled(overrides) == overrides
    assert list(networks.warnings(overrides)) == []


def test_overrides_that_know_of_the_networks_have_what_they_name() -> None:
    overrides = {"x-tamma-networks": "named", "services": {"exporter": {"networks": ["tamma-net"]}}}
    assert networks.settled(overrides) == overrides
    assert list(networks.warnings(overrides)) == []


def test_the_engine_that_was_let_into_the_network_of_all_stays_in() -> None:
    found = networks.settled({"services": {"tamma-engine": {"networks": ["tamma-net"]}}})
    assert found["services"]["tamma-engine"]["networks"] == EVERY


def test_a_published_database_is_in_a_network_that_can_publish() -> None:
    given = {"services": {"postgres": {"ports": ["127.0.0.1:5432:5432"]}}, "networks": {"own": {"external": True}}}
    found = networks.settled(given)
    assert found["services"]["postgres"]["networks"] == {"tamma-published": None}
    assert found["networks"] == {"tamma-published": {"driver": "bridge"}, "own": {"external": True}}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"services": None},
        {"services": {"postgres": {"ports": []}}},
        {"services": {"tamma-api": {"ports": ["1:1"]}}},
    ],
)
def test_what_publishes_nothing_new_stays_as_it_is(given: Any) -> None:
    assert networks.settled(given) == given


@pytest.mark.parametrize("given", [{"services": ["postgres"]}, {"services": {"postgres": "x"}}])
def test_what_is_no_overlay_is_left_to_who_refuses_it(given: Any) -> None:
    assert networks.settled(given) == given
    assert list(networks.warnings(given)) == []


@pytest.mark.parametrize(
    ("name", "given", "touched"),
    [
        ("postgres", {"command": ["postgres", "-c", "archive_mode=on"]}, "command"),
        ("postgres", {"image": "x", "volumes": ["./a:/a"]}, "image and volumes"),
        ("rabbitmq", {"configs": [{"source": "a"}]}, "configs"),
    ],
)
def test_a_database_that_may_ask_outside_is_told_how(name: str, given: Any, touched: str) -> None:
    (words,) = networks.warnings({"services": {name: given}})
    assert words.startswith(f"{touched} of {name} in tamma_stack_overrides: {name} has no way out")
    assert "'networks: {outside: {}}'" in words
    for settled in ({"networks": ["outside"]}, {"network_mode": "host"}, {"ports": ["127.0.0.1:1:1"]}):
        assert list(networks.warnings({"services": {name: {**given, **settled}}})) == []
    assert list(networks.warnings({"x-tamma-networks": "named", "services": {name: given}})) == []


@pytest.mark.parametrize(
    "given",
    [
        {"ports": ["3100:3100"]},
        {"ports": [3100]},
        {"ports": ["3100"]},
        {"ports": ["0.0.0.0:3100:3100/tcp"]},
        {"ports": ["[::]:3100:3100"]},
        {"ports": ["127.0.0.1:3101:3100", "10.0.0.1::3100"]},
        {"ports": ["3100-3110:3100-3110/udp"]},
        {"ports": ["${WHERE}:3100:3100"]},
        {"ports": [{"target": 3100, "published": "3100"}]},
        {"ports": [{"target": 3100, "host_ip": "::"}]},
        {"network_mode": "host"},
    ],
)
def test_what_overrides_publish_beyond_the_host_counts(given: Any) -> None:
    found = networks.published({"services": {"tamma-api": given, "mine": given}}, {"WHERE": "10.0.0.1"})
    assert found == ["tamma-api"]
    (problem,) = networks.published_problems(found)
    assert problem.startswith("tamma_stack_overrides publish tamma-api beyond the loopback address")
    assert list(networks.published_problems(found, without_login=True)) == []


@pytest.mark.parametrize(
    "ports",
    [
        None,
        [],
        ["127.0.0.1:3100:3100"],
        ["[::1]:3100:3100"],
        ["127.0.0.1::3100"],
        ["${WHERE:-127.0.0.1}:1:1"],
        [{"target": 1, "host_ip": "127.0.0.2"}],
    ],
)
def test_what_the_host_alone_reaches_does_not_count(ports: Any) -> None:
    assert networks.published({"services": {"tamma-api": {"ports": ports}}}, {}) == []


def test_a_service_with_a_login_of_its_own_is_published_with_secrets_that_nobody_guesses() -> None:
    found = networks.published({"services": {name: {"ports": ["1:1"]} for name in ("postgres", "edge")}}, {})
    assert found == ["edge", "postgres"]
    assert list(networks.published_problems(found)) == []


URL = "http://tamma-api:3100"


@pytest.mark.parametrize(
    ("settings", "of_services", "environment"),
    [
        ({"ENGINE_CALLBACK_URL": URL}, {}, None),
        ({}, {"elsa-server": {"Engine__CallbackUrl": URL}}, None),
        ({}, {"elsa-server": {"ENGINE__CALLBACKURL": URL + "/"}}, {}),
        ({}, {}, {"Engine__CallbackUrl": "http://tamma-api"}),
        ({}, {}, ["Other=1", f"Engine__CallbackUrl={URL}"]),
        ({"ENGINE_CALLBACK_URL": "http://elsewhere"}, {}, [f"Engine__CallbackUrl={URL}"]),
    ],
)
def test_elsa_that_is_told_anywhere_to_ask_the_api_reaches_it(
    settings: Any, of_services: Any, environment: Any
) -> None:
    assert networks.calls_api(settings, of_services, {"services": {"elsa-server": {"environment": environment}}})


@pytest.mark.parametrize(
    ("settings", "of_services", "environment"),
    [
        ({}, {}, None),
        ({"ENGINE_CALLBACK_URL": "http://tamma-api-dotnet:3000"}, {}, None),
        ({"ENGINE_CALLBACK_URL": URL}, {"elsa-server": {"Engine__CallbackUrl": "http://elsewhere/tamma-api"}}, None),
        ({}, {"tamma-api-dotnet": {"Engine__CallbackUrl": URL}}, ["Engine__CallbackUrl"]),
    ],
)
def test_elsa_that_asks_somebody_else_does_not(settings: Any, of_services: Any, environment: Any) -> None:
    assert not networks.calls_api(settings, of_services, {"services": {"elsa-server": {"environment": environment}}})


# -- the host --------------------------------------------------------------------------------


class Engine:
    """An engine with one running container of this process's network, and one that has stopped."""

    def __init__(self, kind: str = "docker", attached: list[dict[str, Any]] | None = None) -> None:
        self.kind = kind
        self.backend = ""
        self._attached = attached or []

    def containers(self, _project: str) -> list[dict[str, Any]]:
        return [{"Id": name, "Labels": {SERVICE_LABEL: name}} for name in ("tamma-engine", "gone", "tamma-api")]

    def container(self, identifier: str) -> dict[str, Any] | None:
        running = identifier == "tamma-engine"
        return {"State": {"Running": running, "Pid": os.getpid() if running else 0}} if identifier != "gone" else None

    def networks(self, _project: str) -> list[str]:
        return ["tamma_tamma-net"]

    def network_backend(self) -> str:
        return self.backend

    def attached(self, _network: str) -> list[dict[str, Any]]:
        return self._attached


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Somebody who listens in the place of a cloud."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(on_host, "METADATA", (("127.0.0.1", "127.0.0.2", server.getsockname()[1]),))
        yield


@pytest.mark.skipif(os.geteuid() != 0, reason="only root goes into the network of a process")
@pytest.mark.usefixtures("answering")
def test_metadata_that_answers_is_told_with_the_rule() -> None:
    (words,) = on_host.metadata(cast(Any, Engine()), "tamma")
    assert words.startswith("tamma-engine can reach 127.0.0.1, where a cloud")
    assert "'iptables -I DOCKER-USER -p tcp -d 127.0.0.1 --dport 80 -j REJECT'" in words


def test_metadata_that_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_host, "METADATA", (("127.0.0.1", "127.0.0.2", 1),))
    assert on_host.metadata(cast(Any, Engine()), "tamma") == []


def test_a_proxy_that_answers_for_everybody_is_no_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        monkeypatch.setattr(on_host, "METADATA", (("127.0.0.1", "127.0.0.2", server.getsockname()[1]),))
        assert on_host.metadata(cast(Any, Engine()), "tamma") == []


def test_a_process_that_is_gone_reaches_nothing() -> None:
    assert not on_host.takes_connections(2**22 + 1, "127.0.0.1", 80)


@pytest.mark.parametrize(
    ("backend", "word"),
    [
        ("netavark 1.4.0", "true"),
        ("netavark 1.7.0", "strict"),
        ("netavark 1.14.0-2", "strict"),
        ("netavark 2.1", "strict"),
        ("", "true"),
    ],
)
def test_the_word_that_netavark_knows(backend: str, word: str) -> None:
    found = Engine("podman")
    found.backend = backend
    assert on_host.isolation(cast(Any, found)) == {"NETWORK_ISOLATION": word}
    assert on_host.isolation(cast(Any, Engine("docker"))) == {}


def test_rules() -> None:
    assert on_host.rule("docker", "fd00:ec2::254").startswith("ip6tables -I DOCKER-USER -p tcp -d fd00:ec2::254 ")
    assert "ip6 daddr fd00:ec2::254 tcp dport 80 reject" in on_host.rule("podman", "fd00:ec2::254")
    assert "ip daddr 169.254.169.254 tcp" in on_host.rule("podman", "169.254.169.254")


def test_whoever_else_is_in_a_network_is_named() -> None:
    own = {"Names": ["/tamma-edge-1"], "Labels": {PROJECT_LABEL: "tamma"}}
    other = {"Names": ["/postgres"], "Labels": None}
    assert on_host.strangers(cast(Any, Engine(attached=[own])), "tamma") == []
    (words,) = on_host.strangers(cast(Any, Engine("podman", [own, other])), "tamma")
    assert words.startswith("The container postgres is in the network tamma_tamma-net of this stack")
    assert words.endswith("podman network disconnect tamma_tamma-net NAME.")
