# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host goes down and comes back, and with it the stack, without Ansible."""

from __future__ import annotations

import json
import os

from testinfra.host import Host

from tests.bench import hosts
from tests.bench.patience import wait_until
from tests.tools.deployed import SERVICES, compose, containers, inspect

SECONDS = 120


def dependencies(host: Host) -> list[tuple[str, str]]:
    """Pairs of a service and one that has to be healthy before it starts."""
    services = json.loads(compose(host, "config", "--format", "json"))["services"]
    return [
        (name, other)
        for name, service in services.items()
        for other, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_healthy"
    ]


def all_healthy(host: Host) -> bool:
    health = {item["Service"]: item["Health"] for item in containers(host)}
    return health == dict.fromkeys(SERVICES, "healthy")


def wait_until_healthy(host: Host) -> None:
    wait_until(lambda: all_healthy(host), SECONDS, "the stack after a boot", lambda: compose(host, "ps", "--all"))


def moment(text: str) -> tuple[str, float]:
    """A time of the engine, comparable; its fraction has no zeros at the end."""
    return text[:19], float("0" + text[19:].rstrip("Z"))


def test_a_reboot_in_the_order_of_the_dependencies(host: Host) -> None:
    before = compose(host, "ps", "--quiet")
    hosts.reboot(os.environ["TAMMA_SANDBOX"], host.check_output("hostname"))
    wait_until_healthy(host)
    assert compose(host, "ps", "--quiet") == before
    assert host.service("tamma-stack").is_running
    state = {name: inspect(host, name)["State"] for name in SERVICES}
    started, ended = ({name: moment(item[key]) for name, item in state.items()} for key in ("StartedAt", "FinishedAt"))
    for service, other in dependencies(host):
        assert started[service] > started[other], f"{service} was started before {other}"
        assert ended[service] < ended[other], f"{service} was ended after {other}"


def test_a_power_cut(host: Host) -> None:
    hosts.pull_the_plug(os.environ["TAMMA_SANDBOX"], host.check_output("hostname"))
    wait_until_healthy(host)
    assert host.service("tamma-stack").is_running
