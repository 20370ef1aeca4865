# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""While others work in the database every operation comes to its right end, and nobody waits longer than he has to."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from tests.bench.patience import scaled, wait_until
from tests.postgres import life
from tests.postgres.life import Life, lively
from tests.postgres.server import DATABASE, USER, Server, Servers

#: What is generated; the whole suite takes the greater one as well.
MEBIBYTES, MANY_MEBIBYTES = 16, 1024
#: A loaded machine makes everybody wait.
TOLERATED_SECONDS = 3
#: What an operation may take beyond what its data takes.
STATED_SECONDS = 120

SIZES = [MEBIBYTES, pytest.param(MANY_MEBIBYTES, marks=pytest.mark.fault_matrix)]


@pytest.fixture
def server(servers: Servers, request: pytest.FixtureRequest) -> Server:
    """A server with something to work on."""
    found = servers()
    life.populate(found, getattr(request, "param", MEBIBYTES))
    return found


@contextmanager
def in_stated_time(server: Server) -> Iterator[None]:
    """What is done in the block ends in time."""
    began = time.monotonic()
    yield
    size = int(server.sql(f"SELECT pg_database_size('{DATABASE}')", "postgres")) >> 20
    assert time.monotonic() - began < scaled(STATED_SECONDS + size / 2)


def plain_dump(server: Server) -> None:
    """Store a dump as anybody does it: a program into the other. A table that goes meanwhile makes it fail."""
    store = server.store
    dump = f"docker exec {server.container} pg_dump -U {USER} -Fc -Z0 {DATABASE}"
    environment = {
        "RESTIC_REPOSITORY": str(server.directory / "plain"),
        "RESTIC_PASSWORD_FILE": store.repository.password_file,
        "PATH": "/usr/local/bin:/usr/bin:/bin",
    }

    def shell(script: str) -> int:
        argv = ["bash", "-c", f"set -o pipefail; {script}"]
        return subprocess.run(argv, env=environment, capture_output=True, check=False).returncode

    assert shell(f"{store.program} init") == 0
    assert any(shell(f"{dump} | {store.program} backup --stdin") == 0 for _ in range(9)), "no dump succeeds"


def asserted(runs: dict[str, Life], base: str) -> None:
    """Show how long everybody has waited in each run, and that it was no longer than in the one that is the measure."""
    print(life.table(runs))
    for run, one in runs.items():
        assert one.refused == [], run
        longer = {
            who: (seconds, runs[base].longest[who])
            for who, seconds in one.longest.items()
            if seconds > 2 * runs[base].longest[who] + scaled(TOLERATED_SECONDS)
        }
        assert not longer, f"{run}: waits longer than with {base}: {longer}\n{life.table(runs)}"


@pytest.mark.parametrize("server", SIZES, indirect=True)
def test_a_backup_into_two_repositories_and_a_drill_keep_nobody_waiting(server: Server) -> None:
    runs: dict[str, Life] = {}
    wanted = life.big(server)
    operations: dict[str, Callable[[], object]] = {
        "pg_dump": lambda: plain_dump(server),
        "backup": lambda: server.backup(2),
        "drill": lambda: server.drill("server"),
    }
    for name, operation in operations.items():
        with lively(server) as runs[name], in_stated_time(server):
            operation()
            runs[name].goes_on()
    asserted(runs, "pg_dump")
    assert [name for name, one in runs.items() if one.cut_off] == []
    server.sql("DELETE FROM life.big")
    server.restore()
    assert life.big(server) == wanted


def test_a_restore_ends_while_everybody_comes_back(server: Server) -> None:
    wanted = life.big(server)
    server.backup()
    server.sql("UPDATE life.big SET t = ''")
    with lively(server, prepares=False) as run, in_stated_time(server):
        server.restore()
        run.goes_on()
        run.replicates()
    print(life.table({"restore": run}))
    assert life.big(server) == wanted
    assert run.refused == []


def test_a_copy_and_both_swaps_end_while_everybody_comes_back(server: Server) -> None:
    wanted = life.big(server)
    copying = server.database()
    with lively(server, prepares=False) as run, in_stated_time(server):
        copying.copy("guard")
        run.goes_on()
        server.sql("UPDATE life.big SET t = ''")
        copying.swap("guard", "away")
        run.goes_on()
        assert life.big(server) == wanted
        copying.swap("away", "guard")
        run.goes_on()
        run.replicates()
        assert life.big(server) != wanted
    print(life.table({"copy and swaps": run}))
    assert run.refused == []


def test_a_prepared_transaction_is_named_before_anything_is_done(server: Server) -> None:
    server.sql("BEGIN; INSERT INTO life.prepared VALUES (1); PREPARE TRANSACTION 'in the way';")
    server.backup()
    copying = server.database()
    for operation in (lambda: copying.copy("guard"), server.restore):
        with pytest.raises(OperatorError, match="in the way"):
            operation()
        # The database serves on, and has all that it had.
        assert server.sql("SELECT count(*) FROM life.prepared") == "100"
    server.sql("COMMIT PREPARED 'in the way'")
    copying.copy("guard")
    assert server.sql("SELECT count(*) FROM life.prepared", "guard") == "101"


def test_a_subscription_goes_on_after_a_way_back_and_sleeps_after_a_change_for_good(server: Server) -> None:
    server.sql("CREATE DATABASE source", "postgres")
    server.sql(
        "CREATE TABLE sent (n int PRIMARY KEY); CREATE PUBLICATION sent FOR TABLE sent; "
        "SELECT pg_create_logical_replication_slot('sent', 'pgoutput')",
        "source",
    )
    server.sql(
        "CREATE TABLE sent (n int PRIMARY KEY); "
        f"CREATE SUBSCRIPTION sent CONNECTION 'dbname=source user={USER}' PUBLICATION sent "
        "WITH (create_slot = false, copy_data = false)"
    )

    def send(row: int) -> None:
        server.sql(f"INSERT INTO sent VALUES ({row})", "source")
        arrived = f"SELECT count(*) FROM sent WHERE n = {row}"
        wait_until(lambda: server.sql(arrived) == "1", STATED_SECONDS, f"row {row}")

    copying = server.database()
    send(1)
    copying.copy("guard")
    send(2)
    copying.swap("guard", "away")
    copying.swap("away", "guard")
    send(3)
    assert server.sql("SELECT string_agg(n::text, ' ' ORDER BY n) FROM sent") == "1 2 3"
    copying.swap("guard", "away")
    assert "subscription sent sleeps" in "\n".join(copying.replaced("away"))
    enabled = "SELECT datname, subenabled FROM pg_subscription JOIN pg_database d ON d.oid = subdbid ORDER BY 1"
    assert server.sql(enabled) == "away|f\ntamma|f"


def test_a_lock_that_nobody_gives_up_is_told_and_waited_for_in_vain(server: Server) -> None:
    with server.session(application="holds on") as session:
        session.query("BEGIN; LOCK TABLE life.big IN ACCESS EXCLUSIVE MODE")
        with in_stated_time(server), pytest.raises(AssertionError, match="holds on"):
            server.backup(lock_seconds=2)
    server.backup()


def test_a_truncate_does_not_wait_for_what_comes_after_the_dump(server: Server) -> None:
    """The exporting session held a lock on what it had counted to the end of the backup into every repository."""
    waited: list[float] = []

    def told(phase: str, _words: str) -> None:
        if phase == "verify":
            with server.session() as session:
                session.query("SET lock_timeout TO '10s'")
                began = time.monotonic()
                session.query("TRUNCATE life.big")
                waited.append(time.monotonic() - began)

    server.backup(2, told)
    assert len(waited) == 2
    assert max(waited) < scaled(TOLERATED_SECONDS)
