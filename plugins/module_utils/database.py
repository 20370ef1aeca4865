# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stack's database as backups and restores handle it: what is in it, its client programs, databases by its side.

The server's own programs are used, of the same version as the server: those in its container, or for an
external server those in a container of the same image that is thrown away.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
from typing import Any, Dict, Iterator, List, Optional, Set

from ansible_collections.meywd.tamma.plugins.module_utils.compose import last_line
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.logins import PostgresSession
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack

# By these names sessions of a run that is dead are known.
APPLICATION = "tamma-operator"

# A database that is being restored, one that was replaced, and one that is only looked at.
RESTORING = "_restoring"
BEFORE = "_before_"
DRILL = "_drill"

_TABLES = """
SELECT n.nspname, c.relname, format('SELECT count(*) FROM %I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
ORDER BY 1, 2"""

_SEQUENCES = "SELECT schemaname || '.' || sequencename, coalesce(last_value, 0) FROM pg_sequences ORDER BY 1"

# One line for each thing that makes the schema; what differs between two servers of one version is left out.
_SCHEMA = """
WITH ours AS (SELECT oid, nspname FROM pg_namespace WHERE nspname <> 'information_schema' AND nspname !~ '^pg_'),
  foreign_objects AS (SELECT objid FROM pg_depend WHERE deptype = 'e'),
  relations AS (SELECT c.*, n.nspname FROM pg_class c JOIN ours n ON n.oid = c.relnamespace
    WHERE c.relpersistence <> 't' AND c.oid NOT IN (SELECT objid FROM foreign_objects))
SELECT 'extension ' || extname FROM pg_extension
UNION ALL SELECT 'schema ' || nspname FROM ours
UNION ALL SELECT format('relation %I.%I %s %s %s', nspname, relname, relkind, relpersistence,
  coalesce(pg_get_expr(relpartbound, oid), '')) FROM relations WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
UNION ALL SELECT format('column %I.%I.%I %s %s %s %s', nspname, relname, attname, format_type(atttypid, atttypmod),
  attnotnull, attidentity, coalesce(pg_get_expr(adbin, adrelid), ''))
  FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid
  LEFT JOIN pg_attrdef d ON adrelid = r.oid AND adnum = attnum
  WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p', 'v', 'm', 'f')
UNION ALL SELECT format('constraint %I.%I %s', nspname, conname, pg_get_constraintdef(o.oid))
  FROM pg_constraint o JOIN ours n ON n.oid = o.connamespace
UNION ALL SELECT 'index ' || pg_get_indexdef(indexrelid) FROM pg_index i JOIN relations r ON r.oid = i.indexrelid
UNION ALL SELECT format('view %I.%I %s', nspname, relname, pg_get_viewdef(oid)) FROM relations
  WHERE relkind IN ('v', 'm')
UNION ALL SELECT 'function ' || pg_get_functiondef(p.oid) FROM pg_proc p JOIN ours n ON n.oid = p.pronamespace
  WHERE prokind IN ('f', 'p') AND p.oid NOT IN (SELECT objid FROM foreign_objects)
UNION ALL SELECT 'trigger ' || pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN relations r ON r.oid = t.tgrelid
  WHERE NOT tgisinternal
UNION ALL SELECT format('enum %I.%I %s', nspname, typname,
  (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid))
  FROM pg_type t JOIN ours n ON n.oid = t.typnamespace WHERE typtype = 'e'"""


class Contents:
    """What is in a database. counts: "schema.table" → rows. sequences: name → last value."""

    def __init__(self, fingerprint: str, counts: Dict[str, int], sequences: Dict[str, int], large_objects: int) -> None:
        self.fingerprint = fingerprint
        self.counts = counts
        self.sequences = sequences
        self.large_objects = large_objects

    def as_dict(self) -> Dict[str, Any]:
        """The contents as a manifest has them."""
        return dict(vars(self))

    def differences(self, manifest: Dict[str, Any]) -> List[str]:
        """What is not as *manifest* says, a sentence for each kind; sequences may only be ahead."""
        found = []
        if self.fingerprint != manifest["fingerprint"]:
            found.append("the schema is another one")
        wanted: Dict[str, int] = manifest["counts"]
        wrong = [
            "%s has %s rows instead of %s" % (name, self.counts.get(name, "no"), wanted.get(name, "none at all"))
            for name in sorted({*wanted, *self.counts})
            if wanted.get(name) != self.counts.get(name)
        ]
        found += wrong[:3] + (["%d more tables differ" % (len(wrong) - 3)] if len(wrong) > 3 else [])
        if self.large_objects != manifest["large_objects"]:
            found.append("%d large objects instead of %d" % (self.large_objects, manifest["large_objects"]))
        behind = [name for name, value in manifest["sequences"].items() if self.sequences.get(name, -1) < value]
        if behind:
            found.append("the sequence %s is behind" % behind[0])
        return found


def contents(session: PostgresSession) -> Contents:
    """Look at everything in the database of a session, in its transaction if it has one."""
    session.query("SET search_path TO pg_catalog")
    lines = sorted(row[0] or "" for row in session.query(_SCHEMA))
    digest = hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()
    counts = {}
    for schema, table, count in session.query(_TABLES):
        counts["%s.%s" % (schema, table)] = int(session.query(count or "")[0][0] or 0)
    sequences = {name or "": int(value or 0) for name, value in session.query(_SEQUENCES)}
    large = int(session.query("SELECT count(*) FROM pg_largeobject_metadata")[0][0] or 0)
    return Contents(digest, counts, sequences, large)


def version(session: PostgresSession) -> str:
    """The server's version, such as "15.18"."""
    found = re.match(r"[\d.]+", session.query("SHOW server_version")[0][0] or "")
    return found.group(0) if found else ""


def major(text: str) -> int:
    """The major part of a version."""
    return int(text.partition(".")[0] or 0)


def identifier(name: str) -> str:
    """A name quoted for SQL."""
    return '"%s"' % name.replace('"', '""')


def literal(text: str) -> str:
    """A text quoted for SQL."""
    return "'%s'" % text.replace("'", "''")


class Database:
    """The stack's database on its server."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.server = stack.server()
        self.name = self.server.database

    def session(self, database: str = "") -> PostgresSession:
        """Log in; questions may take as long as they take."""
        session = PostgresSession(dataclasses.replace(self.server, database=database or self.name), APPLICATION)
        session.be_patient()
        return session

    def query(self, statement: str, *values: str) -> List[List[Optional[str]]]:
        """Ask one thing in a session of its own, beside the stack's database; each %s becomes a quoted value."""
        with self.session("postgres") as session:
            return session.query(statement % tuple(map(literal, values)) if values else statement)

    def end_dead_sessions(self) -> None:
        """End what a killed run has left: it would hold its snapshot, or keep a database from being renamed."""
        self.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s "
            "AND pid <> pg_backend_pid()",
            APPLICATION,
        )

    # -- client programs ------------------------------------------------------------------------

    @contextlib.contextmanager
    def client(self) -> Iterator["Client"]:
        """The server's client programs, for as long as they are needed."""
        service = self._stack.postgres
        if service is None:
            raise OperatorError("An external PostgreSQL is not backed up yet.")
        # Constructing this object has made sure that it runs.
        container = self._stack.running(service.name)[0]
        yield Client([self._stack.engine.kind, "exec", "-i", container["Id"]], self.server.user)

    # -- databases by its side ------------------------------------------------------------------

    def exists(self, name: str) -> bool:
        """Whether the server has a database of this name."""
        return bool(self.query("SELECT FROM pg_database WHERE datname = %s", name))

    def beside(self, mark: str) -> List[str]:
        """The databases whose names begin with the stack's and *mark*, in order."""
        rows = self.query("SELECT datname FROM pg_database ORDER BY 1")
        return [name for (name,) in rows if name and name.startswith(self.name + mark)]

    def create(self, name: str) -> None:
        """Make an empty database like the stack's own: its owner, encoding and collation."""
        like = self.query(
            "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database "
            "WHERE datname = %s",
            self.name,
        )
        options = ""
        if like:
            owner, encoding, collate, ctype = (value or "" for value in like[0])
            options = " OWNER %s ENCODING %s LC_COLLATE %s LC_CTYPE %s" % (
                identifier(owner),
                literal(encoding),
                literal(collate),
                literal(ctype),
            )
        self.query("CREATE DATABASE %s TEMPLATE template0%s" % (identifier(name), options))

    def drop(self, name: str) -> None:
        """Remove a database that is not the stack's own, and end who is in it."""
        if name == self.name:
            raise OperatorError("The database of the stack itself is never dropped.")
        self.query("DROP DATABASE IF EXISTS %s WITH (FORCE)" % identifier(name))

    def rename(self, old: str, new: str) -> None:
        """Give a database another name; ends who is in it, and lets nobody in meanwhile."""
        self.query("ALTER DATABASE %s WITH ALLOW_CONNECTIONS false" % identifier(old))
        try:
            self.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
                old,
            )
            self.query("ALTER DATABASE %s RENAME TO %s" % (identifier(old), identifier(new)))
        finally:
            for name in (old, new):
                if self.exists(name):
                    self.query("ALTER DATABASE %s WITH ALLOW_CONNECTIONS true" % identifier(name))

    def size(self) -> int:
        """Bytes that the stack's database takes."""
        return int(self.query("SELECT pg_database_size(%s)", self.name)[0][0] or 0)


class Client:
    """The command lines of PostgreSQL's client programs, as the superuser or owner of the database."""

    def __init__(self, prefix: List[str], user: str) -> None:
        self._prefix = prefix
        self._user = user

    def argv(self, program: str, *options: str, database: str = "", settings: str = "") -> List[str]:
        """A command line. database: also sets the name by which the session is known. settings: of the session."""
        environment = ["env", "PGOPTIONS=" + settings] if settings else []
        where = []
        if database:
            escaped = database.replace("\\", "\\\\").replace("'", "\\'")
            where = ["--dbname", "dbname='%s' application_name=%s" % (escaped, APPLICATION)]
        return [*self._prefix, *environment, program, "--username", self._user, "--no-password", *where, *options]

    def dump(self, database: str, snapshot: str) -> List[str]:
        """Dump as of an exported snapshot, uncompressed: restic compresses, and finds what it has already."""
        return self.argv("pg_dump", "--format=custom", "--compress=0", "--snapshot", snapshot, database=database)

    def restore(self, database: str, path: str, jobs: int) -> List[str]:
        """Restore an archive that the server's container sees at *path* into an empty database, side by side."""
        options = ["--exit-on-error", "--jobs", str(jobs), path]
        # Nothing is lost with a crash meanwhile: such a database is made anew.
        quick = "-c synchronous_commit=off -c maintenance_work_mem=256MB"
        return self.argv("pg_restore", *options, database=database, settings=quick)

    def restore_stream(self, database: str) -> List[str]:
        """Restore an archive from standard input into an empty database."""
        return self.argv("pg_restore", "--exit-on-error", database=database)

    def roles(self) -> List[str]:
        """Print the server's roles and memberships."""
        return self.argv("pg_dumpall", "--roles-only")

    def read_through(self) -> List[str]:
        """Read an archive from standard input to its last byte, and do nothing with it."""
        return [*self._prefix, "sh", "-c", "pg_restore -f /dev/null && ! read -r more"]


_NAME = r'("(?:[^"]|"")+"|[^\s;"]+)'
_ROLE = re.compile(r"(?:CREATE|ALTER) ROLE %s[ ;]" % _NAME)
_MEMBERSHIP = re.compile(r"GRANT %s TO %s[ ;]" % (_NAME, _NAME))


def missing_roles(dump: str, present: Set[Optional[str]]) -> List[str]:
    """The statements of "pg_dumpall --roles-only" that make the roles which are not *present*.

    Memberships come with them when one side is a role that is made.
    """
    statements = []
    for line in dump.splitlines():
        match = _ROLE.match(line) or _MEMBERSHIP.match(line)
        if match and any(_unquoted(name) not in present for name in match.groups()):
            statements.append(line)
    return statements


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def failure(done: Result, what: str) -> OperatorError:
    """Say why a client program failed."""
    return OperatorError("%s: %s." % (what, last_line(done.err)), rc=done.rc)
