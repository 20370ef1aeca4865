# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at a deployed stack on its host, as Molecule's tests do through testinfra."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

from testinfra.host import Host

DIRECTORY = "/opt/tamma"

# What the scenario's stack consists of; a scenario names what is different with it.
SERVICES = {
    "postgres",
    "rabbitmq",
    "elsa-server",
    "tamma-api-dotnet",
    "tamma-api",
    "tamma-engine",
    "tamma-dashboard",
    *os.environ.get("TAMMA_ALSO", "").split(),
} - set(os.environ.get("TAMMA_WITHOUT", "").split())


def compose(host: Host, *arguments: str) -> str:
    """Run ``docker compose`` in the stack's directory, as somebody would by hand."""
    result = host.run(f"cd {DIRECTORY} && docker compose {shlex.join(arguments)}")
    assert result.rc == 0, result.stderr
    return str(result.stdout)


def containers(host: Host) -> list[dict[str, Any]]:
    return [json.loads(line) for line in compose(host, "ps", "--format", "json").splitlines()]


def inspect(host: Host, service: str) -> dict[str, Any]:
    return inspect_all(host, service)[0]


def inspect_all(host: Host, service: str = "") -> list[dict[str, Any]]:
    """Everything that the engine says of a service's containers, or of all of them."""
    identifiers = compose(host, "ps", "--quiet", *([service] if service else [])).split()
    described: list[dict[str, Any]] = json.loads(host.check_output("docker inspect " + " ".join(identifiers)))
    return described


def get(host: Host, url: str, *options: str) -> str:
    result = host.run(f"curl --silent --show-error --fail --max-time 10 {shlex.join(options)} {shlex.quote(url)}")
    assert result.rc == 0, f"{url}: {result.stderr}"
    return str(result.stdout)


def env(host: Host) -> dict[str, str]:
    """The settings of the stack, and its secrets wherever they are kept."""
    files = [host.file(f"{DIRECTORY}/{name}") for name in (".env", "secrets/secrets.env")]
    lines = [line for file in files if file.exists for line in file.content_string.splitlines()]
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def site(variables: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Run site.yml on the scenario's hosts, as its converge does, with *variables* on top."""
    root = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
    inventories = (root / "inventories" / "sandbox", Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "inventory")
    return subprocess.run(
        [
            *("ansible-playbook", *(f"--inventory={path}" for path in inventories)),
            *("--extra-vars", json.dumps(variables), "site.yml"),
        ],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
