# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of the free settings with which a service would die, or never rest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

#: Serilog ends the service for any other word.
LEVELS = ("Verbose", "Debug", "Information", "Warning", "Error", "Fatal")
_LEVELS = ("ELSA_LOG_LEVEL", "DOTNET_LOG_LEVEL")
_SWITCHES = ("JWT_REQUIRE_HTTPS",)
# Of the interval: .NET makes no longer pause, in seconds, and the .NET API would end.
_MOST = {"WORKFLOW_SYNC_INTERVAL": 4294967, "POSTGRES_POOL_SIZE": 100000}
_COUNTS = {
    "WORKFLOW_SYNC_INTERVAL": "the .NET API would end, or ask ELSA without a pause",
    "POSTGRES_POOL_SIZE": "ELSA and the .NET API would have no connection to PostgreSQL",
    "ELSA_REPLICAS": "leave ELSA out with tamma_stack_profile: lite instead",
}
_REPLICAS = ("API_DOTNET_REPLICAS", "API_REPLICAS", "DASHBOARD_REPLICAS")

# Npgsql knows each word in several spellings, in any case and with or without spaces; of two it takes the last.
_SYNONYMS = {
    "server": "host",
    "db": "database",
    "userid": "username",
    "uid": "username",
    "psw": "password",
    "pwd": "password",
    "maxpoolsize": "maximumpoolsize",
    "minpoolsize": "minimumpoolsize",
}
# A word, and its value in quotes, which are doubled inside, or up to the next semicolon.
_PAIR = re.compile(r"""\s*([^=;]+?)\s*=\s*("(?:[^"]|"")*"|'(?:[^']|'')*'|[^;]*)(?:;|\Z)""")
_CONNECTION = "ConnectionStrings__DefaultConnection"


def problems(settings: Mapping[str, object]) -> Iterable[str]:
    """Find what no service can live with. Returns a sentence for each."""
    given = {name: str(value) for name, value in settings.items() if str(value)}
    for name in sorted(set(_LEVELS).intersection(given)):
        if given[name] not in LEVELS:
            yield "tamma_stack_environment has %s '%s': give one of %s." % (name, given[name], ", ".join(LEVELS))
    for name, otherwise in sorted(_COUNTS.items()):
        if name not in given:
            continue
        most = _MOST.get(name, 999)
        if not re.fullmatch("0*[1-9][0-9]*", given[name]):
            yield "tamma_stack_environment has %s '%s': give a number from 1 on, else %s." % (
                name,
                given[name],
                otherwise,
            )
        elif len(given[name].lstrip("0")) > 9 or int(given[name]) > most:
            yield "tamma_stack_environment has %s '%s': give %d at most." % (name, given[name], most)
    for name in sorted(set(_REPLICAS).intersection(given)):
        if not re.fullmatch("[0-9]{1,3}", given[name]):
            yield "tamma_stack_environment has %s '%s': give a whole number of containers." % (name, given[name])
    for name in sorted(set(_SWITCHES).intersection(given)):
        if given[name].lower() not in ("true", "false"):
            yield "tamma_stack_environment has %s '%s': give true or false." % (name, given[name])
    authority = given.get("JWT_AUTHORITY", "")
    insecure = given.get("JWT_REQUIRE_HTTPS", "true").lower() == "false"
    if authority and not authority.startswith(("https://", "http://") if insecure else "https://"):
        yield (
            "tamma_stack_environment has the JWT_AUTHORITY '%s', which is no address with https: every request to the "
            'mentorship API would fail. For tests JWT_REQUIRE_HTTPS: "false" allows one without.' % authority
        )


def doubled(overrides: Mapping[str, Any]) -> Iterable[str]:
    """Find what an own connection string of *overrides* says twice. Returns a sentence for each; none shows a value."""
    services = overrides.get("services")
    for name, service in sorted(services.items() if isinstance(services, Mapping) else ()):
        environment = service.get("environment") if isinstance(service, Mapping) else None
        if isinstance(environment, list):
            environment = dict(str(line).partition("=")[::2] for line in environment)
        text = str(environment.get(_CONNECTION) or "") if isinstance(environment, Mapping) else ""
        words: dict[str, list[str]] = {}
        for word, _value in _PAIR.findall(text):
            plain = re.sub(r"\s", "", word).lower()
            words.setdefault(_SYNONYMS.get(plain, plain), []).append(word)
        for found in words.values():
            if len(found) > 1:
                yield (
                    "tamma_stack_overrides has a connection string of %s with %s: Npgsql takes the last one, so keep "
                    "the one that you mean." % (name, " and ".join(found))
                )


def shared_database(own: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """Say it when ELSA of other hosts uses the external database of this one.

    own, others: variables of this host, and of the others by their names, without the prefix tamma_stack_.
    """
    place = _place(own)
    found = sorted(host for host, known in others.items() if place and _place(known) == place)
    if found:
        yield (
            "tamma_stack_postgres_host leads to a database that %s %s as well: without a common lock folder each "
            "ELSA fires every timer and continues every delayed step, and each host's updates and restores put the "
            "others' data aside. Give each host a database of its own; tamma_stack_profile 'lite' has no ELSA, and "
            "tamma_stack_postgres_shared: true allows it." % (" and ".join(found), "uses" if len(found) == 1 else "use")
        )


def _place(known: Mapping[str, Any]) -> tuple[str, ...]:
    """Which external database ELSA of a host uses; nothing when it uses none."""
    host = str(known.get("postgres_host") or "").lower().rstrip(".")
    if not host or known.get("profile") == "lite":
        return ()
    return host, str(known.get("postgres_port") or 5432), str(known.get("postgres_database") or "tamma")
