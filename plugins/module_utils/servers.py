# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database and the broker in the words of ``.env``: which server it is, and how services are told of it.

``POSTGRES_HOST`` and ``RABBITMQ_HOST`` name a server outside of the stack; without them it is the
stack's own container. What the Compose files put into a connection string or a URL is spelled here.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
from typing import Dict, Iterable, List, Mapping, Optional

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.formats import quote_npgsql
from ansible_collections.meywd.tamma.plugins.module_utils.logins import (
    Postgres,
    PostgresSession,
    RabbitMQ,
    check_postgres,
    check_rabbitmq,
    number,
)

# Below the stack's directory, and where its directory is mounted in a container.
POSTGRES_CA = "tls/postgres-ca.pem"
_MOUNTED = "/etc/tamma/"

_PLAIN = re.compile(r"\w*", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")

# Npgsql's words for libpq's. Before version 8 it refuses Require without the second part.
_NPGSQL_MODES = {
    "disable": "SSL Mode=Disable",
    "require": "SSL Mode=Require;Trust Server Certificate=true",
    "verify-ca": "SSL Mode=VerifyCA",
    "verify-full": "SSL Mode=VerifyFull",
}

# How many connections PostgreSQL has if nobody says otherwise; where it is remembered what an external server said. The
# .NET services may take so large a share, the rest being for backups, for the operator and for people; ELSA at most.
_CONNECTIONS = 100
MAX_CONNECTIONS = "POSTGRES_MAX_CONNECTIONS"
_SHARE, _SHARE_OF_ELSA = 0.8, 0.32
# The pool that the Compose files give to each container.
_POOL = 16
_REPLICAS = {"ELSA_REPLICAS": 1, "API_DOTNET_REPLICAS": 2}

# Setting that names an external server → what the container in its place keeps in its volume, and
# under which name that is remembered meanwhile.
_KEPT: Dict[str, Dict[str, str]] = {
    "POSTGRES_HOST": {
        "POSTGRES_DB": "POSTGRES_CONTAINER_DB",
        "POSTGRES_USER": "POSTGRES_CONTAINER_USER",
        "POSTGRES_PASSWORD": "POSTGRES_CONTAINER_PASSWORD",
    },
    "RABBITMQ_HOST": {
        "RABBITMQ_USER": "RABBITMQ_CONTAINER_USER",
        "RABBITMQ_PASSWORD": "RABBITMQ_CONTAINER_PASSWORD",
    },
}
KEPT_SECRETS = ("POSTGRES_CONTAINER_PASSWORD", "RABBITMQ_CONTAINER_PASSWORD")


def _pool(values: Mapping[str, str], limit: int) -> Dict[str, str]:
    """How many connections each container of the .NET services may have, where that differs from the usual number.

    ELSA's pool goes by its own containers alone: what makes a new container of ELSA loses what is inside an activity.
    During an update the .NET API has twice as many containers; ELSA's old one goes before the new one comes.
    """
    if values.get("POSTGRES_POOL_SIZE"):
        return {}
    elsa, api = (int(values[name]) if values.get(name, "").isdigit() else usual for name, usual in _REPLICAS.items())
    of_elsa = _size(_SHARE_OF_ELSA * limit, elsa)
    sizes = {"ELSA_POOL_SIZE": of_elsa, "API_DOTNET_POOL_SIZE": _size(_SHARE * limit - elsa * of_elsa, 2 * api)}
    return {name: str(size) for name, size in sizes.items() if size != _POOL}


def _size(connections: float, containers: int) -> int:
    return min(_POOL, max(1, int(connections) // max(1, containers)))


def connections(values: Mapping[str, str], ca: str) -> str:
    """How many connections the external database of ``.env`` allows; nothing if there is none, or it does not say."""
    for server in external_postgres(values, ca):
        with contextlib.suppress(OperatorError), PostgresSession(server) as session:
            found = number(session.row("SHOW max_connections", 1)[0])
            return str(found) if found else ""
    return ""


def spellings(values: Mapping[str, str], has_ca: bool, known: Optional[Mapping[str, str]] = None) -> Dict[str, str]:
    """The settings that follow from where the database is and who uses it; none for the usual stack.

    known: what the host remembers of an external server.
    """
    said = (known or {}).get(MAX_CONNECTIONS, "") if values.get("POSTGRES_HOST") else ""
    limit = int(said) if said.isdigit() else _CONNECTIONS
    found = {**({MAX_CONNECTIONS: said} if limit != _CONNECTIONS else {}), **_pool(values, limit)}
    for name in ("POSTGRES_USER", "POSTGRES_DB"):
        value = values.get(name, "")
        if not _PLAIN.fullmatch(value):
            found[name + "_NPGSQL"] = quote_npgsql(value)
    if values.get("POSTGRES_HOST"):
        mode = values.get("POSTGRES_SSLMODE") or "verify-full"
        with_ca = has_ca and mode.startswith("verify")
        found["POSTGRES_OPTIONS_NPGSQL"] = _NPGSQL_MODES[mode] + (
            ";Root Certificate=%s%s" % (_MOUNTED, POSTGRES_CA) if with_ca else ""
        )
    return found


def of_containers(known: Mapping[str, str]) -> Dict[str, str]:
    """A former ``.env`` with what the containers were made with in the place of an external server's login."""
    values = dict(known)
    for host, names in _KEPT.items():
        for name, kept in names.items():
            if known.get(host):
                values.pop(name, None)
                if kept in known:
                    values[name] = known[kept]
    return values


def kept_as(known: Mapping[str, str]) -> Dict[str, str]:
    """Setting → the name under which a former ``.env`` remembers it, while an external server takes the place."""
    return {name: kept for host, names in _KEPT.items() if known.get(host) for name, kept in names.items()}


def kept(known: Mapping[str, str], settings: Mapping[str, str]) -> Dict[str, str]:
    """What has to be remembered of *known* (see of_containers), because external servers take the place for now."""
    return {
        remembered: known[name]
        for host, names in _KEPT.items()
        if settings.get(host)
        for name, remembered in names.items()
        if name in known
    }


def external_postgres(values: Mapping[str, str], ca: str) -> List[Postgres]:
    """The external database of ``.env``, if there is one."""
    if not values.get("POSTGRES_HOST"):
        return []
    return [
        Postgres(
            values["POSTGRES_HOST"],
            int(values.get("POSTGRES_HOST_PORT") or 5432),
            values.get("POSTGRES_DB") or "tamma",
            values.get("POSTGRES_USER") or "tamma",
            values.get("POSTGRES_PASSWORD", ""),
            values.get("POSTGRES_SSLMODE") or "verify-full",
            ca,
        )
    ]


def check(databases: List[Postgres], brokers: List[RabbitMQ]) -> List[str]:
    """Log in to external servers and say everything that keeps the stack from using them."""
    problems = []
    for database in databases:
        wrong = _wrong("tamma_stack_postgres", database.host, database.password) + _beyond_clients(database)
        problems += wrong or check_postgres(database)
    for broker in brokers:
        problems += _wrong("tamma_stack_rabbitmq", broker.host, broker.password) or check_rabbitmq(broker)
    return problems


def _wrong(prefix: str, host: str, password: str) -> List[str]:
    problems = []
    if not _HOST.fullmatch(host):
        problems.append("%s_host is not one host name or IPv4 address: the port has a variable of its own." % prefix)
    if not password:
        problems.append(
            "%s_password is not set: an external server's password is never made up, so vault it in the inventory."
            % prefix
        )
    return problems or _on_loopback(prefix, host)


def _on_loopback(prefix: str, host: str) -> List[str]:
    try:
        found = {str(item[4][0]) for item in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return []  # the login will say it
    if not all(ipaddress.ip_address(address).is_loopback for address in found):
        return []
    return [
        "%s_host leads to the loopback address, which inside a container is the container itself: let the server "
        "listen on an address of this host that its containers reach, and give that one." % prefix
    ]


def advise(names: Iterable[str], etc_hosts: str) -> List[str]:
    """Say which servers this host finds in its own */etc/hosts*, where Docker's containers do not look."""
    listed = {name for line in etc_hosts.splitlines() for name in line.partition("#")[0].split()[1:]}
    return [
        "This host knows %s from /etc/hosts, which Docker's containers do not read: have the name in the DNS, or name "
        "it under extra_hosts in tamma_stack_overrides." % name
        for name in sorted(listed.intersection(names))
    ]


def _beyond_clients(database: Postgres) -> List[str]:
    """What PostgreSQL would take, and one of the services' clients does not."""
    problems = []
    if database.sslmode == "verify-ca" and not database.ca:
        problems.append(
            "tamma_stack_postgres_sslmode is 'verify-ca' and tamma_stack_postgres_ca is not set: anybody has a "
            "certificate of some public authority, so give the authority, or set 'verify-full'."
        )
    return problems
