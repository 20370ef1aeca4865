# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases as somebody on the host changes them, without an inventory: what they need stands in the history."""

from __future__ import annotations

import contextlib
from typing import Callable, Iterator, Optional

from ansible_collections.meywd.tamma.plugins.module_utils import restore, rotation, update
from ansible_collections.meywd.tamma.plugins.module_utils.compose import find_compose
from ansible_collections.meywd.tamma.plugins.module_utils.deployment import Deployment
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.history import History
from ansible_collections.meywd.tamma.plugins.module_utils.hooks import Hooks
from ansible_collections.meywd.tamma.plugins.module_utils.lock import Lock
from ansible_collections.meywd.tamma.plugins.module_utils.release import Release
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack

Progress = Callable[[str, str], None]


class OnHost:
    """The releases of one stack on this host."""

    def __init__(self, project: str, directory: str, socket: str, progress: Progress) -> None:
        program = find_compose()
        if program is None:
            raise OperatorError("This host has no Docker Compose: let site.yml install it.")
        self._project, self._directory, self._progress = project, directory, progress
        self._program = program
        self._engine = Engine(socket)
        self.history = History(directory)

    @contextlib.contextmanager
    def locked(self, operation: str, wait: float = 0) -> Iterator[None]:
        """Hold the stack's lock, with everything that was cut off brought to its end."""
        with Lock(
            "/run/tamma/%s.lock" % self._project, operation, wait, lambda who: self._progress("wait", "for %s" % who)
        ):
            self.resume()
            yield

    def resume(self) -> bool:
        """Bring what was cut off to its end, under the lock; say whether there was anything."""
        found = False
        if restore.pending(self._directory):
            stack = Stack(self._project, self._directory, self._engine, self._program)
            found = restore.Restoring(stack, self._progress).resume()
        found = self.update().resume() or found
        cut_off = rotation.pending(self._directory)
        if cut_off:
            self._progress("rotate", "a former run was cut off: completing %s" % ", ".join(sorted(cut_off.new)))
            work = self._make(self.update().present(), rotation.resumed(cut_off, {}))
            work.apply(work.plan())
        return found or cut_off is not None

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
            **{**how, "hooks": Hooks(**how.get("hooks", {})), "by": by, "origin": origin, "reason": reason}
        )
        return update.Update(self._make, base, self._engine, self._program, self._progress, settings)

    def _make(self, release: Release, journal: Optional[rotation.Journal]) -> Deployment:
        runner = Runner({"DOCKER_HOST": "unix://%s" % self._engine.path})
        return Deployment(release, runner, self._engine, self._program, self._progress, journal)
