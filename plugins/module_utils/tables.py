# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stack's database has to hold before its services start, and where: in ``public``, where they look.

Former versions of this collection made schemas called *tamma* and *elsa*. PostgreSQL puts what a role makes into the
schema of its name, and Entity Framework looks for it in ``public``: so the tables of a stack of then are moved.
"""

from __future__ import annotations

import dataclasses
import re
from typing import List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils import servers
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.logins import Postgres, PostgresSession, examine

INIT_SQL = "postgres/init-db.sql"

# How the init SQL says which one it is, in the database too.
_MARK = re.compile(r"COMMENT ON FUNCTION public\.mentorship_touch\(\) IS '([^']*)'")
_MARK_FOUND = "SELECT obj_description(to_regprocedure('public.mentorship_touch()'), 'pg_proc')"

# A release with migrations makes its own tables: a row of this table tells, wherever it is by now.
_HISTORY = "__EFMigrationsHistory"
_HISTORY_THERE = """SELECT to_regclass('public."%s"')""" % _HISTORY

# What lies in the schemas that former versions made: schema, name, how it is moved, and whether public has that name.
# What belongs to a table moves with it, and what an extension has made is not ours. An index can be in the way too.
_ASTRAY = """
WITH ours AS (SELECT oid, nspname FROM pg_namespace WHERE nspname IN ('tamma', 'elsa')),
  owned AS (SELECT objid FROM pg_depend WHERE deptype IN ('a', 'i')
    AND classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass)
SELECT nspname, relname, format('ALTER %s %I.%I SET SCHEMA public', CASE relkind WHEN 'v' THEN 'VIEW'
    WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END,
    nspname, relname), to_regclass(format('public.%I', relname)) IS NOT NULL
  FROM pg_class c JOIN ours ON ours.oid = relnamespace
  WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND NOT (relkind = 'S' AND c.oid IN (SELECT objid FROM owned))
    AND c.oid NOT IN (SELECT objid FROM pg_depend WHERE deptype = 'e')
UNION ALL SELECT nspname, relname, NULL, true
  FROM pg_class c JOIN ours ON ours.oid = relnamespace
  WHERE relkind IN ('i', 'I') AND to_regclass(format('public.%I', relname)) IS NOT NULL
UNION ALL SELECT nspname, proname, format('ALTER ROUTINE %s SET SCHEMA public', p.oid::regprocedure),
    EXISTS (SELECT FROM pg_proc o WHERE o.proname = p.proname AND o.proargtypes = p.proargtypes
      AND o.pronamespace = 'public'::regnamespace)
  FROM pg_proc p JOIN ours ON ours.oid = pronamespace
  WHERE p.oid NOT IN (SELECT objid FROM pg_depend WHERE deptype = 'e')
UNION ALL SELECT nspname, typname, format('ALTER %s %I.%I SET SCHEMA public',
    CASE typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, nspname, typname),
    to_regtype(format('public.%I', typname)) IS NOT NULL
  FROM pg_type t JOIN ours ON ours.oid = typnamespace
  WHERE (typtype IN ('e', 'd', 'r') OR typtype = 'c' AND (SELECT relkind FROM pg_class WHERE oid = typrelid) = 'c')
    AND t.oid NOT IN (SELECT objid FROM pg_depend WHERE deptype = 'e')
ORDER BY 1, 2, 3"""

# Those of the schemas that are empty and belong to whoever asks.
_EMPTY = """
SELECT format('DROP SCHEMA %I', nspname) FROM pg_namespace n
WHERE nspname IN ('tamma', 'elsa') AND pg_has_role(nspowner, 'USAGE')
  AND NOT EXISTS (SELECT FROM pg_depend WHERE refclassid = 'pg_namespace'::regclass AND refobjid = n.oid)
ORDER BY 1"""

# The services' own sessions hold no lock for long; whoever does is not waited for.
_BEGIN = "BEGIN; SET LOCAL lock_timeout = '20s'; SET LOCAL search_path = public"


class Unreachable(OperatorError):
    """The stack's own server does not run, or lets nobody in."""


class _Astray(NamedTuple):
    """A thing in one of the schemas that former versions made. move: a statement; empty for what cannot be moved."""

    schema: str
    name: str
    move: str
    taken: bool


class State(NamedTuple):
    """What was found in a database. run: whether it needs the init SQL."""

    astray: Tuple[_Astray, ...]
    drops: Tuple[str, ...]
    run: bool


@dataclasses.dataclass(frozen=True)
class Preparation:
    """What a database needs before the services start on it."""

    server: Postgres
    sql: str
    state: State

    @property
    def steps(self) -> List[str]:
        """What would be done, a line for each step."""
        where = "in the database %s of %s" % (self.server.database, self.server)
        names = sorted({"%s.%s" % (item.schema, item.name) for item in self.state.astray if item.move})
        steps = ["move %s to the schema public %s" % (", ".join(names), where)] if names else []
        steps += ["remove the empty schema %s %s" % (drop.split()[-1], where) for drop in self.state.drops]
        return steps + (["run %s %s" % (INIT_SQL, where)] if self.state.run else [])


def look(session: PostgresSession, sql: str) -> State:
    """Find out what a database lacks of *sql*, and what lies where nobody looks; reads only.

    Raises OperatorError when the same name is in two places: which one is right, only somebody else can say.
    """
    astray = tuple(_Astray(row[0] or "", row[1] or "", row[2] or "", row[3] == "t") for row in session.query(_ASTRAY))
    twice = sorted({(item.schema, item.name) for item in astray if item.taken})
    if twice:
        raise OperatorError(
            "The database has %s twice: the services read what is in public, and a former version of this collection "
            "made them write elsewhere. Look into both, and remove or rename the one that is not needed. Nothing was "
            "changed." % " and ".join("%s (in %s and in public)" % (name, schema) for schema, name in twice)
        )
    return State(astray, tuple(row[0] or "" for row in session.query(_EMPTY)), _lacks(session, sql, astray))


def _lacks(session: PostgresSession, sql: str, astray: Tuple[_Astray, ...]) -> bool:
    """Whether the init SQL has to run: not where it was run, nor where a release migrates its tables itself."""
    mark = _MARK.search(sql)
    if mark and session.query(_MARK_FOUND) == [[mark.group(1)]]:
        return False
    schemas = [item.schema for item in astray if item.name == _HISTORY]
    if session.query(_HISTORY_THERE)[0][0]:
        schemas.append("public")
    # Interpolated are names from above.
    return not any(session.query('SELECT FROM %s."%s" LIMIT 1' % (name, _HISTORY)) for name in schemas)


def of_own(server: Postgres, files: Mapping[str, str]) -> Optional[Preparation]:
    """What the database of the stack's own server needs; None when it needs nothing.

    files: path → content of the release's files. Raises Unreachable when one cannot log in.
    """
    try:
        login = PostgresSession(server)
    except OperatorError as exc:
        raise Unreachable(exc.message) from exc
    with login as session:
        return _needs(session, server, files)


def of_external(values: Mapping[str, str], files: Mapping[str, str]) -> Optional[Preparation]:
    """What the external database of ``.env`` needs, if there is one.

    Raises OperatorError when one cannot log in, or the database cannot be used.
    """
    for server in servers.external_postgres(values, files.get(servers.POSTGRES_CA, "")):
        with PostgresSession(server) as session:
            problems = examine(session, server).problems
            if problems:
                raise OperatorError("\n".join(problems))
            return _needs(session, server, files)
    return None


def _needs(session: PostgresSession, server: Postgres, files: Mapping[str, str]) -> Optional[Preparation]:
    sql = files.get(INIT_SQL, "")
    # A release that a former version of this collection has made looks where that made its schemas.
    if not _MARK.search(sql):
        return None
    found = Preparation(server, sql, look(session, sql))
    return found if found.steps else None


def prepare(preparation: Preparation) -> None:
    """Do what is needed, in one transaction."""
    try:
        with PostgresSession(preparation.server) as session:
            # An index on a large table takes its time; for a lock there is a limit.
            session.be_patient()
            session.query(_BEGIN)
            # Anew: what was found may be a while ago.
            state = look(session, preparation.sql)
            # Routines first: their statements name the types of their arguments where these are now.
            for item in sorted(state.astray, key=lambda one: not one.move.startswith("ALTER ROUTINE")):
                if item.move:
                    session.query(item.move)
            for (drop,) in session.query(_EMPTY):
                session.query(drop or "")
            if state.run:
                session.query(preparation.sql)
            session.query("COMMIT")
    except OperatorError as exc:
        raise OperatorError(
            "The database was not prepared, and not changed. %s Or have somebody who may run %s of the stack's "
            "directory." % (exc.message, INIT_SQL),
            **exc.facts,
        ) from exc
