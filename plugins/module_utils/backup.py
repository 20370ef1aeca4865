# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups: taken of a running stack, read back before they count, and found again.

A backup is several snapshots of restic's, its parts, and a last one with the manifest that names them.
Parts without a manifest are no backup, whatever became of the run that made them.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import secrets
import shutil
import socket
import tempfile
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils import (
    archive,
    bystanders,
    database,
    formats,
    moments,
    signing,
    statements,
)
from ansible_collections.meywd.tamma.plugins.module_utils.compose import last_line
from ansible_collections.meywd.tamma.plugins.module_utils.database import Client, Database
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, read, recorded, write
from ansible_collections.meywd.tamma.plugins.module_utils.logins import Refused
from ansible_collections.meywd.tamma.plugins.module_utils.release import ENV_FILE, every_secret_name
from ansible_collections.meywd.tamma.plugins.module_utils.restic import (
    ProducerFailed,
    Repository,
    Restic,
    Snapshot,
    unheard,
)
from ansible_collections.meywd.tamma.plugins.module_utils.room import human
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack
from ansible_collections.meywd.tamma.plugins.module_utils.volumes import as_it_is, entered

Progress = Callable[[str, str], None]

# 1: with a fingerprint of the schema, and the rows as a session of ours counted them while the dump was taken.
FORMAT = 2
_SCRATCH = "/run/tamma"

#: How long a dump waits for a lock that somebody else has.
LOCK_SECONDS = 60
_GRACE_SECONDS = 10
# A table that is dropped while pg_dump begins makes it fail, and is not missed the next time.
_ATTEMPTS = 4
_MEANWHILE_GONE = re.compile(r"relation .* does not exist|could not open relation|cache lookup failed|OID \d+ does not")

# On a service: where the volumes are mounted that belong into a backup.
VOLUMES_LABEL = "tamma.backup-volumes"

# Parts. Of "volume:<name>" there is one for each volume.
DATABASE = "database"
STATE = "state"
VOLUME = "volume:"
MANIFEST = "manifest"

#: Manifests that are read at a time: most of it is waiting, for restic's key and for the network.
READERS = 4

# Of a part that was empty.
NOTHING = ""

_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}")
_PART = re.compile("(?:%s|%s|%s[A-Za-z0-9][A-Za-z0-9_.-]*)" % (DATABASE, STATE, VOLUME))

DUMP = "database.dump"
_MANIFEST_FILE = "manifest.json"
ROLES = "roles.sql"
DEFINITIONS = "definitions.json"


class Backup(NamedTuple):
    """A backup in one repository. id: the same in every repository. snapshot: of the manifest, see :func:`manifest`.

    host: whose it is; empty for one that was made before backups told. time: of its id, which is signed. manifests:
    how many call themselves so; the oldest counts.
    """

    id: str
    time: str
    repository: str
    snapshot: str
    parts: Dict[str, str]
    host: str = ""
    manifests: int = 1


class Taken(NamedTuple):
    """What became of a backup in one repository; problem is empty when it was read back whole."""

    repository: str
    id: str
    problem: str
    bytes: int
    stored_bytes: int
    seconds: Dict[str, float]


def find(restic: Restic, stack: str) -> List[Backup]:
    """The backups that the repository's host has made of a stack, oldest first; other hosts may store theirs there."""
    return ours(restic, among(restic, restic.snapshots({"stack": stack})))


def among(restic: Restic, listed: Sequence[Snapshot]) -> List[Backup]:
    """The backups that these snapshots are, whoever made them."""
    parts: Dict[Tuple[str, str], Dict[str, str]] = {}
    manifests: Dict[Tuple[str, str], List[Snapshot]] = {}
    # What is called as no version of ours calls one is none: the id becomes a part of paths.
    for item in [item for item in listed if _time(item.tags.get("backup", ""))]:
        if item.tags.get("part") == MANIFEST:
            manifests.setdefault(_whose(item), []).append(item)
        else:
            parts.setdefault(_whose(item), {}).setdefault(item.tags.get("part", ""), item.id)
    found = [
        Backup(
            whose[1],
            _time(whose[1]),
            restic.repository.name,
            same[0].id,
            parts.get(whose, {}),
            whose[0],
            len(same),
        )
        for whose, same in manifests.items()
    ]
    # Whoever knows the password chooses the times of snapshots.
    return sorted(found, key=lambda item: (item.time, item.id, item.host))


def snapshots_of(listed: Sequence[Snapshot], gone: Sequence[Backup]) -> Tuple[List[str], List[str]]:
    """Every snapshot that calls itself one of these backups: the manifests, and the parts."""
    whose = {(item.host, item.id) for item in gone}
    found = [item for item in listed if _whose(item) in whose]
    manifests = [item.id for item in found if item.tags.get("part") == MANIFEST]
    return manifests, [item.id for item in found if item.tags.get("part") != MANIFEST]


def _whose(item: Snapshot) -> Tuple[str, str]:
    return item.tags.get("host", ""), item.tags.get("backup", "")


def ours(restic: Restic, every: Sequence[Backup]) -> List[Backup]:
    """Those of the repository's host. Where a backup does not tell, because an earlier version made it, its manifest
    has the name that the machine had; one that cannot be read is nobody's.
    """
    host = restic.repository.host
    if not host:
        return list(every)
    untold = [item for item in every if not item.host]
    names = {host, restic.repository.hostname or socket.gethostname()}
    formerly = {item.snapshot for item, made in zip(untold, _makers(restic, untold)) if made in names}
    return [item for item in every if item.host == host or item.snapshot in formerly]


def orphans(restic: Restic, listed: Sequence[Snapshot], every: Sequence[Backup]) -> List[Snapshot]:
    """Parts without a manifest: of the repository's host, and those that do not tell whose they are."""
    whole = {(item.host, item.id) for item in every}
    hosts = {restic.repository.host, ""}
    return [
        item
        for item in listed
        if _whose(item) not in whole and (not restic.repository.host or item.tags.get("host", "") in hosts)
    ]


def _makers(restic: Restic, every: Sequence[Backup]) -> List[str]:
    """The hosts that have made these backups; empty where a manifest does not say."""

    def maker(item: Backup) -> str:
        if item.host:
            return item.host
        try:
            return str(manifest(restic, item).get("host", ""))
        except OperatorError:
            return ""

    if not every:
        return []
    with concurrent.futures.ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(maker, every))


def _time(identifier: str) -> str:
    """When a backup of this id was taken, in ISO 8601; empty if that is no id."""
    if not _ID.fullmatch(identifier):
        return ""
    try:
        return time.strftime(moments.FORMAT, time.strptime(identifier[:16], "%Y%m%dT%H%M%SZ"))
    except ValueError:
        return ""


def manifest(restic: Restic, backup: Backup) -> Dict[str, Any]:
    """Read a backup's manifest, and make sure that its parts are there and that all of it is what we write."""
    return judged_manifest(restic, backup, "")[0]


def judged_manifest(restic: Restic, backup: Backup, key: str) -> Tuple[Dict[str, Any], str]:
    """The same, and what is known of its signature (see signing)."""
    text = restic.text(backup.snapshot, "/" + _MANIFEST_FILE)
    try:
        found: Dict[str, Any] = json.loads(text)
        newer = int(found["format"]) > FORMAT
    except (ValueError, KeyError, TypeError) as exc:
        raise OperatorError("The manifest of the backup %s cannot be read (%s)." % (backup.id, exc)) from exc
    if newer:
        raise OperatorError(
            "The backup %s was made by a newer version of the collection (format %s): update the collection first."
            % (backup.id, found["format"])
        )
    strange = _strange(found) or ("id" if found["id"] != backup.id else "")
    if strange:
        raise OperatorError(
            "The manifest of the backup %s cannot be read: its %s is nothing that this collection writes. Use another "
            "backup, and find out who wrote this one." % (backup.id, strange)
        )
    if found.get("owner", backup.host) != backup.host:
        raise OperatorError(
            "The backup %s in %s stands there as one of the host %s, and its manifest says that it is one of %s: "
            "somebody has moved it. Use another backup, and find out who did that."
            % (backup.id, restic, backup.host or "that is not told", found["owner"] or "a host that is not told")
        )
    verdict = signing.verdict(found, key)
    found = {name: value for name, value in found.items() if name in _FIELDS}
    found["properties"] = statements.properties(found.get("properties", []))
    wanted = {name: part["snapshot"] for name, part in found["parts"].items() if part["snapshot"] != NOTHING}
    missing = sorted(name for name, snapshot in wanted.items() if backup.parts.get(name) != snapshot)
    if missing:
        raise OperatorError(
            "The backup %s is not whole in %s: the part %s is missing. Use another backup."
            % (backup.id, restic, missing[0])
        )
    return found, verdict


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_number(value: Any) -> bool:
    return isinstance(value, int)


def _list_of(each: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(each, value))


def _table_of(name: Callable[[Any], Any], each: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(name(key) and each(one) for key, one in value.items())


def _is_pair(value: Any) -> bool:
    return _list_of(_is_text)(value) and len(value) == 2


def _is_part(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _is_text(value.get("snapshot"))
        and re.fullmatch("[0-9a-f]*", value["snapshot"]) is not None
        and _is_number(value.get("bytes"))
    )


def _is_sequence(value: Any) -> bool:
    """A value, and whether it was given away; in the first format the value alone."""
    return _is_number(value) or (isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)))


def _is_server(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and re.fullmatch(r"\d+(\.\d+)*", str(value.get("version"))) is not None
        and _is_text(value.get("database"))
    )


# What a manifest has, and how one knows it. Each but the first three may be missing.
_FIELDS: Dict[str, Callable[[Any], Any]] = {
    "id": _is_text,
    "format": _is_number,
    "parts": _table_of(_PART.fullmatch, _is_part),
    "time": _is_text,
    "stack": _is_text,
    "host": _is_text,
    "owner": _is_text,
    "reason": _is_text,
    "tags": _list_of(_is_text),
    "postgres": _is_server,
    "properties": _list_of(_is_pair),
    "creation": _list_of(
        lambda row: _list_of(lambda value: value is None or _is_text(value))(row) and len(row) == database.CREATION
    ),
    "extensions": _list_of(_is_text),
    "broker": lambda value: isinstance(value, bool),
    "size": _is_number,
    "images": _table_of(_is_text, _is_text),
    "schema": _is_text,
    "fingerprint": _is_text,
    "counts": _table_of(_is_text, _is_number),
    "sequences": _table_of(_is_text, _is_sequence),
    "large_objects": _is_number,
}
_NEEDED = ("id", "format", "parts")


def _strange(found: Dict[str, Any]) -> str:
    """The first thing in a manifest that is nothing of ours; empty when all of it is."""
    for name, fits in _FIELDS.items():
        if not fits(found[name]) if name in found else name in _NEEDED:
            return name
    return ""


def choose(restic: Restic, stack: str, which: str) -> Backup:
    """Find a backup: "latest", an id or its beginning, "tag:<tag>", or the newest not after a time.

    Raises OperatorError when there is none, or more than one.
    """
    of_all = among(restic, restic.snapshots({"stack": stack}))
    every = ours(restic, of_all)
    others = [item for item in of_all if item not in every]
    if not every and others:
        raise OperatorError(
            "%s has no backup of the stack %s of the host %s, but some of %s: name the host whose data you want "
            "(tamma_backup_restore_host, '--host')."
            % (_begin(restic), stack, restic.repository.host, _hosts(restic, others))
        )
    if not every:
        raise OperatorError(
            "There is no backup of the stack %s in %s: check tamma_stack_name, and the repository's location."
            % (stack, restic)
        )
    if which in ("", "latest"):
        return every[-1]
    if which.startswith("tag:"):
        tagged = [item for item in every if which[4:] in manifest(restic, item).get("tags", [])]
        if not tagged:
            raise OperatorError("No backup in %s has the tag %s." % (restic, which[4:]))
        return tagged[-1]
    named = [item for item in every if item.id.startswith(which)]
    moment = _moment(which)
    if len(named) > 1 and not moment:
        raise OperatorError("%s begins the ids of %d backups: give more of it." % (which, len(named)))
    if len(named) == 1:
        return named[0]
    before = [item for item in every if moment and item.time <= moment]
    named = [item for item in others if item.id.startswith(which)]
    if named and not before:
        raise OperatorError(
            "The backup %s in %s is one of %s: name that host (tamma_backup_restore_host, '--host') if you want its "
            "data here." % (which, restic, _hosts(restic, named))
        )
    if not before:
        raise OperatorError(
            "There is no backup %s in %s: name an id, a tag (tag:NAME), a time (2026-01-31T12:00:00Z) or 'latest'; the "
            "backups go from %s to %s." % (which, restic, every[0].id, every[-1].id)
        )
    return before[-1]


def _begin(restic: Restic) -> str:
    name = str(restic)
    return name[:1].upper() + name[1:]


def _hosts(restic: Restic, every: Sequence[Backup]) -> str:
    """The hosts of these backups, to be read."""
    names = sorted(set(_makers(restic, every)) - {""})
    return "the host%s %s" % ("s" if len(names) > 1 else "", ", ".join(names)) if names else "a host that is not known"


def _moment(text: str) -> str:
    """A time in ISO 8601, in UTC, made whole; empty for something else."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?Z?)?", text)
    if not match:
        return ""
    day, minute, second = match.groups()
    return "%sT%s%sZ" % (day, minute or "23:59", second or ":59")


class _Dump:
    """The dump of the database: taken once, and read back from the repository that has it."""

    def __init__(self, known: Database, progress: Progress, lock_seconds: float) -> None:
        self._database = known
        self._progress = progress
        self._lock_seconds = lock_seconds
        #: Where it can be read: the first repository that has it whole, and its snapshot there.
        self.store: Optional[Restic] = None
        self.snapshot = ""
        #: Of the manifest: how the schema was written down then.
        self.facts: Dict[str, Any] = {}

    def into(self, store: Restic, tags: Dict[str, str], when: str, client: Client) -> Dict[str, Any]:
        """Store it; return restic's summary."""
        meter = Meter(self._progress, "dump", max(1, self._database.size()))
        if self.store:
            self._progress("dump", "from %s into %s" % (self.store, store))
            try:
                return store.copy(self.store, self.snapshot, "/" + DUMP, tags, when, DUMP, meter)
            except ProducerFailed as exc:
                self._progress("dump", "%s The database is dumped once more." % self.store.failure(exc.result).message)
                self.store = None
        self._progress("dump", "%s into %s" % (self._database.name, store))
        for left in reversed(range(_ATTEMPTS)):
            waiting = bystanders.Waiting(
                self._database.query, self._database.application, self._lock_seconds, self._progress
            )
            try:
                with waiting:
                    return self._take(store, tags, when, client, meter)
            except ProducerFailed as exc:
                if waiting.gave_up or not (left and _MEANWHILE_GONE.search(exc.result.err)):
                    raise self._broke_off(waiting, database.failure(exc.result, self._what)) from exc
                self._progress("dump", "something went away while it was dumped: once more")
        raise AssertionError

    def _take(self, store: Restic, tags: Dict[str, str], when: str, client: Client, meter: "Meter") -> Dict[str, Any]:
        known = self._database
        # It gives up by itself if nobody is left who watches it.
        command = client.dump(known.name, self._lock_seconds + _GRACE_SECONDS)
        before = self._schema()
        summary = store.store(tags, when, command, DUMP, moved=meter, named=client.pipe)
        after = self._schema()
        self.facts = {"schema": after if before == after else ""}
        return summary

    def _schema(self) -> str:
        """The schema's fingerprint; empty where somebody's lock keeps it from being told, which harms no backup."""
        try:
            with self._database.session() as session:
                session.query("SET lock_timeout TO '2s'")
                return self._database.schema(session)
        except Refused:
            return ""

    @property
    def _what(self) -> str:
        return "The dump of the database %s broke off, and no backup was made of it" % self._database.name

    def _broke_off(self, waiting: bystanders.Waiting, otherwise: OperatorError) -> OperatorError:
        if not waiting.gave_up:
            return otherwise
        return OperatorError(
            "%s: it waited %d s for a lock of %s. Let that end, or end it (SELECT pg_terminate_backend), and take the "
            "backup again." % (self._what, self._lock_seconds, " and ".join(waiting.holders)),
            **otherwise.facts,
        )


class _Opened(NamedTuple):
    """A repository, what keeps it from being used, and the time of the newest backup in it; both may be empty."""

    store: Restic
    problem: str
    newest: str


class Taking:
    """A backup on its way."""

    def __init__(
        self,
        stack: Stack,
        repositories: List[Repository],
        progress: Progress,
        now: Optional[float] = None,
        lock_seconds: float = LOCK_SECONDS,
        key: str = "",
    ) -> None:
        """*now* is the clock, in seconds; it may go backwards. *lock_seconds*: how long the dump waits for a lock.

        key: signs the manifest, see signing.
        """
        self.key = key
        self._stack = stack
        self._stores = [Restic(item, stack.runner) for item in repositories]
        self._progress = progress
        self._now = time.time() if now is None else now
        self._lock_seconds = lock_seconds
        self._database = Database(stack)

    def take(self, reason: str, tags: List[str], done: Callable[[Taken], None]) -> List[Taken]:
        """Take it in every repository; one that fails does not keep the others from theirs.

        The database is dumped once: the other repositories get what the first one that has it gives back.

        done: told of each repository as soon as it is known what became of it. Raises OperatorError when nothing could
        be taken at all, because the stack did not give it.
        """
        if not self._stores:
            raise OperatorError(
                "No repository is configured for backups: set tamma_backup_repositories and run site.yml."
            )
        self._database.end_dead_runs()
        # restic takes half a second to open a repository, whatever it does then.
        with concurrent.futures.ThreadPoolExecutor(len(self._stores) + 1) as beside:
            looked = beside.submit(self._small_files)
            opened = list(beside.map(self._open, self._stores))
            taken = [Taken(one.store.repository.name, "", one.problem, 0, 0, {}) for one in opened if one.problem]
            for failed in taken:
                done(failed)
            if len(taken) == len(opened):
                return taken
            small = looked.result()
        # One on this host first: what the others get is read from it.
        usable = sorted((one for one in opened if not one.problem), key=lambda one: not one.store.repository.is_local)
        begun = self._after_the_newest([one.newest for one in usable if one.newest])
        backup = "%s-%s" % (time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(begun)), secrets.token_hex(2))
        with self._database.session() as session:
            description = {
                "format": FORMAT,
                "id": backup,
                "time": moments.text(begun),
                "stack": self._stack.name,
                "host": socket.gethostname(),
                "reason": reason,
                "tags": tags,
                "postgres": {"version": database.version(session), "database": self._database.name},
                "properties": database.properties(session),
                "creation": self._database.creation(),
                "extensions": [name for (name,) in session.query("SELECT extname FROM pg_extension ORDER BY 1")],
                "broker": self._stack.rabbitmq is not None,
                "size": self._database.size(),
                "images": self._images(),
            }
        dump = _Dump(self._database, self._progress, self._lock_seconds)
        with self._scratch() as state:
            write(state, small)
            for one in usable:
                taken.append(_One(self, one.store, description, dump, state, begun).take())
                done(taken[-1])
        return taken

    def _open(self, store: Restic) -> "_Opened":
        """Open or make a repository, and find the newest backup in it."""
        try:
            if not store.unlock():
                self._progress("store", "making %s" % store)
                store.create()
                return _Opened(store, "", "")
            newest = [item.time for item in find(store, self._stack.name)[-1:]]
        except OperatorError as exc:
            return _Opened(store, exc.message, "")
        return _Opened(store, "", newest[0] if newest else "")

    def _after_the_newest(self, newest: List[str]) -> float:
        """The time of this backup: now, or right after the newest one if the clock went backwards."""
        last = max((moments.seconds(text) for text in newest), default=0)
        if last >= int(self._now):
            self._progress("look", "the clock is behind the newest backup: this one is given the second after it")
            return last + 1
        return self._now

    def _images(self) -> Dict[str, str]:
        return {name: service.image for name, service in sorted(self._stack.project.services.items())}

    def _scratch(self) -> "tempfile.TemporaryDirectory[str]":
        os.makedirs(_SCRATCH, mode=0o700, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=self._stack.name + "-backup-", dir=_SCRATCH)

    def _small_files(self) -> List[File]:
        """What is small: roles, definitions of the broker, the files of the release without its secrets."""
        files = [File(ROLES, self._roles(), 0o600)]
        definitions = self._definitions()
        if definitions is not None:
            files.append(File(DEFINITIONS, definitions, 0o600))
        return [*files, *self._release_files()]

    def _roles(self) -> str:
        self._progress("look", "roles of the database, definitions of the broker, files of the release")
        with self._database.client() as client:
            done = self._stack.runner.run(client.roles(self._database.superuser()), timeout=300)
        if done.rc:
            raise database.failure(done, "The roles of PostgreSQL cannot be dumped")
        return done.out

    def _definitions(self) -> Optional[str]:
        """The broker's exchanges, queues, bindings, users and so on; None without a broker of the stack."""
        if self._stack.rabbitmq is None:
            return None
        found = self._ask_broker("export_definitions", "-")
        for vhost in vhosts_with_internal_exchanges(found):
            columns = ["name", "type", "durable", "auto_delete", "internal", "arguments"]
            listed = self._ask_broker("list_exchanges", "-p", vhost, *columns, "--formatter", "json")
            found["exchanges"] += internal_exchanges(listed, vhost)
        return json.dumps(found, indent=1, sort_keys=True)

    def _ask_broker(self, *words: str) -> Any:
        done = rabbitmqctl(self._stack, *words)
        try:
            if done.rc == 0:
                return json.loads(done.out)
        except ValueError:
            pass
        raise OperatorError(
            "The definitions of RabbitMQ cannot be exported: %s. Is it well ('status')?" % complaint(done), rc=done.rc
        )

    def _release_files(self) -> List[File]:
        """The files that everybody may read, and the settings without secrets."""
        found = []
        hidden = every_secret_name()
        for path in recorded(self._stack.directory):
            full = os.path.join(self._stack.directory, path)
            if path == ENV_FILE:
                values = {key: value for key, value in self._stack.settings.items() if key not in hidden}
                found.append(File("release/" + path, formats.render_dotenv([("Without secrets", values)]), 0o600))
            elif os.path.isfile(full) and os.stat(full).st_mode & 0o004:
                with open(full, encoding="utf-8", errors="surrogateescape") as handle:
                    found.append(File("release/" + path, handle.read(), 0o600))
        return found


def rabbitmqctl(stack: Stack, *words: str, stdin: Optional[str] = None) -> Result:
    """Have the stack's own RabbitMQ do something; one that has just been started is waited for."""
    service = stack.rabbitmq
    prefix = ["exec", "-T", service.name if service else "", "rabbitmqctl", "-q"]
    done = stack.compose.run(*prefix, *words, stdin=stdin, timeout=300)
    # Its health check is content before everything of it runs.
    if done.rc and stack.compose.run(*prefix, "await_startup", "--timeout", "60", timeout=90).rc == 0:
        done = stack.compose.run(*prefix, *words, stdin=stdin, timeout=300)
    return done


def complaint(done: Result) -> str:
    """Why rabbitmqctl failed; how it is used comes behind."""
    said = done.err or done.out
    return next((line.rstrip(".:") for line in said.splitlines() if line.startswith("Error")), last_line(said))


def vhosts_with_internal_exchanges(definitions: Dict[str, Any]) -> List[str]:
    """Where a binding names an exchange that the definitions lack: RabbitMQ's export leaves internal ones out."""
    known = {(item["vhost"], item["name"]) for item in definitions.get("exchanges") or []}
    named = set()
    for item in definitions.get("bindings") or []:
        named.add((item["vhost"], item["source"]))
        if item["destination_type"] == "exchange":
            named.add((item["vhost"], item["destination"]))
    return sorted({vhost for vhost, name in named - known if _made_by_somebody(name)})


def internal_exchanges(listed: List[Dict[str, Any]], vhost: str) -> List[Dict[str, Any]]:
    """Those of "rabbitmqctl list_exchanges" that the export leaves out, as definitions have them."""
    return [
        {**item, "vhost": vhost, "arguments": _plain(["", "table", item["arguments"]])}
        for item in listed
        if item["internal"] and item["durable"] and _made_by_somebody(item["name"])
    ]


def _made_by_somebody(exchange: str) -> bool:
    return exchange != "" and not exchange.startswith("amq.")


def _plain(argument: List[Any]) -> Any:
    """The value of an argument, which is told as its name, its type and its value."""
    kind, value = argument[-2:]
    if kind == "table":
        return {item[0]: _plain(item) for item in value}
    return [_plain(item) for item in value] if kind == "array" else value


def volumes(stack: Stack) -> Dict[str, str]:
    """The volumes that belong into a backup: name in the project → directory on the host."""
    found = {}
    for service in stack.project.services.values():
        wanted = service.labels.get(VOLUMES_LABEL, "").split()
        for item in stack.containers(service.name)[:1] if wanted else []:
            for mount in (stack.engine.container(item["Id"]) or {}).get("Mounts") or []:
                if mount.get("Type") == "volume" and mount.get("Destination") in wanted:
                    name = mount["Name"]
                    found[name[len(stack.name) + 1 :] if name.startswith(stack.name + "_") else name] = mount["Source"]
    return found


class _One:
    """A backup on its way into one repository."""

    def __init__(
        self, taking: Taking, store: Restic, description: Dict[str, Any], dump: _Dump, state: str, begun: float
    ) -> None:
        self._stack = taking._stack
        self._progress = taking._progress
        self._database = taking._database
        self._key = taking.key
        self._store = store
        self._description = description
        self._dump = dump
        self._state = state
        self._begun = begun
        self._parts: Dict[str, Dict[str, Any]] = {}
        self._stored: Dict[str, int] = {}
        self._began = time.monotonic()
        self._seconds: Dict[str, float] = {}

    def take(self) -> Taken:
        name = self._store.repository.name
        try:
            # What is small is stored beside the database, which is the sooner after the moment of its snapshot.
            with concurrent.futures.ThreadPoolExecutor(1) as beside:
                small = beside.submit(self._store_directories)
                with self._database.client() as client:
                    self._store_database(client)
                    counted = self._read_back_database(client)
                small.result()
            self._write_manifest({**self._description, **self._dump.facts, **counted._asdict()})
        except OperatorError as exc:
            self._give_up()
            return self._taken("", exc.message)
        if self._dump.store is None:
            self._dump.store, self._dump.snapshot = self._store, self._parts[DATABASE]["snapshot"]
        taken = self._taken(self._description["id"], "")
        self._progress("store", "%s: backup %s, %s" % (name, taken.id, human(taken.bytes)))
        return taken

    def _taken(self, identifier: str, problem: str) -> Taken:
        whole = sum(part["bytes"] for part in self._parts.values()) if identifier else 0
        stored = sum(self._stored.values()) if identifier else 0
        seconds = {**self._seconds, "whole": round(time.monotonic() - self._began, 1)}
        return Taken(self._store.repository.name, identifier, problem, whole, stored, seconds)

    def _tags(self, part: str) -> Dict[str, str]:
        return {**self._own_tags(), "part": part}

    def _own_tags(self) -> Dict[str, str]:
        host = self._store.repository.host
        return {"stack": self._stack.name, "backup": self._description["id"], **({"host": host} if host else {})}

    def _when(self) -> str:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self._begun))

    def _keep(self, part: str, summary: Dict[str, Any], began: float) -> None:
        self._stored[part] = int(summary.get("data_added_packed") or summary.get("data_added") or 0)
        self._seconds[part] = round(time.monotonic() - began, 1)
        self._parts[part] = {
            "snapshot": summary["snapshot_id"],
            "bytes": int(summary.get("total_bytes_processed") or 0),
        }

    def _store_database(self, client: Client) -> None:
        began = time.monotonic()
        self._keep(DATABASE, self._dump.into(self._store, self._tags(DATABASE), self._when(), client), began)

    def _store_directories(self) -> None:
        self._store_directory(STATE, self._state)
        for volume, directory in sorted(volumes(self._stack).items()):
            # restic goes by paths, and a container may put links in their way.
            with entered(directory, self._stack.name) as opened, as_it_is(opened) as mirrored:
                self._store_directory(VOLUME + volume, mirrored)

    def _store_directory(self, part: str, directory: str) -> None:
        began = time.monotonic()
        if not (directory and os.listdir(directory)):
            # restic makes no snapshot of nothing.
            self._parts[part] = {"snapshot": NOTHING, "bytes": 0}
            return
        stored = self._store.store(self._tags(part), self._when(), directory=directory)
        self._read_back(stored["snapshot_id"], "/", ["sh", "-c", "exec cat > /dev/null"], "the part %s" % part)
        self._keep(part, stored, began)

    def _read_back_database(self, client: Client) -> archive.Counted:
        """Read the archive back to its last byte, and count what is in it."""
        began = time.monotonic()
        self._progress("verify", "reading it back from %s" % self._store)
        snapshot = self._parts[DATABASE]["snapshot"]
        what = "the archive of the database"
        read = archive.Reader()
        self._read_back(
            snapshot, "/" + DUMP, client.read_through(), what, client.pipe, reader=read.feed, read_from=client.script
        )
        if not read.whole:
            raise OperatorError("The backup cannot be read back, so it does not count: %s is not whole." % what)
        self._seconds["verify"] = round(time.monotonic() - began, 1)
        return read.counted

    def _read_back(
        self, snapshot: str, path: str, consumer: List[str], what: str, named: str = "", **printed: Any
    ) -> None:
        """Read a part as a restore would, from the repository, to its last byte.

        printed: to whom goes what *consumer* prints, see :meth:`Runner.pipeline`.
        """
        sent, read = self._store.pipe(snapshot, path, consumer, named=named, **printed)
        if sent.rc and not (read.rc and unheard(sent)):
            raise self._store.failure(sent)
        if read.rc:
            raise OperatorError(
                "The backup cannot be read back, so it does not count: %s is not whole (%s)."
                % (what, last_line(read.err))
            )

    def _write_manifest(self, found: Dict[str, Any]) -> None:
        # The tag of a snapshot can be changed by whoever knows the password.
        whole = {**found, "owner": self._store.repository.host, "parts": self._parts}
        text = json.dumps(signing.signed(whole, self._key) if self._key else whole, indent=1, sort_keys=True)
        os.makedirs(_SCRATCH, mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=self._stack.name + "-backup-", dir=_SCRATCH) as directory:
            write(directory, [File(_MANIFEST_FILE, text, 0o600)])
            summary = self._store.store(self._tags(MANIFEST), self._when(), directory=directory)
        if self._store.text(summary["snapshot_id"], "/" + _MANIFEST_FILE) != text:
            raise OperatorError("The manifest cannot be read back from %s, so the backup does not count." % self._store)

    def _give_up(self) -> None:
        """Let everything go, the manifest first; parts that stay without one are no backup all the same."""
        try:
            made = self._store.snapshots(self._own_tags(), patiently=False)
            manifests = [item.id for item in made if item.tags.get("part") == MANIFEST]
            self._store.forget(manifests, patiently=False)
            self._store.forget([item.id for item in made if item.id not in manifests], patiently=False)
        except OperatorError:
            self._progress("store", "%s: parts without a manifest stay until the next prune" % self._store)


class Meter:
    """Tells progress in bytes: how far, how fast, how long still.

    Who is told may say how often, and take measurements another way than the rest (tammactl on a terminal).
    """

    def __init__(self, progress: Progress, phase: str, total: int) -> None:
        self._tell: Progress = getattr(progress, "measured", progress)
        self._every: float = getattr(progress, "every", 5.0)
        self._phase = phase
        self._total = total
        self._began = self._last = time.monotonic()

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now - self._last < self._every:
            return
        self._last = now
        rate = done / max(0.001, now - self._began)
        left = max(0.0, self._total - done) / max(1.0, rate)
        self._tell(
            self._phase,
            "%s of about %s, %s/s, %.0f s left" % (human(done), human(self._total), human(int(rate)), left),
        )


def remove_leftovers(stack: str) -> bool:
    """Remove what a killed run left on the tmpfs, and say whether there was anything; call this under the lock."""
    names = os.listdir(_SCRATCH) if os.path.isdir(_SCRATCH) else []
    # One stack's name may begin with another's.
    left = [name for name in names if re.fullmatch(re.escape(stack) + "-(backup|restore)-[a-z0-9_]{8}", name)]
    for name in left:
        directory = os.path.join(_SCRATCH, name)
        for path in (read(os.path.join(directory, database.PIPES)) or "").splitlines():
            database.remove_pipe(path)
        shutil.rmtree(directory)
    return bool(left)
