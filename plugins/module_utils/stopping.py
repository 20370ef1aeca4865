# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is lost when a service stops, as its label says it: whoever is about to stop one tells it before."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping

from ansible_collections.meywd.tamma.plugins.module_utils.compose import Project
from ansible_collections.meywd.tamma.plugins.module_utils.engine import SERVICE_LABEL

LABEL = "tamma.stopping"


def words(service: str, labels: Mapping[str, str]) -> List[str]:
    """What stopping a service with these labels costs; nothing for one that costs nothing."""
    return ["%s stops: %s" % (service, labels[LABEL])] if labels.get(LABEL) else []


def of_services(project: Project, names: Iterable[str]) -> List[str]:
    """The same for services of a project."""
    return [text for name in sorted(names) for text in words(name, project.services[name].labels)]


def of_containers(listed: Iterable[Dict[str, Any]]) -> List[str]:
    """The same for the services whose containers run, of the engine's list."""
    found = {}
    for item in listed:
        labels = item.get("Labels") or {}
        if item.get("State") == "running":
            found[labels.get(SERVICE_LABEL, "")] = labels
    return [text for name, labels in sorted(found.items()) for text in words(name, labels)]
