"""PostgreSQL: a pool of connections, and migrations in the manner of EF Core 8, which takes no lock."""

import contextlib
import queue
import select
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions

from .process import log

MIGRATIONS_DIR = Path(__file__).parent / "migrations"
#: Npgsql's own limits.
CONNECTIONS = 100
SECONDS_TO_CONNECT = 15
SECONDS_OF_A_COMMAND = 30
SECONDS_OF_A_MODEL = 0.4
PRODUCT_VERSION = "8.0.11"
#: How a migration begins whose statements are committed one by one.
SUPPRESS_TRANSACTION = "-- suppressTransaction"
HISTORY = '"__EFMigrationsHistory"'

Error = psycopg2.Error


def _wait(connection: Any) -> None:
    """Wait for the server, which may have stopped to answer; a connection that it keeps waiting is lost."""
    established = connection.status != psycopg2.extensions.STATUS_SETUP
    end = time.monotonic() + (SECONDS_OF_A_COMMAND if established else SECONDS_TO_CONNECT)
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        reads = [connection] if state == psycopg2.extensions.POLL_READ else []
        writes = [connection] if state == psycopg2.extensions.POLL_WRITE else []
        if not any(select.select(reads, writes, [], max(0, end - time.monotonic()))):
            connection.close()
            raise psycopg2.OperationalError("Timeout during reading attempt")


psycopg2.extensions.set_wait_callback(_wait)


class Database:
    """Hands out connections, and replaces those that broke.

    settings: of a connection string; None when it is none that Npgsql understands, so that every use fails.
    """

    def __init__(self, settings: dict[str, str] | None) -> None:
        self._settings = settings
        self._idle: queue.LifoQueue[psycopg2.extensions.connection | None] = queue.LifoQueue()
        for _ in range(int((settings or {}).get("pool", CONNECTIONS))):
            self._idle.put(None)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        """Lend a cursor; commit at the end, roll back when something went wrong."""
        connection = self._idle.get(timeout=SECONDS_TO_CONNECT)
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
                    found = cursor.fetchall() if cursor.description else []
                    executed = True
                return found
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                if last or executed:
                    raise
        return []

    def migrate(self, folder: str, names: Iterable[str], schema: str = "") -> None:
        """Apply what the history lacks, each migration in a transaction unless it says otherwise.

        schema: where the history is made. Without one it is looked for in `public`, and made wherever the server
        puts a name without a schema.
        """
        history = f'"{schema}".{HISTORY}' if schema else HISTORY
        there = self.rows(
            "SELECT 1 FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE relname = '__EFMigrationsHistory' AND nspname = %s",
            (schema or "public",),
        )
        if not there:
            with self.transaction() as cursor:
                cursor.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,))
                # IF NOT EXISTS would ask for the right to make one that is there.
                if schema and not cursor.fetchall():
                    _execute(cursor, f'CREATE SCHEMA "{schema}"')
                _execute(
                    cursor,
                    f"CREATE TABLE {history} (\n"
                    '    "MigrationId" character varying(150) NOT NULL,\n'
                    '    "ProductVersion" character varying(32) NOT NULL,\n'
                    '    CONSTRAINT "PK___EFMigrationsHistory" PRIMARY KEY ("MigrationId")\n);',
                )
        applied = {row[0] for row in self.rows(f'SELECT "MigrationId", "ProductVersion" FROM {history}')}
        lacking = [name for name in names if name not in applied]
        if lacking:
            # So long the real thing takes for its model, and another one may begin meanwhile.
            time.sleep(SECONDS_OF_A_MODEL)
        for name in lacking:
            log("info", f"Applying migration '{name}'.")
            script = (MIGRATIONS_DIR / folder / f"{name}.sql").read_text()
            if script.startswith(SUPPRESS_TRANSACTION):
                self._commit_each(script)
                script = ""
            with self.transaction() as cursor:
                if script:
                    _execute(cursor, script)
                cursor.execute(f"INSERT INTO {history} VALUES (%s, %s)", (name, PRODUCT_VERSION))

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
        if self._settings is None:
            raise psycopg2.InterfaceError("Format of the initialization string does not conform to specification")
        return psycopg2.connect(
            host=self._settings["host"],
            port=self._settings["port"],
            user=self._settings.get("username"),
            password=self._settings.get("password"),
            dbname=self._settings.get("database") or self._settings.get("username"),
            application_name=self._settings.get("application_name", ""),
            options=_option("search_path", self._settings.get("search_path", "")),
            connect_timeout=SECONDS_TO_CONNECT,
            sslmode=self._settings["sslmode"],
            sslrootcert=self._settings.get("sslrootcert"),
        )


def postgres_error(error: Error) -> str:
    """Return an error as Npgsql words it."""
    code = f"{error.pgcode}: " if error.pgcode else ""
    kind = "Npgsql.PostgresException (0x80004005)" if code else "Npgsql.NpgsqlException (0x80004005)"
    return f"{kind}: {code}{error.diag.message_primary or str(error).strip()}"


def _option(name: str, value: str) -> str:
    """Return a setting of a session in the words of libpq."""
    escaped = value.replace("\\", "\\\\").replace(" ", "\\ ")
    return f"-c {name}={escaped}" if value else ""


def _execute(cursor: Any, statement: str) -> None:
    """Run a migration's statement, and say in EF Core's words that it failed."""
    try:
        cursor.execute(statement)
    except Error:
        settings = "[Parameters=[], CommandType='Text', CommandTimeout='30']"
        log("error", f"Failed executing DbCommand (1ms) {settings}\n{statement.strip()}")
        raise
