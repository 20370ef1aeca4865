"""PostgreSQL: a few pooled connections, and migrations in the manner of EF Core."""

import contextlib
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions

from .process import log

MIGRATIONS_DIR = Path(__file__).parent / "migrations"
CONNECTIONS = 10
SECONDS_TO_CONNECT = 5
PRODUCT_VERSION = "8.0.11"
#: How a migration begins whose statements are committed one by one.
SUPPRESS_TRANSACTION = "-- suppressTransaction"

Error = psycopg2.Error


class Database:
    """Hands out connections, and replaces those that broke."""

    def __init__(self, settings: dict[str, str], application: str) -> None:
        self._settings = settings
        self._application = application
        self._idle: queue.LifoQueue[psycopg2.extensions.connection | None] = queue.LifoQueue()
        for _ in range(CONNECTIONS):
            self._idle.put(None)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        """Lend a cursor; commit at the end, roll back when something went wrong."""
        connection = self._idle.get()
        try:
            if connection is None or connection.closed:
                connection = self._connect()
            with connection, connection.cursor() as cursor:
                yield cursor
        finally:
            self._idle.put(connection)

    def answers(self) -> bool:
        try:
            self.rows("SELECT 1")
        except Error:
            return False
        return True

    def rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Run one statement in a transaction of its own."""
        # A pooled connection may have died with the server since it was used last: then once more,
        # unless the statement had gone through and only its commit is in doubt.
        executed = False
        for last in (False, True):
            try:
                with self.transaction() as cursor:
                    cursor.execute(statement, values)
                    found = list(cursor.fetchall())
                    executed = True
                return found
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                if last or executed:
                    raise
        return []

    def migrate(self, schema: str, names: list[str]) -> None:
        """Apply what the schema's history lacks, each migration in a transaction unless it says otherwise; no lock."""
        with self.transaction() as cursor:
            # CREATE SCHEMA IF NOT EXISTS would ask for the right to create one that is there.
            cursor.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,))
            if not cursor.fetchall():
                cursor.execute(f'CREATE SCHEMA "{schema}"')
            cursor.execute(
                f'CREATE TABLE IF NOT EXISTS "{schema}"."__EFMigrationsHistory" ('
                '"MigrationId" character varying(150) NOT NULL PRIMARY KEY, '
                '"ProductVersion" character varying(32) NOT NULL)'
            )
            cursor.execute(f'SELECT "MigrationId" FROM "{schema}"."__EFMigrationsHistory"')
            applied = {row[0] for row in cursor.fetchall()}
        for name in names:
            if name in applied:
                continue
            log("info", f"Applying migration '{name}'.")
            script = (MIGRATIONS_DIR / schema / f"{name}.sql").read_text()
            if script.startswith(SUPPRESS_TRANSACTION):
                self._commit_each(script)
                script = ""
            with self.transaction() as cursor:
                if script:
                    _execute(cursor, script)
                cursor.execute(
                    f'INSERT INTO "{schema}"."__EFMigrationsHistory" VALUES (%s, %s)',
                    (name, PRODUCT_VERSION),
                )

    def _commit_each(self, script: str) -> None:
        connection = self._connect()
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in script.strip().split(";\n"):
                    _execute(cursor, statement)
        finally:
            connection.close()

    def _connect(self) -> psycopg2.extensions.connection:
        return psycopg2.connect(
            host=self._settings["host"],
            port=self._settings["port"],
            user=self._settings.get("username"),
            password=self._settings.get("password"),
            dbname=self._settings.get("database") or self._settings.get("username"),
            application_name=self._application,
            connect_timeout=SECONDS_TO_CONNECT,
            sslmode=self._settings["sslmode"],
            sslrootcert=self._settings.get("sslrootcert"),
        )


def _execute(cursor: Any, statement: str) -> None:
    """Run a migration's statement, and say in EF Core's words that it failed."""
    try:
        cursor.execute(statement)
    except Error:
        settings = "[Parameters=[], CommandType='Text', CommandTimeout='30']"
        log("error", f"Failed executing DbCommand (1ms) {settings}\n{statement.strip()}")
        raise
