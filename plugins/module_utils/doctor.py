# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a host that runs a stack, and what to do about it."""

from __future__ import annotations

import calendar
import os
import time
from typing import Any, Dict, List, NamedTuple, Optional

from ansible_collections.meywd.tamma.plugins.module_utils import restore, rotation, status
from ansible_collections.meywd.tamma.plugins.module_utils.backup import human
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Compose, find_compose
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.operations import Operations
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

# Twice the interval of the default schedule, and a little.
_BACKUP_HOURS = 50
_DRILL_DAYS = 16
_FREE_SHARE = 0.1


class Finding(NamedTuple):
    """One thing: severity is "problem" or "advice"."""

    severity: str
    words: str


def examine(work: Operations, now: Optional[float] = None) -> List[Finding]:
    """Look at the engine, the services, what was interrupted, the disks and the backups; changes nothing."""
    found = _engine(work)
    found += _interrupted(work)
    found += _disks(work)
    found += _backups(work, time.time() if now is None else now)
    return found


def _engine(work: Operations) -> List[Finding]:
    settings = work.settings
    engine = Engine(settings.engine_socket)
    if not engine.answers():
        return [
            Finding(
                "problem",
                "The container engine does not answer on %s: systemctl start %s, and see its journal."
                % (settings.engine_socket, engine.kind),
            )
        ]
    program = find_compose()
    if program is None:
        return [Finding("problem", "Docker Compose is missing: run site.yml.")]
    try:
        project = Compose(Runner(), program, settings.directory, settings.project).project()
    except OperatorError as exc:
        return [Finding("problem", exc.message)]
    return [
        Finding(
            "problem",
            "%s is %s%s: see 'tammactl logs %s'."
            % (row.service, row.state, "" if row.health == "none" else " (%s)" % row.health, row.service),
        )
        for row in status.rows(engine, settings.project, project)
        if not row.ready
    ]


def _interrupted(work: Operations) -> List[Finding]:
    found = []
    directory = work.settings.directory
    for name, pending in (("restore", restore.pending), ("rotation of secrets", rotation.pending)):
        try:
            begun = pending(directory) is not None
        except OperatorError as exc:
            found.append(Finding("problem", exc.message))
            continue
        if begun:
            found.append(
                Finding(
                    "problem", "A %s was interrupted: run site.yml or the same command again to complete it." % name
                )
            )
    return found


def _disks(work: Operations) -> List[Finding]:
    found = []
    seen = set()
    places = [work.settings.directory, "/var/lib/docker", "/var/lib/containers"]
    places += [item.location for item in work.settings.repositories if item.location.startswith("/")]
    for place in places:
        if not os.path.exists(place) or os.stat(place).st_dev in seen:
            continue
        seen.add(os.stat(place).st_dev)
        room = os.statvfs(place)
        if room.f_bavail < _FREE_SHARE * room.f_blocks:
            found.append(
                Finding(
                    "problem",
                    "The file system of %s has %s free, less than a tenth: make room before PostgreSQL stops."
                    % (place, human(room.f_bavail * room.f_frsize)),
                )
            )
    return found


def _backups(work: Operations, now: float) -> List[Finding]:
    if not work.settings.repositories:
        return [Finding("problem", "No backups are configured: set tamma_backup_password and run site.yml.")]
    found = []
    records = work.records()
    for repository in work.settings.repositories:
        entry = records.get(repository.name, {})
        found += _overdue(entry, "backup", _BACKUP_HOURS * 3600.0, repository.name, now)
        found += _overdue(entry, "drill", _DRILL_DAYS * 86400.0, repository.name, now)
        for operation in ("backup", "drill", "check", "prune"):
            last: Dict[str, Any] = entry.get(operation) or {"ok": True}
            if not last["ok"]:
                found.append(
                    Finding("problem", "The last %s in %s failed: %s" % (operation, repository.name, last["problem"]))
                )
    if all(item.location.startswith("/") for item in work.settings.repositories):
        found.append(
            Finding("advice", "Every repository is on this host: add one elsewhere, the host may be lost as a whole.")
        )
    return found


def _overdue(entry: Dict[str, Any], operation: str, limit: float, repository: str, now: float) -> List[Finding]:
    good = entry.get("good_" + operation)
    if good is None:
        words = "There was no good %s in %s yet: tammactl %s." % (operation, repository, operation)
        return [Finding("problem" if operation == "backup" else "advice", words)]
    age = now - calendar.timegm(time.strptime(good["time"], "%Y-%m-%dT%H:%M:%SZ"))
    if age <= limit:
        return []
    words = "The last good %s in %s is %.0f hours old: see 'systemctl list-timers', and run tammactl %s." % (
        operation,
        repository,
        age / 3600,
        operation,
    )
    return [Finding("problem", words)]
