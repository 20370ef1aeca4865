# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at a deployed stack on its host, as Molecule's tests do through testinfra."""

from __future__ import annotations

import json
import os
import shlex
from functools import cache
from typing import Any

from testinfra.host import Host

DIRECTORY = "/opt/tamma"
SOCKETS = {"docker": "/run/docker.sock", "podman": "/run/podman/podman.sock"}

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


@cache
def engine(host: Host) -> str:
    """What runs the stack, docker or podman; also the name of its program."""
    return "podman" if "docker-compose.podman.yml" in env(host)["COMPOSE_FILE"] else "docker"


def compose(host: Host, *arguments: str) -> str:
    """Run ``docker compose`` in the stack's directory, or ``podman compose``, as somebody would by hand."""
    result = host.run(f"cd {DIRECTORY} && {engine(host)} compose {shlex.join(arguments)}")
    assert result.rc == 0, result.stderr
    return str(result.stdout)


def up(host: Host) -> None:
    """Bring the stack up by hand and wait until it is healthy.

    Podman probes what starts at the long intervals of the health checks; here it is asked more often.
    """
    result = host.run(f"cd {DIRECTORY} && {_UP[engine(host)]}")
    assert result.rc == 0, result.stderr


_UP = {
    "docker": "docker compose up --detach --wait",
    "podman": "{ while sleep 1; do podman ps --quiet --filter health=starting | xargs -rn1 podman healthcheck run; done"
    " >/dev/null 2>&1 & podman compose up --detach --wait; rc=$?; kill $!; exit $rc; }",
}


def containers(host: Host) -> list[dict[str, Any]]:
    return [json.loads(line) for line in compose(host, "ps", "--format", "json").splitlines()]


def inspect(host: Host, service: str) -> dict[str, Any]:
    """What the engine says of a container of a service, in the form that both engines share."""
    identifier = compose(host, "ps", "--all", "--quiet", service).split()[0]
    described: dict[str, Any] = json.loads(
        host.check_output(
            "curl --silent --fail --unix-socket %s http://engine/containers/%s/json", SOCKETS[engine(host)], identifier
        )
    )
    return described


def get(host: Host, url: str, *options: str) -> str:
    result = host.run(f"curl --silent --show-error --fail --max-time 10 {shlex.join(options)} {shlex.quote(url)}")
    assert result.rc == 0, f"{url}: {result.stderr}"
    return str(result.stdout)


def env(host: Host) -> dict[str, str]:
    lines = host.file(f"{DIRECTORY}/.env").content_string.splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
