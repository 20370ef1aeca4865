# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ELSA's API: who asks it, and the workflows that have ended and that it keeps for ever."""

from __future__ import annotations

import calendar
import http.client
import json
import re
import time
import urllib.error
import urllib.request
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine, addresses, of_service
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.logins import PostgresSession

# The only one that today's ELSA knows.
BUILT_IN_KEY = "00000000-0000-0000-0000-000000000000"

_SERVICE, _PORT = "elsa-server", 5000
_SECONDS = 30.0
_PAGE = 100
# Nobody has so many instances; a container that has been taken over may say so.
_PAGES = 20000
_UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400}

# Ended without a fault: one that failed is kept until somebody has looked at it.
_WELL, _FAILED = ("Finished", "Cancelled"), ("Faulted",)

# What ELSA keeps of an instance, and how much room its rows take.
_TABLES = ("WorkflowInstances", "WorkflowExecutionLogRecords", "ActivityExecutionRecords")
_SIZE = 'SELECT sum(pg_column_size(t.*)) FROM "Elsa"."%s" t'

# More than the longest page has.
_BYTES = 1 << 23


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Nobody who is asked sends us elsewhere: an answer comes from a container, and is not trusted."""

    def redirect_request(self, *_given: Any) -> None:
        return None


# No proxy: the addresses are those of containers.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())

Progress = Callable[[str, str], None]


class Reply(NamedTuple):
    """status: 0 when nobody answers. content: None when it cannot be read."""

    status: int
    content: Any


def ask(url: str, headers: Optional[Dict[str, str]] = None, data: Any = None, seconds: float = _SECONDS) -> Reply:
    """Send one request, a POST when there are *data*."""
    deadline = time.monotonic() + seconds
    body = None if data is None else json.dumps(data).encode("utf-8")
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **(headers or {})})  # noqa: S310
    try:
        with _OPENER.open(request, timeout=seconds) as answer:
            return Reply(answer.status, json.loads(read_bounded(answer, deadline)))
    except urllib.error.HTTPError as exc:
        return Reply(exc.code, None)
    except (ValueError, RecursionError):
        return Reply(200, None)
    except (OSError, http.client.HTTPException):
        return Reply(0, None)


def read_bounded(answer: http.client.HTTPResponse, deadline: float) -> bytes:
    """Read an answer that may have no end, or come a byte at a time. Raises ValueError for one that is too long."""
    parts: List[bytes] = []
    size = 0
    while size <= _BYTES:
        if time.monotonic() > deadline:
            raise TimeoutError("it takes too long")
        part = answer.read1(1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
    raise ValueError("it is too long")


def addresses_of(engine: Engine, stack: str, service: str) -> List[str]:
    """Where the running containers of a service are reached from the host."""
    return [
        address
        for item in of_service(engine.containers(stack), service)
        for address in addresses(engine.container(item["Id"]) or {})
    ]


class Elsa:
    """ELSA's API at an address."""

    def __init__(self, url: str, key: str = "") -> None:
        self._root, self._url = url, url + "/elsa/api/"
        self._headers = {"Authorization": "ApiKey " + (key or BUILT_IN_KEY)}

    @classmethod
    def of(cls, engine: Engine, stack: str, key: str) -> Elsa:
        """That of a stack; raises OperatorError when it does not run."""
        for address in addresses_of(engine, stack, _SERVICE):
            return cls("http://%s:%d" % (address, _PORT), key)
        raise OperatorError("ELSA of the stack %s does not run, or is not part of it." % stack)

    def with_key(self, key: str) -> Elsa:
        """The same, asked with another key."""
        return Elsa(self._root, key)

    def ask(self, path: str, data: Any = None, seconds: float = _SECONDS) -> Reply:
        """Send one request."""
        return ask(self._url + path, self._headers, data, seconds)

    def _instances(self, page: int) -> List[Dict[str, Any]]:
        reply = self.ask("workflow-instances?page=%d&pageSize=%d" % (page, _PAGE))
        if reply.status != 200 or not isinstance(reply.content, dict):
            raise OperatorError(
                "ELSA does not tell its workflow instances: it answers %s. %s"
                % (
                    reply.status or "nothing",
                    "It does not know the key: see 'tammactl doctor'."
                    if reply.status == 401
                    else "See 'tammactl logs elsa-server'.",
                )
            )
        items = reply.content.get("items") or []
        if not isinstance(items, list) or not all(isinstance(item, dict) and "id" in item for item in items):
            raise OperatorError("ELSA tells its workflow instances in another form than known: see its version.")
        return items

    def ended(self, before: float, failed: bool = False) -> List[str]:
        """The instances that ended *before*, in seconds since 1970; *failed*: those that failed too."""
        wanted = _WELL + _FAILED if failed else _WELL
        found: Dict[str, None] = {}
        for page in range(_PAGES):
            items = self._instances(page)
            for item in items:
                ended = _moment(item.get("finishedAt"))
                if item.get("status") == "Finished" and item.get("subStatus") in wanted and ended and ended < before:
                    found[str(item["id"])] = None
            if len(items) < _PAGE:
                break
        return list(found)

    def delete(self, instances: List[str]) -> None:
        """Delete instances, with all that ELSA noted of them."""
        reply = self.ask("bulk-actions/delete/workflow-instances/by-id", {"ids": instances})
        if reply.status != 200:
            raise OperatorError(
                "ELSA does not delete workflow instances: it answers %s. What it has deleted before is gone; run this "
                "again when it works." % (reply.status or "nothing")
            )


def retention(text: str) -> float:
    """Read how long ago: 12h, 30d, 8w; returns seconds. Raises OperatorError for anything else, and for none at all."""
    match = re.fullmatch(r"([0-9]{1,5})([hdw])", text)
    seconds = int(match.group(1)) * _UNITS[match.group(2)] if match else 0
    if not seconds:
        raise OperatorError(
            "'%s' is no time after which finished workflows may go: give hours, days or weeks, such as 12h, 30d or 8w, "
            "and more than none." % text
        )
    return float(seconds)


def prune(elsa: Elsa, before: float, failed: bool, dry: bool, progress: Progress) -> int:
    """Delete what ended *before*, so many at a time; with *dry* only count it. Returns how many instances that are."""
    found = elsa.ended(before, failed)
    for begin in range(0, 0 if dry else len(found), _PAGE):
        elsa.delete(found[begin : begin + _PAGE])
        done = min(begin + _PAGE, len(found))
        if done == len(found) or done % (10 * _PAGE) == 0:
            progress("prune", "%d of %d finished workflows removed" % (done, len(found)))
    return len(found)


def size(session: PostgresSession) -> int:
    """The bytes of the rows that ELSA keeps of its instances: as much less is in a backup when they are gone."""
    return sum(int(session.query(_SIZE % table)[0][0] or 0) for table in _TABLES)


def _moment(text: Any) -> Optional[float]:
    """Read ELSA's way to write a moment, always in UTC."""
    try:
        return float(calendar.timegm(time.strptime(str(text)[:19], "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        return None
