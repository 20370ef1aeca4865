# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a host's engines has the stack: neither of them sees the containers and volumes of the other."""

from __future__ import annotations

import os
from typing import List, NamedTuple, Optional

from ansible_collections.meywd.tamma.plugins.module_utils import formats
from ansible_collections.meywd.tamma.plugins.module_utils.engine import DOCKER_SOCKET, PODMAN_SOCKET, Engine, kind
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import read

SOCKETS = {"docker": DOCKER_SOCKET, "podman": PODMAN_SOCKET}
NAMES = {"docker": "Docker", "podman": "Podman"}

# The overlay without which the stack does not run on Podman, and with which it was therefore deployed there.
PODMAN_OVERLAY = "docker-compose.podman.yml"


class Remains(NamedTuple):
    """What an engine has of a stack, by name."""

    containers: List[str]
    volumes: List[str]


def refuse_a_move(project: str, directory: str, socket: str) -> None:
    """Raise OperatorError when the stack belongs to the engine that is not behind *socket*."""
    problem = elsewhere(project, directory, socket)
    if problem:
        raise OperatorError(problem)


def elsewhere(project: str, directory: str, socket: str) -> Optional[str]:
    """Say that the stack belongs to the other engine, and how it is moved; None when it does not."""
    ours = kind(socket)
    other = "docker" if ours == "podman" else "podman"
    deployed_on = recorded(directory)
    if deployed_on == ours:
        return None
    remains = _remains(project, other)
    if remains is None and deployed_on != other:
        return None
    if remains is not None and not any(remains):
        return None
    return _refusal(project, directory, ours, other, remains)


def recorded(directory: str) -> str:
    """Which engine the stack in *directory* was last deployed on; empty when it never was."""
    compose_files = formats.parse_dotenv(read(os.path.join(directory, ".env")) or "").get("COMPOSE_FILE", "")
    if not compose_files:
        return ""
    return "podman" if PODMAN_OVERLAY in compose_files.split(":") else "docker"


def _remains(project: str, other: str) -> Optional[Remains]:
    """What the other engine has of the stack; None when it is not there, or is this one under another name."""
    path = SOCKETS[other]
    if not os.path.exists(path) or kind(path) != other:
        return None
    engine = Engine(path)
    if not engine.answers():
        return None
    containers = [(item.get("Names") or ["?"])[0].lstrip("/") for item in engine.containers(project)]
    return Remains(sorted(containers), engine.volumes(project))


def _refusal(project: str, directory: str, ours: str, other: str, remains: Optional[Remains]) -> str:
    if remains is None:
        what = "%s/.env says so, and %s does not answer" % (directory, NAMES[other])
        gone = " If its data is gone for good, move %s away and run this again." % directory
    else:
        what = "%d containers, %d volumes" % (len(remains.containers), len(remains.volumes))
        gone = ""
    steps = [
        "The stack %s of this host belongs to %s (%s), and is asked for on %s. Neither engine sees the volumes of the "
        "other, so nothing was changed. Leave it where it is (tamma_runtime_engine: %s), or move it:"
        % (project, NAMES[other], what, NAMES[ours], other),
        "  1. Save its volumes and settings: docs/podman.md has the commands ('Moving a host').",
        "  2. Take it off with its volumes: ansible-playbook playbooks/teardown.yml -e tamma_runtime_engine=%s "
        "-e tamma_stack_remove_volumes=%s" % (other, project),
        "  3. Install %s: ansible-playbook site.yml --tags runtime (tamma_runtime_engine: %s)." % (NAMES[ours], ours),
        "  4. Put volumes and settings back, and deploy it: ansible-playbook site.yml.%s" % gone,
    ]
    return "\n".join(steps)
