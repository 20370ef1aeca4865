# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tamma_stack_overrides says of networks, since the stack has one for each need.

Before 0.6.0 all services but the engine were in `tamma-net`, and that network could publish the ports of each.
"""

from __future__ import annotations

import copy
import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.meywd.tamma.plugins.plugin_utils.compose_files import interpolate

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
# What may make one of these ask somebody outside: an archive, a subscription, a shovel.
_ASKS = ("command", "configs", "entrypoint", "environment", "image", "volumes")
# Who asks for a login himself, or is judged by what the edge has.
_OWN_LOGIN = (*_INTERNAL, "edge")
_CALLBACK = "Engine__CallbackUrl"


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
    for name in _INTERNAL if overrides.get(NAMED[0]) != NAMED[1] else ():
        service = _services(overrides).get(name)
        if not isinstance(service, Mapping):
            continue
        touched = [key for key in _ASKS if service.get(key)]
        if touched and not (_networks(service) or service.get("network_mode") or _publishes(service)):
            yield (
                "%s of %s in tamma_stack_overrides: %s has no way out of its network since 0.6.0. If it asks "
                "somebody outside (%s), give it one there: 'networks: [outside]', and 'networks: {outside: {}}' beside "
                "services. If it does not, put '%s: %s' at the top of tamma_stack_overrides."
                % (
                    " and ".join(touched),
                    name,
                    name,
                    {
                        "postgres": "an archive of its log, a subscription, a standby, a foreign server",
                        "rabbitmq": "a federation, a shovel, a login by LDAP or OAuth",
                    }[name],
                    *NAMED,
                )
            )


def published(overrides: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """The stack's own services that *overrides* publish beyond the loopback address, as far as *settings* tell.

    What somebody has added himself is his own affair.
    """
    values = {str(name): _text(value) for name, value in settings.items()}
    return [
        name
        for name, service in sorted(_services(overrides).items())
        if name in (*_PLACED, "tamma-engine")
        and isinstance(service, Mapping)
        and (
            service.get("network_mode") == "host"
            or any(not _is_loopback(_address(entry, values)) for entry in _listed(service.get("ports")))
        )
    ]


def published_problems(services: Iterable[str], *, without_login: bool = False) -> Iterable[str]:
    """Find those of the published *services* where nobody is asked for a login: that of the edge is not in the way."""
    open_to_all = [name for name in services if name not in _OWN_LOGIN]
    if open_to_all and not without_login:
        yield (
            "tamma_stack_overrides publish %s beyond the loopback address, where nobody is asked for a login, whatever "
            "the edge asks for: publish on 127.0.0.1, or set tamma_stack_without_login to true if whoever reaches the "
            "host there may do everything." % " and ".join(open_to_all)
        )


def calls_api(settings: Mapping[str, Any], service_environment: Any, overrides: Mapping[str, Any]) -> bool:
    """Whether ELSA is told to ask the engine inside tamma-api, by whatever counts last."""
    found = _text(settings.get("ENGINE_CALLBACK_URL"))
    of_services = service_environment if isinstance(service_environment, Mapping) else {}
    service = _services(overrides).get("elsa-server")
    own = service.get("environment") if isinstance(service, Mapping) else None
    for given in (of_services.get("elsa-server"), own):
        pairs = given.items() if isinstance(given, Mapping) else (str(one).split("=", 1) for one in _listed(given))
        for name, *value in pairs:
            if str(name).lower() == _CALLBACK.lower() and value:
                found = _text(value[0])
    return re.search(r"//(?:[^/@]*@)?tamma-api([:/]|$)", found) is not None


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _address(entry: Any, values: Mapping[str, str]) -> str:
    """Where a port is published; empty for everywhere."""
    if isinstance(entry, Mapping):
        return interpolate(_text(entry.get("host_ip")), values)
    before = interpolate(_text(entry), values).partition("/")[0].rpartition(":")[0]
    return before.rpartition(":")[0]


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


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
