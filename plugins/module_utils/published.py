# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has a TCP port that the stack would publish: a container, or a process of the host."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils import ports
from ansible_collections.meywd.tamma.plugins.module_utils.compose import EVERY_ADDRESS
from ansible_collections.meywd.tamma.plugins.module_utils.engine import PROJECT_LABEL


def taken(wanted: Iterable[Tuple[str, str, int]], listed: Iterable[Dict[str, Any]], project: str) -> List[str]:
    """Find ports that somebody else holds; the stack's own containers do not count. Returns a sentence for each.

    wanted: service, address (empty for every one) and port. listed: the engine's list of all containers.
    """
    published = [
        (str(binding.get("IP", "")), binding["PublicPort"], item)
        for item in listed
        for binding in item.get("Ports") or []
        # Podman lists what a stopped container would publish as well.
        if item.get("State") not in ("created", "exited") and binding.get("PublicPort") and binding.get("Type") == "tcp"
    ]
    problems = []
    for service, address, port in wanted:
        holders = [item for at, number, item in published if number == port and meet(at, address)]
        if any((item.get("Labels") or {}).get(PROJECT_LABEL) == project for item in holders):
            continue
        holder = ports.holder(port, address)
        if holders:
            who = "the container %s" % (holders[0].get("Names") or ["?"])[0].lstrip("/")
        elif holder:
            who = str(holder)
        else:
            continue
        problems.append(
            "Port %d, which %s would publish, is taken by %s: stop that, or choose another port in "
            "tamma_stack_environment." % (port, service, who)
        )
    return problems


def meet(one: str, other: str) -> bool:
    """Whether two addresses that a port is bound to get in each other's way; empty means every address."""
    return one == other or one in EVERY_ADDRESS or other in EVERY_ADDRESS
