# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who reaches whom on a production host, tried from inside of each container with every port that is open."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from tests.bench.names import REGISTRY_ADDRESS
from tests.bench.patience import wait_until
from tests.tools import reach
from tests.tools.deployed import engine, env, inspect_all

SERVICE = "com.docker.compose.service"
NAME, PORT = REGISTRY_ADDRESS.split(":")
#: Outside of the host.
OUTSIDE = f"outside:{PORT}"
API, DOTNET, PAGE, ELSA = "tamma-api:3100", "tamma-api-dotnet:3000", "tamma-dashboard:80", "elsa-server:5000"
DATABASE, BROKER = "postgres:5432", "rabbitmq:5672"
#: Service -> what it reaches of others, but for the broker's further ports, which come with its first one.
REACHED = {
    "postgres": {ELSA, DOTNET},
    "rabbitmq": {ELSA},
    "elsa-server": {DATABASE, BROKER, DOTNET, OUTSIDE},
    "tamma-api-dotnet": {DATABASE, ELSA, API, PAGE, OUTSIDE},
    "tamma-api": {DOTNET, PAGE, OUTSIDE},
    "tamma-engine": {API, OUTSIDE},
    "tamma-dashboard": {DOTNET, API, OUTSIDE},
    "edge": {DOTNET, API, PAGE, OUTSIDE},
}
# What is called http.server would look its own name up first.
CLOUD = """
import http.server, socketserver
socketserver.TCPServer(("169.254.169.254", 80), http.server.BaseHTTPRequestHandler).serve_forever()
"""


@pytest.fixture(scope="module")
def seen(host: Host) -> list[tuple[str, dict[str, Any]]]:
    return [(item["Config"]["Labels"][SERVICE], item) for item in inspect_all(host)]


def addresses(item: dict[str, Any]) -> list[str]:
    return [found["IPAddress"] for found in item["NetworkSettings"]["Networks"].values() if found["IPAddress"]]


@pytest.mark.parametrize("service", sorted(REACHED))
def test_a_container_reaches_whom_it_needs(host: Host, seen: list[tuple[str, dict[str, Any]]], service: str) -> None:
    inside = next(item for name, item in seen if name == service)
    # Two containers of one service do not count as others, and the edge has its ports on the host as well.
    others = [[name, item["State"]["Pid"], addresses(item)] for name, item in seen if name != service]
    address = host.check_output(f"getent ahostsv4 {NAME}").split()[0]
    asked = {"inside": inside["State"]["Pid"], "others": others, "beside": [["outside", address, int(PORT)]]}
    program = Path(reach.__file__).read_text(encoding="utf-8")
    found = set(json.loads(host.check_output("python3 -c %s %s", program, json.dumps(asked))))
    if BROKER in found:
        found = {end for end in found if end == BROKER or not end.startswith("rabbitmq:")}
    if service not in ("edge", "tamma-engine"):
        # Who shares the edge's network may ask it as everybody outside does.
        found = {end for end in found if not end.startswith("edge:")}
    assert found == REACHED[service]


def test_no_process_of_the_engine_has_a_password_of_the_database(
    host: Host, seen: list[tuple[str, dict[str, Any]]]
) -> None:
    (engine,) = (item for name, item in seen if name == "tamma-engine")
    values = env(host)
    files = (
        'own=$(readlink /proc/%s/ns/pid); for one in /proc/[0-9]*; do test "$(readlink $one/ns/pid)" = "$own" && '
        "echo $one && tr '\\0' '\\n' < $one/environ && tr '\\0' '\\n' < $one/cmdline; done; true"
    )
    told = host.check_output("sh -c %s", files % engine["State"]["Pid"])
    assert f"/proc/{engine['State']['Pid']}" in told
    assert "TAMMA_WORKING_DIRECTORY" in told
    for name in ("POSTGRES_PASSWORD", "RABBITMQ_PASSWORD"):
        assert values[name] not in told, name


@pytest.fixture
def cloud(host: Host) -> Iterator[None]:
    """Somebody behind the host who answers where a cloud would, and nobody beside it, whatever is outside."""
    host.check_output(
        "ip route add unreachable 169.254.169.1 && "
        "ip netns add cloud && ip link add cloud0 type veth peer name cloud1 netns cloud && "
        "ip address add 169.254.169.253/30 dev cloud0 && ip link set cloud0 up && "
        "ip -n cloud address add 169.254.169.254/30 dev cloud1 && ip -n cloud link set cloud1 up && "
        "ip -n cloud route add default via 169.254.169.253 && "
        "{ ip netns exec cloud python3 -c %s >/dev/null 2>&1 & echo $! > /run/cloud; }",
        CLOUD,
    )
    try:
        wait_until(lambda: host.run("curl -s --max-time 1 http://169.254.169.254/").rc == 0, 20, "a cloud")
        yield
    finally:
        host.check_output("kill $(cat /run/cloud); ip netns delete cloud; ip route delete unreachable 169.254.169.1")


@pytest.mark.usefixtures("cloud")
def test_metadata_is_told_until_the_firewall_forbids_it(host: Host) -> None:
    told = host.run("tammactl doctor").stdout
    (line,) = (line for line in told.splitlines() if "can reach 169.254.169.254" in line)
    assert "tamma-engine" in line
    assert "postgres" not in line
    rule = re.findall(r"type '(.+)', and let it come back", line)[0]
    host.check_output(rule)
    try:
        assert "can reach 169.254.169.254" not in host.run("tammactl doctor").stdout
        # The host itself is not kept from it.
        assert host.run("curl -s --max-time 5 http://169.254.169.254/").rc == 0
    finally:
        host.check_output(
            "nft delete table inet tamma" if engine(host) == "podman" else rule.replace(" -I ", " -D ", 1)
        )
