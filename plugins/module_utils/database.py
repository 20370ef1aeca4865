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
import os
import re
import signal
import time
from typing import Any, Dict, Iterator, List, Optional, Sequence, Set

from ansible_collections.meywd.tamma.plugins.module_utils import throwaway
from ansible_collections.meywd.tamma.plugins.module_utils.compose import last_line
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.logins import PostgresSession, Refused, identifier
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result, mortal
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack

# How the names begin by which sessions and programs of ours are known, also when their run is dead.
_APPLICATION = "tamma-operator-"

# Where the server's container has its data, and its programs for an external one the archives.
_DATA = "/var/lib/postgresql/data"
_ARCHIVES = "/var/lib/tamma"
# The directory with an archive that is being restored: in the server's own volume, or here.
ARCHIVE = "tamma-restore"
_ELSEWHERE = "/var/lib/tamma"
# Beside that directory: a named pipe. What goes through it is handed over by the kernel and never touches the disk. The
# engine, which would copy it several times, takes as much of the processor for that as dumping and storing do.
_PIPE = "tamma-pipe"

# A server that was killed is up again after a few seconds.
_SECONDS_TO_RETURN = 60
_ATTEMPTS = 5
_OBJECT_IN_USE = "55006"

# A database that is being restored, one that was replaced, and one that is only looked at.
RESTORING = "_restoring"
BEFORE = "_before_"
DRILL = "_drill"
# The copy from before a release, and what a failed release made of the database; a number follows.
GUARD = "_guard_"
FAILED = "_failed_"

_TABLES = """
SELECT n.nspname, c.relname, format('SELECT count(*) FROM %I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
ORDER BY 1, 2"""

# With the sign of its steps, so that a greater value is always one further ahead. One that was never used has none.
_SEQUENCES = """
SELECT schemaname || '.' || sequencename, CASE WHEN increment_by < 0 THEN -last_value::numeric ELSE last_value END
FROM pg_sequences WHERE last_value IS NOT NULL ORDER BY 1"""

# What belongs to the database itself and is not in its archive: rights on it, and settings. Each row is a statement
# without the database's name, which comes between its two parts.
_PROPERTIES = """
WITH ours AS (SELECT * FROM pg_database WHERE datname = current_database()),
  settings AS (SELECT setrole, split_part(line, '=', 1) AS name, substr(line, strpos(line, '=') + 1) AS value
    FROM pg_db_role_setting, unnest(setconfig) AS line WHERE setdatabase = (SELECT oid FROM ours))
SELECT 1, 'REVOKE ALL ON DATABASE ', ' FROM PUBLIC' FROM ours WHERE datacl IS NOT NULL
UNION ALL SELECT 2, format('GRANT %s ON DATABASE ', privilege_type), format(' TO %s%s',
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
    CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
  FROM ours, aclexplode(datacl)
UNION ALL SELECT 3,
    CASE setrole WHEN 0 THEN 'ALTER DATABASE '
    ELSE format('ALTER ROLE %s IN DATABASE ', quote_ident(pg_get_userbyid(setrole))) END,
    format(' SET %s TO %s', quote_ident(name),
      CASE WHEN name = 'search_path' OR name LIKE '%preload_libraries' OR name = 'temp_tablespaces' THEN value
      ELSE quote_literal(value) END)
  FROM settings
ORDER BY 1, 2, 3"""

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
        behind = [
            name
            for name, value in manifest["sequences"].items()
            if name not in self.sequences or self.sequences[name] < value
        ]
        if behind:
            found.append("the sequence %s is behind" % behind[0])
        return found


def schema(session: PostgresSession) -> str:
    """A fingerprint of the schema in the database of a session."""
    session.query("SET search_path TO pg_catalog")
    lines = sorted(row[0] or "" for row in session.query(_SCHEMA))
    return hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()


def contents(session: PostgresSession) -> Contents:
    """Look at everything in the database of a session, in its transaction if it has one."""
    digest = schema(session)
    counts = {}
    for place, table, count in session.query(_TABLES):
        counts["%s.%s" % (place, table)] = int(session.query(count or "")[0][0] or 0)
    sequences = {name or "": int(value or 0) for name, value in session.query(_SEQUENCES)}
    large = int(session.query("SELECT count(*) FROM pg_largeobject_metadata")[0][0] or 0)
    return Contents(digest, counts, sequences, large)


def properties(session: PostgresSession) -> List[List[str]]:
    """The rights on the database of a session and its settings: statements in two parts, its name belongs between."""
    return [[head or "", tail or ""] for _order, head, tail in session.query(_PROPERTIES)]


def version(session: PostgresSession) -> str:
    """The server's version, such as "15.18"."""
    found = re.match(r"[\d.]+", session.query("SHOW server_version")[0][0] or "")
    return found.group(0) if found else ""


def major(text: str) -> int:
    """The major part of a version."""
    return int(text.partition(".")[0] or 0)


def _kill_programs(mark: bytes) -> None:
    """Kill the programs, also those inside of containers, that have *mark* on their command line."""
    for name in os.listdir("/proc"):
        # Those that ended meanwhile are no concern.
        with contextlib.suppress(OSError):
            if name.isdigit() and int(name) != os.getpid():
                with open("/proc/%s/cmdline" % name, "rb") as handle:
                    if mark in handle.read():
                        os.kill(int(name), signal.SIGKILL)


def literal(text: str) -> str:
    """A text quoted for SQL."""
    return "'%s'" % text.replace("'", "''")


def volume(stack: Stack) -> str:
    """Where this host sees the data of the stack's own server, which need not run; empty for an external one."""
    service = stack.postgres
    for item in stack.containers(service.name) if service else []:
        for mount in (stack.engine.container(item["Id"]) or {}).get("Mounts") or []:
            if mount.get("Destination") == _DATA:
                return str(mount["Source"])
    return ""


def archive_directory(stack: Stack) -> str:
    """Where on this host an archive lies while it is restored; the server's programs see it, too."""
    return os.path.join(volume(stack) or os.path.join(_ELSEWHERE, stack.name), ARCHIVE)


def _pipe(stack: Stack) -> str:
    return os.path.join(os.path.dirname(archive_directory(stack)), _PIPE)


@contextlib.contextmanager
def _named_pipe(path: str) -> Iterator[str]:
    """A named pipe for the programs of a container: its path, or nothing where there cannot be one."""
    made = False
    try:
        # A full disk, above all, is no reason to have no backup: the engine hands everything on then.
        with contextlib.suppress(OSError):
            os.mkfifo(path, 0o600)
            made = True
        if made:
            # Whatever user the programs are: what lies beside it is theirs.
            owner = os.stat(os.path.dirname(path))
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
        yield path if made else ""
    finally:
        if made:
            _remove(path)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


class Database:
    """The stack's database on its server."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.server = stack.server()
        self.name = self.server.database
        # One server may have the databases of several stacks.
        whose = "%s %s" % (stack.name, self.name)
        self.application = _APPLICATION + hashlib.sha256(whose.encode("utf-8", "surrogateescape")).hexdigest()[:12]

    def session(self, database: str = "") -> PostgresSession:
        """Log in; questions may take as long as they take."""
        session = PostgresSession(dataclasses.replace(self.server, database=database or self.name), self.application)
        session.be_patient()
        return session

    def query(self, statement: str, *values: str) -> List[List[Optional[str]]]:
        """Ask one thing in a session of its own, beside the stack's database; each %s becomes a quoted value."""
        with self.session("postgres") as session:
            return session.query(statement % tuple(map(literal, values)) if values else statement)

    def end_dead_runs(self) -> None:
        """End what a killed run has left: its programs, and its sessions, which would hold a snapshot or a database.

        They have ended when this returns: a rename that was under way is done by then, or never will be.
        """
        _kill_programs(self.application.encode("ascii"))
        _remove(_pipe(self._stack))
        throwaway.remove_leftovers(self._stack)
        # Interpolated is text quoted for SQL.
        self._until_gone(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s "  # noqa: S608
            "AND pid <> pg_backend_pid()" % literal(self.application),
            "What a former run was doing in %s does not end: look for sessions of %s" % (self.server, self.application),
        )

    def end_sessions(self) -> None:
        """End who is in the stack's database now. What they have not committed when this returns never will be.

        A server works on for a client that was killed, until it next has something to tell it.
        """
        now = literal(self.query("SELECT clock_timestamp()")[0][0] or "")
        self._until_gone(
            _end_sessions(self.name) + " AND backend_start <= %s::timestamptz" % now,
            "What works in the database %s of %s does not end: look for its sessions" % (self.name, self.server),
        )

    def _until_gone(self, statement: str, trouble: str) -> None:
        """End sessions with a *statement* until it finds none."""
        until = time.monotonic() + _SECONDS_TO_RETURN
        while self.query(statement):
            if time.monotonic() > until:
                raise OperatorError("%s in pg_stat_activity, and run this again when they are gone." % trouble)
            time.sleep(0.05)

    def wait(self) -> None:
        """Wait until the server answers again, if it has just been killed."""
        until = time.monotonic() + _SECONDS_TO_RETURN
        while True:
            try:
                self.server = self._stack.server()
                self.query("SELECT 1")
                return
            except OperatorError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)

    # -- client programs ------------------------------------------------------------------------

    @contextlib.contextmanager
    def client(self) -> Iterator["Client"]:
        """The server's client programs, for as long as they are needed."""
        service = self._stack.postgres
        command = [self._stack.engine.kind, "exec", "-i"]
        if service is None:
            with self.session() as session:
                newest = major(version(session))
            place = os.path.dirname(archive_directory(self._stack))
            container = throwaway.client(self._stack, self.server, newest, place, _ARCHIVES)
            with container as identifier, _named_pipe(os.path.join(place, _PIPE)) as pipe:
                yield Client([*command, identifier], self.server.user, self.application, _ARCHIVES, pipe)
            return
        running = self._stack.running(service.name)
        if not running:
            raise OperatorError("PostgreSQL of the stack %s does not run any more." % self._stack.name)
        # Where this host does not see the server's data, the server does not see a pipe of this host.
        with _named_pipe(_pipe(self._stack) if volume(self._stack) else "") as pipe:
            yield Client([*command, running[0]["Id"]], self.server.user, self.application, _DATA, pipe)

    def superuser(self) -> bool:
        """Whether we may do everything."""
        return self.query("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [["t"]]

    def check_privileges(self) -> None:
        """Raise OperatorError when no database may be made beside the stack's, or that not be renamed."""
        may = self.query(
            "SELECT rolsuper OR (rolcreatedb AND pg_has_role(datdba, 'MEMBER')) FROM pg_roles, pg_database "
            "WHERE rolname = current_user AND datname = %s",
            self.name,
        )
        if may == [["f"]]:
            raise OperatorError(
                "Updates and restores make a database beside %s, which may take its place: the role %s of %s needs "
                "CREATEDB for that, and has to own %s (ALTER ROLE %s CREATEDB)."
                % (self.name, self.server.user, self.server, self.name, identifier(self.server.user))
            )

    # -- databases by its side ------------------------------------------------------------------

    def exists(self, name: str) -> bool:
        """Whether the server has a database of this name."""
        return bool(self.query("SELECT FROM pg_database WHERE datname = %s", name))

    def called(self, mark: str) -> str:
        """The name of a database beside the stack's; the server cuts what is longer than 63 bytes."""
        return self.name.encode("utf-8")[: 63 - len(mark)].decode("utf-8", "ignore") + mark

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

    def copy(self, name: str) -> None:
        """Copy the stack's database inside its server. Ends who is in it; nobody gets in meanwhile.

        As files, at the speed of the disk, and not through the log of changes. Rights on the database itself and its
        settings, which a copy does not have, are carried over.
        """
        with self.session() as session:
            carried, newest = properties(session), major(version(session))
        owner = self.query("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", self.name)[0][0]
        names = tuple(map(identifier, (name, owner or "", self.name)))
        statement = "CREATE DATABASE %s OWNER %s TEMPLATE %s" % names
        if newest >= 15:
            statement += " STRATEGY file_copy"
        # In two, because a database is made in no transaction.
        self._undisturbed(_end_sessions(self.name), statement)
        for head, tail in carried:
            self.query(head + identifier(name) + tail)

    def _undisturbed(self, *statements: str) -> None:
        """Do what takes a database that nobody is in, each in a transaction of its own; the first ends who is there."""
        for left in reversed(range(_ATTEMPTS)):
            try:
                for statement in statements:
                    self.query(statement)
                return
            except Refused as exc:
                # Somebody came back before that was done.
                if exc.code != _OBJECT_IN_USE or not left:
                    raise

    def schema(self) -> str:
        """A fingerprint of the schema, and of the migrations that the services say they have made."""
        with self.session() as session:
            found = schema(session)
            tables = session.query(
                "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                "WHERE c.relname = '__EFMigrationsHistory' AND c.relkind = 'r' ORDER BY 1"
            )
            for (name,) in tables:
                # Interpolated is a name quoted for SQL.
                statement = 'SELECT "MigrationId" FROM %s."__EFMigrationsHistory" ORDER BY 1'
                rows = session.query(statement % identifier(name or ""))
                found += repr((name, rows))
        return hashlib.sha256(found.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def drop(self, name: str) -> None:
        """Remove a database that is not the stack's own, and end who is in it."""
        if name == self.name:
            raise OperatorError("The database of the stack itself is never dropped.")
        self.query("DROP DATABASE IF EXISTS %s WITH (FORCE)" % identifier(name))

    def rename(self, name: str, other: str) -> None:
        """Give a database that is not the stack's own another name, and end who is in it."""
        if name == self.name:
            raise OperatorError("The database of the stack itself is only swapped.")
        # In one transaction: nobody gets in between.
        statement = "ALTER DATABASE %s RENAME TO %s" % (identifier(name), identifier(other))
        self._undisturbed("; ".join([_end_sessions(name), statement]))

    def swap(self, coming: str, leaving: str) -> None:
        """Let *coming* be the stack's database, and call the present one, if any, *leaving*: both at once or nothing.

        Ends who is in them. Nobody gets in meanwhile: a database that is being renamed is locked.
        """
        pairs = [(self.name, leaving)] if self.exists(self.name) else []
        pairs.append((coming, self.name))
        renames = ["ALTER DATABASE %s RENAME TO %s" % tuple(map(identifier, pair)) for pair in pairs]
        self._undisturbed("; ".join([_end_sessions(self.name, coming), *renames]))

    def roles(self) -> Set[Optional[str]]:
        """The roles of the server."""
        return {name for (name,) in self.query("SELECT rolname FROM pg_roles")}

    def size(self) -> int:
        """Bytes that the stack's database takes."""
        return int(self.query("SELECT pg_database_size(%s)", self.name)[0][0] or 0)


def _end_sessions(*names: str) -> str:
    """The statement that ends who is in databases, in so far as we may."""
    # Interpolated are names quoted for SQL.
    return (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN (%s) "  # noqa: S608
        "AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND pg_has_role(usesysid, 'MEMBER')"
        % ", ".join(map(literal, names))
    )


class Client:
    """The command lines of PostgreSQL's client programs, as the superuser or owner of the database."""

    def __init__(self, prefix: List[str], user: str, application: str, place: str = "", pipe: str = "") -> None:
        """*place*: where the programs find the directory with the archive, and beside it the named pipe.

        pipe: where this host sees that; without one an archive goes through the engine, by standard input and output.
        """
        self.pipe = pipe
        self._prefix = mortal(prefix)
        self._place = place
        self._user = user
        self._application = application

    def _program(self, program: str, *options: str, database: str = "") -> List[str]:
        """A command line inside. database: also sets the name by which the session is known."""
        where = []
        if database:
            escaped = database.replace("\\", "\\\\").replace("'", "\\'")
            where = ["--dbname", "dbname='%s' application_name=%s" % (escaped, self._application)]
        return [program, "--username", self._user, "--no-password", *where, *options]

    def _piped(self, sign: str, command: Sequence[str]) -> List[str]:
        """The command line of what reads ("<") or writes (">") an archive."""
        if not self.pipe:
            return [*self._prefix, *command]
        # Opened for both first, so that nobody waits for the other end: that may have come and gone.
        script = (
            'test -p "$0" || { echo "error: $0 is no pipe" >&2; exit 1; }; exec 3<>"$0" %s"$0" 3<&-; exec "$@"' % sign
        )
        prefix = [word for word in self._prefix if word != "-i"]
        return [*prefix, "sh", "-c", script, os.path.join(self._place, _PIPE), *command]

    def dump(self, database: str, snapshot: str) -> List[str]:
        """Dump as of an exported snapshot, uncompressed: restic compresses, and finds what it has already."""
        options = ["--format=custom", "--compress=0", "--snapshot", snapshot]
        return self._piped(">", self._program("pg_dump", *options, database=database))

    def restore_data(self, database: str) -> List[str]:
        """Restore tables and their rows from an archive on standard input into an empty database."""
        return self._piped("<", self._restore(database, ["--section=pre-data", "--section=data"]))

    def restore_rest(self, database: str, name: str, jobs: int) -> List[str]:
        """Restore indexes, constraints and what else needs all rows, in parallel, from a file beside the data."""
        path = os.path.join(self._place, ARCHIVE, name)
        return [*self._prefix, *self._restore(database, ["--section=post-data", "--jobs", str(jobs), path])]

    def restore_stream(self, database: str, owners: bool = True) -> List[str]:
        """Restore an archive from standard input into an empty database; without *owners* no other role is needed."""
        return self._piped("<", self._restore(database, [] if owners else ["--no-owner", "--no-privileges"]))

    def _restore(self, database: str, options: List[str]) -> List[str]:
        # Nothing is lost with a crash meanwhile: such a database is made anew.
        quick = "PGOPTIONS=-c synchronous_commit=off -c maintenance_work_mem=256MB"
        # It need not read an archive to its end; who writes it shall not take that for a failure.
        drained = ["env", quick, "sh", "-c", '"$@" && exec cat > /dev/null', "sh"]
        return [*drained, *self._program("pg_restore", "--exit-on-error", *options, database=database)]

    def roles(self, passwords: bool) -> List[str]:
        """Print the server's roles and memberships; only a superuser sees their passwords."""
        options = ["--roles-only", *([] if passwords else ["--no-role-passwords"])]
        return [*self._prefix, *self._program("pg_dumpall", *options)]

    def read_through(self) -> List[str]:
        """Read an archive from standard input to its last byte, and do nothing with it."""
        return self._piped("<", ["sh", "-c", "pg_restore -f /dev/null && ! read -r more"])


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


# What PostgreSQL's programs say → what it means. The first that fits counts.
_CAUSES = (
    (re.compile("no space left on device", re.I), "the disk of PostgreSQL is full; make room there (%s)"),
    (
        re.compile("server closed the connection|terminating connection|database system is|connection to server", re.I),
        "PostgreSQL went away meanwhile; see its log (%s)",
    ),
)


def failure(done: Result, what: str) -> OperatorError:
    """Say why a client program failed."""
    errors = [line.strip() for line in done.err.splitlines() if re.search("error:|FATAL:|PANIC:", line)]
    words = errors[0].rstrip(".") if errors else last_line(done.err)
    if not done.err.strip():
        # A program in a container ends like this together with the container.
        words = "the program was killed, or PostgreSQL with it; see its log (exit status %d)" % done.rc
    for pattern, sentence in _CAUSES:
        if pattern.search(done.err):
            words = sentence % words
            break
    return OperatorError("%s: %s." % (what, words), rc=done.rc)
