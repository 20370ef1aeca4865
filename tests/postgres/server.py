# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stack that is a PostgreSQL container alone on the bench's engine, and what is done to it as the tools do it."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import yaml

from ansible_collections.meywd.tamma.plugins.module_utils.backup import Progress, Taken, Taking
from ansible_collections.meywd.tamma.plugins.module_utils.compose import find_compose
from ansible_collections.meywd.tamma.plugins.module_utils.database import Database
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.logins import PostgresSession
from ansible_collections.meywd.tamma.plugins.module_utils.planner import STORED_LABEL
from ansible_collections.meywd.tamma.plugins.module_utils.restic import Repository, Restic
from ansible_collections.meywd.tamma.plugins.module_utils.restore import Drill, Restoring
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack
from tests.bench import images
from tests.bench.names import LABEL
from tests.bench.patience import wait_until

USER = DATABASE = "tamma"
#: Nobody's machine fails while a test runs; and with these a database has every sort of client.
SETTINGS = {"fsync": "off", "wal_level": "logical", "max_prepared_transactions": "10"}
_NUMBERS = itertools.count(1)


class Server:
    """One such stack with two repositories, and a database that is empty at first."""

    def __init__(self, directory: Path, version: int, settings: Mapping[str, str]) -> None:
        self.directory = directory
        self.version = version
        self.project = f"tamma-zoo-{os.getpid()}-{next(_NUMBERS)}"
        self.told: list[tuple[str, str]] = []
        program = find_compose()
        assert program, "the bench's engine has no Compose"
        self._program = program
        self._write({**SETTINGS, **settings})
        self.compose("up", "--detach", "--wait")

    def _write(self, settings: Mapping[str, str]) -> None:
        names = ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB")
        values = dict(zip(names, (USER, "no secret of anybody", DATABASE), strict=True))
        service = {
            "image": images.tag("postgres" if self.version == 15 else f"postgres-{self.version}"),
            "command": ["postgres", *(word for pair in settings.items() for word in ("-c", "=".join(pair)))],
            "init": True,
            "environment": {name: f"${{{name}}}" for name in names},
            "labels": {STORED_LABEL: " ".join(names), LABEL: "test"},
            "volumes": ["data:/var/lib/postgresql/data"],
            # While it is made ready it listens on no address.
            "healthcheck": {
                "test": ["CMD", "pg_isready", "--host", "127.0.0.1", "--username", USER],
                "start_period": "60s",
                "start_interval": "200ms",
            },
        }
        project = {"services": {"postgres": service}, "volumes": {"data": {}}}
        (self.directory / "docker-compose.yml").write_text(yaml.safe_dump(project), encoding="utf-8")
        (self.directory / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in values.items()))
        (self.directory / "password").write_text("of two repositories", encoding="utf-8")

    def compose(self, *words: str) -> None:
        """Run Compose on the stack."""
        argv = [self._program, "--project-name", self.project, *words]
        subprocess.run(argv, cwd=self.directory, check=True, capture_output=True)

    def remove(self) -> None:
        """Remove the stack with its data; its repositories stay."""
        self.compose("down", "--volumes", "--timeout", "0")

    def emptied(self) -> None:
        """Put a server in its place that has nothing, as after the loss of the host."""
        self.remove()
        self.compose("up", "--detach", "--wait")

    # -- as anybody uses the server ---------------------------------------------------------

    @property
    def container(self) -> str:
        """The name of its container."""
        return f"{self.project}-postgres-1"

    def run(self, *words: str, stdin: str = "", check: bool = True) -> str:
        """Run a program in the container and return what it printed."""
        quietly = ["--env", "PGOPTIONS=-c client_min_messages=warning"]
        argv = ["docker", "exec", "-i", *quietly, self.container, *words]
        done = subprocess.run(argv, input=stdin.encode(), capture_output=True, check=False)
        assert not check or done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout.decode()

    def sql(self, script: str, database: str = DATABASE, *options: str) -> str:
        """Run a script with psql, statement by statement, up to the first error."""
        argv = ["psql", "-v", "ON_ERROR_STOP=1", "-qXAt", "-U", USER, "-d", database, *options]
        return self.run(*argv, stdin=script).removesuffix("\n")

    def session(self, database: str = DATABASE, application: str = "zoo") -> PostgresSession:
        """A login of somebody else."""
        return PostgresSession(self.stack.server(database), application)

    def fresh(self, options: str = "") -> None:
        """Make the stack's database anew, remove every other one and all roles, and forget the backups.

        options: of CREATE DATABASE.
        """
        # A subscription keeps its database, and a slot with a client the one of the other side.
        ends = (
            "DELETE FROM pg_subscription; SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE backend_type ~ '^(walsender|logical replication .*worker)$'"
        )
        wait_until(lambda: not self.sql(ends, "postgres"), 60, "the end of replication")
        names = [quoted(name) for name in self.databases()]
        drops = [f"ALTER DATABASE {one} IS_TEMPLATE false; DROP DATABASE {one} WITH (FORCE);" for one in names]
        roles = (
            "SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> CURRENT_USER"
        )
        script = [*drops, f"{roles} \\gexec", f"CREATE DATABASE {DATABASE} TEMPLATE template0 {options};"]
        self.sql("\n".join(script), "postgres")
        for repository in self.repositories:
            shutil.rmtree(repository.location, ignore_errors=True)

    def databases(self) -> list[str]:
        """The databases, without those that every server has."""
        found = self.sql(
            "SELECT datname FROM pg_database WHERE datname <> 'postgres' AND datname !~ '^template[01]$'", "postgres"
        )
        return found.split("\n") if found else []

    # -- as the tools do --------------------------------------------------------------------

    def progress(self, phase: str, words: str) -> None:
        """What a tool tells of itself."""
        self.told.append((phase, words))

    @property
    def stack(self) -> Stack:
        """The stack as a tool finds it."""
        return Stack(self.project, str(self.directory), Engine(), self._program)

    @property
    def repositories(self) -> list[Repository]:
        """Two places for backups."""
        password = str(self.directory / "password")
        return [Repository(name, str(self.directory / name), password) for name in ("first", "second")]

    @property
    def store(self) -> Restic:
        """The first of them."""
        return Restic(self.repositories[0], self.stack.runner)

    def backup(self, repositories: int = 1, progress: Progress | None = None, lock_seconds: float = 60) -> list[Taken]:
        """Take a backup that is good in all of them."""
        stores = self.repositories[:repositories]
        taking = Taking(self.stack, stores, progress or self.progress, lock_seconds=lock_seconds)
        taken = taking.take("test", [], self._told_of)
        problems = [one.problem for one in taken if one.problem]
        assert not problems, "\n".join(problems)
        assert len(taken) == repositories
        return taken

    def _told_of(self, one: Taken) -> None:
        self.told.append(("taken", one.repository))

    def drill(self, where: str) -> None:
        """Prove the newest backup: beside the live database ("server"), or elsewhere ("container")."""
        Drill(self.stack, self.progress, where).run(self.store)

    def restore(self) -> None:
        """Put the newest backup in the place of the database."""
        restoring = Restoring(self.stack, self.progress)
        restoring.apply(self.store, restoring.plan(self.store, "latest", ["database"]))

    def database(self) -> Database:
        """The database as updates handle it."""
        return Database(self.stack)


def quoted(name: str) -> str:
    """A name quoted for SQL."""
    return '"%s"' % name.replace('"', '""')


Servers = Callable[..., Server]


@contextmanager
def servers(directory: Callable[[], Path]) -> Iterator[Servers]:
    """Servers by version and settings, each started when it is first asked for, with an empty database each time."""
    started: dict[tuple[int, Sequence[tuple[str, str]]], Server] = {}

    def server(version: int = 15, settings: Mapping[str, str] = MappingProxyType({})) -> Server:
        key = version, tuple(sorted(settings.items()))
        if key in started:
            started[key].fresh()
        else:
            started[key] = Server(directory(), version, settings)
        return started[key]

    try:
        yield server
    finally:
        for one in started.values():
            one.remove()
