# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A production stack whose database is one that people have: every kind of object, and clients that come back.

tests/postgres has the same objects and clients on PostgreSQL alone; this is what only a whole stack can show.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

import pytest

from tests.bench import faults
from tests.bench.faults import Fault
from tests.integration.conftest import Stack
from tests.integration.test_update_faults import (
    BACKUPS,
    KILLED,
    KILLED_OPERATOR,
    NEW,
    OLD,
    ROLLED_BACK,
    RUINOUS,
    Releases,
)
from tests.postgres import zoo
from tests.postgres.facts import Facts, contents, differences, of_database

pytestmark = pytest.mark.other_stack

POSTGRES = "tamma-postgres-1"
VOLUME = "/var/lib/docker/volumes/tamma_tamma-pg-data/_data"
#: What is in the server that the tests of clients need.
SERVER = {"services": {"postgres": {"command": "postgres -c wal_level=logical -c max_prepared_transactions=10"}}}
#: A publication of its own is what somebody has who copies the tables elsewhere. He comes back ten times a second.
CLIENT = (
    "pg_recvlogical -U tamma -d tamma --slot copies --create-slot --if-not-exists; "
    "pg_recvlogical -U tamma -d tamma --slot copies --start --no-loop -f /dev/null"
)
#: What belongs to the database as an object.
OF_THE_DATABASE = """
COMMENT ON DATABASE tamma IS 'it''s theirs';
ALTER DATABASE tamma CONNECTION LIMIT 90;
ALTER DATABASE tamma SET work_mem TO '9MB';
ALTER ROLE zoo_owner IN DATABASE tamma SET search_path TO '';
GRANT CREATE ON DATABASE tamma TO zoo_owner WITH GRANT OPTION;
"""
#: Nothing of what releases migrate.
OURS = ("public", "Elsa")
LEFT = f"ls -A /run/tamma | grep -v '^tamma.lock$'; ls {VOLUME} | grep ^tamma-; true"


class Real(Releases):
    """Such a stack."""

    def run(self, *words: str, stdin: str = "") -> str:
        """Run one of PostgreSQL's programs where the server is."""
        argv = ["docker", "exec", "-i", self.stack.container, "docker", "exec", "-i", POSTGRES, *words]
        done = subprocess.run(argv, input=stdin.encode(), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout.decode()

    def sql(self, script: str, database: str = "tamma", *options: str) -> str:
        argv = ["psql", "-v", "ON_ERROR_STOP=1", "-qXAt", "-U", "tamma", "-d", database, *options]
        return self.run(*argv, stdin=script).removesuffix("\n")

    def facts(self, database: str = "tamma") -> Facts:
        """What is in a database and on it, but for what releases migrate."""
        found = contents(self.run, database) | of_database(self.run, database)
        return {key: value for key, value in found.items() if not key.startswith(OURS)}

    def on_the_same_trip(self) -> Facts:
        """What PostgreSQL's own programs make of the database by a dump and a restore."""
        self.sql("CREATE DATABASE reference TEMPLATE template0", "postgres")
        self.sql(self.run("pg_dump", "--username", "tamma", "tamma"), "reference")
        found = self.facts("reference")
        self.sql("DROP SUBSCRIPTION subscriptions_sleeping", "reference")
        self.sql("DROP DATABASE reference", "postgres")
        return {**found, **of_database(self.run, "tamma")}

    @contextlib.contextmanager
    def copied_elsewhere(self) -> Iterator[None]:
        """A client of a replication slot that connects again whenever it is cut off."""
        loop = f"while true; do docker exec {POSTGRES} sh -c '{CLIENT}'; sleep 0.1; done"
        self.stack.shell(f'systemd-run -q --unit copier sh -c "{loop}"')
        try:
            yield
        finally:
            self.stack.shell(f"systemctl stop copier; docker exec {POSTGRES} pkill pg_recvlogical; true")

    def slots(self) -> set[str]:
        """The databases that have replication slots."""
        return set(self.sql("SELECT DISTINCT database FROM pg_replication_slots").split())


@pytest.fixture(scope="module")
def real(stack: Stack) -> Real:
    found = Real(stack, **BACKUPS, tamma_stack_overrides=SERVER)
    found.begin_with_the_old_version()
    version = int(found.sql("SHOW server_version_num")) // 10000
    # An extension that one of them makes is there already.
    zoo.populate(found, [kind for kind in zoo.kinds(version) if kind != "extensions"])
    found.sql(OF_THE_DATABASE)
    return found


def test_an_operator_that_dies_in_the_backup_of_an_update_leaves_nothing(real: Real) -> None:
    for effect in ("pg_dump #1", "restic backup #2"):
        with faults.tried(KILLED_OPERATOR):
            assert real("update", NEW, fault=Fault("after", effect)).status == KILLED
            assert real.stack.shell(LEFT).split(), "nothing was left to be removed"
            assert real.well("resume")["completed"] == ["backup"]
            assert real.stack.shell(LEFT).split() == []
            assert real.serving()["version"] == OLD


def test_what_keeps_a_database_from_being_copied_is_told_before_anything_stops(real: Real) -> None:
    real.well("backup")
    before = real.stack.containers()
    real.sql("BEGIN; CREATE TABLE left_open (); PREPARE TRANSACTION 'it''s open'")
    for words in (("update", NEW), ("restore", "latest", "--yes")):
        answer = real(*words)
        assert answer.status == 1, answer.said
        assert "the prepared transaction 'it''s open' of the user tamma" in answer.said
    assert "it''s open" in real.well("update", NEW, "--plan")["update"]["comes"]
    assert real.stack.containers() == before
    real.sql("ROLLBACK PREPARED 'it''s open'")


def test_every_kind_of_object_survives_every_way_while_a_client_comes_back(real: Real) -> None:
    """Status 0, or 5 with the former release serving; never anything else."""
    before = real.facts()
    trip = real.on_the_same_trip()
    with real.copied_elsewhere():
        updated = real("update", NEW)
        assert updated.status == 0, updated.said
        assert 'walsender "pg_recvlogical"' in updated.said
        assert differences(real.facts(), before) == {}

        back = real("rollback", "--yes")
        assert back.status == 0, back.said
        assert "the replication slot copies was one of the database" in back.said
        assert differences(real.facts(), before) == {}

        failed = real("update", RUINOUS)
        assert failed.status == ROLLED_BACK, failed.said
        assert differences(real.facts(), before) == {}
        assert real.one_serves(real.every(), OLD) == OLD

        real.sql("DROP TABLE checks.varchars CASCADE")
        restored = real("restore", "latest", "--yes")
        assert restored.status == 0, restored.said
        assert differences(real.facts(), trip) == {}
        assert real("drill").status == 0
        # Nothing but the live database has a slot, which would keep WAL for ever.
        assert real.slots() <= {"tamma"}
    assert real.stack.shell(LEFT).split() == []
    assert real.databases() == {item["name"] for item in real("backups").result["kept"] if item["kind"] == "database"}


def test_a_database_that_somebody_has_renamed_is_seen(real: Real) -> None:
    stop = "cd /opt/tamma && docker compose stop elsa-server tamma-api tamma-api-dotnet tamma-engine >/dev/null 2>&1"
    real.stack.shell(stop)
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'tamma'"
    real.sql(f"{end}; ALTER DATABASE tamma RENAME TO hidden", "postgres")
    try:
        for command in ("status", "doctor"):
            answer = real(command)
            assert answer.status == 3
            assert "has no database tamma, which the services use; it has hidden" in str(answer.result)
    finally:
        real.sql("ALTER DATABASE hidden RENAME TO tamma", "postgres")
        before = [one["number"] for one in real.every()]
        outcome = real.play("site", tamma_stack_version=OLD)
        assert outcome.status == 0, outcome.output
    # What was only started again is no release.
    assert [one["number"] for one in real.every()] == before
