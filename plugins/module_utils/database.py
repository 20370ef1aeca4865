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
import errno
import functools
import hashlib
import os
import re
import signal
import stat
import tempfile
import time
from typing import Iterator, List, Optional, Sequence, Set, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils import (
    archive,
    beneath,
    bystanders,
    inspection,
    statements,
    throwaway,
)
from ansible_collections.meywd.tamma.plugins.module_utils.compose import last_line
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, write
from ansible_collections.meywd.tamma.plugins.module_utils.logins import PostgresSession, Refused, identifier
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result, mortal
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack

# How the names begin by which sessions and programs of ours are known, also when their run is dead.
_APPLICATION = "tamma-operator-"

# Where the server's container has its data, and its programs for an external one the archives.
_DATA = "/var/lib/postgresql/data"
_ARCHIVES = "/var/lib/tamma"
# How the directory with an archive that is being restored begins: in the server's own volume, or here.
_ARCHIVE = "tamma-restore"
_ELSEWHERE = "/var/lib/tamma"
# Beside that directory: a named pipe. What goes through it is handed over by the kernel and never touches the disk. The
# engine, which would copy it several times, takes as much of the processor for that as dumping and storing do.
_SCRATCH = "/run/tamma"
#: In a directory there: the paths of the named pipes that a run uses.
PIPES = "pipes"
_PIPE = "tamma-pipe"
# Another one, for what a program says an archive holds. What follows in both names nobody can know before.
_SCRIPT_PIPE = "tamma-script"

# Somebody may have set limits for the role, the database or the server which no work of ours would survive. Only for a
# lock we do not wait for ever.
_LIMITS = """
SELECT set_config(name, CASE name WHEN 'lock_timeout' THEN '60s' WHEN 'quote_all_identifiers' THEN 'off'
  WHEN 'standard_conforming_strings' THEN 'on' ELSE '0' END, false) FROM pg_settings
WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout',
  'transaction_timeout', 'quote_all_identifiers', 'standard_conforming_strings')"""
# Those in a database get so long to end; a server that writes much takes its time.
_SECONDS_TO_END = 30

# A server that was killed is up again after a few seconds.
_SECONDS_TO_RETURN = 60
_ATTEMPTS = 5
_OBJECT_IN_USE = "55006"
_NOT_PERMITTED = "42501"
_LOCKED = "55P03"
# The connection limit of a database whose removal was cut off.
_HALF_DROPPED = "-2"
#: Since this version there are triggers on a login, and a setting that keeps them quiet.
WITH_LOGIN_TRIGGERS = 17

# A database that is being restored, one that was replaced, and one that is only looked at.
RESTORING = "_restoring"
BEFORE = "_before_"
DRILL = "_drill"
# What has made the same trip as one of these, to be compared with it.
COMPARED = "_compared"
# The copy from before a release, and what a failed release made of the database; a number follows.
GUARD = "_guard_"
FAILED = "_failed_"

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
      CASE WHEN name IN ('search_path', 'temp_tablespaces', 'unix_socket_directories') OR name LIKE '%preload_libraries'
      THEN (SELECT coalesce(string_agg(quote_literal(CASE WHEN part[1] LIKE '"%'
          THEN replace(substr(part[1], 2, length(part[1]) - 2), '""', '"') ELSE part[1] END), ', ' ORDER BY place),
          quote_literal(''))
        FROM regexp_matches(value, '("(?:[^"]|"")*"|[^",[:space:]]+)', 'g') WITH ORDINALITY AS parts(part, place))
      ELSE quote_literal(value) END)
  FROM settings
UNION ALL SELECT 4, 'COMMENT ON DATABASE ', ' IS ' || quote_literal(description)
  FROM pg_shdescription WHERE classoid = 'pg_database'::regclass AND objoid = (SELECT oid FROM ours)
UNION ALL SELECT 5, format('SECURITY LABEL FOR %s ON DATABASE ', quote_ident(provider)), ' IS ' || quote_literal(label)
  FROM pg_shseclabel WHERE classoid = 'pg_database'::regclass AND objoid = (SELECT oid FROM ours)
UNION ALL SELECT 6, 'ALTER DATABASE ', ' CONNECTION LIMIT ' || datconnlimit FROM ours WHERE datconnlimit <> -1
UNION ALL SELECT 7, 'ALTER DATABASE ', ' IS_TEMPLATE true' FROM ours WHERE datistemplate
ORDER BY 1, 2, 3"""

# So earlier versions have written an empty element of a list into their manifests, which no server takes.
_EMPTY_NAME = re.compile(r'(?<=[ ,])""(?=,|\Z)')

# How a database is made that is like another one; which of these columns there are depends on the version.
_CREATION = """
SELECT to_jsonb(d) ->> 'datlocprovider', pg_encoding_to_char(encoding), datcollate, datctype,
  coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'), to_jsonb(d) ->> 'daticurules',
  CASE WHEN spcname <> 'pg_default' AND has_tablespace_privilege(t.oid, 'CREATE') THEN spcname END
FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE datname = %s"""
#: How many things that tells.
CREATION = 7
_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}


def properties(session: PostgresSession) -> List[List[str]]:
    """The rights on the database of a session and its settings: statements in two parts, its name belongs between."""
    return [[head or "", tail or ""] for _order, head, tail in session.query(_PROPERTIES)]


def creation_options(rows: Sequence[Sequence[Optional[str]]]) -> str:
    """The options of CREATE DATABASE for one of which :data:`_CREATION` tells; none if it tells nothing."""
    options = ""
    for provider, encoding, collate, ctype, locale, rules, tablespace in rows:
        options = " ENCODING %s LC_COLLATE %s LC_CTYPE %s" % tuple(
            literal(word or "") for word in (encoding, collate, ctype)
        )
        if provider in _PROVIDERS:
            options += " LOCALE_PROVIDER %s" % _PROVIDERS[provider]
        if locale and provider in ("i", "b"):
            options += " %s %s" % ("ICU_LOCALE" if provider == "i" else "BUILTIN_LOCALE", literal(locale))
        if rules:
            options += " ICU_RULES %s" % literal(rules)
        if tablespace:
            options += " TABLESPACE %s" % identifier(tablespace)
    return options


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


def _ask(session: PostgresSession, statement: str, *values: str) -> List[List[Optional[str]]]:
    """Ask one thing; each %s of the statement becomes a quoted value."""
    return session.query(statement % tuple(map(literal, values)) if values else statement)


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


def shared_place(stack: Stack) -> str:
    """Where on this host archives that are restored lie, and named pipes: the server's programs see them, too.

    In the server's own volume its user can write as well.
    """
    return volume(stack) or os.path.join(_ELSEWHERE, stack.name)


@contextlib.contextmanager
def kept_archive(stack: Stack, name: str) -> Iterator[Tuple[str, int]]:
    """A new file for an archive that is restored: its path below :func:`shared_place`, and its descriptor."""
    place = shared_place(stack)
    if not volume(stack):
        os.makedirs(place, 0o700, exist_ok=True)
    with beneath.opened(place) as shared:
        if shared is None:
            raise OperatorError("%s, where the archive of a restore lies, is no directory." % place)
        directory = beneath.random_name(_ARCHIVE + "-")
        try:
            with beneath.made(directory, shared) as ours:
                file = beneath.new_file(name, ours)
                try:
                    yield os.path.join(directory, name), file
                finally:
                    os.close(file)
        finally:
            beneath.remove(directory, shared)


def remove_archives(stack: Stack) -> None:
    """Remove the archives that a killed restore has left."""
    with beneath.opened(shared_place(stack)) as shared:
        if shared is not None:
            for name in beneath.names(shared):
                if name == _ARCHIVE or name.startswith(_ARCHIVE + "-"):
                    beneath.remove(name, shared)


def _remove_pipes(stack: Stack) -> None:
    place = shared_place(stack)
    with beneath.opened(place) as shared:
        for name in beneath.names(shared) if shared is not None else ():
            if re.match("(%s|%s)(-|$)" % (_PIPE, _SCRIPT_PIPE), name):
                remove_pipe(os.path.join(place, name))


def _make_pipe(name: str, place: int) -> None:
    """Make a named pipe for whatever user the programs are: what lies beside it is theirs."""
    os.mkfifo(name, 0o600, dir_fd=place)
    pipe = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
    try:
        status, owner = os.fstat(pipe), os.fstat(place)
        if not stat.S_ISFIFO(status.st_mode) or status.st_uid != os.geteuid():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        os.chown(beneath.path(pipe), owner.st_uid, owner.st_gid)
    finally:
        os.close(pipe)


@contextlib.contextmanager
def _named_pipes(stack: Stack, place: str) -> Iterator[str]:
    """Named pipes for the programs of a container: the path of the one for archives, or nothing without them."""
    mark = beneath.random_name("-")
    paths = [os.path.join(place, name + mark) for name in (_PIPE, _SCRIPT_PIPE)] if place else []
    made: List[str] = []
    usable = False
    os.makedirs(_SCRATCH, mode=0o700, exist_ok=True)
    # Whoever comes after a killed run need not ask the engine where they are.
    with tempfile.TemporaryDirectory(prefix=stack.name + "-backup-", dir=_SCRATCH) as noted:
        try:
            # A full disk, above all, is no reason to have no backup: the engine hands everything on then.
            with contextlib.suppress(OSError):
                write(noted, [File(PIPES, "\n".join(paths), 0o600)])
                with beneath.opened(place) as shared:
                    if shared is not None:
                        for path in paths:
                            made.append(path)
                            _make_pipe(os.path.basename(path), shared)
                    usable = bool(made)
            yield paths[0] if usable else ""
        finally:
            for path in made:
                remove_pipe(path)


def remove_pipe(path: str) -> None:
    """Remove a named pipe, and nothing else."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISFIFO(os.lstat(path).st_mode):
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
        session.query(_LIMITS)
        return session

    def query(self, statement: str, *values: str) -> List[List[Optional[str]]]:
        """Ask one thing in a session of its own, beside the stack's database; each %s becomes a quoted value."""
        with self._beside() as session:
            return _ask(session, statement, *values)

    def _beside(self) -> PostgresSession:
        """A session in no database that anything is done to."""
        return self.session("postgres" if self.name != "postgres" else "template1")

    def end_dead_runs(self) -> None:
        """End what a killed run has left: its programs, and its sessions, which would hold a snapshot or a database.

        They have ended when this returns: a rename that was under way is done by then, or never will be.
        """
        _kill_programs(self.application.encode("ascii"))
        _remove_pipes(self._stack)
        throwaway.remove_leftovers(self._stack)
        # Interpolated is text quoted for SQL.
        self._until_gone(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s "  # noqa: S608
            "AND pid <> pg_backend_pid()" % literal(self.application),
            "What a former run was doing in %s does not end: look for sessions of %s" % (self.server, self.application),
        )
        # It may have died while it let nobody in.
        if self.query("SELECT FROM pg_database WHERE datname = %s AND NOT datallowconn", self.name):
            self._allow([self.name], True)
        for mark in (DRILL, COMPARED):
            # What cannot be removed now is in the way of the next drill, and says so there.
            with contextlib.suppress(OperatorError):
                self.drop(self.called(mark))

    def end_sessions(self) -> None:
        """End who is in the stack's database now. What they have not committed when this returns never will be.

        A server works on for a client that was killed, until it next has something to tell it.
        """
        now = literal(self.query("SELECT clock_timestamp()")[0][0] or "")
        self._until_gone(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s "  # noqa: S608
            "AND pid <> pg_backend_pid() AND pg_has_role(usesysid, 'MEMBER') AND backend_start <= %s::timestamptz"
            % (literal(self.name), now),
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
            place = shared_place(self._stack)
            container = throwaway.client(self._stack, self.server, newest, place, _ARCHIVES)
            with container as identifier, _named_pipes(self._stack, place) as pipe:
                yield Client([*command, identifier], self.server.user, self.application, _ARCHIVES, pipe)
            return
        running = self._stack.running(service.name)
        if not running:
            raise OperatorError("PostgreSQL of the stack %s does not run any more." % self._stack.name)
        # Where this host does not see the server's data, the server does not see a pipe of this host.
        with _named_pipes(self._stack, volume(self._stack)) as pipe:
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

    def creation(self) -> List[List[Optional[str]]]:
        """How a database like the stack's own is made: encoding, collation and so on; nothing if that is not there."""
        return self.query(_CREATION, self.name)

    def create(self, name: str, like: Sequence[Sequence[Optional[str]]] = ()) -> None:
        """Make an empty database with the owner of the stack's own.

        like: how it is made, see :meth:`creation`; like the stack's own if not given.
        """
        owner = self.query("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", self.name)
        whose = " OWNER %s" % identifier(owner[0][0] or "") if owner else ""
        options = creation_options(like or self.creation())
        self.query("CREATE DATABASE %s TEMPLATE template0%s%s" % (identifier(name), whose, options))
        self.quiet(name, True)

    def quiet(self, name: str, quiet: bool) -> None:
        """Keep triggers from noticing who logs in to a database while it is filled: they may write rows."""
        if major(self.version()) >= WITH_LOGIN_TRIGGERS and self.superuser():
            self.query(quieting(name, quiet))

    def version(self) -> str:
        """The server's version, such as "15.18"."""
        with self._beside() as session:
            return version(session)

    def copy(self, name: str) -> List[str]:
        """Copy the stack's database inside its server. Ends who is in it; nobody gets in meanwhile.

        As files, at the speed of the disk, and not through the log of changes. What belongs to the database itself, as
        rights on it and its settings do, a copy does not have: it is carried over. Returns a sentence for each of these
        that our role may not set.
        """
        with self.session() as session:
            carried, newest = properties(session), major(version(session))
        owner = self.query("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", self.name)[0][0]
        names = tuple(map(identifier, (name, owner or "", self.name)))
        statement = "CREATE DATABASE %s OWNER %s TEMPLATE %s" % names
        if newest >= 15:
            statement += " STRATEGY file_copy"
        subscriptions = self._subscriptions()
        with self._closed(self.name):
            self._in_use(statement)
            self._allow([self.name], True)
        told = self.take_on(name, carried)
        if subscriptions:
            with self.session(name) as session:
                for one in subscriptions:
                    session.query(one)
        return told

    def take_on(self, name: str, carried: Sequence[Sequence[str]]) -> List[str]:
        """Give a database what :func:`properties` tells of another one; return a sentence for what our role may not."""
        told = []
        for head, tail in carried:
            try:
                self.query(head + identifier(name) + _EMPTY_NAME.sub("''", tail))
            except Refused as exc:
                if exc.code != _NOT_PERMITTED:
                    raise
                told.append("only a superuser can say of it again: %s…%s" % (head, tail))
        return told

    def _subscriptions(self) -> List[str]:
        """Statements that make the subscriptions of the stack's database; as pg_dump writes them, they sleep."""
        if not bystanders.subscriptions(self.query, self.name):
            return []
        with self.client() as client:
            # Without tables, whose locks somebody may have.
            done = self._stack.runner.run(client.definitions(self.name, "--exclude-schema=*"))
        if done.rc:
            raise failure(done, "The subscriptions of the database %s cannot be read" % self.name)
        kinds = ("SUBSCRIPTION ", "COMMENT SUBSCRIPTION ", "SECURITY LABEL SUBSCRIPTION ")
        known = archive.definitions(done.out)
        return [known[key] for kind in kinds for key in known if key.startswith(kind)]

    def _in_use(self, statement: str) -> None:
        """Do what takes a database that nobody is in. Who has just been ended may need a moment to be gone."""
        for left in reversed(range(_ATTEMPTS)):
            try:
                self.query(statement)
                return
            except Refused as exc:
                if exc.code != _OBJECT_IN_USE or not left:
                    raise

    @contextlib.contextmanager
    def _closed(self, *names: str, discard: bool = False) -> Iterator[None]:
        """Let nobody into databases, and end who is in them, whatever they are: clients, replication, workers.

        The block lets them in again, under whatever name; if it fails that is done here, and when it is killed by the
        next run (:meth:`end_dead_runs`). discard: whether prepared transactions are rolled back; else that fails.
        """
        try:
            with self._beside() as session:
                for left in reversed(range(_ATTEMPTS)):
                    remaining = self._clear(functools.partial(_ask, session), names, discard)
                    if remaining and not (discard and left):
                        raise OperatorError(remaining[0])
                    if not remaining:
                        break
            yield
        except BaseException:
            with contextlib.suppress(OperatorError):
                self._allow(names, True)
            raise

    def _clear(self, ask: bystanders.Query, names: Sequence[str], discard: bool) -> List[str]:
        """Let nobody into databases, and end who is in them; return what of prepared transactions remains."""
        with contextlib.ExitStack() as open_now:
            begun = {name: bystanders.prepared(ask, name) for name in names} if discard else {}
            # Only in their own database they can be ended: we are there before nobody is let in any more.
            ours = {name: open_now.enter_context(self._inside(name)) for name in begun if begun[name]}
            self._allow(names, False, ask)
            self._empty(ask, names, [session.query("SELECT pg_backend_pid()")[0][0] or "" for session in ours.values()])
            for name, session in ours.items():
                for item in begun[name]:
                    session.query("ROLLBACK PREPARED %s" % literal(item.name))
        return [bystanders.in_the_way(item, name) for name in names for item in bystanders.prepared(ask, name)]

    def _inside(self, name: str) -> PostgresSession:
        self._allow([name], True)
        return self.session(name)

    def _allow(self, names: Sequence[str], anybody: bool, ask: Optional[bystanders.Query] = None) -> None:
        """Let everybody into databases, or nobody any more, not even a superuser. One that is not there is left out."""
        ask = ask or self.query
        for name in names:
            if ask("SELECT FROM pg_database WHERE datname = %s", name):
                ask(_allowing(name, anybody))

    def _empty(self, ask: bystanders.Query, names: Sequence[str], spared: Sequence[str]) -> None:
        """End who is in databases, until nobody is; *spared* are the processes of our own sessions there."""
        until = time.monotonic() + _SECONDS_TO_END
        while True:
            every = [item for name in names for item in bystanders.sessions(ask, name)]
            present = [item for item in every if str(item.pid) not in spared]
            if not present:
                return
            if time.monotonic() > until:
                raise OperatorError(
                    "%s of %s is in use by %s, which does not end: end it, or wait until it has ended; then run this "
                    "again." % (" and ".join(names), self.server, ", ".join(map(str, present)))
                )
            for item in present:
                if item.ours:
                    ask("SELECT pg_terminate_backend(%s::int)", str(item.pid))
            time.sleep(0.05)

    def schema(self, session: Optional[PostgresSession] = None) -> str:
        """A fingerprint of the schema, and of the migrations that the services say they have made."""
        if session is None:
            with self.session() as session:
                return self.schema(session)
        try:
            return self._schema(session)
        except Refused as exc:
            holders = bystanders.holders(self.query, self.name) if exc.code == _LOCKED else []
            if not holders:
                raise
            raise Refused(
                "The schema of the database %s cannot be looked at, because of a lock of %s: let that end, or end it "
                "(SELECT pg_terminate_backend), then run this again." % (self.name, " and ".join(holders)),
                exc.code,
            ) from exc

    def _schema(self, session: PostgresSession) -> str:
        found = inspection.schema(session)
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
        statement = "DROP DATABASE IF EXISTS %s WITH (FORCE)" % identifier(name)
        known = self.query("SELECT datistemplate, datconnlimit FROM pg_database WHERE datname = %s", name)
        if not known:
            return
        if known[0][1] == _HALF_DROPPED:
            # Nothing else can be done with one whose removal was cut off.
            self.query(statement)
            return
        self._leave_subscriptions(name, "SET (slot_name = NONE)", "DROP SUBSCRIPTION %s")
        if known[0][0] == "t":
            self.query("ALTER DATABASE %s IS_TEMPLATE false" % identifier(name))
        with self._closed(name, discard=True):
            self.query(statement)

    def rename(self, name: str, other: str) -> None:
        """Give a database that is not the stack's own another name, and end who is in it."""
        if name == self.name:
            raise OperatorError("The database of the stack itself is only swapped.")
        with self._closed(name):
            self._in_use("; ".join([_renaming(name, other), _allowing(other, True)]))

    def swap(self, coming: str, leaving: str, back: bool = False) -> None:
        """Let *coming* be the stack's database, and call the present one, if any, *leaving*: both at once or nothing.

        Ends who is in them. Nobody gets in before it is done. back: whether prepared transactions of what leaves are
        rolled back with it, because nothing shall keep the former data from coming back.
        """
        pairs = [(self.name, leaving)] if self.exists(self.name) else []
        pairs.append((coming, self.name))
        statements = [_renaming(*pair) for pair in pairs] + [_allowing(new, True) for _old, new in pairs]
        with self._closed(*(old for old, _new in pairs), discard=back):
            self._in_use("; ".join(statements))

    def replaced(self, name: str) -> List[str]:
        """Clean up after the stack's database was replaced for good, and is called *name* since; a sentence for each.

        Its subscriptions would go on to fill it, and are put to sleep; its replication slots would keep WAL for ever,
        and are removed.
        """
        self._leave_subscriptions(name)
        told = [
            "the subscription %s sleeps in the database that has come: copy its tables anew, and ALTER SUBSCRIPTION %s "
            "ENABLE" % (one, identifier(one))
            for one, enabled in sorted(bystanders.subscriptions(self.query, self.name).items())
            if not enabled
        ]
        return told + self._release_slots(name)

    def _leave_subscriptions(self, name: str, *further: str) -> None:
        """Let the subscriptions of a database that is not the live one any more end their work. further: as well."""
        for subscription in bystanders.subscriptions(self.query, name):
            # One that cannot be looked at keeps its subscriptions: what comes next says so.
            with contextlib.suppress(Refused), self._inside(name) as session:
                for what in ("DISABLE", *further):
                    statement = what if "%s" in what else "ALTER SUBSCRIPTION %s " + what
                    session.query(statement % identifier(subscription))

    def _release_slots(self, name: str) -> List[str]:
        told = []
        for slot in bystanders.slots(self.query, name):
            try:
                self.query("SELECT pg_drop_replication_slot(%s)", slot)
                told.append(
                    "the replication slot %s was one of the database that is called %s now, and is removed: its client "
                    "has to make it anew in %s and copy its tables again" % (slot, name, self.name)
                )
            except Refused as exc:
                told.append(
                    "the replication slot %s belongs to the database that is called %s now and keeps WAL for ever; it "
                    "cannot be removed: %s" % (slot, name, exc.message)
                )
        return told

    def affected(self) -> List[str]:
        """Who is in the stack's database beside its own services, and is cut off when that is copied or replaced."""
        users = [] if self._stack.postgres else [self.server.user]
        return bystanders.affected(self.query, self.name, self._stack.addresses(), users)

    def obstacles(self) -> List[str]:
        """What would keep the stack's database from being copied or replaced, a sentence for each."""
        return bystanders.obstacles(self.query, self.name)

    def roles(self) -> Set[Optional[str]]:
        """The roles of the server."""
        return {name for (name,) in self.query("SELECT rolname FROM pg_roles")}

    def size(self) -> int:
        """Bytes that the stack's database takes."""
        return int(self.query("SELECT pg_database_size(%s)", self.name)[0][0] or 0)


def quieting(name: str, quiet: bool) -> str:
    """The statement that keeps triggers from noticing who logs in to a database, or lets them again."""
    return "ALTER DATABASE %s %s" % (identifier(name), "SET event_triggers TO off" if quiet else "RESET event_triggers")


def _renaming(name: str, other: str) -> str:
    return "ALTER DATABASE %s RENAME TO %s" % (identifier(name), identifier(other))


def _allowing(name: str, anybody: bool) -> str:
    return "ALTER DATABASE %s ALLOW_CONNECTIONS %s" % (identifier(name), str(anybody).lower())


class Client:
    """The command lines of PostgreSQL's client programs, as the superuser or owner of the database."""

    def __init__(self, prefix: List[str], user: str, application: str, place: str = "", pipe: str = "") -> None:
        """*place*: where the programs find the directory with the archive, and beside it the named pipes.

        pipe: where this host sees the one for archives; without one they go through the engine, by standard input and
        output.
        """
        self.pipe = pipe
        self._name = os.path.basename(pipe)
        self._script = self._name.replace(_PIPE, _SCRIPT_PIPE, 1)
        #: Where this host sees the one for scripts.
        self.script = os.path.join(os.path.dirname(pipe), self._script) if pipe else ""
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
        return [*prefix, "sh", "-c", script, os.path.join(self._place, self._name), *command]

    def dump(self, database: str, lock_seconds: float) -> List[str]:
        """Dump, uncompressed: restic compresses, and finds what it has already.

        lock_seconds: how long it waits for the lock of a table before it gives up.
        """
        options = ["--format=custom", "--compress=0", "--lock-wait-timeout=%ds" % max(1, round(lock_seconds))]
        return self._piped(">", self._program("pg_dump", *options, database=database))

    def definitions(self, database: str, *options: str) -> List[str]:
        """Print how everything in a database is defined, or less of it with *options* of pg_dump."""
        return [*self._prefix, *self._program("pg_dump", "--schema-only", *options, database=database)]

    def restore_data(self, database: str) -> List[str]:
        """Restore tables and their rows from an archive on standard input into an empty database."""
        return self._piped("<", self._restore(database, ["--section=pre-data", "--section=data"]))

    def restore_rest(self, database: str, name: str, jobs: int) -> List[str]:
        """Restore indexes, constraints and what else needs all rows, in parallel, from a :func:`kept_archive`."""
        return self._restore_file(database, name, ["--section=post-data", "--jobs", str(jobs)])

    def restore_definitions(self, database: str, name: str) -> List[str]:
        """Restore everything but the rows from a :func:`kept_archive`."""
        return self._restore_file(database, name, ["--schema-only"])

    def _restore_file(self, database: str, name: str, options: List[str]) -> List[str]:
        return [*self._prefix, *self._restore(database, [*options, os.path.join(self._place, name)])]

    def restore_stream(self, database: str, owners: bool = True, rows: bool = True) -> List[str]:
        """Restore an archive from standard input into an empty database, to look at it there.

        owners: without them no other role is needed. rows: whether they are restored as well.
        """
        options = [] if owners else ["--no-owner", "--no-privileges"]
        options += [] if rows else ["--schema-only"]
        return self._piped("<", self._restore(database, options))

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
        """Read an archive from standard input to its last byte, and print all that is data in it as a script.

        Where there is a pipe, another one beside it (:attr:`script`) is what it prints to.
        """
        print_to = 'exec 3<>"$0" >"$0" 3<&-; ' if self.pipe else ""
        command = print_to + "pg_restore --data-only -f - && ! read -r more"
        return self._piped("<", ["sh", "-c", command, os.path.join(self._place, self._script)])


def missing_roles(dump: str, present: Set[Optional[str]]) -> List[str]:
    """The statements of "pg_dumpall --roles-only" that make the roles which are not *present*.

    Memberships come with them when one side is a role that is made. Raises OperatorError for what it does not write.
    """
    return [one.sql for one in statements.roles(dump) if any(name not in present for name in one.names)]


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
