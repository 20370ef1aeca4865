# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Others who work in a database while something is done with it, and how long each of them has to wait."""

from __future__ import annotations

import functools
import itertools
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.logins import Postgres, PostgresSession, Refused
from tests.bench.patience import scaled, wait_until
from tests.postgres.server import DATABASE, USER, Server

_TABLES = ("emptied", "altered", "vacuumed", "indexed", "written", "idle", "prepared")
_SCHEMA = f"""
CREATE SCHEMA life;
CREATE TABLE life.big (n int PRIMARY KEY, s varchar(10) CHECK (s IN ('open', 'closed')), t text);
{"".join(f"CREATE TABLE life.{name} AS SELECT generate_series(1, 100) AS n;" for name in _TABLES)}
CREATE MATERIALIZED VIEW life.kept AS SELECT n % 10 AS n, count(*) FROM life.written GROUP BY 1;
CREATE UNIQUE INDEX ON life.kept (n);
"""

#: Who -> what he does again and again. Each has tables of his own but the one who reads all.
LOOPS = {
    "reads": [f"SELECT count(*) FROM life.{name}" for name in _TABLES],
    "writes": ["INSERT INTO life.written VALUES (1)", "UPDATE life.written SET n = n", "DELETE FROM life.written"],
    "truncates": ["TRUNCATE life.emptied", "INSERT INTO life.emptied SELECT generate_series(1, 100)"],
    "alters": [
        "ALTER TABLE life.altered ADD COLUMN IF NOT EXISTS more int CHECK (more IN (1, 2))",
        "ALTER TABLE life.altered DROP COLUMN IF EXISTS more",
    ],
    "creates, renames, drops": [
        "CREATE TABLE IF NOT EXISTS life.made (s varchar CHECK (s IN ('a', 'b'))); INSERT INTO life.made VALUES ('a')",
        "DROP TABLE IF EXISTS life.named",
        "ALTER TABLE IF EXISTS life.made RENAME TO named",
        "DROP TABLE IF EXISTS life.named",
    ],
    "refreshes": ["REFRESH MATERIALIZED VIEW life.kept", "REFRESH MATERIALIZED VIEW CONCURRENTLY life.kept"],
    "vacuums": ["VACUUM FULL life.vacuumed", "VACUUM ANALYZE life.vacuumed"],
    "indexes": [
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS by_n ON life.indexed (n)",
        "DROP INDEX CONCURRENTLY IF EXISTS life.by_n",
    ],
    "reads for long": ["BEGIN; SELECT count(*) FROM life.big; SELECT pg_sleep(1)", "COMMIT"],
    "is idle": ["BEGIN; INSERT INTO life.idle VALUES (1)", "SELECT count(*) FROM life.idle", "ROLLBACK"],
}
#: It keeps a database from being copied or replaced, and that is said beforehand.
PREPARES = {
    "prepares": ["BEGIN; INSERT INTO life.prepared VALUES (1); PREPARE TRANSACTION 'life'", "COMMIT PREPARED 'life'"]
}
#: So long each waits between two statements: nobody works all the time.
_PAUSE = 0.05
_AGAIN = 0.1
SLOT = "life"
# A client that comes back by itself, whatever happens, and makes its slot anew.
_REPLICATION = f"""
touch /tmp/life
while test -e /tmp/life; do
  pg_recvlogical -U {USER} -d {DATABASE} -S {SLOT} -P test_decoding --create-slot --if-not-exists
  pg_recvlogical -U {USER} -d {DATABASE} -S {SLOT} --start --no-loop -f /dev/null
  sleep {_AGAIN}
done
"""


def populate(server: Server, mebibytes: int) -> None:
    """Make what they work on, with so much data beside it."""
    server.sql(_SCHEMA)
    server.sql(
        "INSERT INTO life.big SELECT n, CASE n % 2 WHEN 0 THEN 'open' ELSE 'closed' END, "
        "(SELECT string_agg(md5(concat(n, i)), '') FROM generate_series(1, 30) AS i) "
        f"FROM generate_series(1, {mebibytes * 1024}) AS n"
    )


def big(server: Server) -> str:
    """A sum over the data."""
    return server.sql("SELECT count(*) || md5(string_agg(md5(x.*::text), '' ORDER BY n)) FROM life.big AS x")


class Bystander(threading.Thread):
    """Somebody who does the same things again and again, and comes back when he is cut off."""

    def __init__(self, login: Postgres, who: str, statements: list[str], stop: threading.Event) -> None:
        super().__init__(name=who, daemon=True)
        self._login = login
        self._statements = statements
        self._stop_now = stop
        self._session: PostgresSession | None = None
        #: Seconds that the longest statement took, with all attempts; how many are done; what was refused.
        self.longest = 0.0
        self.done = 0
        self.refused: list[str] = []
        self.cut_off = 0

    def run(self) -> None:
        """Work until it is time to stop."""
        for statement in itertools.cycle(self._statements):
            began = time.monotonic()
            while not self._try(statement) and not self._stop_now.is_set():
                self._stop_now.wait(_PAUSE)
            self.longest = max(self.longest, time.monotonic() - began)
            self.done += 1
            if self._stop_now.wait(_PAUSE):
                break
        if self._session:
            self._session.__exit__(None, None, None)

    def has_done_more(self, than: int) -> bool:
        """Whether he has come further than that."""
        return self.done > than

    def _try(self, statement: str) -> bool:
        """Say whether it is done, be it in vain."""
        try:
            if self._session is None:
                self._session = PostgresSession(self._login, self.name)
                self._session.be_patient()
            self._session.query(statement)
        except OperatorError as failure:
            # An operator's intervention, a database that lets nobody in or is not there, and a connection that broke.
            if isinstance(failure, Refused) and failure.code[:2] not in ("57", "3D", "55", "08"):
                self.refused.append(f"{statement}: {failure.message}")
                return True
            self.cut_off += 1
            self._session = None
            return False
        return True


class Life:
    """All of them at work."""

    def __init__(self, server: Server, bystanders: list[Bystander]) -> None:
        self._server = server
        self.bystanders = bystanders

    def goes_on(self) -> None:
        """Wait until each of them has done something more."""
        for one, done in [(one, one.done) for one in self.bystanders]:
            wait_until(functools.partial(one.has_done_more, done), 60, f"who {one.name}", lambda: str(self.refused))

    def replicates(self) -> None:
        """Wait until the replication client is at work."""
        state = f"SELECT active FROM pg_replication_slots WHERE slot_name = '{SLOT}'"
        wait_until(lambda: self._server.sql(state, "postgres") == "t", 30, "the replication client")

    @property
    def longest(self) -> dict[str, float]:
        """Who -> seconds."""
        return {one.name: one.longest for one in self.bystanders}

    @property
    def refused(self) -> list[str]:
        """What was not done for another reason than that somebody was cut off."""
        return [words for one in self.bystanders for words in one.refused]

    @property
    def cut_off(self) -> list[str]:
        """Who was cut off."""
        return [one.name for one in self.bystanders if one.cut_off]


@contextmanager
def lively(server: Server, prepares: bool = True) -> Iterator[Life]:
    """Let them work for as long as the block takes; their waits count from its beginning."""
    login = server.stack.server()
    stop = threading.Event()
    loops = {**LOOPS, **(PREPARES if prepares else {})}
    life = Life(server, [Bystander(login, who, statements, stop) for who, statements in loops.items()])
    client = subprocess.Popen(["docker", "exec", server.container, "sh", "-c", _REPLICATION], stderr=subprocess.DEVNULL)
    try:
        for one in life.bystanders:
            one.start()
        life.goes_on()
        life.replicates()
        for one in life.bystanders:
            one.longest = 0.0
        yield life
    finally:
        stop.set()
        server.run("rm", "-f", "/tmp/life")
        _end_replication(server, client)
        for one in life.bystanders:
            one.join(scaled(60))
        server.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots", "postgres")
        server.run("psql", "-qU", USER, "-d", DATABASE, "-c", "ROLLBACK PREPARED 'life'", check=False)


def _end_replication(server: Server, client: subprocess.Popen[bytes]) -> None:
    def ended() -> bool:
        server.sql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active", "postgres")
        return client.poll() is not None

    wait_until(ended, 60, "the end of the replication client")


def table(runs: dict[str, Life]) -> str:
    """Who x run: the longest wait in seconds."""
    who: Iterable[str] = dict.fromkeys(name for life in runs.values() for name in life.longest)
    lines = [["", *runs]]
    lines += [[name, *(f"{life.longest.get(name, 0):.1f}" for life in runs.values())] for name in who]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(word.ljust(n) for word, n in zip(line, widths, strict=True)) for line in ["", *lines] if line
    )
