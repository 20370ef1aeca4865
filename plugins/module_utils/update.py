# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Putting one release in the place of another: by turns while everything serves, or guarded by a copy of the database.

A journal on the host says how far it came. Until the new release serves, whoever comes next goes back to the former
one, with the database as it was; from then on nobody does, because what was acknowledged since would be lost.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils import (
    audit,
    backup,
    database,
    edge,
    history,
    hooks,
    journals,
    migrations,
    moments,
    operations,
    planner,
    restore,
    retained,
    room,
    services,
    signing,
    upgrades,
)
from ansible_collections.meywd.tamma.plugins.module_utils.configuration import configuration, configuration_or_none
from ansible_collections.meywd.tamma.plugins.module_utils.database import Database
from ansible_collections.meywd.tamma.plugins.module_utils.deployment import Deployment, Planned, sweep
from ansible_collections.meywd.tamma.plugins.module_utils.edge import Edge
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine, addresses, of_service
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError, is_interruption, of_the_system
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, read, recorded, remove, write
from ansible_collections.meywd.tamma.plugins.module_utils.history import Entry, History
from ansible_collections.meywd.tamma.plugins.module_utils.hold import Hold
from ansible_collections.meywd.tamma.plugins.module_utils.logins import Refused
from ansible_collections.meywd.tamma.plugins.module_utils.release import (
    ENV_FILE,
    Release,
    redactor_on_host,
    settings_on_host,
)
from ansible_collections.meywd.tamma.plugins.module_utils.rotation import Journal as Rotation
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack

JOURNAL = ".tamma/update.json"
# The stack's files as they were, with their secrets, until the update has ended.
_BEFORE = ".tamma/before"

# How a release comes.
FIRST, ROLLING, GUARDED = "first", "rolling", "guarded"
MODES = ("auto", ROLLING, GUARDED)

# How far it came: from SERVING on it only goes forward, and from RETURNED on the database is what it was before.
PREPARED, STOPPED, COPIED, SERVING, RETURNED = "prepared", "stopped", "copied", "serving", "returned"

# What became of one that did not come to its end. An incomplete one serves, and the next run does what is left.
ROLLED_BACK, STUCK, INCOMPLETE, UNCHANGED = "rolled_back", "stuck", "incomplete", "unchanged"

# What a copy of files inside the server reaches on a slow disk, for what the operator is told beforehand.
_COPY_BYTES_PER_SECOND = 100 << 20
# Why requests have to wait.
_ANOTHER, _ANEW = "%s get another image", "%s is made anew"
# For a service of a failed release to stop.
_SECONDS_TO_GIVE_UP = 10

Progress = Callable[[str, str], None]
#: Makes the deployment of a release, with secrets to rotate or without.
Make = Callable[[Release, Optional[Rotation]], Deployment]

# Files that are given to a stack, and mounted by these overlays: without one, no container can be made.
_APP = "docker-compose.github-app.yml"
_GIVEN = {
    _APP: "github/app.pem",
    "docker-compose.engine-ssh.yml": "engine/ssh/id",
    "docker-compose.api-ssh.yml": "engine/ssh/id",
}


class RolledBack(OperatorError):
    """The release failed, and the former one serves again."""


class Stuck(OperatorError):
    """The release failed, and the former one could not be brought back."""


class Settings(NamedTuple):
    """How to update. mode: one of MODES. hold: seconds that the edge lets requests wait. keep: how many releases stay.

    backup: whether a guarded update begins with a backup, if backups are set up.
    """

    mode: str = "auto"
    hold: float = 60
    keep: int = 5
    backup: bool = True
    by: str = "root"
    origin: str = ""
    reason: str = ""
    hooks: hooks.Hooks = hooks.Hooks()

    def kept(self) -> Dict[str, Any]:
        """What the next release on this host goes by, when nobody says anything else."""
        return {
            "mode": self.mode,
            "hold": self.hold,
            "keep": self.keep,
            "backup": self.backup,
            "hooks": self.hooks._asdict(),
        }


class Journal(NamedTuple):
    """An update that is under way. guard: the database to go back to, there from COPIED on. copy: the name of the
    database that takes the place of the present one, when the release goes back to it. schema: before the update."""

    number: int
    former: int
    mode: str
    guard: str
    copy: str
    schema: str
    step: str


class Change(NamedTuple):
    """What a deploy is for, when it goes back to the release *target*."""

    reason: str = ""
    target: Optional[Entry] = None
    #: Whether the database goes back as well, because its schema has changed since.
    database: bool = False


def pending(directory: str) -> Optional[Journal]:
    """The update that has begun on this host and has not ended."""
    return journals.pending(
        directory,
        JOURNAL,
        Journal,
        "update",
        "look at 'tammactl releases' and at what runs, remove the file, and deploy the release that you want.",
    )


class Done(NamedTuple):
    """What came of a run. entry: the release that serves now; None if there is none yet."""

    planned: Planned
    work: Deployment
    entry: Optional[Entry]


class Foreseen(NamedTuple):
    """What would come of a run. former: the release that serves. mode: how the new one would come; none: no change.

    words: the same for the operator, with what it costs.
    """

    planned: Planned
    work: Deployment
    former: Optional[Entry]
    mode: str
    words: str = ""


class Update:
    """What changes the release of one stack; the caller holds the stack's lock."""

    def __init__(
        self, make: Make, base: Release, engine: Engine, program: str, progress: Progress, settings: Settings
    ) -> None:
        """*base*: names the stack, and how long things may take. *program*: the path of Compose."""
        self._make = make
        self._base = base
        self._engine = engine
        self._program = program
        self._progress = progress
        self._settings = settings
        self._directory = base.directory
        self.history = History(base.directory)
        # Requests that wait, from the beginning of a guarded update until something serves.
        self._holding: Optional[Hold] = None
        self._held_since = 0.0
        self._known: Optional[Stack] = None
        # For the audit log: what somebody is doing, since when, and what keeps secrets out of it.
        self._doing = audit.DEPLOY
        self._began = time.monotonic()
        self._mask: Callable[[str], str] = str

    # -- what an operator asks for ------------------------------------------------------------

    def run(self, release: Release, rotation: Optional[Rotation] = None) -> Done:
        """Deploy *release*. Raises RolledBack or Stuck when it fails while another one serves."""
        self._doing, self._began = audit.ROTATE if rotation else audit.DEPLOY, time.monotonic()
        work = self._make(release, rotation)
        work.sweep()
        return self._deploy(work, Change())

    def prepare(self, release: Release) -> Foreseen:
        """Do everything for *release* that changes nothing that runs, and refuse what cannot work."""
        work = self._make(release, None)
        work.sweep()
        ready = self._get_ready(work, Change())
        if work.pulled:
            # The rollout may end at another host, and nobody would ever remove them.
            pictures = self._pictures(ready.planned).values()
            retained.name_images(self._engine, self._base.project, {one["id"] for one in pictures if one["id"]})
        return ready

    def foresee(self, release: Release, rotation: Optional[Rotation] = None) -> Foreseen:
        """What :meth:`run` would do; changes nothing."""
        work = self._make(release, rotation)
        work.verify(note=False)
        planned = work.plan()
        current = self.history.current()
        if current is None or not planned.changed:
            return Foreseen(planned, work, current, FIRST if planned.changed else "")
        mode = self._mode(planned, current, Change())
        words = "" if rotation else self._what_happens(mode, planned, self._migrating(planned, current), Change())
        return Foreseen(planned, work, current, mode, words)

    def resume(self, deploys: bool = False) -> bool:
        """Bring an update that was cut off to its end, or go back; say whether there was one. Raises Stuck.

        deploys: whether another deploy follows, which may correct what keeps services from coming up: it does what is
        left of a release that serves, and once the database is back, what is left of the way back. Until it begins,
        the journal stays.
        """
        journal = pending(self._directory)
        sweep(self._base)
        backup.remove_leftovers(self._base.project)
        self._forget_unbegun(journal)
        if journal is None:
            return False
        self._doing, self._began = audit.RESUME, time.monotonic()
        outcome, way = STUCK, "the way back to release %d" % journal.former
        if journal.step == SERVING:
            outcome, way = INCOMPLETE, "completing it"
        try:
            self._mask = redactor_on_host(self._directory).mask
            if journal.step == SERVING:
                self._progress("resume", "release %d serves already: completing it" % journal.number)
                entry = self.history.entry(journal.number)
                entry = entry._replace(seconds=entry.seconds or history.age(entry))
                work = self._make(self.present(), None)
                try:
                    self._complete(work, journal, entry)
                except OperatorError as exc:
                    # Without its schema nobody could go back past it.
                    if not deploys or is_interruption(exc) or self._stack_or_none() is None:
                        raise
                    self._progress("resume", self._mask(exc.message))
                    self._record(journal, self._serves(entry, work.plan()))
            else:
                self._progress(
                    "resume", "release %d was cut off: back to release %d" % (journal.number, journal.former)
                )
                if self._go_back(journal, deploys):
                    self._fail(journal, _cut_off(journal), ROLLED_BACK, self._end)
        except (OperatorError, OSError, KeyboardInterrupt) as exc:
            problem = self._mask(_words(exc))
            self._tell_of_try(journal, outcome, problem)
            raise Stuck(
                "Release %d was cut off, and %s failed: %s\nThe host remembers how far it came: correct this, then "
                "type 'tammactl resume' on it, or run the playbook again." % (journal.number, way, problem),
                **{**getattr(exc, "facts", {}), "outcome": outcome},
            ) from exc
        return True

    def _tell_of_try(self, journal: Journal, outcome: str, problem: str) -> None:
        """Tell of the first try to complete a release that fails; a boot tries on and on."""
        entry = self.history.entry(journal.number)
        if entry.problem:
            return
        with contextlib.suppress(OSError):
            self.history.note(entry._replace(problem=problem.partition("\n")[0]))
        self._tell(journal, outcome, problem)
        self._hook(hooks.FAILED, journal, entry, outcome, problem)

    def _supersede(self, outcome: str, end: Callable[[], None]) -> None:
        """Record what becomes of a release that was cut off and not completed, if there is one; *end* its journal."""
        left = pending(self._directory)
        if left is None or left.step == SERVING:
            end()
            if left:
                self._tell(left, history.SERVES)
            return
        self._fail(left, _cut_off(left), outcome, end)

    def _forget_unbegun(self, journal: Optional[Journal]) -> None:
        """Forget what an operator that died had ready for an update which had not begun yet, or had ended."""
        if journal is None:
            shutil.rmtree(os.path.join(self._directory, _BEFORE), ignore_errors=True)
        for item in self.history.entries():
            if item.outcome == history.RUNNING and (journal is None or item.number != journal.number):
                self.history.forget(item.number)

    def update_to(self, version: str) -> Done:
        """Deploy another version of Tamma with everything else as it is."""
        return self.run(self.of_version(version))

    def of_version(self, version: str) -> Release:
        """What is in place now, with another version of Tamma."""
        release = self.present()
        settings = {**release.settings, "TAMMA_VERSION": version}
        return release._replace(settings=settings, pinned={}, pull_always=version == "latest")

    def rollback(self, number: int = 0) -> Done:
        """Go back to release *number*, or to the one before the present one, which stays for a look at it."""
        self._doing, self._began = audit.ROLLBACK, time.monotonic()
        work, change = self._going_back(number)
        work.sweep()
        if change.database:
            known = self._database_at_work(self._stack())
            copy, item = self._copy_of(known, change)
            if not copy:
                self._make_copy(known, item)
        return self._deploy(work, change)

    def plan_rollback(self, number: int = 0) -> Foreseen:
        """What :meth:`rollback` would do; changes nothing."""
        work, change = self._going_back(number)
        work.verify(note=False)
        planned, current = work.plan(), self.history.current()
        return Foreseen(planned, work, current, self._mode(planned, current, change))

    def database_of_rollback(self, number: int = 0) -> Tuple[str, str]:
        """Which copy takes the place of the database then, and under which name that is kept; nothing if it stays.

        A copy that is gone is told as the backup that it is made of.
        """
        change = self._going_back(number)[1]
        if not change.database:
            return "", ""
        known = Database(self._stack())
        copy, item = self._copy_of(known, change)
        kept = known.called(database.GUARD + str(self.history.next_number()))
        return copy or "the backup %s" % item.backup, kept

    def target(self, number: int = 0) -> Entry:
        """The release that :meth:`rollback` goes back to."""
        present = self.history.current()
        target = self.history.entry(number) if number else self.history.before(present.number) if present else None
        if present is None or target is None:
            raise OperatorError(
                "This host has no release before the one that serves. 'tammactl releases' lists those that it has: "
                "name the one to go back to."
            )
        if target.outcome != history.SERVES:
            raise OperatorError("Release %d never served: choose another one ('tammactl releases')." % target.number)
        return target

    def _going_back(self, number: int) -> Tuple[Deployment, Change]:
        target = self.target(number)
        wanted = self.kept(target)
        self._check_logins(target, wanted)
        work = self._make(wanted, None)
        changed = history.changes_schema(history.since(self.history.entries(), target))
        return work, Change("back to release %d" % target.number, target, changed)

    def _check_logins(self, target: Entry, wanted: Release) -> None:
        """Refuse a release whose login or key the host does not have any more: it would fail with others away."""
        there = {item.path for item in wanted.files}
        lacking = [path for overlay, path in _GIVEN.items() if overlay in wanted.compose_files and path not in there]
        if not (_APP in wanted.compose_files or settings_on_host(self._directory).get("GITHUB_TOKEN")):
            lacking += ["GITHUB_TOKEN"] if _APP in self.present().compose_files else []
        if lacking:
            raise OperatorError(
                "Release %d uses %s, which this host does not have any more: choose another release, or set its "
                "variable again and deploy." % (target.number, " and ".join(sorted(set(lacking))))
            )

    def kept(self, entry: Entry) -> Release:
        """A release of the history as one that can be deployed, with the secrets of today."""
        return history.release_of(
            self._with_options(entry), self.history.files(entry.number), history.hidden_files(self._directory)
        )

    def _with_options(self, entry: Entry) -> Release:
        known = entry.options
        return self._base._replace(
            generated=sorted({*self._base.generated, *known.get("generated", [])}),
            deadline=known.get("deadline", self._base.deadline),
            deadlines=known.get("deadlines", self._base.deadlines),
            drain=known.get("drain", self._base.drain),
        )

    def present(self) -> Release:
        """What is in place now, as a release."""
        return history.release_of(
            self._base, history.open_files(self._directory), history.hidden_files(self._directory)
        )

    # -- deploy -------------------------------------------------------------------------------

    def _deploy(self, work: Deployment, change: Change) -> Done:
        self._mask = work.redactor.mask
        left = pending(self._directory)
        if work.rotates and (left or restore.pending(self._directory)):
            raise OperatorError(
                "%s was cut off on this host and is not complete: type 'tammactl resume' on it, or deploy a release "
                "that can serve, then rotate. No secret was changed."
                % ("Release %d" % left.number if left else "A restore")
            )
        ready = self._get_ready(work, change)
        planned, current = ready.planned, ready.former
        number = self.history.next_number()
        if current is None or work.rotates:
            return self._alone(work, planned, number, FIRST if current is None else ROLLING)
        if not planned.changed or self._is_there(planned, current):
            # Nothing to do is no promise that all is well: it is waited for and asked.
            work.carry_out(planned)
            self._supersede(ROLLED_BACK, self._end)
            return Done(planned, work, current)
        return self._replace(work, planned, current, number, ready.mode, change)

    def _is_there(self, planned: Planned, current: Entry) -> bool:
        """Whether the release is the one that serves already, of which only containers are missing or have ended."""
        files = history.open_files(self._directory)
        return planned.only_starts and history.content(files, self._pictures(planned)) == current.content

    def _get_ready(self, work: Deployment, change: Change) -> Foreseen:
        """Do what changes nothing that serves, refuse what cannot work, and say how the release comes."""
        work.verify()
        planned = work.plan()
        current = self.history.current()
        if current is not None and (planned.changed or planned.plan.refreshes):
            self._check_room(self._mode(planned, current, change), planned, change)
        planned = work.prepare(planned)
        if current is None and self._deployed():
            current = self._adopt(work)
        if current is None:
            unreadable = upgrades.kept_data(self._engine, planned.project)
            if unreadable:
                raise OperatorError("\n".join(unreadable))
        if current is None or not (planned.changed or work.rotates):
            return Foreseen(planned, work, current, FIRST if planned.changed else "")
        mode = self._mode(planned, current, change)
        problems = upgrades.problems(
            self._engine, planned.project, planned.replaced, self._stack_if_there(), current.images
        )
        migrating = self._migrating(planned, current)
        problems = problems or upgrades.kept_data(self._engine, planned.project)
        if problems and change.target:
            problems.append("So release %d cannot be gone back to: choose a later one." % change.target.number)
        if work.rotates and migrating:
            problems.append(
                "Secrets are rotated in the release that runs, and this would bring other images of %s as well: deploy "
                "those first (site.yml or update.yml), then rotate. Nothing was changed." % ", ".join(migrating)
            )
        if mode == GUARDED and not self._is_there(planned, current):
            problems += self._database_at_work(self._stack()).obstacles()
        if problems:
            raise OperatorError("\n".join(problems))
        if work.pulled:
            # What is behind a tag was not known before: it may be a guarded release after all.
            self._check_room(mode, planned, change)
        if not work.rotates:
            self._progress("plan", self._what_happens(mode, planned, migrating, change))
        return Foreseen(planned, work, current, mode)

    def _deployed(self) -> bool:
        return bool(recorded(self._directory)) and bool(self._engine.containers(self._base.project))

    def _mode(self, planned: Planned, current: Optional[Entry], change: Change) -> str:
        """Whether a copy of the database has to guard the release: who writes to it gets another image."""
        if current is None:
            return FIRST
        if change.database:
            return GUARDED
        if self._settings.mode != "auto":
            return self._settings.mode
        stack = self._stack_if_there()
        if stack is None or _elsewhere(stack, planned):
            return ROLLING
        return GUARDED if self._migrating(planned, current) or self._replaced_keepers(stack, planned) else ROLLING

    def _replaced_keepers(self, stack: Stack, planned: Planned) -> List[str]:
        """PostgreSQL and RabbitMQ, if they are made anew, while an edge can let requests wait for them."""
        item = edge.service(stack.project)
        # A copy of another server's database for a restart of RabbitMQ would be too much.
        if item is None or stack.postgres is None or not stack.running(item.name):
            return []
        recreated = {change.service for change in planned.plan.changes if change.action == "recreate"}
        return sorted(recreated & {item.name for item in (stack.postgres, stack.rabbitmq) if item})

    def _migrating(self, planned: Planned, current: Entry) -> List[str]:
        """The services that write to the database and get another image: they may change its schema."""
        listed = self._engine.containers(self._base.project)
        found = []
        for name in planned.replaced_writers:
            image = self._engine.image(planned.project.services[name].image) or {}
            # One whose containers somebody has removed comes back with the image that it had.
            if of_service(listed, name) or image.get("Id", "") != current.images.get(name, {}).get("id"):
                found.append(name)
        return found

    def _what_happens(self, mode: str, planned: Planned, migrating: List[str], change: Change) -> str:
        """How a release comes, why, and what it costs."""
        if mode == ROLLING and not migrating:
            words = "rolling: no service that writes to the database gets another image"
            away = [change.service for change in planned.plan.changes if change.action == "recreate"]
            if away and edge.service(planned.project) is None:
                words += "; without an edge %s are away for as long as their start takes" % ", ".join(away)
            return words
        if mode == ROLLING:
            why = (
                "as asked for" if self._settings.mode == ROLLING else "because this stack's database is another one now"
            )
            return (
                "rolling, %s: %s get another image, and no copy of the database is made that a failure could go back to"
                % (why, ", ".join(migrating))
            )
        cut_off = self._cut_off()
        if change.database:
            return "guarded: the database goes back as well; the present one is kept" + cut_off
        stack = self._stack()
        anew = self._replaced_keepers(stack, planned)
        reasons = [words % ", ".join(names) for words, names in ((_ANOTHER, migrating), (_ANEW, anew)) if names]
        copied = ""
        # A database that does not answer is told by what needs it.
        with contextlib.suppress(OperatorError):
            if self._stack_or_none():
                size = Database(stack).size()
                copied = " (%s), about %d s" % (room.human(size), max(1, round(size / _COPY_BYTES_PER_SECOND)))
        meanwhile = "without an edge %s are away for that and for their start" % ", ".join(stack.writers)
        if edge.service(stack.project):
            meanwhile = (
                "requests wait at the edge for that and for the start of the services: who waits longer than %d s "
                "gets 503" % self._settings.hold
            )
        return "guarded: %s; the database is copied inside its server%s, and %s%s" % (
            " and ".join(reasons) or "as asked for",
            copied,
            meanwhile,
            cut_off,
        )

    def _cut_off(self) -> str:
        """Who is in the database and none of the stack's services, and what keeps it from being copied."""
        # A database that does not answer is told by what needs it.
        with contextlib.suppress(OperatorError):
            stack = self._stack_or_none()
            if stack:
                known = Database(stack)
                others = known.affected()
                words = "; is cut off from the database: %s" % ", ".join(others) if others else ""
                return words + "".join("\nThis keeps it from being done: " + problem for problem in known.obstacles())
        return ""

    def _check_room(self, mode: str, planned: Planned, change: Change) -> None:
        """Refuse what the disks have no room for, before anything is pulled: images, a backup, the guard's copy."""
        needs = []
        if planned.plan.pulls:
            needs.append(room.Need("images", self._engine.directory(), self._size_of_pulls(planned)))
        if mode == GUARDED and not change.database:
            stack = self._stack()
            known = self._database_at_work(stack)
            size, place = known.size(), database.volume(stack)
            if place:
                needs.append(room.Need("the copy of the database", place, size))
            else:
                known.check_privileges()
            if self._settings.backup:
                needs += operations.room_for_backup(self._base.project, size)
        room.check(needs, "This release")

    def _size_of_pulls(self, planned: Planned) -> int:
        """Bytes that the images which have to be pulled take: about as many as those that their services have now."""
        listed = self._engine.containers(self._base.project)
        by_image = {service.image: service.name for service in planned.project.services.values()}
        size = 0
        for name in [by_image[image] for image in planned.plan.pulls if image in by_image]:
            for item in of_service(listed, name)[:1]:
                size += int((self._engine.image(item.get("ImageID") or "") or {}).get("Size") or 0)
        return size

    def _entry(self, work: Deployment, number: int, mode: str, change: Change) -> Entry:
        return Entry(
            number=number,
            time=moments.now(),
            by=self._settings.by,
            origin=self._settings.origin,
            reason=change.reason or self._settings.reason,
            version=work.release.settings.get("TAMMA_VERSION", ""),
            outcome=history.RUNNING,
            mode=mode,
            seconds=0,
            problem="",
            guard="",
            schema="",
            content="",
            images={},
            options={**history.options(work.release), "update": self._settings.kept()},
            target=change.target.number if change.target else 0,
        )

    def _alone(self, work: Deployment, planned: Planned, number: int, mode: str) -> Done:
        """Deploy where there is nothing to go back to, or where the rotation of secrets goes back by itself."""
        before = self.history.current()
        planned = work.apply(planned)
        self._supersede(ROLLED_BACK, self._end)
        entry = self._serves(self._entry(work, number, mode, Change()), planned)
        entry = entry._replace(seconds=round(time.monotonic() - self._began, 1), before=entry.schema)
        same = before is not None and before.content == entry.content
        if before and same:
            entry = before
        else:
            self.history.keep(entry)
            self._retain()
        self._audit(entry, before.number if before else 0, history.SERVES, "")
        return Done(planned, work, entry)

    def _adopt(self, work: Deployment) -> Entry:
        """Take what runs on the host for its first release; it was deployed before there was a history."""
        found = self._make(self.present(), None).plan()
        entry = self._serves(self._entry(work, self.history.next_number(), FIRST, Change("found on the host")), found)
        self.history.keep(entry)
        self._retain()
        self._audit(entry._replace(by="", origin=""), 0, audit.FOUND, "")
        return entry

    def _serves(self, entry: Entry, planned: Planned) -> Entry:
        """The record of a release that serves."""
        pictures = self._pictures(planned)
        content = history.content(history.open_files(self._directory), pictures)
        return entry._replace(
            outcome=history.SERVES, problem="", images=pictures, content=content, schema=self._schema()
        )

    def _pictures(self, planned: Planned) -> Dict[str, Dict[str, str]]:
        """Service → the image that it is made of."""
        pictures = {}
        for name, service in planned.project.services.items():
            found = self._engine.image(service.image) or {}
            pictures[name] = {"reference": service.image, "id": str(found.get("Id", ""))}
        return pictures

    # -- one release in the place of another --------------------------------------------------

    def _replace(
        self, work: Deployment, planned: Planned, current: Entry, number: int, mode: str, change: Change
    ) -> Done:
        began, since = time.monotonic(), int(time.time())
        # If it fails, its images go together with its record.
        entry = self._entry(work, number, mode, change)
        entry = entry._replace(before=self._schema(), images=self._pictures(planned))
        journal = Journal(number, current.number, mode, "", "", "", PREPARED)
        self._hook(hooks.BEFORE, journal, entry)
        try:
            if mode == GUARDED and self._settings.backup and not change.target:
                taken = self._back_up(number)
                entry = entry._replace(backup=taken, signed=bool(taken))
            self._begin(journal, entry)
        except (OperatorError, OSError, KeyboardInterrupt) as exc:
            self._hook(hooks.FAILED, journal, entry, UNCHANGED, _words(exc))
            raise
        try:
            if mode == GUARDED:
                journal = self._guarded(work, journal, change, since)
            else:
                work.carry_out(planned)
                if planned.replaced_writers:
                    migrations.check(self._engine, self._stack(), self._progress, since)
            journal = journal._replace(step=SERVING)
            self._note(journal)
        except (Exception, KeyboardInterrupt) as failure:
            # What the journal on the disk says is further than what is known here.
            journal = pending(self._directory) or journal
            # From SERVING on it only goes forward, also when the failure was in writing that down.
            if journal.step != SERVING:
                self._recover(journal, failure)
        entry = entry._replace(guard=journal.guard, seconds=round(time.monotonic() - began, 1))
        try:
            entry = self._complete(work, journal, entry, planned if mode != GUARDED else None)
        except OperatorError as exc:
            words = self._mask(_words(exc))
            self._tell(journal, INCOMPLETE, words)
            self._hook(hooks.FAILED, journal, entry, INCOMPLETE, words)
            raise
        return Done(planned, work, entry)

    def _begin(self, journal: Journal, entry: Entry) -> None:
        """Put on the disk that a release begins, in the place of what was cut off before; one of both always stands."""
        left = pending(self._directory)
        # A way back that waits for this release has its own, which are those in place now.
        if left is None or left.step == SERVING:
            self._keep_before()
        self.history.note(entry)
        self._supersede(STUCK, lambda: self._note(journal))

    def _hook(self, moment: str, journal: Journal, entry: Entry, outcome: str = "", problem: str = "") -> None:
        """Tell whoever wants to know of a moment of a release."""
        facts = {
            "stack": self._base.project,
            "release": journal.number,
            "former": journal.former,
            "version": entry.version,
            "mode": journal.mode,
            "by": entry.by,
            "reason": entry.reason,
        }
        if outcome:
            facts.update(outcome=outcome, problem=self._mask(problem).partition("\n")[0])
        hooks.run(self._settings.hooks, moment, facts, self._progress)

    def _guarded(self, work: Deployment, journal: Journal, change: Change, since: int) -> Journal:
        """Hold, stop who writes, copy the database, and bring the new release up; return how far it came."""
        stack = self._stack()
        known = Database(stack)
        known.end_dead_runs()
        copy = self._copy_of(known, change)[0] if change.database else ""
        guard = known.called(database.GUARD + str(journal.number))
        if known.exists(guard):
            raise OperatorError(
                "The server has a database %s of a stack that was here before: look at it, and remove it ('tammactl "
                "discard %s --needed')." % (guard, guard)
            )
        journal = journal._replace(step=STOPPED, guard=guard, copy=copy, schema=known.schema())
        self._note(journal)
        self._stop_writers(stack)
        if copy:
            known.swap(copy, guard)
            self._progress("guard", "%s takes the place of the database, which is kept as %s" % (copy, guard))
        else:
            began = time.monotonic()
            for words in known.copy(guard):
                self._progress("guard", words)
            self._progress("guard", "the database is copied to %s (%.1f s)" % (guard, time.monotonic() - began))
        journal = journal._replace(step=COPIED)
        self._note(journal)
        work.carry_out_held(work.plan())
        migrations.check(self._engine, self._stack(), self._progress, since)
        return journal

    def _copy_of(self, known: Database, change: Change) -> Tuple[str, Entry]:
        """The newest copy of the database that the release to go back to can use, and the release whose it is.

        Without a name the copy is gone, and that release has a backup from then. Raises OperatorError without either.
        """
        target = change.target or self.target()
        for item in history.ways_back(self.history.entries(), target):
            if item.guard and known.exists(item.guard):
                return item.guard, item
            if item.backup:
                return "", item
        raise OperatorError(
            "The schema of the database has changed since release %d; the copy from then is gone, and the update that "
            "changed it took no backup. Choose a later release ('tammactl releases'); nothing was changed."
            % target.number
        )

    def _make_copy(self, known: Database, item: Entry) -> None:
        """Make the copy of the database from before a release anew, of the backup from then."""
        work = operations.Operations(configuration(self._base.project), self._progress)
        name = known.called(database.GUARD + str(item.number))
        self._progress(
            "guard", "the copy from before release %d is gone: the backup from then is restored" % item.number
        )
        store = work.store_with(item.backup)
        key = signing.key(self._base.project)
        # This host itself has written down, for root alone, which backup it took before it signed any.
        known_by_id = "" if item.signed else item.backup
        work_on = restore.Restoring(self._stack(), self._progress, self._base.deadline, key, known_by_id=known_by_id)
        work_on.fill_beside(store, item.backup, name)
        self.history.note(item._replace(guard=name))

    def _complete(self, work: Deployment, journal: Journal, entry: Entry, planned: Optional[Planned] = None) -> Entry:
        """The new release serves: let the requests go on, and do what is left. *planned*: what is done already."""
        try:
            if planned is None:
                self._release_held()
                planned = work.plan()
                work.carry_out(planned)
            entry = self._close(journal, self._serves(entry, planned))
        except (OperatorError, OSError, KeyboardInterrupt) as exc:
            self._stop_holding()
            # The playbook of a rollback would go back once more.
            again = "" if self._doing == audit.ROLLBACK else ", or run the playbook again"
            raise OperatorError(
                "%s\nRelease %d serves, and what is left of its deploy is done by the next run: correct this, then "
                "type 'tammactl resume' on the host%s." % (_words(exc), journal.number, again),
                **{**getattr(exc, "facts", {}), "outcome": INCOMPLETE},
            ) from exc
        self._progress("serve", "release %d serves" % entry.number)
        self._hook(hooks.AFTER, journal, entry)
        return entry

    def _close(self, journal: Journal, entry: Entry) -> Entry:
        """Record that a release serves, and end its update."""
        entry = self._record(journal, entry)
        self._tell(journal, history.SERVES)
        self._end()
        return entry

    def _record(self, journal: Journal, entry: Entry) -> Entry:
        """Put the record on the disk, and return it: its copy of the database may be one that nobody needs."""
        if journal.copy:
            self._forget_guard(journal.copy)
            stack = self._stack_or_none()
            if stack:
                self._tell_of_replication(Database(stack), journal.guard)
        self.history.keep(entry._replace(guard=journal.guard))
        self._retain()
        return self.history.entry(entry.number)

    # -- going back ---------------------------------------------------------------------------

    def _recover(self, journal: Journal, failure: BaseException) -> None:
        """Go back after a failure, and raise what tells of it."""
        words = self._mask(_words(failure))
        more = dict(failure.facts) if isinstance(failure, OperatorError) else {}
        self._progress("back", "release %d failed: back to release %d" % (journal.number, journal.former))
        try:
            self._go_back(journal)
            self._fail(journal, words, ROLLED_BACK, self._end)
        except (OperatorError, OSError, KeyboardInterrupt) as exc:
            self._tell(journal, STUCK, words)
            self._hook(hooks.FAILED, journal, self.history.entry(journal.number), STUCK, words)
            raise Stuck(
                "%s\nGoing back to release %d failed as well: %s\nThe host remembers how far it came: correct this, "
                "then type 'tammactl resume' on it, or run the playbook again; both complete the way back."
                % (words, journal.former, self._mask(_words(exc))),
                **{**more, "outcome": STUCK},
            ) from failure
        raise RolledBack(
            "%s\nRelease %d serves again%s." % (words, journal.former, _with_database(journal)),
            **{**more, "outcome": ROLLED_BACK},
        ) from failure

    def _go_back(self, journal: Journal, deploys: bool = False) -> bool:
        """Bring the former release back, and its database if its schema was changed. May be done several times.

        Says whether it serves, which it need not when another deploy follows.
        """
        work = self._make(self._before(), None)
        held = journal.step in (STOPPED, COPIED)
        planned = None
        if held:
            stack = self._stack()
            # Nobody waits for what a failed release has begun.
            writing = self._stop_writers(stack, _SECONDS_TO_GIVE_UP if journal.step == COPIED else None, back=True)
            if journal.step == COPIED:
                # A container of the failed release that crashes is started again by its engine, at any moment, and then
                # migrates the database that has just come back.
                writing.remove()
            planned = self._start_database_as_before(stack, work)
            self._database_as_before(stack, journal)
            # Somebody may write to it from now on: another try leaves alone who serves.
            with contextlib.suppress(OSError):
                self._note(journal._replace(step=RETURNED))
        planned = work.prepare(planned or work.plan())
        try:
            if held:
                work.carry_out_held(planned)
                self._release_held()
                planned = work.plan()
            work.carry_out(planned)
        except (OperatorError, OSError, KeyboardInterrupt) as exc:
            self._stop_holding()
            if not deploys or is_interruption(exc) or work.plan().file_changes:
                raise
            self._progress("resume", self._mask(_words(exc)))
            return False
        return True

    def _stop_holding(self) -> None:
        """Let the requests through to who can answer them, whatever else is not ready.

        Of a service that cannot they go to what runs of it, as they did before anything was held: it may get well by
        itself. Where nothing runs, the edge says when to come again.
        """
        try:
            stack = self._stack()
            if self._holding is None:
                # What an operator that died has begun to hold is held for ever else.
                known = self._new_hold(stack)
                if not known.held:
                    return
                self._holding, self._held_since = known, time.monotonic()
            names = [name for name in self._holding.held if name in stack.project.services]
            ready = services.Group(stack, names, self._base.deadline, self._progress).ready()
            serving = {name: ready.get(name) or self._reachable(stack, name) for name in names}
            self._release_held({name: identifiers for name, identifiers in serving.items() if identifiers})
        except (OperatorError, OSError) as exc:
            self._progress("hold", self._mask(_words(exc)))
            self._close_hold()

    def _start_database_as_before(self, stack: Stack, work: Deployment) -> Optional[Planned]:
        """Start PostgreSQL by its former definition: by one that the failed release has changed it may not come up.

        Returns what is planned for the former release, unless that is another plan by now.
        """
        if stack.postgres is None:
            return None
        planned = work.plan()
        changed = [change.service for change in planned.plan.changes if change.action in ("create", "recreate")]
        anew = stack.postgres.name in changed
        if anew:
            work.put_in_place(work.prepare(planned))
        services.start_database(self._stack(), self._base.deadline, self._progress, anew)
        return None if anew else planned

    def _database_as_before(self, stack: Stack, journal: Journal) -> None:
        known = Database(stack)
        known.wait()
        known.end_dead_runs()
        if not known.exists(journal.guard):
            return
        if journal.copy:
            # What was swapped in goes back to where it was.
            known.swap(journal.guard, journal.copy, back=True)
            return
        # A migration that was cut off may be under way in the server, where nobody sees it before it is committed.
        known.end_sessions()
        if journal.step == COPIED and _changed(known, journal):
            failed = known.called(database.FAILED + str(journal.number))
            known.drop(failed)
            left = "what the failed release made of it is %s" % failed
            if not known.exists(known.name):
                left = "the failed release had dropped it"
            known.swap(journal.guard, failed, back=True)
            self._progress("back", "the database is as it was; %s" % left)
            self._tell_of_replication(known, failed)
        else:
            known.drop(journal.guard)

    def _tell_of_replication(self, known: Database, name: str) -> None:
        """Clean up after the database was replaced for good, which is called *name* now."""
        # What fails here is no reason to stop who serves.
        with contextlib.suppress(OperatorError):
            for words in known.replaced(name):
                self._progress("database", words)

    def _fail(self, journal: Journal, problem: str, outcome: str, end: Callable[[], None]) -> None:
        """Record that a release failed, and end its journal by *end*."""
        entry = self.history.entry(journal.number)
        self.history.note(
            entry._replace(outcome=history.FAILED, problem=self._mask(problem), seconds=history.age(entry))
        )
        self._tell(journal, outcome, problem)
        end()
        self._hook(hooks.FAILED, journal, entry, outcome, problem)

    def _tell(self, journal: Journal, outcome: str, problem: str = "") -> None:
        """Write into the audit log what came of a release that took the place of another one, or should have."""
        self._audit(self.history.entry(journal.number), journal.former, outcome, problem)

    def _audit(self, entry: Entry, former: int, outcome: str, problem: str) -> None:
        audit.tell(
            self._base.project,
            {
                "what": self._doing,
                "by": self._settings.by,
                "origin": self._settings.origin,
                "from": former,
                "to": entry.number,
                "version": entry.version,
                "mode": entry.mode,
                "outcome": outcome,
                "seconds": round(time.monotonic() - self._began, 1),
                "reason": entry.reason,
                "problem": self._mask(problem),
            },
            self._progress,
        )

    # -- what the steps are made of -----------------------------------------------------------

    def _stack(self) -> Stack:
        """The stack as its files are now; Compose reads them again when one was written since."""
        if self._known is None or not self._known.is_current():
            self._known = Stack(self._base.project, self._directory, self._engine, self._program)
        return self._known

    def _stack_if_there(self) -> Optional[Stack]:
        return self._stack() if os.path.exists(os.path.join(self._directory, ENV_FILE)) else None

    def _stack_or_none(self) -> Optional[Stack]:
        """The stack, if its database can be asked."""
        stack = self._stack_if_there()
        return stack if stack and (stack.postgres is None or stack.running(stack.postgres.name)) else None

    def _schema(self) -> str:
        stack = self._stack_or_none()
        return self.history.original(Database(stack).schema()) if stack else ""

    def _stop_writers(self, stack: Stack, seconds: Optional[int] = None, back: bool = False) -> services.Group:
        """Stop who writes to the database, and let the requests to them wait.

        seconds: as for services.Group.stop. back: on the way back, which an edge that cannot hold does not keep up.
        """
        writing = services.Group(stack, stack.writers, self._base.deadline, self._progress)
        # The engine may need long to finish its issue, and meanwhile everybody is served.
        writing.stop_unasked(seconds)
        try:
            self._hold(stack)
        except (OperatorError, OSError) as exc:
            if not back:
                raise
            self._progress("hold", "requests do not wait: %s" % self._mask(_words(exc)))
            self._close_hold()
        writing.stop(seconds)
        return writing

    def _database_at_work(self, stack: Stack) -> Database:
        """The database, whose server is started if somebody has stopped it."""
        services.start_database(stack, self._base.deadline, self._progress)
        return Database(stack)

    def _hold(self, stack: Stack) -> None:
        """Let requests to the services that write wait at the edge, if there is one that runs."""
        item = edge.service(stack.project)
        if item is None or not stack.running(item.name):
            return
        names = [name for name in stack.writers if name in edge.routed(stack.project)]
        self._progress("hold", "requests to %s wait, at most %d s" % (", ".join(names), self._settings.hold))
        if self._holding is None:
            begun = self._new_hold(stack)
            begun.begin(names, self._settings.hold)
            self._holding, self._held_since = begun, time.monotonic()
        serving = {name: [one["Id"] for one in stack.running(name)] for name in names}
        self._holding.drain(serving, self._base.drain)

    def _new_hold(self, stack: Stack) -> Hold:
        return Hold(Edge(stack.compose, self._directory, stack.project), self._engine)

    def _reachable(self, stack: Stack, name: str) -> List[str]:
        """The containers of a service that have an address; one that crashes again and again has none now and then."""
        found = [one["Id"] for one in stack.running(name)]
        return [identifier for identifier in found if addresses(self._engine.container(identifier) or {})]

    def _release_held(self, serving: Optional[Dict[str, List[str]]] = None) -> None:
        """Let them through. serving: to which containers, by service; to all that run if not given."""
        if self._holding is None:
            return
        if serving is None:
            stack = self._stack()
            names = [name for name in self._holding.held if name in stack.project.services]
            serving = {name: [one["Id"] for one in stack.running(name)] for name in names}
        came = self._holding.release(serving, self._base.drain)
        self._progress(
            "hold", "%d connections waited or came through, %.1f s in all" % (came, time.monotonic() - self._held_since)
        )
        self._close_hold()

    def _close_hold(self) -> None:
        if self._holding:
            self._holding.close()
            self._holding = None

    def _back_up(self, number: int) -> str:
        """Take a backup, as a safety net beside the copy in the server; return its id. Without repositories: none."""
        settings = configuration_or_none(self._base.project)
        if settings is None or not settings.repositories:
            self._progress("backup", "none: no repository for backups is set up on this host")
            return ""
        self._progress("backup", "before release %d" % number)
        try:
            taken = operations.Operations(settings, self._progress).take("before release %d" % number)
        except OperatorError as exc:
            # One is enough of a safety net, and whoever watches the backups is told of the others.
            taken = [one for one in exc.facts.get("taken", []) if not one["problem"]]
            if not taken:
                raise OperatorError(
                    "%s\nThe release has not begun, and nothing was changed: correct this, or leave the backup out "
                    "(tamma_stack_update_backup: false); the database is copied inside its server in any case."
                    % exc.message
                ) from exc
            self._progress("backup", exc.message)
        return str(taken[0]["id"])

    def _keep_before(self) -> None:
        root = os.path.join(self._directory, _BEFORE)
        shutil.rmtree(root, ignore_errors=True)
        os.makedirs(root, 0o700)
        for path in recorded(self._directory):
            full = os.path.join(self._directory, path)
            if os.path.isfile(full):
                status = os.stat(full)
                write(root, [File(path, read(full) or "", status.st_mode & 0o7777, owner=status.st_uid)])

    def _before(self) -> Release:
        """The release that was there before the update, with its secrets."""
        root = os.path.join(self._directory, _BEFORE)
        paths = sorted(
            os.path.relpath(os.path.join(place, name), root) for place, _below, names in os.walk(root) for name in names
        )
        known = settings_on_host(root)
        return history.release_of(self._base, history.open_files(root, paths), history.hidden_files(root, paths), known)

    def _note(self, journal: Journal) -> None:
        journals.note(self._directory, JOURNAL, journal)

    def _end(self) -> None:
        remove(self._directory, [JOURNAL])
        shutil.rmtree(os.path.join(self._directory, _BEFORE), ignore_errors=True)

    def _forget_guard(self, name: str) -> None:
        for item in self.history.entries():
            if item.guard == name:
                self.history.note(item._replace(guard=""))

    def _retain(self) -> None:
        """Keep the last releases, the last copy of the database, and what they need; remove what is older."""
        try:
            retained.apply(self._engine, self._base.project, self.history, self._settings.keep, self._drop_guard)
        except OperatorError as exc:
            self._progress("retain", "what older releases have left stays until the next one: %s" % exc.message)

    def _drop_guard(self, name: str) -> None:
        stack = self._stack_or_none()
        if stack:
            Database(stack).drop(name)


def _elsewhere(stack: Stack, planned: Planned) -> bool:
    """Whether the release comes to another database than the present one has."""
    return (stack.postgres is None) != (planner.keeper(planned.project, "POSTGRES_PASSWORD") is None)


def _changed(known: Database, journal: Journal) -> bool:
    """Whether the failed release has made something else of the database: also nothing, or what cannot be read."""
    if not known.exists(known.name):
        return True
    try:
        return known.schema() != journal.schema
    except Refused as exc:
        # It may answer another time: connection, resources, an operator's hand, the system below it.
        if exc.code[:2] in ("08", "53", "57", "58"):
            raise
        return True


def _words(failure: BaseException) -> str:
    if isinstance(failure, OperatorError):
        return failure.message
    if isinstance(failure, KeyboardInterrupt):
        return "The update was interrupted."
    if isinstance(failure, OSError):
        return of_the_system(failure)
    return "This is a mistake of the collection (%s: %s): please report it." % (type(failure).__name__, failure)


def _cut_off(journal: Journal) -> str:
    return "it was cut off (step %s)" % journal.step


def _with_database(journal: Journal) -> str:
    return ", with the database as it was before" if journal.step == COPIED else ""
