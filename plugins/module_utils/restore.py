# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores that destroy nothing: into a new database beside the live one, compared, and swapped in by a rename.

Until the swap the stack serves from what it has, and a failure leaves no trace. A journal on the host says
where the way leads: from the swap on forward, and back when the services do not come up with what was
restored. Whoever comes next completes it. What was there before stays, under another name, until somebody
removes it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import os
import shutil
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set

from ansible_collections.meywd.tamma.plugins.module_utils import (
    archive,
    beneath,
    database,
    inspection,
    journals,
    room,
    services,
    signing,
    tables,
    throwaway,
    volumes,
)
from ansible_collections.meywd.tamma.plugins.module_utils import backup as backups
from ansible_collections.meywd.tamma.plugins.module_utils.backup import (
    DATABASE,
    DEFINITIONS,
    ROLES,
    STATE,
    VOLUME,
    Backup,
)
from ansible_collections.meywd.tamma.plugins.module_utils.database import Client, Database
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, read, remove, write
from ansible_collections.meywd.tamma.plugins.module_utils.history import History
from ansible_collections.meywd.tamma.plugins.module_utils.logins import PostgresSession, Refused, identifier
from ansible_collections.meywd.tamma.plugins.module_utils.restic import Restic, unheard
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result, Runner
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack

Progress = Callable[[str, str], None]

JOURNAL = ".tamma/restore.json"
_DEFINITIONS = ".tamma/restore-definitions.json"

# What can be restored: the database, the broker's definitions, the volumes, and the files of the release.
PARTS = ("database", "broker", "volumes", "files")

_JOBS = max(2, min(os.cpu_count() or 2, 8))


# Where the way leads. Preparing and going back both end with everything as it was.
PREPARING = "preparing"
FORWARD = "forward"
BACK = "back"


class Journal(NamedTuple):
    """A restore that is under way. before: the name that the live database gets; stamp: in the names of what stays.

    beside: whether what comes lies beside the volumes; a former version had it inside of them.
    """

    id: str
    repository: str
    parts: List[str]
    scratch: str
    before: str
    stamp: str
    way: str
    beside: bool = False


class Planned(NamedTuple):
    """What a restore would do. before: under which name the present database stays, if it is replaced.

    doubt: what speaks against the backup's origin, if somebody accepted that.
    """

    backup: Backup
    manifest: Dict[str, Any]
    parts: List[str]
    before: str
    stamp: str
    doubt: str = ""


def pending(directory: str) -> Optional[Journal]:
    """The restore that has begun on this host and has not ended."""
    return journals.pending(directory, JOURNAL, Journal, "restore", "look which databases there are, and remove it.")


class Restoring:
    """A restore on its way, of one stack."""

    def __init__(
        self,
        stack: Stack,
        progress: Progress,
        deadline: float = 300,
        key: str = "",
        unsigned: bool = False,
        known_by_id: str = "",
    ) -> None:
        """*deadline*: seconds that a service has to become ready.

        key: has signed what this host took, see signing. unsigned: whether somebody wants also what it has not.
        known_by_id: a backup that this host took before it signed any; it needs no signature, but takes none of others.
        """
        self._known_by_id = known_by_id
        self._key = key
        self._unsigned = unsigned
        self._stack = stack
        self._progress = progress
        self._deadline = deadline
        self._writers = services.Group(stack, stack.writers, deadline, progress)
        # What the restore took: to fill the new database, and without the services that write.
        self.filling = 0.0
        self.away = 0.0

    @functools.cached_property
    def _database(self) -> Database:
        """Not before it is needed: it may have to be started."""
        return Database(self._stack)

    # -- plan -------------------------------------------------------------------------------

    def plan(self, store: Restic, which: str, parts: Sequence[str], source: str = "") -> Planned:
        """Choose a backup and refuse what cannot work; changes nothing. source: the stack that made it, if another."""
        chosen = backups.choose(store, source or self._stack.name, which)
        found, verdict = backups.judged_manifest(store, chosen, self._key)
        unknown = sorted(set(parts) - set(PARTS))
        if unknown:
            raise OperatorError("There is no part %s: a restore takes %s." % (unknown[0], ", ".join(PARTS)))
        known = verdict == signing.UNSIGNED and chosen.id == self._known_by_id
        words = signing.check(chosen.id, verdict, self._unsigned or known)
        if words:
            self._progress("look", words)
        self._refuse(found, source, parts)
        stamp = time.strftime("%Y%m%dt%H%M%Sz", time.gmtime())
        before = self._database.called(database.BEFORE + stamp) if "database" in parts else ""
        planned = Planned(chosen, found, [part for part in PARTS if part in parts], before, stamp, words or "")
        if "database" in parts:
            self._check_space(planned)
        return planned

    def _refuse(self, manifest: Dict[str, Any], source: str, parts: Sequence[str]) -> None:
        if manifest["stack"] != (source or self._stack.name):
            raise OperatorError(
                "The backup %s is one of the stack %s, not of %s: name that stack (tamma_backup_restore_source) if you "
                "want its data here." % (manifest["id"], manifest["stack"], self._stack.name)
            )
        if "database" not in parts:
            return
        self._database.check_privileges()
        here = self._database.version()
        if database.major(manifest["postgres"]["version"]) > database.major(here):
            raise OperatorError(
                "The backup %s was made by PostgreSQL %s, and the server here is %s, which cannot read it: deploy the "
                "same major version or a later one first." % (manifest["id"], manifest["postgres"]["version"], here)
            )
        there = {name for (name,) in self._database.query("SELECT name FROM pg_available_extensions")}
        missing = sorted(set(manifest.get("extensions", [])) - there)
        if missing:
            raise OperatorError(
                "The backup %s needs the extension %s, and the server here does not have it: install it there, or "
                "deploy an image of PostgreSQL that has it (POSTGRES_IMAGE)." % (manifest["id"], ", ".join(missing))
            )
        obstacles = self._database.obstacles()
        if obstacles:
            raise OperatorError("\n".join([*obstacles, "Nothing was changed."]))

    def _check_space(self, planned: Planned) -> None:
        """Make sure that there is room for the archive, and on the same disk for a second database."""
        directory = database.volume(self._stack)
        needed = planned.manifest["parts"][DATABASE]["bytes"]
        if directory:
            needed += planned.manifest["size"]
        else:
            directory = os.path.dirname(database.shared_place(self._stack))
        needed, free = room.needed_and_free(directory, needed)
        if free < needed:
            raise OperatorError(
                "A restore needs %s on the file system of %s, and %s are free: the live database stays until the new "
                "one is complete. Make room there first; nothing was changed."
                % (room.human(needed), directory, room.human(free))
            )

    # -- apply ------------------------------------------------------------------------------

    def apply(self, store: Restic, planned: Planned) -> None:
        """Carry the plan out. Raises OperatorError when that fails; then everything is as it was."""
        journal = Journal(
            planned.backup.id,
            store.repository.name,
            planned.parts,
            self._database.called(database.RESTORING),
            planned.before,
            planned.stamp,
            PREPARING,
            beside=True,
        )
        self._note(journal)
        try:
            with concurrent.futures.ThreadPoolExecutor(1) as beside:
                fetched = beside.submit(self._fetch, store, planned)
                if "database" in planned.parts:
                    self._fill(store, planned, journal)
                fetched.result()
        except (OperatorError, OSError, KeyboardInterrupt) as failure:
            self._give_up(journal, failure)
            raise
        journal = journal._replace(way=FORWARD)
        self._note(journal)
        self._swap(journal)

    def fill_beside(self, store: Restic, which: str, name: str) -> None:
        """Restore the database of a backup beside the live one, as *name*; nothing is there when that fails.

        What is called so is replaced. The next run removes what a killed one has left.
        """
        planned = self.plan(store, which, ["database"])
        scratch = self._database.called(database.RESTORING)
        journal = Journal(
            planned.backup.id, store.repository.name, planned.parts, scratch, "", planned.stamp, PREPARING, beside=True
        )
        self._note(journal)
        try:
            self._fill(store, planned, journal)
            self._database.drop(name)
            self._database.rename(scratch, name)
        except (OperatorError, OSError, KeyboardInterrupt) as failure:
            self._give_up(journal, failure)
            raise
        self._end()

    def resume(self, deploys: bool = False) -> bool:
        """Bring a restore that was cut off to its end, or take back what it has left; say whether there was one.

        deploys: whether a deploy follows. Once the former data is back, that may correct what keeps services from
        coming up with it; until then the journal stays, and this completes it afterwards.
        """
        journal = pending(self._stack.directory)
        if journal is None:
            return False
        # A server whose disk is full does not come up.
        database.remove_archives(self._stack)
        services.start_database(self._stack, self._deadline, self._progress)
        if journal.way == FORWARD:
            self._progress("swap", "a former restore was cut off: completing it")
            self._settle(journal)
            self._swap(journal)
        elif journal.way == BACK:
            self._progress("swap", "a former restore was cut off on the way back: completing that")
            self._swap_back(journal, deploys)
        else:
            self._progress("swap", "a former restore was cut off before it changed anything: removing what it left")
            self._undo(journal)
        return True

    def _give_up(self, journal: Journal, failure: BaseException) -> None:
        """Take back what was prepared; if that cannot be done now, the next run does it."""
        try:
            self._undo(journal)
        except OperatorError as exc:
            self._progress("swap", "what was prepared is removed by the next run: %s" % exc.message)
            if isinstance(failure, OperatorError):
                failure.message += " What was prepared beside the live data is still there; the next run removes it."

    def _undo(self, journal: Journal) -> None:
        """Remove everything that was prepared beside the live data."""
        # What takes most room goes first: a server whose disk is full does not come up.
        if "database" in journal.parts:
            database.remove_archives(self._stack)
        for directory in self._volumes().values():
            with self._entered(directory, journal) as volume:
                volumes.forget(volume)
        self._settle(journal)
        if "database" in journal.parts:
            self._database.drop(journal.scratch)
        self._end()

    def _settle(self, journal: Journal) -> None:
        """Let the server come back, and what was under way in it end: only then it is known how far the swap came."""
        if "database" in journal.parts:
            self._database.wait()
            self._database.end_dead_runs()

    def _note(self, journal: Journal) -> None:
        journals.note(self._stack.directory, JOURNAL, journal)

    def _end(self) -> None:
        remove(self._stack.directory, [_DEFINITIONS, JOURNAL])

    def _volumes(self) -> Dict[str, str]:
        return backups.volumes(self._stack)

    @contextlib.contextmanager
    def _entered(self, directory: str, journal: Journal) -> Iterator[volumes.Volume]:
        with contextlib.ExitStack() as open_ones:
            volume = open_ones.enter_context(volumes.entered(directory, self._stack.name))
            if not journal.beside:
                volumes.take_over(volume, volumes.BEFORE + journal.stamp)
            yield volume

    # -- the database -----------------------------------------------------------------------

    def _fill(self, store: Restic, planned: Planned, journal: Journal) -> None:
        """Restore into a new database, and compare it with the manifest."""
        began = time.monotonic()
        self._database.end_dead_runs()
        self._database.drop(journal.scratch)
        self._create(journal.scratch, planned.manifest)
        database.remove_archives(self._stack)
        part = planned.manifest["parts"][DATABASE]
        self._make_roles(store, planned)
        self._progress("fill", "%s from %s into %s" % (room.human(part["bytes"]), store, journal.scratch))
        archived = database.kept_archive(self._stack, backups.DUMP)
        with self._database.client() as client, archived as (path, file):
            # The rows are filled in while they come; what needs them all takes the archive from the disk.
            with _Watched(file, backups.Meter(self._progress, "fill", part["bytes"])):
                printed, kept, filled = store.pipe(
                    part["snapshot"],
                    "/" + backups.DUMP,
                    ["tee", beneath.path(file)],
                    client.restore_data(journal.scratch),
                    named=client.pipe,
                    handed=[file],
                )
            if printed.rc and not unheard(printed):
                raise store.failure(printed)
            # A full disk may take the server with it, which then says something else.
            done = Result(filled.rc or kept.rc, "", filled.err + kept.err.replace(beneath.path(file), path))
            if done.rc == 0:
                self._progress("fill", "indexes and constraints")
                done = self._stack.runner.run(client.restore_rest(journal.scratch, path, _JOBS))
            if done.rc:
                raise database.failure(done, "The backup cannot be restored, and nothing was changed")
            self.filling = time.monotonic() - began
            self._compare(journal.scratch, planned.manifest, client, path)
        self._database.quiet(journal.scratch, False)
        for words in self._database.take_on(journal.scratch, planned.manifest.get("properties", [])):
            self._progress("fill", words)

    def _create(self, name: str, manifest: Dict[str, Any]) -> None:
        """Make the new database like the one that was backed up, or like the present one where that cannot be."""
        like = manifest.get("creation", [])
        try:
            self._database.create(name, like)
        except Refused as exc:
            if not like:
                raise
            self._progress("fill", "the new database is made like the present one: %s" % exc.message)
            self._database.create(name)

    def _compare(self, name: str, manifest: Dict[str, Any], client: Client, archived: str) -> None:
        self._progress("check", "comparing %s with the manifest" % name)
        known = self._database
        compared = known.called(database.COMPARED)

        def refill() -> Result:
            return self._stack.runner.run(client.restore_definitions(compared, archived))

        create = functools.partial(self._create, manifest=manifest)
        comparison = _Comparison(self._stack.runner, client, known.session, create, known.drop)
        with concurrent.futures.ThreadPoolExecutor(1) as beside, known.session(name) as session:
            analyzed = beside.submit(inspection.analyze, session)
            differences = comparison.differences(name, compared, manifest, refill)
            analyzed.result()
            present = known.schema(session)
        if differences:
            raise OperatorError(
                "The restored database is not what the backup says: %s. Nothing was changed; use another backup."
                % "; ".join(differences)
            )
        # What PostgreSQL says in other words now is the same schema for all that.
        History(self._stack.directory).same_schema(present, manifest.get("schema", ""))

    def _make_roles(self, store: Restic, planned: Planned) -> None:
        """Make the roles that the server lacks. Those that exist keep their present passwords and rights."""
        text = store.text(planned.manifest["parts"][STATE]["snapshot"], "/" + ROLES)
        for statement in database.missing_roles(text, self._database.roles()):
            self._database.query(statement)

    # -- the swap ---------------------------------------------------------------------------

    def _swap(self, journal: Journal) -> None:
        """Stop who writes, put the new data in the place of the old, and start again."""
        try:
            self._import_definitions()
            if {"database", "volumes"} & set(journal.parts):
                cut_off = self.cut_off(journal.parts)
                if cut_off:
                    self._progress("swap", "is cut off from the database: %s" % ", ".join(cut_off))
                began = self._writers.stop()
                if "database" in journal.parts and self._database.exists(journal.scratch):
                    self._database.swap(journal.scratch, journal.before)
                if "database" in journal.parts:
                    self._prepare_tables()
                for directory in self._volumes().values():
                    with self._entered(directory, journal) as volume:
                        volumes.swap(volume, volumes.BEFORE + journal.stamp)
                self._writers.start()
                self.away = time.monotonic() - began
        except (OperatorError, OSError, KeyboardInterrupt) as failure:
            self._note(journal._replace(way=BACK))
            self._go_back(journal, failure)
            raise
        if "database" in journal.parts:
            for words in self._database.replaced(journal.before):
                self._progress("swap", words)
        self._end()
        if "database" in journal.parts:
            self._progress("swap", "the database from before is kept as %s" % journal.before)

    def _prepare_tables(self) -> None:
        """Move what an old backup has where the services no longer look, as a deploy does."""
        sql = read(os.path.join(self._stack.directory, tables.INIT_SQL)) or ""
        found = tables.of_own(self._database.server, {tables.INIT_SQL: sql})
        if found:
            for step in found.steps:
                self._progress("swap", step)
            tables.prepare(found)

    def cut_off(self, parts: Sequence[str]) -> List[str]:
        """Who is in the database now and none of the stack's services, if a restore of *parts* replaces it."""
        return self._database.affected() if "database" in parts else []

    def _go_back(self, journal: Journal, failure: BaseException) -> None:
        self._progress("swap", "that failed: back to the former data")
        outcome = " The former data is in its place, and the stack serves with it."
        try:
            self._swap_back(journal)
        except OperatorError as exc:
            outcome = (
                " The way back to the former data failed as well, and the next run goes on with it: " + exc.message
            )
        if isinstance(failure, OperatorError):
            failure.message += outcome

    def _swap_back(self, journal: Journal, deploys: bool = False) -> None:
        """Put the former data back, however far the swap came; what was restored goes."""
        before = volumes.BEFORE + journal.stamp
        moved = []
        for directory in self._volumes().values():
            with self._entered(directory, journal) as volume:
                if volumes.has(volume, before):
                    moved.append(directory)
        swapped = False
        if "database" in journal.parts:
            services.start_database(self._stack, self._deadline, self._progress)
            self._settle(journal)
            swapped = self._database.exists(journal.before)
        if moved or swapped:
            self._writers.stop()
        if swapped:
            self._database.swap(journal.before, journal.scratch, back=True)
        for directory in moved:
            with self._entered(directory, journal) as volume:
                volumes.swap_back(volume, before)
        try:
            self._writers.start()
        except OperatorError as exc:
            if not deploys:
                raise
            self._progress("swap", "the former data is in its place, and the deploy comes next: %s" % exc.message)
            return
        self._undo(journal)

    # -- the rest ---------------------------------------------------------------------------

    def _fetch(self, store: Restic, planned: Planned) -> None:
        """Put everything but the database beside what it shall replace."""
        if "files" in planned.parts:
            self._put_files_beside(store, planned)
        if "volumes" in planned.parts:
            self._fetch_volumes(store, planned)
        if "broker" in planned.parts:
            self._fetch_definitions(store, planned)

    def _fetch_volumes(self, store: Restic, planned: Planned) -> None:
        here = self._volumes()
        for part in [part for part in planned.manifest["parts"] if part.startswith(VOLUME)]:
            directory = here.get(part[len(VOLUME) :])
            if directory is None:
                self._progress("fetch", "%s: this stack has no such volume, it is left out" % part)
                continue
            self._progress("fetch", "%s from %s" % (part, store))
            snapshot = planned.manifest["parts"][part]["snapshot"]
            with volumes.entered(directory, self._stack.name) as volume, volumes.coming(volume) as coming:
                if snapshot != backups.NOTHING:
                    store.restore(snapshot, coming)

    def _put_files_beside(self, store: Restic, planned: Planned) -> None:
        """The files of the release never replace those of the running one: they are there to be looked at."""
        target = os.path.join(self._stack.directory, ".tamma", "restored-" + planned.backup.id)
        shutil.rmtree(target, ignore_errors=True)
        os.makedirs(target, 0o700)
        store.restore(planned.manifest["parts"][STATE]["snapshot"], target, ["/release"])
        self._progress("fetch", "the files of the release are in %s" % target)

    def _fetch_definitions(self, store: Restic, planned: Planned) -> None:
        """Put the broker's definitions beside the journal, without its user here, whose password is today's."""
        if self._stack.rabbitmq is None:
            return
        snapshot = planned.manifest["parts"][STATE]["snapshot"]
        if not planned.manifest["broker"]:
            self._progress("fetch", "the backup has no definitions of a broker")
            return
        found = json.loads(store.text(snapshot, "/" + DEFINITIONS))
        own = self._stack.settings.get("RABBITMQ_USER") or "tamma"
        found["users"] = [user for user in found.get("users") or [] if user.get("name") != own]
        write(self._stack.directory, [File(_DEFINITIONS, json.dumps(found), 0o600)])

    def _import_definitions(self) -> None:
        """Add what the broker had to what it has; nothing of it goes, and doing it twice does no harm."""
        definitions = read(os.path.join(self._stack.directory, _DEFINITIONS))
        if self._stack.rabbitmq is None or definitions is None:
            return
        self._progress("swap", "the definitions of the broker")
        done = backups.rabbitmqctl(self._stack, "import_definitions", stdin=definitions)
        if done.rc:
            raise OperatorError(
                "RabbitMQ does not take the definitions of the backup: %s." % backups.complaint(done), rc=done.rc
            )


class _Comparison(NamedTuple):
    """Compares a restored database with what its backup says. The last three work on databases of its server."""

    runner: Runner
    client: Client
    session: Callable[[str], PostgresSession]
    create: Callable[[str], None]
    drop: Callable[[str], None]

    def differences(
        self, name: str, compared: str, manifest: Dict[str, Any], refill: Callable[[], Result]
    ) -> List[str]:
        """What is not as it should be, a sentence for each.

        compared: a database for the definitions of the archive alone, which *refill* restores into it. PostgreSQL
        writes down many of them in other words after a restore; these have made the same trip, and have to be the same.
        """
        self.drop(compared)
        self.create(compared)
        try:
            with concurrent.futures.ThreadPoolExecutor(2) as beside:
                refilled = beside.submit(refill)
                with self.session(name) as session:
                    found = inspection.contents(session, manifest).differences(manifest)
                done = refilled.result()
                if found or done.rc:
                    if done.rc:
                        raise database.failure(done, "The definitions of the backup cannot be restored by themselves")
                    return found
                dumped = list(beside.map(self._definitions, (compared, name)))
        finally:
            self.drop(compared)
        return inspection.few(archive.compare(*dumped))

    def _definitions(self, name: str) -> Dict[str, str]:
        done = self.runner.run(self.client.definitions(name))
        if done.rc:
            raise database.failure(done, "The definitions in the database %s cannot be read" % name)
        return archive.definitions(done.out)


class _Watched:
    """Tells how far an open file has grown, while others write it."""

    def __init__(self, file: int, moved: Callable[[int], None]) -> None:
        self._file = file
        self._moved = moved
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(1):
            self._moved(os.fstat(self._file).st_size)


class Drill:
    """Restores a backup where nobody is disturbed, compares it, and removes it."""

    def __init__(
        self, stack: Stack, progress: Progress, where: str = "container", key: str = "", unsigned: bool = False
    ) -> None:
        """*where*: beside the live database, or in a server of its own in a container that is thrown away.

        key, unsigned: as for :class:`Restoring`.
        """
        self._key = key
        self._unsigned = unsigned
        self._stack = stack
        self._progress = progress
        self._where = where
        self._database = Database(stack)

    def run(self, store: Restic, which: str = "latest") -> Backup:
        """Raise OperatorError unless the backup can be restored and is what its manifest says."""
        chosen = backups.choose(store, self._stack.name, which)
        found, verdict = backups.judged_manifest(store, chosen, self._key)
        words = signing.check(chosen.id, verdict, self._unsigned)
        if words:
            self._progress("drill", words)
        self._database.end_dead_runs()
        differences = (self._in_a_container if self._where == "container" else self._beside)(store, found)
        if differences:
            raise OperatorError(
                "The backup %s in %s does not restore to what was backed up: %s. Take a new one now, and look at "
                "'tammactl check'." % (chosen.id, store, "; ".join(differences))
            )
        self._progress("drill", "%s is what its manifest says" % chosen.id)
        return chosen

    def _beside(self, store: Restic, manifest: Dict[str, Any]) -> List[str]:
        known = self._database
        known.check_privileges()
        name = known.called(database.DRILL)
        # A role that is gone would be made by a restore; a drill leaves nothing behind.
        owners = not self._missing_roles(store, manifest, known.roles())
        known.drop(name)
        known.create(name)
        try:
            self._progress("drill", "restoring %s beside the live database" % manifest["id"])
            with known.client() as client:
                comparison = _Comparison(self._stack.runner, client, known.session, known.create, known.drop)
                return self._restored(store, manifest, comparison, name, known.called(database.COMPARED), owners)
        finally:
            known.drop(name)

    def _in_a_container(self, store: Restic, manifest: Dict[str, Any]) -> List[str]:
        newest = database.major(manifest["postgres"]["version"])
        self._progress("drill", "restoring %s in a container of its own" % manifest["id"])
        user = self._database.server.user
        with throwaway.server(self._stack, newest, user, "postgres") as (container, login):

            def session(name: str) -> PostgresSession:
                found = PostgresSession(dataclasses.replace(login, database=name))
                found.be_patient()
                return found

            def ask(statement: str) -> None:
                with session("postgres") as found:
                    found.query(statement)

            def create(name: str) -> None:
                self._create_there(ask, name, manifest.get("creation", []))
                if newest >= database.WITH_LOGIN_TRIGGERS:
                    ask(database.quieting(name, True))

            with session("postgres") as found:
                there = {name for (name,) in found.query("SELECT name FROM pg_available_extensions")}
            missing = sorted(set(manifest.get("extensions", [])) - there)
            if missing:
                raise OperatorError(
                    "The backup %s cannot be tried in a container: it needs the extension %s, which the image there "
                    "does not have. Name one that has it in POSTGRES_IMAGE, or let the drill work beside the live "
                    "database (tamma_backup_drill: server)." % (manifest["id"], ", ".join(missing))
                )
            create("drill")
            for statement in self._missing_roles(store, manifest, {user}):
                ask(statement)
            prefix = [self._stack.engine.kind, "exec", "-i", container]
            client = Client(prefix, user, self._database.application)
            # Everything there is thrown away.
            comparison = _Comparison(self._stack.runner, client, session, create, lambda _name: None)
            return self._restored(store, manifest, comparison, "drill", "compared", True)

    def _create_there(self, ask: Callable[[str], None], name: str, rows: Sequence[Sequence[Optional[str]]]) -> None:
        """Make an empty database as like the stack's as the server of the container can; what it cannot is said."""
        statement = "CREATE DATABASE %s TEMPLATE template0" % identifier(name)
        # There are no tablespaces there.
        like = [[*row[:6], None] for row in rows]
        try:
            ask(statement + database.creation_options(like))
            return
        except Refused as exc:
            self._progress("drill", "the server of the container knows no such locale, C is taken: %s" % exc.message)
        # It goes with every encoding, and the encoding decides which texts there can be.
        ask(statement + database.creation_options([["c", row[1], "C", "C", None, None, None] for row in like]))

    def _restored(
        self, store: Restic, manifest: Dict[str, Any], comparison: _Comparison, name: str, compared: str, owners: bool
    ) -> List[str]:
        """Restore a backup into an empty database, and return what is not as it should be."""
        client = comparison.client
        restored = self._restore(store, client, manifest, client.restore_stream(name, owners))
        if restored.rc:
            raise database.failure(restored, "The backup %s in %s cannot be restored" % (manifest["id"], store))

        def refill() -> Result:
            return self._restore(store, client, manifest, client.restore_stream(compared, owners, rows=False))

        return comparison.differences(name, compared, manifest, refill)

    def _missing_roles(self, store: Restic, manifest: Dict[str, Any], present: Set[Optional[str]]) -> List[str]:
        return database.missing_roles(store.text(manifest["parts"][STATE]["snapshot"], "/" + ROLES), present)

    def _restore(self, store: Restic, client: Client, manifest: Dict[str, Any], command: List[str]) -> Result:
        snapshot = manifest["parts"][DATABASE]["snapshot"]
        printed, restored = store.pipe(snapshot, "/" + backups.DUMP, command, named=client.pipe)
        if printed.rc and not unheard(printed):
            raise store.failure(printed)
        return restored
