# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Five hosts, which begin with 0.1.0: releases that go well, and releases that get no further than the canary."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

from tests.tools.deployed import DIRECTORY, compose, env, playbook

NAMES = [f"tamma{number}" for number in range(1, 6)]
CANARY, OTHERS = NAMES[0], NAMES[1:]
# A container that is healthy when the deploy looks, and not any more when the canary has been watched for a while.
UNWELL_LATER = {
    "test": ["CMD-SHELL", "test $$(($$(date +%s) - $$(stat -c %Y /proc/1))) -lt 15"],
    "interval": "1s",
    "retries": 1,
}


@pytest.fixture(scope="module")
def fleet() -> dict[str, Host]:
    inventory = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / "inventories" / "sandbox"
    return {name: testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}") for name in NAMES}


def update(*arguments: str, **variables: Any) -> tuple[int, str, dict[str, str]]:
    """Run update.yml: its exit status, what it printed, and what its table says became of each host."""
    result = playbook("playbooks/update.yml", variables, *arguments)
    table = result.stdout.partition("\nHOST  ")[2]
    outcomes = {
        line.split()[0]: re.split(r"\s{2,}", line)[-1] for line in table.splitlines() if re.match(r"tamma\d  ", line)
    }
    return result.returncode, result.stdout, outcomes


def stands(host: Host) -> list[str]:
    """What somebody who did nothing leaves as it is: containers, and when they were started."""
    identifiers = " ".join(compose(host, "ps", "--quiet").split())
    lines = host.check_output(f"docker inspect --format '{{{{.Id}}}} {{{{.State.StartedAt}}}}' {identifiers}")
    return [env(host)["TAMMA_VERSION"], *sorted(lines.splitlines())]


def releases(host: Host) -> list[tuple[str, str]]:
    records = (
        f"cd {DIRECTORY}/.tamma/releases && for n in $(ls | sort -n); do tr -d '\\n' < $n/release.json; echo; done"
    )
    found = [json.loads(line) for line in host.check_output(records).splitlines()]
    return [(item["version"], item["outcome"]) for item in found]


def test_a_check_shows_the_plan_of_every_host_and_touches_nothing(fleet: dict[str, Host]) -> None:
    before = {name: stands(host) for name, host in fleet.items()}
    status, output, outcomes = update("--check", "--diff", tamma_stack_version="0.2.0")
    assert status == 0, output
    assert outcomes == dict.fromkeys(NAMES, "would be updated"), output
    assert output.count("recreate tamma-api: ") == len(NAMES), output
    assert {name: stands(host) for name, host in fleet.items()} == before
    assert not any("tamma-api:0.2.0" in host.check_output("docker image ls") for host in fleet.values())


def test_a_good_release_goes_out_behind_a_canary(fleet: dict[str, Host]) -> None:
    status, output, outcomes = update(tamma_stack_version="0.2.0")
    assert status == 0, output
    assert outcomes == dict.fromkeys(NAMES, "updated"), output
    serve = re.findall(r"(tamma\d) \|.* serve   release 2 serves", output)
    assert serve[:2] == [CANARY, "tamma2"]
    assert sorted(serve) == NAMES
    pinned = {host.file(f"{DIRECTORY}/docker-compose.images.yml").content_string for host in fleet.values()}
    assert len(pinned) == 1
    assert "tamma-api:0.2.0@sha256:" in pinned.pop()


def test_a_bad_release_gets_no_further_than_the_canary(fleet: dict[str, Host]) -> None:
    before = {name: stands(fleet[name]) for name in OTHERS}
    deadlines = {"tamma-api": 8}
    status, output, outcomes = update(tamma_stack_version="0.2.1-unhealthy", tamma_stack_deadlines=deadlines)
    assert status != 0
    assert outcomes == {CANARY: "failed, rolled back", **dict.fromkeys(OTHERS, "not touched")}, output
    assert {name: stands(fleet[name]) for name in OTHERS} == before
    assert releases(fleet[CANARY])[-2:] == [("0.2.0", "serves"), ("0.2.1-unhealthy", "failed")]
    assert env(fleet[CANARY])["TAMMA_VERSION"] == "0.2.0"
    # Whoever is not touched is ready all the same.
    assert all("0.2.1-unhealthy" in host.check_output("docker image ls") for host in fleet.values())


def test_a_canary_that_gets_unwell_goes_back(fleet: dict[str, Host]) -> None:
    before = {name: stands(fleet[name]) for name in OTHERS}
    overrides = {"services": {"tamma-dashboard": {"healthcheck": UNWELL_LATER}}}
    status, output, outcomes = update(tamma_stack_version="0.2.0", tamma_stack_overrides=overrides)
    assert status != 0
    assert outcomes == {CANARY: "unwell, rolled back", **dict.fromkeys(OTHERS, "not touched")}, output
    assert {name: stands(fleet[name]) for name in OTHERS} == before
    assert not fleet[CANARY].file(f"{DIRECTORY}/docker-compose.override.yml").exists


def test_a_run_again_changes_nothing_and_tells_of_a_host_that_is_down(fleet: dict[str, Host], tmp_path: Path) -> None:
    before = {name: stands(host) for name, host in fleet.items()}
    down = tmp_path / "down.yml"
    down.write_text("tamma: {hosts: {tamma6: {ansible_host: 127.0.0.1, ansible_port: 1, sandbox_domain: tamma6}}}")
    status, output, outcomes = update("--inventory", str(down), tamma_stack_version="0.2.0")
    assert status != 0
    assert outcomes == {**dict.fromkeys(NAMES, "unchanged"), "tamma6": "not reached"}, output
    assert "changed=1" not in output
    assert {name: stands(host) for name, host in fleet.items()} == before
