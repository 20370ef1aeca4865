# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's own reading of Compose files, for hosts that have no Compose yet.

tests/integration compares it with the real Compose.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.plugin_utils.compose_files import (
    Service,
    interpolate,
    mebibytes,
    parse,
    services,
)

VALUES = {"SET": "value", "EMPTY": "", "OTHER": "other"}

# The integration test asks the real Compose for the same.


CASES = [
    ("no variable", "no variable"),
    ("$SET", "value"),
    ("$SET/$OTHER.", "value/other."),
    ("$UNSET", ""),
    ("${SET}", "value"),
    ("a${SET}b", "avalueb"),
    ("${UNSET}", ""),
    ("$$SET", "$SET"),
    ("$${SET}", "${SET}"),
    ("$$$SET", "$value"),
    ("${SET:-default}", "value"),
    ("${SET-default}", "value"),
    ("${UNSET:-default}", "default"),
    ("${UNSET-default}", "default"),
    ("${EMPTY:-default}", "default"),
    ("${EMPTY-default}", ""),
    ("${UNSET:-}", ""),
    ("${SET:+instead}", "instead"),
    ("${SET+instead}", "instead"),
    ("${UNSET:+instead}", ""),
    ("${UNSET+instead}", ""),
    ("${EMPTY:+instead}", ""),
    ("${EMPTY+instead}", "instead"),
    ("${SET:?must be set}", "value"),
    ("${SET?must be set}", "value"),
    ("${UNSET:-${SET}}", "value"),
    ("${UNSET:-${ALSO_UNSET:-default}}", "default"),
    ("${UNSET:-a/${OTHER}/b:${ALSO_UNSET:-latest}}", "a/other/b:latest"),
    ("${SET:+${OTHER:-x}}!", "other!"),
    ("${UNSET:-a:-b}", "a:-b"),
    ("${UNSET:-http://localhost:3001}", "http://localhost:3001"),
    ("${UNSET:-$SET}", "value"),
    ("${UNSET:-$$SET}", "$SET"),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_variables(text: str, expected: str) -> None:
    assert interpolate(text, VALUES) == expected


@given(st.text())
def test_a_doubled_dollar_stands_for_itself(text: str) -> None:
    assert interpolate(text.replace("$", "$$"), VALUES) == text


@given(st.text())
def test_a_value_is_not_looked_through_again(value: str) -> None:
    assert interpolate("<${NAME:-x}>", {"NAME": value}) == "<%s>" % (value or "x")
    assert interpolate("<${UNSET:-${NAME-x}}>", {"NAME": value}) == "<%s>" % value


BASE = """
services:
  api:
    image: ${REGISTRY:-ghcr.io}/api:${VERSION}
    depends_on:
      postgres: {condition: service_healthy}
  postgres: {image: "postgres:15"}
  engine:
    image: engine
    depends_on: [api]
"""


def images(documents: list[str], values: dict[str, str]) -> list[tuple[str, str]]:
    return [(item.name, item.image) for item in services(documents, values)]


def test_services_come_in_the_order_in_which_they_start() -> None:
    assert images([BASE], {"VERSION": "2"}) == [
        ("postgres", "postgres:15"),
        ("api", "ghcr.io/api:2"),
        ("engine", "engine"),
    ]


def test_an_overlay_replaces_images_and_adds_services_and_dependencies() -> None:
    overlay = """
    services:
      postgres: {image: mirror/postgres:15}
      api:
        ports: ["3100:3100"]
      engine:
        depends_on: [broker]
      broker: {image: broker}
    """
    assert images([BASE, overlay], {"VERSION": "2"}) == [
        ("broker", "broker"),
        ("postgres", "mirror/postgres:15"),
        ("api", "ghcr.io/api:2"),
        ("engine", "engine"),
    ]


def test_composes_own_tags_take_the_place_of_what_was_before() -> None:
    below = """
    services:
      api:
        ports: ["3100:3100"]
        deploy: {resources: {limits: {cpus: "1.0", memory: 1G}}}
    """
    overlay = """
    services:
      api:
        ports: !override ["80:80"]
        deploy: {resources: {limits: {memory: !reset null}}}
      engine: !reset null
    volumes: !reset {}
    """
    *_, api = services([BASE, below, overlay], {"VERSION": "2"})
    assert api == Service("api", "ghcr.io/api:2", cpus=1.0, ports=(("", 80),))


def test_ports_come_together_and_other_values_replace() -> None:
    below = """
    services:
      postgres:
        ports: ["${BIND:-127.0.0.1}:${PORT:-5432}:5432", "5433", "9000-9001:9000-9001", "53:53/udp", "[::1]:7:7/tcp"]
        mem_limit: 512m
        scale: 3
    """
    overlay = """
    services:
      postgres:
        ports:
          - {target: 80, published: 8080, host_ip: "${ADDRESS:-}"}
          - {target: 443, published: 443, protocol: udp}
          - {target: 444, published: "${HTTPS:-444}", protocol: tcp}
        deploy:
          replicas: ${REPLICAS:-2}
          resources: {limits: {cpus: "0.5"}, reservations: {memory: 128M}}
    """
    (postgres,) = (item for item in services([BASE, below, overlay], {"PORT": "5"}) if item.name == "postgres")
    assert postgres == Service(
        "postgres", "postgres:15", 2, 0.5, 512, 128, (("127.0.0.1", 5), ("::1", 7), ("", 8080), ("", 444))
    )


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        *[("2G", 2048), ("512m", 512), ("1.5GiB", 1536), ("256 MB", 256), ("1073741824", 1024), ("1048576b", 1)],
        *[("", 0), ("much", 0), ("-1", 0), ("1X", 0)],
    ],
)
def test_amounts_of_memory(text: str, amount: int) -> None:
    assert mebibytes(text) == amount


def test_a_tag_is_seen() -> None:
    assert parse("a: !reset null")["a"].value is None
    assert parse("a: !override {b: 1}")["a"].value == {"b": 1}


def test_a_document_without_services() -> None:
    assert images(["", "volumes: {a: {}}", BASE], {})[0] == ("postgres", "postgres:15")


def test_the_stack_s_own_files() -> None:
    files = Path(__file__).resolve().parents[2] / "roles/tamma_stack/files/compose"
    texts = [(files / name).read_text(encoding="utf-8") for name in ("docker-compose.yml", "docker-compose.dev.yml")]
    found = images(texts, {"TAMMA_REGISTRY": "registry.bench:5000", "TAMMA_VERSION": "0.2.0", "API_IMAGE": "own:1"})
    assert dict(found) == {
        "postgres": "postgres:15-alpine",
        "rabbitmq": "rabbitmq:3-management-alpine",
        "elsa-server": "registry.bench:5000/tamma-elsa:0.2.0",
        "tamma-api-dotnet": "registry.bench:5000/tamma-api-dotnet:0.2.0",
        "tamma-api": "own:1",
        "tamma-engine": "registry.bench:5000/tamma-engine:0.2.0",
        "tamma-dashboard": "registry.bench:5000/tamma-dashboard:0.2.0",
    }
    order = [name for name, _image in found]
    assert order.index("postgres") < order.index("elsa-server") < order.index("tamma-api-dotnet")
    assert order.index("tamma-api") < order.index("tamma-engine")


def test_what_production_asks_of_a_host() -> None:
    files = Path(__file__).resolve().parents[2] / "roles/tamma_stack/files/compose"
    names = (
        "docker-compose.yml",
        "docker-compose.hardened.yml",
        "docker-compose.production.yml",
        "docker-compose.edge.yml",
    )
    found = {item.name: item for item in services([(files / name).read_text(encoding="utf-8") for name in names], {})}
    assert found["postgres"][2:] == (1, 2.0, 2048, 512, (), "")
    assert found["elsa-server"][2:7] == (1, 1.0, 1024, 512, ())
    assert "scheduler is in memory" in found["elsa-server"].alone
    assert found["edge"].ports == (("", 80), ("", 443))
    # docs/production.md says these.
    assert sum(item.replicas * item.memory for item in found.values()) == 8192
    assert sum(item.replicas * item.reserved for item in found.values()) == 1984
