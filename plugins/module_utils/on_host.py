# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases as somebody on the host changes them, without an inventory: what they need stands in the history.

Whoever comes to a stack completes first what was cut off, be it an update, a restore or a rotation of secrets.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket as network
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Optional

from ansible_collections.meywd.tamma.plugins.module_utils import audit, backup, restore, rotation, status, update
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Compose, find_compose
from ansible_collections.meywd.tamma.plugins.module_utils.configuration import Configuration
from ansible_collections.meywd.tamma.plugins.module_utils.deployment import Deployment
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError, of_the_system
from ansible_collections.meywd.tamma.plugins.module_utils.history import History
from ansible_collections.meywd.tamma.plugins.module_utils.hooks import Hooks
from ansible_collections.meywd.tamma.plugins.module_utils.lock import Busy, Lock, lock_file
from ansible_collections.meywd.tamma.plugins.module_utils.operations import Operations
from ansible_collections.meywd.tamma.plugins.module_utils.release import Release
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack

Progress = Callable[[str, str], None]

# What became of a rollback that has completed something else.
COMPLETED = "completed"
# What may be cut off.
UPDATE, RESTORE, ROTATION, BACKUP = "update", "restore", "rotation of secrets", "backup"
JOURNALS: Dict[str, Callable[[str], Optional[Any]]] = {
    UPDATE: update.pending,
    RESTORE: restore.pending,
    ROTATION: rotation.pending,
}


def whence() -> str:
    """From where somebody works who works on this host: its name, and the address that a login came from."""
    name = network.gethostname()
    address = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
    return "%s, from %s" % (name, address) if address else name


def unfinished(directory: str) -> List[str]:
    """What has begun on this host and has not ended, as :meth:`OnHost.resume` would complete it."""
    return [name for name, pending in JOURNALS.items() if pending(directory)]


def operations_of(settings: Configuration, progress: Progress, wait: float = 0) -> Operations:
    """The operations on a stack's backups, which complete first what was cut off."""

    def resume() -> None:
        if unfinished(settings.directory):
            OnHost(settings.project, settings.directory, settings.engine_socket, progress).resume()

    return Operations(settings, progress, wait, resume)


def log_rotation(project: str, known: History, by: str, origin: str, progress: Progress) -> None:
    """Write into the audit log that a rotation which was cut off has been completed."""
    current = known.current()
    number = current.number if current else 0
    facts = {"what": audit.RESUME, "by": by, "origin": origin, "from": number, "to": number}
    audit.tell(project, {**facts, "outcome": "serves", "reason": ROTATION}, progress)


@contextlib.contextmanager
def to_its_end(project: str, directory: str, socket: str) -> Iterator[None]:
    """Go on when the connection breaks off, and go back when somebody ends the process in good order.

    A failure that leaves something half-way says so, and what stands now.
    """

    def end(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    former = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    except (Busy, update.RolledBack):
        raise
    except (OperatorError, OSError) as exc:
        if not unfinished(directory):
            raise
        words = exc.message if isinstance(exc, OperatorError) else of_the_system(exc)
        facts = dict(getattr(exc, "facts", {}))
        if "outcome" not in facts:
            facts["outcome"] = update.STUCK
            words += "\nIt is not complete: correct this, then type 'tammactl resume' on the host."
        raise update.Stuck("%s\n%s" % (words, _what_stands(project, directory, socket)), **facts) from exc
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _what_stands(project: str, directory: str, socket: str) -> str:
    """Which services are not as they should be at this moment."""
    try:
        rows = rows_of(project, directory, socket)
    except OperatorError as exc:
        return "What stands now is not known: %s" % exc.message
    ready = [row.service for row in rows if row.ready]
    others = [
        "%s is %s" % (row.service, row.state if row.health == "none" else row.health) for row in rows if not row.ready
    ]
    return "Now ready: %s. Not ready: %s." % (", ".join(ready) or "nothing", ", ".join(others) or "nothing")


def rows_of(project: str, directory: str, socket: str) -> List[status.Row]:
    """Every container of a stack, and the services that have none."""
    program = find_compose()
    known = Compose(Runner(), program, directory, project).outline() if program else None
    return status.rows(Engine(socket), project, known)


class OnHost:
    """The releases of one stack on this host."""

    def __init__(
        self, project: str, directory: str, socket: str, progress: Progress, by: str = "", origin: str = ""
    ) -> None:
        """*by* and *origin*: who works, and from where, for the history."""
        program = find_compose()
        if program is None:
            raise OperatorError("This host has no Docker Compose: let site.yml install it.")
        self._project, self._directory, self._progress = project, directory, progress
        self._program = program
        self._by, self._origin = by or audit.user(), origin or whence()
        self._engine = Engine(socket)
        self.history = History(directory)

    def to_its_end(self) -> ContextManager[None]:
        """See the function of this name."""
        return to_its_end(self._project, self._directory, self._engine.path)

    @contextlib.contextmanager
    def locked(self, operation: str, wait: float = 0) -> Iterator[None]:
        """Hold the stack's lock, with everything that was cut off brought to its end."""
        with self.alone(operation, wait):
            self.resume(deploys=True)
            yield
            self._complete_restore()

    @contextlib.contextmanager
    def locked_to_go_back(self, number: int, wait: float = 0) -> Iterator[None]:
        """The same to go back to release *number*, 0 for the one before the present one.

        Which one that is changes when an update or a rollback is completed first, and the operator has to know.
        """
        with self.alone("rollback", wait):
            # Another release that follows may correct what cannot be completed; without a number there may be none.
            completed = self.resume(deploys=bool(number))
            current = self.history.current()
            if completed and current and not number:
                raise OperatorError(
                    "What was cut off on this host was completed first (%s), and release %d (%s) serves now. Nothing "
                    "else was done: run this again to go back from there."
                    % (", ".join(completed), current.number, current.version),
                    outcome=COMPLETED,
                )
            yield
            self._complete_restore()

    @contextlib.contextmanager
    def alone(self, operation: str, wait: float = 0) -> Iterator[None]:
        """Hold the stack's lock."""
        with Lock(lock_file(self._project), operation, wait, lambda who: self._progress("wait", "for %s" % who)):
            yield

    def resume(self, deploys: bool = False) -> List[str]:
        """Bring what was cut off to its end, under the lock; return what that was.

        deploys: whether a deploy follows (see ``update.Update.resume``).
        """
        found = [BACKUP] if backup.remove_leftovers(self._project) else []
        if self._complete_restore(deploys):
            found.append(RESTORE)
        if self.update().resume(deploys):
            found.append(UPDATE)
        cut_off = rotation.pending(self._directory)
        if cut_off:
            self._progress("rotate", "a former run was cut off: completing %s" % ", ".join(sorted(cut_off.new)))
            present = self.update().present()
            # What the host has is the former value, in so far as it was not written yet.
            work = self._make(present._replace(secrets={**present.secrets, **cut_off.new}), cut_off)
            work.apply(work.plan())
            log_rotation(self._project, self.history, self._by, self._origin, self._progress)
            found.append(ROTATION)
        return found

    def _complete_restore(self, deploys: bool = False) -> bool:
        if not restore.pending(self._directory):
            return False
        stack = Stack(self._project, self._directory, self._engine, self._program)
        return restore.Restoring(stack, self._progress).resume(deploys)

    def update(self, by: str = "", origin: str = "", reason: str = "") -> update.Update:
        """What changes the release, with the settings of the last one."""
        current = self.history.current()
        known = current.options if current else {}
        base = Release(
            project=self._project,
            directory=self._directory,
            files=[],
            compose_files=[],
            settings={},
            secrets={},
            generated=list(known.get("generated", [])),
            pull_always=False,
            deadline=known.get("deadline", 300),
            deadlines=known.get("deadlines", {}),
            drain=known.get("drain", 10),
        )
        how = known.get("update", {})
        settings = update.Settings()._replace(
            **{
                **how,
                "hooks": Hooks(**how.get("hooks", {})),
                "by": by or self._by,
                "origin": origin or self._origin,
                "reason": reason,
            }
        )
        return update.Update(self._make, base, self._engine, self._program, self._progress, settings)

    def _make(self, release: Release, journal: Optional[rotation.Journal]) -> Deployment:
        runner = Runner({"DOCKER_HOST": "unix://%s" % self._engine.path})
        return Deployment(release, runner, self._engine, self._program, self._progress, journal)
