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

from tests.bench import data
from tests.bench.command import docker
from tests.bench.names import container_name
from tests.tools.deployed import DIRECTORY, playbook

NAMES = [f"tamma{number}" for number in range(1, 6)]
CANARY, OTHERS = NAMES[0], NAMES[1:]
# A container that is healthy when the deploy looks, and not any more when the canary has been watched for a while.
UNWELL_LATER = {
    "test": ["CMD-SHELL", "test $$(($$(date +%s) - $$(stat -c %Y /proc/1))) -lt 15"],
    "interval": "1s",
    "retries": 1,
}
# What somebody to whom nothing is done keeps as it is: version, containers, and when they were started.
STANDS = (
    f"grep ^TAMMA_VERSION= {DIRECTORY}/.env;"
    " docker inspect --format '{{.Id}} {{.State.StartedAt}}' $(docker ps --quiet --no-trunc | sort)"
)

IMAGES = "{{.Repository}} {{.Digest}} {{.Tag}}"


def container(host: str) -> str:
    return container_name(os.environ["TAMMA_SANDBOX"], host)


def shell(host: str, script: str) -> str:
    """Run a script on a host; without Ansible, because it is asked often."""
    return docker("exec", container(host), "sh", "-c", script)


def ask(script: str, hosts: list[str]) -> dict[str, str]:
    return {host: shell(host, script) for host in hosts}


def update(*arguments: str, **variables: Any) -> tuple[int, str, dict[str, str]]:
    """Run update.yml: its exit status, what it printed, and what its table says became of each host."""
    return run("update", *arguments, **variables)


def run(name: str, *arguments: str, **variables: Any) -> tuple[int, str, dict[str, str]]:
    """The same for any playbook that ends with such a table."""
    result = playbook(f"playbooks/{name}.yml", variables, *arguments)
    table = result.output.rpartition("\nHOST  ")[2].partition("\nTASK ")[0]
    outcomes = {
        line.split()[0]: re.split(r"\s{2,}", line.rstrip())[-1]
        for line in table.splitlines()
        if re.match(r"tamma\d  ", line)
    }
    return result.status, result.output, outcomes


def releases(host: str) -> list[tuple[str, str]]:
    records = (
        f"cd {DIRECTORY}/.tamma/releases && for n in $(ls | sort -n); do tr -d '\\n' < $n/release.json; echo; done"
    )
    found = [json.loads(line) for line in shell(host, records).splitlines()]
    return [(item["version"], item["outcome"]) for item in found]


def test_a_check_shows_the_plan_of_every_host_and_touches_nothing() -> None:
    before = ask(STANDS, NAMES)
    status, output, outcomes = update("--check", "--diff", tamma_stack_version="0.2.0")
    assert status == 0, output
    assert outcomes == dict.fromkeys(NAMES, "would be updated"), output
    assert output.count("recreate tamma-api: ") == len(NAMES), output
    assert ask(STANDS, NAMES) == before
    assert not any(
        "tamma-api:0.2.0" in listed
        for listed in ask("docker image ls --format '{{.Repository}}:{{.Tag}}'", NAMES).values()
    )


def test_a_good_release_goes_out_behind_a_canary() -> None:
    status, output, outcomes = update(tamma_stack_version="0.2.0")
    assert status == 0, output
    assert outcomes == dict.fromkeys(NAMES, "updated"), output
    serve = re.findall(r"(tamma\d) \|.* serve   release 2 serves", output)
    assert serve[:2] == [CANARY, "tamma2"]
    assert sorted(serve) == NAMES
    pinned = set(ask(f"cat {DIRECTORY}/docker-compose.images.yml", NAMES).values())
    assert len(pinned) == 1
    assert "tamma-api:0.2.0@sha256:" in pinned.pop()


def test_a_bad_release_gets_no_further_than_the_canary() -> None:
    before, rows = ask(STANDS, OTHERS), data.values(container(CANARY))
    deadlines = {"tamma-api": 8}
    status, output, outcomes = update(tamma_stack_version="0.2.1-unhealthy", tamma_stack_deadlines=deadlines)
    assert status != 0
    assert outcomes == {CANARY: "failed, rolled back", **dict.fromkeys(OTHERS, "not touched")}, output
    assert ask(STANDS, OTHERS) == before
    # The release has migrated the database before it turned out to be ill.
    assert data.values(container(CANARY)) == rows
    assert releases(CANARY)[-2:] == [("0.2.0", "serves"), ("0.2.1-unhealthy", "failed")]
    assert "TAMMA_VERSION=0.2.0" in shell(CANARY, STANDS)
    # Who is not touched has the images all the same, and the same ones.
    digest = shell(CANARY, f"docker image ls --digests --format '{IMAGES}' | grep ' 0.2.1-unhealthy$'").split()[1]
    assert all(digest in found for found in ask(f"docker image ls --digests --format '{IMAGES}'", NAMES).values())


def test_a_run_again_changes_nothing_and_tells_of_a_host_that_is_down(tmp_path: Path) -> None:
    before = ask(STANDS, NAMES)
    down = tmp_path / "down.yml"
    down.write_text("tamma: {hosts: {tamma6: {ansible_host: 127.0.0.1, ansible_port: 1, sandbox_domain: tamma6}}}")
    status, output, outcomes = update("--inventory", str(down), tamma_stack_version="0.2.0")
    assert status != 0
    assert outcomes == {**dict.fromkeys(NAMES, "unchanged"), "tamma6": "not reached"}, output
    assert set(re.findall(r"changed=(\d+)", output)) == {"0"}, output
    assert ask(STANDS, NAMES) == before


def test_a_rollback_leaves_out_a_host_that_is_down_and_ends_at_one_that_fails(tmp_path: Path) -> None:
    before = ask(STANDS, NAMES)
    down = tmp_path / "down.yml"
    down.write_text("tamma: {hosts: {tamma1: {ansible_host: 127.0.0.1, ansible_port: 1}}}")
    status, output, outcomes = run("rollback", "--inventory", str(down), "--check")
    assert status != 0
    assert outcomes == {CANARY: "not reached", **dict.fromkeys(OTHERS, "would go back")}, output
    status, output, outcomes = run("rollback", "--inventory", str(down), tamma_stack_rollback_release=99)
    assert status != 0
    untouched = dict.fromkeys(OTHERS[1:], "not touched")
    assert outcomes == {CANARY: "not reached", OTHERS[0]: "failed, nothing changed", **untouched}, output
    assert f"--limit {','.join(NAMES)}" in output
    assert ask(STANDS, NAMES) == before


def test_a_canary_that_gets_unwell_goes_back() -> None:
    before = ask(STANDS, OTHERS)
    overrides = {"services": {"tamma-dashboard": {"healthcheck": UNWELL_LATER}}}
    # Who is outside of the limit is asked nothing, and is nobody's obstacle.
    limited = NAMES[:-1]
    status, output, outcomes = update(
        *("--limit", ",".join(limited)),
        tamma_stack_version="0.2.0",
        tamma_stack_overrides=overrides,
        tamma_stack_update_unreachable="stop",
    )
    assert status != 0
    assert outcomes == {CANARY: "unwell, rolled back", **dict.fromkeys(limited[1:], "not touched")}, output
    assert ask(STANDS, OTHERS) == before
    assert "docker-compose.override.yml" not in shell(CANARY, f"grep COMPOSE_FILE {DIRECTORY}/.env")
