# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at a deployed stack on its host, as Molecule's tests do through testinfra."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from testinfra.host import Host

from tests.bench.edge import AUTHORITY, LOGIN, Edge
from tests.tools.outcome import Outcome
from tests.tools.run import follow

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
    return inspect_all(host, service)[0]


def inspect_all(host: Host, service: str = "") -> list[dict[str, Any]]:
    """What the engine says of a service's containers, or of all of them, in the form that both engines share."""
    identifiers = compose(host, "ps", "--quiet", *([service] if service else [])).split()
    ask = f"curl --silent --fail --unix-socket {SOCKETS[engine(host)]} http://engine/containers/$id/json"
    answers = host.check_output(f"for id in {' '.join(identifiers)}; do {ask} && echo; done")
    described: list[dict[str, Any]] = [json.loads(line) for line in answers.splitlines() if line]
    return described


@contextmanager
def paused(host: Host, service: str) -> Iterator[None]:
    """Let the containers of a service do nothing. On Podman Compose would not find them again."""
    identifiers = " ".join(compose(host, "ps", "--quiet", service).split())
    host.check_output(f"{engine(host)} pause {identifiers}")
    try:
        yield
    finally:
        host.check_output(f"{engine(host)} unpause {identifiers}")


def edge_of(host: Host) -> Edge:
    """The edge of a production host, as somebody outside has it before him."""
    variables = host.ansible.get_variables()
    authority = compose(host, "exec", "-T", "edge", "cat", AUTHORITY)
    return Edge(variables["sandbox_domain"], variables["sandbox_address"], authority, LOGIN)


def has_log_limits(described: dict[str, Any]) -> bool:
    """Whether a container's log cannot fill the disk. Podman writes into the journal, which has limits of its own."""
    log: dict[str, Any] = described["HostConfig"]["LogConfig"]
    return bool(log["Type"] == "journald" or log["Config"] == {"max-size": "10m", "max-file": "5"})


def get(host: Host, url: str, *options: str) -> str:
    result = host.run(f"curl --silent --show-error --fail --max-time 10 {shlex.join(options)} {shlex.quote(url)}")
    assert result.rc == 0, f"{url}: {result.stderr}"
    return str(result.stdout)


def env(host: Host) -> dict[str, str]:
    """The settings of the stack, and its secrets wherever they are kept."""
    files = [host.file(f"{DIRECTORY}/{name}") for name in (".env", "secrets/secrets.env")]
    lines = [line for file in files if file.exists for line in file.content_string.splitlines()]
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def site(variables: dict[str, Any]) -> Outcome:
    """Run site.yml on the scenario's hosts, as its converge does, with *variables* on top."""
    return playbook("site.yml", variables)


def playbook(name: str, variables: dict[str, Any], *arguments: str) -> Outcome:
    """Run a playbook on the scenario's hosts with *variables* on top."""
    root = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
    inventories = (root / "inventories" / "sandbox", Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "inventory")
    return follow(
        [
            *("ansible-playbook", *(f"--inventory={path}" for path in inventories)),
            *("--extra-vars", json.dumps(variables), *arguments, name),
        ],
        cwd=root,
    )
