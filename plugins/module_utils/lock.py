# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One operation at a time on a stack: a lock that dies with its process."""

from __future__ import annotations

import fcntl
import json
import os
import time
from typing import IO, Callable, Optional

from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError

RUN = "/run/tamma"
#: Every lock of the machine, a line each (proc_locks(5)); one that somebody waits for has an arrow in the second place.
_LOCKS = "/proc/locks"


def lock_file(project: str) -> str:
    """Who holds it is at work on the stack."""
    return os.path.join(RUN, project + ".lock")


class Busy(OperatorError):
    """Somebody else holds the lock."""


class Lock:
    """A lock on a stack, held by an open file: the kernel frees it however the process ends."""

    def __init__(
        self, path: str, operation: str, wait: float = 0, waiting: Optional[Callable[[str], None]] = None
    ) -> None:
        """Prepare a lock in file *path* for *operation*; wait up to *wait* seconds for it.

        waiting: told once who holds it, when it has to be waited for.
        """
        self._path = path
        self._operation = operation
        self._wait = wait
        self._waiting = waiting
        self._file: Optional[IO[str]] = None

    def __enter__(self) -> "Lock":
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        self._file = open(self._path, "a+", encoding="utf-8")
        deadline = time.monotonic() + self._wait
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    who = _holder(self._file)
                    self._file.close()
                    raise _busy(who) from None
                if self._waiting:
                    self._waiting(_holder(self._file))
                    self._waiting = None
                time.sleep(0.2)
        self._file.truncate(0)
        json.dump({"operation": self._operation, "pid": os.getpid(), "since": int(time.time())}, self._file)
        self._file.flush()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()


def at_work(path: str) -> str:
    """Who holds the lock in file *path* at this moment; nothing when nobody does.

    It is not touched for that: somebody who asked for it meanwhile would be refused.
    """
    try:
        with open(path, encoding="utf-8") as file, open(_LOCKS, encoding="ascii") as locks:
            found = os.fstat(file.fileno())
            identity = "%02x:%02x:%d" % (os.major(found.st_dev), os.minor(found.st_dev), found.st_ino)
            held = any(line.split()[1] == "FLOCK" and identity in line.split() for line in locks)
            return _holder(file) if held else ""
    except OSError:
        return ""


def refuse_if_held(path: str) -> None:
    """Raise Busy if somebody holds the lock in file *path* at this moment."""
    who = at_work(path)
    if who:
        raise _busy(who)


def being_worked_on(who: str) -> str:
    """Say it, without an end of the sentence."""
    return "This stack is being worked on by %s" % who


def _busy(who: str) -> Busy:
    return Busy("%s; wait until it has ended and run this again." % being_worked_on(who))


def _holder(file: IO[str]) -> str:
    file.seek(0)
    try:
        holder = json.load(file)
        return "%s %s (process %d, since %s)" % (
            "an" if holder["operation"][:1] in "aeiou" else "a",
            holder["operation"],
            holder["pid"],
            time.strftime("%H:%M:%S", time.localtime(holder["since"])),
        )
    except (ValueError, KeyError, TypeError):
        return "another operation"
