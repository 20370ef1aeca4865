# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stack's database has to hold before its services start, and where: in ``public``, where they look.

Former versions of this collection made schemas called *tamma* and *elsa*. PostgreSQL puts what a role makes into the
schema of its name, and Entity Framework looks for it in ``public``: so the tables of a stack of then are moved. That is
done once: afterwards the database has a mark, and what lies in such a schema is somebody's purpose.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils import servers
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.logins import Postgres, PostgresSession, examine

INIT_SQL = "postgres/init-db.sql"

# How the init SQL says which one it is, in the database too. Where it does not run, the table of migrations says it.
_MARK = re.compile(r"COMMENT ON FUNCTION public\.mentorship_touch\(\) IS '([^']*)'")
_OURS = "init-db.sql "
_MARKS = """
SELECT obj_description(to_regprocedure('public.mentorship_touch()'), 'pg_proc'),
  obj_description(to_regclass('public."__EFMigrationsHistory"'), 'pg_class')"""

# A release with migrations makes its own tables: a row of this table tells, wherever it is by now.
_HISTORY = "__EFMigrationsHistory"
_HISTORIES = """
SELECT nspname, pg_get_userbyid(relowner) = current_user FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relname = '__EFMigrationsHistory' AND relkind = 'r' AND (nspname = 'public'
  OR nspname IN ('tamma', 'elsa') AND pg_get_userbyid(relowner) = current_user)
ORDER BY nspname DESC"""

# What the services of then made, where no migration did: the history, and the tables and views of Tamma's own init SQL.
_KNOWN = (
    _HISTORY,
    "junior_developers",
    "stories",
    "mentorship_sessions",
    "mentorship_events",
    "mentorship_analytics",
    "blocker_history",
    "quality_gate_results",
    "code_review_records",
    "active_sessions",
    "session_summary",
    "junior_progress",
)

# What lies in the schemas that former versions made, and is the services': kind, schema, name, how it is moved, under
# what it must be alone, and whether public has that already. Of the role's own things those with a known name, and the
# routines of their triggers; everything where migrations were made. What belongs to a table moves with it, and can be
# in the way too; what an extension has made is not ours.
_ASTRAY = """
WITH ours AS (SELECT oid, nspname, nspname IN (%(migrated)s) AS whole FROM pg_namespace
    WHERE nspname IN ('tamma', 'elsa')),
  moved AS (SELECT c.oid, nspname, relname, relkind FROM pg_class c JOIN ours ON ours.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND pg_get_userbyid(relowner) = current_user
    AND (whole OR relname IN (%(known)s)) AND NOT (relname = '__EFMigrationsHistory' AND nspname IN (%(gone)s))
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid
      AND (deptype = 'e' OR relkind = 'S' AND deptype IN ('a', 'i') AND refclassid = 'pg_class'::regclass)))
SELECT 'relation', nspname, relname, format('ALTER %%s %%I.%%I SET SCHEMA public', CASE relkind WHEN 'v' THEN 'VIEW'
    WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END,
    nspname, relname), relname::text,
    to_regclass(format('public.%%I', relname)) IS NOT NULL OR to_regtype(format('public.%%I', relname)) IS NOT NULL
  FROM moved
UNION ALL SELECT 'relation', nspname, c.relname, NULL, c.relname::text,
    to_regclass(format('public.%%I', c.relname)) IS NOT NULL
  FROM moved JOIN LATERAL (SELECT indexrelid AS oid FROM pg_index WHERE indrelid = moved.oid
    UNION ALL SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass
      AND refobjid = moved.oid AND deptype IN ('a', 'i')) own ON true JOIN pg_class c ON c.oid = own.oid
  WHERE c.relkind IN ('i', 'I', 'S')
UNION ALL SELECT 'routine', nspname, proname, format('ALTER ROUTINE %%s SET SCHEMA public', p.oid::regprocedure),
    proname || '(' || proargtypes::text || ')', EXISTS (SELECT FROM pg_proc o WHERE o.proname = p.proname
      AND o.proargtypes = p.proargtypes AND o.pronamespace = 'public'::regnamespace)
  FROM pg_proc p JOIN ours ON ours.oid = pronamespace
  WHERE pg_get_userbyid(proowner) = current_user
    AND (whole OR p.oid IN (SELECT tgfoid FROM pg_trigger JOIN moved ON moved.oid = tgrelid))
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e')
UNION ALL SELECT 'type', nspname, typname, format('ALTER %%s %%I.%%I SET SCHEMA public',
    CASE typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, nspname, typname), typname::text,
    to_regtype(format('public.%%I', typname)) IS NOT NULL
  FROM pg_type t JOIN ours ON ours.oid = typnamespace
  WHERE whole AND pg_get_userbyid(typowner) = current_user
    AND (typtype IN ('e', 'd', 'r') OR typtype = 'c' AND (SELECT relkind FROM pg_class WHERE oid = typrelid) = 'c')
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_type'::regclass AND objid = t.oid AND deptype = 'e')
ORDER BY 1, 2, 3, 4"""

# Those of the schemas that are empty and belong to whoever asks.
_EMPTY = """
SELECT format('DROP SCHEMA %I', nspname) FROM pg_namespace n
WHERE nspname IN ('tamma', 'elsa') AND pg_has_role(nspowner, 'USAGE')
  AND NOT EXISTS (SELECT FROM pg_depend WHERE refclassid = 'pg_namespace'::regclass AND refobjid = n.oid)
ORDER BY 1"""

_SEEN_TO = """COMMENT ON TABLE public."%s" IS '%s'"""
# The services' own sessions hold no lock for long; whoever does is not waited for.
_BEGIN = "BEGIN; SET LOCAL lock_timeout = '20s'; SET LOCAL search_path = public"


class Unreachable(OperatorError):
    """The stack's own server does not run, or lets nobody in."""


class _Astray(NamedTuple):
    """A thing in one of the schemas that former versions made.

    move: a statement; empty for what goes along. alone: what only one in a schema may be called. taken: public has it.
    """

    kind: str
    schema: str
    name: str
    move: str
    alone: str
    taken: bool


class State(NamedTuple):
    """What was found in a database.

    gone: the schemas whose history of migrations is empty, and beside another one. drops: the schemas that are empty.
    run: whether it needs the init SQL. mark: what says that it was seen to, where the init SQL does not.
    """

    astray: Tuple[_Astray, ...]
    gone: Tuple[str, ...]
    drops: Tuple[str, ...]
    run: bool
    mark: str


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
        steps += ["remove the empty table %s.%s %s" % (schema, _HISTORY, where) for schema in self.state.gone]
        steps += ["remove the empty schema %s %s" % (drop.split()[-1], where) for drop in self.state.drops]
        return steps + (["run %s %s" % (INIT_SQL, where)] if self.state.run else [])


def look(session: PostgresSession, sql: str) -> State:
    """Find out what a database lacks of *sql*, and what lies where nobody looks; reads only.

    Raises OperatorError when the same name is in two places: which one is right, only somebody else can say.
    """
    match = _MARK.search(sql)
    mark = match.group(1) if match else ""
    marks = session.row(_MARKS, 2)
    # Interpolated are names of this file.
    own = {row[0] or "": row[1] == "t" for row in session.query(_HISTORIES)}
    filled = {name: bool(session.query('SELECT FROM %s."%s" LIMIT 1' % (name, _HISTORY))) for name in own}
    run = marks[0] != mark and not any(filled.values())
    if _marked(marks):
        return State((), (), (), run, "")
    stays = next((name for name in filled if name == "public" or filled[name]), next(iter(filled), ""))
    gone = tuple(name for name in filled if name not in ("public", stays) and not filled[name])
    rows = session.query(
        _ASTRAY
        % {
            "migrated": _listed([name for name in filled if name != "public" and filled[name]]),
            "known": _listed(_KNOWN),
            "gone": _listed(gone),
        }
    )
    texts = [[value or "" for value in row] for row in rows]
    astray = tuple(_Astray(row[0], row[1], row[2], row[3], row[4], row[5] == "t") for row in texts)
    _refuse_the_doubled(astray)
    drops = tuple(row[0] or "" for row in session.query(_EMPTY))
    return State(astray, gone, drops, run, "" if run or not own.get("public", True) else mark)


def _marked(marks: Sequence[Optional[str]]) -> bool:
    """Whether a version that knows of such schemas was here before."""
    return any((text or "").startswith(_OURS) for text in marks)


def _listed(names: Iterable[str]) -> str:
    """Names for SQL's IN, which takes no empty list: no name is empty."""
    return ", ".join("'%s'" % name for name in ("", *names))


def _refuse_the_doubled(astray: Tuple[_Astray, ...]) -> None:
    places: Dict[Tuple[str, str], List[str]] = {}
    for item in astray:
        found = places.setdefault((item.kind, item.alone), [])
        found += [name for name in (item.schema, *(["public"] if item.taken else [])) if name not in found]
    # Of what is called alike the first one tells the name.
    names = {(item.kind, item.alone): item.name for item in reversed(astray)}
    twice = sorted({(names[key], tuple(found)) for key, found in places.items() if len(found) > 1})
    if twice:
        raise OperatorError(
            "The database has %s more than once: the services read what is in public, and a former version of this "
            "collection made them write elsewhere. Look into each, and remove or rename those that are not needed. "
            "Nothing was changed."
            % " and ".join("%s (in %s)" % (name, " and in ".join(found)) for name, found in twice)
        )


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
            # A service that still runs must not fill what is seen to be empty.
            for schema, _own in session.query(_HISTORIES):
                if schema != "public":
                    session.query('LOCK TABLE %s."%s"' % (schema, _HISTORY))
            # Anew: what was found may be a while ago.
            state = look(session, preparation.sql)
            for schema in state.gone:
                session.query('DROP TABLE %s."%s"' % (schema, _HISTORY))
            # Routines first: their statements name the types of their arguments where these are now.
            for item in sorted(state.astray, key=lambda one: one.kind != "routine"):
                if item.move:
                    session.query(item.move)
            if not _marked(session.row(_MARKS, 2)):
                for (drop,) in session.query(_EMPTY):
                    session.query(drop or "")
            if state.run:
                session.query(preparation.sql)
            elif state.mark:
                session.query(_SEEN_TO % (_HISTORY, state.mark))
            session.query("COMMIT")
    except OperatorError as exc:
        raise OperatorError(
            "The database was not prepared, and not changed. %s Or have somebody who may run %s of the stack's "
            "directory." % (exc.message, INIT_SQL),
            **exc.facts,
        ) from exc
