# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the stack is: one row for each container, and for each service that has none."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional

from ansible_collections.meywd.tamma.plugins.module_utils import gate, images, moments
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Project, Service
from ansible_collections.meywd.tamma.plugins.module_utils.demands import alone
from ansible_collections.meywd.tamma.plugins.module_utils.engine import SERVICE_LABEL, Engine
from ansible_collections.meywd.tamma.plugins.module_utils.planner import ALONE_LABEL


class Row(NamedTuple):
    """One container; health is "none" without a health check, since an ISO 8601 time in UTC.

    ended: what the exit status of its last end means, as a sentence behind another, where that is known.
    """

    service: str
    container: str
    image: str
    state: str
    health: str
    since: str
    ready: bool
    ended: str = ""


def rows(engine: Engine, stack: str, project: Optional[Project]) -> List[Row]:
    """Describe the containers of *stack*; *project* adds the services that have none."""
    found = []
    for item in engine.containers(stack):
        inspected = engine.container(item["Id"])
        if inspected:
            name = item["Labels"].get(SERVICE_LABEL, "")
            found.append(
                _row(inspected, name, _called(item.get("Image", ""), project.services.get(name) if project else None))
            )
    present = {row.service for row in found}
    for service in project.services.values() if project else ():
        if service.name not in present and service.replicas:
            found.append(Row(service.name, "", images.tagged(service.image), "missing", "none", "", False))
    return sorted(found)


def notes(engine: Engine, stack: str) -> List[str]:
    """What is odd about a stack that is well: services of several containers that should have one."""
    found: Dict[str, List[str]] = {}
    for item in engine.containers(stack):
        labels = item.get("Labels") or {}
        if labels.get(ALONE_LABEL) and item.get("State") == "running":
            found.setdefault(labels.get(SERVICE_LABEL, ""), []).append(labels[ALONE_LABEL])
    return [alone(name, len(whys), whys[0]) for name, whys in sorted(found.items()) if len(whys) > 1]


def _called(image: str, service: Optional[Service]) -> str:
    """An image as people call it; Podman lists one that has a digest without its tag."""
    if service and service.image.partition("@")[2] == image.partition("@")[2]:
        image = service.image
    return images.tagged(image)


def _row(inspected: Dict[str, Any], service: str, image: str) -> Row:
    seen = gate.state(inspected, service)
    began = gate.started_at(inspected)
    return Row(
        service=service,
        container=seen.name,
        image=image,
        state=seen.status,
        health=seen.health or "none",
        since=moments.text(began) if began else "",
        ready=gate.judge(seen, seen.restarts).outcome == "ready",
        ended=gate.meaning(seen.exit_code),
    )
