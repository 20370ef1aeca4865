"""A PostgreSQL server for one test run, of Debian's package, with a role that is no superuser."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from tests.bench.machine import free_port

ROLE = "tamma"
#: With everything that a connection string has to quote.
PASSWORD = "p;w'q \"u$x"
PROGRAMS = Path("/usr/lib/postgresql")


class Server:
    """Runs from `start` to `stop`; can be frozen, so that it takes connections and never answers."""

    def __init__(self, directory: Path) -> None:
        self._data, self.port = directory / "data", free_port()
        self._programs = max(PROGRAMS.glob("*/bin"), key=lambda path: int(path.parent.name))
        shutil.chown(directory, "postgres")
        secret = directory / "password"
        secret.write_text("postgres\n")
        shutil.chown(secret, "postgres")
        self._run("initdb", "-D", self._data, "-U", "postgres", "-A", "scram-sha-256", f"--pwfile={secret}")
        self.start()
        self.query("CREATE ROLE %s LOGIN PASSWORD '%s'" % (ROLE, PASSWORD.replace("'", "''")))

    def start(self) -> None:
        options = f"-p {self.port} -k {self._data} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run("pg_ctl", "-D", self._data, "-o", options, "-l", self._data / "log", "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", self._data, "-m", "fast", "-w", "stop")

    def freeze(self, frozen: bool) -> None:
        first = (self._data / "postmaster.pid").read_text().split()[0]
        others = subprocess.run(["pgrep", "-P", first], capture_output=True, text=True, check=False).stdout.split()
        for process in (first, *others):
            os.kill(int(process), signal.SIGSTOP if frozen else signal.SIGCONT)

    def query(self, *words: str, database: str = "postgres", user: str = "postgres") -> list[str]:
        """Run a statement, or psql with other words; return the rows, their values separated by `|`."""
        words = words if words[0].startswith("-") else ("-c", words[0])
        command = ["psql", "-AtqX", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port), "-U", user]
        password = PASSWORD if user == ROLE else "postgres"
        done = subprocess.run(
            [*command, "-d", database, *words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PGPASSWORD": password},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def _run(self, program: str, *words: object) -> None:
        subprocess.run(
            ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", self._programs / program, *words],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )


class Database:
    """One database of the server; the role owns it."""

    def __init__(self, server: Server, name: str) -> None:
        self.server, self.name = server, name
        server.query(f"CREATE DATABASE {name} OWNER {ROLE}")

    def string(self, more: str = "", password: str = PASSWORD, name: str = "", port: int = 0) -> str:
        """Return an Npgsql connection string."""
        quoted = '"' + password.replace('"', '""') + '"'
        where = f"Host=127.0.0.1;Port={port or self.server.port};Database={name or self.name}"
        return f"{where};Username={ROLE};Password={quoted};{more}"

    def query(self, *words: str) -> list[str]:
        return self.server.query(*words, database=self.name, user=ROLE)

    def tables(self) -> list[str]:
        return self.query(
            "SELECT schemaname || '.' || tablename FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
        )
