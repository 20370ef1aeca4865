# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tamma_stack_overrides says of networks, since the stack has one for each need.

Before 0.6.0 all services but the engine were in `tamma-net`, and that network could publish the ports of each.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

FORMER = "tamma-net"
# At the top of the overrides: its services have the networks that they name, and no other.
NAMED = ("x-tamma-networks", "named")
# Which else there are since; their order is the one in which they are named.
NEEDS = ("tamma-data", "tamma-broker", "tamma-workflows")
_PUBLISHED = "tamma-published"
# What was in FORMER and found everybody there; it is placed by the stack's own files.
_PLACED = (
    "edge",
    "elsa-server",
    "postgres",
    "rabbitmq",
    "tamma-api",
    "tamma-api-dotnet",
    "tamma-dashboard",
)
# In internal networks alone, which publish nothing.
_INTERNAL = ("postgres", "rabbitmq")


def settled(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Give the services of *overrides* the networks that they need to reach, and publish, what they did before."""
    found: dict[str, Any] = copy.deepcopy(dict(overrides))
    services = _services(found)
    for name in _flat(found):
        services[name]["networks"] = {**_networks(services[name]), **dict.fromkeys(NEEDS)}
    published = [name for name in _INTERNAL if _publishes(services.get(name))]
    for name in published:
        services[name]["networks"] = {**_networks(services[name]), _PUBLISHED: None}
    if published:
        found["networks"] = {_PUBLISHED: {"driver": "bridge"}, **(found.get("networks") or {})}
    return found


def warnings(overrides: Mapping[str, Any]) -> Iterable[str]:
    """Tell of the services that are given every network, because they named the one that had everybody."""
    found = _flat(overrides)
    if found:
        yield (
            "%s in tamma_stack_overrides: %s was the network of all services and is the edge's now. So that this "
            "reaches what it did, it is given %s as well. Name those of them that it needs, or put '%s: %s' at the top "
            "of tamma_stack_overrides, and it has what it names." % (", ".join(found), FORMER, ", ".join(NEEDS), *NAMED)
        )


def _services(overrides: Mapping[str, Any]) -> dict[str, Any]:
    services = overrides.get("services")
    return services if isinstance(services, dict) else {}


def _networks(service: Mapping[str, Any]) -> dict[str, Any]:
    given = service.get("networks") or {}
    return dict(given) if isinstance(given, Mapping) else dict.fromkeys(map(str, given))


def _flat(overrides: Mapping[str, Any]) -> list[str]:
    """The services that name the former network and none of those that came since."""
    if overrides.get(NAMED[0]) == NAMED[1]:
        return []
    return [
        name
        for name, service in sorted(_services(overrides).items())
        if name not in _PLACED
        and isinstance(service, Mapping)
        and FORMER in _networks(service)
        and not set(_networks(service)) & set(NEEDS)
    ]


def _publishes(service: Any) -> bool:
    return isinstance(service, Mapping) and bool(service.get("ports")) and not service.get("network_mode")
