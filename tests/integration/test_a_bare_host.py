# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found on a host that has nothing yet, before anything is changed there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import SANDBOX, Stack, booted

PRODUCTION = {"tamma_stack_profile": "production"}
# An interpreter that lives a minute and a half ahead.
AHEAD = "/root/ahead/python"


@pytest.fixture(scope="module")
def bare(installation: Path) -> Iterator[Stack]:
    """A bare host and an installed collection."""
    sandbox = f"{SANDBOX}-bare"
    with booted(sandbox):
        yield Stack(installation, sandbox)


@pytest.fixture
def host(bare: Stack) -> Iterator[Stack]:
    """The host while nothing of the stack is on it."""
    assert bare.shell("ls -d /opt/tamma /usr/bin/docker* 2>/dev/null || echo bare").strip() == "bare"
    yield bare
    assert bare.shell("ls -d /opt/tamma /usr/bin/docker* 2>/dev/null || echo bare").strip() == "bare"


def report(host: Stack, **variables: object) -> str:
    outcome = host.play("site", "--check", variables={**PRODUCTION, **variables})
    assert outcome.status != 0
    return " ".join(outcome.output.split())


def test_a_good_host_passes_with_a_warning_about_its_clock(host: Stack) -> None:
    outcome = host.play("site", "--check", variables=PRODUCTION)
    assert outcome.status == 0, outcome.output
    kept = "NTPSynchronized=yes" in host.shell("timedatectl show")
    assert ("Nothing keeps the clock of this host right" in " ".join(outcome.output.split())) != kept


def test_everything_that_is_missing_stands_in_one_report(host: Stack) -> None:
    host.shell("nohup python3 -m http.server 443 >/dev/null 2>&1 & echo $! > /root/server")
    try:
        host.shell("until curl -s -o /dev/null http://127.0.0.1:443/; do :; done")
        said = report(
            host,
            tamma_stack_domain="tamma.invalid",
            tamma_stack_minimum_disk_gb=99999,
            tamma_stack_overrides={
                "services": {
                    "postgres": {"deploy": {"resources": {"limits": {"cpus": "999"}, "reservations": {"memory": "9T"}}}}
                }
            },
        )
    finally:
        host.shell("kill $(cat /root/server)")
    for words in (
        "tamma.invalid is not known to this host's DNS",
        "Port 443, which edge would publish, is taken by python3 (process",
        "The file system of /var/lib/docker (mounted on /var/lib/docker) has",
        "The services reserve",
        "for postgres (999): set deploy.resources.limits.cpus",
    ):
        assert words in said, words


def test_a_name_that_leads_elsewhere(host: Stack) -> None:
    assert "registry.bench leads to" in report(host, tamma_stack_domain="registry.bench")
    elsewhere = {"tamma_stack_domain": "registry.bench", "tamma_stack_edge_dns": "anywhere"}
    assert host.play("site", "--check", variables={**PRODUCTION, **elsewhere}).status == 0


def test_a_clock_that_is_wrong(host: Stack) -> None:
    host.shell(
        "mkdir -p /root/ahead && printf 'import time\\nreal = time.time\\ntime.time = lambda: real() + 90\\n' "
        "> /root/ahead/sitecustomize.py && printf '#!/bin/sh\\nPYTHONPATH=/root/ahead exec /usr/bin/python3 \"$@\"\\n' "
        f"> {AHEAD} && chmod 755 {AHEAD}"
    )
    try:
        said = report(host, ansible_python_interpreter=AHEAD)
    finally:
        host.shell("rm -r /root/ahead")
    assert "The clock of this host is 90 seconds ahead of the controller's" in said
