# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who else works in a database: whom an operation ends, who would keep it from being done, and for whom it waits.

Nothing here shows what somebody's statement says: there may be a secret in it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError

#: Asks one thing of the server; each %s of the statement becomes a quoted value.
Query = Callable[..., List[List[Optional[str]]]]
Progress = Callable[[str, str], None]

_POLL_SECONDS = 1
# A report to a person who waits is repeated so often.
_SECONDS_BETWEEN_WORDS = 15

# A role that is no superuser sees little of the server's own processes, which go away by themselves.
_SESSIONS = """
SELECT a.pid, coalesce(a.usename, ''), coalesce(a.application_name, ''), coalesce(a.backend_type, ''),
  coalesce(date_trunc('second', coalesce(a.xact_start, a.backend_start))::text, ''), a.xact_start IS NOT NULL,
  me.rolsuper OR NOT r.rolsuper AND (pg_has_role(a.usesysid, 'MEMBER') OR pg_has_role('pg_signal_backend', 'MEMBER'))
FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid,
  (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS me
WHERE a.datname = %s AND a.pid <> pg_backend_pid() AND a.backend_type IS DISTINCT FROM 'autovacuum worker'
  AND (me.rolsuper OR a.usesysid IS NOT NULL)
ORDER BY a.pid"""


class Session(NamedTuple):
    """Somebody in a database. since: when the transaction began, or else the session. ours: whether we may end it."""

    pid: int
    user: str
    application: str
    kind: str
    since: str
    transaction: bool
    ours: bool

    def __str__(self) -> str:
        return "process %d (%s, %s%s, %s %s)" % (
            self.pid,
            "user %s" % self.user if self.user else "no user",
            self.kind or "client",
            ' "%s"' % self.application if self.application else "",
            "in a transaction since" if self.transaction else "since",
            self.since or "a time that only a superuser sees",
        )


class Prepared(NamedTuple):
    """A prepared transaction. name: what COMMIT PREPARED and ROLLBACK PREPARED call it."""

    name: str
    owner: str
    since: str


def sessions(query: Query, database: str) -> List[Session]:
    """Everybody in a database but whoever asks."""
    return [
        Session(int(pid or 0), user or "", name or "", kind or "", since or "", begun == "t", ours == "t")
        for pid, user, name, kind, since, begun, ours in query(_SESSIONS, database)
    ]


def holders(query: Query, database: str) -> List[str]:
    """Who has a lock in a database that nobody can look at a table behind."""
    rows = query(
        "SELECT DISTINCT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
        "WHERE datname = %s AND granted AND mode = 'AccessExclusiveLock' AND pid <> pg_backend_pid()",
        database,
    )
    pids = {int(pid or 0) for (pid,) in rows}
    return [str(item) for item in sessions(query, database) if item.pid in pids]


def prepared(query: Query, database: str) -> List[Prepared]:
    """The prepared transactions of a database."""
    return [
        Prepared(name or "", owner or "", since or "")
        for name, owner, since in query(
            "SELECT gid, owner, date_trunc('second', prepared)::text FROM pg_prepared_xacts WHERE database = %s "
            "ORDER BY prepared",
            database,
        )
    ]


def subscriptions(query: Query, database: str) -> Dict[str, bool]:
    """The subscriptions of a database, and whether each is at work."""
    rows = query(
        "SELECT subname, subenabled FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE datname = %s",
        database,
    )
    return {name or "": enabled == "t" for name, enabled in rows}


def slots(query: Query, database: str) -> List[str]:
    """The replication slots of a database."""
    return [
        name or ""
        for (name,) in query("SELECT slot_name FROM pg_replication_slots WHERE database = %s ORDER BY 1", database)
    ]


# What a database's server asks others for by itself, or keeps for one who does not come.
_OUTSIDE = """
SELECT 'archive_mode ' || setting FROM pg_settings WHERE name = 'archive_mode' AND setting <> 'off'
UNION ALL SELECT 'the subscription ' || subname FROM pg_subscription WHERE subenabled
UNION ALL SELECT 'the foreign server ' || srvname FROM pg_foreign_server
UNION ALL SELECT 'the replication slot ' || slot_name FROM pg_replication_slots WHERE NOT active AND NOT temporary
ORDER BY 1"""


def outside(query: Query) -> List[str]:
    """What a server without a way out may not do any more, by name; foreign servers of the database that is asked."""
    return [name or "" for (name,) in query(_OUTSIDE)]


def in_the_way(transaction: Prepared, database: str) -> str:
    """What a prepared transaction keeps from being done, and what to do about it."""
    quoted = "'%s'" % transaction.name.replace("'", "''")
    return (
        "The database %s has the prepared transaction %s of the user %s, since %s: while it is there, nobody can copy, "
        "rename or replace the database. End it there (COMMIT PREPARED %s or ROLLBACK PREPARED %s, as that user or a "
        "superuser), then run this again." % (database, quoted, transaction.owner, transaction.since, quoted, quoted)
    )


def obstacles(query: Query, database: str) -> List[str]:
    """What would keep a database from being copied or replaced, a sentence for each; asked before anything stops."""
    found = [in_the_way(item, database) for item in prepared(query, database)]
    found += [
        "%s is in the database %s, and our role may not end it: end it as a superuser (SELECT "
        "pg_terminate_backend(%d)), or grant pg_signal_backend to the role; then run this again."
        % (_capital(str(item)), database, item.pid)
        for item in sessions(query, database)
        if not item.ours
    ]
    return found


def affected(query: Query, database: str, services: Sequence[str], users: Sequence[str] = ()) -> List[str]:
    """Who is going to be cut off when a database is copied or replaced, beside the stack's own services.

    services: the addresses of their containers. users: theirs, for a server that sees other addresses.
    """
    rows = query("SELECT pid, host(client_addr) FROM pg_stat_activity WHERE datname = %s", database)
    ours = {int(pid or 0) for pid, address in rows if address in services}
    found = [str(item) for item in sessions(query, database) if item.pid not in ours and item.user not in users]
    found += ["the client of the replication slot %s" % name for name in slots(query, database)]
    found += [
        "the subscription %s" % name for name, enabled in sorted(subscriptions(query, database).items()) if enabled
    ]
    return found


class Waiting:
    """Looks whether our sessions wait for somebody's lock, tells for whom, and ends that after some seconds."""

    def __init__(self, query: Query, application: str, seconds: float, progress: Progress) -> None:
        """*application*: the name that our sessions go by."""
        self._query = query
        self._application = application
        self._seconds = seconds
        self._progress = progress
        self._since: Dict[int, float] = {}
        self._told = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        #: For whom one of ours waits, or has waited at the end; empty if for nobody.
        self.holders: List[str] = []
        #: Whether one of ours was ended for that.
        self.gave_up = False

    def __enter__(self) -> "Waiting":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_POLL_SECONDS):
            # A server that went away is told of by whoever waits for its answer.
            with contextlib.suppress(OperatorError):
                self.look()

    def look(self) -> None:
        """Look once."""
        now = time.monotonic()
        waiting = {
            int(pid or 0): [int(one) for one in (blocking or "{}").strip("{}").split(",") if one]
            for pid, blocking in self._query(
                "SELECT pid, pg_blocking_pids(pid)::text FROM pg_stat_activity WHERE application_name = %s "
                "AND wait_event_type = 'Lock'",
                self._application,
            )
        }
        self._since = {pid: self._since.get(pid, now) for pid, holders in waiting.items() if holders}
        if not self._since:
            self._told = 0.0
            if not self.gave_up:
                self.holders = []
            return
        self.holders = self._names(sorted({one for holders in waiting.values() for one in holders} - set(waiting)))
        if now - self._told >= _SECONDS_BETWEEN_WORDS:
            self._told = now
            self._progress("wait", "for a lock of %s, at most %d s" % (" and ".join(self.holders), self._seconds))
        for pid, since in self._since.items():
            if now - since >= self._seconds:
                self.gave_up = True
                self._query("SELECT pg_cancel_backend(%s::int)", str(pid))

    def _names(self, pids: Sequence[int]) -> List[str]:
        found = []
        for pid in pids:
            rows = self._query(
                "SELECT coalesce(usename, ''), coalesce(application_name, ''), coalesce(backend_type, ''), "
                "coalesce(date_trunc('second', coalesce(xact_start, backend_start))::text, ''), "
                "xact_start IS NOT NULL FROM pg_stat_activity WHERE pid = %s::int",
                str(pid),
            )
            found += [
                str(Session(pid, user or "", name or "", kind or "", since or "", begun == "t", False))
                for user, name, kind, since, begun in rows
            ]
        return found or ["a prepared transaction"]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
