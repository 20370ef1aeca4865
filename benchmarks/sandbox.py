# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark's hosts: made, made bare again, asked and removed through the test bench."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.bench import hosts, ssh
from tests.bench.command import BenchError, run
from tests.bench.edge import AUTHORITY, LOGIN, Edge
from tests.bench.hosts import Host

#: Another one lets two checkouts measure on one machine.
NAME = os.environ.get("TAMMA_SANDBOX", "benchmark")

_HERE = Path(__file__).parent
_OVERLAY = "/run/seed-health-checks.yml"


def up(count: int) -> list[Host]:
    """Make sure that so many hosts run; return them in order."""
    _bench("up", "--name", NAME, "--hosts", str(count))
    return hosts.existing(NAME)[:count]


def renew(host: Host) -> None:
    """Put a bare host in a host's place."""
    _bench("reset", "--name", NAME, host.name)


def down() -> None:
    """Remove the hosts and all that is on them."""
    _bench("down", "--name", NAME)


def _bench(*words: str) -> None:
    if subprocess.run([sys.executable, "-m", "tests.bench", *words], check=False).returncode:
        raise BenchError(f"The test bench could not do `{' '.join(words)}`.")


def ask(host: Host, *words: str, data: bytes | None = None) -> str:
    """Run a command on a host over SSH; return what it printed."""
    return run([*ssh.command(host.ssh_port or 0), *words], data=data).stdout.strip()


def edge(host: Host) -> Edge:
    """The edge of a host's stack."""
    authority = f"docker compose exec -T edge cat {AUTHORITY}"
    return Edge(host.domain, host.address, ask(host, f"cd /opt/tamma && {authority}"), LOGIN)


def measure_on(host: Host, what: str) -> dict[str, Any]:
    """Run one of the measurements of ``on_host.py`` where it needs no SSH in between."""
    ask(host, f"cat > {_OVERLAY}", data=(_HERE / "seed-health-checks.yml").read_bytes())
    answer = ask(host, "python3", "-", what, _OVERLAY, data=(_HERE / "on_host.py").read_bytes())
    found: dict[str, Any] = json.loads(answer)
    return found


def backups_on(host: Host, rounds: int) -> dict[str, Any]:
    """Run ``backups_on_host.py``."""
    answer = ask(host, "python3", "-", str(rounds), data=(_HERE / "backups_on_host.py").read_bytes())
    found: dict[str, Any] = json.loads(answer)
    return found
