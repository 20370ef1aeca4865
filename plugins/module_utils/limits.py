# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the release of Tamma that runs cannot do, found out by asking its services; every request only reads.

A limit is told as long as it is seen, whatever the release is called, and no longer.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine, addresses, of_service

# The key that is built into ELSA.
BUILT_IN_KEY = "00000000-0000-0000-0000-000000000000"

_SECONDS = 3.0
_PORTS = {"elsa-server": 5000, "tamma-api": 3100}
# The first release with these limits that was looked at.
_SINCE = "seen since Tamma d99e932 of March 2026"

# No proxy: the addresses are those of containers.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Services(NamedTuple):
    """Where ELSA and tamma-api answer, and the key of ELSA."""

    elsa: str
    api: str
    key: str = BUILT_IN_KEY

    def ask_elsa(self, path: str) -> Tuple[int, Any]:
        """Ask ELSA's API."""
        return _ask(self.elsa + "/elsa/api/" + path, {"Authorization": "ApiKey " + self.key})

    def ask_api(self, path: str) -> Tuple[int, Any]:
        """Ask tamma-api."""
        return _ask(self.api + "/api/" + path, {})


class Limit(NamedTuple):
    """Something that does not work. seen: whether it is so with these services."""

    words: str
    seen: Callable[[Services], bool]


def _not_synced(services: Services) -> bool:
    """ELSA has workflows, its second page is empty, and tamma-api has none of them."""
    _status, first = services.ask_elsa("workflow-definitions?page=0&pageSize=1")
    _status, second = services.ask_elsa("workflow-definitions?page=1&pageSize=100")
    _status, known = services.ask_api("workflows/definitions")
    lists = isinstance(first, dict) and isinstance(second, dict)
    return lists and bool(first.get("totalCount")) and second.get("items") == [] and known == []


def _calls_what_is_not_there(services: Services) -> bool:
    """ELSA has no health below its API, and tamma-api is of the time when the .NET API asked for it."""
    status, _content = services.ask_elsa("health")
    _status, health = services.ask_api("health")
    return status == 404 and isinstance(health, dict) and set(health) == {"status", "timestamp"}


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


def services_of(engine: Engine, stack: str, key: str) -> List[Services]:
    """Where a stack's ELSA and API answer; nothing as long as one of both does not run, or is not part of it."""
    places = {}
    for name, port in _PORTS.items():
        for item in of_service(engine.containers(stack), name):
            for address in addresses(engine.container(item["Id"]) or {}):
                places[name] = "http://%s:%d" % (address, port)
    return [Services(places["elsa-server"], places["tamma-api"], key or BUILT_IN_KEY)] if len(places) == 2 else []


def _ask(url: str, headers: Dict[str, str]) -> Tuple[int, Any]:
    """Ask once; status 0 when nobody answers, and no content when there is none that can be read."""
    try:
        with _OPENER.open(urllib.request.Request(url, headers=headers), timeout=_SECONDS) as answer:  # noqa: S310
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as exc:
        return exc.code, None
    except ValueError:
        return 200, None
    except (OSError, http.client.HTTPException):
        return 0, None
