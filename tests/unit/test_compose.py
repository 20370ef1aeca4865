# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read from Compose: projects, addresses, and the words with which something failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils.compose import (
    Compose,
    Endpoint,
    Port,
    Service,
    endpoints,
    explain_pull_failures,
    last_line,
    parse_hashes,
    parse_project,
    registry_of,
)
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result

# As `docker compose config --format json` prints it (2.26), reduced.
CONFIG: dict[str, Any] = {
    "name": "tamma",
    "services": {
        "postgres": {
            "image": "postgres:15-alpine",
            "labels": {"tamma.stored-settings": "POSTGRES_DB"},
            "networks": {"tamma-net": None},
            "ports": [
                {"mode": "ingress", "host_ip": "127.0.0.1", "target": 5432, "published": "5432", "protocol": "tcp"}
            ],
            "volumes": [
                {"type": "volume", "source": "pg", "target": "/var/lib/postgresql/data", "volume": {}},
                {"type": "bind", "source": "/opt/tamma/postgres", "target": "/docker-entrypoint-initdb.d"},
                {"type": "volume", "target": "/anonymous"},
            ],
        },
        "api": {
            "image": "ghcr.io/meywd/tamma-api:1",
            "deploy": {"replicas": 2},
            "depends_on": {"postgres": {"condition": "service_healthy", "required": True}, "worker": None},
        },
        "worker": {"build": {"context": "."}, "scale": 3},
        "idle": {"image": "idle", "deploy": {"replicas": 0}},
    },
    "volumes": {"pg": {"name": "tamma_pg"}, "shared": {"name": "of-another-stack", "external": True}, "odd": None},
}


def test_a_project() -> None:
    project = parse_project(CONFIG, {"postgres": "aa", "api": "bb"})
    assert project.name == "tamma"
    assert project.volumes == ["of-another-stack", "tamma_odd", "tamma_pg"]
    assert project.services["postgres"] == Service(
        name="postgres",
        image="postgres:15-alpine",
        replicas=1,
        depends_on={},
        ports=[Port("127.0.0.1", 5432, 5432, "tcp")],
        volumes=["tamma_pg"],
        labels={"tamma.stored-settings": "POSTGRES_DB"},
        config_hash="aa",
    )
    assert project.services["api"].depends_on == {"postgres": "service_healthy", "worker": "service_started"}
    assert project.services["worker"].image == "tamma-worker"
    assert {name: item.replicas for name, item in project.services.items()} == {
        "postgres": 1,
        "api": 2,
        "worker": 3,
        "idle": 0,
    }


def test_a_project_without_anything() -> None:
    assert parse_project({"name": "x", "services": None, "volumes": None}, {}) == ("x", {}, [])


def test_hashes() -> None:
    assert parse_hashes("postgres 0a1b\nrabbitmq ffee\n\n") == {"postgres": "0a1b", "rabbitmq": "ffee"}
    assert parse_hashes("") == {}


def published(**entry: Any) -> list[Port]:
    config = {"name": "x", "services": {"a": {"image": "i", "ports": [{"target": 80, **entry}]}}}
    return parse_project(config, {}).services["a"].ports


def test_published_ports() -> None:
    assert published(published="8080", protocol="udp") == [Port("", 8080, 80, "udp")]
    assert published(published="8080", host_ip="::1") == [Port("::1", 8080, 80, "tcp")]
    assert [port.published for port in published(published="8000-8002")] == [8000, 8001, 8002]


def test_a_port_that_the_engine_chooses_cannot_be_watched() -> None:
    assert published() == []
    assert published(published="") == []


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("192.0.2.7", "192.0.2.7"),
        ("::", "127.0.0.1"),
        ("::1", "[::1]"),
        ("2001:db8::7", "[2001:db8::7]"),
    ],
)
def test_where_a_published_service_answers(address: str, host: str) -> None:
    found = endpoints(verified("3100/api/health", Port(address, 8100, 3100, "tcp")))
    assert found == [Endpoint("http://%s:8100/api/health" % host, "api")]


def verified(label: str, *ports: Port) -> Service:
    return Service("api", "i", 1, {}, list(ports), [], {"tamma.verify": label} if label else {}, "")


def test_only_published_tcp_ports_are_asked() -> None:
    ports = [Port("", 80, 80, "tcp"), Port("", 5432, 5432, "tcp"), Port("", 443, 443, "udp")]
    assert endpoints(verified("80/ 80/api/health 443/ 9999/", *ports)) == [
        Endpoint("http://127.0.0.1:80/", "api"),
        Endpoint("http://127.0.0.1:80/api/health", "api"),
    ]
    assert endpoints(verified("", *ports)) == []


@pytest.mark.parametrize(("published", "shown"), [(443, ""), (8443, ":8443")])
def test_the_edge_is_asked_with_tls_under_its_name(published: int, shown: str) -> None:
    service = verified("443/api/health", Port("", published, 443, "tcp"), Port("", published, 443, "udp"))
    service.labels["tamma.verify-name"] = "tamma.example.org"
    assert endpoints(service) == [Endpoint("https://tamma.example.org%s/api/health" % shown, "api", "127.0.0.1")]


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("postgres:15-alpine", "docker.io"),
        ("rabbitmq", "docker.io"),
        ("meywd/tamma-api:1", "docker.io"),
        ("ghcr.io/meywd/tamma-api:1", "ghcr.io"),
        ("registry.bench:5000/tamma-api:1", "registry.bench:5000"),
        ("localhost/tamma-api", "localhost"),
        ("[::1]:5000/tamma-api", "[::1]:5000"),
    ],
)
def test_the_registry_of_an_image(image: str, registry: str) -> None:
    assert registry_of(image) == registry


IMAGE = "reg.example/tamma-api:9"
SENTENCES = {
    "no image": "The registry has no image reg.example/tamma-api:9: check tamma_stack_version and the image's name.",
    "no login": "The registry refused the login for reg.example/tamma-api:9: name an account of "
    "reg.example that may read it in tamma_stack_registry_logins",
    "plain http": "The registry reg.example speaks plain HTTP, which the engine refuses",
    "no registry": "The registry reg.example cannot be reached from this host",
    "no architecture": "The image reg.example/tamma-api:9 does not exist for this host's processor architecture.",
    "no space": "The disk of the engine is full",
    "something else": "The image reg.example/tamma-api:9 cannot be pulled: %s.",
}


def recorded_failures() -> Iterator[tuple[str, str]]:
    """Standard error of failed pulls, with the kind of failure that it is."""
    kind = ""
    for line in (Path(__file__).parent / "recorded" / "pull_failures.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            kind = line.strip("[]")
        elif line and not line.startswith("#"):
            yield kind, line


@pytest.mark.parametrize(("kind", "stderr"), list(recorded_failures()))
def test_a_failed_pull_is_explained(kind: str, stderr: str) -> None:
    expected = SENTENCES[kind].replace("%s", stderr)
    (sentence,) = explain_pull_failures({IMAGE: " tamma-api Pulling \n tamma-api Error \n%s\n" % stderr})
    assert sentence.startswith(expected)


def test_every_kind_of_failure_is_recorded() -> None:
    assert {kind for kind, _stderr in recorded_failures()} == set(SENTENCES)


def test_one_sentence_for_each_cause() -> None:
    unreachable = "dial tcp 192.0.2.1:443: connect: connection refused"
    sentences = explain_pull_failures(
        {
            "reg.example/b:1": unreachable,
            "reg.example/a:1": unreachable,
            "ghcr.io/c:1": unreachable,
            "reg.example/d:1": "manifest unknown",
            "reg.example/e:1": "manifest unknown",
        }
    )
    assert len(sentences) == 3
    assert sum("The registry reg.example cannot be reached" in sentence for sentence in sentences) == 1
    assert sum("The registry ghcr.io cannot be reached" in sentence for sentence in sentences) == 1
    assert sum("no image reg.example/d:1, reg.example/e:1:" in sentence for sentence in sentences) == 1


def test_braces_in_what_compose_says_are_quoted_as_they_are() -> None:
    (sentence,) = explain_pull_failures({IMAGE: 'strange: {"image": "{registry}"} here'})
    assert sentence == 'The image reg.example/tamma-api:9 cannot be pulled: strange: {"image": "{registry}"} here.'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "it said nothing"),
        (" \n\n", "it said nothing"),
        ("first\nsecond\n", "second"),
        (" tamma-api Error \nError response from daemon: oh.\n", "Error response from daemon: oh"),
        (
            'time="2026-03-01T10:00:00Z" level=fatal msg="no configuration file provided"',
            "no configuration file provided",
        ),
        ('time="2026-03-01T10:00:00Z" level=warning msg=short', "short"),
        ("invalid proto: tcpx\r\n", "invalid proto: tcpx"),
        ('invalid hostPort: "abc"', 'invalid hostPort: "abc"'),
    ],
)
def test_the_last_line_that_says_something(text: str, line: str) -> None:
    assert last_line(text) == line


GONE = Result(1, "", "Error response from daemon: No such container: 938ce69a24dc")


@pytest.mark.parametrize(
    ("results", "asked", "status"),
    [
        ([Result(0, "", "")], 1, 0),
        ([GONE, Result(0, "", "")], 2, 0),
        ([Result(125, "", "no container with that ID: no such container"), GONE, Result(0, "", "")], 3, 0),
        ([Result(1, "", "removal of container 938ce6 is already in progress"), Result(0, "", "")], 2, 0),
        ([GONE, GONE, GONE], 3, 1),
        ([Result(1, "", "no space left on device")], 1, 1),
    ],
)
def test_a_container_that_was_replaced_meanwhile_is_no_failure(results: list[Result], asked: int, status: int) -> None:
    words: list[tuple[str, ...]] = []
    compose = Compose.__new__(Compose)
    compose.run = lambda *given: (words.append(given), results[len(words) - 1])[1]  # type: ignore[method-assign]
    assert compose.add("tamma-dashboard", 4).rc == status
    assert len(words) == asked
    assert set(words) == {
        (
            "up",
            "--no-build",
            "--pull",
            "never",
            "--detach",
            "--no-recreate",
            "--scale",
            "tamma-dashboard=4",
            "tamma-dashboard",
        )
    }
