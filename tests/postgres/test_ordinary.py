# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ordinary databases of which PostgreSQL's own programs keep less, or other things, than the server has.

A backup of them counts, so it has to be restored: each of these once made a good backup useless.
"""

from __future__ import annotations

import contextlib

import pytest

from tests.postgres.server import DATABASE, Server, Servers

#: Made by the image's superuser where PostgreSQL looks for extensions.
EXTENSION = r"""
cd "$(dirname "$(find / -name plpgsql.control -path '*extension*' 2>/dev/null | head -1)")"
printf "default_version='1'\nrelocatable=true\n" > ordinary.control
printf "CREATE TABLE ordinary_config (n int); INSERT INTO ordinary_config VALUES (1);
SELECT pg_extension_config_dump('ordinary_config', '');
CREATE SEQUENCE ordinary_numbers; SELECT pg_extension_config_dump('ordinary_numbers', '');" > ordinary--1.sql
"""
CASES = {
    "somebody has made public anew": "DROP SCHEMA public CASCADE; CREATE SCHEMA public;",
    "and PL/pgSQL": "DROP EXTENSION plpgsql; CREATE EXTENSION plpgsql;",
    "an extension with rows of its users": """CREATE EXTENSION ordinary;
        INSERT INTO ordinary_config VALUES (2); SELECT nextval('ordinary_numbers');
        CREATE INDEX mine ON ordinary_config (n);""",
    "rows that a dump has at the root of their partitions": """CREATE TYPE colour AS ENUM ('red', 'green', 'blue');
        CREATE TABLE hashed (c colour, n int) PARTITION BY HASH (c);
        CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        INSERT INTO hashed
        SELECT (ARRAY['red', 'green', 'blue']::colour[])[n % 3 + 1], n FROM generate_series(1, 90) n;""",
    "what somebody has made in the server's own schema": """SET allow_system_table_mods TO on;
        CREATE FUNCTION pg_catalog.ordinary() RETURNS int LANGUAGE sql AS 'SELECT 1'; RESET allow_system_table_mods;""",
    "a range that was renamed": "CREATE TYPE span AS RANGE (SUBTYPE = int4); ALTER TYPE span RENAME TO reach;",
    "a setting that is an empty list": """SELECT set_config('search_path', '', false);
        ALTER DATABASE tamma SET search_path FROM CURRENT; RESET search_path;""",
    "everything quoted": "ALTER DATABASE tamma SET quote_all_identifiers TO on;",
    "words that another version quotes": 'CREATE TABLE json_value ("json" int); INSERT INTO json_value VALUES (1);',
    "an index that could not be made": "CREATE TABLE twice AS SELECT 1 AS n FROM generate_series(1, 2);",
}
#: As in PostgreSQL's documentation: who logs in leaves a row.
LOGIN = """
CREATE TABLE public.logins (who text);
CREATE FUNCTION public.note_login() RETURNS event_trigger SECURITY DEFINER LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO public.logins VALUES (session_user); END $$;
CREATE EVENT TRIGGER note_login ON login EXECUTE FUNCTION public.note_login();
ALTER EVENT TRIGGER note_login ENABLE ALWAYS;
"""


@pytest.fixture
def ordinary(servers: Servers, request: pytest.FixtureRequest) -> Server:
    server = servers(request.param)
    server.run("sh", "-c", EXTENSION)
    server.sql("\n".join(CASES.values()))
    with contextlib.suppress(AssertionError):
        server.sql("CREATE UNIQUE INDEX CONCURRENTLY once ON public.twice (n)")
    assert server.sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'public.once'::regclass") == "f"
    if request.param >= 17:
        server.sql(LOGIN)
    return server


@pytest.mark.parametrize("ordinary", [15, 17], indirect=True)
def test_a_backup_of_an_ordinary_database_is_restored(ordinary: Server) -> None:
    ordinary.backup()
    ordinary.drill("server")
    ordinary.sql("DROP TABLE public.hashed, public.json_value")
    ordinary.restore()
    assert ordinary.sql("SELECT count(*) FROM public.hashed") == "90"
    assert ordinary.sql("SELECT count(*) FROM public.json_value") == "1"
    copying = ordinary.database()
    assert copying.copy("guard") == []
    copying.swap("guard", "away")
    assert ordinary.sql("SELECT count(*) FROM public.hashed") == "90"
    # Whoever logs in is noticed again.
    if ordinary.version >= 17:
        before = int(ordinary.sql("SELECT count(*) FROM public.logins"))
        assert int(ordinary.sql("SELECT count(*) FROM public.logins")) > before


@pytest.mark.parametrize("ordinary", [15], indirect=True)
def test_a_later_version_takes_it(ordinary: Server, servers: Servers) -> None:
    """Versions differ in the words that they quote."""
    ordinary.sql("DROP EXTENSION ordinary CASCADE")
    ordinary.backup()
    later = servers(17)
    later.restore(ordinary)
    assert later.sql("SELECT count(*) FROM public.json_value") == "1"


def test_a_role_that_owns_its_database_and_may_make_others_needs_no_more(servers: Servers) -> None:
    server = servers()
    env = server.directory / ".env"
    before = env.read_text(encoding="utf-8")
    password = before.partition("POSTGRES_PASSWORD='")[2].partition("'")[0]
    server.sql(
        f"CREATE ROLE app LOGIN CREATEDB PASSWORD '{password}'; ALTER DATABASE {DATABASE} OWNER TO app; "
        f"ALTER DATABASE {DATABASE} SET log_min_duration_statement TO '1s'; "
        f"ALTER ROLE {DATABASE} IN DATABASE {DATABASE} SET work_mem TO '8MB'; "
        "CREATE TABLE theirs AS SELECT generate_series(1, 7) AS n; ALTER TABLE theirs OWNER TO app"
    )
    env.write_text(before.replace("POSTGRES_USER='tamma'", "POSTGRES_USER='app'"), encoding="utf-8")
    try:
        server.backup()
        server.drill("server")
        server.sql("DELETE FROM theirs")
        server.restore()
        assert server.sql("SELECT count(*) FROM theirs") == "7"
        copying = server.database()
        told = copying.copy("guard")
        copying.swap("guard", "away")
        assert server.sql("SELECT count(*) FROM theirs") == "7"
        # What only a superuser may set is told, and keeps nothing from its end.
        assert any("log_min_duration_statement" in words for words in told + [words for _, words in server.told])
    finally:
        env.write_text(before, encoding="utf-8")
        server.sql("ALTER DATABASE tamma OWNER TO tamma; DROP OWNED BY app; ", "postgres")


def test_a_database_whose_removal_was_cut_off_is_in_nobodys_way(servers: Servers) -> None:
    server = servers()
    for name in ("tamma_drill", "tamma_compared", "tamma_restoring"):
        server.sql(f"CREATE DATABASE {name} TEMPLATE template0", "postgres")
        server.sql(f"UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{name}'", "postgres")
    server.backup()
    server.drill("server")
    server.restore()
    assert [name for name in server.databases() if name.endswith(("_drill", "_compared", "_restoring"))] == []
