# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What backups need on a host: their settings, the passwords of the repositories, timers, and tammactl."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
from typing import Dict, List, NamedTuple, Sequence, Set

from ansible_collections.meywd.tamma.plugins.module_utils import boot, signing
from ansible_collections.meywd.tamma.plugins.module_utils.configuration import (
    CONFIGURATION,
    Configuration,
    records_file,
    settings_file,
)
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import (
    File,
    FileChange,
    compare,
    read,
    remove,
    replace_bytes,
    write,
)
from ansible_collections.meywd.tamma.plugins.module_utils.restic import CACHE
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

UNITS = "etc/systemd/system"
TAMMACTL = boot.TAMMACTL.lstrip("/")
# What every supported distribution has; see decoded.
PYTHON = "/usr/bin/python3"
COMPLETION = "usr/local/share/bash-completion/completions/tammactl"

STORE_CACHE = CACHE.lstrip("/")
# What every stack of a host uses; it goes with the last one.
SHARED = (COMPLETION, TAMMACTL)
# Directories that go when they are empty. Others, such as /usr/local/bin, were there before. The one with the record
# of what was written comes last, so that a removal which was cut off can be completed.
_OWN_DIRECTORIES = ("usr/local/share/bash-completion", "var/lib/tamma", "etc/tamma")

# What runs by itself, and what of tammactl does it.
TIMERS = {"backup": "backup --reason scheduled", "drill": "drill", "check": "check", "prune": "prune"}

# The one beside them, which is not about backups, needs no repository and leaves no record: see Wanted.keep_workflows.
WORKFLOWS = "workflows"
_DESCRIPTIONS = {WORKFLOWS: "Removal of finished workflows"}
_WORKFLOWS_COMMAND = "prune --workflows-finished-before %s"

_SERVICE = """\
# Written by the meywd.tamma collection.
[Unit]
Description={what} of the stack {project}
After=network-online.target {project}-stack.service
Wants=network-online.target

[Service]
Type=oneshot
# A person or a controller may be at work on the stack: it is waited for.
ExecStart=/{tammactl} --stack {project} --wait 7200 {arguments}
Nice=10
IOSchedulingClass=idle
"""

_TIMER = """\
# Written by the meywd.tamma collection.
[Unit]
Description={what} of the stack {project}

[Timer]
OnCalendar={calendar}
AccuracySec=1s
# Made up for after a boot when the host was off.
Persistent=true
RandomizedDelaySec={delay}

[Install]
WantedBy=timers.target
"""


class Wanted(NamedTuple):
    """What shall be on the host. passwords: repository → password. schedule: timer → OnCalendar, empty for none.

    signing_key: the operator's; without one the host makes its own.
    store: whether restic is there; before that no timer of backups makes sense. keep_workflows: after which time ELSA's
    finished workflows go (see elsa.retention); empty for never.
    """

    configuration: Configuration
    passwords: Dict[str, str]
    schedule: Dict[str, str]
    random_delay: int
    tammactl: bytes
    completion: str
    store: bool = True
    keep_workflows: str = ""
    signing_key: str = ""


def commands(wanted: Wanted) -> Dict[str, str]:
    """What runs by itself: timer → words for tammactl."""
    found = dict(TIMERS) if wanted.store and wanted.configuration.repositories else {}
    if wanted.keep_workflows:
        found[WORKFLOWS] = _WORKFLOWS_COMMAND % wanted.keep_workflows
    return {name: words for name, words in found.items() if wanted.schedule.get(name)}


def directory(project: str) -> str:
    """Where the settings of a stack are, without the leading slash."""
    return "%s/%s" % (CONFIGURATION.lstrip("/"), project)


def records(project: str) -> str:
    """Where it is recorded what came of the operations."""
    return records_file(project).lstrip("/")


def password_file(project: str, repository: str) -> str:
    """The path of a repository's password."""
    return "/%s/repository-%s.password" % (directory(project), repository)


def signing_key(project: str) -> str:
    """The path of the key that signs the backups, without the leading slash."""
    return "%s/%s" % (directory(project), signing.FILE)


def timer(project: str, name: str) -> str:
    """The name of a timer's unit."""
    return "%s-%s.timer" % (project, name)


def service(project: str, name: str) -> str:
    """The name of the unit that a timer starts."""
    return "%s-%s.service" % (project, name)


def inactive(runner: Runner, timers: Sequence[str]) -> List[str]:
    """Those of these timers that do not wait for their time."""
    if not timers:
        return []
    said = runner.run(["systemctl", "is-active", *timers], timeout=60).out.split()
    # Without systemd it says nothing at all.
    return [name for name, state in zip(timers, said or [""] * len(timers)) if state != "active"]


def files(wanted: Wanted) -> List[File]:
    """Every text file, by its path below /."""
    project = wanted.configuration.project
    settings = {
        **wanted.configuration._asdict(),
        "overdue_hours": dict(wanted.configuration.overdue_hours),
        "repositories": [
            {**item._asdict(), "environment": dict(item.environment)} for item in wanted.configuration.repositories
        ],
    }
    found = [
        File(directory(project) + "/backup.json", json.dumps(settings, indent=1, sort_keys=True) + "\n", 0o600, True),
        File(COMPLETION, wanted.completion),
    ]
    found += [
        File(password_file(project, name).lstrip("/"), password + "\n", 0o600, True)
        for name, password in sorted(wanted.passwords.items())
    ]
    if wanted.signing_key:
        found.append(File(signing_key(project), wanted.signing_key + "\n", 0o600, True))
    for name, arguments in commands(wanted).items():
        values = {
            "what": _DESCRIPTIONS.get(name, name.capitalize()),
            "project": project,
            "tammactl": TAMMACTL,
            "arguments": arguments,
            "calendar": wanted.schedule[name],
            "delay": wanted.random_delay,
        }
        found.append(File("%s/%s" % (UNITS, service(project, name)), _SERVICE.format(**values)))
        found.append(File("%s/%s" % (UNITS, timer(project, name)), _TIMER.format(**values)))
    return found


class Setup:
    """Compares what is wanted with the host, and makes it so."""

    def __init__(self, wanted: Wanted, runner: Runner, root: str = "/", present: bool = True) -> None:
        """present: false takes everything away that an earlier run wrote."""
        self._wanted = wanted
        self._present = present
        self._runner = runner
        self._root = root
        self._project = wanted.configuration.project
        self._record = directory(self._project) + "/files.json"

    def _formerly(self) -> List[str]:
        try:
            with open(os.path.join(self._root, self._record), encoding="utf-8") as handle:
                return [str(name) for name in json.load(handle)]
        except (OSError, ValueError):
            return []

    def changes(self) -> List[FileChange]:
        """What would change: files, and timers that are not enabled or do not run.

        Raises OperatorError for a time that systemd does not understand.
        """
        if not self._present:
            return self._removals()
        found = compare(self._root, self._every_file(), self._formerly())
        if self._tammactl_differs():
            found.append(FileChange(TAMMACTL, "update" if os.path.exists(self._path(TAMMACTL)) else "create", ""))
        changed = {change.path for change in found}
        units = {name: "%s/%s" % (UNITS, name) for name in self._timers()}
        self._refuse_times({path for path in units.values() if path in changed})
        unchanged = [name for name, path in units.items() if path not in changed]
        stopped = inactive(self._runner, unchanged)
        for name in unchanged:
            link = self._path("%s/timers.target.wants/%s" % (UNITS, name))
            if name in stopped or not os.path.lexists(link):
                found.append(FileChange(units[name], "enable", ""))
        return found

    def _refuse_times(self, units: Set[str]) -> None:
        for name, moment in sorted(self._wanted.schedule.items()):
            if "%s/%s" % (UNITS, timer(self._project, name)) in units:
                done = self._runner.run(["systemd-analyze", "calendar", "--", moment], timeout=60)
                if done.rc:
                    raise OperatorError(
                        "tamma_backup_schedule has the time '%s' for %s, which systemd does not understand: "
                        "'systemd-analyze calendar' on a host explains how times are written." % (moment, name)
                    )

    def _removals(self) -> List[FileChange]:
        """tammactl stays as long as another stack of this host has settings."""
        formerly = [*self._formerly(), signing_key(self._project), self._record, records(self._project)]
        metrics = self._former_metrics()
        names = [name for name in formerly if name not in SHARED] + ([metrics] if metrics else [])
        if not self._others():
            names += [*SHARED, STORE_CACHE]
        return [FileChange(name, "remove", "") for name in names if os.path.lexists(self._path(name))]

    def _others(self) -> Set[str]:
        """The other stacks of this host that have settings."""
        place = self._path(CONFIGURATION.lstrip("/"))
        names = set(os.listdir(place)) if os.path.isdir(place) else set()
        return {name for name in names - {self._project} if os.path.exists(settings_file(name, place))}

    def _former_metrics(self) -> str:
        try:
            found: str = json.loads(read(self._path(directory(self._project) + "/backup.json")) or "{}")["metrics_file"]
        except (ValueError, KeyError, TypeError):
            return ""
        return found.lstrip("/")

    def _every_file(self) -> List[File]:
        every = files(self._wanted)
        # The host keeps its key when it is given none any more.
        names = sorted(item.path for item in every if item.path != signing_key(self._project))
        return [*every, File(self._record, json.dumps(names) + "\n", 0o600)]

    def _timers(self) -> List[str]:
        return [
            os.path.basename(item.path)
            for item in files(self._wanted)
            if item.path.startswith(UNITS) and item.path.endswith(".timer")
        ]

    def _tammactl_differs(self) -> bool:
        try:
            with open(self._path(TAMMACTL), "rb") as handle:
                return handle.read() != self._wanted.tammactl
        except OSError:
            return True

    def _path(self, name: str) -> str:
        return os.path.join(self._root, name)

    def apply(self, changes: List[FileChange]) -> None:
        """Make it so. Timers that are no longer wanted are stopped and removed.

        Hold the stack's lock while everything is removed.
        """
        changed = {change.path: change.action for change in changes}
        gone = [
            os.path.basename(path) for path, action in changed.items() if action == "remove" and path.startswith(UNITS)
        ]
        timers = [name for name in gone if name.endswith(".timer")]
        if timers:
            self._systemctl("disable", "--now", *timers)
        if gone and not self._present:
            # Those that wait for us, who hold the lock: nothing is under way.
            self._systemctl("stop", *(name for name in gone if name.endswith(".service")))
        self._remove([path for path, action in changed.items() if action == "remove"])
        if not self._present:
            self._systemctl("daemon-reload")
            return
        write(self._root, [item for item in self._every_file() if item.path in changed])
        if TAMMACTL in changed:
            os.makedirs(os.path.dirname(self._path(TAMMACTL)), 0o755, exist_ok=True)
            replace_bytes(self._path(TAMMACTL), self._wanted.tammactl, 0o755)
        if any(path.startswith(UNITS) for path in changed):
            self._systemctl("daemon-reload")
            timers = self._timers()
            if timers:
                self._systemctl("enable", "--quiet", *timers)
                # Also those that run: they shall know their new time.
                self._systemctl("restart", *timers)

    def _remove(self, paths: Sequence[str]) -> None:
        """Remove files, and of the directories those that are nobody else's."""
        own = {path: name for path in paths for name in _OWN_DIRECTORIES if path.startswith(name + "/")}
        for path in paths:
            if path == STORE_CACHE:
                shutil.rmtree(self._path(path))
            elif path not in own:
                os.unlink(self._path(path))
        for name in _OWN_DIRECTORIES:
            parent = os.path.dirname(name)
            remove(self._path(parent), [os.path.relpath(path, parent) for path in paths if own.get(path) == name])

    def _systemctl(self, *words: str) -> None:
        done = self._runner.run(["systemctl", *words], timeout=60)
        if done.rc:
            raise OperatorError(
                "'systemctl %s' failed: %s. Check tamma_backup_schedule ('systemd-analyze calendar' explains a time)."
                % (" ".join(words), " ".join(done.err.split()).rstrip(".") or "it said nothing")
            )


def decoded(text: str, interpreter: str = sys.executable) -> bytes:
    """The zipapp as it came with the module's options. interpreter: runs it where PYTHON is not there."""
    program = base64.b64decode(text)
    if program and interpreter and not os.path.exists(PYTHON):
        return b"#!%s -I\n" % os.fsencode(interpreter) + program.partition(b"\n")[2]
    return program
