# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the release of Tamma that runs cannot do, found out by asking its services; every request only reads.

A limit is told as long as it is seen, whatever the release is called, and no longer.
"""

from __future__ import annotations

from typing import Callable, Dict, List, NamedTuple

from ansible_collections.meywd.tamma.plugins.module_utils.elsa import BUILT_IN_KEY, Elsa, addresses_of, ask
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError

_SECONDS = 3.0
API, API_PORT = "tamma-api", 3100
DOTNET_API, _DOTNET_API_PORT = "tamma-api-dotnet", 3000
# It answers without a login that it has the route.
_SESSIONS = "/api/mentorship/sessions"
# The first release with these limits that was looked at.
_SINCE = "seen since Tamma d99e932 of March 2026"
_FIRST = "workflow-definitions?page=0&pageSize=1"


class Services(NamedTuple):
    """ELSA, and where tamma-api and the .NET API answer; the latter empty where it does not run."""

    elsa: Elsa
    api: str
    dotnet: str


class Limit(NamedTuple):
    """Something that does not work. seen: whether it is so with these services."""

    words: str
    seen: Callable[[Services], bool]


def _not_synced(services: Services) -> bool:
    """ELSA has workflows, its second page is empty, and tamma-api has none of them, though the .NET API works."""
    if not services.dotnet or ask(services.dotnet + "/health", seconds=_SECONDS).status != 200:
        return False
    first = services.elsa.ask(_FIRST, seconds=_SECONDS).content
    second = services.elsa.ask("workflow-definitions?page=1&pageSize=100", seconds=_SECONDS).content
    known = ask(services.api + "/api/workflows/definitions", seconds=_SECONDS).content
    lists = isinstance(first, dict) and isinstance(second, dict)
    return lists and bool(first.get("totalCount")) and second.get("items") == [] and known == []


def _calls_what_is_not_there(services: Services) -> bool:
    """ELSA has no health below its API, and the APIs are of the time when the .NET API asked for it."""
    if not services.dotnet or ask(services.dotnet + _SESSIONS, seconds=_SECONDS).status not in (200, 401, 403):
        return False
    health = ask(services.api + "/api/health", seconds=_SECONDS).content
    absent = services.elsa.ask("health", seconds=_SECONDS).status == 404
    return absent and isinstance(health, dict) and set(health) == {"status", "timestamp"}


TABLE = (
    Limit(
        "ELSA's workflows do not reach tamma-api, and the dashboard shows none: the .NET API asks for pages from 1 on, "
        "and ELSA counts them from 0",
        _not_synced,
    ),
    Limit(
        "Mentorship sessions do not start (POST /api/mentorship/start answers 500 and leaves an active session): the "
        "API asks ELSA for a health that ELSA does not have",
        _calls_what_is_not_there,
    ),
    Limit(
        "Mentorship sessions cannot be suspended, resumed or cancelled: ELSA does not have the paths that are called",
        _calls_what_is_not_there,
    ),
    Limit(
        "The workflow file that comes with Tamma cannot be imported: it has a number where ELSA wants a text",
        _calls_what_is_not_there,
    ),
)


def found(services: Services) -> List[str]:
    """The limits that are seen, a sentence for each."""
    seen: Dict[Callable[[Services], bool], bool] = {}
    for limit in TABLE:
        if limit.seen not in seen:
            seen[limit.seen] = limit.seen(services)
    return ["%s (%s)." % (limit.words, _SINCE) for limit in TABLE if seen[limit.seen]]


def refused_key(services: Services) -> List[str]:
    """Say it when ELSA does not know the key that the stack has for it; the .NET API and the edge show the same."""
    if services.elsa.ask(_FIRST, seconds=_SECONDS).status != 401:
        return []
    cure = "set tamma_stack_elsa_api_key (ELSA_API_KEY) to the key that this ELSA knows"
    if services.elsa.with_key(BUILT_IN_KEY).ask(_FIRST, seconds=_SECONDS).status == 200:
        cure = "it knows its built-in key: take tamma_stack_elsa_api_key (ELSA_API_KEY) out of the inventory and the "
        cure += "controller's environment"
    return [
        "ELSA answers 401 to the key that the stack has for it, so the .NET API, the edge and 'tammactl prune' cannot "
        "use it; %s, and run site.yml." % cure
    ]


def services_of(engine: Engine, stack: str, key: str) -> List[Services]:
    """The services of a stack; none as long as ELSA or tamma-api does not run, or is not part of it."""
    try:
        elsa = Elsa.of(engine, stack, key)
    except OperatorError:
        return []
    dotnet = ["http://%s:%d" % (place, _DOTNET_API_PORT) for place in addresses_of(engine, stack, DOTNET_API)]
    api = ["http://%s:%d" % (place, API_PORT) for place in addresses_of(engine, stack, API)]
    return [Services(elsa, where, next(iter(dotnet), "")) for where in api][:1]
