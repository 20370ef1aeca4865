# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a timer, a person and a controller do with the backups of a stack, with the settings that stand on the host.

Each of these holds the stack's lock, first brings to its end what was cut off, and records what came of it, so
that a missed or failed one is seen.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import json
import os
import subprocess
import time
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

from ansible_collections.meywd.tamma.plugins.module_utils import (
    backup,
    elsa,
    kept,
    moments,
    outside,
    restore,
    retention,
    room,
    signing,
    stopping,
)
from ansible_collections.meywd.tamma.plugins.module_utils.compose import find_compose
from ansible_collections.meywd.tamma.plugins.module_utils.configuration import (
    Configuration,
    configuration_or_none,
    records_file,
)
from ansible_collections.meywd.tamma.plugins.module_utils.database import Database
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError, is_interruption
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, read, write
from ansible_collections.meywd.tamma.plugins.module_utils.history import History
from ansible_collections.meywd.tamma.plugins.module_utils.lock import Busy, Lock, lock_file
from ansible_collections.meywd.tamma.plugins.module_utils.restic import Restic
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack

_NOTIFY_SECONDS = 30
# Before the name of an operation in the records: the last one that went well.
_GOOD = "good_"
# What is older and has no manifest is what a dead run left.
_ORPHAN_SECONDS = 86400

Progress = Callable[[str, str], None]


def records(project: str) -> Dict[str, Any]:
    """What came of the last operations of a stack: repository → operation → entry."""
    try:
        found = json.loads(read(records_file(project)) or "{}")
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}


def room_for_backup(project: str, size: int) -> List[room.Need]:
    """What a backup of a database of *size* bytes takes on the disks of this host, if backups are set up.

    A repository that knows the data already takes what is new: as a guess, twice what the last backup brought.
    """
    settings = configuration_or_none(project)
    if settings is None:
        return []
    known = records(project)
    return [
        room.Need(
            "a backup in the repository %s" % item.name,
            item.location,
            min(size, 2 * (known.get(item.name, {}).get(_GOOD + "backup", {}).get("stored_bytes") or size)),
        )
        for item in settings.repositories
        if item.is_local
    ]


class Operations:
    """The operations on one stack."""

    def __init__(
        self,
        settings: Configuration,
        progress: Progress,
        wait: float = 0,
        resume: Optional[Callable[[], None]] = None,
    ) -> None:
        """*wait*: seconds to wait for another operation on this stack to end.

        resume: completes what was cut off (see ``on_host.operations_of``); an update that takes a backup has done so.
        """
        self.settings = settings
        self.progress = progress
        self._wait = wait
        self._resume = resume
        self._runner = Runner()

    # -- what all of them have in common ------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self, operation: str) -> Iterator[None]:
        with Lock(
            lock_file(self.settings.project), operation, self._wait, lambda who: self.progress("wait", "for %s" % who)
        ):
            backup.remove_leftovers(self.settings.project)
            yield

    def _at_rest(self) -> Stack:
        """The stack, with nothing under way."""
        if self._resume:
            self._resume()
        return self._stack()

    def _stack(self) -> Stack:
        program = find_compose()
        if program is None:
            raise OperatorError("This host has no Docker Compose: let site.yml install it.")
        settings = self.settings
        return Stack(settings.project, settings.directory, Engine(settings.engine_socket), program)

    def store(self, name: str = "") -> Restic:
        """The repository of this name, or the first one."""
        for repository in self.settings.repositories:
            if name in ("", repository.name):
                return Restic(repository, self._runner)
        names = ", ".join(item.name for item in self.settings.repositories) or "none"
        raise OperatorError("There is no repository %s: this host has %s." % (name or "for backups", names))

    def _store_of(self, host: str, name: str) -> Restic:
        """The same as another host sees it, or as we do when *host* is empty."""
        repository = self.store(name).repository
        return Restic(repository._replace(host=host, hostname=host) if host else repository, self._runner)

    def _stores(self, name: str) -> List[Restic]:
        return [self.store(name)] if name else [self.store(item.name) for item in self.settings.repositories]

    def store_with(self, which: str) -> Restic:
        """The first repository that has a backup. Raises OperatorError when there is none, or it cannot be asked."""
        problems = []
        for store in self._stores(""):
            try:
                backup.choose(store, self.settings.project, which)
                return store
            except OperatorError as exc:
                problems.append(exc.message)
        raise OperatorError("\n".join(problems) or "There is no repository for backups on this host.")

    @contextlib.contextmanager
    def _recorded(self, operation: str, repository: str) -> Iterator[Dict[str, Any]]:
        """Record what comes of an operation on a repository, whatever it is."""
        entry: Dict[str, Any] = {"time": moments.now(), "ok": False, "problem": ""}
        began = time.monotonic()
        try:
            yield entry
            entry["ok"] = not entry["problem"]
        except BaseException as exc:
            entry["problem"] = _why(exc)
            raise
        finally:
            entry["seconds"] = round(time.monotonic() - began, 1)
            self._record(operation, repository, entry)

    def _record(self, operation: str, repository: str, entry: Dict[str, Any]) -> None:
        """Write down what came of an operation, and tell of a failure; neither keeps the other from being done.

        A failure has its own message: that it cannot be written down is only told. Raises OperatorError when it was
        a success, which nobody who looks later would see.
        """
        try:
            self._write_down(operation, repository, entry)
        except (OSError, OperatorError) as exc:
            place = os.path.dirname(records_file(self.settings.project))
            why = getattr(exc, "strerror", None) or str(exc).rstrip(".")
            if entry["ok"]:
                raise OperatorError(
                    "The %s in %s went well, but that cannot be written down in %s: %s. Until it can, status and "
                    "metrics know the one before alone." % (operation, repository, place, why)
                ) from exc
            self.progress("record", "that it failed cannot be written down in %s: %s" % (place, why))
        finally:
            if not entry["ok"]:
                self._notify(operation, repository, entry["problem"])

    def _write_down(self, operation: str, repository: str, entry: Dict[str, Any]) -> None:
        records = self.records()
        found = records.setdefault(repository, {})
        found[operation] = entry
        if entry["ok"]:
            found[_GOOD + operation] = entry
        place, name = os.path.split(records_file(self.settings.project))
        write(place, [File(name, json.dumps(records, indent=1, sort_keys=True) + "\n", 0o600)])
        if self.settings.metrics_file:
            directory, name = os.path.split(self.settings.metrics_file)
            write(directory, [File(name, metrics(self.settings.project, records))])

    def records(self) -> Dict[str, Any]:
        """What came of the last operations: repository → operation → entry."""
        return records(self.settings.project)

    def _notify(self, operation: str, repository: str, problem: str) -> None:
        """Tell somebody of a failure; that this fails as well is only told to whoever looks."""
        facts = {"stack": self.settings.project, "operation": operation, "repository": repository, "problem": problem}
        if self.settings.notify_command:
            try:
                subprocess.run(  # pylint: disable=ansible-bad-function
                    ["/bin/sh", "-c", self.settings.notify_command],
                    env={**os.environ, **{"TAMMA_" + key.upper(): value for key, value in facts.items()}},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    timeout=_NOTIFY_SECONDS,
                    check=True,
                )
            except (OSError, subprocess.SubprocessError) as exc:
                self.progress("notify", "the command of tamma_backup_notify_command failed: %s" % type(exc).__name__)
        if self.settings.notify_webhook:
            refused = outside.post(self.settings.notify_webhook, facts, _NOTIFY_SECONDS)
            if refused:
                self.progress("notify", "the webhook does not take it: %s" % refused)

    # -- operations ---------------------------------------------------------------------------

    def backup(self, reason: str, tags: Sequence[str] = (), repository: str = "") -> List[Dict[str, Any]]:
        """Take a backup into every repository, or one. Raises OperatorError when any of them has none in the end."""
        if not self._stores(repository):
            self.store()
        with self._locked("backup"):
            return self.take(reason, tags, repository)

    def take(self, reason: str, tags: Sequence[str] = (), repository: str = "") -> List[Dict[str, Any]]:
        """The same for somebody who holds the stack's lock."""
        stores = [store.repository for store in self._stores(repository)]
        unheard = [item.name for item in stores]
        problems = []
        began = time.monotonic()

        def done(one: backup.Taken) -> None:
            unheard.remove(one.repository)
            entry = {"time": moments.now(), "ok": not one.problem, **one._asdict()}
            entry["seconds"] = one.seconds.get("whole", 0.0)
            if one.problem:
                problems.append("No backup in %s: %s" % (one.repository, one.problem))
            try:
                self._record("backup", one.repository, entry)
            except OperatorError as exc:
                problems.append(exc.message)

        try:
            taken = backup.Taking(
                self._at_rest(),
                stores,
                self.progress,
                lock_seconds=self.settings.lock_seconds,
                key=signing.make_key(self.settings.project),
            ).take(reason, list(tags), done)
        except BaseException as exc:
            seconds = round(time.monotonic() - began, 1)
            for name in unheard:
                entry = {"time": moments.now(), "ok": False, "problem": _why(exc), "seconds": seconds}
                self._record("backup", name, entry)
            raise
        if problems:
            raise OperatorError("\n".join(problems), taken=[one._asdict() for one in taken])
        return [one._asdict() for one in taken]

    def drill(self, which: str = "latest", repository: str = "", unsigned: bool = False) -> List[Dict[str, Any]]:
        """Restore a backup of each repository, or one, where it disturbs nobody, and compare it.

        unsigned: also one that this host has not signed.
        """

        def work(stack: Stack, store: Restic) -> Dict[str, Any]:
            drill = restore.Drill(stack, self.progress, self.settings.drill, self._key(), unsigned)
            return {"id": drill.run(store, which).id}

        return self._each("drill", repository, work)

    def _key(self) -> str:
        return signing.key(self.settings.project)

    def check(self, repository: str = "", everything: bool = False) -> List[Dict[str, Any]]:
        """Check the stored data."""

        def work(_stack: Stack, store: Restic) -> Dict[str, Any]:
            self.progress("check", str(store))
            store.unlock()
            store.check("100%" if everything else self.settings.check_subset)
            return {}

        return self._each("check", repository, work)

    def prune(self, repository: str = "") -> List[Dict[str, Any]]:
        """Remove backups that the retention does not keep, and what dead runs left."""
        return self._each("prune", repository, lambda _stack, store: {"removed": self._prune(store)})

    def _prune(self, store: Restic) -> List[str]:
        store.unlock()
        name = self.settings.project
        listed = store.snapshots({"stack": name})
        of_all = backup.among(store, listed)
        every = backup.ours(store, of_all)
        # A rollback past the one copy that is kept needs the backup from then.
        needed = {item.backup for item in History(self.settings.directory).entries()}
        expired = retention.expired([(item.id, item.time) for item in every], self.settings.keep)
        gone = [item for item in expired if item not in needed]
        manifests, forget = backup.snapshots_of(listed, [item for item in every if item.id in gone])
        left = backup.orphans(store, listed, of_all)
        forget += [item.id for item in left if _age(item.time[:19] + "Z") > _ORPHAN_SECONDS]
        self.progress("prune", "%s: %d of %d backups go" % (store.repository.name, len(gone), len(every)))
        # The manifests first: parts without one are no backup.
        store.forget(manifests)
        store.forget(forget)
        store.prune()
        return gone

    def prune_workflows(self, before: float, failed: bool, dry: bool) -> Dict[str, Any]:
        """Remove what ELSA has finished *before*, in seconds since 1970. Somebody is told when that fails."""
        try:
            with self._locked("removal of finished workflows"):
                return self._prune_workflows(before, failed, dry)
        except BaseException as exc:
            if not dry and not isinstance(exc, Busy):
                self._notify("workflows", "", _why(exc))
            raise

    def _prune_workflows(self, before: float, failed: bool, dry: bool) -> Dict[str, Any]:
        stack = self._at_rest()
        server = elsa.Elsa.of(stack.engine, stack.name, stack.settings.get("ELSA_API_KEY", ""))
        found: Dict[str, Any] = {"dry_run": dry, "before_bytes": _rows_of_elsa(stack)}
        found["instances"] = elsa.prune(server, before, failed, dry, self.progress)
        return {**found, "after_bytes": _rows_of_elsa(stack)}

    def _each(
        self, operation: str, repository: str, work: Callable[[Stack, Restic], Dict[str, Any]]
    ) -> List[Dict[str, Any]]:
        results = []
        problems = []
        with self._locked(operation):
            for store in self._stores(repository):
                with contextlib.suppress(OperatorError), self._recorded(operation, store.repository.name) as entry:
                    try:
                        entry.update(work(self._at_rest(), store))
                    except OperatorError as exc:
                        problems.append("%s: %s" % (store.repository.name, exc.message))
                        if is_interruption(exc):
                            raise KeyboardInterrupt from exc
                        raise
                results.append({"repository": store.repository.name, **entry})
        if problems:
            raise OperatorError("\n".join(problems), results=results)
        return results

    def kept(self) -> List[Dict[str, Any]]:
        """What former restores and releases left for whoever wants to go back, and how much room it takes."""
        return [item._asdict() for item in kept.find(self._stack())]

    def discard(self, names: Sequence[str], needed: bool = False) -> List[Dict[str, Any]]:
        """Remove some of that, or everything when no name is given; what a rollback needs only if *needed*."""
        with self._locked("discard"):
            return [item._asdict() for item in kept.remove(self._at_rest(), names, self.progress, needed)]

    def plan_restore(
        self,
        which: str,
        parts: Sequence[str],
        repository: str = "",
        source: str = "",
        host: str = "",
        unsigned: bool = False,
    ) -> Dict[str, Any]:
        """What a restore would do. It only reads, so it takes no lock and waits for nobody.

        pending: the backup of a restore that has begun and not ended; the next operation sees to that first. cut_off:
        who is in the database now, and none of the stack's services. stopping: what is lost when services stop for it.
        """
        stack = self._stack()
        work = restore.Restoring(stack, self.progress, key=self._key(), unsigned=unsigned)
        planned = work.plan(self._store_of(host, repository), which, parts, source)
        begun = restore.pending(stack.directory)
        stops = stack.writers if {"database", "volumes"} & set(planned.parts) else []
        return {
            **_described(planned),
            "pending": begun.id if begun else "",
            "cut_off": work.cut_off(planned.parts),
            "stopping": stopping.of_services(stack.project, stops),
        }

    def restore(
        self,
        which: str,
        parts: Sequence[str],
        repository: str = "",
        source: str = "",
        host: str = "",
        unsigned: bool = False,
        deadline: float = 300,
    ) -> Dict[str, Any]:
        """Restore parts of a backup. source: the stack that made it, host: the host, if it is another one's.

        unsigned: also of one that this host has not signed.
        """
        with self._locked("restore"):
            store = self._store_of(host, repository)
            work = restore.Restoring(self._at_rest(), self.progress, deadline, self._key(), unsigned)
            planned = work.plan(store, which, parts, source)
            work.apply(store, planned)
            seconds = {"fill_seconds": round(work.filling, 1), "away_seconds": round(work.away, 1)}
            return {**_described(planned), **seconds}

    def info(self) -> List[Dict[str, Any]]:
        """The backups of every repository, and what came of the last operations on it."""
        records = self.records()
        found = []
        for repository in self.settings.repositories:
            entry: Dict[str, Any] = {"repository": repository.name, "location": _without_login(repository.location)}
            try:
                store = self.store(repository.name)
                listed = backup.find(store, self.settings.project) if store.exists() else []
                with concurrent.futures.ThreadPoolExecutor(backup.READERS) as pool:
                    sizes = list(pool.map(functools.partial(_size, store), listed))
                entry["backups"] = [
                    {"id": item.id, "time": item.time, "age_seconds": _age(item.time), **size}
                    for item, size in zip(listed, sizes)
                ]
                damaged = [item["problem"] for item in entry["backups"] if item["problem"]]
                entry["problem"] = damaged[-1] if damaged else ""
            except OperatorError as exc:
                entry.update(backups=[], problem=exc.message)
            entry["last"] = records.get(repository.name, {})
            found.append(entry)
        return found


def _rows_of_elsa(stack: Stack) -> int:
    with Database(stack).session() as session:
        return elsa.size(session)


def _described(planned: restore.Planned) -> Dict[str, Any]:
    return {
        "id": planned.backup.id,
        "time": planned.backup.time,
        "repository": planned.backup.repository,
        "parts": planned.parts,
        "postgres": planned.manifest["postgres"]["version"],
        "rows": sum(planned.manifest["counts"].values()),
        "kept_as": planned.before,
        "doubt": planned.doubt,
    }


def _size(store: Restic, item: backup.Backup) -> Dict[str, Any]:
    """What a backup's manifest says; one that is damaged does not hide the others."""
    try:
        found = backup.manifest(store, item)
    except OperatorError as exc:
        return {"bytes": 0, "reason": "", "tags": [], "postgres": "", "rows": 0, "problem": exc.message}
    return {
        "problem": "" if item.manifests == 1 else _doubled(item),
        "bytes": sum(part["bytes"] for part in found["parts"].values()),
        "reason": found.get("reason", ""),
        "tags": found.get("tags", []),
        "postgres": found["postgres"]["version"],
        "rows": sum(found["counts"].values()),
    }


def _doubled(item: backup.Backup) -> str:
    return (
        "The backup %s has %d manifests, of which the collection writes one: somebody who knows the repository's "
        "password has stored it again. The oldest counts; find out who that was, and change the password."
        % (item.id, item.manifests)
    )


def _why(exc: BaseException) -> str:
    """What is recorded of an operation that did not come to its end."""
    if isinstance(exc, OperatorError):
        return exc.message
    if isinstance(exc, Exception):
        return "it broke off (%s: %s)" % (type(exc).__name__, exc)
    return "it was interrupted"


def _age(moment: str) -> int:
    return int(time.time()) - moments.seconds(moment)


def _without_login(location: str) -> str:
    scheme, separator, rest = location.partition("//")
    return scheme + separator + rest.rpartition("@")[2] if separator else location


# What an entry has, and what Prometheus is told of it.
_METRICS = {
    "success": ("Whether the last operation went well.", False, lambda entry: int(entry["ok"])),
    "last_success_timestamp_seconds": (
        "When an operation last went well.",
        True,
        lambda entry: moments.seconds(entry["time"]),
    ),
    "duration_seconds": ("How long the last good operation took.", True, lambda entry: entry.get("seconds")),
    "bytes": ("How much the last good backup holds.", True, lambda entry: entry.get("bytes")),
    "stored_bytes": (
        "How much the last good backup added to the repository.",
        True,
        lambda entry: entry.get("stored_bytes"),
    ),
}


def metrics(project: str, records: Dict[str, Any]) -> str:
    """What came of the last operations in Prometheus' text format."""
    lines = []
    for name, (meaning, of_good, value) in _METRICS.items():
        found = []
        for repository, entries in sorted(records.items()):
            for operation, entry in sorted(entries.items()):
                if operation.startswith(_GOOD) == of_good and value(entry) is not None:
                    labels = 'stack="%s",repository="%s",operation="%s"' % (
                        project,
                        repository,
                        operation[len(_GOOD) if of_good else 0 :],
                    )
                    found.append("tamma_operation_%s{%s} %s" % (name, labels, value(entry)))
        if found:
            lines += [
                "# HELP tamma_operation_%s %s" % (name, meaning),
                "# TYPE tamma_operation_%s gauge" % name,
                *found,
            ]
    return "".join(line + "\n" for line in lines)
